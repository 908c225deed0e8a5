package schema

import "embed"

// JSONSchemas holds a JSON Schema (2020-12) for each JSON format of ours:
// schemas/manifest.json and schemas/check.json.
//
//go:embed schemas/*.json
var JSONSchemas embed.FS
