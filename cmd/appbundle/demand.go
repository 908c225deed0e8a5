package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"

	"appbundle/bundle"
	"appbundle/install"
	"appbundle/internal/fetch"
	"appbundle/resolve"
	"appbundle/resolve/pypi"
	"appbundle/schema"
)

// lockFile is the lock of an app, in its directory.
const lockFile = "pylock.toml"

// demand is what the dependency files of an app ask for.
func demand(app *bundle.App) resolve.Request {
	var req resolve.Request
	for _, d := range app.Dependencies {
		if d.Constraint {
			req.Constraints = append(req.Constraints, d.Packages...)
		} else {
			req.Requirements = append(req.Requirements, d.Packages...)
		}
		req.Prereleases = req.Prereleases || d.Pre
		req.PreferBinary = req.PreferBinary || d.PreferBinary
		req.RequireHashes = req.RequireHashes || d.RequireHashes
		req.NoBinary = append(req.NoBinary, d.NoBinary...)
		req.OnlyBinary = append(req.OnlyBinary, d.OnlyBinary...)
	}
	return req
}

// inputs are the files that a lock answers, with the SHA-256 of each.
func inputs(app *bundle.App) map[string]string {
	sums := map[string]string{}
	for _, d := range app.Dependencies {
		sums[d.File] = hex.EncodeToString(d.SHA256[:])
	}
	return sums
}

// sources says where the packages of an app come from: index, where the command
// line names one, else the dependency files, else what the user told pip.
func (g *globals) sources(ctx context.Context, app *bundle.App, index, cache string, warn func(string)) (pypi.Config, error) {
	cfg := pypi.Config{Root: app.Dir, Warn: warn}
	conf, err := readPipConf(g.env)
	if err != nil {
		return cfg, err
	}
	if cfg.Direct, err = directs(app); err != nil {
		return cfg, err
	}
	own := ""
	for _, d := range app.Dependencies {
		if d.IndexURL != nil {
			if own, err = g.expand(*d.IndexURL); err != nil {
				return cfg, err
			}
		}
		for _, l := range d.ExtraIndexURLs {
			extra, err := g.expand(l)
			if err != nil {
				return cfg, err
			}
			cfg.Extra = append(cfg.Extra, extra)
		}
		for _, l := range d.FindLinks {
			place, err := g.expand(l)
			if err != nil {
				return cfg, err
			}
			if u, err := url.Parse(place); err == nil && u.Scheme == "" && !filepath.IsAbs(place) {
				place = path.Join(path.Dir(d.File), place)
			}
			cfg.FindLinks = append(cfg.FindLinks, place)
		}
		cfg.NoIndex = cfg.NoIndex || d.NoIndex
	}
	cfg.Index = cmp.Or(index, own, conf.index)
	cfg.NoIndex = index == "" && (cfg.NoIndex || own == "" && conf.noIndex)
	if len(cfg.Extra) == 0 && index == "" && own == "" {
		cfg.Extra = conf.extra
	}
	cfg.FindLinks = append(cfg.FindLinks, conf.findLinks...)
	if cfg.Index == "" && !cfg.NoIndex {
		python, err := interpreter(app, "")
		if err != nil { // a lock for a Python that is not here: any knows the index
			python, err = exec.LookPath("python3")
		}
		if err != nil {
			return cfg, &noIndexError{}
		}
		cfg.Index, err = install.PipIndex(ctx, python, cache)
		if other, lookErr := exec.LookPath("python3"); err != nil && lookErr == nil && other != python {
			cfg.Index, err = install.PipIndex(ctx, other, cache) // a shim of a Python that is not installed runs nothing
		}
		if errors.Is(err, install.ErrNoPip) {
			return cfg, &noIndexError{}
		}
		if err != nil {
			return cfg, err
		}
	}
	cfg.Fetch = fetch.Config{Dir: cache, CAFile: conf.cert, Netrc: g.netrc(), UserAgent: "appbundle/" + version, Warn: warn}
	return cfg, nil
}

// expand fills the variables of a URL in, which are the host's affair.
func (g *globals) expand(l schema.Located) (string, error) {
	s, err := schema.ExpandURL(l.Text, func(name string) (string, bool) {
		v := g.env(name)
		return v, v != ""
	})
	if err != nil {
		return "", &schema.Problem{Pos: l.Pos, Msg: err.Error()}
	}
	return s, nil
}

// netrc is the place of the user's netrc file, which need not exist.
func (g *globals) netrc() string {
	if file := g.env("NETRC"); file != "" {
		return file
	}
	if home := g.env("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".netrc")
	}
	return ""
}

// readLock reads the lock of an app; where there is none, the error wraps
// fs.ErrNotExist.
func readLock(app *bundle.App) (*schema.PyLock, error) {
	data, err := os.ReadFile(filepath.Join(app.Dir, lockFile))
	if err != nil {
		return nil, err
	}
	lock, problems := schema.ParsePyLock(lockFile, data)
	for i := range problems {
		problems[i].Fix = cmp.Or(problems[i].Fix, "remove it, and lock again")
	}
	return lock, problems.Err()
}

// unchanged reports whether every file that a lock was made from is what it was,
// and whether the lock is for the targets that app.ini asks for.
func unchanged(dir string, lock *schema.PyLock) bool {
	if lock.Tool == nil || lock.Tool.Inputs["dependencies.txt"] == "" {
		return false
	}
	ini, err := os.ReadFile(filepath.Join(dir, "app.ini"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	cfg, problems := schema.ParseAppINI("app.ini", ini)
	if len(problems) > 0 || bundle.StaleTargets(cfg, lock.Tool) != "" {
		return false
	}
	for file, sum := range lock.Tool.Inputs {
		if !filepath.IsLocal(file) {
			return false
		}
		file = filepath.Join(dir, file)
		if fi, err := os.Lstat(file); err != nil || !fi.Mode().IsRegular() || fi.Size() > schema.MaxFile {
			return false
		}
		data, err := os.ReadFile(file)
		if now := sha256.Sum256(data); err != nil || hex.EncodeToString(now[:]) != sum {
			return false
		}
	}
	return true
}
