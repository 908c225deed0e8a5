package pypi

import (
	"encoding/binary"
	"slices"
	"strings"
)

// compactForm names the form in which pages are cached. A change of the form
// needs another number; so does a change of what is read of a page.
const compactForm = "simple 2"

// encode gives a settled page in the compact form: what is said many times
// (versions, tags, demands on Python) stands once, in a table, and a file refers
// to it by number. Nothing has to be parsed again but each version and each
// demand, once.
func (p *page) encode() []byte {
	var versions, requires, tags table
	var w compactWriter
	w.text(p.quarantined)
	w.number(uint64(p.passed))
	w.number(uint64(len(p.notes)))
	for _, note := range p.notes {
		w.text(note)
	}
	files := compactWriter{make([]byte, 0, len(p.offers)*200)} // most take less
	for i := range p.offers {
		o := &p.offers[i]
		files.offer(o)
		files.number(versions.id(o.version.String()))
		files.number(requires.id(o.requires))
		if o.wheel != nil {
			files.text(o.wheel.Build)
			files.number(tags.id(strings.Join(o.wheel.Tags, " ")))
		}
	}
	for _, t := range []table{versions, requires, tags} {
		w.number(uint64(len(t.texts)))
		for _, text := range t.texts {
			w.text(text)
		}
	}
	w.number(uint64(len(p.offers)))
	w.buf = slices.Grow(w.buf, len(files.buf))
	w.buf = append(w.buf, files.buf...)
	return w.buf
}

// Bits that say what is written of a file.
const (
	hasWheel = 1 << iota
	hasYanked
	hasReason
	hasSHA256
	hasSHA384
	hasSHA512
	hasUploaded
	hasSideHash
	endsInName // the name is the end of the URL and not written
)

func (w *compactWriter) offer(o *offer) {
	ends := strings.HasSuffix(o.url, o.name)
	var bits uint64
	for _, b := range []struct {
		bit uint64
		set bool
	}{
		{hasWheel, o.wheel != nil}, {hasYanked, o.yanked}, {hasReason, o.reason != ""},
		{hasSHA256, o.hashes.sha256 != ""}, {hasSHA384, o.hashes.sha384 != ""}, {hasSHA512, o.hashes.sha512 != ""},
		{hasUploaded, !o.uploaded.IsZero()}, {hasSideHash, o.side.sha256 != ""}, {endsInName, ends},
	} {
		if b.set {
			bits |= b.bit
		}
	}
	w.number(bits)
	w.text(o.url)
	if ends {
		w.number(uint64(len(o.name)))
	} else {
		w.text(o.name)
	}
	w.number(uint64(o.size))
	w.number(uint64(o.side.state))
	for _, text := range []string{o.reason, o.hashes.sha256, o.hashes.sha384, o.hashes.sha512, o.side.sha256} {
		if text != "" {
			w.text(text)
		}
	}
	if bits&hasUploaded != 0 {
		w.number(uint64(o.uploaded.UnixMicro()))
	}
}

// A table numbers texts.
type table struct {
	texts []string
	ids   map[string]uint64
}

func (t *table) id(text string) uint64 {
	id, ok := t.ids[text]
	if !ok {
		if t.ids == nil {
			t.ids = map[string]uint64{}
		}
		id = uint64(len(t.texts))
		t.ids[text] = id
		t.texts = append(t.texts, text)
	}
	return id
}

type compactWriter struct{ buf []byte }

func (w *compactWriter) number(n uint64) { w.buf = binary.AppendUvarint(w.buf, n) }

func (w *compactWriter) text(s string) {
	w.number(uint64(len(s)))
	w.buf = append(w.buf, s...)
}
