package fetch

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Credentials go to the origin that they are for, after a redirect too, and
// nowhere else: no error and no file has them.
func TestCredentialsStay(t *testing.T) {
	var other, own []string
	seen := func(to *[]string, r *http.Request) {
		user, password, _ := r.BasicAuth()
		*to = append(*to, user+":"+password+" "+r.Header.Get("Referer"))
	}
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen(&other, r)
		io.WriteString(w, "content")
	})
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen(&own, r)
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, strings.Replace(b.URL, "://", "://planted:planted@", 1)+"/x?sig=s3cret-sig", http.StatusFound)
		case "/denied":
			w.WriteHeader(403)
		default:
			io.WriteString(w, "content")
		}
	})
	dir := t.TempDir()
	c, _ := newClient(t, Config{Dir: dir})
	clean, err := c.Login(strings.Replace(a.URL, "://", "://us%40er:s3cret@", 1) + "/simple/")
	if err != nil || clean != a.URL+"/simple/" {
		t.Fatalf("Login = %q, %v", clean, err)
	}
	for _, path := range []string{"/simple/", "/away"} {
		if _, err := text(t.Context(), c, a.URL+path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.File(t.Context(), File{URL: a.URL + "/away"}); err != nil {
		t.Fatal(err)
	}
	_, err = text(t.Context(), c, strings.Replace(a.URL, "://", "://us%40er:s3cret@", 1)+"/denied")
	if err == nil || err.Error() != a.URL+"/denied: access denied (403) to the credentials for "+a.URL {
		t.Errorf("got %v", err)
	}
	if got := strings.Join(own, ","); got != "us@er:s3cret ,us@er:s3cret ,us@er:s3cret ,us@er:s3cret " {
		t.Errorf("own origin saw %q", got)
	}
	if got := strings.Join(other, ","); got != ": ,: " {
		t.Errorf("other origin saw %q", got)
	}
	for _, file := range cacheFiles(t, dir) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data)+file, "s3cret") {
			t.Errorf("%s has a secret: %q", file, data)
		}
	}
}

func TestWhichCredentials(t *testing.T) {
	netrc := filepath.Join(t.TempDir(), "netrc")
	err := os.WriteFile(netrc, []byte("machine files.test login n password np\nmachine lone.test login l password lp\ndefault login d password dp"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := newClient(t, Config{Netrc: netrc, Credentials: []Credential{
		{"https://index.test/team-a/", "a", "ap"},
		{"https://index.test/team-b/simple/", "b", "bp"},
		{"https://index.test:8443", "c", "cp"},
		{"https://lone.test", "l", ""},
		{"https://token.test", "token", ""},
	}})
	for url, want := range map[string]string{
		"https://index.test/team-a/simple/x/":   "a:ap",
		"https://INDEX.test:443/team-b/files/x": "b:bp",
		"https://index.test/other":              "a:ap",
		"https://index.test:8443/x":             "c:cp",
		"http://index.test/team-a/":             "",
		"https://sub.index.test/":               "",
		"https://files.test/":                   "n:np",
		"https://files.test:444/":               "n:np",
		"http://files.test/":                    "",
		"https://lone.test/":                    "l:lp",
		"https://token.test/":                   "token:",
		"https://unknown.test/":                 "",
	} {
		u, err := parseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if user, password, ok := c.credentials(u); ok {
			got = user + ":" + password
		}
		if got != want {
			t.Errorf("credentials of %s are %q, want %q", url, got, want)
		}
	}
}

func TestBadURLs(t *testing.T) {
	c, _ := newClient(t, Config{})
	for _, bad := range []string{"", "x", "file:///etc/passwd", "https://", "https://u:s3cret@%zz/", "https://u:s3cret@h/\x00", "ftp://u:s3cret@h/", "http://h/" + strings.Repeat("x", maxURL)} {
		_, err := c.Login(bad)
		_, err2 := text(t.Context(), c, bad)
		_, err3 := c.File(t.Context(), File{URL: bad})
		_, err4 := c.Tail(t.Context(), File{URL: bad}, 1)
		for _, err := range []error{err, err2, err3, err4} {
			if err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%.30q: got %v", bad, err)
			}
		}
	}
}

func TestDisplay(t *testing.T) {
	if got := Display("https://u:p@host:1/a%20b/?q=1#f"); got != "https://host:1/a%20b/" {
		t.Errorf("got %q", got)
	}
	if got := Display("https://u:p@%zz"); got != "a URL that cannot be read" {
		t.Errorf("got %q", got)
	}
}

func TestNetrc(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "",
		"machine h login u password p":        "h u p;",
		"machine h\n\tlogin u\r\n password p": "h u p;",
		"# c\nmachine h login u # x\npassword #p\n":                                 "h u #p;",
		`machine h login "a b" password "q\"\\"`:                                    `h a b q"\;`,
		"machine h password p account x\nmacdef init\ncd /\nput x\n\nmachine i":     "h  p;i  ;",
		"machine h\nmacdef last\nnever ends":                                        "h  ;",
		"default login d password d":                                                "",
		"machine h login u password p default login d password d machine i login j": "h u p;i j ;",
		"login u":       "error: line 1: login comes before any machine",
		"machine h\nxx": "error: line 2: a word that is none of machine, default, login, password, account and macdef",
		"machine":       "error: line 1: machine needs a value",
	} {
		entries, err := parseNetrc(text)
		got := ""
		for _, e := range entries {
			got += e.machine + " " + e.login + " " + e.password + ";"
		}
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want {
			t.Errorf("parseNetrc(%q) = %q, want %q", text, got, want)
		}
	}
}

func FuzzNetrc(f *testing.F) {
	f.Add("machine h login u password \"p\\\"\" # c\nmacdef m\nx\n\ndefault login d")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parseNetrc(text)
		if err != nil && entries != nil {
			t.Errorf("both entries and %v", err)
		}
	})
}

func FuzzRedirect(f *testing.F) {
	f.Add("https://user:pw@host/x?y#z")
	f.Add("//host")
	f.Add("../x")
	at, err := url.Parse("https://a.test/b/c")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, location string) {
		next, err := redirect(at, location)
		if err == nil && (next.Scheme != "https" || next.User != nil || next.Hostname() == "") {
			t.Errorf("redirect(%q) = %v", location, next)
		}
	})
}
