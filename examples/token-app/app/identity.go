package app

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"appbundle/examples/token-app/server"
)

// Names says how users of several issuers are told apart. A node keeps the data
// of a user by a name of its own, which is short: the local part of an address.
// That is unique for one domain alone; users of others are known by a digest.
type Names struct {
	Legacy string // the domain whose users are known by the local part of their address
}

// ByEmail names a user by an e-mail address, of which the domain is in lower
// case.
func (n Names) ByEmail(email string) (account, user server.Private) {
	local, domain, _ := strings.Cut(email, "@")
	if domain == n.Legacy {
		return server.Private(email), server.Private(local)
	}
	return server.Private(email), server.Private(digest("email", email))
}

// BySubject names a user by an issuer and the issuer's own name of the user. The
// boolean is false for a subject that cannot be told from another.
func (n Names) BySubject(issuer, subject, domain string) (account, user server.Private, ok bool) {
	if domain != "" {
		if strings.ContainsAny(subject, "@ \t\r\n") {
			return "", "", false
		}
		account, user = n.ByEmail(subject + "@" + domain)
		return account, user, true
	}
	d := digest("subject", issuer, subject)
	return server.Private(d + subjects), server.Private(d), true
}

// subjects is the domain of accounts that have no address; that of an address has
// a dot.
const subjects = "@oauth"

// digest is of parts none of which can run into the next.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		sum := sha256.Sum256([]byte(p))
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// OfAccount is the name by which nodes know the user of an account.
func (n Names) OfAccount(account string) (user server.Private) {
	if d, ok := strings.CutSuffix(account, subjects); ok {
		return server.Private(d)
	}
	_, user = n.ByEmail(account)
	return user
}
