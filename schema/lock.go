package schema

// A Lock answers "what does this application install?", as far as its processes
// depend on it: every package of the lock, direct or not, at one version. The
// nil Lock and the zero Lock answer for an application without dependencies;
// [PyLock.For] gives that of a lock file. A Lock never changes once made and may
// be shared between goroutines.
type Lock struct {
	Packages []Pin // a name occurs once
}

// A Pin is one package of a lock.
type Pin struct {
	Name    string // normalised as PEP 503 does
	Version string // as the lock writes it
}

// Find gives the package of that normalised name.
func (l *Lock) Find(name string) (Pin, bool) {
	if l == nil {
		return Pin{}, false
	}
	for _, p := range l.Packages {
		if p.Name == name {
			return p, true
		}
	}
	return Pin{}, false
}
