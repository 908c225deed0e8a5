package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"appbundle/rpm"
)

// packageOptions are the flags of build that ask for Linux packages.
type packageOptions struct {
	rpm, deb   bool
	collection bool
	layout     string // private or system
	spec, srpm bool
	key        string // file of the OpenPGP key, or gpg:FINGERPRINT
	passphrase string // file of its passphrase
	signKey    string // file of the minisign key of an archive
	format     *choice
}

// formats are the kinds of packages that are asked for.
func (o *packageOptions) formats() []rpm.Format {
	var list []rpm.Format
	if o.rpm {
		list = append(list, rpm.RPM)
	}
	if o.deb {
		list = append(list, rpm.Deb)
	}
	return list
}

// planned are the formats for which there is a plan: sources are made of an RPM's.
func (o *packageOptions) planned() []rpm.Format {
	list := o.formats()
	if (o.spec || o.srpm) && !o.rpm {
		list = append([]rpm.Format{rpm.RPM}, list...)
	}
	return list
}

// any reports whether something else than an archive is asked for.
func (o *packageOptions) any() bool { return len(o.planned()) > 0 }

// maxFile is the size of the largest file that all of them hold.
func (o *packageOptions) maxFile() int64 {
	most := int64(math.MaxInt64)
	for _, f := range o.planned() {
		most = min(most, rpm.MaxFile(f))
	}
	return most
}

// check refuses flags that mean nothing.
func (o *packageOptions) check(noEnv bool, archive string) error {
	if err := o.checkLayout(); err != nil {
		return err
	}
	if archive != "" && o.any() {
		return errors.New("--type: is for archives, and packages are asked for")
	}
	if noEnv && o.any() {
		return errors.New("--no-env: nobody makes an environment where a package is installed")
	}
	if o.signKey != "" && o.any() {
		return errors.New("--sign-key: archives are signed with it; packages with --sign")
	}
	if o.signKey != "" && o.key == "" {
		return nil
	}
	switch signs := len(o.formats()) > 0 || o.srpm; {
	case o.passphrase != "" && o.key == "" && o.any():
		return errors.New("--passphrase-file: there is no --sign whose passphrase it could be")
	case o.passphrase != "" && strings.HasPrefix(o.key, agentKey):
		return errors.New("--passphrase-file: the agent knows the passphrase of its keys")
	case o.key != "" && o.deb && !o.rpm && !o.srpm && !o.collection:
		return errors.New("--sign: a Debian package is not signed, but the repository that it is in; add --collection")
	case (o.key != "" || o.passphrase != "") && !signs:
		return errors.New("--sign: packages are signed; add --rpm, --deb or --srpm")
	}
	return nil
}

// checkLayout refuses flags about how many packages there are, and where their files
// are, that do not go together.
func (o *packageOptions) checkLayout() error {
	layout := rpm.Layout(o.layout)
	switch {
	case layout != rpm.Private && layout != rpm.System:
		return fmt.Errorf("--layout: %q is none; there are private and system", o.layout)
	case o.collection && (o.spec || o.srpm):
		return errors.New("--collection: a spec is for one package; build --rpm --collection and --srpm one after the other")
	case layout == rpm.System && (o.spec || o.srpm):
		return errors.New("--layout system: a spec is for one package, and this layout has many; build them with --rpm --collection")
	case layout == rpm.System && o.any() && !o.collection:
		return fmt.Errorf("--layout system: %w: add --collection", rpm.ErrWhole)
	case layout == rpm.System && !o.any():
		return errors.New("--layout: of which packages? add --collection, and --rpm or --deb")
	case o.collection && !o.any():
		return errors.New("--collection: of which packages? add --rpm or --deb")
	}
	return nil
}

// agentKey is what the name of a key begins with that gpg-agent holds.
const agentKey = "gpg:"

// signer reads the key of --sign, or finds it with the agent.
func (o *packageOptions) signer(ctx context.Context) (rpm.Signer, error) {
	if o.key == "" {
		return nil, nil
	}
	if fingerprint, ok := strings.CutPrefix(o.key, agentKey); ok {
		agent, err := rpm.NewAgent(ctx, gpg, fingerprint)
		if err != nil {
			return nil, fmt.Errorf("--sign: %w", err)
		}
		return agent, nil
	}
	var passphrase []byte
	if o.passphrase != "" {
		var err error
		if passphrase, err = os.ReadFile(o.passphrase); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(o.key)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	key, err := rpm.ReadKey(f, passphrase)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.key, err)
	}
	return key, nil
}
