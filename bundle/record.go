package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
)

// maxRecord is the size of the largest RECORD that is read, in bytes.
const maxRecord = 16 << 20

// isRecord reports whether p is the list of files of an installed package.
func isRecord(p string) bool {
	in, ok := strings.CutPrefix(p, envDir+"/lib/")
	return ok && strings.Count(in, "/") == 3 && strings.HasSuffix(in, ".dist-info/RECORD")
}

// makeEnvAnew is the remedy where install would find nothing to do.
const makeEnvAnew = "remove " + envDir + ", and run appbundle install"

// ownEnvFiles are what install writes into an environment for no package.
var ownEnvFiles = []string{envFile, envConfig, envDir + "/bin/activate"}

// checkRecords compares the files of the environment with what the packages say
// of their own: a file that somebody edited or put there would be in the archive,
// and in no lock.
func (a *App) checkRecords(files map[string][]byte) {
	a.unrecorded = nil
	if a.Environment == nil {
		return
	}
	recorded := map[string]bool{} // whether the content is as well
	for _, name := range ownEnvFiles {
		recorded[name] = true
	}
	for i := range a.Entries {
		e := &a.Entries[i]
		if !isRecord(e.Path) {
			continue
		}
		if err := a.readRecord(e.Path, files[e.Path], recorded); err != nil {
			a.unrecorded = append(a.unrecorded, find(e.Path, makeEnvAnew, "%v", err))
		}
	}
	for i := range a.Entries {
		e := &a.Entries[i]
		if !inEnv(e.Path) || e.Type == Dir {
			continue
		}
		switch same, ok := recorded[e.Path]; {
		case !ok:
			a.unrecorded = append(a.unrecorded, find(e.Path, makeEnvAnew, "is of no package"))
		case !same:
			a.unrecorded = append(a.unrecorded, find(e.Path, makeEnvAnew, "is not what was installed"))
		}
	}
	// Who edits one file edits many, or none.
	const most = 10
	if n := len(a.unrecorded); n > most {
		a.unrecorded = append(slices.Clip(a.unrecorded[:most]), find(envDir, makeEnvAnew, "%d more files are not those of a package", n-most))
	}
}

// readRecord takes the files of one package. Of two packages that have the same
// file, with one content or another, one was installed.
func (a *App) readRecord(at string, data []byte, recorded map[string]bool) error {
	if data == nil {
		return errors.New("is too large, or is no file")
	}
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord, r.ReuseRecord = 3, true
	for {
		fields, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		p := path.Join(path.Dir(path.Dir(at)), fields[0])
		want, ok := strings.CutPrefix(fields[1], "sha256=")
		if !ok {
			recorded[p] = true // RECORD itself, and byte code
			continue
		}
		e := a.Entry(p)
		if e == nil {
			a.unrecorded = append(a.unrecorded, find(p, makeEnvAnew, "is missing"))
			continue
		}
		recorded[p] = recorded[p] || base64.RawURLEncoding.EncodeToString(e.Sum[:]) == want
	}
}
