package install

import (
	"bytes"
	"crypto/sha256"
	"strconv"
	"strings"
)

// A record is the RECORD of an installed package: every file of it, relative to
// site-packages.
type record struct {
	site string
	b    bytes.Buffer
}

// add writes the line of a path of the environment. An empty sum stands for
// what may be made again, such as byte code.
func (r *record) add(to, sum string, size int64) {
	name, ok := strings.CutPrefix(to, r.site+"/")
	if !ok {
		name = strings.Repeat("../", strings.Count(r.site, "/")+1) + to
	}
	if strings.ContainsAny(name, ",\"") {
		name = `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	r.b.WriteString(name)
	if sum == "" {
		r.b.WriteString(",,\n")
		return
	}
	r.b.WriteString(",sha256=" + sum + "," + strconv.FormatInt(size, 10) + "\n")
}

// end writes the line of RECORD itself and gives the text.
func (r *record) end(to string) []byte {
	r.add(to, "", -1)
	return r.b.Bytes()
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return encodeSum(sum[:])
}
