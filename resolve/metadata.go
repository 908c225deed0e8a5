package resolve

import (
	"fmt"
	"slices"
	"strings"

	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// requirements gives what a release asks for in an environment: without an
// extra, or what an extra adds.
func requirements(md *Metadata, env pep508.Env, extra string) ([]*pep508.Requirement, error) {
	var reqs []*pep508.Requirement
	for _, r := range md.Requires {
		ok, err := r.Marker.Evaluate(env)
		if err == nil && extra != "" {
			if ok {
				continue
			}
			ok, err = r.Marker.Evaluate(env, extra)
		}
		if err != nil {
			return nil, fmt.Errorf("it asks for %q: %w", r, err)
		}
		if ok {
			reqs = append(reqs, r)
		}
	}
	return reqs, nil
}

// normalised gives names of extras in their normal form, sorted, each once.
func normalised(extras []string) []string {
	if len(extras) == 0 {
		return nil
	}
	names := make([]string, len(extras))
	for i, x := range extras {
		names[i] = pep508.NormalizeName(x)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// bare gives a requirement without its marker.
func bare(r *pep508.Requirement) string {
	var b strings.Builder
	b.WriteString(r.Key())
	if extras := normalised(r.Extras); len(extras) > 0 {
		b.WriteString("[" + strings.Join(extras, ",") + "]")
	}
	if r.URL != "" {
		b.WriteString(" @ " + r.URL)
	}
	b.WriteString(written(r.Specifiers))
	return b.String()
}

// written gives specifiers in the order in which they were written.
func written(specs pep440.Specifiers) string {
	list := make([]string, len(specs))
	for i, s := range specs {
		list[i] = s.String()
	}
	return strings.Join(list, ",")
}
