package rpm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// text is a regular file with content.
func text(path, content string) File {
	return File{
		Path: path, Mode: 0o644, Size: int64(len(content)), SHA256: sha256.Sum256([]byte(content)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	}
}

// shop is a package with everything in it.
func shop(f Format) *Package {
	p := &Package{
		Format: f, Name: "shop", EVR: EVR{Epoch: 1, Version: "1.2~rc1", Release: "1"}, Arch: "noarch",
		Summary: "Sells things", Description: "The shop sells\nthings.\n\n  And more.", License: "MIT", Homepage: "https://example.org/shop",
		Maintainer: "Ann Other <ann@example.org>", Time: time.Unix(1_700_000_000, 0),
	}
	if f == Deb {
		p.Arch = "all"
	}
	bin := text("/opt/shop/bin/shop", "#!/bin/sh\necho shop\n")
	bin.Mode = 0o755
	conf := text("/etc/shop/shop.conf", "port = 8080\n")
	conf.Kind, conf.Mode = Config, 0o640
	license := text("/usr/share/licenses/shop/LICENSE", "MIT\n")
	license.Kind = License
	p.Files = []File{
		{Path: "/etc/shop", Kind: Directory, Mode: 0o755},
		conf,
		{Path: "/opt/shop", Kind: Directory, Mode: 0o755},
		{Path: "/opt/shop/bin", Kind: Directory, Mode: 0o755},
		{Path: "/opt/shop/bin/run", Kind: Symlink, Link: "shop"},
		bin,
		{Path: "/opt/shop/empty", Kind: Directory, Mode: 0o755},
		{Path: "/opt/shop/lib", Kind: Directory, Mode: 0o755},
		text("/opt/shop/lib/a b%[1]*?.txt", "odd\n"),
		text("/opt/shop/lib/empty", ""),
		text("/opt/shop/lib/ä.txt", "umlaut\n"),
		text("/usr/share/doc/shop/copyright", "Files: *\nLicense: MIT\n"),
		license,
	}
	p.Requires = []Relation{{Name: "zlib", Op: ">=", Version: "1.2"}, {Name: "bash"}, {Name: "bash"}, {Name: "shop-data", Op: "=", Version: "2:1.0-1"}}
	p.Provides = []Relation{{Name: "webshop", Op: "=", Version: "1.2"}}
	p.Recommends = []Relation{{Name: "git"}}
	p.Conflicts = []Relation{{Name: "oldshop", Op: "<", Version: "1"}}
	p.Scripts = Scripts{PostInstall: "true\n", PreRemove: "#!/bin/sh\ntrue"}
	if f == RPM {
		p.Scripts.PostTransaction = "true 1"
	}
	return p
}

// written writes p into a new directory, and gives the path.
func written(t testing.TB, p *Package, opts Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), p.FileName())
	if _, err := Write(t.Context(), path, p, opts); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSameBytes writes packages under another umask, host time zone, number of
// processors and directory.
func TestSameBytes(t *testing.T) {
	for _, f := range []Format{RPM, Deb} {
		for _, c := range []Compression{Zstd, Gzip} {
			p := shop(f)
			p.Compression = c
			p.Files = append(p.Files, text("/usr/share/zz", strings.Repeat("line of a longer file\n", 200_000)))
			a, err := os.ReadFile(written(t, p, Options{}))
			if err != nil {
				t.Fatal(err)
			}
			old := syscall.Umask(0o077)
			procs := runtime.GOMAXPROCS(1)
			t.Setenv("SOURCE_DATE_EPOCH", "12345")
			t.Setenv("TZ", "Asia/Tokyo")
			t.Setenv("TMPDIR", t.TempDir())
			path := written(t, p, Options{})
			syscall.Umask(old)
			runtime.GOMAXPROCS(procs)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a, b) {
				t.Errorf("%s with %s: the same package has other bytes", f, c)
			}
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o644 {
				t.Errorf("mode %v, %v", st.Mode(), err)
			}
		}
	}
}

// TestChangedContent changes a file behind the back of its digest.
func TestChangedContent(t *testing.T) {
	broken := errors.New("broken disk")
	for name, open := range map[string]func() (io.ReadCloser, error){
		"other":   func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("port = 8081\n")), nil },
		"shorter": func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("port")), nil },
		"longer":  func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("port = 8080\n\n")), nil },
		"gone":    func() (io.ReadCloser, error) { return nil, fs.ErrNotExist },
		"broken": func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("p"), errReader{broken})), nil
		},
	} {
		for _, f := range []Format{RPM, Deb} {
			dir := t.TempDir()
			p := shop(f)
			p.Files[1].Open = open
			_, err := Write(t.Context(), dir+"/x", p, Options{})
			if err == nil || name != "gone" && !strings.Contains(err.Error(), `"/etc/shop/shop.conf"`) || name == "broken" && !errors.Is(err, broken) {
				t.Errorf("%s, %s: %v", f, name, err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%s, %s: left %v, %v", f, name, left, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Write(ctx, t.TempDir()+"/x", shop(RPM), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// TestRefused has a case for everything that cannot be written.
func TestRefused(t *testing.T) {
	never := func() (io.ReadCloser, error) { panic("opened") }
	big := File{Path: "/usr/big", Mode: 0o644, Size: 4 << 30, Open: never}
	for _, c := range []struct {
		name   string
		f      Format
		change func(p *Package)
		want   string
	}{
		{"format", RPM, func(p *Package) { p.Format = "msi" }, `the format "msi"`},
		{"name", RPM, func(p *Package) { p.Name = "a b" }, `name "a b"`},
		{"name", RPM, func(p *Package) { p.Name = "../a" }, `name "../a"`},
		{"name", RPM, func(p *Package) { p.Name = "-a" }, `name "-a"`},
		{"name", Deb, func(p *Package) { p.Name = "Shop" }, `name "Shop"`},
		{"name", Deb, func(p *Package) { p.Name = "s_p" }, `name "s_p"`},
		{"name", Deb, func(p *Package) { p.Name = "" }, `name ""`},
		{"arch", Deb, func(p *Package) { p.Arch = "noarch" }, `architecture "noarch"`},
		{"arch", RPM, func(p *Package) { p.Arch = "all" }, `architecture "all"`},
		{"version", RPM, func(p *Package) { p.EVR.Version = "1-2" }, `version "1-2"`},
		{"version", Deb, func(p *Package) { p.EVR.Version = "v1" }, `version "v1"`},
		{"release", RPM, func(p *Package) { p.EVR.Release = "" }, `no release`},
		{"release", Deb, func(p *Package) { p.EVR.Release = "1 2" }, `release "1 2"`},
		{"time", RPM, func(p *Package) { p.Time = time.Unix(-1, 0) }, `time 1969`},
		{"time", Deb, func(p *Package) { p.Time = time.Unix(1<<33, 0) }, `time 2242`},
		{"compression", Deb, func(p *Package) { p.Compression = "xz" }, `compression "xz"`},
		{"summary", RPM, func(p *Package) { p.Summary = "a\nb" }, `summary "a\nb"`},
		{"summary", RPM, func(p *Package) { p.Summary = "Sells." }, `summary "Sells."`},
		{"summary", Deb, func(p *Package) { p.Summary = "" }, `summary ""`},
		{"license", RPM, func(p *Package) { p.License = "" }, `license ""`},
		{"maintainer", Deb, func(p *Package) { p.Maintainer = "me" }, `maintainer "me"`},
		{"maintainer", Deb, func(p *Package) { p.Maintainer = "a <b@c>\nDepends: d <e@f>" }, `maintainer`},
		{"homepage", Deb, func(p *Package) { p.Homepage = "a b" }, `homepage "a b"`},
		{"section", Deb, func(p *Package) { p.Section = "a\nb" }, `section "a\nb"`},
		{"description", Deb, func(p *Package) { p.Description = "a\x1b[0m" }, `description`},
		{"script of an rpm", Deb, func(p *Package) { p.Scripts.PostTransaction = "true" }, `a deb has no script after a transaction`},
		{"script", Deb, func(p *Package) { p.Scripts.PostRemove = "a\x00" }, `script`},
		{"relation", RPM, func(p *Package) { p.Requires = []Relation{{Name: "bad name"}} }, `requires "bad name"`},
		{"relation", RPM, func(p *Package) { p.Requires = []Relation{{Name: "a", Op: "=="}} }, `operator`},
		{"relation", RPM, func(p *Package) { p.Requires = []Relation{{Name: "a", Op: "==", Version: "1"}} }, `operator "=="`},
		{"relation", RPM, func(p *Package) { p.Requires = []Relation{{Name: "a", Op: "=", Version: "1-2-3"}} }, `"1-2"`},
		{"relation", RPM, func(p *Package) { p.Requires = []Relation{{Name: "(a or b"}} }, `parentheses`},
		{"relation", RPM, func(p *Package) { p.Requires = []Relation{{Name: "(a)(b)"}} }, `parentheses`},
		{"relation", RPM, func(p *Package) { p.Provides = []Relation{{Name: "(a or b)"}} }, `one of several`},
		{"relation", RPM, func(p *Package) { p.Replaces = []Relation{{Name: "a"}} }, `an rpm replaces nothing`},
		{"relation", Deb, func(p *Package) { p.Requires = []Relation{{Name: "libc.so.6()(64bit)"}} }, `dpkg can require`},
		{"relation", Deb, func(p *Package) { p.Requires = []Relation{{Name: "a, b"}} }, `dpkg can require`},
		{"relation", Deb, func(p *Package) { p.Provides = []Relation{{Name: "a1", Op: ">=", Version: "1"}} }, `operator ">="`},
		{"relation", Deb, func(p *Package) { p.Recommends[0].Pre = true }, `only what is required can be for a script`},
		{"order", RPM, func(p *Package) { p.Files[2], p.Files[3] = p.Files[3], p.Files[2] }, `files are sorted`},
		{"twice", RPM, func(p *Package) { p.Files[3] = p.Files[2] }, `files are sorted`},
		{"below a file", Deb, func(p *Package) { p.Files = []File{text("/a", ""), text("/a/b", "")} }, `"/a/b": is below "/a"`},
		{"below a link", Deb, func(p *Package) { p.Files = []File{{Path: "/a", Kind: Symlink, Link: "b"}, text("/a/b/c", "")} }, `"/a/b/c": is below "/a"`},
		{"relative", RPM, func(p *Package) { p.Files = []File{text("a", "")} }, `clean path`},
		{"root", RPM, func(p *Package) { p.Files = []File{{Path: "/", Kind: Directory, Mode: 0o755}} }, `clean path`},
		{"climbing", RPM, func(p *Package) { p.Files = []File{text("/a/../b", "")} }, `"/a/../b": is not`},
		{"newline", RPM, func(p *Package) { p.Files = []File{text("/a\nb", "")} }, `control characters`},
		{"latin", RPM, func(p *Package) { p.Files = []File{text("/a\xe4", "")} }, `UTF-8`},
		{"bidi", RPM, func(p *Package) { p.Files = []File{text("/a\u202eb", "")} }, `control characters`},
		{"long", RPM, func(p *Package) { p.Files = []File{text("/"+strings.Repeat("a", 256), "")} }, `255 bytes`},
		{"longer", RPM, func(p *Package) { p.Files = []File{text(strings.Repeat("/aaaaaaa", 600), "")} }, `4094 bytes`},
		{"setuid", RPM, func(p *Package) { p.Files[5].Mode |= fs.ModeSetuid }, `"/opt/shop/bin/shop": has the mode urwx`},
		{"setuid", Deb, func(p *Package) { p.Files[5].Mode |= 0o4000 }, `"/opt/shop/bin/shop": has the mode`},
		{"sticky", Deb, func(p *Package) { p.Files[2].Mode |= fs.ModeSticky }, `"/opt/shop": has the mode`},
		{"writable", Deb, func(p *Package) { p.Files[5].Mode = 0o777 }, `everybody may write`},
		{"unreadable", Deb, func(p *Package) { p.Files[5].Mode = 0 }, `may not read`},
		{"device", RPM, func(p *Package) { p.Files[5].Mode |= fs.ModeDevice }, `"/opt/shop/bin/shop": has the mode D`},
		{"device", RPM, func(p *Package) { p.Files[5].Kind = Special }, `is of kind device`},
		{"owner", Deb, func(p *Package) { p.Files[5].Owner = "a:b" }, `belongs to "a:b"`},
		{"link", Deb, func(p *Package) { p.Files[4].Link = "" }, `is a link to ""`},
		{"link", Deb, func(p *Package) { p.Files[4].Link = "./shop" }, `is a link to "./shop"`},
		{"no content", Deb, func(p *Package) { p.Files[5].Open = nil }, `no content`},
		{"negative", Deb, func(p *Package) { p.Files[5].Size = -1 }, `-1 bytes`},
		{"big", RPM, func(p *Package) { p.Files = []File{big} }, `"/usr/big": has 4294967296 bytes, and one rpm`},
		{"many bytes", RPM, func(p *Package) {
			big.Size = 3 << 30
			other := big
			other.Path = "/usr/bigger"
			p.Files = []File{big, other}
		}, `"/usr/bigger": with it the package has 6442450944 bytes`},
		{"bigger", Deb, func(p *Package) {
			big.Size = 10 << 30
			p.Files = []File{big}
		}, `"/usr/big": has 10737418240 bytes, and one deb`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := shop(c.f)
			c.change(p)
			dir := t.TempDir()
			_, err := Write(t.Context(), dir+"/x", p, Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left %v, %v", left, err)
			}
		})
	}
}

// TestReadBack compares everything that a package says with what was planned.
func TestReadBack(t *testing.T) {
	for _, f := range []Format{RPM, Deb} {
		p := shop(f)
		info, err := ReadFile(t.Context(), written(t, p, Options{}), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if info.License != p.License && f == RPM || info.Time.Unix() != p.Time.Unix() || info.File != p.FileName() {
			t.Errorf("%+v", info)
		}
		for _, change := range []func(){
			func() { p.Summary = "x" }, func() { p.Requires = nil }, func() { p.Files = slices.Delete(p.Files, 1, 2) }, func() { p.Files[3].Mode = 0o700 },
			func() { p.Scripts.PreInstall = "x" }, func() { p.Scripts.PostTransaction = "x" }, func() { p.Files[1].SHA256[0]++ }, func() { p.Files = append(p.Files, File{Path: "/zz", Kind: Directory}) },
		} {
			p = shop(f)
			if err := p.compare(info); err != nil {
				t.Error(err)
			}
			if change(); p.compare(info) == nil {
				t.Errorf("%s: a difference was not seen", f)
			}
		}
	}
}

// TestEmptyPackage has no files, only relations.
func TestEmptyPackage(t *testing.T) {
	for _, f := range []Format{RPM, Deb} {
		p := shop(f)
		p.Files, p.Scripts = nil, Scripts{}
		written(t, p, Options{})
	}
}

// set makes packages of one file each, more than are written at the same time.
func set() (list []*Package) {
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		p := shop(RPM)
		p.Name, p.Files = name, []File{text("/opt/"+name, strings.Repeat(name, 100_000))}
		list = append(list, p)
	}
	return list
}

// alone is a Signer that notices when it is asked for two signatures at once.
type alone struct {
	Signer
	busy, broken atomic.Bool
}

func (a *alone) Sign(ctx context.Context, data io.Reader, s Signing) ([]byte, error) {
	if a.busy.Swap(true) {
		a.broken.Store(true)
	}
	defer a.busy.Store(false)
	return a.Signer.Sign(ctx, data, s)
}

func TestWriteAll(t *testing.T) {
	signer := &alone{Signer: testKey(t, "ed25519", "")}
	dir := t.TempDir()
	packages := set()
	var order []string
	var b Batch
	err := b.WriteAll(t.Context(), dir, packages, Options{Signer: signer}, func(p *Package, info *Info) {
		order = append(order, p.Name)
		one, err := os.ReadFile(written(t, p, Options{Signer: signer.Signer}))
		if err != nil || sha256.Sum256(one) != info.SHA256 {
			t.Errorf("%s: written with others it has other bytes; %v", p.Name, err)
		}
	})
	if got := strings.Join(order, ""); err != nil || got != "abcdefgh" {
		t.Errorf("done was called for %q, in this order; %v", got, err)
	}
	if err := b.Commit(); err != nil || len(tree(t, dir)) != len(packages) {
		t.Errorf("there are %d packages, %v", len(tree(t, dir)), err)
	}
	if signer.broken.Load() {
		t.Error("the signer was asked for two signatures at once")
	}
}

// TestWriteAllStops has one package that cannot be written: its error is the one
// that is told, and nothing comes after it.
func TestWriteAllStops(t *testing.T) {
	dir := t.TempDir()
	packages := set()
	packages[2].Files[0].SHA256[0]++
	var order []string
	procs := runtime.GOMAXPROCS(1)
	var one, several Batch
	err := one.WriteAll(t.Context(), dir, packages, Options{}, func(p *Package, _ *Info) { order = append(order, p.Name) })
	runtime.GOMAXPROCS(procs)
	if err == nil || !strings.HasPrefix(err.Error(), "c-1.2~rc1-1.noarch.rpm: file") {
		t.Errorf("error %v", err)
	}
	list, err := os.ReadDir(dir) // under their temporary names
	if got := strings.Join(order, ""); err != nil || got != "ab" || len(list) != 2 {
		t.Errorf("done was called for %q, and there are %v; %v", got, list, err)
	}
	if err := one.Abort(); err != nil || len(tree(t, dir)) != 0 {
		t.Errorf("%d files are left, %v", len(tree(t, dir)), err)
	}
	defer several.Abort()
	err = several.WriteAll(t.Context(), t.TempDir(), packages, Options{}, func(*Package, *Info) {})
	if err == nil || !strings.HasPrefix(err.Error(), "c-1.2~rc1-1.noarch.rpm: file") {
		t.Errorf("several at a time: error %v", err)
	}
}

// TestWindow looks at the frames of packages: who reads a small one needs little memory.
func TestWindow(t *testing.T) {
	for size, want := range map[int]uint64{150_000: 256 << 10, 300_000: 512 << 10, 4 << 20: 8 << 20, 20 << 20: 8 << 20} {
		p := shop(RPM)
		p.Files = []File{text("/opt/x", strings.Repeat("0123456789abcdef", size/16))}
		content, err := os.ReadFile(written(t, p, Options{}))
		if err != nil {
			t.Fatal(err)
		}
		var h zstd.Header
		if err := h.Decode(content[bytes.Index(content, []byte{0x28, 0xb5, 0x2f, 0xfd}):]); err != nil || h.WindowSize != want {
			t.Errorf("files of %d bytes have the window %d, want %d; %v", size, h.WindowSize, want, err)
		}
	}
}
