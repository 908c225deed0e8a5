package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// boot starts systemd as the first process of namespaces, in a cgroup of its own and
// without a network. Its root is a mount: else it can give nobody a view of files.
const boot = `set -eu
root=$1 group=$2
mount --make-rprivate /
mount -t cgroup2 cgroup2 "$root/sys"
mkdir "$root/sys/$group"
echo $$ >"$root/sys/$group/cgroup.procs"
umount "$root/sys"
exec unshare --cgroup --pid --uts --ipc --net --mount --fork --kill-child -- sh -euc '
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs dev
for node in "null c 1 3" "zero c 1 5" "full c 1 7" "random c 1 8" "urandom c 1 9" "tty c 5 0" "ptmx c 5 2"; do mknod -m 666 dev/$node; done
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/sbin/chroot . /lib/systemd/systemd --system --unit=proof.service' sh "$root"
`

// proof is what systemd runs: the life of an installed application.
const proof = `set -ex
trap 'test -e /proved || journalctl --no-pager --lines=60 --unit=shop' EXIT
page() { python3.11 -c 'import http.client, socket
c = http.client.HTTPConnection("app")
c.sock = socket.socket(socket.AF_UNIX)
c.sock.connect("/run/shop/page.sock")
c.request("GET", "/")
print(c.getresponse().read().decode())'; }
pid() { systemctl show -p MainPID --value shop; }
systemctl start shop
systemctl is-active shop
test "$(page)" = 'flask 3.1.2'
test "$(stat -c '%U %a' /var/lib/shop)" = 'shop 750'
first=$(pid)
systemctl reload shop
systemctl is-active shop
test "$(pid)" = "$first"
dpkg -i /new.deb
systemctl is-active shop
test "$(pid)" != "$first"
test "$(page)" = 'flask 3.1.3'
systemctl stop shop
test "$(systemctl is-active shop)" = inactive
test ! -e /sys/fs/cgroup/system.slice/shop.service || test ! -s /sys/fs/cgroup/system.slice/shop.service/cgroup.procs
systemctl start shop
dpkg --remove shop
test "$(systemctl is-active shop)" = inactive
test -d /var/lib/shop
touch /proved
`

// testSystemd boots a system with an installed application: it is active when it
// serves, reloads, is another after an upgrade, stops, and is gone when it is removed.
// Only root can give systemd a cgroup.
func testSystemd(t *testing.T, k *kit) {
	root := debianRoot(t)
	if err := os.MkdirAll(root+"/sys", 0o755); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"old", "new"} {
		copyFile(t, globOne(t, k.build(t, k.shops[i], "--deb")+"/shop_*.deb"), root+"/"+name+".deb")
	}
	copyFile(t, k.deb, root+"/appbundle.deb")
	debianDo(t, root, "dpkg -i /appbundle.deb /old.deb")
	write(t, root, "etc/systemd/system/shop.service.d/place.conf", "[Service]\nExecStart=\nExecStart=/usr/bin/appbundle run --no-color --bind unix:/run/shop/page.sock /opt/shop\n", 0o644)
	write(t, root, "etc/systemd/system/proof.service", `[Unit]
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'exec sh /proof.sh >/proof.out 2>&1'
`, 0o644)
	write(t, root, "proof.sh", proof, 0o644)
	if err := os.Symlink("/dev/null", root+"/etc/systemd/system/systemd-networkd-wait-online.service"); err != nil { // no network comes
		t.Fatal(err)
	}

	group := fmt.Sprintf("appbundle-systemd-%d", os.Getpid())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--", "sh", "-c", boot, "sh", root, group)
	said, err := cmd.CombinedOutput()
	if _, missing := os.Stat(filepath.Join(root, "proved")); missing != nil {
		out, _ := os.ReadFile(root + "/proof.out") // what there is of it
		t.Errorf("systemd: %v\n%s\n%s", err, said, out)
	}
	gone := exec.Command("unshare", "--mount", "--", "sh", "-c", `mount --make-rprivate / && mount -t cgroup2 cgroup2 "$1/sys" && cd "$1/sys/$2" && echo 1 >cgroup.kill && while grep -q "populated 1" cgroup.events; do sleep 0.1; done && find "$1/sys/$2" -depth -type d -exec rmdir {} +`, "sh", root, group)
	if said, err := gone.CombinedOutput(); err != nil {
		t.Errorf("the cgroup %s: %v: %s", group, err, said)
	}
}
