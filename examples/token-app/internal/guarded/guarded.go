// Package guarded fetches small JSON documents from hosts that strangers may have
// named, and remembers within limits.
//
// A [Client] speaks https to names in the public DNS, on port 443, and connects to
// public addresses only: an address is judged when it is connected to, after the
// name was resolved, so that a name that points into the own network reaches
// nothing. It follows no redirect, uses no proxy, reads a body up to a limit, and is
// done after some seconds. What the operator wrote down himself, an identity provider
// in his own network, is an exception that he makes by name.
//
// A [Cache] has what was fetched: one fetch of a name at a time, old documents while
// new ones cannot be had, and a pause after failures. A [Memory] has verdicts, for as
// long as they hold.
package guarded

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Config is how to reach others.
type Config struct {
	Timeout    time.Duration  // of a whole exchange; 0 means 5 s
	Concurrent int            // exchanges at a time; 0 means 8
	Roots      *x509.CertPool // who vouches for certificates; nil means the system

	// Private has the hosts, with ":port" where it is not 443, that may be at any
	// address.
	Private []string

	// Connect has, for a "host:port" of a URL, the address and port to connect to,
	// which may be any. The certificate is still the host's.
	Connect map[string]string
}

// A Client fetches documents. It is for many goroutines.
type Client struct {
	cfg   Config
	http  *http.Client
	slots chan struct{}
}

const (
	maxHeader = 32 << 10
	agent     = "token-app"
)

// New makes a client.
func New(cfg Config) *Client {
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Concurrent == 0 {
		cfg.Concurrent = 8
	}
	c := &Client{cfg: cfg, slots: make(chan struct{}, cfg.Concurrent)}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:            c.dial,
			TLSClientConfig:        &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			DisableCompression:     true,
			MaxIdleConns:           2 * cfg.Concurrent,
			MaxIdleConnsPerHost:    cfg.Concurrent,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// Close ends the connections that nobody uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// dial connects to what the operator named for host, or to a public address of it.
func (c *Client) dial(ctx context.Context, network, hostPort string) (net.Conn, error) {
	var d net.Dialer
	if address, ok := c.cfg.Connect[hostPort]; ok {
		return d.DialContext(ctx, network, address)
	}
	if !c.private(hostPort) {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil || !Public(a.Addr()) {
				return errors.New("its address is not a public one")
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, hostPort)
}

func (c *Client) private(hostPort string) bool {
	return slices.Contains(c.cfg.Private, strings.TrimSuffix(hostPort, ":443")) ||
		slices.Contains(c.cfg.Private, hostPort)
}

// notPublic has the networks, of those that Public does not refuse otherwise, that
// are no place for a server on the internet (RFC 6890 and the registries of IANA).
// What carries an IPv4 address inside is among them.
var notPublic = func() (list []netip.Prefix) {
	for _, text := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	} {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}()

// unicast6 is all of IPv6 that is given to networks of the internet.
var unicast6 = netip.MustParsePrefix("2000::/3")

// Public reports whether an address is one of the internet.
func Public(a netip.Addr) bool {
	if a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if a.Is6() && !unicast6.Contains(a) {
		return false
	}
	return a.IsValid() && !slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
}

// inside has the domains that are not of the public DNS (RFC 6761, 6762, 8375 and
// 9476, and ICANN's choice for networks of one's own).
var inside = []string{"localhost", "local", "internal", "home.arpa", "alt", "onion", "test", "invalid"}

// Host says what keeps a name from being a host in the public DNS: at least two labels
// of small letters, digits and hyphens, the last one beginning with a letter.
func Host(name string) error {
	if len(name) > 253 {
		return errors.New("host: the name is longer than 253 bytes")
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return errors.New("host: it is not a name of letters, digits and hyphens")
		}
	}
	if last := labels[len(labels)-1]; len(labels) < 2 || last[0] < 'a' {
		return errors.New("host: it is an address, or has no domain")
	}
	for _, domain := range inside {
		if strings.HasSuffix("."+name, "."+domain) {
			return fmt.Errorf("host: .%s is not public", domain)
		}
	}
	return nil
}

// URL says what keeps a client from fetching an address.
func (c *Client) URL(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("URL: it cannot be read")
	}
	if u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return errors.New("URL: it is not https://HOST/PATH")
	}
	hostPort := u.Host
	if u.Port() == "" {
		hostPort += ":443"
	}
	if _, ok := c.cfg.Connect[hostPort]; ok || c.private(hostPort) {
		return nil
	}
	if p := u.Port(); p != "" && p != "443" {
		return fmt.Errorf("URL: port %s is not 443; name the host as a private one", p)
	}
	return Host(u.Hostname())
}

// An Answer is a document.
type Answer struct {
	Body []byte

	// MaxAge is how long the server wants it to be kept, and below 0 when it does
	// not say.
	MaxAge time.Duration
}

// A StatusError is an answer that is no document.
type StatusError struct {
	Host   string
	Status int
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: status %d", e.Host, e.Status)
}

// Get fetches a document of at most limit bytes.
func (c *Client) Get(ctx context.Context, address string, limit int64) (Answer, error) {
	return c.exchange(ctx, http.MethodGet, address, nil, nil, limit)
}

// Post sends a form, with a user and a password, and reads what is answered.
func (c *Client) Post(ctx context.Context, address string, form url.Values, user *url.Userinfo, limit int64) (Answer, error) {
	return c.exchange(ctx, http.MethodPost, address, form, user, limit)
}

func (c *Client) exchange(ctx context.Context, method, address string, form url.Values, user *url.Userinfo, limit int64) (Answer, error) {
	if err := c.URL(address); err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("others are being asked: %w", ctx.Err())
	}
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return Answer{}, errors.New("URL: it cannot be asked")
	}
	req.Header.Set("User-Agent", agent)
	req.Header.Set("Accept", "application/json")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if user != nil {
		password, _ := user.Password()
		// RFC 6749, section 2.3.1: both are written as in a form first.
		req.SetBasicAuth(url.QueryEscape(user.Username()), url.QueryEscape(password))
	}
	host := req.URL.Host
	resp, err := c.http.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL
		}
		return Answer{}, fmt.Errorf("%s: %w", host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Answer{}, &StatusError{host, resp.StatusCode}
	}
	switch kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind {
	case "application/json", "application/jwk-set+json", "application/token-introspection+json":
	default:
		return Answer{}, fmt.Errorf("%s: the answer is not application/json", host)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w", host, err)
	}
	if int64(len(body)) > limit {
		return Answer{}, fmt.Errorf("%s: the answer is longer than %d bytes", host, limit)
	}
	return Answer{body, maxAge(resp.Header.Values("Cache-Control"))}, nil
}

// maxAge reads a Cache-Control (RFC 9111, section 5.2.2): -1 when it says nothing.
func maxAge(values []string) time.Duration {
	age := time.Duration(-1)
	for d := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(d)), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				age = time.Duration(n) * time.Second
			}
		}
	}
	return age
}
