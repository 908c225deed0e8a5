package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"appbundle/examples/token-app/app"
	"appbundle/examples/token-app/store"
)

// An order is one command of "app admin".
type order struct {
	name string // "nodes add"
	args string // as the usage shows them
	min  int    // of arguments that are no flags
	max  int
	// prepare declares flags, and gives what is to be done.
	prepare func(*desk, *flag.FlagSet) func(args []string) error
}

// A desk is where an order is carried out.
type desk struct {
	p      *process
	ctx    context.Context
	cfg    app.Config
	store  *store.Store
	format string
}

var orders = []order{
	{"nodes list", "[--service S]", 0, 0, (*desk).nodesList},
	{"nodes add", "SERVICE NODE --capacity N [--available N] [--downed] [--backoff]", 2, 2, (*desk).nodesAdd},
	{"nodes update", "SERVICE NODE [--capacity N] [--available N] [--downed=yes|no] [--backoff=yes|no]", 2, 2, (*desk).nodesUpdate},
	{"nodes unassign", "SERVICE NODE", 2, 2, (*desk).nodesUnassign},
	{"nodes remove", "SERVICE NODE", 2, 2, (*desk).nodesRemove},
	{"users allocate", "SERVICE ACCOUNT|- [NODE]", 2, 3, (*desk).usersAllocate},
	{"users count", "[--service S] [--before TIME]", 0, 0, (*desk).usersCount},
	{"users retire", "ACCOUNT|- | --issuer ISSUER [--subject SUBJECT|-]", 0, 1, (*desk).usersRetire},
	{"recount", "", 0, 0, (*desk).recount},
	{"purge", "[--service S] [--older 24h] [--max-records N] [--downed] [--dry-run]", 0, 0, (*desk).purge},
	{"import", "--services FILE --nodes FILE --users FILE", 0, 0, (*desk).load},
}

func adminUsage() string {
	var b strings.Builder
	for _, o := range orders {
		fmt.Fprintf(&b, "  admin %s %s\n", o.name, o.args)
	}
	b.WriteString("Each admin command takes --format text|json. ACCOUNT - is read from standard input.\n")
	return b.String()
}

// admin carries out a command of "app admin".
func (p *process) admin(config string, args []string) error {
	at := slices.IndexFunc(orders, func(o order) bool {
		words := strings.Fields(o.name)
		return len(args) >= len(words) && slices.Equal(args[:len(words)], words)
	})
	if at < 0 {
		if len(args) == 0 {
			return usagef("admin wants a command")
		}
		if args[0] == "-h" || args[0] == "--help" {
			return flag.ErrHelp
		}
		return usagef("unknown command %q", "admin "+strings.Join(args[:min(2, len(args))], " "))
	}
	o := orders[at]
	flags := flag.NewFlagSet(o.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	d := &desk{p: p}
	flags.StringVar(&d.format, "format", "text", "")
	do := o.prepare(d, flags)
	given, err := interleaved(flags, args[len(strings.Fields(o.name)):])
	if err != nil {
		return asUsage(err)
	}
	if d.format != "text" && d.format != "json" {
		return usagef("--format %q is neither text nor json", d.format)
	}
	if len(given) < o.min || len(given) > o.max {
		return usagef("usage: app admin %s %s", o.name, o.args)
	}
	if d.cfg, err = p.config(config); err != nil {
		return err
	}
	ctx, cancel := p.interrupted()
	defer cancel()
	d.ctx = ctx
	if d.store, err = app.OpenStore(ctx, d.cfg); err != nil {
		return err
	}
	defer d.store.Close()
	err = do(given)
	if errors.Is(err, store.ErrUnknownNode) || errors.Is(err, store.ErrUnknownService) || errors.Is(err, store.ErrNoNode) {
		return noError{err}
	}
	return err
}

// interleaved parses flags that stand before, between and behind arguments.
func interleaved(flags *flag.FlagSet, args []string) (given []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return given, nil
		}
		given = append(given, flags.Arg(0))
		args = flags.Args()[1:]
	}
}

// say writes a result: as JSON with a format number, or as text.
func (d *desk) say(v map[string]any, text string, args ...any) error {
	if d.format == "json" {
		v["format"] = 1
		out := json.NewEncoder(d.p.stdout)
		out.SetIndent("", "  ")
		return out.Encode(v)
	}
	_, err := fmt.Fprintf(d.p.stdout, text, args...)
	return err
}

// optional is a flag that may not be there.
type optional[T any] struct {
	to    **T
	parse func(string) (T, error)
	plain bool // the flag alone means yes
}

func (o optional[T]) String() string   { return "" }
func (o optional[T]) IsBoolFlag() bool { return o.plain }
func (o optional[T]) Set(s string) error {
	v, err := o.parse(s)
	if err != nil {
		return err
	}
	*o.to = &v
	return nil
}

func count(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, errors.New("it is not a number")
	}
	return n, nil
}

func yesOrNo(s string) (bool, error) {
	switch s {
	case "yes", "true":
		return true, nil
	case "no", "false":
		return false, nil
	}
	return false, errors.New("it is neither yes nor no")
}

func nodeFlags(f *flag.FlagSet) *store.NodeSettings {
	n := &store.NodeSettings{}
	f.Var(optional[int64]{&n.Capacity, count, false}, "capacity", "")
	f.Var(optional[int64]{&n.Available, count, false}, "available", "")
	f.Var(optional[bool]{&n.Downed, yesOrNo, true}, "downed", "")
	f.Var(optional[bool]{&n.Backoff, yesOrNo, true}, "backoff", "")
	return n
}

func (d *desk) nodesList(f *flag.FlagSet) func([]string) error {
	service := f.String("service", "", "")
	return func([]string) error {
		nodes, err := d.store.Nodes(d.ctx, *service)
		if err != nil {
			return err
		}
		list := make([]map[string]any, 0, len(nodes))
		var b strings.Builder
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SERVICE\tNODE\tLOAD\tCAPACITY\tAVAILABLE\tSTATE")
		for _, n := range nodes {
			state := "up"
			switch {
			case n.Downed:
				state = "downed"
			case n.Backoff:
				state = "backoff"
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\n", n.Service, n.Address, n.Load, n.Capacity, n.Available, state)
			list = append(list, map[string]any{"service": n.Service, "node": n.Address, "load": n.Load, "capacity": n.Capacity,
				"available": n.Available, "downed": n.Downed, "backoff": n.Backoff})
		}
		w.Flush()
		return d.say(map[string]any{"nodes": list}, "%s", b.String())
	}
}

func (d *desk) nodesAdd(f *flag.FlagSet) func([]string) error {
	n := nodeFlags(f)
	return func(args []string) error {
		if n.Capacity == nil {
			return usagef("admin nodes add wants --capacity: how many users the node takes")
		}
		if err := d.services(); err != nil {
			return err
		}
		nodes, err := d.store.Nodes(d.ctx, args[0])
		if err != nil {
			return err
		}
		if slices.ContainsFunc(nodes, func(n store.Node) bool { return n.Address == args[1] }) {
			return noError{fmt.Errorf("service %q has the node %s already", args[0], args[1])}
		}
		if err := d.store.AddNode(d.ctx, args[0], args[1], *n); err != nil {
			return err
		}
		return d.say(map[string]any{"added": args[1]}, "added %s\n", args[1])
	}
}

// services makes those of the settings known to the store, so that nodes can be
// added before the server has run.
func (d *desk) services() error {
	for _, svc := range d.cfg.Settings.Services {
		if svc.Pattern == "" {
			continue
		}
		if err := d.store.AddService(d.ctx, store.Service{Name: svc.App + "-" + svc.Version, Pattern: svc.Pattern}); err != nil {
			return err
		}
	}
	return nil
}

func (d *desk) nodesUpdate(f *flag.FlagSet) func([]string) error {
	n := nodeFlags(f)
	return func(args []string) error {
		if *n == (store.NodeSettings{}) {
			return usagef("admin nodes update wants something to change")
		}
		if err := d.store.UpdateNode(d.ctx, args[0], args[1], *n); err != nil {
			return err
		}
		return d.say(map[string]any{"updated": args[1]}, "updated %s\n", args[1])
	}
}

func (d *desk) nodesUnassign(*flag.FlagSet) func([]string) error {
	return func(args []string) error {
		n, err := d.store.Unassign(d.ctx, args[0], args[1])
		if err != nil {
			return err
		}
		return d.say(map[string]any{"users": n}, "%d users will get another node\n", n)
	}
}

func (d *desk) nodesRemove(*flag.FlagSet) func([]string) error {
	return func(args []string) error {
		n, err := d.store.RemoveNode(d.ctx, args[0], args[1])
		if err != nil {
			return err
		}
		return d.say(map[string]any{"users": n}, "removed %s; %d users will get another node\n", args[1], n)
	}
}

// account is an argument, or the first line of the standard input: what stands on
// a command line can be seen by others.
func (d *desk) account(arg string) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	line, err := bufio.NewReader(io.LimitReader(d.p.stdin, 4096)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", usagef("there is nothing on the standard input")
	}
	return line, nil
}

func (d *desk) usersAllocate(*flag.FlagSet) func([]string) error {
	return func(args []string) error {
		account, err := d.account(args[1])
		if err != nil {
			return err
		}
		node := ""
		if len(args) == 3 {
			node = args[2]
		}
		if err := d.services(); err != nil {
			return err
		}
		u, err := d.store.AllocateUser(d.ctx, args[0], store.Email(account), node)
		if err != nil {
			return err
		}
		return d.say(map[string]any{"uid": u.UID, "node": u.Node}, "uid %d at %s\n", u.UID, u.Node)
	}
}

func (d *desk) usersCount(f *flag.FlagSet) func([]string) error {
	service := f.String("service", "", "")
	before := f.String("before", "", "")
	return func([]string) error {
		then := d.p.now()
		if *before != "" {
			var err error
			if then, err = time.Parse(time.RFC3339, *before); err != nil {
				return usagef("--before %q is not a time such as 2026-11-30T12:00:00Z", *before)
			}
		}
		n, err := d.store.CountUsers(d.ctx, *service, then)
		if err != nil {
			return err
		}
		return d.say(map[string]any{"users": n, "before": then.UTC().Format(time.RFC3339)}, "%d\n", n)
	}
}

func (d *desk) usersRetire(f *flag.FlagSet) func([]string) error {
	issuer := f.String("issuer", "", "")
	subject := f.String("subject", "", "")
	return func(args []string) error {
		if (len(args) == 1) == (*issuer != "") || *subject != "" && *issuer == "" {
			return usagef("admin users retire wants an account, or --issuer")
		}
		if *issuer != "" && *subject == "" {
			n, err := d.store.RetireIssuer(d.ctx, *issuer)
			if err != nil {
				return err
			}
			return d.say(map[string]any{"users": n}, "%d users are retired\n", n)
		}
		arg := *subject
		if len(args) == 1 {
			arg = args[0]
		}
		account, err := d.account(arg)
		if err != nil {
			return err
		}
		if *issuer != "" {
			if account, err = app.AccountOf(d.cfg.Settings, *issuer, account); err != nil {
				return noError{err}
			}
		}
		n, err := d.store.Retire(d.ctx, store.Email(account))
		if err != nil {
			return err
		}
		if n == 0 {
			return noError{errors.New("no service knows this user")}
		}
		return d.say(map[string]any{"services": n}, "the user is retired in %d services\n", n)
	}
}

func (d *desk) recount(*flag.FlagSet) func([]string) error {
	return func([]string) error {
		drifts, err := d.store.Recount(d.ctx)
		if err != nil {
			return err
		}
		list := make([]map[string]any, 0, len(drifts))
		var b strings.Builder
		for _, x := range drifts {
			fmt.Fprintf(&b, "%s %s: %d was %d\n", x.Service, x.Node, x.Is, x.Was)
			list = append(list, map[string]any{"service": x.Service, "node": x.Node, "was": x.Was, "is": x.Is})
		}
		return d.say(map[string]any{"corrected": list}, "%s", b.String())
	}
}

func (d *desk) purge(f *flag.FlagSet) func([]string) error {
	var p app.Purge
	f.StringVar(&p.Service, "service", "", "")
	f.DurationVar(&p.Older, "older", 24*time.Hour, "")
	f.IntVar(&p.Limit, "max-records", 0, "")
	f.BoolVar(&p.Downed, "downed", false, "")
	f.BoolVar(&p.DryRun, "dry-run", false, "")
	return func([]string) error {
		if p.Limit < 0 || p.Older < 0 {
			return usagef("--max-records and --older are not negative")
		}
		done, err := app.RunPurge(d.ctx, d.cfg, d.store, p)
		if err != nil {
			return err
		}
		verb := "deleted"
		if p.DryRun {
			verb = "would be deleted"
		}
		v := map[string]any{"records": done.Removed, "failed": done.Failed, "dry_run": p.DryRun}
		if err := d.say(v, "%d records %s, %d failed\n", done.Removed, verb, done.Failed); err != nil {
			return err
		}
		if done.Failed > 0 {
			return noError{fmt.Errorf("%d records stay: %w", done.Failed, done.Err)}
		}
		return nil
	}
}

func (d *desk) load(f *flag.FlagSet) func([]string) error {
	names := map[string]*string{}
	for _, table := range []string{"services", "nodes", "users"} {
		names[table] = f.String(table, "", "")
	}
	return func([]string) error {
		var tables store.Tables
		for table, to := range map[string]*store.Table{"services": &tables.Services, "nodes": &tables.Nodes, "users": &tables.Users} {
			name := *names[table]
			if name == "" {
				return usagef("admin import wants --%s: a table as CSV", table)
			}
			file, err := os.Open(name)
			if err != nil {
				return err
			}
			defer file.Close()
			*to = store.Table{Name: name, Reader: file}
		}
		got, err := d.store.Import(d.ctx, tables)
		if err != nil {
			return noError{err}
		}
		return d.say(map[string]any{"services": got.Services, "nodes": got.Nodes, "users": got.Users, "repaired": got.Repaired},
			"%d services, %d nodes, %d users; %d were repaired\n", got.Services, got.Nodes, got.Users, got.Repaired)
	}
}
