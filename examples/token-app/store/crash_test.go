package store

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	kills    = flag.Int("store.kills", 5, "how often TestKill kills")
	killSeed = flag.Uint64("store.seed", 0, "of TestKill; 0 is another one each time")
)

// clientUsers is how many users each goroutine of the client has.
const clientUsers = 10

// client is the process that is killed: users come, and come again with new keys,
// and each answer is a line on standard output once it is there.
func client(where string) {
	open := OpenSQLite
	if strings.HasPrefix(where, "host=") {
		open = OpenPostgres
	}
	ctx := context.Background()
	s, err := open(ctx, where, Config{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var wait sync.WaitGroup
	for caller := range 4 {
		wait.Go(func() {
			for n := 0; ; n++ {
				email := Email(fmt.Sprintf("user%d-%d@example.com", caller, n%clientUsers))
				u, _, err := s.User(ctx, "sync-1.5", email)
				if err == nil {
					g := u.Generation + 1
					u, err = s.Exchange(ctx, Request{Service: "sync-1.5", Email: email, Generation: g, KeysChangedAt: g,
						ClientState: ClientState(fmt.Sprintf("%032x", g)), AllowNew: true})
				}
				if err != nil {
					return // the server was killed
				}
				fmt.Fprintf(os.Stdout, "%s %d %d %s\n", string(email), u.UID, u.Generation, u.Node)
			}
		})
	}
	wait.Wait()
}

// A client is killed at any moment, and the server too where there is one: the
// database is sound, and whatever was answered is in it.
func TestKill(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	both(t, func(t *testing.T, l *lab) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := l.service(1_000_000, "https://a", "https://b", "https://c")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		answers := 0
		latest := map[string]int64{} // generation by user
		start := time.Now()
		for n := range *kills {
			lines := killed(t, l, random, l.postgres() && n%4 == 3)
			s, err := l.open(Config{})
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range lines {
				check(t, s, line, latest)
			}
			for email, generation := range latest {
				u, known, err := s.User(t.Context(), "sync-1.5", Email(email))
				if err != nil || !known || !u.ReplacedAt.IsZero() || u.Generation < generation {
					t.Errorf("kill %d: %s has generation %d, %v, %v, and was told %d", n, email, u.Generation, known, err, generation)
				}
			}
			sound(t, s)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			answers += len(lines)
			if t.Failed() {
				t.Fatalf("-store.seed %d", seed)
			}
		}
		t.Logf("%d answers before %d kills in %v", answers, *kills, time.Since(start))
		if answers == 0 {
			t.Error("nobody was answered")
		}
	})
}

// killed runs a client, kills it or the server at some moment, and gives what the client was told.
func killed(t *testing.T, l *lab, random *rand.Rand, killServer bool) (lines []string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STORE_TEST_CLIENT="+l.where)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	read := func() bool {
		line, err := in.ReadString('\n')
		if err == nil {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		} else if err != io.EOF {
			t.Error(err)
		}
		return err == nil
	}
	for range 1 + random.IntN(40) {
		if !read() {
			break
		}
	}
	<-time.After(time.Duration(random.IntN(3000)) * time.Microsecond)
	if killServer {
		killBackend(t, l)
	}
	// Who was lucky has not noticed that the server was gone.
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for read() {
	}
	cmd.Wait() // it was killed
	return lines
}

// killBackend kills a process of the server, the one that worked last. The server ends all others and
// recovers.
func killBackend(t *testing.T, l *lab) {
	s := l.store(Config{})
	defer s.Close()
	pid := count(t, s, `SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY state_change DESC LIMIT 1`)
	if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil {
		t.Fatal(err)
	}
}

// check looks for the record of an answer.
func check(t *testing.T, s *Store, line string, latest map[string]int64) {
	var email, node string
	var uid, generation int64
	if _, err := fmt.Sscan(line, &email, &uid, &generation, &node); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	latest[email] = max(latest[email], generation)
	n := count(t, s, `SELECT count(*) FROM users u JOIN nodes n ON n.id = u.nodeid
		WHERE u.uid = $1 AND u.email = $2 AND u.generation = $3 AND n.node = $4`, uid, email, generation, node)
	if n != 1 {
		t.Errorf("the answer %q is lost", line)
	}
}
