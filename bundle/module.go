package bundle

// A Definition is a name that a Python module has at its top.
type Definition struct {
	Name   string
	Line   int
	Callee string // of NAME = CALLEE(…), as a dotted name; "" for a def
	Needs  int    // how many parameters of a def have no default
}

// Outline says what the tokens of a Python module tell of its top level, outside
// of every block: calls whose result gets a name, functions, and the modules that
// it imports (a relative one begins with a dot).
func Outline(src string) (defs []Definition, imports []string) {
	tokens, _, _ := scanPython(src)
	for _, st := range statements(tokens) {
		switch {
		case st[0].indent > 0:
		case st.at(0) == "def":
			defs = append(defs, Definition{Name: st.at(1), Line: st[0].line, Needs: needs(st[min(2, len(st)):])})
		case st.at(0) == "from":
			module := ""
			for i := 1; i < len(st) && st[i].text != "import"; i++ {
				module += st[i].text
			}
			imports = append(imports, module)
		case st.at(0) == "import":
			for _, item := range splitItems(st[1:]) {
				imports = append(imports, joinDotted(item))
			}
		default:
			if d, ok := called(st); ok {
				defs = append(defs, d)
			}
		}
	}
	return defs, imports
}

// joinDotted joins the tokens of "a.b as c" up to "as".
func joinDotted(item statement) string {
	for i, t := range item {
		if t.text == "as" {
			return joinTokens(item[:i])
		}
	}
	return joinTokens(item)
}

// called reads NAME = CALLEE(…), with a type or without.
func called(st statement) (Definition, bool) {
	end := lastAssign(st)
	if end < 1 || st.at(1) != "=" && st.at(1) != ":" {
		return Definition{}, false
	}
	callee := ""
	for _, t := range st[end+1:] {
		if t.text == "(" {
			return Definition{Name: st.at(0), Line: st[0].line, Callee: callee}, callee != ""
		}
		if t.text != "." && (t.text == "" || !isNameByte(t.text[0])) {
			break
		}
		callee += t.text
	}
	return Definition{}, false
}

// needs counts the parameters of "(a, b=1, *c, d: T = 2)" that a call must give.
func needs(st statement) int {
	depth, n, begun, given := 0, 0, false, false
	end := func() {
		if begun && !given {
			n++
		}
		begun, given = false, false
	}
	for _, t := range st {
		switch {
		case opens(t.text):
			depth++
		case closes(t.text):
			if depth--; depth == 0 {
				end()
				return n
			}
		case depth != 1:
		case t.text == ",":
			end()
		case t.text == "=" || t.text == "*" || t.text == "/":
			begun, given = true, true
		default:
			begun = true
		}
	}
	return n
}
