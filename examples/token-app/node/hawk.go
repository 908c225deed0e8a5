package node

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"appbundle/examples/token-app/token"
)

const (
	// maxHeader is an Authorization header with the longest token, and more.
	maxHeader = 32 << 10
	maxNonce  = 64
	maxExt    = 1024
)

// A header is what an Authorization header of Hawk says.
type header struct {
	id    string // the token
	ts    string
	time  int64 // ts, in seconds
	nonce string
	hash  string // of the body, or empty
	ext   string
	mac   [sha256.Size]byte
}

var errHeader = errors.New("the Authorization header is not one of Hawk")

// parseHeader reads the header in the one way in which it can be written: the
// word Hawk, attributes in any order and none twice, values of printable ASCII
// without quotes and backslashes. What belongs to the extension Oz is refused,
// for the signature would be another.
func parseHeader(s string) (*header, error) {
	if len(s) > maxHeader {
		return nil, errHeader
	}
	scheme, rest, ok := strings.Cut(s, " ")
	if !ok || !strings.EqualFold(scheme, "Hawk") {
		return nil, errHeader
	}
	h := &header{}
	var mac string
	places := map[string]*string{"id": &h.id, "ts": &h.ts, "nonce": &h.nonce, "hash": &h.hash, "ext": &h.ext, "mac": &mac}
	rest = strings.TrimLeft(rest, " ")
	for {
		name, after, ok := strings.Cut(rest, `="`)
		if !ok {
			return nil, errHeader
		}
		value, after, ok := strings.Cut(after, `"`)
		place := places[name]
		if !ok || place == nil || value == "" || !printable(value) {
			return nil, errHeader
		}
		*place = value
		delete(places, name)
		rest = strings.TrimLeft(after, " ")
		if rest == "" {
			break
		}
		if rest, ok = strings.CutPrefix(rest, ","); !ok {
			return nil, errHeader
		}
		rest = strings.TrimLeft(rest, " ")
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(mac)
	if err != nil || len(sum) != len(h.mac) {
		return nil, errHeader
	}
	copy(h.mac[:], sum)
	if h.time, err = strconv.ParseInt(h.ts, 10, 64); err != nil || h.time <= 0 || strconv.FormatInt(h.time, 10) != h.ts || h.time > 1<<40 {
		return nil, errHeader
	}
	if h.id == "" || h.nonce == "" || len(h.nonce) > maxNonce || len(h.ext) > maxExt {
		return nil, errHeader
	}
	return h, nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e || s[i] == '\\' {
			return false
		}
	}
	return true
}

// normalized is the text that is signed. Host and port are those that the client
// has connected to.
func (h *header) normalized(method, target, host, port string) string {
	return "hawk.1.header\n" + h.ts + "\n" + h.nonce + "\n" + strings.ToUpper(method) + "\n" + target + "\n" +
		host + "\n" + port + "\n" + h.hash + "\n" + h.ext + "\n"
}

// mac signs a text. The key is text as well: it is not decoded.
func mac(key, text string) []byte {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(text))
	return m.Sum(nil)
}

// bodyHash is what a client writes for the body that it sends.
func bodyHash(contentType string, body []byte) string {
	kind, _, _ := strings.Cut(contentType, ";")
	m := sha256.New()
	m.Write([]byte("hawk.1.payload\n" + strings.ToLower(strings.TrimSpace(kind)) + "\n"))
	m.Write(body)
	m.Write([]byte("\n"))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// staleChallenge tells a client the time, signed with the key that both have.
func staleChallenge(key string, now int64) string {
	sum := mac(key, fmt.Sprintf("hawk.1.ts\n%d\n", now))
	return fmt.Sprintf(`Hawk ts="%d", tsm="%s", error="Stale timestamp"`, now, base64.StdEncoding.EncodeToString(sum))
}

// address gives the host and the port of a URL as they are signed.
func address(u *url.URL) (host, port string) {
	port = u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return strings.ToLower(u.Hostname()), port
}

// Sign signs a request to a node, as a client does: with a token and its key, at
// a time. A body that is not nil is signed too; it is for the caller to send it,
// with the Content-Type that the request has now.
func Sign(r *http.Request, m token.Minted, at time.Time, body []byte) {
	h := header{id: m.Token, ts: strconv.FormatInt(at.Unix(), 10), nonce: rand.Text()}
	text := fmt.Sprintf(`Hawk id="%s", ts="%s", nonce="%s"`, h.id, h.ts, h.nonce)
	if body != nil {
		h.hash = bodyHash(r.Header.Get("Content-Type"), body)
		text += fmt.Sprintf(`, hash="%s"`, h.hash)
	}
	host, port := address(r.URL)
	sum := mac(m.Key, h.normalized(r.Method, r.URL.RequestURI(), host, port))
	r.Header.Set("Authorization", text+fmt.Sprintf(`, mac="%s"`, base64.StdEncoding.EncodeToString(sum)))
}
