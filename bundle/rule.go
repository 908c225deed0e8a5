package bundle

import (
	"cmp"
	"fmt"

	"appbundle/schema"
)

// A Level says what a finding means for a deployment.
type Level string

// The levels.
const (
	Error   Level = "error"   // the application is not built
	Warning Level = "warning" // it is built; somebody will be surprised
)

// A Rule is one numbered requirement of docs/STANDARD.md. IDs are never reused.
type Rule struct {
	ID    string // "AB" and three digits; also the anchor in the standard
	Level Level
	Title string // what a conforming app does, in the present tense
	Fix   string // what to do in general; a finding says it for its place
	Why   string // the deployment that it would have broken
	// Example is what breaks the rule, an arrow, and what is right.
	Example string
	// Check is pure: it reads the App, never the disk. It is nil for the rule about
	// findings of the others, which CheckAll knows.
	Check func(*App) []Finding `json:"-"`
}

// A Finding is one place where an application does not do what a rule says.
type Finding struct {
	Rule  string `json:"rule"`
	Level Level  `json:"level"`
	schema.Pos
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"` // the remedy, in the imperative; the rule's where the place has none
	// Reason is why app.ini says that the finding does not count, "" for one that does.
	Reason string `json:"reason,omitempty"`

	mend     mending // the remedy that Mend applies, "" for none
	mendFile string  // what it applies it to, "" for File
}

// String gives "FILE[:LINE[:COL]]: ABnnn message; remedy".
func (f Finding) String() string {
	s := fmt.Sprintf("%s: %s %s", f.Pos, f.Rule, f.Message)
	if f.Fix != "" {
		s += "; " + f.Fix
	}
	return s
}

// rules are in report order. A new rule is a line here, its function, its
// section in docs/STANDARD.md and its case in testdata/check.
var rules = []Rule{
	{"AB001", Error, "there is a dependencies.txt", "make it, empty where there is nothing to install", "the host installed what the developer's machine happened to have", "requirements.txt alone → dependencies.txt with what the application itself asks for", checkDependenciesFile},
	{"AB002", Error, "there is an external-dependencies.txt", "make it, empty where the system need provide nothing", "the app was up, and its first upload failed because libmagic was not on the host", "no file, and import magic in the code → external-dependencies.txt with the line libmagic", checkExternalFile},
	{"AB003", Error, "there is one entrypoint, and an executable one has its x bit", "keep one of bin/app, bin/app.py, bin/wsgiapp, bin/wsgiapp.py; chmod +x", "two entrypoints: the supervisor ran one, the web server's configuration the other", "bin/app and bin/app.py → bin/app.py alone", checkEntrypoint},
	{"AB004", Error, "dependencies.txt is a requirements file that can be installed anywhere", "write NAME and versions, one a line", "a local path in the file was there on the laptop only", "-e ../common → common==1.4", checkDependencies},
	{"AB005", Error, "external-dependencies.txt has one system dependency a line", "write NAME, a version and a marker, or a dep: identifier", "a line that no tool could read was a package that nobody installed", "libpng >= 1.5 and zlib → libpng (>=1.5) and, on a line of its own, zlib", checkExternal},
	{"AB006", Error, "app.ini has only keys that do something, with values that can be read", "correct the key or the value", "numproceses = 8 was ignored, and one process met the load of eight", "numproceses = 8 → numprocesses = 8", checkAppINI},
	{"AB007", Error, "a Python entrypoint binds application at module level", "bind application, or state interface = exec in app.ini", "the server started, and answered every request with an import error", "app = Flask(__name__) → application = Flask(__name__)", checkBinding},
	{"AB008", Error, "a server for a Python entrypoint is among the dependencies", "add its line to dependencies.txt", "the app was installed everywhere and served nowhere", "flask>=3 → flask>=3 and, on a line of its own, gunicorn", checkServer},
	{"AB009", Error, "every link stays inside the directory", "replace the link by what it points to", "a link to /home/anna/data was a dangling one on the host, or somebody else's data", "data -> /home/anna/data → a directory data with the files", checkLinks},
	{"AB010", Error, "every name is one name on every system", "rename it", "Readme and README were one file after a Mac had unpacked them", "Readme and README → README", checkNames},
	{"AB011", Error, "there are only plain files, directories and links, without special bits", "remove it, or the bit", "a setuid file came out of an archive that root had unpacked", "mode 4755 of bin/helper → mode 0755", checkTypes},
	{"AB012", Warning, "every file can be read by others", "chmod o+r", "a file that only its owner could read was readable by every user of the host", "mode 0600 of settings.ini → mode 0644", checkReadable},
	{"AB013", Error, "no secret is in the tree", "move it out, and give it to the host by another way", "the private key was in every archive, in the cache of every host and in the backup", "tls/server.key in the tree → the key in /etc on the host, named by a variable", checkSecrets},
	{"AB014", Warning, "app.ini states a version", "write version under [app]", "two archives were called shop-0.0.0, and the older one was deployed", "[app] with name = shop alone → version = 1.4.0 below it", checkVersion},
	{"AB015", Error, "included requirement files are inside the directory", "move them in", "the archive lacked ../common/requirements.txt", "-r ../common/requirements.txt → -r requirements/common.txt", checkIncludes},
	{"AB016", Error, "a dependency is named once", "keep one line", "one of the two lines was updated, the other was installed", "flask>=3 in line 1, Flask==2.3 in line 9 → flask>=3 once", checkDuplicates},
	{"AB017", Error, "every watcher's command is in the bundle or in external-dependencies.txt", "put the command in the directory, or name what brings it", "the worker's command was on the developer's PATH only", "cmd = mailer, which is in bin → cmd = bin/mailer", checkWatcherCommand},
	{"AB018", Error, "what [build] outputs names is in a built tree", "run appbundle build, or correct the glob", "the archive had been made before the front end was built", "outputs = static in an archive without it → an archive that appbundle build made", checkOutputs},
	{"AB019", Error, "the first line of a script names an interpreter that the kernel finds", "correct the line, and save the file with line feeds", "a script saved on Windows: no such file or directory, although everybody saw the file", "#!/bin/sh with a carriage return → #!/bin/sh with a line feed", checkShebangs},
	{"AB020", Error, "pylock.toml can be read, and answers the files that it was made from", "run appbundle lock", "the line that was added on Friday was in dependencies.txt, and the environment of Thursday was deployed", "a line was added to dependencies.txt, and pylock.toml is older → appbundle lock after the change", checkLock},
	{"AB021", Warning, "no locked version was withdrawn by its authors", "run appbundle lock --upgrade-package NAME", "the version had been withdrawn for losing data, and was installed on ten more hosts", "a lock with a version that was withdrawn → appbundle lock --upgrade-package NAME", checkYanked},
	{"AB022", Error, "every locked package has a wheel for every target", "lock another version, or lock for fewer targets with --platform", "it was locked on a laptop, and the host had no compiler", "a lock for aarch64 with a wheel for x86_64 alone → a version that has a wheel for both", checkWheels},
	{"AB023", Error, "the environment is what pylock.toml says", "run appbundle install", "the archive had been built before anybody ran install, and brought the old library", "pylock.toml has flask 3.1, .appbundle/env has 3.0 → appbundle install", checkEnvironment},
	{"AB024", Error, "the go: lines of dependencies.txt agree with go.mod", "correct the line, or run go get", "the line said ^4.2, the program was built with 4.1, and the advisory was about 4.1", "go:example.test/mail ^4.2, and go.mod requires v4.1.0 → go.mod requires v4.2.0", checkGoMod},
	{"AB025", Warning, "a go.mod that is packed replaces no module by a directory outside", "leave go.mod and the sources out, or run go mod vendor", "the fix at night could not be built: the archive lacked ../common", "replace example.test/common => ../common → vendor/modules.txt, or a go.mod that .appbundleignore names", checkGoReplace},
	{"AB026", Error, "no module in bin hides one of Python or of a dependency", "rename it", "bin/queue.py was found before Python's own queue, and the server did not start", "bin/queue.py → bin/shop_queue.py", checkShadows},
	{"AB027", Error, "no two sockets listen on one address", "give one of them another address", "the second socket could not be bound, and nothing started", "two sections with port = 8000 → port = 8000 and port = 8001", checkSockets},
	{"AB028", Error, "every socket is inherited by a watcher", "write $(circus.sockets.NAME) in the command that serves it, or remove it", "connections were accepted by the kernel, and answered by nobody", "[socket:admin], and no command that names it → cmd = bin/admin --fd $(circus.sockets.admin)", checkServed},
	{"AB029", Error, "a watcher's working directory and the script of its interpreter are in the bundle", "correct the path", "python3 worker.py was tried in bin, and runs in the directory above", "cmd = python3 worker.py, which is in bin → cmd = python3 bin/worker.py", checkWatcherPaths},
	{"AB030", Error, "app.ini and pylock.toml are not left out", "take them out of .appbundleignore", "the archive had no app.ini, and ran with one process on the default port", "app.ini in .appbundleignore → local.ini in .appbundleignore", checkLeftOut},
	{"AB031", Warning, "no database is in the tree", "name it in .appbundleignore, and keep data in APPBUNDLE_STATE_DIR", "the developer's orders were in the shop, and the customers' were gone after the upgrade", "shop.sqlite3 in the tree → /data in .appbundleignore, and the database there", checkDatabases},
	{"AB032", Warning, "no directory can be written by everybody", "chmod o-w, and write below APPBUNDLE_STATE_DIR", "uploads had mode 0777 on the laptop, and the first upload on the host was refused", "mode 0777 of uploads → files are written below APPBUNDLE_STATE_DIR", checkWritable},
	{"AB033", Warning, "no variable of app.ini holds a password", "take it from a variable of the supervisor, or from a file of the host", "the password of the database was in every archive and every backup", "DB_PASSWORD = hunter2 → DB_PASSWORD = $DB_PASSWORD", checkEnvSecrets},
	{"AB034", Warning, "app.ini names no home directory", "name a path in the directory, or take it from a variable of the supervisor", "the settings were read from /home/anna, which the host does not have", "SETTINGS = /home/anna/shop/settings.ini → SETTINGS = settings.ini", checkHomes},
	{"AB035", Error, "brackets and strings of a Python entrypoint are closed", "correct the line", "half of a merge was deployed, and every process ended with a SyntaxError", "application = make( → application = make()", checkPython},
	{"AB036", Warning, "each line of [check] in app.ini is about a finding that there is", "remove the line, or correct its number and its glob", "the key of the tests was gone, and the line that had allowed it let another one pass", "AB013 = keys: a test key, without such a file → no such line", nil},
}

// Rules lists the rules of the standard in report order.
func Rules() []Rule { return append([]Rule(nil), rules...) }

// Check says where the application is not what the standard asks for, in the
// order of the rules and, within a rule, of the files. It reads nothing but
// app. No findings mean that the application conforms.
func Check(app *App) []Finding {
	all, _ := CheckAll(app)
	return all
}

// CheckAll is [Check] that also gives the findings which do not count, because
// app.ini says so under [check].
func CheckAll(app *App) (findings, suppressed []Finding) {
	outs := newOptOuts(app)
	for _, r := range rules {
		check := r.Check
		if r.ID == optOutRule {
			check = outs.check
		}
		for _, f := range check(app) {
			f.Rule, f.Level, f.Fix = r.ID, r.Level, cmp.Or(f.Fix, r.Fix)
			if f.Reason = outs.reason(&f); f.Reason != "" {
				suppressed = append(suppressed, f)
			} else {
				findings = append(findings, f)
			}
		}
	}
	return findings, suppressed
}

// HasErrors reports whether one of the findings is more than a warning.
func HasErrors(findings []Finding) bool {
	for _, f := range findings {
		if f.Level == Error {
			return true
		}
	}
	return false
}

// find makes the finding of one file.
func find(file, fix, format string, args ...any) Finding {
	return findAt(schema.Pos{File: file}, fix, format, args...)
}

func findAt(pos schema.Pos, fix, format string, args ...any) Finding {
	return Finding{Pos: pos, Message: fmt.Sprintf(format, args...), Fix: fix}
}

// findings makes findings of what a decoder reported.
func findings(problems schema.Problems) []Finding {
	var all []Finding
	for _, p := range problems {
		all = append(all, Finding{Pos: p.Pos, Message: p.Msg, Fix: p.Fix})
	}
	return all
}
