package store

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A Table is a table as CSV (RFC 4180), with the names of its columns in the first line.
type Table struct {
	Name string // for errors: the file
	io.Reader
}

// Tables are the tables of Mozilla's token server. The columns may stand in any
// order; NULL is an empty field, NULL or \N.
//
//	services  id, service, pattern
//	nodes     id, service, node, available, current_load, capacity, downed, backoff
//	users     uid, service, email, generation, client_state, created_at, replaced_at, nodeid, keys_changed_at
type Tables struct {
	Services, Nodes, Users Table
}

// Imported is what an import brought.
type Imported struct {
	Services int64
	Nodes    int64
	Users    int64   // records
	Repaired int64   // records that were live beside a newer one of the same user
	Loads    []Drift // loads that were not what the records say
}

var (
	importService = write(`INSERT INTO services (service, pattern) VALUES ($1, $2)
		ON CONFLICT (service) DO UPDATE SET pattern = excluded.pattern RETURNING id`)
	importNode = write(`INSERT INTO nodes (service, node, capacity, available, current_load, downed, backoff)
		VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id`)
	anyNode     = read(`SELECT count(*) FROM (SELECT 1 AS one FROM nodes LIMIT 1) AS found`)
	anyUser     = read(`SELECT count(*) FROM (SELECT 1 AS one FROM users LIMIT 1) AS found`)
	selectUID   = read(`SELECT count(*) FROM users WHERE uid = $1`)
	firstSeenAt = write(`UPDATE users SET first_seen_at = r.first FROM (
			SELECT service, email, min(created_at) AS first FROM users GROUP BY service, email HAVING count(*) > 1) AS r
		WHERE users.service = r.service AND users.email = r.email AND users.first_seen_at <> r.first`)
	replaceTwins = write(`UPDATE users SET replaced_at = r.since FROM (
			SELECT uid, row_number() OVER w AS place, first_value(created_at) OVER w AS since FROM users
			WINDOW w AS (PARTITION BY service, email ORDER BY generation DESC, created_at DESC, uid DESC)) AS r
		WHERE users.uid = r.uid AND r.place > 1 AND users.replaced_at IS NULL`)
	// Without its indexes a table is filled faster, and twins can be in it for a while.
	dropLive   = `DROP INDEX users_live`
	createLive = `CREATE UNIQUE INDEX users_live ON users (email, service) WHERE replaced_at IS NULL`
)

// Import takes over the tables of Mozilla's token server, all or nothing. The
// store has no nodes and users before; uids stay what they are, because they are part of
// the addresses of data. Loads are counted anew. Where a user has several live
// records, the one with the highest generation, then the newest, stays live. The
// part of an e-mail address behind the last @ becomes lower case.
//
// An error names the file and the line.
func (s *Store) Import(ctx context.Context, tables Tables) (Imported, error) {
	var done Imported
	services, err := s.all(ctx)
	if err == nil {
		err = s.update(ctx, services, func(ctx context.Context, t *tx) error {
			i := importer{t: t, services: map[int64]int64{}, nodes: map[int64]importedNode{}}
			err := i.run(ctx, tables)
			done = i.done
			return err
		})
	}
	if err != nil {
		return Imported{}, wrap(err, "import")
	}
	return done, nil
}

// An importer takes over tables in a transaction.
type importer struct {
	t        *tx
	services map[int64]int64 // their number of ours
	nodes    map[int64]importedNode
	last     int64 // the highest uid so far
	rows     []any // users to be inserted
	done     Imported
}

type importedNode struct{ id, service int64 }

func (i *importer) run(ctx context.Context, tables Tables) error {
	for text, what := range map[string]string{anyNode: "nodes", anyUser: "users"} {
		var n int
		if err := i.t.row(ctx, text).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("there are %s already; import into an empty database", what)
		}
	}
	if _, err := i.t.ExecContext(ctx, dropLive); err != nil {
		return err
	}
	if err := each(tables.Services, serviceColumns, func(l *line) error { return i.service(ctx, l) }); err != nil {
		return err
	}
	if err := each(tables.Nodes, nodeColumns, func(l *line) error { return i.node(ctx, l) }); err != nil {
		return err
	}
	if err := each(tables.Users, userColumns, func(l *line) error { return i.user(ctx, l) }); err != nil {
		return err
	}
	if err := i.flush(ctx); err != nil {
		return err
	}
	return i.finish(ctx)
}

// finish makes of the records what this package promises of them.
func (i *importer) finish(ctx context.Context) error {
	if _, err := i.t.exec(ctx, firstSeenAt); err != nil {
		return err
	}
	var err error
	if i.done.Repaired, err = i.t.exec(ctx, replaceTwins); err != nil {
		return err
	}
	if _, err := i.t.ExecContext(ctx, createLive); err != nil {
		return err
	}
	if i.done.Loads, err = i.t.recount(ctx); err != nil {
		return err
	}
	if text := i.t.s.dialect.sequence; text != "" {
		_, err = i.t.ExecContext(ctx, text)
	}
	return err
}

// A serviceRow is a line of the table of services.
type serviceRow struct {
	id            int64
	name, pattern string
}

var serviceColumns = []string{"id", "service", "pattern"}

func (l *line) service() (serviceRow, error) {
	r := serviceRow{l.number("id"), l.text("service", 1, 30), l.text("pattern", 0, 255)}
	return r, l.err
}

func (i *importer) service(ctx context.Context, l *line) error {
	r, err := l.service()
	if err != nil {
		return err
	}
	if i.services[r.id] != 0 {
		return wrong("id", "is there twice")
	}
	var ours int64
	if err := i.t.row(ctx, importService, r.name, r.pattern).Scan(&ours); err != nil {
		return err
	}
	for _, other := range i.services {
		if other == ours {
			return wrong("service", "is there twice")
		}
	}
	i.services[r.id] = ours
	i.done.Services++
	return nil
}

// A nodeRow is a line of the table of nodes. Load and what is available are such that
// they fit the capacity.
type nodeRow struct {
	id, service               int64
	address                   string
	available, load, capacity int64
	downed, backoff           bool
}

var nodeColumns = []string{"id", "service", "node", "available", "current_load", "capacity", "downed", "backoff"}

func (l *line) node() (nodeRow, error) {
	r := nodeRow{
		id:       l.number("id"),
		service:  l.number("service"),
		address:  l.text("node", 1, 255),
		capacity: l.number("capacity"),
		load:     max(l.integer("current_load"), 0),
		downed:   l.number("downed") != 0,
		backoff:  l.number("backoff") != 0,
	}
	if r.capacity > maxCapacity {
		l.note("capacity", "is more than 2^53")
	}
	r.available = max(min(l.integer("available"), r.capacity-r.load), 0)
	return r, l.err
}

func (i *importer) node(ctx context.Context, l *line) error {
	r, err := l.node()
	if err != nil {
		return err
	}
	service, err := i.ours(r.service)
	if err != nil {
		return err
	}
	if i.nodes[r.id].id != 0 {
		return wrong("id", "is there twice")
	}
	if _, err := scanNode(i.t.row(ctx, selectNode, service, r.address)); !isNone(err) {
		if err != nil {
			return err
		}
		return wrong("node", "is there twice")
	}
	var ours int64
	if err := i.t.row(ctx, importNode, service, r.address, r.capacity, r.available, r.load, bit(r.downed), bit(r.backoff)).Scan(&ours); err != nil {
		return err
	}
	i.nodes[r.id] = importedNode{ours, service}
	i.done.Nodes++
	return nil
}

// ours is the number that a service of the tables has here.
func (i *importer) ours(service int64) (int64, error) {
	id := i.services[service]
	if id == 0 {
		return 0, wrong("service", fmt.Sprintf("%d is not in the table of services", service))
	}
	return id, nil
}

// A userRow is a line of the table of users.
type userRow struct {
	uid, service, nodeid      int64
	email, state              string
	generation, keys, created int64
	replaced                  any // nil is live, and 0 is not
}

var userColumns = []string{"uid", "service", "email", "generation", "client_state", "created_at", "replaced_at", "nodeid", "keys_changed_at"}

// maxUID is the last number that JSON readers with floating point have right.
const maxUID = 1 << 53

func (l *line) user() (userRow, error) {
	r := userRow{
		uid:        l.number("uid"),
		service:    l.number("service"),
		nodeid:     l.number("nodeid"),
		email:      lowerDomain(l.text("email", 1, 255)),
		state:      l.text("client_state", 0, 32),
		generation: l.number("generation"),
		keys:       l.number("keys_changed_at"),
		created:    l.number("created_at"),
	}
	if !l.null("replaced_at") {
		r.replaced = l.number("replaced_at")
	}
	switch {
	case r.uid == 0:
		l.note("uid", "is not positive")
	case r.uid > maxUID:
		l.note("uid", "is more than 2^53")
	}
	return r, l.err
}

// One statement inserts up to maxRows rows, with so many values each.
const (
	maxRows = 500
	values  = 10
)

func (i *importer) user(ctx context.Context, l *line) error {
	r, err := l.user()
	if err != nil {
		return err
	}
	service, err := i.ours(r.service)
	if err != nil {
		return err
	}
	// Mozilla's table has numbers of nodes that were removed.
	var node any
	if to := i.nodes[r.nodeid]; to.id != 0 {
		if to.service != service {
			return wrong("nodeid", fmt.Sprintf("%d is a node of another service", r.nodeid))
		}
		node = to.id
	}
	if err := i.fresh(ctx, r.uid); err != nil {
		return err
	}
	i.rows = append(i.rows, r.uid, service, r.email, r.generation, r.keys, r.state, r.created, r.created, r.replaced, node)
	i.done.Users++
	if len(i.rows) == values*maxRows {
		return i.flush(ctx)
	}
	return nil
}

// fresh refuses a uid that was there before. Tables are mostly in the order of
// uids: then nobody has to be asked.
func (i *importer) fresh(ctx context.Context, uid int64) error {
	if uid > i.last {
		i.last = uid
		return nil
	}
	var n int
	if err := i.flush(ctx); err != nil {
		return err
	}
	if err := i.t.row(ctx, selectUID, uid).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		return wrong("uid", fmt.Sprintf("%d is there twice", uid))
	}
	return nil
}

// flush inserts the users that wait.
func (i *importer) flush(ctx context.Context) error {
	if len(i.rows) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString(`INSERT INTO users (uid, service, email, generation, keys_changed_at, client_state, created_at, first_seen_at, replaced_at, nodeid, issuer) VALUES `)
	for at := range i.rows {
		switch at % values {
		case 0:
			b.WriteString("(")
		default:
			b.WriteString(", ")
		}
		b.WriteString(i.t.s.dialect.value(at + 1))
		if at%values == values-1 {
			b.WriteString(", '')")
			if at < len(i.rows)-1 {
				b.WriteString(", ")
			}
		}
	}
	_, err := i.t.ExecContext(ctx, b.String(), i.rows...)
	i.rows = i.rows[:0]
	return err
}

// lowerDomain makes the domain of an e-mail address lower case. What is not ASCII
// stays: another case of it can be longer.
func lowerDomain(email string) string {
	at := strings.LastIndexByte(email, '@') + 1
	if at == 0 {
		return email
	}
	return email[:at] + strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, email[at:])
}

// maxLine is how many bytes a line has at most. What is behind an open quotation
// mark is one line.
const maxLine = 64 << 10

var errLongLine = fmt.Errorf("a line has more than %d bytes; is a quotation mark open?", maxLine)

// A line is a line of a table. The first thing that is wrong with it stays in err.
type line struct {
	at     map[string]int // of a column in fields
	fields []string
	err    error
}

func wrong(column, what string) error { return fmt.Errorf("%s: %s", column, what) }

func (l *line) note(column, what string) {
	if l.err == nil {
		l.err = wrong(column, what)
	}
}

func (l *line) null(column string) bool {
	text := l.fields[l.at[column]]
	return text == "" || text == "NULL" || text == `\N`
}

// text is a field with so many bytes; NULL is the empty one. What is wrong with it is said
// without showing it: it may be an e-mail address.
func (l *line) text(column string, least, most int) string {
	if l.null(column) {
		if least > 0 {
			l.note(column, "is empty")
		}
		return ""
	}
	text := l.fields[l.at[column]]
	if err := checkLength(column, text, least, most); err != nil && l.err == nil {
		l.err = err
	}
	return text
}

// integer is a field of digits; NULL is 0.
func (l *line) integer(column string) int64 {
	if l.null(column) {
		return 0
	}
	n, err := strconv.ParseInt(l.fields[l.at[column]], 10, 64)
	if err != nil {
		l.note(column, "is not an integer of 64 bits")
	}
	return n
}

// number is an integer that is not negative.
func (l *line) number(column string) int64 {
	n := l.integer(column)
	if n < 0 {
		l.note(column, "is negative")
	}
	return n
}

// A bounded reader ends when it is not asked for a new line in time.
type bounded struct {
	io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLongLine
	}
	n, err := b.Reader.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// each calls f with each line of a table.
func each(table Table, columns []string, f func(*line) error) error {
	in := &bounded{table.Reader, maxLine}
	r := csv.NewReader(in)
	r.ReuseRecord = true
	header, err := r.Read()
	if err == io.EOF {
		return fmt.Errorf("%s: it is empty: the names of the columns are missing", table.Name)
	}
	if err != nil {
		return readError(table.Name, err)
	}
	l := &line{at: map[string]int{}}
	for at, name := range header {
		if at == 0 {
			name = strings.TrimPrefix(name, "\uFEFF")
		}
		if _, twice := l.at[name]; twice || !slices.Contains(columns, name) {
			return fmt.Errorf("%s:1: column %.40q is not known, or there twice; the columns are %s", table.Name, name, strings.Join(columns, ", "))
		}
		l.at[name] = at
	}
	for _, name := range columns {
		if _, ok := l.at[name]; !ok {
			return fmt.Errorf("%s:1: column %q is missing", table.Name, name)
		}
	}
	for {
		in.left = maxLine
		l.fields, err = r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return readError(table.Name, err)
		}
		number, _ := r.FieldPos(0)
		l.err = nil
		if err := f(l); err != nil {
			return fmt.Errorf("%s:%d: %w", table.Name, number, err)
		}
	}
}

// readError is an error of the reader in our form.
func readError(table string, err error) error {
	if parse, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Errorf("%s:%d: %w", table, parse.Line, parse.Err)
	}
	return fmt.Errorf("%s: %w", table, err)
}
