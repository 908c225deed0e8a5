package pypi

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"appbundle/resolve"
	"appbundle/schema/pep508"
)

// A source distribution whose PKG-INFO is no promise is built, once; another one
// when somebody asks.
func TestBuild(t *testing.T) {
	const promised, dynamic = "Requires-Dist: bar", "Dynamic: Requires-Dist"
	no := &resolve.MetadataError{Reason: "nobody allows it"}
	failed := &resolve.BuildError{File: "foo-1.0.tar.gz", Reason: "no compiler"}
	for _, tt := range []struct {
		name   string
		sdist  []byte
		wheel  []byte
		err    error
		want   string // of Metadata
		builds int    // after Metadata
		build  string // what Build says, "" for the wheel
	}{
		{"dynamic", sdist("foo", "1.0", dynamic), wheel("foo", "1.0", "Requires-Dist: baz"), nil, "foo 1.0 [baz] built", 1, ""},
		{"static", sdist("foo", "1.0", promised), wheel("foo", "1.0", promised), nil, "foo 1.0 [bar]", 0, ""},
		{"a promise that is not kept", sdist("foo", "1.0", promised), wheel("foo", "1.0"), nil, "foo 1.0 [bar]", 0,
			"foo-1.0.tar.gz cannot be built: its wheel asks for other packages than its PKG-INFO promises"},
		{"no PKG-INFO", makeTar(member{"foo-1.0/setup.py", ""}), wheel("foo", "1.0"), nil, "foo 1.0 [] built", 1, ""},
		{"not allowed", sdist("foo", "1.0", dynamic), nil, no, "error: foo-1.0.tar.gz: its PKG-INFO is dynamic, and nobody allows it", 1, ": nobody allows it"},
		{"fails", sdist("foo", "1.0", dynamic), nil, failed, "error: foo-1.0.tar.gz cannot be built: no compiler", 1, "foo-1.0.tar.gz cannot be built: no compiler"},
		{"another package", sdist("foo", "1.0", dynamic), wheel("bar", "1.0"), nil,
			"error: foo-1.0.tar.gz cannot be built: its wheel is of no use: foo-1.0-py3-none-any.whl: its metadata is that of bar 1.0", 1,
			"foo-1.0.tar.gz cannot be built: its wheel is of no use: foo-1.0-py3-none-any.whl: its metadata is that of bar 1.0"},
		{"no wheel", sdist("foo", "1.0", dynamic), []byte("none"), nil,
			"error: foo-1.0.tar.gz cannot be built: its wheel is of no use: foo-1.0-py3-none-any.whl: it is no zip archive: zip: not a valid zip file", 1,
			"foo-1.0.tar.gz cannot be built: its wheel is of no use: foo-1.0-py3-none-any.whl: it is no zip archive: zip: not a valid zip file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t).add("foo-1.0.tar.gz", tt.sdist)
			at := filepath.Join(t.TempDir(), fooWheel)
			if err := os.WriteFile(at, tt.wheel, 0o600); err != nil {
				t.Fatal(err)
			}
			name, err := pep508.ParseWheelName(fooWheel)
			if err != nil {
				t.Fatal(err)
			}
			builds := 0
			x, _ := newIndex(t, Config{Index: f.URL + "/simple/", Build: func(ctx context.Context, s Sdist) (*Wheel, error) {
				builds++
				path, err := s.Get(ctx)
				if err != nil {
					t.Error(err)
				}
				data, err := os.ReadFile(path)
				if err != nil || sum(data) != s.Hashes["sha256"] || int64(len(data)) != s.Size || s.Project != "foo" || s.Version.String() != "1.0" {
					t.Errorf("asked to build %s %s, %v: %v", s.Project, s.Version, s.File, err)
				}
				if tt.err != nil {
					return nil, tt.err
				}
				return &Wheel{Built: resolve.Built{Wheel: &resolve.File{Name: fooWheel, Wheel: &name}}, At: at}, nil
			}})
			for range 2 {
				m, err := ask(t, x, "foo", "")
				got := showMetadata(m, err)
				if err == nil && m.Built {
					got += " built"
				}
				if got != tt.want || builds != tt.builds {
					t.Errorf("%d builds: got %s, want %s", builds, got, tt.want)
				}
			}
			p, err := x.Project(t.Context(), "foo")
			if err != nil {
				t.Fatal(err)
			}
			r := p.Releases[0]
			for range 2 {
				b, err := x.Build(t.Context(), "foo", r, r.Files[0])
				if got := ""; err != nil {
					if got = err.Error(); got != tt.build {
						t.Errorf("Build says %s, want %s", got, tt.build)
					}
				} else if b.Wheel.Name != fooWheel || tt.build != "" {
					t.Errorf("Build gives %s, want %s", b.Wheel.Name, tt.build)
				}
			}
			if builds != 1 {
				t.Errorf("%d builds", builds)
			}
		})
	}
}
