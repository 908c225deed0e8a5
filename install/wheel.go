package install

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"appbundle/internal/safearchive"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

const (
	maxMetadata = 16 << 20 // bytes of a file in dist-info that is read
	maxScripts  = 10_000   // entry points
)

// A wheel is a wheel whose directory was read, and whose parts about itself.
type wheel struct {
	*safearchive.Zip
	file    string // its name
	index   map[string]int
	info    string // directories of the archive
	data    string // "" for none
	name    string
	version string
	warning string
	record  map[string]recorded
	scripts []entryPoint
}

// A recorded file is a line of RECORD.
type recorded struct {
	algorithm string
	sum       string // raw bytes
	size      int64  // -1 for none
}

// An entryPoint is a console or GUI script.
type entryPoint struct{ name, module, attr string }

// refused says why a wheel is not installed.
func (w *wheel) refused(entry, format string, args ...any) error {
	return &safearchive.RefusedError{Archive: w.file, Entry: entry, Reason: fmt.Sprintf(format, args...)}
}

// openWheel reads what the wheel file, size bytes of r, says of itself.
func openWheel(file string, r io.ReaderAt, size int64) (*wheel, error) {
	z, err := safearchive.OpenZip(file, r, size, safearchive.Limits{File: 2 << 30, RatioAfter: 64 << 20})
	if err != nil {
		return nil, err
	}
	w := &wheel{Zip: z, file: file, index: map[string]int{}}
	for i, e := range z.Entries() {
		if e.Type == safearchive.File {
			w.index[e.Path] = i
		}
	}
	for _, step := range []func() error{w.directories, w.format, w.metadata, w.readRecord, w.entryPoints} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// directories finds dist-info and data.
func (w *wheel) directories() error {
	want, err := pep508.ParseWheelName(w.file)
	if err != nil {
		return w.refused("", "has a name that says nothing: %v", err)
	}
	for _, e := range w.Entries() {
		top, _, isBelow := strings.Cut(e.Path, "/")
		if !isBelow && e.Type != safearchive.Dir {
			continue
		}
		kind := &w.info
		stem, ok := strings.CutSuffix(top, ".dist-info")
		if !ok {
			kind = &w.data
			if stem, ok = strings.CutSuffix(top, ".data"); !ok {
				continue
			}
		}
		switch {
		case *kind == top:
		case *kind != "":
			return w.refused("", "has both %s and %s", *kind, top)
		case !isOf(stem, want):
			return w.refused(top, "is of another package than the wheel")
		}
		*kind = top
	}
	if w.info == "" {
		return w.refused("", "has no dist-info directory")
	}
	return nil
}

// isOf reports whether stem is NAME-VERSION of the wheel.
func isOf(stem string, want pep508.WheelName) bool {
	i := strings.LastIndexByte(stem, '-')
	if i < 0 || pep508.NormalizeName(stem[:i]) != want.Name {
		return false
	}
	v, err := pep440.Parse(strings.ReplaceAll(stem[i+1:], "_", "-"))
	return err == nil && pep440.Compare(v, want.Version) == 0
}

// read gives the content of a file in dist-info; ok is false where there is none.
func (w *wheel) read(name string) (text []byte, ok bool, err error) {
	at := w.info + "/" + name
	i, ok := w.index[at]
	if !ok {
		return nil, false, nil
	}
	if w.Entries()[i].Size > maxMetadata {
		return nil, false, w.refused(at, "has more than %d bytes", maxMetadata)
	}
	text, err = io.ReadAll(w.Open(i))
	return text, true, err
}

// need is read for a file that must be there.
func (w *wheel) need(name string) ([]byte, error) {
	text, ok, err := w.read(name)
	if err == nil && !ok {
		err = w.refused("", "has no %s/%s", w.info, name)
	}
	return text, err
}

// format checks the version of the format.
func (w *wheel) format() error {
	text, err := w.need("WHEEL")
	if err != nil {
		return err
	}
	version := header(text, "Wheel-Version")
	major, minor, _ := strings.Cut(version, ".")
	switch {
	case major != "1":
		return w.refused("", "is a wheel of the version %q, and 1 is read", version)
	case strings.Trim(minor, "0") != "":
		w.warning = fmt.Sprintf("%s is a wheel of the version %.20q, newer than 1.0", w.file, version)
	}
	return nil
}

// metadata checks name and version.
func (w *wheel) metadata() error {
	text, err := w.need("METADATA")
	if err != nil {
		return err
	}
	want, err := pep508.ParseWheelName(w.file)
	if err != nil {
		return err
	}
	name, version := header(text, "Name"), header(text, "Version")
	v, err := pep440.Parse(version)
	if err != nil || pep508.NormalizeName(name) != want.Name || pep440.Compare(v, want.Version) != 0 {
		return w.refused("", "says that it is %.80q %.80q", name, version)
	}
	w.name, w.version = want.Name, version
	return nil
}

// header gives the first field of that name in the header of a message.
func header(text []byte, name string) string {
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		field, value, ok := strings.Cut(string(line), ":")
		if ok && strings.EqualFold(field, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// unrecorded are the files of dist-info that RECORD has no hash of.
var unrecorded = []string{"RECORD", "RECORD.jws", "RECORD.p7s"}

// readRecord reads RECORD, and holds it and the archive to the same files.
func (w *wheel) readRecord() error {
	text, err := w.need("RECORD")
	if err != nil {
		return err
	}
	at := w.info + "/RECORD"
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord = 3
	r.ReuseRecord = true
	w.record = make(map[string]recorded, len(w.index))
	for {
		fields, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return w.refused(at, "is no list: %v", err)
		}
		path := fields[0]
		if _, twice := w.record[path]; twice {
			return w.refused(path, "occurs twice in RECORD")
		}
		if _, ok := w.index[path]; !ok && !w.isUnrecorded(path) {
			return w.refused(path, "is in RECORD and not in the wheel")
		}
		line, why := parseRecorded(fields[1], fields[2])
		if why != "" && !w.isUnrecorded(path) {
			return w.refused(path, "%s in RECORD", why)
		}
		w.record[path] = line
	}
	for _, e := range w.Entries() {
		if _, ok := w.record[e.Path]; !ok && e.Type == safearchive.File && !w.isUnrecorded(e.Path) {
			return w.refused(e.Path, "is not in RECORD")
		}
	}
	return nil
}

func (w *wheel) isUnrecorded(path string) bool {
	for _, name := range unrecorded {
		if path == w.info+"/"+name {
			return true
		}
	}
	return false
}

var sumSizes = map[string]int{"sha256": 32, "sha384": 48, "sha512": 64}

func parseRecorded(hash, size string) (line recorded, why string) {
	algorithm, text, _ := strings.Cut(hash, "=")
	sum, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(sum) == 0 || len(sum) != sumSizes[algorithm] {
		return line, "has no sha256, sha384 or sha512"
	}
	line = recorded{algorithm, string(sum), -1}
	if size != "" {
		if line.size, err = strconv.ParseInt(size, 10, 64); err != nil || line.size < 0 {
			return line, "has no size"
		}
	}
	return line, ""
}

// reference is the object of an entry point: module:attribute, and extras,
// which mean nothing.
var reference = regexp.MustCompile(`^([\pL_][\pL\pN_.]*)\s*:\s*([\pL_][\pL\pN_.]*)\s*(?:\[.*\])?$`)

// entryPoints reads the scripts of entry_points.txt. Other groups are for the
// package itself.
func (w *wheel) entryPoints() error {
	text, ok, err := w.read("entry_points.txt")
	if err != nil || !ok {
		return err
	}
	at := w.info + "/entry_points.txt"
	section := ""
	for raw := range strings.Lines(string(text)) {
		line := strings.TrimSpace(raw)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '[':
			section = strings.Trim(line, "[] \t")
			continue
		case section != "console_scripts" && section != "gui_scripts":
			continue
		}
		name, object, _ := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		m := reference.FindStringSubmatch(strings.TrimSpace(object))
		if m == nil {
			return w.refused(at, "has the script %.80q without module:attribute", line)
		}
		if why := badScript(name); why != "" {
			return w.refused(at, "script %.80q %s", name, why)
		}
		if w.scripts = append(w.scripts, entryPoint{name, m[1], m[2]}); len(w.scripts) > maxScripts {
			return w.refused(at, "has more than %d scripts", maxScripts)
		}
	}
	return nil
}

// environments are the names of the interpreter and of what activates it, those
// of other versions and shells too. Others only begin like them: argcomplete has
// activate-global-python-argcomplete.
var environments = regexp.MustCompile(`^(python(w|[0-9][0-9.]*[a-z]?)?(\.exe)?|activate(\..*|_this\.py)?)$`)

// badScript says why no script may have that name, "" where it may.
func badScript(name string) string {
	lower := strings.ToLower(name)
	switch {
	case name == "" || len(name) > 255 || strings.ContainsAny(name, `/\`):
		return "is no name of a file"
	case name[0] == '.' || name[0] == '-':
		return "begins with a dot or a dash"
	case strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f || r == 0xfffd }):
		return "has a control character"
	case environments.MatchString(lower):
		return "belongs to the environment"
	}
	return ""
}
