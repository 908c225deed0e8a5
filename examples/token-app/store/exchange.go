package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A User is a record of a user.
type User struct {
	UID           int64
	Service       string
	Email         Email
	Node          string // its address; "" where the node is gone
	Generation    int64  // of the credentials, in milliseconds; 0 where it is not known
	KeysChangedAt int64  // in milliseconds; 0 where it is not known
	ClientState   ClientState
	CreatedAt     time.Time
	ReplacedAt    time.Time // zero for the live record
	FirstSeen     time.Time // when the first record of this user was made
	Issuer        string    // who vouched for the user first; "" where it is not known
	New           bool      // no claim of this user came before the one that is answered
}

// A Request is what verified claims say of a user.
type Request struct {
	Service       string
	Email         Email
	Generation    int64 // 0 where there is no such claim
	KeysChangedAt int64 // 0 where there is no such claim
	ClientState   ClientState
	AllowNew      bool   // whether a user who was never seen gets a node
	Issuer        string // who vouches for the user; "" is nobody whose users are counted
	Limits        Limits // of the issuer
}

// Limits are how many users an issuer may bring to a service. Those that are
// there already are not concerned.
type Limits struct {
	Cap  int64         // in all, until they are purged; 0 means any number
	Rate int64         // new users in each Per, and at once; 0 means any number
	Per  time.Duration // 0 means an hour
}

// A Status is what a refused client is told: the word "status" of the answer.
type Status string

// The refusals.
const (
	InvalidCredentials   Status = "invalid-credentials"
	InvalidGeneration    Status = "invalid-generation"
	InvalidKeysChangedAt Status = "invalid-keysChangedAt"
	InvalidClientState   Status = "invalid-client-state"
	NewUsersDisabled     Status = "new-users-disabled"
)

// A Refusal is the answer "no": the claims are older than what is known, or they
// contradict each other.
type Refusal struct {
	Status Status
	Reason string // what a client state is refused for, in the protocol's words; otherwise for people
}

// Error names the status and the reason.
func (r *Refusal) Error() string {
	if r.Reason == "" {
		return string(r.Status)
	}
	return string(r.Status) + ": " + r.Reason
}

// A LimitError says that an issuer brings too many new users.
type LimitError struct {
	Issuer     string
	RetryAfter time.Duration // until the next one may come; 0 where the cap is reached
}

// Error names the issuer and the limit.
func (e *LimitError) Error() string {
	if e.RetryAfter == 0 {
		return fmt.Sprintf("issuer %q has as many users as it may", e.Issuer)
	}
	return fmt.Sprintf("issuer %q brings new users too fast: the next one may come in %s", e.Issuer, e.RetryAfter)
}

// answered reports whether err is an answer, and nothing was written for it.
func answered(err error) bool {
	var refusal *Refusal
	var limit *LimitError
	return errors.As(err, &refusal) || errors.As(err, &limit) || errors.Is(err, ErrNoNode)
}

func (r Request) check() error {
	switch {
	case len(r.Email) > 255:
		return &Refusal{InvalidCredentials, "the identity has more than 255 bytes"}
	case r.Generation < 0 || r.Generation == retired:
		return &Refusal{InvalidGeneration, ""}
	case r.KeysChangedAt < 0 || r.KeysChangedAt == retired:
		return &Refusal{InvalidKeysChangedAt, ""}
	}
	if err := checkLength("the identity", string(r.Email), 1, 255); err != nil {
		return err
	}
	if err := checkLength("the client state", string(r.ClientState), 0, 32); err != nil {
		return err
	}
	return checkLength("the issuer", r.Issuer, 0, 255)
}

// keysTooNew refuses keys that are newer than the credentials: keys do not change
// without them.
func (r Request) keysTooNew() error {
	if r.Generation > 0 && r.Generation < r.KeysChangedAt {
		return &Refusal{InvalidKeysChangedAt, ""}
	}
	return nil
}

// newUser refuses claims that do not make a user.
func (r Request) newUser() error {
	if !r.AllowNew {
		return &Refusal{NewUsersDisabled, ""}
	}
	return r.keysTooNew()
}

// A record is a user with what only this package needs to know.
type record struct {
	User
	node int64 // its number; 0 where it is gone
	live bool
}

// placed reports whether the user has a node.
func (r record) placed() bool { return r.live && r.node != 0 }

const selectUser = `SELECT u.uid, coalesce(u.nodeid, 0), coalesce(n.node, ''), u.generation, u.keys_changed_at, u.client_state,
		u.created_at, coalesce(u.replaced_at, 0), u.first_seen_at, u.issuer
	FROM users u LEFT JOIN nodes n ON n.id = u.nodeid
	WHERE u.service = $1 AND u.email = $2 AND u.replaced_at IS `

var (
	selectLive = read(selectUser + `NULL`)
	// Without a live record the newest counts, and none is newer than one of a retired user.
	selectReplaced = read(selectUser + `NOT NULL ORDER BY u.generation DESC, u.created_at DESC, u.uid DESC LIMIT 1`)
)

// current is the record that says what is known of a user, or nil.
func current(ctx context.Context, q querier, service int64, name string, email Email) (*record, error) {
	for _, text := range []string{selectLive, selectReplaced} {
		r := record{User: User{Service: name, Email: email}, live: text == selectLive}
		var state string
		var created, replaced, first int64
		err := q.row(ctx, text, service, string(email)).Scan(&r.UID, &r.node, &r.Node, &r.Generation, &r.KeysChangedAt, &state,
			&created, &replaced, &first, &r.Issuer)
		if isNone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r.ClientState = ClientState(state)
		r.CreatedAt, r.FirstSeen = time.UnixMilli(created), time.UnixMilli(first)
		if !r.live {
			r.ReplacedAt = time.UnixMilli(replaced)
		}
		return &r, nil
	}
	return nil, nil
}

var selectOldState = read(`SELECT count(*) FROM (SELECT 1 AS one FROM users
	WHERE service = $1 AND email = $2 AND replaced_at IS NOT NULL AND client_state = $3 LIMIT 1) AS old`)

// judge says what a user's record becomes of the claims, or refuses them. It
// writes nothing.
func judge(ctx context.Context, q querier, service int64, user *record, req Request) (record, error) {
	next := *user
	newGeneration := req.Generation > user.Generation
	if newGeneration {
		next.Generation = req.Generation
	}
	newKeys := req.KeysChangedAt > user.KeysChangedAt
	if newKeys {
		if err := req.keysTooNew(); err != nil {
			return next, err
		}
		next.KeysChangedAt = req.KeysChangedAt
		if req.Generation == 0 && req.KeysChangedAt > user.Generation {
			next.Generation, newGeneration = req.KeysChangedAt, true
		}
	}
	if req.ClientState != user.ClientState {
		if req.ClientState == "" {
			return next, &Refusal{InvalidClientState, "empty string"}
		}
		var old int
		if err := q.row(ctx, selectOldState, service, string(req.Email), string(req.ClientState)).Scan(&old); err != nil {
			return next, err
		}
		switch {
		case old > 0:
			return next, &Refusal{InvalidClientState, "stale value"}
		case req.Generation > 0 && !newGeneration:
			return next, &Refusal{InvalidClientState, "new value with no generation change"}
		case user.KeysChangedAt > 0 && !newKeys:
			return next, &Refusal{InvalidClientState, "new value with no keys_changed_at change"}
		}
		next.ClientState = req.ClientState
	}
	switch {
	case req.Generation > 0 && user.Generation > req.Generation:
		return next, &Refusal{InvalidGeneration, ""}
	case user.KeysChangedAt > req.KeysChangedAt:
		return next, &Refusal{InvalidKeysChangedAt, ""}
	case user.Generation == retired:
		return next, &Refusal{InvalidGeneration, ""}
	}
	return next, nil
}

// User reads the record that says what is known of a user: the live one, or the
// newest of those that were replaced. The boolean is false for a user who was never
// seen, or was purged.
func (s *Store) User(ctx context.Context, service string, email Email) (User, bool, error) {
	id, err := s.service(ctx, service)
	if err != nil {
		return User{}, false, wrap(err, "service %q", service)
	}
	r, err := current(ctx, s.reader, id, service, email)
	if err != nil || r == nil {
		return User{}, false, wrap(err, "service %q", service)
	}
	return r.User, true, nil
}

// Exchange brings in the claims of a user, and gives the record that holds then.
// A user who was never seen, or whose node is gone, gets a node. The same claims
// again give the same record.
//
// A *[Refusal] or *[LimitError] is an answer, as [ErrNoNode] is: nothing was
// written. With another error it is not known what holds; to ask again is safe.
func (s *Store) Exchange(ctx context.Context, req Request) (User, error) {
	user, err := s.exchange(ctx, req)
	return user, wrap(err, "service %q", req.Service)
}

func (s *Store) exchange(ctx context.Context, req Request) (User, error) {
	if err := req.check(); err != nil {
		return User{}, err
	}
	service, err := s.service(ctx, req.Service)
	if err != nil {
		return User{}, err
	}
	// Most users are known, and say nothing new: nobody has to wait for the writer. A read that fails is no
	// answer yet: the writer tries a second time, with another connection.
	user, err := current(ctx, s.reader, service, req.Service, req.Email)
	switch {
	case err != nil:
	case user == nil:
		if err := req.newUser(); err != nil {
			return User{}, err
		}
	default:
		next, err := judge(ctx, s.reader, service, user, req)
		if answered(err) {
			return User{}, err
		}
		if err == nil && user.placed() && next == *user {
			return user.User, nil
		}
	}
	return s.write(ctx, service, req)
}

// exchange is Exchange where nobody else writes.
func (t *tx) exchange(ctx context.Context, service int64, req Request) (User, error) {
	user, err := current(ctx, t, service, req.Service, req.Email)
	if err != nil {
		return User{}, err
	}
	if user == nil {
		return t.newUser(ctx, service, req)
	}
	next, err := judge(ctx, t, service, user, req)
	if err != nil {
		return User{}, err
	}
	switch {
	case user.placed() && next == *user:
		return user.User, nil
	case user.placed() && next.ClientState == user.ClientState:
		_, err := t.exec(ctx, updateUser, next.UID, next.Generation, next.KeysChangedAt)
		return next.User, err
	case user.placed(): // new keys are no reason to move
		if err := t.occupy(ctx, user.node); err != nil {
			return User{}, err
		}
	default:
		if next.node, next.Node, err = t.allocate(ctx, service); err != nil {
			return User{}, err
		}
	}
	return t.succeed(ctx, service, user, next)
}

func (t *tx) newUser(ctx context.Context, service int64, req Request) (User, error) {
	if err := req.newUser(); err != nil {
		return User{}, err
	}
	counted, err := t.admit(ctx, service, req)
	if err != nil {
		return User{}, err
	}
	user := record{User: User{
		Service:       req.Service,
		Email:         req.Email,
		Generation:    max(req.Generation, req.KeysChangedAt),
		KeysChangedAt: req.KeysChangedAt,
		ClientState:   req.ClientState,
		Issuer:        req.Issuer,
		New:           true,
	}}
	if user.node, user.Node, err = t.allocate(ctx, service); err != nil {
		return User{}, err
	}
	if err := counted(); err != nil {
		return User{}, err
	}
	return t.insert(ctx, service, user)
}

var (
	updateUser  = write(`UPDATE users SET generation = $2, keys_changed_at = $3 WHERE uid = $1`)
	replaceUser = write(`UPDATE users SET replaced_at = $2 WHERE uid = $1 AND replaced_at IS NULL`)
	insertUser  = write(`INSERT INTO users (service, email, generation, keys_changed_at, client_state, created_at, first_seen_at, nodeid, issuer)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING uid`)
)

// succeed makes a new record that takes the place of user's.
func (t *tx) succeed(ctx context.Context, service int64, user *record, next record) (User, error) {
	if user.live {
		if _, err := t.exec(ctx, replaceUser, user.UID, t.s.now()); err != nil {
			return User{}, err
		}
	}
	return t.insert(ctx, service, next)
}

// insert makes the live record of a user who has none.
func (t *tx) insert(ctx context.Context, service int64, user record) (User, error) {
	now := t.s.now()
	user.CreatedAt, user.ReplacedAt = time.UnixMilli(now), time.Time{}
	if user.FirstSeen.IsZero() {
		user.FirstSeen = user.CreatedAt
	}
	err := t.row(ctx, insertUser, service, string(user.Email), user.Generation, user.KeysChangedAt, string(user.ClientState),
		now, user.FirstSeen.UnixMilli(), user.node, user.Issuer).Scan(&user.UID)
	return user.User, err
}
