package trust

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"
	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/scrypt"
)

// pair makes a key, and the text of its public half.
func pair(t testing.TB) (minisign.PrivateKey, Key) {
	t.Helper()
	public, private, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseKey([]byte(public.String()))
	if err != nil {
		t.Fatal(err)
	}
	return private, k
}

func put(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(at, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(at, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return at
}

func TestParse(t *testing.T) {
	_, k := pair(t)
	good, err := Parse("trust", []byte("# c\r\n\n  shop*\t"+k.String()+"  of Alice\r\n* "+k.String()))
	if err != nil || len(good.Keys) != 2 || !good.Keys[0].Trusts("shop-2") || good.Keys[0].Trusts("store") || !good.Keys[1].Trusts("store") || !good.Keys[1].Trusts("") || good.Keys[0].Trusts("") {
		t.Errorf("Parse = %+v, %v", good, err)
	}
	for text, want := range map[string]string{
		"shop":                            "trust:1: there is no key; write GLOB KEY [COMMENT]",
		"\n# x\n[ " + k.String():          `trust:3: "[" is no pattern; write GLOB KEY [COMMENT]`,
		"shop RWQ":                        `trust:1: "RWQ" is no public key of minisign: that is one line of 56 characters; write GLOB KEY [COMMENT]`,
		"shop " + strings.Repeat("A", 56): `trust:1: "` + strings.Repeat("A", 56) + `" is no public key of minisign; write GLOB KEY [COMMENT]`,
		strings.Repeat("* "+k.String()+"\n", MaxKeys+1): "trust:10001: more than 10000 keys; write GLOB KEY [COMMENT]",
	} {
		if _, err := Parse("trust", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("Parse(%.60q) = %v, want %s", text, err, want)
		}
	}
}

func TestLoad(t *testing.T) {
	if got, err := Load(filepath.Join(t.TempDir(), "none")); got != nil || err != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
	_, k := pair(t)
	line := "* " + k.String() + "\n"
	if got, err := Load(put(t, "trust", line, 0o644)); err != nil || len(got.Keys) != 1 {
		t.Errorf("a good file: %v, %v", got, err)
	}
	for _, tt := range []struct{ file, want string }{
		{put(t, "trust", line, 0o664), "others may write there"},
		{put(t, "trust", line, 0o646), "others may write there"},
		{t.TempDir(), "is no plain file"},
		{put(t, "trust", strings.Repeat("#\n", MaxFile/2+1), 0o644), "has more than 1048576 bytes"},
	} {
		if _, err := Load(tt.file); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Load = %v, want %q", err, tt.want)
		}
	}
}

// lock writes a secret key with a passphrase as minisign does, but with a cost of
// scrypt that a test can pay.
func lock(t *testing.T, plain []byte, passphrase string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(string(lastLine(plain)))
	if err != nil {
		t.Fatal(err)
	}
	copy(raw[2:], "ScB2")
	binary.LittleEndian.PutUint64(raw[38:], 1<<15)
	binary.LittleEndian.PutUint64(raw[46:], 1<<24)
	text := raw[54:]
	sum := blake2b.Sum256(append([]byte("Ed"), text[:72]...))
	copy(text[72:], sum[:])
	stream, err := scrypt.Key([]byte(passphrase), raw[6:38], 1024, 8, 1, len(text))
	if err != nil {
		t.Fatal(err)
	}
	subtle.XORBytes(text, text, stream)
	return []byte("untrusted comment: a key\n" + base64.StdEncoding.EncodeToString(raw) + "\n")
}

// A secret key opens with its passphrase, with or without a newline, and errors tell
// nothing of either.
func TestReadSecret(t *testing.T) {
	private, _ := pair(t)
	plain, err := private.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	locked := lock(t, plain, "canary-word")
	for _, tt := range []struct {
		text       []byte
		passphrase []byte
		want       string
	}{
		{plain, nil, ""},
		{locked, []byte("canary-word"), ""},
		{locked, []byte("canary-word\n"), ""},
		{locked, nil, "the key has a passphrase, and none was given"},
		{locked, []byte("canary-wrong"), "the passphrase does not open the key"},
		{[]byte("canary-key"), nil, "is no secret key of minisign"},
		{bytes.Repeat([]byte("x"), MaxFile+1), nil, "has more than"},
	} {
		s, err := ReadSecret(put(t, "key", string(tt.text), 0o600), tt.passphrase)
		switch {
		case tt.want == "" && (err != nil || !s.key.Equal(private)):
			t.Errorf("ReadSecret = %v", err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "canary")):
			t.Errorf("ReadSecret = %v, want %q", err, tt.want)
		}
	}
}

// What is written to between the check and the end of reading is refused. What is put in
// its place, or in that of its directory, is not read at all.
func TestStill(t *testing.T) {
	private, k := pair(t)
	for name, meddle := range map[string]func(archive string) error{
		"nothing": func(string) error { return nil },
		"written": func(a string) error { return os.WriteFile(a, []byte("villain"), 0o644) },
		"replaced": func(a string) error {
			if err := os.WriteFile(a+".new", []byte("villain"), 0o644); err != nil {
				return err
			}
			return os.Rename(a+".new", a)
		},
		"directory": func(a string) error {
			dir := filepath.Dir(a)
			if err := os.Rename(dir, dir+".old"); err != nil {
				return err
			}
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			return os.WriteFile(a, []byte("villain"), 0o644)
		},
	} {
		archive := put(t, "a.tar", "archive", 0o644)
		if _, _, err := (&Secret{private}).Sign(t.Context(), archive, "ab1:x"); err != nil {
			t.Fatal(err)
		}
		p, err := Check(t.Context(), archive, []Key{k})
		if err != nil || p.Comment != "file:a.tar\tdigest:ab1:x" {
			t.Fatalf("Check = %+v, %v", p, err)
		}
		if err := meddle(archive); err != nil {
			t.Fatal(err)
		}
		data := make([]byte, 7)
		if _, err := p.File.ReadAt(data, 0); err != nil {
			t.Fatal(err)
		}
		var refused *RefusedError
		err = p.Still()
		switch {
		case name == "written":
			if !errors.As(err, &refused) {
				t.Errorf("%s: %v", name, err)
			}
		case string(data) != "archive":
			t.Errorf("%s: %q is read", name, data)
		case name == "nothing" && err != nil:
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(t.Context(), link, []Key{k}); err == nil || !strings.Contains(err.Error(), "is no plain file") {
		t.Errorf("a device: %v", err)
	}
}

// Two keys may have one ID, which anybody can choose: both are tried.
func TestSameID(t *testing.T) {
	private, k := pair(t)
	_, other := pair(t)
	text, err := other.key.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	forged := lastLine(text)
	raw := []byte(k.String())
	// The ID is bytes 2 to 10: Base64 of 12 bytes is 16 characters, of which the last
	// bytes are the key's own.
	mixed := append(append([]byte{}, raw[:12]...), forged[12:]...)
	twin, err := ParseKey(mixed)
	if err != nil {
		t.Fatal(err)
	}
	archive := put(t, "a.tar", "archive", 0o644)
	if _, _, err := (&Secret{private}).Sign(t.Context(), archive, "ab1:x"); err != nil {
		t.Fatal(err)
	}
	if p, err := Check(t.Context(), archive, []Key{twin, other, k}); err != nil || !p.Key.key.Equal(k.key) {
		t.Errorf("Check = %v, %v", p, err)
	}
	if _, err := Check(t.Context(), archive, []Key{twin, other}); err == nil {
		t.Error("a key that only looks like it was good")
	}
}

func FuzzParse(f *testing.F) {
	_, k := pair(f)
	f.Add([]byte("# c\nshop* " + k.String() + " of Alice\n"))
	f.Add([]byte("[a-z]* x\n\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Parse("trust", data)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, k := range got.Keys {
			b.WriteString(k.glob + " " + k.String() + "\n")
		}
		again, err := Parse("trust", []byte(b.String()))
		if err != nil || len(again.Keys) != len(got.Keys) {
			t.Fatalf("%q is %q, and that is no trust file: %v", data, b.String(), err)
		}
		for i := range again.Keys {
			if !again.Keys[i].key.Equal(got.Keys[i].key) || again.Keys[i].glob != got.Keys[i].glob {
				t.Errorf("%q: key %d is another when it is written", data, i)
			}
		}
	})
}

func FuzzSignature(f *testing.F) {
	private, _ := pair(f)
	good := minisign.SignWithComments(private, []byte("x"), "a", "b")
	f.Add(good)
	f.Add([]byte("untrusted comment: \n\ntrusted comment: \n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSignature(data)
		if err != nil {
			return
		}
		text, err := s.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseSignature(text); err != nil || !again.Equal(s) {
			t.Fatalf("%q is %q when it is written: %v", data, text, err)
		}
	})
}
