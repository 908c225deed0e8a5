package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// A later file replaces what an earlier one says, and a variable both.
func TestPipConf(t *testing.T) {
	home := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write(".pip/pip.conf", "[global]\nindex-url = https://old.test/simple\ncert = /old.pem\n")
	write(".config/pip/pip.conf", "[global]\nindex-url = https://user.test/simple\n[install]\nfind_links = /a\n  /b\n[list]\nindex-url = https://list.test\n")
	own := write("own.conf", "[global]\nextra-index-url = https://one.test https://two.test\nno-index = no\n")
	for _, tt := range []struct {
		name string
		env  map[string]string
		want pipConf
	}{
		{"the user's files", nil, pipConf{index: "https://user.test/simple", findLinks: []string{"/a", "/b"}, cert: "/old.pem"}},
		{"a file of one's own", map[string]string{"PIP_CONFIG_FILE": own},
			pipConf{index: "https://user.test/simple", extra: []string{"https://one.test", "https://two.test"}, findLinks: []string{"/a", "/b"}, cert: "/old.pem"}},
		{"variables", map[string]string{"PIP_CONFIG_FILE": own, "PIP_INDEX_URL": "https://env.test", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/c", "PIP_CERT": "/new.pem", "PIP_EXTRA_INDEX_URL": "https://three.test"},
			pipConf{index: "https://env.test", extra: []string{"https://three.test"}, findLinks: []string{"/c"}, noIndex: true, cert: "/new.pem"}},
		{"no files", map[string]string{"PIP_CONFIG_FILE": os.DevNull, "PIP_INDEX_URL": "https://env.test"}, pipConf{index: "https://env.test"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readPipConf(func(name string) string {
				if name == "HOME" {
					return home
				}
				return tt.env[name]
			})
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("readPipConf() = %+v, want %+v", *got, tt.want)
			}
		})
	}

	bad := write("bad.conf", "[global]\nno-index = perhaps\n")
	_, err := readPipConf(func(name string) string { return map[string]string{"PIP_CONFIG_FILE": bad}[name] })
	if err == nil || !strings.HasPrefix(err.Error(), bad+":2") {
		t.Errorf("readPipConf() = %v, want an error at %s:2", err, bad)
	}
}
