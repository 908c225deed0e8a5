package safearchive

import "cmp"

// The defaults of [Limits].
const (
	DefaultTotal      = 10 << 30
	DefaultEntries    = 500_000
	DefaultPath       = 4096
	DefaultComponent  = 255
	DefaultDepth      = 100
	DefaultNames      = 64 << 20
	DefaultRatio      = 200
	DefaultRatioAfter = 100 << 20
	DefaultWindow     = 128 << 20
	DefaultHeader     = 1 << 20
)

// Limits bound what an archive may cost whoever reads it. The zero value of
// each field means its default.
type Limits struct {
	Total      int64 // bytes of all files, copies for hard links included; 0 means 10 GiB
	File       int64 // bytes of one file; 0 means Total
	Entries    int   // entries, with the directories that names imply; 0 means 500,000
	Path       int   // bytes of a name or a link target; 0 means 4,096
	Component  int   // bytes between two slashes; 0 means 255
	Depth      int   // components of a name; 0 means 100
	Names      int64 // bytes of all names and targets, kept in memory; 0 means 64 MiB
	Ratio      int64 // bytes that a compressed byte may become; 0 means 200
	RatioAfter int64 // decompressed bytes from which Ratio counts; 0 means 100 MiB
	Window     int64 // bytes of a zstd window; 0 means 128 MiB
	Header     int64 // bytes of the extended headers of one entry; 0 means 1 MiB
}

// withDefaults replaces each zero.
func (l Limits) withDefaults() Limits {
	total := cmp.Or(l.Total, DefaultTotal)
	return Limits{
		Total:      total,
		File:       min(cmp.Or(l.File, total), total),
		Entries:    cmp.Or(l.Entries, DefaultEntries),
		Path:       cmp.Or(l.Path, DefaultPath),
		Component:  cmp.Or(l.Component, DefaultComponent),
		Depth:      cmp.Or(l.Depth, DefaultDepth),
		Names:      cmp.Or(l.Names, DefaultNames),
		Ratio:      cmp.Or(l.Ratio, DefaultRatio),
		RatioAfter: cmp.Or(l.RatioAfter, DefaultRatioAfter),
		Window:     cmp.Or(l.Window, DefaultWindow),
		Header:     cmp.Or(l.Header, DefaultHeader),
	}
}

// A Limit names a field of [Limits] in a message.
type Limit string

// The limits, as messages name them.
const (
	LimitTotal     Limit = "total size"
	LimitFile      Limit = "file size"
	LimitEntries   Limit = "number of entries"
	LimitPath      Limit = "length of a path"
	LimitComponent Limit = "length of a name"
	LimitDepth     Limit = "depth"
	LimitNames     Limit = "length of all names"
	LimitRatio     Limit = "compression ratio"
	LimitWindow    Limit = "zstd window"
	LimitHeader    Limit = "size of an extended header"
)

// unit is what the value of a limit counts, with a leading space.
func (l Limit) unit() string {
	switch l {
	case LimitEntries, LimitDepth, LimitRatio:
		return ""
	}
	return " bytes"
}
