package schema

import (
	"fmt"
	"strings"
)

// licenseIDs are the identifiers of SPDX that applications use most. Others are
// accepted; these are what a message can suggest.
const licenseIDs = "0BSD AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 Artistic-2.0 BSD-2-Clause BSD-3-Clause BSD-4-Clause BSL-1.0 CC-BY-4.0 CC-BY-SA-4.0 CC0-1.0 CDDL-1.0 EPL-1.0 EPL-2.0 EUPL-1.2 GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later ISC LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later MIT MIT-0 MPL-1.1 MPL-2.0 MS-PL NCSA OFL-1.1 OpenSSL PostgreSQL PSF-2.0 Python-2.0 Unlicense UPL-1.0 Vim WTFPL Zlib ZPL-2.1"

// licenseAliases are what people write and SPDX does not know.
var licenseAliases = map[string]string{
	"apache": "Apache-2.0", "apache2": "Apache-2.0", "apachev2": "Apache-2.0", "asl2": "Apache-2.0",
	"bsd": "BSD-3-Clause", "bsd2": "BSD-2-Clause", "bsd3": "BSD-3-Clause", "newbsd": "BSD-3-Clause",
	"gpl": "GPL-3.0-or-later", "gpl2": "GPL-2.0-only", "gplv2": "GPL-2.0-only", "gpl3": "GPL-3.0-only", "gplv3": "GPL-3.0-only",
	"gpl-2.0": "GPL-2.0-only", "gpl-3.0": "GPL-3.0-only", "gpl-2.0+": "GPL-2.0-or-later", "gpl-3.0+": "GPL-3.0-or-later",
	"lgpl": "LGPL-3.0-or-later", "lgplv3": "LGPL-3.0-only", "lgpl-3.0": "LGPL-3.0-only", "lgpl-2.1": "LGPL-2.1-only",
	"agpl": "AGPL-3.0-or-later", "agplv3": "AGPL-3.0-only", "agpl-3.0": "AGPL-3.0-only",
	"mpl": "MPL-2.0", "mpl2": "MPL-2.0", "mplv2": "MPL-2.0", "psf": "PSF-2.0", "public-domain": "CC0-1.0",
	"proprietary": "LicenseRef-Proprietary", "commercial": "LicenseRef-Proprietary", "none": "LicenseRef-Proprietary",
}

// licenseExpression checks the syntax of an SPDX expression, and the identifiers
// against common misspellings.
func licenseExpression(s string) (string, *fault) {
	p := licenseParser{words: licenseWords(s)}
	f := p.or(0)
	if f == nil && p.i < len(p.words) {
		f = p.expected("AND, OR, WITH or the end")
	}
	if f != nil {
		return "", f
	}
	return s, nil
}

func licenseWords(s string) []string {
	return strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(s))
}

type licenseParser struct {
	words []string
	i     int
}

// or reads terms with OR and AND; which of the two binds tighter does not
// matter to a check.
func (p *licenseParser) or(depth int) *fault {
	for {
		if f := p.term(depth); f != nil {
			return f
		}
		if !p.accept("OR") && !p.accept("AND") {
			return nil
		}
	}
}

func (p *licenseParser) term(depth int) *fault {
	if !p.accept("(") {
		return p.license()
	}
	if depth == 20 {
		return bad("parentheses more than 20 deep")
	}
	if f := p.or(depth + 1); f != nil {
		return f
	}
	if !p.accept(")") {
		return p.expected("a closing )")
	}
	return nil
}

func (p *licenseParser) license() *fault {
	if p.i == len(p.words) || !isLicenseID(p.words[p.i]) {
		return p.expected("a license")
	}
	id := p.words[p.i]
	if right := licenseName(id); right != id {
		return &fault{fmt.Sprintf("%q is no SPDX identifier", id), fmt.Sprintf("did you mean %q?", right), -1}
	}
	p.i++
	if !p.accept("WITH") {
		return nil
	}
	if p.i == len(p.words) || !isLicenseID(p.words[p.i]) {
		return p.expected("an exception")
	}
	p.i++
	return nil
}

// licenseName gives the right spelling of an identifier, id itself where
// nothing is known against it.
func licenseName(id string) string {
	if right, ok := licenseAliases[strings.ToLower(id)]; ok {
		return right
	}
	bare := strings.TrimSuffix(id, "+")
	for _, known := range strings.Fields(licenseIDs) {
		if strings.EqualFold(known, bare) && known != bare {
			return known + id[len(bare):]
		}
	}
	return id
}

func (p *licenseParser) accept(word string) bool {
	if p.i == len(p.words) || p.words[p.i] != word {
		return false
	}
	p.i++
	return true
}

func (p *licenseParser) expected(what string) *fault {
	fix := "write an SPDX expression, such as MIT or Apache-2.0 OR MIT"
	if p.i == len(p.words) {
		return &fault{"the expression lacks " + what, fix, -1}
	}
	return &fault{fmt.Sprintf("%s must stand where %s is", what, quote(p.words[p.i])), fix, -1}
}

func isLicenseID(s string) bool {
	if isWord(strings.ToUpper(s), "AND OR WITH") {
		return false
	}
	s = strings.TrimSuffix(s, "+")
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:") == ""
}
