package safearchive

import "strings"

// suffixes says which format a file name promises. The list has the names of
// foreign formats too: an archive of ours does not go by them.
var suffixes = []struct {
	suffix string
	format format
}{
	{".tar", formatTar},
	{".gz", formatGzip},
	{".tgz", formatGzip},
	{".zst", formatZstd},
	{".tzst", formatZstd},
	{".zip", formatZip},
	{".whl", formatZip},
	{".7z", "7z"},
	{".rar", "rar"},
	{".xz", formatXz},
	{".txz", formatXz},
	{".bz2", formatBz2},
	{".tbz2", formatBz2},
	{".lz4", "lz4"},
	{".lz", "lzip"},
	{".sz", "snappy"},
	{".br", formatBrotli},
	{".rpm", "rpm"},
	{".deb", "deb"},
	{".apk", "apk"},
}

// claimed is the format that a name promises, "" when it promises none.
func claimed(name string) format {
	name = strings.ToLower(name)
	for _, s := range suffixes {
		if strings.HasSuffix(name, s.suffix) {
			return s.format
		}
	}
	return ""
}
