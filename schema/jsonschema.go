package schema

import "embed"

// JSONSchemas holds a JSON Schema (2020-12) for each JSON format of ours:
// schemas/manifest.json and schemas/environment.json for files, one for each
// command with --format json (schemas/lock-check.json for lock --check), and
// schemas/app-ini.json for app.ini as a mapping. docs/schemas has copies of them.
//
//go:embed schemas/*.json
var JSONSchemas embed.FS
