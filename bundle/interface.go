package bundle

import (
	"slices"
	"strings"
)

// A Binding is what the tokens of a Python script say about application.
type Binding struct {
	Bound bool // at module level, outside of every def and class
	Line  int  // of the last binding
	Async bool // it looks like an ASGI application

	Broken     string // why Python cannot read the script, "" where nothing is known
	BrokenLine int
}

// asgiModules make ASGI applications: a name that comes from one of them and
// is called makes one. "asgi" as a part of a module's dotted name does as well.
var asgiModules = []string{
	"fastapi", "starlette", "litestar", "quart", "blacksheep", "channels", "connexion.asgi", "asgiref.wsgi",
}

// bindApplication applies the rule of the standard to a script's tokens:
//
//   - application is bound by an assignment, def, class, import, with, for or
//     import * at module level; blocks of if, try, with, for and else count.
//   - It is an ASGI application when it is an async def; when it is a class of
//     the script with an async __call__, or a call of one; or when it, or the
//     name that is called to make it, is imported from an ASGI framework or
//     from a module with "asgi" in its dotted name.
//   - Everything else is WSGI.
func bindApplication(src string) Binding {
	b := &binder{async: map[string]bool{}, inside: -1}
	tokens, broken, line := scanPython(src)
	for _, st := range statements(tokens) {
		b.statement(st)
	}
	b.Broken, b.BrokenLine = broken, line
	return b.Binding
}

// A statement is one logical line.
type statement []token

func (st statement) at(i int) string {
	if i < len(st) {
		return st[i].text
	}
	return ""
}

func statements(tokens []token) []statement {
	var all []statement
	var st statement
	for _, t := range tokens {
		switch {
		case t.text == "\n":
			if len(st) > 0 {
				all = append(all, st)
			}
			st = nil
		case t.text == ";" && len(st) > 0 && !isCompound(st.at(0)):
			all = append(all, st)
			st = nil
		default:
			st = append(st, t)
		}
	}
	return all
}

func isCompound(word string) bool {
	return slices.Contains([]string{"if", "elif", "else", "try", "except", "finally", "for", "while", "with", "def", "class", "async"}, word)
}

// A binder walks over statements and knows whether they are at module level.
type binder struct {
	Binding
	async map[string]bool // name at module level → calling it makes an ASGI application
	// inside is the indentation of the def or class that we are in, -1 for none.
	inside int
	scope  string // its name
}

func (b *binder) statement(st statement) {
	if b.inside >= 0 {
		if st[0].indent > b.inside {
			if st.at(0) == "async" && st.at(1) == "def" && st.at(2) == "__call__" {
				b.async[b.scope] = true
				b.Async = b.Async || b.scope == "application"
			}
			return
		}
		b.inside = -1
	}
	switch st.at(0) {
	case "def", "class":
		b.define(st, st.at(1), false)
	case "async":
		if st.at(1) == "def" {
			b.define(st, st.at(2), true)
		}
	case "from":
		b.importFrom(st)
	case "import":
		b.importNames(st)
	case "if", "elif", "else", "try", "except", "finally", "with", "for", "while":
		b.block(st)
	default:
		b.assign(st)
	}
}

func (b *binder) bind(line int, async bool) {
	b.Bound, b.Line, b.Async = true, line, async
}

func (b *binder) define(st statement, name string, async bool) {
	b.inside, b.scope = st[0].indent, name
	if st.at(0) == "class" {
		b.async[name] = false
	}
	if name == "application" {
		b.bind(st[0].line, async)
	}
}

// block looks at "with x as application:", "for application in" and at a
// simple statement on the line of its colon.
func (b *binder) block(st statement) {
	depth := 0
	for i, t := range st {
		switch {
		case opens(t.text):
			depth++
		case closes(t.text):
			depth--
		case t.text == "application" && (st[i-1].text == "as" || st.at(0) == "for" && i == 1):
			b.bind(t.line, false)
		case t.text == ":" && depth == 0 && i+1 < len(st):
			b.statement(st[i+1:])
			return
		}
	}
}

// importFrom reads "from M import a, b as c" and "from M import *".
func (b *binder) importFrom(st statement) {
	i := slices.IndexFunc(st, func(t token) bool { return t.text == "import" })
	if i < 0 {
		return
	}
	module := joinTokens(st[1:i])
	for _, item := range splitItems(st[i+1:]) {
		name, as := item.at(0), item.at(0)
		if item.at(1) == "as" {
			as = item.at(2)
		}
		async := isASGI(module + "." + name)
		b.async[as] = async
		if as == "application" || name == "*" {
			b.bind(item[0].line, async)
		}
	}
}

// importNames reads "import a.b, c as d".
func (b *binder) importNames(st statement) {
	for _, item := range splitItems(st[1:]) {
		i := slices.IndexFunc(item, func(t token) bool { return t.text == "as" })
		if i < 0 {
			i = len(item)
		}
		module, as := joinTokens(item[:i]), item.at(0)
		if i+1 < len(item) {
			as = item.at(i + 1)
		}
		b.async[as] = isASGI(module)
		if as == "application" {
			b.bind(item[0].line, b.async[as])
		}
	}
}

// assign reads "application = VALUE", also with a type, in a chain or a tuple.
func (b *binder) assign(st statement) {
	end := lastAssign(st)
	value := st[min(end+1, len(st)):]
	calls := 0 // brackets that are not a tuple's or a list's
	for i := range max(end, 0) {
		before, after := "=", st.at(i+1)
		if i > 0 {
			before = st[i-1].text
		}
		switch t := st[i]; {
		case opens(t.text) && !slices.Contains(targetStarts, before) || opens(t.text) && calls > 0:
			calls++
		case closes(t.text) && calls > 0:
			calls--
		case calls > 0 || !slices.Contains(targetStarts, before) || !slices.Contains(targetEnds, after):
		case t.text == "application":
			b.bind(t.line, b.isAsyncValue(value))
		default:
			b.async[t.text] = b.isAsyncValue(value)
		}
	}
}

// A target of an assignment stands between one of each.
var (
	targetStarts = []string{"=", ",", "(", "[", "*"}
	targetEnds   = []string{"=", ",", ":", ")", "]"}
)

// lastAssign is the index of the last = that assigns, -1 for none.
func lastAssign(st statement) int {
	depth, last := 0, -1
	for i, t := range st {
		switch {
		case t.text == "lambda":
			return last
		case opens(t.text):
			depth++
		case closes(t.text):
			depth--
		case t.text == "=" && depth == 0:
			last = i
		}
	}
	return last
}

func opens(text string) bool  { return text == "(" || text == "[" || text == "{" }
func closes(text string) bool { return text == ")" || text == "]" || text == "}" }

// isAsyncValue reports whether NAME, NAME(…) or MODULE.NAME(…) is an ASGI application.
func (b *binder) isAsyncValue(value statement) bool {
	if len(value) == 0 {
		return false
	}
	end := slices.IndexFunc(value, func(t token) bool { return t.text == "(" })
	if end < 0 {
		end = len(value)
	}
	return b.async[value[0].text] || isASGI(joinTokens(value[:end])) && end > 1
}

// isASGI judges a dotted name.
func isASGI(dotted string) bool {
	for _, m := range asgiModules {
		if dotted == m || strings.HasPrefix(dotted, m+".") {
			return true
		}
	}
	return slices.Contains(strings.Split(dotted, "."), "asgi")
}

func joinTokens(tokens []token) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString(t.text)
	}
	return b.String()
}

// splitItems cuts at commas, without the brackets around a list of imports.
func splitItems(st statement) []statement {
	var items []statement
	var item statement
	for _, t := range st {
		switch t.text {
		case "(", ")":
		case ",":
			if len(item) > 0 {
				items = append(items, item)
			}
			item = nil
		default:
			item = append(item, t)
		}
	}
	if len(item) > 0 {
		items = append(items, item)
	}
	return items
}
