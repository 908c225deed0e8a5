package settings

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestFull(t *testing.T) {
	got, err := Load("testdata/full.ini")
	if err != nil {
		t.Fatal(err)
	}
	want := &Settings{
		Server: Server{
			Origin: "https://token.example.com", Listen: "unix:testdata/run/app.sock", State: "testdata/state", Metrics: "/metrics",
			Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::1/128")}, UnixProxy: true,
			MaxConnections: 100, Timeout: 10 * time.Second, Grace: 20 * time.Second, RetryAfter: time.Hour,
			Backoff: 30 * time.Second, BackoffShare: 0.25, Unavailable: 0.5,
		},
		Services: []Service{
			{App: "sync", Version: "1.5", Pattern: "{node}/1.5/{uid}", Scope: "https://example.com/apps/sync", Token: "encrypted", Duration: 5 * time.Minute, NeedKeyID: true,
				Conditions: map[string]string{"tos": "https://example.com/tos", "pp": "https://example.com/pp"}},
			{App: "queue", Version: "1.0", Pattern: "{node}/{service}/{uid}", Scope: "queue", Token: "signed", Duration: 30 * time.Minute, NewUsers: true, Conditions: map[string]string{}},
		},
		BrowserID: &BrowserID{
			Audiences: []string{"https://token.example.com", "https://other.example.com"}, AllowedIssuers: []string{"idp.example.com", "idp.example.org"},
			TrustedIssuers: []string{"idp.example.com"}, Delegation: true, LegacyDomain: "idp.example.com", MaxAge: 5 * time.Minute, MaxCertificate: 24 * time.Hour,
		},
		OAuth: []OAuth{
			{Name: "corp", Issuer: "https://sso.example.com/realms/corp", JWKS: "https://sso.example.com/jwks", Audiences: []string{"https://token.example.com"},
				PlainJWT: true, EventAudiences: []string{"https://token.example.com"}},
			{Name: "opaque", Issuer: "https://idp.example.net", AnyAudience: true, ScopePaths: true, Introspection: "https://idp.example.net/introspect",
				ClientID: "token-app", ClientSecret: "testdata/secrets/opaque", EmailDomain: "idp.example.com"},
		},
		Network:   Network{PrivateHosts: []string{"sso.example.com", "idp.example.net:8443"}, Roots: "testdata/roots.pem"},
		Secrets:   Secrets{Master: "testdata/secrets/master", Metrics: "/etc/token-app/metrics"},
		Store:     Store{URL: "testdata/secrets/database"},
		Crypto:    Crypto{Workers: true, Slots: 4, Wait: 250 * time.Millisecond, Deadline: 2 * time.Second},
		Limits:    Limits{PerAddress: 5, Burst: 50, PerIssuer: 100, IssuerBurst: 200, NewUsers: 1000, NewUsersPer: 24 * time.Hour, Users: 1000000},
		NodeTypes: []NodeType{{"small", "db?.example.com"}, {"big", "*.example.net"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("full.ini is\n%+v, want\n%+v", got, want)
	}
}

// least is a file with nothing that need not be there.
const least = `[server]
origin = https://token.example.com
[service:sync-1.5]
pattern = {node}/1.5/{uid}
[browserid]
allowed_issuers = idp.example.com
[secrets]
master = master
metrics = metrics
`

func TestDefaults(t *testing.T) {
	s, err := Parse("dir/x.ini", []byte(least))
	if err != nil {
		t.Fatal(err)
	}
	if s.Server.Listen != "127.0.0.1:8000" || s.Server.Metrics != "" || s.Crypto.Workers || s.Limits.PerAddress != 20 || s.Limits.Burst != 100 {
		t.Errorf("%+v", s)
	}
	if svc := s.Services[0]; svc.Duration != 30*time.Minute || svc.Token != "signed" || !svc.NewUsers {
		t.Errorf("%+v", svc)
	}
	if b := s.BrowserID; len(b.Audiences) != 1 || b.Audiences[0] != "https://token.example.com" {
		t.Errorf("%+v", b)
	}
	if s.Secrets.Master != "dir/master" {
		t.Errorf("%+v", s.Secrets)
	}
}

// Each mistake names its line and says what to do.
func TestMistakes(t *testing.T) {
	more := func(s string) string { return least + s }
	oauth := func(s string) string {
		return strings.Replace(least, "[browserid]", "scope = s\n[browserid]", 1) + "[oauth:a]\n" + s
	}
	tests := []struct{ name, text, want string }{
		{"unknown key", more("[store]\nfil = x\n"), `x.ini:11: [store]: unknown key "fil"; did you mean "file"?`},
		{"far from all keys", more("[store]\nqqqqqqqq = x\n"), `x.ini:11: [store]: unknown key "qqqqqqqq"; there are file, url`},
		{"unknown section", more("[sevrer]\n"), `x.ini:10: unknown section [sevrer]; did you mean "server"?`},
		{"section twice", more("[server]\n"), `x.ini:10: [server] is in line 1 already`},
		{"key twice", more("[store]\nfile = a\nfile = b\n"), `x.ini:12: [store] file is in line 11 already`},
		{"no section", "a = b\n", `x.ini:1: "a" stands before the first section`},
		{"no value", more("[store]\nfile =\n"), `x.ini:11: [store] file: there is no value`},
		{"no equals sign", more("[store]\nfile\n"), `x.ini:11: a setting is written KEY = VALUE`},
		{"half a section", more("[store\n"), `x.ini:10: a section is written [NAME]`},
		{"goes on with nothing", " x\n", `x.ini:1: it goes on with a value, and there is none before it`},
		{"not UTF-8", "\xff", `x.ini: it is not UTF-8`},
		{"service without version", more("[service:sync]\n"), `x.ini:10: [service:sync]: a service is written [service:APP-VERSION], such as [service:sync-1.5]`},
		{"pattern", more("[service:a-1]\npattern = x\n"), `x.ini:11: [service:a-1] pattern: "x" is not a pattern of endpoints, such as {node}/1.5/{uid}`},
		{"form of tokens", more("[service:a-1]\ntoken = both\n"), `x.ini:11: [service:a-1] token: "both" is not one of encrypted, signed`},
		{"yes or no", more("[service:a-1]\nnew_users = true\n"), `x.ini:11: [service:a-1] new_users: "true" is not one of no, yes`},
		{"duration", more("[service:a-1]\nduration = 25h\n"), `x.ini:10: [service:a-1]: duration: a token is good for 1s to 24h`},
		{"no duration", more("[service:a-1]\nduration = x\n"), `x.ini:11: [service:a-1] duration: "x" is not a length of time, such as 90s or 30m`},
		{"negative duration", more("[service:a-1]\nduration = -1s\n"), `x.ini:11: [service:a-1] duration: "-1s" is not a length of time, such as 90s or 30m`},
		{"condition", more("[service:a-1]\nconditions.tos = http://x\n"), `x.ini:11: [service:a-1] conditions.tos: it is not an https URL`},
		{"number", more("[crypto]\nslots = 0\n"), `x.ini:11: [crypto] slots: "0" is not a number from 1 to 1024`},
		{"where tokens are made", more("[crypto]\nmint = there\n"), `x.ini:11: [crypto] mint: "there" is not one of here, workers`},
		{"share", more("[limits]\nper_address = NaN\n"), `x.ini:11: [limits] per_address: "NaN" is not a number from 0 to 1e+06`},
		{"node type", more("[node_types]\nx = [\n"), `x.ini:11: [node_types] x: "[" is not a pattern of hosts, such as *.eu.example.com`},
		{"origin", strings.Replace(least, "https://token.example.com", "https://token.example.com/path", 1), `x.ini:2: [server] origin: it is not an origin, such as https://token.example.com`},
		{"no origin", strings.Replace(least, "origin = https://token.example.com", "", 1), `x.ini:1: [server]: origin is missing: the URL of the server as its users know it, such as https://token.example.com`},
		{"listen", strings.Replace(least, "[service", "listen = 8000\n[service", 1), `x.ini:3: [server] listen: "8000" is neither HOST:PORT nor unix:PATH`},
		{"metrics", strings.Replace(least, "[service", "metrics = on\n[service", 1), `x.ini:3: [server] metrics: "on" is neither a path, such as /metrics, nor HOST:PORT`},
		{"metrics among tokens", strings.Replace(least, "[service", "metrics = /1.0/metrics\n[service", 1), `x.ini:3: [server] metrics: "/1.0/metrics" cannot be the path of the metrics`},
		{"proxies", strings.Replace(least, "[service", "proxies = *\n[service", 1), `x.ini:3: [server] proxies: "*" is neither an address, nor a network such as 10.0.0.0/8, nor unix`},
		{"nobody believed", strings.Replace(least, "[browserid]\nallowed_issuers = idp.example.com\n", "", 1), `x.ini: [browserid]: nobody can be believed: there has to be [browserid] or an [oauth:NAME]`},
		{"issuers", strings.Replace(least, "allowed_issuers = idp.example.com\n", "", 1), `x.ini:5: [browserid]: allowed_issuers is missing: the hosts whose certificates are believed`},
		{"issuer in capitals", strings.Replace(least, "idp.example.com", "IDP.example.com", 1), `x.ini:6: [browserid] allowed_issuers: "IDP.example.com" is not the name of a host, in lower case and with a dot`},
		{"trusted and not allowed", strings.Replace(least, "[secrets]", "trusted_issuers = a.example\n[secrets]", 1), `x.ini:5: [browserid]: trusted_issuers: a.example is not among the allowed_issuers`},
		{"two kinds of secrets", more("nodes = x\n"), `x.ini:7: [secrets]: one of master, nodes and fixed has to be there: a file with the secrets of nodes`},
		{"no metrics key", strings.Replace(least, "metrics = metrics\n", "", 1), `x.ini:7: [secrets]: metrics is missing: a file with the key that hides users in logs; openssl rand -hex 32 makes one`},
		{"two stores", more("[store]\nfile = a\nurl = b\n"), `x.ini:10: [store]: file and url exclude each other`},
		{"service without scope", least + "[oauth:a]\nissuer = https://a\naudiences = b\n", `x.ini:3: [service:sync-1.5]: scope is missing: what a bearer token has to be good for`},
		{"scope", more("[service:a-1]\nscope = a b\n"), `x.ini:11: [service:a-1] scope: "a b" is not a scope: one word`},
		{"oauth without issuer", oauth("audiences = b\n"), `x.ini:11: [oauth:a]: issuer is missing`},
		{"oauth without audience", oauth("issuer = https://a\n"), `x.ini:11: [oauth:a]: audiences is missing: what tokens for this server have as aud`},
		{"any audience of any JWT", oauth("issuer = https://a\nany_audience = yes\nplain_jwt = yes\n"), `x.ini:11: [oauth:a]: any_audience goes neither with audiences nor with plain_jwt`},
		{"introspection without secret", oauth("issuer = https://a\naudiences = b\nintrospection = https://a/j\nclient_id = b\n"), `x.ini:11: [oauth:a]: introspection needs client_id and client_secret, a file`},
		{"introspection twice", oauth("issuer = https://a\naudiences = b\nintrospection = https://a/j\nclient_id = b\nclient_secret = c\n[oauth:b]\nissuer = https://b\naudiences = b\nintrospection = https://a/j\nclient_id = b\nclient_secret = c\n"),
			`x.ini:17: [oauth:b]: introspection: [oauth:a] has it too, and one is asked about opaque tokens`},
		{"credentials in a URL", oauth("issuer = https://u:p@a\n"), `x.ini:12: [oauth:a] issuer: it is not an https URL`},
		{"oauth without name", more("[oauth:]\n"), `x.ini:10: [oauth:]: a section is written [oauth:NAME]`},
		{"two legacy domains", oauth("issuer = https://a\naudiences = b\nemail_domain = a.example\n[oauth:b]\nissuer = https://b\naudiences = b\nemail_domain = b.example\n"),
			`x.ini: legacy_domain and email_domain are a.example and b.example: nodes could not tell the users of two domains apart`},
		{"an issuer twice", oauth("issuer = https://a\naudiences = b\n[oauth:b]\nissuer = https://a\naudiences = b\n"),
			`x.ini:14: [oauth:b]: issuer: [oauth:a] has it too`},
		{"several", more("[store]\na = x\n[crypto]\nslots = x\n"), "x.ini:11: [store]: unknown key \"a\"; there are file, url\nx.ini:13: [crypto] slots: \"x\" is not a number from 1 to 1024"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse("x.ini", []byte(tt.text)); err == nil || err.Error() != tt.want {
				t.Errorf("Parse = %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none")); err == nil || !os.IsNotExist(err) {
		t.Errorf("Load of no file = %v", err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big); err == nil || err.Error() != big+": it is bigger than 1048576 bytes" {
		t.Errorf("Load of a big file = %v", err)
	}
}

// Any text is settings or an error, and settings have what has to be there.
func FuzzParse(f *testing.F) {
	full, err := os.ReadFile("testdata/full.ini")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte(least))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse("x.ini", data)
		if err == nil && (s.Server.Origin == "" || len(s.Services) == 0 || s.Secrets.Metrics == "") {
			t.Errorf("settings without what has to be there: %+v", s)
		}
	})
}

// Files may be in the state directory, which is known later.
func TestPlace(t *testing.T) {
	text := strings.NewReplacer("master = master", "master = state:secrets/master", "metrics = metrics", "metrics = state:metrics").Replace(least) +
		"[store]\nurl = state:database\n[network]\nroots = roots.pem\n" +
		"[oauth:a]\nissuer = https://a.example.com\naudiences = x\nclient_secret = state:a\n"
	text = strings.Replace(text, "pattern =", "scope = x\npattern =", 1)
	s, err := Parse("dir/x.ini", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Place(""); err == nil || err.Error() != "state:secrets/master: there is no state directory; name one with state in [server]" {
		t.Errorf("Place without a directory = %v", err)
	}
	if err := s.Place("/var/lib/x"); err != nil {
		t.Fatal(err)
	}
	got := []string{s.Secrets.Master, s.Secrets.Metrics, s.Store.URL, s.OAuth[0].ClientSecret, s.Network.Roots}
	want := []string{"/var/lib/x/secrets/master", "/var/lib/x/metrics", "/var/lib/x/database", "/var/lib/x/a", "dir/roots.pem"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Place = %q, want %q", got, want)
	}
	for old, wrong := range map[string]string{
		"master = master":                      "master = state:../master",
		"metrics = metrics":                    "metrics = state:/etc/metrics",
		"origin = https://token.example.com\n": "origin = https://token.example.com\nstate = state:x\n",
	} {
		if _, err := Parse("x.ini", []byte(strings.Replace(least, old, wrong, 1))); err == nil || !strings.Contains(err.Error(), "state") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}
