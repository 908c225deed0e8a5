package bundle

import (
	"path"
	"unicode/utf8"

	"appbundle/schema"
)

// entrypoints are the names that the standard knows, the older ones last.
var entrypoints = []string{"bin/app", "bin/app.py", "bin/wsgiapp", "bin/wsgiapp.py"}

// An Entrypoint is the file by which the application is started.
type Entrypoint struct {
	Path      string   // "" where there is not exactly one
	Found     []string // every file that has the name of one
	Interface schema.Interface
	How       string          // why it is that interface, for a reader
	Shebang   *schema.Shebang // nil without a first line that the kernel can run
	Binding   Binding         // of a Python script
}

// followLinks reads what app.ini and an entrypoint point to, where they are
// links.
func (a *App) followLinks(files map[string][]byte, read func([]string) (map[string][]byte, error)) error {
	for _, name := range append([]string{appFile}, entrypoints...) {
		e := a.resolve(name)
		if e == nil || e.Path == name || e.Type != File || e.Size > schema.MaxFile {
			continue
		}
		data, err := read([]string{e.Path})
		if err != nil {
			return err
		}
		files[name] = data[e.Path]
	}
	return nil
}

// findEntrypoint looks for the entrypoint and decides its interface: the one
// that app.ini states, else by the rule of the standard, from the text alone.
func (a *App) findEntrypoint(files map[string][]byte) Entrypoint {
	var ep Entrypoint
	for _, name := range entrypoints {
		if e := a.Entry(name); e != nil && e.Type != Dir {
			ep.Found = append(ep.Found, name)
		}
	}
	stated := a.Config.App.Interface
	ep.Interface, ep.How = stated, "app.ini says so"
	if len(ep.Found) != 1 {
		return ep
	}
	ep.Path = ep.Found[0]
	e := a.resolve(ep.Path)
	if e == nil || e.Type != File {
		return ep
	}
	ep.Shebang, _, _ = schema.ParseShebang([]byte(e.FirstLine)) // AB019 reports the error
	src := string(files[ep.Path])
	if !e.ELF && utf8.ValidString(src) {
		ep.Binding = bindApplication(src)
	}
	if stated == "" {
		ep.Interface, ep.How = decideInterface(ep, e)
	}
	return ep
}

// decideInterface is the rule of the standard for an entrypoint of which
// app.ini says nothing.
func decideInterface(ep Entrypoint, e *Entry) (schema.Interface, string) {
	script := path.Ext(ep.Path) == ".py" || e.FirstLine == "" && ep.Binding.Bound ||
		ep.Shebang != nil && ep.Shebang.IsPython()
	switch {
	case !script:
		return schema.Exec, "it is an executable"
	case ep.Binding.Async:
		return schema.ASGI, "it is a Python script that binds an ASGI application"
	}
	return schema.WSGI, "it is a Python script"
}

// interpreter is the Python that a script names by a path, "" for none.
func (ep *Entrypoint) interpreter() string {
	if ep.Shebang != nil && ep.Shebang.IsPython() && !ep.Shebang.Env {
		return ep.Shebang.Interpreter
	}
	return ""
}
