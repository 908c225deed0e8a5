package layout

// tokenApp has a row for every package of examples/token-app.
var tokenApp = []Package{
	{
		Path: "internal/strict",
		Idea: "JSON and base64 of strangers, where nothing can be read in two ways",
		Why:  "a reader of bytes stands alone",
	},
	{
		Path: "internal/guarded",
		Idea: "documents from hosts that strangers name: fetched and remembered within limits",
		Why:  "what may be connected to is decided in one place",
	},
	{
		Path: "signature",
		Idea: "signatures and public keys of strangers: what is verified, and what that can cost at most",
		May:  []string{"internal/strict"},
		Why:  "a worker verifies a signature without knowing what it is of",
	},
	{
		Path: "token",
		Idea: "tokens of both forms, their keys, and the secrets of nodes",
		May:  []string{"internal/strict"},
		Why:  "a token is bytes and a secret: no clock, no user, no network",
	},
	{
		Path: "node",
		Idea: "which user a request to a storage node comes from: token, Hawk signature, time, nonce",
		May:  []string{"token", "internal/strict"},
		Why:  "a node shares secrets with the server, and nothing else",
	},
	{
		Path: "node/nodetest",
		Idea: "a small storage node for tests and demonstrations",
		May:  []string{"node", "token"},
		Why:  "it is a node like another",
	},
	{
		Path: "jobs",
		Idea: "the jobs of crypto workers as bytes: made, done here, done elsewhere",
		May:  []string{"signature", "token", "jobs/jobstest"},
		Why:  "a worker knows signatures and tokens, and nothing of requests and users",
	},
	{
		Path: "browserid",
		Idea: "who a BrowserID assertion is by: parse, cheap refusal, issuers and their documents",
		May:  []string{"signature", "internal/strict", "internal/guarded"},
		Why:  "a verdict depends on the text, the time and what issuers publish",
	},
	{
		Path: "oauth",
		Idea: "whose a bearer token is, and what issuers say has happened to accounts",
		May:  []string{"signature", "internal/strict", "internal/guarded"},
		Why:  "a verdict depends on the text, the time and what issuers publish",
	},
	{
		Path: "store",
		Idea: "users, their nodes and keys, in SQLite or PostgreSQL",
		May:  []string{"store/storetest"},
		Why:  "it is told what was verified, and never verifies",
	},
	{
		Path: "store/storetest",
		Idea: "a PostgreSQL server for tests",
		Why:  "it knows nothing of what is stored",
	},
	{
		Path: "settings",
		Idea: "token-app.ini: what the server is told, each mistake with its line",
		Why:  "what settings mean is for those who use them",
	},
	{
		Path: "internal/host",
		Idea: "what a supervisor hands over and wants to hear: inherited sockets, READY=1",
		Why:  "it knows nothing of what is served",
	},
	{
		Path: "server",
		Idea: "the HTTP interface: what is checked in which order, and what is answered; limits, metrics, logs",
		May:  []string{"token", "oauth"},
		Why:  "who is believed, where users are and how tokens are made come in through its interfaces",
	},
	{
		Path: "internal/idp",
		Idea: "an identity provider for the demo and for tests, which signs whatever it is told to",
		Why:  "it is the other side of what is verified, and shares no code with it",
	},
	{
		Path: "app",
		Idea: "the server put together from its settings; secrets, names of users, the purge",
		May:  []string{"server", "settings", "browserid", "oauth", "signature", "jobs", "store", "store/storetest", "token", "node", "node/nodetest", "internal/guarded", "internal/idp"},
		Why:  "it is the last stop before the command",
	},
	{
		Path: "cmd/app",
		Idea: "flags, environment and signals in, exit status out",
		May:  []string{"app", "demo", "server", "settings", "store", "internal/host"},
		Why:  "a command calls the front door of a package",
	},
	{
		Path: "cmd/crypto-worker",
		Idea: "the worker in Go",
		May:  []string{"jobs"},
		Why:  "a command calls the front door of a package",
	},
	{
		Path: "workers",
		Idea: "the workers in C++ and Python, and the same results of all three",
		May:  []string{"jobs", "jobs/jobstest", "signature", "browserid", "internal/guarded"},
		Why:  "workers in other languages know the bytes of jobs alone",
	},
	{
		Path: "demo",
		Idea: "the server with all that it needs, to look at: a provider that lets everybody in, and a page",
		May:  []string{"app", "settings", "jobs", "store", "token", "internal/guarded", "internal/idp"},
		Why:  "it is made of what a server is made of, on loopback alone",
	},
	{
		Path: "e2e",
		Idea: "the bundle as who operates it has it: built, run, killed",
		May:  []string{"internal/idp", "node", "node/nodetest", "token"},
		Why:  "of the server it knows what a client, a node and an operator know",
	},
	{
		Path: "internal/bench",
		Idea: "what tools/bench measures the server with: credentials, the server, and those who send them",
		May:  []string{"app", "server", "settings", "store", "internal/guarded", "internal/idp"},
		Why:  "it stands where cmd/app does, with an issuer that is on no network",
	},
	{
		Path: "jobs/jobstest",
		Idea: "jobs with their results, for workers in any language",
		May:  []string{"internal/strict", "signature"},
		Why:  "bytes are made here without the code that is tested with them",
	},
}

// tokenAppModules are what examples/token-app imports of others, the project
// among them.
var tokenAppModules = []Module{
	{"appbundle/powerhose", []string{"jobs", "cmd/crypto-worker", "app"}, "0051-crypto-in-workers.md"},
	{"modernc.org/sqlite", []string{"store"}, "0048-sqlite.md"},
	{"github.com/jackc/pgx/v5", []string{"store"}, "0049-pgx.md"},
	{"github.com/rogpeppe/go-internal", nil, "0008-testscript.md"},
}
