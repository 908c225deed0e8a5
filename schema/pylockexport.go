package schema

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Requirements writes the lock as a requirements file with hashes, for
// installers that read no lock: every package pinned, with its marker and the
// hashes of all its files, by name. Where the lock says which index a package
// is from, that index is named; with several of them an installer may look in
// any, and the hashes decide. The error is a [*Problem]: a package that no hash
// pins.
func (l *PyLock) Requirements() ([]byte, error) {
	var b bytes.Buffer
	indexes := map[string]bool{}
	for _, p := range l.Packages {
		if p.Index != "" {
			indexes[withoutUser(p.Index)] = true
		}
	}
	for i, index := range slices.Sorted(maps.Keys(indexes)) {
		option := "--extra-index-url"
		if i == 0 {
			option = "--index-url"
		}
		fmt.Fprintf(&b, "%s %s\n", option, index)
	}
	for _, p := range l.inOrder() {
		line, err := p.requirement()
		if err != nil {
			return nil, err
		}
		b.WriteString(line)
	}
	return b.Bytes(), nil
}

func (p *LockedPackage) requirement() (string, error) {
	files := p.Files()
	what := p.Name + "==" + p.Version
	switch {
	case p.Archive != nil && p.Archive.URL != "":
		what = p.Name + " @ " + withoutUser(p.Archive.URL)
	case len(files) > 0 && !slices.ContainsFunc(files, func(f LockedFile) bool { return f.Path == "" }):
		if len(files) > 1 {
			return "", p.problem("has more than one file in the bundle, and a requirements file can name one")
		}
		what = "./" + files[0].Path
	case p.VCS != nil || p.Directory != nil:
		return "", p.problem("is a source tree, which no hash pins")
	case p.Version == "":
		return "", p.problem("has no version")
	}
	if m := markerText(p.Marker); m != "" {
		what += " ; " + m
	}
	hashes := map[string]bool{}
	for _, f := range files {
		for _, alg := range []string{"sha256", "sha384", "sha512"} {
			if sum := f.Hashes[alg]; sum != "" {
				hashes["--hash="+alg+":"+sum] = true
				break
			}
		}
	}
	return what + " \\\n    " + strings.Join(slices.Sorted(maps.Keys(hashes)), " \\\n    ") + "\n", nil
}

func (p *LockedPackage) problem(why string) *Problem {
	return &Problem{Pos: p.Pos, Msg: p.Name + " " + why, Fix: "lock a wheel of it instead"}
}
