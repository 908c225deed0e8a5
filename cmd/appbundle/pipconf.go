package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"appbundle/schema"
)

// A pipConf is what a user has told pip about indexes: where packages come from
// is a fact of the host, and pip's files and variables are where it is written.
// A later value of an option replaces an earlier one.
type pipConf struct {
	index     string
	extra     []string
	findLinks []string
	noIndex   bool
	cert      string // file of CA certificates
}

// readPipConf reads pip's configuration in pip's own order: the host's, the
// user's, that of PIP_CONFIG_FILE, then PIP_* variables.
func readPipConf(env func(string) string) (*pipConf, error) {
	c := &pipConf{}
	only := env("PIP_CONFIG_FILE")
	if only == os.DevNull {
		return c, c.variables(env)
	}
	files := []string{"/etc/xdg/pip/pip.conf", "/etc/pip.conf"}
	if home := env("HOME"); filepath.IsAbs(home) {
		config := env("XDG_CONFIG_HOME")
		if !filepath.IsAbs(config) {
			config = filepath.Join(home, ".config")
		}
		files = append(files, filepath.Join(home, ".pip", "pip.conf"), filepath.Join(config, "pip", "pip.conf"))
	}
	if only != "" {
		files = append(files, only)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := c.file(file, data); err != nil {
			return nil, err
		}
	}
	return c, c.variables(env)
}

// file takes the sections that every command of pip reads, and those of install.
func (c *pipConf) file(name string, data []byte) error {
	ini, problems := schema.ParseINI(name, data, schema.Dialect{Circus: true})
	if err := problems.Err(); err != nil {
		return err
	}
	for _, section := range []string{"global", "install"} {
		for _, s := range ini.Sections {
			if s.Name != section {
				continue
			}
			for _, k := range s.Keys {
				if err := c.set(k.Name, k.Value); err != nil {
					return fmt.Errorf("%s: [%s]: %w", k.Pos, s.Name, err)
				}
			}
		}
	}
	return nil
}

func (c *pipConf) variables(env func(string) string) error {
	for _, name := range []string{"index-url", "extra-index-url", "find-links", "no-index", "cert"} {
		variable := "PIP_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if value := env(variable); value != "" {
			if err := c.set(name, value); err != nil {
				return fmt.Errorf("%s: %w", variable, err)
			}
		}
	}
	return nil
}

// set takes one option; pip writes a list with blanks or line feeds between.
func (c *pipConf) set(name, value string) error {
	switch strings.ReplaceAll(strings.ToLower(name), "_", "-") {
	case "index-url":
		c.index = value
	case "extra-index-url":
		c.extra = strings.Fields(value)
	case "find-links":
		c.findLinks = strings.Fields(value)
	case "cert":
		c.cert = value
	case "no-index":
		switch strings.ToLower(value) {
		case "1", "true", "yes", "on", "y", "t":
			c.noIndex = true
		case "0", "false", "no", "off", "n", "f":
			c.noIndex = false
		default:
			return fmt.Errorf("no-index = %q is neither yes nor no", value)
		}
	}
	return nil
}

// A noIndexError says that nothing names an index.
type noIndexError struct{}

func (*noIndexError) Error() string {
	return "no index: neither --index-url, dependencies.txt, PIP_INDEX_URL nor pip.conf names one, and there is no pip to ask"
}

func (*noIndexError) Hint() string {
	return "write --index-url URL in dependencies.txt, or index-url in pip.conf"
}
