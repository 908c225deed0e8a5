package token

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNewSecretRefuses(t *testing.T) {
	for _, tt := range []struct{ secret, want string }{
		{"", "empty"},
		{secretA[:31], "31 characters"},
		{strings.Repeat(secretA, 129), "4128 characters"},
		{strings.Repeat("0", 64), "only 1 different"},
		{strings.Repeat("a5", 32), "only 2 different"},
		{"I_LIKE_UNICORNS_I_LIKE_UNICORNS_", "documents and tests"},
		{"xxTed_Koppel_is_a_robotxxxxxxxxxxxx", "documents and tests"},
		{"0123456789abcdef0123456789abcdef", "documents and tests"},
		{"oqiwdhdoqwuhdwqouhwqdoiwqdhqwdih12345", "documents and tests"},
	} {
		_, err := NewSecret(tt.secret)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("NewSecret(%q) = %v, want an error with %q", tt.secret, err, tt.want)
		}
		if err != nil && tt.secret != "" && strings.Contains(err.Error(), tt.secret) {
			t.Errorf("the error says the secret: %v", err)
		}
		if _, err := NewDerivedSecrets(secretA, tt.secret); err == nil {
			t.Errorf("NewDerivedSecrets takes %q", tt.secret)
		}
		if _, err := NewFixedSecrets(tt.secret, secretA); err == nil {
			t.Errorf("NewFixedSecrets takes %q", tt.secret)
		}
	}
	if _, err := NewFixedSecrets(); err == nil {
		t.Error("NewFixedSecrets takes no secret")
	}
	if _, err := NewDerivedSecrets(); err == nil {
		t.Error("NewDerivedSecrets takes no secret")
	}
}

func TestSecretsOf(t *testing.T) {
	d, err := NewDerivedSecrets(secretA, secretB)
	if err != nil {
		t.Fatal(err)
	}
	one, err := d.Of("https://one.example")
	if err != nil || len(one) != 2 || string(one[0].Bytes()) != nodeSecret(secretA, "https://one.example") {
		t.Errorf("Of = %d secrets, %v", len(one), err)
	}
	two, err := d.Of("https://two.example")
	if err != nil || string(two[0].Bytes()) == string(one[0].Bytes()) {
		t.Errorf("two nodes have the same secret (%v)", err)
	}
	if _, err := d.Of(""); err == nil {
		t.Error("a node without a URL has a secret")
	}
	f, err := NewFixedSecrets(secretA, secretB)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Of("https://one.example"); err != nil || len(got) != 2 || string(got[1].Bytes()) != secretB {
		t.Errorf("Of = %d secrets, %v", len(got), err)
	}
}

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadSecrets(t *testing.T) {
	got, err := LoadSecrets(write(t, "# oldest first\n\n"+secretA+"\r\n  "+secretB, 0o640))
	if err != nil || len(got) != 2 || got[0] != secretA || got[1] != secretB {
		t.Errorf("LoadSecrets = %d secrets, %v", len(got), err)
	}
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"readable", secretA, 0o604, "everybody can read or change it (mode 0604); chmod o-rwx"},
		{"writable", secretA, 0o602, "everybody"},
		{"empty", "# nothing\n", 0o600, "there is no secret in it; openssl rand -hex 32 makes one"},
		{"short", secretA + "\nshort\n", 0o600, ":2: a secret has 5 characters"},
		{"big", strings.Repeat("#", maxSecretFile+1), 0o600, "more than 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.text, tt.mode)
			got, err := LoadSecrets(path)
			if err == nil || !strings.HasPrefix(err.Error(), path+":") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("LoadSecrets = %d secrets, %v, want an error with %q", len(got), err, tt.want)
			}
		})
	}
	if _, err := LoadSecrets(t.TempDir()); err == nil || !strings.Contains(err.Error(), "regular file") {
		t.Errorf("LoadSecrets of a directory = %v", err)
	}
	if _, err := LoadSecrets(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("LoadSecrets of nothing = %v", err)
	}
}

func TestLoadNodeSecrets(t *testing.T) {
	n, err := LoadNodeSecrets(write(t, "https://one,1500000001:"+secretB+",1500000000:"+secretA+"\n\"https://two\",9:"+secretB+"\n", 0o600))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := n.Of("https://one"); err != nil || len(got) != 2 || string(got[0].text) != secretA {
		t.Errorf("Of = %d secrets, %v", len(got), err)
	}
	if got, err := n.Of("https://three"); err == nil || !strings.Contains(err.Error(), `node "https://three" has no secret`) {
		t.Errorf("Of a node that is not there = %d secrets, %v", len(got), err)
	}
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"readable", "n,1:" + secretA, 0o644, ": everybody can read"},
		{"empty", "", 0o600, ": there is no node in it"},
		{"node twice", "n,1:" + secretA + "\nm,1:" + secretA + "\nn,2:" + secretA, 0o600, `:3: node "n" has a line already`},
		{"node alone", "n,1:" + secretA + "\n\nm\n", 0o600, `:3: node "m" has no secret`},
		{"no node", ",1:" + secretA, 0o600, ":1: the node has no URL"},
		{"no time", "n," + secretA, 0o600, `:1: secret 1 of node "n" has no time; write TIME:SECRET`},
		{"time no number", "n,-1:" + secretA, 0o600, `:1: node "n": "-1" is no time`},
		{"newer only as text", "n,900:" + secretA + ",1500:" + secretB, 0o600, ":1: node \"n\": the times 1500 and 900 are the same, or of different length"},
		{"same time", "n,5:" + secretA + ",5:" + secretB, 0o600, "which is the newer one?"},
		{"short secret", "n,5:short", 0o600, `:1: node "n": a secret has 5 characters`},
		{"quotes", "n,1:" + secretA + "\nm,\"1:" + secretA, 0o600, ":2: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.text, tt.mode)
			_, err := LoadNodeSecrets(path)
			if err == nil || !strings.Contains(err.Error(), path+tt.want) && !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("LoadNodeSecrets = %v, want an error with %q", err, tt.want)
			}
			if !strings.HasPrefix(err.Error(), path+":") || strings.Contains(err.Error(), secretA) {
				t.Errorf("LoadNodeSecrets = %v: it names the file, and no secret", err)
			}
		})
	}
}
