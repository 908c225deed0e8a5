package fetch

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// A Credential is a user and a password for what is below a URL.
type Credential struct {
	URL      string
	User     string
	Password string
}

// A login is a Credential whose URL was read.
type login struct {
	origin         string
	path           string
	user, password string
}

// Login remembers the user and the password that are written in a URL, and
// gives the URL without them.
func (c *Client) Login(rawURL string) (string, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return "", err
	}
	user := u.User
	u.User = nil
	if user != nil {
		password, _ := user.Password()
		if err := c.addLogin(Credential{u.String(), user.Username(), password}); err != nil {
			return "", err
		}
	}
	return u.String(), nil
}

func (c *Client) addLogin(cred Credential) error {
	u, err := parseURL(cred.URL)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logins = append(c.logins, login{origin(u), u.EscapedPath(), cred.User, cred.Password})
	return nil
}

// authorize sets the credentials of the origin of req, and no others.
func (c *Client) authorize(req *http.Request) {
	req.Header.Del("Authorization")
	if user, password, ok := c.credentials(req.URL); ok {
		req.SetBasicAuth(user, password)
	}
}

func (c *Client) credentials(u *url.URL) (user, password string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, longest := origin(u), -1
	for _, l := range c.logins {
		if l.origin != at {
			continue
		}
		if n := sharedPath(l.path, u.EscapedPath()); n > longest {
			user, password, ok, longest = l.user, l.password, true, n
		}
	}
	if ok && password != "" {
		return user, password, true
	}
	if u.Scheme != "https" && !isThisHost(u.Hostname()) {
		return user, password, ok
	}
	for _, e := range c.netrc {
		if strings.EqualFold(e.machine, u.Hostname()) && (!ok || user == e.login) {
			return e.login, e.password, true
		}
	}
	return user, password, ok
}

// sharedPath counts the leading segments that two paths have in common.
func sharedPath(a, b string) int {
	as, bs := strings.Split(strings.Trim(a, "/"), "/"), strings.Split(strings.Trim(b, "/"), "/")
	n := 0
	for n < len(as) && n < len(bs) && as[n] == bs[n] {
		n++
	}
	return n
}

// origin is what credentials are bound to.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

func isThisHost(name string) bool {
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// maxURL is the length of the longest URL, in bytes.
const maxURL = 4 << 10

// parseURL reads a URL that can be fetched. What is wrong with one is said
// without quoting it: there may be a password in it.
func parseURL(rawURL string) (*url.URL, error) {
	if len(rawURL) > maxURL {
		return nil, fmt.Errorf("a URL of %d bytes is longer than %d", len(rawURL), maxURL)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("a URL cannot be read")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%s: only http and https URLs with a host can be fetched", display(u))
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}
