package safearchive

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"appbundle/internal/atomicfile"
)

// What others pack for people to unpack is accepted, in every format and with all
// that their programs add to it, and is what they packed.
func TestOthers(t *testing.T) {
	work := t.TempDir()
	sh := func(t *testing.T, script string) {
		t.Helper()
		cmd := exec.Command("sh", "-euc", script)
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	sh(t, `mkdir -p shop-1/bin shop-1/lib/deep
		printf '#!/bin/sh\n' >shop-1/bin/app
		chmod 755 shop-1/bin/app
		printf naïve >shop-1/lib/größe.txt
		: >shop-1/lib/empty
		head -c 300000 /dev/zero >shop-1/lib/zeros
		echo deep >shop-1/lib/deep/$(printf 'n%.0s' $(seq 90))
		ln -s ../bin/app shop-1/lib/run
		ln -s lib shop-1/lib64
		git init -q shop-1
		git -C shop-1 add .
		git -C shop-1 commit -qm first`)
	const python = `python3 - <<'end'
import os, zipfile
with zipfile.ZipFile("a.zip", "w", zipfile.ZIP_DEFLATED) as z:
    for top, dirs, files in os.walk("shop-1"):
        if ".git" in dirs: dirs.remove(".git")
        z.write(top)
        for name in files + [d for d in dirs if os.path.islink(os.path.join(top, d))]:
            path = os.path.join(top, name)
            if os.path.islink(path):
                info = zipfile.ZipInfo(path)
                info.create_system, info.external_attr = 3, 0o120777 << 16
                z.writestr(info, os.readlink(path))
            else:
                z.write(path)
        dirs[:] = [d for d in dirs if not os.path.islink(os.path.join(top, d))]
end
`
	for _, c := range []struct{ name, file, script string }{
		{"GNU tar", "a.tar", "tar --format=gnu --exclude=.git -cf a.tar shop-1"},
		{"GNU tar, oldgnu", "a.tar", "tar --format=oldgnu --exclude=.git -cf a.tar shop-1"},
		{"GNU tar, ustar", "a.tar", "tar --format=ustar --exclude=.git -cf a.tar shop-1"},
		{"GNU tar, posix", "a.tar.gz", "tar --format=posix --exclude=.git -czf a.tar.gz shop-1"},
		{"GNU tar, zstd", "a.tar.zst", "tar --exclude=.git --zstd -cf a.tar.zst shop-1"},
		{"GNU tar, xz", "a.tar.xz", "tar --exclude=.git -cJf a.tar.xz shop-1"},
		{"GNU tar, bzip2", "a.tar.bz2", "tar --exclude=.git -cjf a.tar.bz2 shop-1"},
		{"GNU tar, a dot", "a.txz", "mkdir top; cp -a shop-1 top; tar -C top --exclude=.git -cJf a.txz .; rm -r top"},
		{"bsdtar", "a.tar", "bsdtar --exclude .git -cf a.tar shop-1"},
		{"bsdtar, pax", "a.tar.zst", "bsdtar --format pax --zstd --exclude .git -cf a.tar.zst shop-1"},
		{"bsdtar, zip", "a.zip", "bsdtar --format zip --exclude .git -cf a.zip shop-1"},
		{"bsdtar, stored zip", "a.zip", "bsdtar --format zip --options zip:compression=store --exclude .git -cf a.zip shop-1"},
		{"bsdtar, zip by suffix", "a.zip", "bsdtar --exclude .git -a -cf a.zip ./shop-1"},
		{"zip", "a.zip", "zip -qryX a.zip shop-1 -x 'shop-1/.git/*'"},
		{"zip, with attributes", "a.zip", "zip -qry a.zip shop-1 -x 'shop-1/.git/*'"},
		{"zip, a comment", "a.zip", "echo hello | zip -qryz a.zip shop-1 -x 'shop-1/.git/*'"},
		{"python", "a.zip", python},
		{"zipapp", "a.pyz", python + "\n(echo '#!/usr/bin/env python3'; cat a.zip) >a.pyz; rm a.zip"},
		{"zip -A", "a.pyz", python + "\n(echo '#!/usr/bin/env python3'; cat a.zip) >a.pyz; rm a.zip; zip -qA a.pyz"},
		{"git archive, tar", "a.tar", "git -C shop-1 archive --prefix=shop-1/ -o $PWD/a.tar HEAD"},
		{"git archive, gz", "a.tar.gz", "git -C shop-1 archive --prefix=shop-1/ -o $PWD/a.tar.gz HEAD"},
		{"git archive, zip", "a.zip", "git -C shop-1 archive --prefix=shop-1/ -o $PWD/a.zip HEAD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sh(t, c.script)
			name := filepath.Join(work, c.file)
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer os.Remove(name)
			defer f.Close()
			if err := scan(c.file, f, Limits{}); err != nil {
				t.Error(err)
			}
			target := filepath.Join(t.TempDir(), "out")
			if err := unpack(context.Background(), c.file, f, Limits{}, atomicfile.FS{}, target, Options{}); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("diff", "-r", "--no-dereference", "--exclude=.git", work+"/shop-1", target+"/shop-1").CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if st, err := os.Stat(target + "/shop-1/bin/app"); err != nil || st.Mode() != 0o755 {
				t.Errorf("bin/app: %v, %v", st.Mode(), err)
			}
		})
	}
}
