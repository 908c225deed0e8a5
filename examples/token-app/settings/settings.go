// Package settings reads token-app.ini, the settings of the token server.
//
// The file is strict: a key or a section that nobody knows, one that is there
// twice, and a value that cannot be are errors that name the line. Paths are
// relative to the directory of the file. Secrets are not in it, but in files that
// it names. docs/SETTINGS.md lists what may be in it.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Settings are what a file says, with defaults for what it does not.
type Settings struct {
	Server    Server
	Services  []Service
	BrowserID *BrowserID // nil is not configured
	OAuth     []OAuth
	Network   Network
	Secrets   Secrets
	Store     Store
	Crypto    Crypto
	Limits    Limits
	NodeTypes []NodeType
}

// Server is the section [server].
type Server struct {
	Origin         string // as users know the server
	Listen         string // HOST:PORT or unix:PATH, where no socket is inherited
	State          string // directory of what the server keeps; empty is that of the supervisor
	Metrics        string // a path, HOST:PORT, or nothing
	Proxies        []netip.Prefix
	UnixProxy      bool
	MaxConnections int
	Timeout        time.Duration
	Grace          time.Duration
	RetryAfter     time.Duration
	Backoff        time.Duration
	BackoffShare   float64
	Unavailable    float64
}

// Service is a section [service:APP-VERSION].
type Service struct {
	App, Version string
	Pattern      string
	Scope        string // that bearer tokens have to have
	Token        string // signed or encrypted
	Duration     time.Duration
	NewUsers     bool
	NeedKeyID    bool
	Conditions   map[string]string
}

// BrowserID is the section [browserid].
type BrowserID struct {
	Audiences      []string
	AllowedIssuers []string
	TrustedIssuers []string
	Delegation     bool
	LegacyDomain   string // whose users nodes know by the local part of their address
	RS128          bool
	MaxAge         time.Duration // of assertions
	MaxCertificate time.Duration // of certificates
}

// OAuth is a section [oauth:NAME]: an issuer of bearer tokens.
type OAuth struct {
	Name           string
	Issuer         string
	JWKS           string // empty is what the issuer's metadata say
	Audiences      []string
	AnyAudience    bool
	PlainJWT       bool
	ScopePaths     bool
	EventAudiences []string // of Security Event Tokens
	Introspection  string
	ClientID       string
	ClientSecret   string // file
	EmailDomain    string // makes the account of a user SUBJECT@DOMAIN
}

// Network is the section [network]: how issuers are reached.
type Network struct {
	PrivateHosts []string // that may be at addresses which are not those of the internet
	Roots        string   // file with certificates, in PEM, of those who vouch for hosts
}

// Secrets is the section [secrets]: files, in which each line is a secret and the
// last one signs. One of Master, Nodes and Fixed is there.
type Secrets struct {
	Master  string // those of nodes are derived from it
	Nodes   string // a line for each node
	Fixed   string // the same for all nodes
	Metrics string // key of the names of users in logs
}

// Store is the section [store].
type Store struct {
	File string // of SQLite
	URL  string // file with the URL of PostgreSQL
}

// Crypto is the section [crypto].
type Crypto struct {
	Workers  bool // at POWERHOSE_MASTER, else in this process
	MintHere bool // tokens are made in this process, even where there are workers
	Slots    int
	Wait     time.Duration
	Deadline time.Duration
}

// Limits is the section [limits].
type Limits struct {
	PerAddress  float64
	Burst       int
	PerIssuer   float64
	IssuerBurst int
	NewUsers    int64         // of an issuer in NewUsersPer
	NewUsersPer time.Duration // 0 is an hour
	Users       int64         // of an issuer in all
}

// NodeType is a key of the section [node_types]: a label and the pattern of hosts
// that have it.
type NodeType struct{ Label, Pattern string }

// Load reads a file. Where it is wrong, the error has a line for each thing that
// is.
func Load(name string) (*Settings, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: it is bigger than %d bytes", name, maxFile)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return Parse(name, data)
}

// Parse reads the text of a file with a name.
func Parse(name string, data []byte) (*Settings, error) {
	groups, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	s := &Settings{
		Server: Server{Listen: "127.0.0.1:8000", MaxConnections: 4096, Timeout: 30 * time.Second, Grace: 25 * time.Second, RetryAfter: 30 * time.Minute},
		Crypto: Crypto{Slots: runtime.GOMAXPROCS(0), Wait: 500 * time.Millisecond, Deadline: 5 * time.Second},
		Limits: Limits{PerAddress: 20, Burst: 100},
	}
	r := reader{dir: filepath.Dir(name)}
	var errs []error
	for _, g := range groups {
		k, err := s.section(r, g)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, g.line, err))
			continue
		}
		errs = append(errs, k.apply(g)...)
	}
	if len(errs) == 0 {
		errs = s.check(name, groups)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

var (
	serviceName = regexp.MustCompile(`^([a-z][a-z0-9_]*)-([0-9a-z.]+)$`)
	labelForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
)

// section says what the keys of a section set. The error says that there is no
// such section.
func (s *Settings) section(r reader, g group) (keys, error) {
	kind, label := g.kind()
	labelled := slices.Contains([]string{"service", "oauth"}, kind)
	if labelled && !labelForm.MatchString(label) && kind != "service" {
		return nil, fmt.Errorf("[%s]: a section is written [%s:NAME]", g.name, kind)
	}
	if !labelled {
		kind = g.name
	}
	switch kind {
	case "server":
		return r.server(&s.Server), nil
	case "service":
		m := serviceName.FindStringSubmatch(label)
		if m == nil || len(label) > 30 {
			return nil, fmt.Errorf("[%s]: a service is written [service:APP-VERSION], such as [service:sync-1.5]", g.name)
		}
		s.Services = append(s.Services, Service{App: m[1], Version: m[2], Token: "signed", Duration: 30 * time.Minute, NewUsers: true, Conditions: map[string]string{}})
		return r.service(&s.Services[len(s.Services)-1]), nil
	case "browserid":
		s.BrowserID = &BrowserID{MaxAge: 10 * time.Minute, MaxCertificate: 25 * time.Hour}
		return r.browserID(s.BrowserID), nil
	case "oauth":
		s.OAuth = append(s.OAuth, OAuth{Name: label})
		return r.oauth(&s.OAuth[len(s.OAuth)-1]), nil
	case "network":
		return keys{"private_hosts": words(&s.Network.PrivateHosts), "roots": r.path(&s.Network.Roots)}, nil
	case "secrets":
		return keys{"master": r.path(&s.Secrets.Master), "nodes": r.path(&s.Secrets.Nodes), "fixed": r.path(&s.Secrets.Fixed), "metrics": r.path(&s.Secrets.Metrics)}, nil
	case "store":
		return keys{"file": r.path(&s.Store.File), "url": r.path(&s.Store.URL)}, nil
	case "crypto":
		return keys{
			"workers":  oneOf(map[string]func(){"powerhose": func() { s.Crypto.Workers = true }, "here": func() { s.Crypto.Workers = false }}),
			"mint":     oneOf(map[string]func(){"workers": func() { s.Crypto.MintHere = false }, "here": func() { s.Crypto.MintHere = true }}),
			"slots":    whole(&s.Crypto.Slots, 1, 1024),
			"wait":     length(&s.Crypto.Wait),
			"deadline": length(&s.Crypto.Deadline),
		}, nil
	case "limits":
		l := &s.Limits
		return keys{
			"per_address":      number(&l.PerAddress, 1e6),
			"burst":            whole(&l.Burst, 0, 1e6),
			"per_issuer":       number(&l.PerIssuer, 1e6),
			"issuer_burst":     whole(&l.IssuerBurst, 0, 1e6),
			"new_users":        whole(&l.NewUsers, 0, 1e12),
			"new_users_period": length(&l.NewUsersPer),
			"users":            whole(&l.Users, 0, 1e12),
		}, nil
	case "node_types":
		k := keys{}
		for _, v := range g.values {
			k[v.key] = func(v value) error {
				if _, err := filepath.Match(v.text, ""); err != nil || v.text == "" {
					return v.errorf("%q is not a pattern of hosts, such as *.eu.example.com", v.text)
				}
				s.NodeTypes = append(s.NodeTypes, NodeType{v.key, v.text})
				return nil
			}
		}
		return k, nil
	}
	return nil, fmt.Errorf("unknown section [%s]%s", g.name,
		meant(kind, []string{"server", "service", "browserid", "oauth", "network", "secrets", "store", "crypto", "limits", "node_types"}))
}

// A reader knows what paths are relative to.
type reader struct{ dir string }

func (r reader) server(s *Server) keys {
	return keys{
		"origin":            origin(&s.Origin),
		"listen":            r.listen(&s.Listen),
		"state":             r.dirPath(&s.State),
		"metrics":           metrics(&s.Metrics),
		"proxies":           proxies(s),
		"max_connections":   whole(&s.MaxConnections, 1, 1e6),
		"timeout":           length(&s.Timeout),
		"grace":             length(&s.Grace),
		"retry_after":       length(&s.RetryAfter),
		"backoff":           length(&s.Backoff),
		"backoff_share":     number(&s.BackoffShare, 1),
		"unavailable_share": number(&s.Unavailable, 1),
	}
}

func (r reader) service(s *Service) keys {
	return keys{
		"pattern": func(v value) error {
			if !strings.Contains(v.text, "{node}") || strings.ContainsAny(v.text, " \t") {
				return v.errorf("%q is not a pattern of endpoints, such as {node}/1.5/{uid}", v.text)
			}
			s.Pattern = v.text
			return nil
		},
		"scope": func(v value) error {
			if v.text == "" || strings.ContainsAny(v.text, " \t\"\\") {
				return v.errorf("%q is not a scope: one word", v.text)
			}
			s.Scope = v.text
			return nil
		},
		"token":     oneOf(map[string]func(){"signed": func() { s.Token = "signed" }, "encrypted": func() { s.Token = "encrypted" }}),
		"duration":  length(&s.Duration),
		"new_users": yes(&s.NewUsers),
		"key_id":    oneOf(map[string]func(){"optional": func() { s.NeedKeyID = false }, "required": func() { s.NeedKeyID = true }}),
		"conditions.*": func(v value) error {
			var to string
			if err := link(&to)(v); err != nil {
				return err
			}
			s.Conditions[strings.TrimPrefix(v.key, "conditions.")] = to
			return nil
		},
	}
}

func (r reader) browserID(b *BrowserID) keys {
	return keys{
		"audiences":       origins(&b.Audiences),
		"allowed_issuers": hosts(&b.AllowedIssuers),
		"trusted_issuers": hosts(&b.TrustedIssuers),
		"delegation":      yes(&b.Delegation),
		"legacy_domain":   host(&b.LegacyDomain),
		"rs128":           yes(&b.RS128),
		"max_age":         length(&b.MaxAge),
		"max_certificate": length(&b.MaxCertificate),
	}
}

func (r reader) oauth(o *OAuth) keys {
	return keys{
		"issuer":          link(&o.Issuer),
		"jwks":            link(&o.JWKS),
		"audiences":       words(&o.Audiences),
		"any_audience":    yes(&o.AnyAudience),
		"plain_jwt":       yes(&o.PlainJWT),
		"scope_paths":     yes(&o.ScopePaths),
		"event_audiences": words(&o.EventAudiences),
		"introspection":   link(&o.Introspection),
		"client_id":       text(&o.ClientID),
		"client_secret":   r.path(&o.ClientSecret),
		"email_domain":    host(&o.EmailDomain),
	}
}

// check looks at what has to be there, and at what does not go together.
func (s *Settings) check(name string, groups []group) []error {
	var errs []error
	in := func(section string, format string, args ...any) {
		at := name
		for _, g := range groups {
			if g.name == section {
				at = fmt.Sprintf("%s:%d", name, g.line)
			}
		}
		errs = append(errs, fmt.Errorf("%s: [%s]: %s", at, section, fmt.Sprintf(format, args...)))
	}
	if s.Server.Origin == "" {
		in("server", "origin is missing: the URL of the server as its users know it, such as https://token.example.com")
	}
	if len(s.Services) == 0 {
		in("service:APP-VERSION", "there is no service")
	}
	for _, svc := range s.Services {
		if svc.Duration < time.Second || svc.Duration > 24*time.Hour {
			in("service:"+svc.App+"-"+svc.Version, "duration: a token is good for 1s to 24h")
		}
		if svc.Scope == "" && len(s.OAuth) > 0 && svc.Pattern != "" {
			in("service:"+svc.App+"-"+svc.Version, "scope is missing: what a bearer token has to be good for")
		}
	}
	if s.BrowserID == nil && len(s.OAuth) == 0 {
		in("browserid", "nobody can be believed: there has to be [browserid] or an [oauth:NAME]")
	}
	if b := s.BrowserID; b != nil {
		if len(b.AllowedIssuers) == 0 {
			in("browserid", "allowed_issuers is missing: the hosts whose certificates are believed")
		}
		for _, t := range b.TrustedIssuers {
			if !slices.Contains(b.AllowedIssuers, t) {
				in("browserid", "trusted_issuers: %s is not among the allowed_issuers", t)
			}
		}
		if len(b.Audiences) == 0 {
			b.Audiences = []string{s.Server.Origin}
		}
	}
	var legacy []string
	if s.BrowserID != nil && s.BrowserID.LegacyDomain != "" {
		legacy = append(legacy, s.BrowserID.LegacyDomain)
	}
	issuers, asked := map[string]string{}, ""
	for _, o := range s.OAuth {
		section := "oauth:" + o.Name
		if o.Issuer == "" {
			in(section, "issuer is missing")
		}
		if at := issuers[o.Issuer]; at != "" {
			in(section, "issuer: [oauth:%s] has it too", at)
		}
		issuers[o.Issuer] = o.Name
		switch {
		case o.AnyAudience && (o.PlainJWT || len(o.Audiences) > 0):
			in(section, "any_audience goes neither with audiences nor with plain_jwt")
		case len(o.Audiences) == 0 && !o.AnyAudience:
			in(section, "audiences is missing: what tokens for this server have as aud")
		}
		if o.Introspection != "" {
			if o.ClientID == "" || o.ClientSecret == "" {
				in(section, "introspection needs client_id and client_secret, a file")
			}
			if asked != "" {
				in(section, "introspection: [oauth:%s] has it too, and one is asked about opaque tokens", asked)
			}
			asked = o.Name
		}
		if o.EmailDomain != "" {
			legacy = append(legacy, o.EmailDomain)
		}
	}
	slices.Sort(legacy)
	if legacy = slices.Compact(legacy); len(legacy) > 1 {
		errs = append(errs, fmt.Errorf("%s: legacy_domain and email_domain are %s: nodes could not tell the users of two domains apart", name, strings.Join(legacy, " and ")))
	}
	kinds := 0
	for _, f := range []string{s.Secrets.Master, s.Secrets.Nodes, s.Secrets.Fixed} {
		if f != "" {
			kinds++
		}
	}
	if kinds != 1 {
		in("secrets", "one of master, nodes and fixed has to be there: a file with the secrets of nodes")
	}
	if s.Secrets.Metrics == "" {
		in("secrets", "metrics is missing: a file with the key that hides users in logs; openssl rand -hex 32 makes one")
	}
	if s.Store.File != "" && s.Store.URL != "" {
		in("store", "file and url exclude each other")
	}
	if s.Limits.Burst == 0 {
		s.Limits.Burst = int(s.Limits.PerAddress)
	}
	s.Limits.NewUsersPer = cmp.Or(s.Limits.NewUsersPer, time.Hour)
	return errs
}

func text(to *string) func(value) error {
	return func(v value) error {
		if v.text == "" {
			return v.errorf("there is no value")
		}
		*to = v.text
		return nil
	}
}

func words(to *[]string) func(value) error {
	return func(v value) error {
		*to = strings.Fields(v.text)
		if len(*to) == 0 {
			return v.errorf("there is no value")
		}
		return nil
	}
}

// inState begins the path of a file in the state directory.
const inState = "state:"

// Place says where the state directory is, in which files are whose paths begin
// with "state:". The directory "" is none.
func (s *Settings) Place(state string) error {
	files := []*string{&s.Secrets.Master, &s.Secrets.Nodes, &s.Secrets.Fixed, &s.Secrets.Metrics, &s.Store.File, &s.Store.URL, &s.Network.Roots}
	for i := range s.OAuth {
		files = append(files, &s.OAuth[i].ClientSecret)
	}
	for _, f := range files {
		name, ok := strings.CutPrefix(*f, inState)
		if !ok {
			continue
		}
		if state == "" {
			return fmt.Errorf("%s: there is no state directory; name one with state in [server]", *f)
		}
		*f = filepath.Join(state, name)
	}
	return nil
}

func (r reader) path(to *string) func(value) error {
	return func(v value) error {
		if err := text(to)(v); err != nil {
			return err
		}
		if name, ok := strings.CutPrefix(*to, inState); ok {
			if !filepath.IsLocal(name) {
				return v.errorf("%q is not the path of a file in the state directory, such as state:secrets/master", *to)
			}
			return nil
		}
		if !filepath.IsAbs(*to) {
			*to = filepath.Join(r.dir, *to)
		}
		return nil
	}
}

// dirPath is the path of the state directory, which is not in itself.
func (r reader) dirPath(to *string) func(value) error {
	return func(v value) error {
		if strings.HasPrefix(v.text, inState) {
			return v.errorf("it is the state directory itself")
		}
		return r.path(to)(v)
	}
}

func yes(to *bool) func(value) error {
	return oneOf(map[string]func(){"yes": func() { *to = true }, "no": func() { *to = false }})
}

func oneOf(of map[string]func()) func(value) error {
	return func(v value) error {
		if of[v.text] == nil {
			var names []string
			for n := range of {
				names = append(names, n)
			}
			slices.Sort(names)
			return v.errorf("%q is not one of %s", v.text, strings.Join(names, ", "))
		}
		of[v.text]()
		return nil
	}
}

func whole[T int | int64](to *T, least, most int64) func(value) error {
	return func(v value) error {
		n, err := strconv.ParseInt(v.text, 10, 64)
		if err != nil || n < least || n > most {
			return v.errorf("%q is not a number from %d to %d", v.text, least, most)
		}
		*to = T(n)
		return nil
	}
}

func number(to *float64, most float64) func(value) error {
	return func(v value) error {
		f, err := strconv.ParseFloat(v.text, 64)
		if err != nil || !(f >= 0 && f <= most) {
			return v.errorf("%q is not a number from 0 to %g", v.text, most)
		}
		*to = f
		return nil
	}
}

// length is a time: 90s, 30m, or a number of seconds.
func length(to *time.Duration) func(value) error {
	return func(v value) error {
		d, err := time.ParseDuration(v.text)
		if n, nerr := strconv.ParseUint(v.text, 10, 31); nerr == nil {
			d, err = time.Duration(n)*time.Second, nil
		}
		if err != nil || d < 0 {
			return v.errorf("%q is not a length of time, such as 90s or 30m", v.text)
		}
		*to = d
		return nil
	}
}

var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)

func host(to *string) func(value) error {
	return func(v value) error {
		if !hostName.MatchString(v.text) || len(v.text) > 253 {
			return v.errorf("%q is not the name of a host, in lower case and with a dot", v.text)
		}
		*to = v.text
		return nil
	}
}

func hosts(to *[]string) func(value) error {
	return list(to, host)
}

func origins(to *[]string) func(value) error {
	return list(to, origin)
}

func list(to *[]string, one func(*string) func(value) error) func(value) error {
	return func(v value) error {
		var all []string
		if err := words(&all)(v); err != nil {
			return err
		}
		for i, w := range all {
			in := v
			in.text = w
			if err := one(&all[i])(in); err != nil {
				return err
			}
		}
		*to = all
		return nil
	}
}

// link is an https URL.
func link(to *string) func(value) error {
	return func(v value) error {
		u, err := url.Parse(v.text)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			return v.errorf("it is not an https URL")
		}
		*to = v.text
		return nil
	}
}

// origin is a scheme, a host and a port.
func origin(to *string) func(value) error {
	return func(v value) error {
		u, err := url.Parse(v.text)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.TrimSuffix(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return v.errorf("it is not an origin, such as https://token.example.com")
		}
		*to = u.Scheme + "://" + strings.ToLower(u.Host)
		return nil
	}
}

func (r reader) listen(to *string) func(value) error {
	return func(v value) error {
		if p, ok := strings.CutPrefix(v.text, "unix:"); ok && p != "" {
			if !filepath.IsAbs(p) {
				p = filepath.Join(r.dir, p)
			}
			*to = "unix:" + p
			return nil
		}
		if _, _, err := net.SplitHostPort(v.text); err != nil {
			return v.errorf("%q is neither HOST:PORT nor unix:PATH", v.text)
		}
		*to = v.text
		return nil
	}
}

func metrics(to *string) func(value) error {
	return func(v value) error {
		if _, _, err := net.SplitHostPort(v.text); err != nil && !strings.HasPrefix(v.text, "/") {
			return v.errorf("%q is neither a path, such as /metrics, nor HOST:PORT", v.text)
		}
		if strings.ContainsAny(v.text, " {}") || strings.HasPrefix(v.text, "/1.0") || v.text == "/" {
			return v.errorf("%q cannot be the path of the metrics", v.text)
		}
		*to = v.text
		return nil
	}
}

func proxies(s *Server) func(value) error {
	return func(v value) error {
		for _, w := range strings.Fields(v.text) {
			if w == "unix" {
				s.UnixProxy = true
				continue
			}
			p, err := netip.ParsePrefix(w)
			if a, aerr := netip.ParseAddr(w); aerr == nil {
				p, err = netip.PrefixFrom(a, a.BitLen()), nil
			}
			if err != nil {
				return v.errorf("%q is neither an address, nor a network such as 10.0.0.0/8, nor unix", w)
			}
			s.Proxies = append(s.Proxies, p.Masked())
		}
		return nil
	}
}
