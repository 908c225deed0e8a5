package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// gpg runs gpg. GNUPGHOME says where it looks.
func gpg(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "gpg", append([]string{"--batch", "--quiet", "--no-armor"}, args...)...)
	cmd.Stdin = in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch said := strings.TrimSpace(stderr.String()); {
	case err == nil:
		return out, nil
	case errors.Is(err, exec.ErrNotFound):
		return nil, errors.New("gpg is not installed, and it is what asks the agent")
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case said == "":
		return nil, fmt.Errorf("gpg: %w", err)
	case strings.Contains(said, "Inappropriate ioctl for device"): // of the terminal that is not there
		return nil, errors.New("gpg: nobody can be asked for the passphrase here; preset it with gpg-preset-passphrase, or set GPG_TTY")
	default:
		return nil, errors.New("gpg: " + strings.TrimPrefix(said[strings.LastIndexByte(said, '\n')+1:], "gpg: "))
	}
}
