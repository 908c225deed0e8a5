package app

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"appbundle/examples/token-app/internal/idp"
	"appbundle/examples/token-app/store"
	"appbundle/examples/token-app/token"
)

var update = flag.Bool("update", false, "write the table of deviations into docs/API.md")

// A transcript is a request to Mozilla's token server, and what it answered.
type transcript struct {
	Name     string
	Method   string
	Path     string
	Headers  map[string]string
	Response struct {
		Status       string
		Headers      map[string]string
		JSON         any
		Body         *string
		TokenPayload map[string]any `json:"token_payload"`
		Exception    string         `json:"uncaught_exception"`
	}
}

// A deviation is an answer that is meant to be another one.
type deviation struct {
	cases  string // names, with spaces between
	code   int
	has    string // in the body
	reason string
}

// deviations are all cases in which the answer is not the transcript's. A case
// that is not here and differs fails, and so does one that is here and does not.
var deviations = []deviation{
	{"discovery", 200, `"allowed_issuers":["idp.example.com"]`, "issuers have to be named: nobody is believed by default"},
	{"heartbeat", 200, `{"database":"Ok","status":"Ok","version":`, "it says whether the database answers"},
	{"version-missing", 200, `{"version":`, "the version is compiled in"},
	{"unknown-url unknown-url-json version-2.0 trailing-slash", 404, `"description":"Not Found"`, "clients take an error that is not JSON, or another JSON, for a broken server"},
	{"method-POST method-PUT method-DELETE method-OPTIONS method-PATCH", 405, `"description":"Method Not Allowed"`, "as unknown-url"},
	{"accept-text", 200, `"id":`, "the type is application/json: clients demand it, and Accept is not looked at"},
	{"assertion-junk assertion-empty-parts", 401, `"status":"invalid-credentials"`, "the peer breaks (500)"},
	{"client-state-not-hex client-state-odd-hex", 400, `"description":"Invalid client state value"`, "the peer breaks (500)"},
	{"generation-bool", 401, `"status":"invalid-generation"`, "true is no number"},
	{"generation-negative", 401, `"status":"invalid-generation"`, "there was no time before 1970"},
	{"generation-huge", 401, `"status":"invalid-generation"`, "the peer breaks (500)"},
	{"oauth-no-exp", 401, `"status":"invalid-credentials"`, "a token has to end (RFC 9068, section 2.2)"},
	{"keyid-std-b64 keyid-padded", 400, `"description":"Invalid client state value"`, "base64url without padding has one spelling"},
	{"no-node-available", 503, `"description":"Resource is not available"`, "an error has the form of all others; Retry-After is the same"},
}

// everywhere are differences in so many answers that cases are not listed: the
// test demands them of every answer.
var everywhere = [][3]string{
	{"every 401", "`WWW-Authenticate: BrowserID` and `WWW-Authenticate: Bearer`", "an answer 401 names its schemes (RFC 9110, section 11.6.1); the peer does so for unknown schemes alone"},
	{"every answer", "`Cache-Control: no-store`", "tokens are credentials"},
	{"every 503", "`Retry-After`", "clients come back at once otherwise"},
}

// The transcripts have no whole credentials: what was signed is left out. These
// are made again, by a provider with keys of the test, from what the names of the
// cases and the payloads of the tokens say.
type credentials struct {
	email     string
	cert      idp.Claims
	assertion idp.Claims // instead of what is usual
	token     idp.Claims
	header    idp.Claims
}

func ages(generation, keys any) idp.Claims {
	c := idp.Claims{}
	if generation != nil {
		c["fxa-generation"] = generation
	}
	if keys != nil {
		c["fxa-keysChangedAt"] = keys
	}
	return c
}

func made(now time.Time) map[string]credentials {
	bob := func(generation, keys any) credentials {
		return credentials{email: "bob@" + idpHost, cert: ages(generation, keys)}
	}
	generation := func(v any) credentials { return credentials{cert: idp.Claims{"fxa-generation": v}} }
	past := now.Add(-time.Hour)
	return map[string]credentials{
		"assertion-expired":            {assertion: idp.Claims{"exp": past.UnixMilli()}},
		"cert-expired":                 {cert: idp.Claims{"exp": past.UnixMilli()}},
		"wrong-audience":               {assertion: idp.Claims{"aud": "https://other.example.org"}},
		"bad-signature":                {},
		"untrusted-issuer":             {cert: idp.Claims{"iss": "evil.example.com"}},
		"token-unverified":             {cert: idp.Claims{"fxa-tokenVerified": false}},
		"token-verified-true":          {cert: idp.Claims{"fxa-tokenVerified": true}},
		"bob-first":                    bob(1234, 1234),
		"bob-again":                    bob(1234, 1234),
		"bob-newstate-same-generation": bob(1234, 1234),
		"bob-newstate-same-keys":       bob(1235, 1234),
		"bob-newstate-ok":              bob(1236, 1236),
		"bob-old-state":                bob(1236, 1236),
		"bob-empty-state":              bob(1236, 1236),
		"bob-old-generation":           bob(1235, 1235),
		"bob-old-keys":                 bob(1236, 1235),
		"bob-no-keys":                  bob(1236, nil),
		"bob-keys-gt-generation":       bob(1237, 1238),
		"bob-no-generation":            bob(nil, 1236),
		"generation-string":            generation("whatever"),
		"generation-null":              generation(nil),
		"generation-list":              generation([]int{1}),
		"generation-float":             generation(1.5),
		"generation-bool":              generation(true),
		"generation-negative":          generation(-5),
		"generation-huge":              generation(json.Number("9223372036854775808")),
		"keysChangedAt-string":         {cert: idp.Claims{"fxa-keysChangedAt": "whatever"}},
		"new-users-disabled":           {email: "new@" + idpHost},
		"no-node-available":            {email: "new@" + idpHost},
		"retired-user":                 bob(1300, 1300),
		"retired-user-same-state":      bob(1300, 1300),
		"retired-user-no-generation":   bob(nil, nil),

		"oauth-scope-missing":    {token: idp.Claims{"scope": "profile"}},
		"oauth-scope-two-space":  {token: idp.Claims{"scope": "profile " + scope}},
		"oauth-scope-sub":        {token: idp.Claims{"scope": scope + "/bookmarks"}},
		"oauth-scope-write":      {token: idp.Claims{"scope": scope + ":write"}},
		"oauth-expired":          {token: idp.Claims{"exp": past.Unix()}},
		"oauth-typ-JWT":          {header: idp.Claims{"typ": "JWT"}},
		"oauth-typ-application":  {header: idp.Claims{"typ": "application/at+jwt"}},
		"oauth-no-exp":           {token: idp.Claims{"exp": nil}},
		"oauth-generation-claim": {token: idp.Claims{"fxa-generation": 50}},
	}
}

// whole reports whether a transcript has the whole of its credentials.
func whole(authorization string) bool { return !strings.Contains(authorization, "...(") }

// authorization is the header of a case, with credentials made again.
func (l *lab) authorization(c transcript) string {
	given := c.Headers["Authorization"]
	if whole(given) {
		return given
	}
	scheme, _, _ := strings.Cut(given, " ")
	with := made(time.Now())[c.Name]
	who, _ := c.Response.TokenPayload["fxa_uid"].(string)
	if scheme == "Bearer" {
		if who == "" {
			who = "u-" + strings.ToLower(c.Name)
		}
		text := l.bearer(who, with.header, with.token)
		if c.Name == "oauth-bad-signature" {
			text = spoil(text)
		}
		return scheme + " " + text
	}
	email := with.email
	switch {
	case email != "":
	case who != "":
		email = who + "@" + idpHost
	default:
		email = "alice@" + idpHost
	}
	now := time.Now()
	cert := idp.Claims{"iss": idpHost, "iat": now.UnixMilli(), "exp": now.Add(time.Hour).UnixMilli(), "principal": idp.Claims{"email": email}}
	for k, v := range with.cert {
		cert[k] = v
	}
	assertion := idp.Claims{"aud": origin, "exp": now.Add(2 * time.Minute).UnixMilli()}
	for k, v := range with.assertion {
		assertion[k] = v
	}
	text := l.idp.Assertion(cert, assertion)
	if c.Name == "bad-signature" {
		text = spoil(text)
	}
	return scheme + " " + text
}

// spoil changes a bit in the middle of the last signature.
func spoil(jws string) string {
	b := []byte(jws)
	at := len(b) - 100
	if b[at]++; b[at] > 'z' || b[at] < '0' || b[at] == ':' || b[at] == '[' || b[at] == '`' {
		b[at] = 'A'
	}
	return string(b)
}

// Every transcript gives what it gave, but for the deviations that are listed.
func TestReplay(t *testing.T) {
	text, err := os.ReadFile("testdata/transcripts.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Cases []transcript }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Cases) != 104 {
		t.Fatalf("%d cases, want 104", len(all.Cases))
	}
	listed := map[string]bool{}
	for _, d := range deviations {
		for _, name := range strings.Fields(d.cases) {
			listed[name] = true
		}
	}
	l := newLab(t)
	a := l.open()
	closed := l.open("[service:sync-1.5]", "[service:sync-1.5]\nnew_users = no")
	ctx := context.Background()
	addNode(t, a, nodeURL)
	down := func(is bool) {
		if err := a.Store().UpdateNode(ctx, service, nodeURL, store.NodeSettings{Downed: &is}); err != nil {
			t.Fatal(err)
		}
	}

	uids := map[float64]float64{} // of the transcripts, and ours
	for _, c := range all.Cases {
		t.Run(c.Name, func(t *testing.T) {
			h := a.Handler()
			switch c.Name {
			case "new-users-disabled":
				h = closed.Handler()
			case "no-node-available":
				down(true)
				defer down(false)
			case "retired-user":
				if n, err := a.Store().Retire(ctx, "bob@"+idpHost); err != nil || n != 1 {
					t.Fatal(n, err)
				}
			}
			var headers []string
			for name, v := range c.Headers {
				if name == "Authorization" {
					v = l.authorization(c)
				}
				headers = append(headers, name, v)
			}
			began := time.Now()
			r := ask(h, c.Method, strings.ReplaceAll(c.Path, " ", "%20"), headers...)
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			if r.StatusCode == 503 && r.Header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			if got := r.Header.Values("WWW-Authenticate"); r.StatusCode == 401 && !slices.Equal(got, []string{"BrowserID", "Bearer"}) {
				t.Errorf("WWW-Authenticate: %q with 401", got)
			}
			if got := r.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control: %q", got)
			}
			if got, err := strconv.ParseInt(r.Header.Get("X-Timestamp"), 10, 64); err != nil || got < began.Unix() || got > time.Now().Unix() {
				t.Errorf("X-Timestamp: %d", got)
			}
			diff := differences(t, c, r, body, uids)
			if (diff != "") != listed[c.Name] {
				if diff == "" {
					t.Errorf("the answer is that of the transcript, and the deviation is listed: %d %s", r.StatusCode, body)
				} else {
					t.Error(diff)
				}
			}
			if listed[c.Name] {
				checkListed(t, c.Name, r, body)
			}
		})
	}
	if len(uids) < 8 {
		t.Errorf("%d users came out of the transcripts", len(uids))
	}
}

// differences says in what an answer is not that of a transcript.
func differences(t *testing.T, c transcript, r *http.Response, body []byte, uids map[float64]float64) string {
	t.Helper()
	want := c.Response
	if want.Exception != "" {
		return "the peer breaks"
	}
	if got := fmt.Sprintf("%d %s", r.StatusCode, http.StatusText(r.StatusCode)); got != want.Status {
		return fmt.Sprintf("status %s, want %s; the body is %s", got, want.Status, body)
	}
	for _, name := range []string{"Content-Type", "Allow"} {
		if got := r.Header.Get(name); got != want.Headers[name] {
			return fmt.Sprintf("%s: %q, want %q", name, got, want.Headers[name])
		}
	}
	if c.Method == http.MethodHead {
		return ""
	}
	if want.JSON == nil {
		if string(body) != *want.Body {
			return fmt.Sprintf("body %q, want %q", body, *want.Body)
		}
		return ""
	}
	var got any
	if err := json.Unmarshal(body, &got); err != nil {
		return err.Error()
	}
	if want.TokenPayload != nil {
		return differentToken(t, c, got.(map[string]any), uids)
	}
	if !reflect.DeepEqual(got, want.JSON) {
		return fmt.Sprintf("body %s, want %v", body, want.JSON)
	}
	return ""
}

// differentToken compares an answer that is a token, what is in it included. Uids
// are others, but those of a user and of the next are the same and another one in
// both.
func differentToken(t *testing.T, c transcript, got map[string]any, uids map[float64]float64) string {
	t.Helper()
	want := c.Response.JSON.(map[string]any)
	theirs, ours := want["uid"].(float64), got["uid"].(float64)
	if known, ok := uids[theirs]; ok && known != ours {
		return fmt.Sprintf("uid %v, want %v", ours, known)
	}
	for other, mine := range uids {
		if mine == ours && other != theirs {
			return fmt.Sprintf("uid %v is that of another user", ours)
		}
	}
	uids[theirs] = ours

	secrets, err := token.NewDerivedSecrets(master)
	if err != nil {
		t.Fatal(err)
	}
	of, err := secrets.Of(nodeURL)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	opened, err := (&token.Opener{Secrets: of}).Open(got["id"].(string), now)
	if err != nil {
		return fmt.Sprintf("the token: %v", err)
	}
	if got["key"] != opened.Key {
		return "the key is not that of the token"
	}
	var payload map[string]any
	if err := json.Unmarshal(opened.Payload, &payload); err != nil {
		t.Fatal(err)
	}
	duration := want["duration"].(float64)
	if left := payload["expires"].(float64) - float64(now.Unix()); math.Abs(left-duration) > 5 {
		return fmt.Sprintf("the token ends in %v s, want %v", left, duration)
	}
	// Names in logs depend on a key, which is another one here: the transcript's is
	// tokenlib's vector, ours that of the test.
	user := c.Response.TokenPayload["fxa_uid"].(string)
	for _, k := range []struct {
		key token.MetricsKey
		in  map[string]any
	}{{token.MetricsKey("super-sekrit"), want}, {token.MetricsKey(metricsKey), got}} {
		if name := k.key.User(user); k.in["hashed_fxa_uid"] != name {
			return fmt.Sprintf("hashed_fxa_uid %v, want %v", k.in["hashed_fxa_uid"], name)
		}
	}
	if payload["hashed_fxa_uid"] != got["hashed_fxa_uid"] {
		return "hashed_fxa_uid of the token is another one"
	}
	if device := token.MetricsKey(metricsKey).Device(token.MetricsKey(metricsKey).User(user), ""); payload["hashed_device_id"] != device {
		return fmt.Sprintf("hashed_device_id %v, want %v", payload["hashed_device_id"], device)
	}
	left := func(m map[string]any, not ...string) map[string]any {
		out := map[string]any{}
		for k, v := range m {
			if out[k] = v; slices.Contains(not, k) {
				out[k] = "compared before"
			}
		}
		return out
	}
	changing := []string{"expires", "salt", "uid", "hashed_fxa_uid", "hashed_device_id"}
	if g, w := left(payload, changing...), left(c.Response.TokenPayload, changing...); !reflect.DeepEqual(g, w) {
		return fmt.Sprintf("the token has %v, want %v", g, w)
	}
	if g, w := got["api_endpoint"], fmt.Sprintf("%s/1.5/%.0f", nodeURL, ours); g != w {
		return fmt.Sprintf("api_endpoint %v, want %v", g, w)
	}
	changing = []string{"id", "key", "uid", "api_endpoint", "hashed_fxa_uid"}
	if g, w := left(got, changing...), left(want, changing...); !reflect.DeepEqual(g, w) {
		return fmt.Sprintf("the body has %v, want %v", g, w)
	}
	return ""
}

// checkListed compares an answer that deviates with what the list says of it.
func checkListed(t *testing.T, name string, r *http.Response, body []byte) {
	t.Helper()
	for _, d := range deviations {
		if !slices.Contains(strings.Fields(d.cases), name) {
			continue
		}
		if r.StatusCode != d.code || !strings.Contains(string(body), d.has) {
			t.Errorf("%d %s, the list says %d with %s", r.StatusCode, body, d.code, d.has)
		}
		if r.Header.Get("Content-Type") != "application/json" || !json.Valid(body) {
			t.Errorf("the answer is not JSON: %s", body)
		}
	}
}

// docs/API.md has the list.
func TestDeviationsInDocs(t *testing.T) {
	const (
		name  = "../docs/API.md"
		begin = "<!-- deviations: written by go test ./app -update -->\n"
		end   = "<!-- end of deviations -->\n"
	)
	var b strings.Builder
	b.WriteString("| cases | our answer | why |\n|---|---|---|\n")
	for _, e := range everywhere {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", e[0], e[1], e[2])
	}
	for _, d := range deviations {
		fmt.Fprintf(&b, "| %s | %d `%s` | %s |\n", d.cases, d.code, d.has, d.reason)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	got, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", name, begin, end)
	}
	if got == b.String() {
		return
	}
	if !*update {
		t.Fatalf("the deviations of %s are not those of the test; go test ./app -update writes them", name)
	}
	if err := os.WriteFile(name, []byte(head+begin+b.String()+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
