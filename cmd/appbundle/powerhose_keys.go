package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"appbundle/powerhose"
)

func newPowerhoseKeygenCmd(out *printer) *cobra.Command {
	return &cobra.Command{
		Use:   "keygen FILE",
		Short: "make a key for masters, workers and callers on several hosts",
		Long: `Keygen writes a new secret key to FILE, which its user alone can read, and the
public one to FILE.pub, and prints the public one. It replaces neither. The secret
key stays on its host; the public one goes to those with whom it is to speak.`,
		Args: takes(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			public, err := powerhose.GenerateKeys(args[0])
			if err != nil {
				return err
			}
			out.print("%s\n", public)
			return nil
		},
	}
}

// masterKeys are the flags with which a master is found over TCP.
type masterKeys struct{ own, master string }

func (k *masterKeys) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&k.own, "key", "", "over TCP, have the secret key in `FILE` (default $POWERHOSE_KEY)")
	flags.StringVar(&k.master, "master-key", "", "over TCP, demand of the master the public key in `FILE` (default $POWERHOSE_MASTER_KEY)")
}

// read gives no keys for a master at a path. Over TCP the environment names the
// files that no flag does.
func (k *masterKeys) read(g *globals, address string) (*powerhose.Keys, error) {
	if !isTCP(address) {
		if k.own != "" || k.master != "" {
			return nil, &usageError{err: errors.New("--key and --master-key are for a master at tcp://HOST:PORT")}
		}
		return nil, nil
	}
	own, master := cmp.Or(k.own, g.env("POWERHOSE_KEY")), cmp.Or(k.master, g.env("POWERHOSE_MASTER_KEY"))
	if own == "" || master == "" {
		return nil, &usageError{err: fmt.Errorf("%s: over TCP give --key FILE, the own one, and --master-key FILE, the public one of the master, or set POWERHOSE_KEY and POWERHOSE_MASTER_KEY", address)}
	}
	return powerhose.ReadKeys(own, master)
}

const tcpScheme = "tcp://"

func isTCP(address string) bool { return strings.HasPrefix(address, tcpScheme) }

// listenKeys are the flags with which a master listens over TCP.
type listenKeys struct {
	tcp, own string
	allow    []string
}

func (k *listenKeys) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&k.tcp, "tcp", "", "listen for other hosts at `HOST:PORT` too, where * is every address")
	flags.StringVar(&k.own, "key", "", "over TCP, have the secret key in `FILE`")
	flags.StringArrayVar(&k.allow, "allow", nil, "over TCP, admit the public keys in `FILE`, one a line; may be given several times")
}

// check says what is missing.
func (k *listenKeys) check() error {
	switch {
	case k.tcp == "" && (k.own != "" || len(k.allow) > 0):
		return errors.New("--key and --allow are for --tcp")
	case k.tcp != "" && (k.own == "" || len(k.allow) == 0):
		return errors.New("--tcp needs --key FILE, the own one, and --allow FILE, the public ones of workers and callers")
	}
	return nil
}

// read reads the files, which may be others than the last time.
func (k *listenKeys) read() (*powerhose.Keys, error) { return powerhose.ReadKeys(k.own, k.allow...) }

// apply puts the flags into a configuration.
func (k *listenKeys) apply(cfg *powerhose.MasterConfig) (err error) {
	if k.tcp == "" {
		return nil
	}
	cfg.TCP = tcpScheme + strings.TrimPrefix(k.tcp, tcpScheme)
	cfg.Keys, err = k.read()
	return err
}
