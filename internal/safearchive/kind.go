package safearchive

import "strings"

// A kind is what a tar entry is, before it is a [Type].
type kind uint8

const (
	kindFile kind = iota + 1
	kindDir
	kindLink
	kindHard
)

// kindOf judges the type flag of a header with all that depends on it alone:
// mode bits, and a body where none may be.
func kindOf(h header) (kind, error) {
	k, err := flag(h)
	if err != nil {
		return 0, err
	}
	switch {
	case h.mode&^0o7777 != 0:
		return 0, refuse(h.name, "mode %#o has more than permission bits", h.mode)
	case h.mode&0o7000 != 0:
		return 0, refuse(h.name, "mode %#o has a setuid, setgid or sticky bit", h.mode)
	case k != kindFile && h.size != 0:
		return 0, refuse(h.name, "a directory or link with a body")
	case k != kindDir && strings.HasSuffix(h.name, "/"):
		return 0, refuse(h.name, "name of a directory on something else")
	}
	return k, nil
}

// flag judges the type flag itself.
func flag(h header) (kind, error) {
	switch h.kind {
	case 0: // before POSIX, a slash made the directory
		if strings.HasSuffix(h.name, "/") {
			return kindDir, nil
		}
		return kindFile, nil
	case '0', '7':
		return kindFile, nil
	case '5':
		return kindDir, nil
	case '2':
		return kindLink, nil
	case '1':
		return kindHard, nil
	case '3', '4':
		return 0, refuse(h.name, "is a device")
	case '6':
		return 0, refuse(h.name, "is a FIFO")
	case 'S':
		return 0, refuse(h.name, "sparse files are refused")
	case 'M':
		return 0, refuse(h.name, "is the rest of a file from another volume")
	}
	return 0, refuse(h.name, "is of the unknown type %q", h.kind)
}
