package rpm

import (
	"slices"
	"testing"
	"time"
)

// Two packages are made of one list of files, in whatever order: what Debian
// demands of its own is not in the other.
func TestDocumentKeepsListOfOthers(t *testing.T) {
	files := make([]File, 0, 16) // with room for what is appended
	files = append(files, File{Path: "/usr/bin/shop"}, File{Path: "/usr/share/man/man1/shop.1"}, File{Path: "/usr/share/zsh/_shop"})
	want := paths(files)
	deb := &Package{Format: Deb, Name: "shop", EVR: EVR{Version: "1.0", Release: "1"}, License: "Apache-2.0", Files: files, Time: time.Unix(0, 0).UTC()}
	if err := deb.Document(); err != nil {
		t.Fatal(err)
	}
	if got := paths(files); !slices.Equal(got, want) {
		t.Errorf("after the Debian package was documented the list is %q, want %q", got, want)
	}
	if got := paths(deb.Files); len(got) != len(want)+3 || !slices.IsSorted(got) {
		t.Errorf("the Debian package has %q", got)
	}
}

func paths(files []File) []string {
	var all []string
	for _, f := range files {
		all = append(all, f.Path)
	}
	return all
}
