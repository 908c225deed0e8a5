package resolve

import (
	"strings"
	"testing"

	"appbundle/schema"
)

const graphLock = `lock-version = "1.0"
created-by = "hand"
[[packages]]
name = "app"
version = "1.0"
dependencies = [{ name = "lib" }, { name = "ring" }]
wheels = [{ url = "https://h.test/app-1.0-py3-none-any.whl", hashes = { sha256 = "SUM" } }]
FROM
[[packages]]
name = "lib"
version = "1.0"
marker = "sys_platform == 'linux'"
dependencies = [{ name = "leaf" }]
wheels = [{ url = "https://h.test/lib-1.0-py3-none-any.whl", hashes = { sha256 = "SUM" } }]
[[packages]]
name = "lib"
version = "2.0"
marker = "sys_platform == 'darwin'"
wheels = [{ url = "https://h.test/lib-2.0-py3-none-any.whl", hashes = { sha256 = "SUM" } }]
[[packages]]
name = "ring"
version = "1.0"
dependencies = [{ name = "app" }, { name = "lib", version = "2.0" }]
wheels = [{ url = "https://h.test/ring-1.0-py3-none-any.whl", hashes = { sha256 = "SUM" } }]
[[packages]]
name = "leaf"
version = "1.0"
wheels = [{ url = "https://h.test/leaf-1.0-py3-none-any.whl", hashes = { sha256 = "SUM" } }]
`

func TestGraph(t *testing.T) {
	for _, tt := range []struct {
		name, from string
		roots      string
		why        map[string]string
	}{
		{"lines are known", "[packages.tool.appbundle]\nfrom = [\"dependencies.txt:1\"]", "app-1.0",
			map[string]string{"leaf": "app-1.0 lib-1.0 leaf-1.0", "lib": "app-1.0 lib-1.0", "app": "app-1.0", "ring": "app-1.0 ring-1.0", "none": ""}},
		{"a ring that nobody asks for has no root", "", "", map[string]string{"leaf": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.NewReplacer("SUM", strings.Repeat("0", 64), "FROM", tt.from).Replace(graphLock)
			lock, problems := schema.ParsePyLock("pylock.toml", []byte(text))
			if err := problems.Err(); err != nil {
				t.Fatal(err)
			}
			g := NewGraph(lock)
			if got := nodes(g.Roots()); got != tt.roots {
				t.Errorf("Roots() = %s, want %s", got, tt.roots)
			}
			for name, want := range tt.why {
				var got []string
				for _, chain := range g.Why(name) {
					got = append(got, nodes(chain))
				}
				if strings.Join(got, "; ") != want {
					t.Errorf("Why(%q) = %q, want %q", name, got, want)
				}
			}
			if got := nodes(g.Needs(&lock.Packages[0])); got != "lib-1.0 lib-2.0 ring-1.0" {
				t.Errorf("Needs(app) = %s", got)
			}
		})
	}
}

func nodes(list []*schema.LockedPackage) string {
	var s []string
	for _, p := range list {
		s = append(s, p.Name+"-"+p.Version)
	}
	return strings.Join(s, " ")
}
