package pypi

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"appbundle/internal/fetch"
)

// maxToken is the size of the largest tag or text of an HTML page, in bytes.
const maxToken = 1 << 20

// An htmlReader walks over the tokens of a page (PEP 503, 592, 629, 658, 714,
// 792).
type htmlReader struct {
	p       *page
	z       *html.Tokenizer
	based   bool   // a <base> was seen; the first counts
	marked  bool   // something was seen that only HTML has
	version string // of the protocol
	status  string
	reason  string

	anchor bool // within <a>
	link   offer
	href   string
	text   strings.Builder
}

func readHTML(a fetch.Answer) (*page, error) {
	r := &htmlReader{p: &page{base: a.URL}, z: html.NewTokenizer(bytes.NewReader(a.Body))}
	r.z.SetMaxBuf(maxToken)
	if err := r.tokens(); err != nil {
		return nil, err
	}
	if !r.marked {
		return nil, errors.New("the page is no HTML")
	}
	if err := r.p.checkProtocol(r.version); err != nil {
		return nil, err
	}
	r.p.setStatus(r.status, r.reason)
	return r.p, nil
}

func (r *htmlReader) tokens() error {
	for {
		switch r.z.Next() {
		case html.ErrorToken:
			if err := r.z.Err(); errors.Is(err, html.ErrBufferExceeded) {
				return fmt.Errorf("the page has a tag or a text of more than %d bytes", maxToken)
			}
			r.closeAnchor()
			return nil // a reader of bytes has no other error than their end
		case html.DoctypeToken:
			r.marked = true
		case html.StartTagToken, html.SelfClosingTagToken:
			if err := r.startTag(); err != nil {
				return err
			}
		case html.EndTagToken:
			if name, _ := r.z.TagName(); atom.Lookup(name) == atom.A {
				r.closeAnchor()
			}
		case html.TextToken:
			if r.anchor && r.text.Len() <= maxFileName {
				r.text.Write(r.z.Text())
			}
		}
	}
}

func (r *htmlReader) startTag() error {
	name, more := r.z.TagName()
	tag := atom.Lookup(name)
	switch tag {
	case atom.Html, atom.Head, atom.Body:
		r.marked = true
	case atom.A, atom.Base, atom.Meta:
		r.marked = true
		attributes := map[string]string{}
		for more {
			var key, value []byte
			key, value, more = r.z.TagAttr()
			if _, twice := attributes[string(key)]; !twice { // the first counts, says HTML
				attributes[string(key)] = string(value)
			}
		}
		switch tag {
		case atom.A:
			return r.openAnchor(attributes)
		case atom.Base:
			r.base(attributes)
		case atom.Meta:
			r.meta(attributes)
		}
	}
	return nil
}

func (r *htmlReader) base(attributes map[string]string) {
	href, ok := attributes["href"]
	if !ok || r.based {
		return
	}
	r.based = true
	u, err := r.p.base.Parse(strings.TrimSpace(href))
	if err == nil && u.Hostname() != "" && (u.Scheme == "https" || u.Scheme == r.p.base.Scheme) {
		r.p.base = u
	}
}

func (r *htmlReader) meta(attributes map[string]string) {
	content := strings.TrimSpace(attributes["content"])
	switch attributes["name"] {
	case "pypi:repository-version":
		r.version = content
	case "pypi:project-status":
		r.status = content
	case "pypi:project-status-reason":
		r.reason = content
	}
}

func (r *htmlReader) openAnchor(attributes map[string]string) error {
	r.closeAnchor()
	href, ok := attributes["href"]
	if !ok {
		return nil
	}
	if len(r.p.offers)+r.p.passed >= maxFiles {
		return fmt.Errorf("the page has more than %d links", maxFiles)
	}
	r.anchor, r.href, r.link = true, strings.TrimSpace(href), offer{requires: attributes["data-requires-python"]}
	r.text.Reset()
	r.link.reason, r.link.yanked = attributes["data-yanked"]
	side, ok := attributes["data-core-metadata"]
	if !ok {
		side, ok = attributes["data-dist-info-metadata"]
	}
	if ok {
		r.link.side = htmlSidecar(side)
	}
	return nil
}

// htmlSidecar reads "true", "false" or "sha256=…"; another text means nothing.
func htmlSidecar(text string) sidecar {
	switch {
	case strings.EqualFold(text, "true"):
		return sidecar{state: sideThere}
	case strings.EqualFold(text, "false"):
		return sidecar{state: sideAbsent}
	}
	algorithm, digest, ok := strings.Cut(text, "=")
	if !ok {
		return sidecar{}
	}
	var h hashes
	h.set(algorithm, digest)
	return sidecar{sideThere, h.sha256}
}

// closeAnchor takes the link that was open. Its name is its text and the end of
// its URL as well; a link where these are two different files means something
// else to another reader, and is passed over.
func (r *htmlReader) closeAnchor() {
	if !r.anchor {
		return
	}
	r.anchor = false
	text := offer{name: strings.TrimSpace(r.text.String())}
	end := offer{name: lastElement(r.href)}
	textOK, endOK := text.readName(), end.readName()
	if textOK && endOK && text.name != end.name {
		r.p.passed++
		return
	}
	r.link.name = text.name
	if endOK {
		r.link.name = end.name
	}
	if !r.p.add(r.link, r.href) {
		r.p.passed++
	}
}

// lastElement gives the last element of the path of a URL.
func lastElement(href string) string {
	u, err := url.Parse(href)
	if err != nil {
		return ""
	}
	return path.Base(u.Path)
}
