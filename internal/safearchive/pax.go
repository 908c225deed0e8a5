package safearchive

import (
	"bytes"
	"strconv"
	"strings"
)

// An extension is what the extended headers before an entry say about it.
type extension struct {
	name, link        string
	size              int64
	hasName, hasLink  bool
	hasSize           bool
	local, gnuN, gnuL bool   // kinds seen: each at most once
	bytes             int64  // of all bodies
	forbidden         string // what a record asks for that is refused
}

// any reports whether an entry must follow.
func (x *extension) any() bool { return x.local || x.gnuN || x.gnuL }

// take decodes the body of an extended header.
func (x *extension) take(kind byte, body []byte) error {
	switch kind {
	case 'x':
		if x.local {
			return refuse("", "two extended headers for one entry")
		}
		x.local = true
		return x.pax(body)
	case 'g':
		if x.any() {
			return refuse("", "a global header between an extended header and its entry")
		}
		return global(body)
	case 'L':
		if x.gnuN || x.hasName {
			return refuse("", "two names for one entry")
		}
		x.gnuN = true
		return gnuName(body, &x.name, &x.hasName)
	default: // 'K'
		if x.gnuL || x.hasLink {
			return refuse("", "two link targets for one entry")
		}
		x.gnuL = true
		return gnuName(body, &x.link, &x.hasLink)
	}
}

// gnuName decodes a long name, which ends with a NUL.
func gnuName(body []byte, name *string, has *bool) error {
	text := bytes.TrimRight(body, "\x00")
	if bytes.IndexByte(text, 0) >= 0 {
		return refuse("", "a long name has a NUL in it")
	}
	*name, *has = string(text), true
	return nil
}

// pax decodes the records for one entry.
func (x *extension) pax(body []byte) error {
	return records(body, func(key, value string) error {
		if why := forbidden(key); why != "" && x.forbidden == "" {
			x.forbidden = why + " (" + quote(key) + ")"
		}
		switch key {
		case "path":
			if x.hasName {
				return refuse(value, "two names for one entry")
			}
			x.name, x.hasName = value, true
		case "linkpath":
			if x.hasLink {
				return refuse(x.name, "two link targets for one entry")
			}
			x.link, x.hasLink = value, true
		case "size":
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil || x.hasSize {
				return refuse(x.name, "bad size %s in an extended header", quote(value))
			}
			x.size, x.hasSize = int64(n), true
		}
		return nil
	})
}

// global decodes records for all that follows. What would change a name, a
// target or a size is refused, whatever the value; the rest means nothing here.
func global(body []byte) error {
	return records(body, func(key, _ string) error {
		if why := forbidden(key); why != "" {
			return refuse("", "%s (%s) in a global header", why, quote(key))
		}
		switch key {
		case "path", "linkpath", "size":
			return refuse("", "global header with a %s for all that follows", key)
		}
		return nil
	})
}

// forbidden says what a key stands for when it is refused.
func forbidden(key string) string {
	switch {
	case strings.HasPrefix(key, "GNU.sparse."), key == "SCHILY.realsize":
		return "sparse files are refused"
	case strings.HasPrefix(key, "GNU.volume."):
		return "parts of several volumes are refused"
	case strings.HasPrefix(key, "SCHILY.xattr."), strings.HasPrefix(key, "LIBARCHIVE.xattr."):
		return "extended attributes and capabilities are refused"
	case strings.HasPrefix(key, "SCHILY.acl."), strings.HasPrefix(key, "RHT.security."):
		return "access control lists and labels are refused"
	case key == "SCHILY.filetype":
		return "another file type in an extended header is refused"
	}
	return ""
}

// records calls each for every "LENGTH KEY=VALUE\n" in body.
func records(body []byte, each func(key, value string) error) error {
	for len(body) > 0 {
		sp := bytes.IndexByte(body[:min(len(body), 9)], ' ')
		if sp <= 0 || body[0] < '1' || body[0] > '9' {
			return refuse("", "is damaged: malformed extended header")
		}
		n, err := strconv.ParseUint(string(body[:sp]), 10, 31)
		if err != nil || int(n) < sp+2 || int(n) > len(body) || body[n-1] != '\n' {
			return refuse("", "is damaged: malformed extended header")
		}
		key, value, ok := strings.Cut(string(body[sp+1:n-1]), "=")
		if !ok || key == "" {
			return refuse("", "is damaged: malformed extended header")
		}
		if err := each(key, value); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}

// apply replaces in h what the extended headers say. What they may not say is
// refused only here, where the name of the entry is known.
func (x *extension) apply(h *header) error {
	if x.hasName {
		h.name = x.name
	}
	if x.hasLink {
		h.link = x.link
	}
	if x.hasSize {
		h.size = x.size
	}
	if x.forbidden != "" {
		return refuse(h.name, "%s", x.forbidden)
	}
	return nil
}
