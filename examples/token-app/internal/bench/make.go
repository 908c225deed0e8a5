package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"appbundle/examples/token-app/internal/guarded"
	"appbundle/examples/token-app/internal/idp"
)

const (
	host   = "idp.bench.example"
	origin = "https://token.bench.example"
	// perCertificate is how often a certificate of tenfold.txt is seen.
	perCertificate = 10
	life           = 24 * time.Hour // of all that is made here
)

const settingsText = `[server]
origin = ` + origin + `
state = state
[service:sync-1.5]
pattern = {node}/1.5/{uid}
[browserid]
allowed_issuers = ` + host + `
legacy_domain = ` + host + `
max_age = 24h
max_certificate = 24h
[secrets]
master = master
metrics = metrics
[crypto]
workers = %s
mint = %s
wait = 5s
[limits]
per_address = 0
`

// write makes a directory with
//
//	here.ini       settings: all is done in the server
//	workers.ini    the same with workers, which make tokens too
//	verify.ini     the same with workers, which verify signatures alone
//	distinct.txt   an assertion of each user, all certificates distinct
//	tenfold.txt    as many assertions twice over, each certificate ten times
//	expired.txt    the same number, which have expired
//
// A line of the last three is the client state, a space, and the assertion. The users of tenfold.txt
// are among those of distinct.txt; none of its certificates is.
func write(dir string, users int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	p, err := idp.Load(host, filepath.Join(dir, "idp.pem"))
	if err != nil {
		return err
	}
	for _, name := range []string{"master", "metrics"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(rand.Text()+rand.Text()+"\n"), 0o600); err != nil {
			return err
		}
	}
	for name, v := range map[string][2]string{"here": {"here", "here"}, "workers": {"powerhose", "workers"}, "verify": {"powerhose", "here"}} {
		if err := os.WriteFile(filepath.Join(dir, name+".ini"), fmt.Appendf(nil, settingsText, v[0], v[1]), 0o600); err != nil {
			return err
		}
	}
	m := maker{p: p, now: time.Now()}
	some := users * 2 / perCertificate
	lists := map[string][]string{"distinct.txt": make([]string, users), "tenfold.txt": make([]string, some*perCertificate), "expired.txt": make([]string, some*perCertificate)}
	var all sync.WaitGroup
	turn := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for n := range turn {
				lists["distinct.txt"][n] = m.line(n, 1, m.now.Add(life/2))[0]
				if n < some {
					for name, expires := range map[string]time.Time{"tenfold.txt": m.now.Add(life / 2), "expired.txt": m.now.Add(-life)} {
						for i, l := range m.line(n, perCertificate, expires) {
							lists[name][i*some+n] = l // the same certificate comes far behind
						}
					}
				}
			}
		})
	}
	for n := range users {
		turn <- n
	}
	close(turn)
	all.Wait()
	for name, lines := range lists {
		if err := writeLines(filepath.Join(dir, name), lines); err != nil {
			return err
		}
	}
	return nil
}

func writeLines(name string, lines []string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for _, l := range lines {
		fmt.Fprintln(w, l)
	}
	return errors.Join(w.Flush(), f.Close())
}

// A maker signs credentials, all as if at one time.
type maker struct {
	p   *idp.Provider
	now time.Time
}

// line makes assertions of a user by one certificate.
func (m maker) line(user, count int, expires time.Time) []string {
	name := fmt.Sprintf("user%d", user)
	state := sha256.Sum256([]byte(name))
	u := idp.NewUser()
	certificate := m.p.Certificate(u, idp.Claims{
		"iss": host, "iat": m.now.UnixMilli(), "exp": m.now.Add(life - time.Hour).UnixMilli(), "principal": idp.Claims{"email": name + "@" + host},
		"fxa-generation": m.now.Add(-life).UnixMilli(), "fxa-keysChangedAt": m.now.Add(-2 * life).UnixMilli(), "fxa-tokenVerified": true,
	})
	var lines []string
	for i := range count {
		signed := u.Sign(idp.Claims{"aud": origin, "exp": expires.UnixMilli() + int64(i)})
		lines = append(lines, hex.EncodeToString(state[:16])+" "+certificate+"~"+signed)
	}
	return lines
}

// An issuer is asked for its document without a network.
type issuer struct{ p *idp.Provider }

// Get asks the issuer, whatever host the address names: it is the only one.
func (i issuer) Get(ctx context.Context, address string, _ int64) (guarded.Answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return guarded.Answer{}, err
	}
	w := httptest.NewRecorder()
	i.p.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return guarded.Answer{}, errors.New("the issuer has no such document")
	}
	return guarded.Answer{Body: w.Body.Bytes(), MaxAge: -1}, nil
}

// Post is refused: nothing here is asked by it.
func (issuer) Post(context.Context, string, url.Values, *url.Userinfo, int64) (guarded.Answer, error) {
	return guarded.Answer{}, errors.New("the issuer takes no forms")
}
