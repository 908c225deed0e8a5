package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"appbundle/install"
)

func newCacheCmd(g *globals, out *printer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "where the cache is, what can go from it, and is it whole?",
		Long: `The cache has what lock and install fetched, unpacked and compiled. Environments
share its files by links, and stay whole when something is removed from it.`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &usageError{err: fmt.Errorf("too few arguments: usage: %s dir|prune|verify", cmd.CommandPath())}
		},
	}
	cmd.AddCommand(newCacheDirCmd(g, out), newCachePruneCmd(g, out), newCacheVerifyCmd(g, out))
	for _, sub := range cmd.Commands() {
		sub.Flags().SortFlags = false
		sub.Flags().StringVar(&g.cacheDir, "cache-dir", "", "the cache is in `DIR`")
	}
	return cmd
}

func newCacheDirCmd(g *globals, out *printer) *cobra.Command {
	return &cobra.Command{
		Use:   "dir",
		Short: "print where the cache is",
		Args:  takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			dir, err := g.cachePlace()
			if err != nil {
				return err
			}
			out.print("%s\n", dir)
			return nil
		},
	}
}

// defaultAge is how long nothing has used what prune removes.
const defaultAge = "30d"

func newCachePruneCmd(g *globals, out *printer) *cobra.Command {
	older, all, format := defaultAge, false, textFormat()
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "remove what nothing has used for 30 days",
		Long: `Prune removes from the cache what neither lock nor install has used for 30 days,
or for as long as --older-than says, and what killed processes left. It waits
until nobody uses the cache, and prints what it removed, with the space that this
frees: what an environment shares stays on the disk.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			age, err := parseAge(older)
			if err == nil && all && cmd.Flags().Changed("older-than") {
				err = errors.New("--all and --older-than exclude each other")
			}
			if err != nil {
				return &usageError{err: err}
			}
			before := time.Now().Add(-age)
			if all {
				before = time.Now().AddDate(1000, 0, 0) // also what a wrong clock dated
			}
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				return pruneCache(ctx, g, out, before, format.value)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&older, "older-than", defaultAge, "remove what nothing has used for `TIME`: 30d, 12h, 0")
	flags.BoolVar(&all, "all", false, "remove everything")
	flags.Var(format, "format", "report as `text` or json")
	return cmd
}

// parseAge reads days, or what Go takes for a duration.
func parseAge(s string) (time.Duration, error) {
	var age time.Duration
	days, isDays := strings.CutSuffix(s, "d")
	n, err := strconv.ParseUint(days, 10, 16)
	if age = time.Duration(n) * 24 * time.Hour; !isDays {
		age, err = time.ParseDuration(s)
	}
	if err != nil || age < 0 {
		return 0, fmt.Errorf("--older-than: %q is no time like 30d, 12h or 0", s)
	}
	return age, nil
}

func pruneCache(ctx context.Context, g *globals, out *printer, before time.Time, format string) error {
	dir, err := g.cachePlace()
	if err != nil {
		return err
	}
	bar := out.progress("prune")
	p, err := install.Prune(ctx, install.PruneRequest{
		Dir: dir, Before: before, Waits: out.tellWait(dir),
		Progress: func(removed int) { bar.note("%s", count(removed, "entry")) },
	})
	bar.end()
	if err != nil {
		return err
	}
	if format == "json" {
		return out.json(map[string]any{"format": 1, "cache": dir, "wheels": p.Wheels, "bytecode": p.Bytecode,
			"answers": p.Answers, "files": p.Files, "left": p.Left, "bytes": p.Bytes})
	}
	out.print("removed %s, byte code of %d, %s, %s: %s\n", count(p.Wheels, "wheel"), p.Bytecode,
		count(p.Answers, "answer"), count(p.Files, "file"), size(p.Bytes))
	if p.Left > 0 {
		out.remark("and %s of killed processes", count(p.Left, "leftover"))
	}
	return nil
}

// tellWait says once for whom a command waits.
func (p *printer) tellWait(dir string) func() {
	told := false
	return func() {
		if !told {
			p.remark("%s is in use: waiting", dir)
		}
		told = true
	}
}
