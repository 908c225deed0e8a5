package safearchive

import (
	"slices"
	"strings"

	"appbundle/internal/invariant"
)

// A Type is a kind of entry.
type Type uint8

// The kinds of entries that an archive may hold.
const (
	Dir  Type = iota + 1 // a directory
	File                 // a regular file
	Link                 // a symbolic link
)

// String names the kind as messages do.
func (t Type) String() string {
	switch t {
	case Dir:
		return "directory"
	case File:
		return "file"
	case Link:
		return "symbolic link"
	}
	return "unknown type"
}

// maxHops is how many links the kernel follows in one path.
const maxHops = 40

// root is the index of the top directory in tree.nodes.
const root = 0

// A tree knows every name of an archive, as components below their directory:
// that is small, it makes a collision anywhere on a path visible, and link
// targets can be walked in it.
type tree struct {
	lim      *Limits
	fold     folder
	nodes    []node
	children map[child]int32 // by folded name
	links    []link
	names    int64 // bytes of all names and targets

	lastDir  string // the directory of the last entry, and its node
	lastNode int32
}

type node struct {
	name     string // as written
	size     int64  // of a file
	parent   int32
	link     int32 // index in tree.links
	kind     Type
	explicit bool // the archive has an entry for it
}

type child struct {
	parent int32
	key    string
}

type link struct {
	target string
	node   int32
	state  linkState
	hops   int   // links that following this one passes, itself included
	dest   int32 // the node at the end, -1 for none; valid when walked
}

type linkState uint8

const (
	unwalked linkState = iota
	walking
	walked
)

func newTree(lim *Limits) *tree {
	return &tree{
		lim:      lim,
		fold:     newFolder(),
		nodes:    []node{{kind: Dir}},
		children: map[child]int32{},
	}
}

// addRoot takes note of an entry for the top directory itself.
func (t *tree) addRoot() error {
	if t.nodes[root].explicit {
		return refuse("./", "the same name occurs twice")
	}
	t.nodes[root].explicit = true
	return nil
}

// add takes an entry whose name was checked into the tree, with the
// directories that the name implies, and returns its node.
func (t *tree) add(path string, kind Type, size int64) (int32, error) {
	dir, base := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, base = path[:i], path[i+1:]
	}
	parent, err := t.directory(path, dir)
	if err != nil {
		return 0, err
	}
	i, key, found := t.find(parent, base)
	if !found {
		return t.insert(path, node{name: base, size: size, parent: parent, kind: kind, explicit: true}, key)
	}
	n := &t.nodes[i]
	switch {
	case n.name != base:
		return 0, t.collision(path, i)
	case n.kind == Dir && kind == Dir && !n.explicit:
		n.explicit = true
		return i, nil
	case n.kind == kind:
		return 0, refuse(path, "the same name occurs twice")
	}
	return 0, refuse(path, "a %s replaces a %s", kind, n.kind)
}

// directory finds or makes the directory dir on the way to path.
func (t *tree) directory(path, dir string) (int32, error) {
	if dir == "" {
		return root, nil
	}
	if dir == t.lastDir {
		return t.lastNode, nil
	}
	at := int32(root)
	for part := range strings.SplitSeq(dir, "/") {
		i, key, found := t.find(at, part)
		if !found {
			var err error
			if i, err = t.insert(path, node{name: part, parent: at, kind: Dir}, key); err != nil {
				return 0, err
			}
		} else if n := &t.nodes[i]; n.name != part {
			return 0, t.collision(path, i)
		} else if n.kind != Dir {
			return 0, refuse(path, "name leads through the %s %s", n.kind, quote(t.path(i)))
		}
		at = i
	}
	t.lastDir, t.lastNode = dir, at
	return at, nil
}

func (t *tree) find(parent int32, name string) (i int32, key string, found bool) {
	key = t.fold.key(name)
	i, found = t.children[child{parent, key}]
	return i, key, found
}

// insert appends n. Names are cloned: a component must not keep the long path
// alive that it was cut from.
func (t *tree) insert(path string, n node, key string) (int32, error) {
	if len(t.nodes) > t.lim.Entries { // the root does not count
		return 0, over(path, LimitEntries, t.lim.Entries)
	}
	same := key == n.name
	n.name = strings.Clone(n.name)
	if same {
		key = n.name
	}
	if err := t.keep(path, n.name); err != nil {
		return 0, err
	}
	i := int32(len(t.nodes))
	invariant.Check(n.parent < i, "node %d of %q comes before its parent %d", i, path, n.parent)
	t.nodes = append(t.nodes, n)
	t.children[child{n.parent, key}] = i
	return i, nil
}

// keep accounts for a string that stays in memory.
func (t *tree) keep(path, s string) error {
	if t.names += int64(len(s)); t.names > t.lim.Names {
		return over(path, LimitNames, t.lim.Names)
	}
	return nil
}

func (t *tree) collision(path string, i int32) error {
	// In ASCII, because the two may look the same.
	return refuse(path, "name is the same as %+q where case or Unicode form do not count", t.path(i))
}

// path gives the whole name of a node.
func (t *tree) path(i int32) string {
	var parts []string
	for ; i != root; i = t.nodes[i].parent {
		parts = append(parts, t.nodes[i].name)
	}
	slices.Reverse(parts)
	return strings.Join(parts, "/")
}

// addHard takes a hard link into the tree as a file of its own, and returns
// the size of its target.
func (t *tree) addHard(path, target string) (int64, error) {
	if err := checkTarget(path, target, t.lim); err != nil {
		return 0, err
	}
	if err := checkName(target, t.lim); err != nil {
		return 0, refuse(path, "hard link to %s, which is no name of an entry", quote(target))
	}
	at := int32(root)
	for part := range strings.SplitSeq(target, "/") {
		i, _, found := t.find(at, part)
		if !found || t.nodes[i].name != part {
			return 0, refuse(path, "hard link to %s, which is not an earlier entry", quote(target))
		}
		at = i
	}
	n := t.nodes[at]
	if n.kind != File {
		return 0, refuse(path, "hard link to %s, which is a %s", quote(target), n.kind)
	}
	_, err := t.add(path, File, n.size)
	return n.size, err
}

// addLink takes a symbolic link into the tree, whose target is set when it is
// known.
func (t *tree) addLink(path string) error {
	i, err := t.add(path, Link, 0)
	if err != nil {
		return err
	}
	t.nodes[i].link = int32(len(t.links))
	t.links = append(t.links, link{node: i})
	return nil
}

// setTarget says where the link n leads. That is judged by checkLinks, when all
// names are known.
func (t *tree) setTarget(n int, path, target string) error {
	if err := checkTarget(path, target, t.lim); err != nil {
		return err
	}
	if target[0] == '/' {
		return refuse(path, "link to the absolute path %s", quote(target))
	}
	t.links[n].target = strings.Clone(target)
	return t.keep(path, target)
}

// checkTarget checks the text of a link's target.
func checkTarget(path, target string, lim *Limits) error {
	if target == "" {
		return refuse(path, "link with an empty target")
	}
	if len(target) > lim.Path {
		return over(path, LimitPath, lim.Path)
	}
	if why := checkText(target); why != "" {
		return refuse(path, "link to %s: target %s", quote(target), why)
	}
	for part := range strings.SplitSeq(target, "/") {
		if len(part) > lim.Component {
			return over(path, LimitComponent, lim.Component)
		}
	}
	return nil
}

// checkLinks walks the target of every link.
func (t *tree) checkLinks() error {
	for i := range t.links {
		if why := t.walk(int32(i), 0); why != "" {
			l := &t.links[i]
			return refuse(t.path(l.node), "link to %s %s", quote(l.target), why)
		}
	}
	return nil
}

// walk follows link i as a kernel would and records where it leads. It returns
// the end of a sentence when that must not be. Each link is walked once, however
// many lead to it, so that all links together cost the length of their targets.
func (t *tree) walk(i int32, depth int) string {
	l := &t.links[i]
	switch {
	case l.state == walked:
		return ""
	case l.state == walking:
		return "is part of a loop"
	case depth >= maxHops:
		return "passes too many links"
	}
	l.state, l.hops = walking, 1
	at := t.nodes[l.node].parent // -1 behind a name that does not exist
	for part := range strings.SplitSeq(l.target, "/") {
		var why string
		switch {
		case part == "" || part == ".":
		case part == "..":
			at, why = t.up(at)
		case at >= 0:
			at, why = t.down(l, at, part, depth)
		}
		if why != "" {
			return why
		}
	}
	l.dest, l.state = at, walked
	return ""
}

// up is the step of a walk over a ".." component.
func (t *tree) up(at int32) (int32, string) {
	if at < 0 || t.nodes[at].kind != Dir {
		// What is missing now may be a link by the time it is followed.
		return 0, "has a .. behind a name that is no directory of the archive"
	}
	if at == root {
		return 0, "climbs out of the archive"
	}
	return t.nodes[at].parent, ""
}

// down is the step of a walk of l over the component part; -1 means that there
// is nothing with that name.
func (t *tree) down(l *link, at int32, part string, depth int) (int32, string) {
	next, _, found := t.find(at, part)
	if !found || t.nodes[next].name != part {
		return -1, ""
	}
	if t.nodes[next].kind != Link {
		return next, ""
	}
	via := t.nodes[next].link
	if why := t.walk(via, depth+1); why != "" {
		return 0, why
	}
	if l.hops += t.links[via].hops; l.hops > maxHops {
		return 0, "passes too many links"
	}
	return t.links[via].dest, ""
}
