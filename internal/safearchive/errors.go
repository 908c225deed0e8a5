package safearchive

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// maxQuoted is how much of a hostile name a message shows, in bytes.
const maxQuoted = 160

// A RefusedError says why an archive is refused: it breaks a rule of the
// package, is damaged, or is no archive of ours.
type RefusedError struct {
	Archive string // as NewReader was told
	Entry   string // the entry that is to blame, "" for the whole archive
	Reason  string // a sentence about the entry or the archive
}

// Error gives "ARCHIVE: "ENTRY": reason".
func (e *RefusedError) Error() string { return where(e.Archive, e.Entry) + e.Reason }

// A LimitError is a refusal that a larger limit would have avoided. For
// [errors.As] it is a [*RefusedError] too.
type LimitError struct {
	Archive string // as NewReader was told
	Entry   string // the entry that is to blame, "" for the whole archive
	Limit   Limit
	Max     int64 // the value that was exceeded
}

// Error gives "ARCHIVE: "ENTRY": total size is over the limit of 100 bytes".
func (e *LimitError) Error() string { return where(e.Archive, e.Entry) + e.reason() }

// Unwrap returns the refusal as one without a limit.
func (e *LimitError) Unwrap() error {
	return &RefusedError{Archive: e.Archive, Entry: e.Entry, Reason: e.reason()}
}

func (e *LimitError) reason() string {
	return fmt.Sprintf("%s is over the limit of %d%s", e.Limit, e.Max, e.Limit.unit())
}

// A ForeignError is the refusal of an archive in a format that is not ours. For
// [errors.As] it is a [*RefusedError] too.
type ForeignError struct {
	Archive string // as it was called
	Format  string // "xz data", "a rar archive"
	Known   bool   // it is read where [OpenOptions] ask for it
}

// Error gives "ARCHIVE: is xz data; an archive is …".
func (e *ForeignError) Error() string { return where(e.Archive, "") + e.reason() }

// Unwrap returns the refusal without the format.
func (e *ForeignError) Unwrap() error {
	return &RefusedError{Archive: e.Archive, Reason: e.reason()}
}

func (e *ForeignError) reason() string {
	return "is " + e.Format + "; an archive is tar.zst, tar.gz, tar or zip"
}

// where is the beginning of a message. Quoting shows what a terminal would
// hide or obey: control and bidirectional characters, bytes that are not UTF-8.
func where(archive, entry string) string {
	s := ""
	if archive != "" {
		s = archive + ": "
	}
	if entry != "" {
		s += quote(entry) + ": "
	}
	return s
}

// quote quotes a name, shortened when it is long.
func quote(name string) string {
	if len(name) <= maxQuoted {
		return strconv.Quote(name)
	}
	n := maxQuoted
	for n > maxQuoted-utf8.UTFMax && !utf8.RuneStart(name[n]) {
		n--
	}
	return strconv.Quote(name[:n]) + "…"
}

// refuse returns a refusal for the Reader to complete with the archive's name.
func refuse(entry, format string, args ...any) error {
	return &RefusedError{Entry: entry, Reason: fmt.Sprintf(format, args...)}
}

// over returns a passed limit for the Reader to complete.
func over[N int | int64](entry string, limit Limit, limitValue N) error {
	return &LimitError{Entry: entry, Limit: limit, Max: int64(limitValue)}
}
