package powerhose

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"appbundle/internal/zmq"
)

// newKey makes a key in a directory, and gives its file and its public half.
func newKey(tb testing.TB, dir, name string) (file, public string) {
	tb.Helper()
	file = filepath.Join(dir, name)
	public, err := GenerateKeys(file)
	if err != nil {
		tb.Fatal(err)
	}
	return file, public
}

func readKeys(tb testing.TB, secret string, admitted ...string) *Keys {
	tb.Helper()
	k, err := ReadKeys(secret, admitted...)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func writeFile(tb testing.TB, path, text string, mode os.FileMode) string {
	tb.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		tb.Fatal(err)
	}
	return path
}

// A key is two files, which are not replaced.
func TestGenerateKeys(t *testing.T) {
	dir := t.TempDir()
	file, public := newKey(t, dir, "k")
	for name, want := range map[string]os.FileMode{file: 0o600, file + ".pub": 0o644} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want || info.Size() != 64 {
			t.Errorf("%s: mode %v and %d bytes, want %v and 64", name, info.Mode(), info.Size(), want)
		}
	}
	b, err := os.ReadFile(file + ".pub")
	if want := "# appbundle public key\n" + public + "\n"; err != nil || string(b) != want {
		t.Errorf("the file of the public key has %q, %v; want %q", b, err, want)
	}
	if b, err = os.ReadFile(file); err != nil || !strings.HasPrefix(string(b), "# appbundle secret key\n") {
		t.Errorf("the file of the secret key has %q, %v", b, err)
	}
	if _, err := GenerateKeys(file + "2.pub"); err == nil || !strings.Contains(err.Error(), "is the name of a public key") {
		t.Errorf("GenerateKeys of a name with .pub = %v", err)
	}
	k := readKeys(t, file, file+".pub")
	if k.Public() != public {
		t.Errorf("Public = %s, want %s", k.Public(), public)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		secret := k.secret.Z85()
		cfg := fmt.Sprintf(verb, MasterConfig{Keys: k})
		if s := fmt.Sprintf(verb, *k); strings.Contains(s, secret) || !strings.Contains(s, public) {
			t.Errorf("%s prints %s", verb, s)
		}
		if strings.Contains(cfg, fmt.Sprint(k.secret[:4])) {
			t.Errorf("%s of a configuration prints %s", verb, cfg)
		}
	}

	for _, left := range []string{file, file + ".pub"} {
		other := filepath.Join(dir, "other")
		if err := os.Rename(left, other+strings.TrimPrefix(left, file)); err != nil {
			t.Fatal(err)
		}
		if _, err := GenerateKeys(other); err == nil || !strings.Contains(err.Error(), "it is there already") {
			t.Errorf("GenerateKeys over %s = %v", left, err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 2 {
			t.Errorf("files %v, %v; want the two that were there", entries, err)
		}
		if err := os.Rename(other+strings.TrimPrefix(left, file), left); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := GenerateKeys(filepath.Join(dir, "no", "k")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("GenerateKeys without a directory = %v", err)
	}
}

// What is wrong with a file is said with its line and a remedy, and nothing of a
// secret key.
func TestReadKeys(t *testing.T) {
	dir := t.TempDir()
	own, public := newKey(t, dir, "own")
	_, a := newKey(t, dir, "a")
	_, b := newKey(t, dir, "b")
	text, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(strings.TrimPrefix(string(text), "# appbundle secret key\n"))

	list := writeFile(t, filepath.Join(dir, "list"), "# workers\n\n"+a+"\n\t"+b+"  # of the night\r\n", 0o644)
	k := readKeys(t, own, list, own+".pub")
	if len(k.admitted) != 3 || k.admitted[0].String() != a || k.admitted[1].String() != b || k.admitted[2].String() != public {
		t.Errorf("admitted are %v, want %s, %s and %s", k.admitted, a, b, public)
	}
	// A key can have a # in it, and is not cut there.
	hash := "0123456789abcdefghij#uvwxyz0123456789ABC"
	hash = hash[:20] + "0####" + hash[25:]
	k = readKeys(t, own, writeFile(t, filepath.Join(dir, "hash"), hash, 0o600))
	if k.admitted[0].String() != hash {
		t.Errorf("admitted is %s, want %s", k.admitted[0], hash)
	}

	// Files without a mark, as others may write them, are taken too.
	k = readKeys(t, writeFile(t, filepath.Join(dir, "bare"), secret, 0o600), writeFile(t, filepath.Join(dir, "bare.pub"), a, 0o644))
	if k.Public() != public || k.admitted[0].String() != a {
		t.Errorf("without marks the keys are %s and %v", k.Public(), k.admitted)
	}

	n := 0
	file := func(text string, mode os.FileMode) string {
		n++
		return writeFile(t, filepath.Join(dir, fmt.Sprint("f", n)), text, mode)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	type bad struct {
		secret, admitted string
		want             string
	}
	tests := []bad{
		{file(secret, 0o640), list, "f1: others can read it (mode 0640); chmod 600 " + dir + "/f1"},
		{file(secret, 0o604), list, "f2: others can read it (mode 0604); chmod 600 "},
		{file(secret[1:], 0o600), list, "f3: secret key: 39 characters; a key has 40; make one with"},
		{file(" "+secret[1:20]+"~"+secret[21:], 0o600), list, "f4: secret key: 39 characters"},
		{file(strings.Repeat("0", 40), 0o400), list, "f5: secret key: it is nothing but zeros"},
		{filepath.Join(dir, "none"), list, "none: no such file"},
		{dir, list, dir + ": it is not a regular file"},
		{pipe, list, "pipe: it is not a regular file"},
		{file(strings.Repeat("x", maxKeyFile+1), 0o600), list, "more than 1048576 bytes"},
		{own, file(a+"\n"+b+"\n\n"+a+"\n", 0o644), "f7:4: public key: it is the one of " + dir + "/f7:1"},
		{own, file("\nkey\n", 0o644), "f8:2: public key: 3 characters; a key has 40"},
		{own, file(a+" "+b+"\n", 0o644), "f9:1: there is something behind the key"},
		{own, file(strings.Repeat("0", 40), 0o644), "f10:1: public key: it is nothing but zeros"},
		{own, own, "own:1: it says that it has a secret key, which stays with its owner; name the file with .pub"},
		{own, filepath.Join(dir, "bare"), "bare:1: public key: it is our secret one; name the file with .pub"},
		{own + ".pub", list, "own.pub: it is the name of a public key; give the file of the secret one, as " + own},
		{writeFile(t, filepath.Join(dir, "copy"), publicMark+"\n"+public+"\n", 0o600), list, "copy: it says that it has a public key; give the file of the secret one"},
		{own, file("# nobody\n", 0o644), "f11: there is no public key in it"},
		{own, file(a, 0o664), "f12: others can write it (mode 0664); chmod 644 "},
		{own, pipe, "pipe: it is not a regular file"},
		{own, filepath.Join(dir, "none"), "none: no such file"},
	}
	if os.Geteuid() == 0 {
		foreign := file(secret, 0o600)
		if err := os.Chown(foreign, 1, 1); err != nil {
			t.Fatal(err)
		}
		tests = append(tests, bad{foreign, list, "f13: it belongs to uid 1, not to 0 or root"})
	}
	for _, test := range tests {
		_, err := ReadKeys(test.secret, test.admitted)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("ReadKeys(%s, %s) = %v, want %s", test.secret, test.admitted, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), secret[1:20]) {
			t.Errorf("the error shows the secret key: %v", err)
		}
	}
	if _, err := ReadKeys(own); err == nil || !strings.Contains(err.Error(), "no file of public keys is named") {
		t.Errorf("ReadKeys without a list = %v", err)
	}
	if _, err := ReadKeys(own, own+".pub", list, list); err == nil || !strings.Contains(err.Error(), "list:3: public key: it is the one of") {
		t.Errorf("ReadKeys with a list twice = %v", err)
	}
}

// What a stranger puts into a file of keys is a key or an error.
func FuzzReadKeys(f *testing.F) {
	dir := f.TempDir()
	own, public := newKey(f, dir, "own")
	f.Add(public + " # me\n\n# nobody\n")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ReadKeys(own, writeFile(t, filepath.Join(t.TempDir(), "list"), text, 0o600))
		if err != nil {
			return
		}
		for _, key := range k.admitted {
			if back, err := zmq.ParsePublicKey(key.String()); err != nil || back != key || !strings.Contains(text, key.String()) {
				t.Errorf("%q gives the key %s", text, key)
			}
		}
	})
}
