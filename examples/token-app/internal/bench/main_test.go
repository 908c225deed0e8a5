package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is made is answered as it is meant to be, and a load says how much that was.
func TestLoad(t *testing.T) {
	t.Setenv("POWERHOSE_MASTER", "")
	t.Setenv("DATABASE_URL", "")
	dir := filepath.Join(t.TempDir(), "data")
	if err := run(t.Context(), []string{"make", dir, "10"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"serve", filepath.Join(dir, "here.ini")}, w)
		w.CloseWithError(err)
		ended <- err
	}()
	address, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	load := func(file string, flags ...string) (map[string]float64, error) {
		args := append(append([]string{"load"}, flags...), strings.TrimSpace(address), filepath.Join(dir, file))
		var out strings.Builder
		if err := run(t.Context(), append(args, "10"), &out); err != nil {
			return nil, err
		}
		said := map[string]float64{}
		return said, json.Unmarshal([]byte(out.String()), &said)
	}
	for _, test := range []struct {
		file  string
		flags []string
	}{
		{"distinct.txt", []string{"--pid", fmt.Sprint(os.Getpid())}},
		{"tenfold.txt", []string{"--rate", "1000"}},
		{"expired.txt", []string{"--want", "401"}},
	} {
		said, err := load(test.file, test.flags...)
		if err != nil || said["requests"] != 10 || said["rate"] <= 0 || said["p99"] < said["p50"] || said["p50"] <= 0 {
			t.Errorf("%s: %v, %v", test.file, said, err)
		}
	}
	if _, err := load("expired.txt"); err == nil || !strings.Contains(err.Error(), "status 401, want 200") {
		t.Errorf("expired.txt: %v", err)
	}
	if _, err := load("absent.txt"); err == nil {
		t.Error("a file that is not there has credentials")
	}
}

// Of ten assertions with one certificate none is another's, and their certificates
// are not those of distinct.txt.
func TestMake(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir, 10); err != nil {
		t.Fatal(err)
	}
	certificates := map[string]int{}
	seen := map[string]bool{}
	for _, name := range []string{"distinct.txt", "tenfold.txt"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			certificate, _, _ := strings.Cut(line, "~")
			certificates[certificate]++
			if seen[line] {
				t.Errorf("%s: an assertion is there twice", name)
			}
			seen[line] = true
		}
	}
	count := map[int]int{}
	for _, n := range certificates {
		count[n]++
	}
	if count[1] != 10 || count[10] != 2 || len(count) != 2 {
		t.Errorf("%v certificates are seen so often", count)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"make", "x"}, {"make", "x", "9"}, {"serve"}, {"load", "a", "b"}, {"load", "a", "b", "0"}, {"load", "--pid", "x", "a", "b", "1"}, {"other"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
