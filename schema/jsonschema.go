package schema

import "embed"

// JSONSchemas holds a JSON Schema (2020-12) for each JSON format of ours:
// schemas/manifest.json and schemas/environment.json for files, and one for each
// command with --format json (schemas/lock-check.json for lock --check).
//
//go:embed schemas/*.json
var JSONSchemas embed.FS
