// Package jobs has the two jobs of the token server's crypto workers as bytes,
// does them, and has them done.
//
// A worker gets a job of kind [Verify], signatures to check, or [Mint], a token to
// make. It knows no users and keeps nothing; all that a result depends on is in the
// job, randomness too, so that workers in all languages give the same bytes, and a
// job may be done twice. docs/JOBS.md has the bytes.
//
// [Handle] does a job, [Local] and [Remote] have it done here or by a worker of a
// Powerhose master, and a [Client] makes jobs of questions.
//
// # Limits
//
// A job has at most 64 KiB, one of kind verify at most four checks. What is not
// written as docs/JOBS.md says is rejected; a key that is not allowed is no error,
// but its signatures are not good.
package jobs

import (
	"encoding/binary"
	"errors"
	"fmt"

	"appbundle/examples/token-app/signature"
	"appbundle/examples/token-app/token"
)

// The kinds of jobs.
const (
	Verify = "verify"
	Mint   = "mint"
)

const (
	// MaxChecks is how many checks a job of kind verify may have.
	MaxChecks = 4
	// MaxJob is how many bytes a job may have.
	MaxJob = 64 << 10

	format    = 1
	maxSecret = 4096
)

// An alg says which key an algorithm is for: its kind, and the number of its parts.
type alg struct {
	kind  signature.Kind
	parts int
}

var algs = map[signature.Alg]alg{
	signature.RS256: {signature.RSA, 2}, signature.PS256: {signature.RSA, 2}, signature.RS128: {signature.RSA, 2},
	signature.ES256: {signature.EC, 2}, signature.EdDSA: {signature.Ed25519, 1},
	signature.DS128: {signature.DSA, 4}, signature.DS256: {signature.DSA, 4},
}

// EncodeVerify makes a job of checks.
func EncodeVerify(checks []signature.Check) ([]byte, error) {
	if len(checks) == 0 || len(checks) > MaxChecks {
		return nil, fmt.Errorf("jobs: %d checks; a job has 1 to %d", len(checks), MaxChecks)
	}
	b := []byte{format, byte(len(checks))}
	for _, c := range checks {
		a, ok := algs[c.Alg]
		if !ok || a.kind != c.Key.Kind() {
			return nil, fmt.Errorf("jobs: a check of %v with a key that is not of it", c.Alg)
		}
		parts := c.Key.Parts()
		b = append(b, byte(c.Alg), byte(len(parts)))
		for _, p := range parts {
			b = append16(b, p)
		}
		if len(c.Signature) > 0xffff {
			return nil, fmt.Errorf("jobs: a signature of %d bytes", len(c.Signature))
		}
		b = append16(append32(b, c.Message), c.Signature)
	}
	return limited(b)
}

// DecodeVerify reads a job of kind verify. A check whose key is not allowed has the
// zero key, with which nothing is good.
func DecodeVerify(job []byte) ([]signature.Check, error) {
	r := newReader(job)
	count := int(r.u8())
	if count == 0 || count > MaxChecks {
		r.fail()
	}
	var checks []signature.Check
	for range count {
		c := signature.Check{Alg: signature.Alg(r.u8())}
		a := algs[c.Alg]
		if n := int(r.u8()); n == 0 || n != a.parts {
			r.fail()
		}
		parts := make([][]byte, a.parts)
		for i := range parts {
			parts[i] = r.next(int(r.u16()))
		}
		c.Message = r.next(int(r.u32()))
		c.Signature = r.next(int(r.u16()))
		if r.failed {
			return nil, errMalformed
		}
		if key, err := signature.NewKey(a.kind, parts...); err == nil {
			c.Key = key
		}
		checks = append(checks, c)
	}
	return checks, r.end()
}

// EncodeMint makes a job of a request for a token.
func EncodeMint(q *token.Request) ([]byte, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	b := []byte{format, byte(q.Form)}
	b = append16(b, q.Secret.Bytes())
	service := q.Service
	if q.Form == token.Signed {
		service = "" // it is for every one
	}
	b = append8(append8(b, service), q.Salt)
	return limited(append32(b, q.Payload))
}

// DecodeMint reads a job of kind mint.
func DecodeMint(job []byte) (*token.Request, error) {
	r := newReader(job)
	q := &token.Request{Form: token.Form(r.u8())}
	secret := r.next(int(r.u16()))
	q.Service = string(r.next(int(r.u8())))
	q.Salt = string(r.next(int(r.u8())))
	q.Payload = r.next(int(r.u32()))
	if err := r.end(); err != nil {
		return nil, err
	}
	if q.Form == token.Signed && q.Service != "" || len(secret) == 0 || len(secret) > maxSecret || q.Check() != nil {
		return nil, errMalformed
	}
	q.Secret = token.SecretOf(secret)
	return q, nil
}

// encodeBools is the result of a job of kind verify.
func encodeBools(good []bool) []byte {
	out := make([]byte, len(good))
	for i, g := range good {
		if g {
			out[i] = 1
		}
	}
	return out
}

func decodeBools(result []byte, count int) ([]bool, error) {
	if len(result) != count {
		return nil, errResult
	}
	good := make([]bool, count)
	for i, b := range result {
		if b > 1 || b == 1 && i > 0 && !good[i-1] {
			return nil, errResult
		}
		good[i] = b == 1
	}
	return good, nil
}

// encodeMinted is the result of a job of kind mint.
func encodeMinted(m token.Minted) []byte {
	return append32(append32(nil, []byte(m.Token)), []byte(m.Key))
}

func decodeMinted(result []byte) (token.Minted, error) {
	r := reader{rest: result}
	m := token.Minted{Token: string(r.next(int(r.u32()))), Key: string(r.next(int(r.u32())))}
	if r.end() != nil || m.Token == "" || m.Key == "" {
		return token.Minted{}, errResult
	}
	return m, nil
}

var (
	errMalformed = errors.New("jobs: the job is not written as its kind is")
	errResult    = errors.New("jobs: the worker's result is none of its kind")
)

func limited(b []byte) ([]byte, error) {
	if len(b) > MaxJob {
		return nil, fmt.Errorf("jobs: a job of %d bytes; it has at most %d", len(b), MaxJob)
	}
	return b, nil
}

func append8(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

func append16(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func append32(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// A reader reads from the front. Behind the end there are zeros, and it has failed.
type reader struct {
	rest   []byte
	failed bool
}

// newReader begins with what both jobs begin with.
func newReader(job []byte) *reader {
	r := &reader{rest: job}
	if len(job) > MaxJob || r.u8() != format {
		r.fail()
	}
	return r
}

func (r *reader) fail() { r.failed, r.rest = true, nil }

func (r *reader) next(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.fail()
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u8() uint8 {
	if b := r.next(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.next(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.next(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// end wants that nothing has failed and nothing is left.
func (r *reader) end() error {
	if r.failed || len(r.rest) > 0 {
		return errMalformed
	}
	return nil
}
