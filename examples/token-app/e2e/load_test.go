package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"appbundle/examples/token-app/node"
	"appbundle/examples/token-app/token"
)

var kills = flag.Int("kills", 10, "processes that TestKilled kills, one a second")

// A user asks for tokens of a service.
type user struct {
	service, subject, bearer string
}

// A load is clients that ask for tokens and use them, and what they have seen.
type load struct {
	site  *site
	users []user

	mu       sync.Mutex
	uids     map[string]int64 // of each user, since the first answer
	answers  int
	cut      []span // requests whose connection was cut
	problems []string
}

// A span is from the beginning of something to its end.
type span struct{ from, to time.Time }

func newLoad(s *site, users int) *load {
	l := &load{site: s, uids: map[string]int64{}}
	for i := range users {
		for service := range services {
			subject := fmt.Sprintf("user%d", i)
			l.users = append(l.users, user{service, subject, s.bearer(subject)})
		}
	}
	return l
}

// client asks until ctx ends: a connection for each request, or one for all.
func (l *load) client(ctx context.Context, alone bool) {
	c := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: alone}}
	defer c.CloseIdleConnections()
	for ctx.Err() == nil {
		l.once(c, l.users[rand.IntN(len(l.users))])
	}
}

// once gets a token, and uses it at its node.
func (l *load) once(c *http.Client, u user) {
	from := time.Now()
	given, err := l.ask(c, u)
	switch {
	case isCut(err):
		l.mu.Lock()
		defer l.mu.Unlock()
		l.cut = append(l.cut, span{from, time.Now()})
		return
	case err == nil:
		err = use(c, u, given)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.problems = append(l.problems, fmt.Sprintf("%s of %s: %v", u.subject, u.service, err))
		return
	}
	l.answers++
	key := u.service + " " + u.subject
	if was, ok := l.uids[key]; ok && was != given.UID {
		l.problems = append(l.problems, fmt.Sprintf("%s was %d, and is %d", key, was, given.UID))
	}
	l.uids[key] = given.UID
}

// isCut tells that a connection that had been made ended without an answer.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		err != nil && strings.Contains(err.Error(), "server closed idle connection") // net/http's, of one that ends before it is used
}

// A given is the answer of the token server.
type given struct {
	ID, Key  string
	UID      int64
	Endpoint string `json:"api_endpoint"`
}

func (l *load) ask(c *http.Client, u user) (*given, error) {
	r, err := http.NewRequest("GET", l.site.url+"/1.0/"+strings.Replace(u.service, "-", "/", 1), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+u.bearer)
	body, err := do(c, r)
	if err != nil {
		return nil, err
	}
	g := &given{}
	if err := json.Unmarshal(body, g); err != nil || g.UID == 0 {
		return nil, fmt.Errorf("%s: %v", body, err)
	}
	return g, nil
}

// use makes a request at the node, which opens the token and knows its key.
func use(c *http.Client, u user, g *given) error {
	r, err := http.NewRequest("GET", g.Endpoint, nil)
	if err != nil {
		return err
	}
	node.Sign(r, token.Minted{Token: g.ID, Key: g.Key}, time.Now(), nil)
	body, err := do(c, r)
	if err != nil {
		return fmt.Errorf("the node: %w", err)
	}
	var opened struct {
		UID  int64
		Node string
	}
	if err := json.Unmarshal(body, &opened); err != nil || opened.UID != g.UID || !strings.HasPrefix(g.Endpoint, opened.Node+"/") {
		return fmt.Errorf("the node says %s of the token for %d at %s (%v)", body, g.UID, g.Endpoint, err)
	}
	return nil
}

func do(c *http.Client, r *http.Request) ([]byte, error) {
	resp, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return body, err
}

// Processes of the bundle are killed, one a second: web servers, workers and the
// master, which is also asked to end. No answer is wrong; a request is lost only
// where its connection was to a web server that was killed meanwhile; and a
// connection is never refused.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t, unpacked(t))
	l := newLoad(s, 20)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	for i := range 6 {
		clients.Go(func() { l.client(ctx, i%2 == 0) })
	}
	steps := []struct {
		name string
		sig  syscall.Signal
	}{
		{"app.1", syscall.SIGKILL}, {"crypto.1", syscall.SIGKILL}, {"app.2", syscall.SIGKILL}, {"master.1", syscall.SIGKILL}, {"crypto.2", syscall.SIGKILL},
		{"app.1", syscall.SIGKILL}, {"crypto.2", syscall.SIGKILL}, {"master.1", syscall.SIGTERM}, {"app.2", syscall.SIGKILL}, {"crypto.1", syscall.SIGKILL},
	}
	var webs []span // in which a web server was killed
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for i := range *kills {
		<-second.C
		step := steps[i%len(steps)]
		from := time.Now()
		s.kill(step.name, step.sig)
		if strings.HasPrefix(step.name, "app.") {
			webs = append(webs, span{from, time.Now()})
		}
	}
	for _, step := range steps {
		s.await(step.name+" that is up", func() bool { return s.up[step.name] })
	}
	<-second.C
	cancel()
	clients.Wait()
	for _, u := range l.users { // everybody is there, once
		l.once(http.DefaultClient, u)
	}
	http.DefaultClient.CloseIdleConnections()
	for _, p := range l.problems {
		t.Error(p)
	}
	if t.Failed() {
		t.Log(s.refusals())
	}
	for _, c := range l.cut {
		if !slices.ContainsFunc(webs, func(w span) bool { return !c.from.After(w.to) && !c.to.Before(w.from) }) {
			t.Errorf("a request was lost while no web server was killed: from %v to %v", c.from, c.to)
		}
	}
	if most := 6 * len(webs); len(l.cut) > most {
		t.Errorf("%d requests were lost, and %d at most were under way", len(l.cut), most)
	}
	if got, want := strings.Fields(s.admin(t, "users", "count"))[0], fmt.Sprint(len(l.users)); got != want {
		t.Errorf("there are %s users, want %s", got, want)
	}
	s.stop()
	t.Logf("%d processes killed: %d right answers, %d requests cut", *kills, l.answers, len(l.cut))
}
