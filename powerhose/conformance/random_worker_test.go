package conformance

import (
	"cmp"
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"syscall"
	"time"

	"appbundle/powerhose"
)

// ledger is where a worker in Go writes down what it starts.
var ledger *os.File

// write is one write to the ledger, with the time.
func write(format string, args ...any) error {
	_, err := fmt.Fprintf(ledger, format+" %d\n", append(args, time.Now().UnixNano())...)
	return err
}

// play does a job of TestRandom: its result shows whose it is, and who did it.
func play(ctx context.Context, j *powerhose.Job, id, op, arg string) ([]byte, error) {
	repeatable := 0
	if j.Repeatable {
		repeatable = 1
	}
	if err := write("S %s %d %d %d %s", id, os.Getpid(), j.Attempt, repeatable, cmp.Or(j.Kind, "-")); err != nil {
		return nil, err
	}
	switch op {
	case "nap":
		n, err := strconv.Atoi(arg)
		if err != nil {
			return nil, err
		}
		<-time.After(time.Duration(n) * time.Microsecond)
	case "hold":
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %v", ctx.Err(), write("E %s %d told", id, os.Getpid()))
		case <-time.After(time.Until(j.Deadline) + 5*time.Second):
		}
		if err := write("E %s %d over", id, os.Getpid()); err != nil {
			return nil, err
		}
	case "die":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "cut":
		cut(arg)
	case "error":
		return nil, &powerhose.Error{Text: id, Detail: []byte("detail of " + id)}
	case "reject":
		return nil, fmt.Errorf("%w: %s", powerhose.ErrRejected, id)
	case "break":
		panic(id)
	case "progress":
		for i := range 3 {
			j.Progress(fmt.Appendf(nil, "%s %d", id, i))
		}
	}
	answer := fmt.Appendf(nil, "%s %d %d %08x %d", id, os.Getpid(), j.Attempt, crc32.ChecksumIEEE(j.Body), len(j.Body))
	if op == "echo" {
		answer = append(append(answer, '\n'), j.Body...)
	}
	return answer, nil
}

// cut ends one of the links of this process, under it.
func cut(which string) {
	name := func(sa syscall.Sockaddr, err error) string {
		if un, ok := sa.(*syscall.SockaddrUnix); ok && err == nil {
			return un.Name
		}
		return ""
	}
	for fd := 3; fd < 64; fd++ {
		end := name(syscall.Getpeername(fd))
		if _, err := syscall.Getpeername(fd); err == nil && which == "work" {
			end = name(syscall.Getsockname(fd))
		}
		if end != "" {
			_ = syscall.Shutdown(fd, syscall.SHUT_RDWR)
		}
	}
}
