package rpm

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// keys are made once: RSA takes a while.
var keys struct {
	sync.Mutex
	made map[string][]byte
}

// secretKey makes a key with gpg, and gives it armored.
func secretKey(t testing.TB, kind, passphrase string) []byte {
	t.Helper()
	keys.Lock()
	defer keys.Unlock()
	if k, ok := keys.made[kind+passphrase]; ok {
		return k
	}
	algo := map[string]string{"rsa": "rsa3072", "ed25519": "ed25519", "ecdsa": "nistp256"}[kind]
	home := gpgHome(t)
	for _, args := range [][]string{
		{"--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase, "--faked-system-time", "20200101T000000!", "--quick-gen-key", "Shop <shop@example.org>", algo, "sign", "never"},
		{"--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase, "--armor", "--export-secret-keys"},
	} {
		cmd := exec.Command("gpg", append([]string{"--homedir", home}, args...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("gpg %q: %v: %s", args, err, &stderr)
		}
		if keys.made == nil {
			keys.made = map[string][]byte{}
		}
		keys.made[kind+passphrase] = out
	}
	return keys.made[kind+passphrase]
}

// gpgHome is a directory for gpg, short enough for the socket of its agent.
func gpgHome(t testing.TB) string {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() // there may be no agent
		os.RemoveAll(home)
	})
	return home
}

func testKey(t testing.TB, kind, passphrase string) *Key {
	t.Helper()
	k, err := ReadKey(bytes.NewReader(secretKey(t, kind, passphrase)), []byte(passphrase+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// publicFile writes the public key, armored.
func publicFile(t testing.TB, k *Key) string {
	t.Helper()
	pub, err := k.Public()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key.asc")
	if err := os.WriteFile(path, pub, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRPMVerifiesSignatures(t *testing.T) {
	for kind, want := range map[string]string{"rsa": "V4 RSA/SHA256 Signature", "ed25519": "V4 EdDSA/SHA256 Signature"} {
		for _, old := range []bool{false, true} {
			k := testKey(t, kind, "secret word")
			p := shop(RPM)
			if old {
				p.Time = time.Time{} // older than the key
			}
			path := written(t, p, Options{Signer: k})
			db := filepath.Join(t.TempDir(), "db")
			if out, err := tool(t, "rpmkeys", "--dbpath", db, "-Kv", path); err == nil || !strings.Contains(out, "NOKEY") {
				t.Errorf("without the key: %v: %s", err, out)
			}
			says(t, nil, "rpmkeys", "--dbpath", db, "--import", publicFile(t, k))
			says(t, []string{want, "key ID " + strings.ToLower(k.Fingerprint()[len(k.Fingerprint())-8:]) + ": OK", "Header SHA256 digest: OK", "Payload SHA256 digest: OK"}, "rpmkeys", "--dbpath", db, "-Kv", path)
			says(t, []string{"digests signatures OK"}, "rpmkeys", "--dbpath", db, "--define", "_pkgverify_level all", "-K", path)

			again, err := os.ReadFile(written(t, p, Options{Signer: k}))
			if err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(b, again) {
				t.Errorf("%s: signed twice, it has other bytes (%v)", kind, err)
			}
			info, err := Read(t.Context(), "x", bytes.NewReader(b), Limits{})
			if err != nil || len(info.Signatures) != 1 {
				t.Fatalf("%d signatures, %v", len(info.Signatures), err)
			}
			b[info.HeaderStart+200]++
			os.WriteFile(path, b, 0o644)
			if out, err := tool(t, "rpmkeys", "--dbpath", db, "-Kv", path); err == nil {
				t.Errorf("with a changed byte: %s", out)
			}
		}
	}
}

// runGPG is what a command gives an Agent.
func runGPG(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "gpg", append([]string{"--batch", "--quiet"}, args...)...)
	cmd.Stdin = in
	return cmd.Output()
}

// TestAgentSigns lets the real agent sign, and compares: the bytes are those that the
// key from a file gives wherever the packet has no more than it.
func TestAgentSigns(t *testing.T) {
	for _, kind := range []string{"rsa", "ed25519"} {
		secret := secretKey(t, kind, "")
		home := gpgHome(t)
		t.Setenv("GNUPGHOME", home)
		cmd := exec.Command("gpg", "--batch", "--import")
		cmd.Stdin = bytes.NewReader(secret)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		k := testKey(t, kind, "")
		a, err := NewAgent(t.Context(), runGPG, strings.ToLower(k.Fingerprint()))
		if err != nil {
			t.Fatal(err)
		}
		db := filepath.Join(t.TempDir(), "db")
		says(t, nil, "rpmkeys", "--dbpath", db, "--import", publicFile(t, k))
		for _, when := range []time.Time{{}, time.Unix(1_700_000_000, 0)} {
			p := shop(RPM)
			p.Time = when // the zero one is older than the key
			path := written(t, p, Options{Signer: a})
			says(t, []string{"digests signatures OK"}, "rpmkeys", "--dbpath", db, "--define", "_pkgverify_level all", "-K", path)
			one, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			two, err := os.ReadFile(written(t, p, Options{Signer: a}))
			if err != nil || !bytes.Equal(one, two) {
				t.Errorf("%s: signed twice, it has other bytes (%v)", kind, err)
			}
		}
		text := []byte("- a line\nanother\n")
		for _, s := range []Signer{a, k} {
			signed, err := clearSigned(t.Context(), s, text, time.Unix(1_700_000_000, 0))
			if err != nil {
				t.Fatal(err)
			}
			sig, err := detached(t.Context(), s, text, time.Unix(1_700_000_000, 0))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for name, b := range map[string][]byte{"text": text, "text.asc": sig, "clear.asc": signed} {
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			says(t, []string{"Good signature"}, "gpg", "--verify", dir+"/text.asc", dir+"/text")
			says(t, []string{"Good signature"}, "gpg", "--verify", dir+"/clear.asc")
		}
	}
}

func TestAgentRefuses(t *testing.T) {
	t.Setenv("GNUPGHOME", gpgHome(t))
	for _, tt := range []struct{ key, want string }{
		{"Shop", `"Shop" is no fingerprint of a key`},
		{"0123456789ABCDEF", "is no fingerprint of a key"},
		{strings.Repeat("0", 40), "exit status 2"},
	} {
		if _, err := NewAgent(t.Context(), runGPG, tt.key); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("NewAgent(%q) = %v, want %q", tt.key, err, tt.want)
		}
	}
	for _, tt := range []struct{ list, want string }{
		{"", "gpg lists 0 secret keys"},
		{"sec:u:3072:1:0:x:0::u:::scESC:\n", `the date "x"`},
		{"sec:u:3072:1:0:9:0::u:::cC:\nssb:u:3072:1:0:10:0:::::e:\n", "no part of the key signs"},
	} {
		if _, err := youngest([]byte(tt.list)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("youngest(%q) = %v, want %q", tt.list, err, tt.want)
		}
	}
	got, err := youngest([]byte("sec:u:3072:1:0:9:0::u:::scESC:\nssb:u:3072:1:0:10:0:::::s:\nssb:u:3072:1:0:11:0:::::e:\n"))
	if err != nil || got.Unix() != 10 {
		t.Errorf("youngest = %v, %v, want that of the subkey that signs", got, err)
	}
}

func TestKeysRefused(t *testing.T) {
	pub, err := testKey(t, "rsa", "").Public()
	if err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]struct {
		key  []byte
		pass string
	}{
		"is no OpenPGP key":            {[]byte("ssh-rsa"), ""},
		"is a public key":              {pub, ""},
		"none was given":               {secretKey(t, "rsa", "secret word"), ""},
		"the passphrase does not open": {secretKey(t, "rsa", "secret word"), "wrong"},
	} {
		if _, err := ReadKey(bytes.NewReader(c.key), []byte(c.pass)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	_, err = Write(t.Context(), t.TempDir()+"/x", shop(RPM), Options{Signer: testKey(t, "ecdsa", "")})
	if err == nil || !strings.Contains(err.Error(), "rpm reads no signatures by a key of algorithm 19") {
		t.Errorf("ECDSA: %v", err)
	}
	_, err = Write(t.Context(), t.TempDir()+"/x", shop(RPM), Options{Signer: liar{}})
	if err == nil || !strings.Contains(err.Error(), "signing: ") {
		t.Errorf("a signer that lies: %v", err)
	}
}

type liar struct{}

func (liar) Sign(context.Context, io.Reader, Signing) ([]byte, error) { return []byte("trust me"), nil }
