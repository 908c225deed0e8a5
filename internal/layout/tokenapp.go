package layout

// tokenApp has a row for every package of examples/token-app.
var tokenApp = []Package{
	{
		Path: "internal/strict",
		Idea: "JSON and base64 of strangers, where nothing can be read in two ways",
		Why:  "a reader of bytes stands alone",
	},
}

// tokenAppModules are what examples/token-app imports of others, the project
// among them.
var tokenAppModules = []Module{}
