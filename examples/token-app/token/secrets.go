package token

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Secrets are those of all nodes. Each may have several: the server signs with
// the last, a node takes what was made with any of them. So a secret is replaced
// without a moment in which tokens are refused: add the new one at the end on
// the nodes, then on the server; take the old one away when the tokens made with
// it have expired.
type Secrets interface {
	// Of gives the secrets of the node with a URL, the newest last. A node
	// without a secret is an error.
	Of(node string) ([]*Secret, error)
}

// DerivedSecrets derives those of each node from master secrets, so that a node
// cannot make tokens for another.
type DerivedSecrets struct {
	hiding
	masters []string
}

// NewDerivedSecrets takes the master secrets, the newest last.
func NewDerivedSecrets(masters ...string) (*DerivedSecrets, error) {
	if err := checkSecrets(masters); err != nil {
		return nil, err
	}
	return &DerivedSecrets{masters: slices.Clone(masters)}, nil
}

const nodeInfo = "services.mozilla.com/mozsvc/v1/node_secret/"

// Of derives the secrets of a node.
func (d *DerivedSecrets) Of(node string) ([]*Secret, error) {
	if node == "" {
		return nil, errors.New("token: a node without a URL has no secret")
	}
	out := make([]*Secret, len(d.masters))
	for i, m := range d.masters {
		out[i] = newSecret([]byte(nodeSecret(m, node)))
	}
	return out, nil
}

// nodeSecret derives text from text: neither is decoded. The key has half as
// many bytes as the master has digits, and so as many digits again.
func nodeSecret(master, node string) string {
	return hex.EncodeToString(expand(sha256New, []byte(master), nil, nodeInfo+node, len(master)/2))
}

// FixedSecrets are the same for all nodes.
type FixedSecrets struct{ secrets []*Secret }

// NewFixedSecrets takes the secrets, the newest last.
func NewFixedSecrets(secrets ...string) (*FixedSecrets, error) {
	if err := checkSecrets(secrets); err != nil {
		return nil, err
	}
	f := &FixedSecrets{}
	for _, s := range secrets {
		f.secrets = append(f.secrets, newSecret([]byte(s)))
	}
	return f, nil
}

// Of gives all secrets, whatever the node.
func (f *FixedSecrets) Of(string) ([]*Secret, error) { return f.secrets, nil }

// NodeSecrets are a list of nodes, each with its secrets.
type NodeSecrets struct{ nodes map[string][]*Secret }

// Of gives the secrets of a node that is listed.
func (n *NodeSecrets) Of(node string) ([]*Secret, error) {
	s := n.nodes[node]
	if len(s) == 0 {
		return nil, fmt.Errorf("token: node %q has no secret; add a line for it to the file of secrets", node)
	}
	return s, nil
}

// LoadNodeSecrets reads a file with a line for each node: its URL, then
// TIME:SECRET for each secret, with commas between. Times are seconds, and say
// which secret is the newest. The file must not be open to everybody.
func LoadNodeSecrets(path string) (*NodeSecrets, error) {
	data, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	rows, err := parseNodeSecrets(data)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", path, err)
	}
	out := &NodeSecrets{nodes: map[string][]*Secret{}}
	for _, r := range rows {
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, r.line, err)
		}
		for _, s := range r.secrets {
			out.nodes[r.node] = append(out.nodes[r.node], newSecret([]byte(s.text)))
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: there is no node in it", path)
	}
	return out, nil
}

// LoadSecrets reads a file with a secret a line, the newest last. Lines that are
// empty or begin with # do not count. The file must not be open to everybody.
func LoadSecrets(path string) ([]string, error) {
	data, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	var out []string
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := checkSecret(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		out = append(out, line)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: there is no secret in it; openssl rand -hex 32 makes one", path)
	}
	return out, nil
}

// maxSecretFile is a megabyte: ten thousand nodes.
const maxSecretFile = 1 << 20

func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: secrets are in a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return nil, fmt.Errorf("%s: everybody can read or change it (mode %04o); chmod o-rwx %s, and make new secrets", path, mode, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSecretFile {
		return nil, fmt.Errorf("%s: it has more than %d bytes", path, maxSecretFile)
	}
	return data, nil
}

// A secretRow is a line of a file of secrets.
type secretRow struct {
	line    int
	node    string
	secrets []timedSecret // in the order of their times, as text
}

type timedSecret struct{ time, text string }

// parseNodeSecrets reads the lines. An error begins with the number of one.
func parseNodeSecrets(data []byte) ([]secretRow, error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1
	seen := map[string]bool{}
	var out []secretRow
	for {
		fields, err := r.Read()
		if err == io.EOF {
			return out, nil
		}
		if broken := (*csv.ParseError)(nil); errors.As(err, &broken) {
			return nil, fmt.Errorf("%d: %w", broken.Line, broken.Err) // without the text of the line
		}
		if err != nil {
			return nil, fmt.Errorf("1: %w", err)
		}
		line, _ := r.FieldPos(0)
		row := secretRow{line: line, node: fields[0]}
		if seen[row.node] {
			return nil, fmt.Errorf("%d: node %q has a line already", line, row.node)
		}
		seen[row.node] = true
		for i, field := range fields[1:] {
			at, text, ok := strings.Cut(field, ":")
			if !ok {
				return nil, fmt.Errorf("%d: secret %d of node %q has no time; write TIME:SECRET", line, i+1, row.node)
			}
			row.secrets = append(row.secrets, timedSecret{at, text})
		}
		slices.SortStableFunc(row.secrets, func(a, b timedSecret) int { return cmp.Compare(a.time, b.time) })
		out = append(out, row)
	}
}

// check refuses what other programs read, and should not.
func (r *secretRow) check() error {
	if r.node == "" {
		return errors.New("the node has no URL")
	}
	if len(r.secrets) == 0 {
		return fmt.Errorf("node %q has no secret", r.node)
	}
	last := uint64(0)
	for i, s := range r.secrets {
		t, err := strconv.ParseUint(s.time, 10, 63)
		if err != nil {
			return fmt.Errorf("node %q: %q is no time in seconds", r.node, s.time)
		}
		// Others sort them as text. What is the newest must not depend on who reads.
		if i > 0 && t <= last {
			return fmt.Errorf("node %q: the times %s and %s are the same, or of different length; which is the newer one?", r.node, r.secrets[i-1].time, s.time)
		}
		last = t
		if err := checkSecret(s.text); err != nil {
			return fmt.Errorf("node %q: %w", r.node, err)
		}
	}
	return nil
}

const (
	minSecret = 32
	maxSecret = 4096
	// minVariety is how many characters of a secret must be different. Among 32
	// random hexadecimal digits there are fewer once in twenty million times.
	minVariety = 8
)

// published are parts of secrets that stand in documents and tests.
var published = []string{
	"i_like_unicorns", "ted_koppel_is_a_robot", "insert_secret_key", "oqiwdhdoqwuhdwqouhwqdoiwqdhqwdih",
	"changeme", "change_me", "change-me", "0123456789abcdef", "secretsecret", "example", "password",
}

func checkSecrets(secrets []string) error {
	if len(secrets) == 0 {
		return errors.New("token: there is no secret; openssl rand -hex 32 makes one")
	}
	for _, s := range secrets {
		if err := checkSecret(s); err != nil {
			return fmt.Errorf("token: %w", err)
		}
	}
	return nil
}

// checkSecret refuses what can be guessed. The error does not say the secret.
func checkSecret(s string) error {
	switch {
	case s == "":
		return errors.New("a secret is empty; openssl rand -hex 32 makes one")
	case len(s) < minSecret:
		return fmt.Errorf("a secret has %d characters, fewer than %d; openssl rand -hex 32 makes one", len(s), minSecret)
	case len(s) > maxSecret:
		return fmt.Errorf("a secret has %d characters, more than %d", len(s), maxSecret)
	}
	different := map[byte]bool{}
	for i := range len(s) {
		different[s[i]] = true
	}
	if len(different) < minVariety {
		return fmt.Errorf("a secret has only %d different characters; openssl rand -hex 32 makes one", len(different))
	}
	lower := strings.ToLower(s)
	if slices.ContainsFunc(published, func(p string) bool { return strings.Contains(lower, p) }) {
		return errors.New("a secret is one of documents and tests, which everybody knows; openssl rand -hex 32 makes one")
	}
	return nil
}
