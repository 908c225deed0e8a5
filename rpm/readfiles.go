package rpm

import (
	"encoding/hex"
	"io/fs"
	"math"
	"path"
	"strings"
)

// columns are the tags of the file list: one value a file.
type columns struct {
	names, dirs, owners, groups, links, digests []string
	indexes, sizes, modes, flags, devs, inodes  []uint64
}

func readColumns(h header, most int) (c columns, err error) {
	n := h[tagBaseNames].count
	if n > most || h[tagDirNames].count > most {
		return c, malformed("has %d files; the limit is %d", n, most)
	}
	sizes := tagFileSizes
	if _, ok := h[tagLongFileSizes]; ok {
		sizes = tagLongFileSizes
	}
	if err := h.sameCount(n, tagDirIndexes, sizes, tagFileModes, tagFileFlags, tagFileDevices, tagFileInodes, tagFileOwners, tagFileGroups, tagFileLinks, tagFileDigests); err != nil {
		return c, err
	}
	for _, l := range []struct {
		t  tag
		to *[]string
	}{{tagBaseNames, &c.names}, {tagDirNames, &c.dirs}, {tagFileOwners, &c.owners}, {tagFileGroups, &c.groups}, {tagFileLinks, &c.links}, {tagFileDigests, &c.digests}} {
		if *l.to, err = h.texts(l.t); err != nil {
			return c, err
		}
	}
	for _, l := range []struct {
		t  tag
		to *[]uint64
	}{{tagDirIndexes, &c.indexes}, {sizes, &c.sizes}, {tagFileModes, &c.modes}, {tagFileFlags, &c.flags}, {tagFileDevices, &c.devs}, {tagFileInodes, &c.inodes}} {
		if *l.to, err = h.ints(l.t); err != nil {
			return c, err
		}
	}
	return c, nil
}

// A digest is what the header has for a file, with a number for files that share an
// inode, 0 for a file with one of its own.
type digest struct {
	algo int
	want string
	set  int
}

// files takes the file list.
func (p *Info) files(h header, lim Limits) ([]digest, error) {
	if _, ok := h[tagOldFileNames]; ok {
		return nil, malformed("has a file list of before rpm 4")
	}
	c, err := readColumns(h, lim.Files)
	if err != nil {
		return nil, err
	}
	algo, err := h.number(tagFileDigestAlgo)
	if err != nil {
		return nil, err
	}
	for _, d := range c.dirs {
		if !cleanDir(d) && !(p.IsSource && d == "") {
			return nil, malformed("has the directory name %.100q", d)
		}
	}
	seen := make(map[string]bool, len(c.names))
	digests := make([]digest, len(c.names))
	sets := map[[2]uint64][]int{}
	for i := range c.names {
		if c.indexes[i] >= uint64(len(c.dirs)) {
			return nil, malformed("has a file in directory %d of %d", c.indexes[i], len(c.dirs))
		}
		f, err := p.file(c, i)
		if err != nil {
			return nil, err
		}
		if seen[f.Path] {
			return nil, badFile(f.Path, "occurs twice")
		}
		seen[f.Path] = true
		if f.Kind.hasContent() {
			if digests[i], err = newDigest(f.Path, c.digests[i], int(algo)); err != nil {
				return nil, err
			}
			if digests[i].algo == algoSHA256 {
				hex.Decode(f.SHA256[:], []byte(c.digests[i])) // newDigest has seen to it
			}
			sets[[2]uint64{c.devs[i], c.inodes[i]}] = append(sets[[2]uint64{c.devs[i], c.inodes[i]}], i)
		}
		if err := p.addFile(f); err != nil {
			return nil, err
		}
	}
	number := 0
	for _, set := range sets {
		if len(set) > 1 {
			number++
			for _, i := range set {
				digests[i].set = number
			}
		}
	}
	return digests, nil
}

// file makes an entry of row i.
func (p *Info) file(c columns, i int) (File, error) {
	base := c.names[i]
	f := File{Path: c.dirs[c.indexes[i]] + base, Owner: c.owners[i], Group: c.groups[i], Mode: fs.FileMode(c.modes[i] & 0o777)}
	if base == "" && f.Path == "/" {
		base = "/" // the package that owns the root
	}
	if base == "" || base == "." || base == ".." || base != "/" && strings.Contains(base, "/") || !printable(base) || len(f.Path) > maxPath || p.IsSource && !path.IsAbs(f.Path) && f.Path != base {
		return f, malformed("has a file named %.100q", f.Path)
	}
	if c.sizes[i] > math.MaxInt64 || !printable(f.Owner) || !printable(f.Group) || !printable(c.links[i]) {
		return f, badFile(f.Path, "has the size %d, owner %.100q, group %.100q and link %.100q", c.sizes[i], f.Owner, f.Group, c.links[i])
	}
	for bit, mode := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if c.modes[i]&bit != 0 {
			f.Mode |= mode
		}
	}
	switch {
	case c.flags[i]&fileGhost != 0:
		f.Kind = Ghost
	case c.modes[i]&modeType == modeDir:
		f.Kind = Directory
	case c.modes[i]&modeType == modeLink:
		if f.Kind, f.Link = Symlink, c.links[i]; f.Link == "" {
			return f, badFile(f.Path, "is a link to nothing")
		}
	case c.modes[i]&modeType != modeRegular:
		f.Kind = Special
	default:
		f.Size = int64(c.sizes[i])
		switch {
		case c.flags[i]&fileConfig != 0:
			f.Kind = Config
		case c.flags[i]&fileLicense != 0:
			f.Kind = License
		}
	}
	return f, nil
}

func newDigest(name, want string, algo int) (digest, error) {
	length := map[int]int{algoSHA256: 64, algoSHA384: 96, algoSHA512: 128}[algo]
	if length == 0 {
		return digest{}, badFile(name, "has a digest by algorithm %d, which is weaker than SHA-256 or unknown", algo)
	}
	if b, err := hex.DecodeString(want); err != nil || 2*len(b) != length {
		return digest{}, badFile(name, "has the digest %.100q", want)
	}
	return digest{algo: algo, want: strings.ToLower(want)}, nil
}
