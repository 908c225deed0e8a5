package install

import (
	"context"
	"errors"
	"io"
	"os"

	"appbundle/schema"
)

// Keep takes the wheel f, which is the file path of the disk, into the cache
// directory. It is refused where Sync would refuse it; see there for errors.
func Keep(ctx context.Context, cacheDir string, f *schema.LockedFile, path string) error {
	if f.Wheel == nil || f.SHA256() == "" {
		return errors.New(f.Name + " is no wheel with a sha256")
	}
	c := &cache{dir: cacheDir}
	release, err := c.share(ctx)
	if err != nil {
		return err
	}
	defer release()
	t, _, err := c.wheel(ctx, f, func(to io.Writer) error {
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close() // opened for reading: nothing can be lost
		_, err = io.Copy(to, in)
		return err
	})
	if err == nil && !t.isOf(f.Wheel) {
		err = errors.New(f.Name + " is a wheel of " + t.name + " " + t.version)
	}
	return err
}
