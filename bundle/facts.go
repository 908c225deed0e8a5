package bundle

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"path"
	"regexp"
	"strings"

	"appbundle/schema"
)

// headSize is how much of a file the facts about its content are taken from.
const headSize = 64 << 10

var (
	elfMagic   = []byte("\x7fELF")
	keyEnd     = []byte("PRIVATE KEY-----")
	keyHeader  = regexp.MustCompile(`(?m)^-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----`)
	sqlite     = []byte("SQLite format 3\x00")
	minisign   = regexp.MustCompile(`^untrusted comment:[^\n]*\nRW(RTY0Iy|QAAEIy)`) // a secret key, with a passphrase or without
	puttyMagic = []byte("PuTTY-User-Key-File-")
)

// setFacts fills in what the first headSize bytes of a file say.
func (e *Entry) setFacts(head []byte) {
	e.Machine = machineOf(head)
	e.ELF = e.Machine != ""
	e.Database = bytes.HasPrefix(head, sqlite)
	if bytes.HasPrefix(head, []byte("#!")) {
		line, _, _ := bytes.Cut(head[:min(len(head), schema.MaxShebang+1)], []byte("\n"))
		e.FirstLine = string(line)
	}
	text := bytes.TrimLeft(head, " \t\r\n")
	e.PrivateKey = bytes.HasPrefix(text, puttyMagic) || minisign.Match(text) || hasKey(text, e.Path)
}

// hasKey reports a private key at the beginning of text, or anywhere in it
// under a name that keys are kept under.
func hasKey(text []byte, p string) bool {
	if !bytes.Contains(text, keyEnd) { // of nearly every file
		return false
	}
	at := keyHeader.FindIndex(text)
	return at != nil && (at[0] == 0 || hasKeyName(p))
}

// machineOf names the processor of native code as wheels do, "" for no native
// code.
func machineOf(head []byte) string {
	if !bytes.HasPrefix(head, elfMagic) || len(head) < 20 {
		return ""
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if head[elf.EI_DATA] == byte(elf.ELFDATA2MSB) {
		order = binary.BigEndian
	}
	switch m := elf.Machine(order.Uint16(head[18:])); m {
	case elf.EM_X86_64:
		return "x86_64"
	case elf.EM_AARCH64:
		return "aarch64"
	case elf.EM_386:
		return "i686"
	case elf.EM_ARM:
		return "armv7l"
	case elf.EM_PPC64:
		return "ppc64le"
	case elf.EM_S390:
		return "s390x"
	case elf.EM_RISCV:
		return "riscv64"
	default:
		return fmt.Sprintf("machine%d", m)
	}
}

// hasKeyName reports the names that keys are kept under.
func hasKeyName(p string) bool {
	name := strings.ToLower(path.Base(p))
	switch path.Ext(name) {
	case ".pem", ".key", ".crt", ".cert":
		return true
	}
	return strings.HasPrefix(name, "id_") && path.Ext(name) == ""
}

// isEnvFile reports files of settings that are secret by convention; those
// that are there to be copied are not.
func isEnvFile(p string) bool {
	name := path.Base(p)
	if name == ".env" {
		return true
	}
	suffix, ok := strings.CutPrefix(name, ".env.")
	switch suffix {
	case "example", "sample", "template", "dist", "defaults":
		return false
	}
	return ok
}
