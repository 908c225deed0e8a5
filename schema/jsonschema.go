package schema

import "embed"

// JSONSchemas holds a JSON Schema (2020-12) for each JSON format of ours:
// schemas/manifest.json, schemas/environment.json, schemas/check.json and
// schemas/explain.json.
//
//go:embed schemas/*.json
var JSONSchemas embed.FS
