package fetch

import (
	"errors"
	"net/url"
)

// What an [*Error] may be.
var (
	ErrNotFound    = errors.New("not found")
	ErrDenied      = errors.New("access denied")
	ErrUnreachable = errors.New("unreachable")
	ErrOffline     = errors.New("not in the cache, and offline")
	ErrAltered     = errors.New("not the file that was asked for")
)

// An Error says why a URL could not be fetched.
type Error struct {
	URL    string // without credentials, query and fragment
	Status int    // of HTTP; 0 where it did not come to that
	Reason string

	Err error // one of the above, or the cause; may be nil
}

// Error names the URL and the reason.
func (e *Error) Error() string { return e.URL + ": " + e.Reason }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Display gives a URL as messages show it: without user, password, query and
// fragment.
func Display(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "a URL that cannot be read"
	}
	return display(u)
}

func display(u *url.URL) string {
	shown := *u
	shown.User, shown.RawQuery, shown.ForceQuery, shown.Fragment, shown.RawFragment = nil, "", false, "", ""
	return shown.String()
}
