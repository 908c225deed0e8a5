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
	{".zip", "zip"},
	{".whl", "zip"},
	{".7z", "7z"},
	{".rar", "rar"},
	{".xz", "xz"},
	{".txz", "xz"},
	{".bz2", "bzip2"},
	{".tbz2", "bzip2"},
	{".lz4", "lz4"},
	{".lz", "lzip"},
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
