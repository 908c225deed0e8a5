package pep425

import (
	"cmp"
	"strings"

	"appbundle/schema/pep508"
)

// A Ranking compares wheels for one list of tags. It may be shared between
// goroutines.
type Ranking struct{ rank map[string]int }

// NewRanking ranks tags, best first; of a tag that occurs twice the better
// place counts.
func NewRanking(tags []string) *Ranking {
	r := &Ranking{rank: make(map[string]int, len(tags))}
	for i, tag := range tags {
		if _, ok := r.rank[tag]; !ok {
			r.rank[tag] = i
		}
	}
	return r
}

// Rank gives the rank of the best tag of a wheel, 0 for the best there can be.
// ok is false where no tag fits.
func (r *Ranking) Rank(w *pep508.WheelName) (rank int, ok bool) {
	for _, tag := range w.Tags {
		if at, fits := r.rank[tag]; fits && (!ok || at < rank) {
			rank, ok = at, true
		}
	}
	return rank, ok
}

// Best gives the index of the best wheel of a list, -1 where none fits: that
// with the best tag, then the highest build tag, then the first file name. An
// element may be nil, for a file that is no wheel, and never is the best.
func (r *Ranking) Best(wheels []*pep508.WheelName, files []string) int {
	best, bestRank := -1, 0
	for i, w := range wheels {
		if w == nil {
			continue
		}
		rank, ok := r.Rank(w)
		if !ok {
			continue
		}
		if best < 0 || cmp.Or(
			cmp.Compare(rank, bestRank),
			CompareBuild(wheels[best].Build, w.Build),
			cmp.Compare(files[i], files[best]),
		) < 0 {
			best, bestRank = i, rank
		}
	}
	return best
}

// Choose is [Ranking.Best] for file names alone. A name that is none of a wheel
// is passed over.
func (r *Ranking) Choose(files []string) int {
	wheels := make([]*pep508.WheelName, len(files))
	for i, f := range files {
		if w, err := pep508.ParseWheelName(f); err == nil {
			wheels[i] = &w
		}
	}
	return r.Best(wheels, files)
}

// CompareBuild orders build tags: none comes before any, then by the number,
// then by the text behind it.
func CompareBuild(a, b string) int {
	aNumber, aText := splitBuild(a)
	bNumber, bText := splitBuild(b)
	return cmp.Or(
		cmp.Compare(min(len(a), 1), min(len(b), 1)),
		cmp.Compare(len(aNumber), len(bNumber)), // no number is too long to compare
		cmp.Compare(aNumber, bNumber),
		cmp.Compare(aText, bText),
	)
}

// splitBuild gives the digits without leading zeros, and the rest.
func splitBuild(s string) (digits, rest string) {
	rest = strings.TrimLeft(s, "0123456789")
	return strings.TrimLeft(s[:len(s)-len(rest)], "0"), rest
}
