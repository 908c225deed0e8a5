package rpm

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// small are packages to damage, by gzip, whose checksums see every bit.
func small(t testing.TB) map[Format][]byte {
	all := map[Format][]byte{}
	for _, f := range []Format{RPM, Deb} {
		p := shop(f)
		p.Compression, p.Files = Gzip, p.Files[:6]
		b, err := os.ReadFile(written(t, p, Options{}))
		if err != nil {
			t.Fatal(err)
		}
		all[f] = b
	}
	return all
}

// TestDamaged cuts packages everywhere, and flips a bit in every byte. What is then
// still read says the same: it was a byte that says nothing.
func TestDamaged(t *testing.T) {
	for f, b := range small(t) {
		want, err := Read(t.Context(), "x", bytes.NewReader(b), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		same := shop(f)
		same.Compression, same.Files = Gzip, same.Files[:6]
		for i := range b {
			if _, err := Read(t.Context(), "x", bytes.NewReader(b[:i]), Limits{}); err == nil {
				t.Errorf("%s: cut to %d bytes of %d it is read", f, i, len(b))
			} else if _, ok := err.(*FormatError); !ok {
				t.Errorf("%s: cut to %d bytes: %T %v", f, i, err, err)
			}
			bad := bytes.Clone(b)
			bad[i] ^= 1 << (i % 8)
			got, err := Read(t.Context(), "x", bytes.NewReader(bad), Limits{})
			if err == nil && f == RPM && (int64(i) >= want.HeaderStart || !bytes.Equal(got.header, want.header)) {
				t.Errorf("%s: with another byte %d of %d it is read", f, i, len(b))
			}
			if err == nil && same.compare(got) != nil {
				t.Errorf("%s: with another byte %d it is read, and is another", f, i)
			}
		}
		for _, tail := range []string{"\x00", "x", string(b)} {
			if _, err := Read(t.Context(), "x", strings.NewReader(string(b)+tail), Limits{}); err == nil && f == RPM {
				t.Errorf("%s: with %d bytes behind its end it is read", f, len(tail))
			}
		}
	}
}

// TestHostileHeaders has headers with lies, each for a reason of its own.
func TestHostileHeaders(t *testing.T) {
	head := func(entries, store uint32, index string, tail string) []byte {
		b := append(slices.Clone(headerMagic[:]), byte(entries>>24), byte(entries>>16), byte(entries>>8), byte(entries), byte(store>>24), byte(store>>16), byte(store>>8), byte(store))
		raw, err := hex.DecodeString(strings.ReplaceAll(index, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return append(append(b, raw...), tail...)
	}
	const region = "0000003f 00000007 00000000 00000010 "
	store := "\x00\x00\x00\x3f\x00\x00\x00\x07\xff\xff\xff\xe0\x00\x00\x00\x10" // of a region with two entries
	for want, b := range map[string][]byte{
		"magic number":                                []byte("0123456789abcdef"),
		"with 0 entries":                              head(0, 0, "", ""),
		"with 65536 entries":                          head(65536, 0, "", ""),
		"with 4294967295 bytes":                       head(1, 0xffffffff, "", ""),
		"unexpected EOF":                              head(1, 0x0fffffff, region, "short"),
		"does not begin with":                         head(1, 16, "000003e8 00000007 00000000 00000010", store),
		"outside of the header":                       head(2, 16, region+"000003e8 00000004 00000000 00000005", store),
		"trailer of region 63 outside":                head(2, 16, "0000003f 00000007 00000001 00000010 000003e8 00000004 00000000 00000001", store),
		"not that of its header":                      head(1, 16, region, store),
		"of type 10":                                  head(2, 16, region+"000003e8 0000000a 00000000 00000001", store),
		"of type 0":                                   head(2, 16, region+"000003e8 00000000 00000000 00000001", store),
		"tag 1001 outside":                            head(2, 16, region+"000003e9 00000006 00000011 00000001", store),
		"tag 1002 inside of":                          head(2, 16, region+"000003ea 00000006 ffffffff 00000001", store),
		"tag 1003 outside":                            head(2, 16, region+"000003eb 00000004 00000000 7fffffff", store),
		"tag 1004 outside":                            head(2, 16, region+"000003ec 00000008 00000000 ffffffff", store),
		"tag 1005 unaligned":                          head(2, 16, region+"000003ed 00000004 00000001 00000001", store),
		"has the value of tag 1002 inside of another": head(2, 16, region+"000003ea 00000006 fffffff0 00000001", store),
		"with 2 texts for one":                        head(2, 16, region+"000003ee 00000006 00000000 00000002", store),
		"a text without an end":                       head(2, 17, region+"000003ef 00000006 00000010 00000001", store+"x"),
		"where none of its kind may be":               head(2, 16, region+"0000003f 00000007 00000000 00000010", store),
	} {
		if _, _, err := readHeader(bytes.NewReader(b), regionImmutable); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestHostilePackages changes one thing in the header of a good package, with all
// digests of the header right again.
func TestHostilePackages(t *testing.T) {
	good := small(t)[RPM]
	info, err := Read(t.Context(), "x", bytes.NewReader(good), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	strs := func(tg tag, list ...string) func(header) { return func(h header) { h.setStrings(tg, list) } }
	for name, c := range map[string]struct {
		change func(h header)
		want   string
	}{
		"nothing":      {func(header) {}, ""},
		"name":         {func(h header) { h.setString(tagName, "a/b") }, `has the name "a/b"`},
		"version":      {func(h header) { h.setString(tagVersion, "1-2") }, `version "1:1-2-1"`},
		"epoch":        {func(h header) { h.setInts(tagEpoch, 1<<31) }, `epoch 2147483648`},
		"format":       {func(h header) { h.setString(tagPayloadFormat, "ustar") }, `format "ustar"`},
		"compressor":   {func(h header) { h.setString(tagPayloadCompressor, "zstd") }, `is damaged`},
		"unknown":      {func(h header) { h.setString(tagPayloadCompressor, "rot13") }, `"rot13", which is not read`},
		"number":       {func(h header) { h.setString(tagEpoch, "1") }, `tag 1003 of type 6`},
		"text":         {func(h header) { h.setInts(tagName, 1) }, `tag 1000 of type 4`},
		"columns":      {strs(tagFileLinks, "a"), `has 6 of one thing, and 1 values of tag 1036`},
		"no dirs":      {func(h header) { delete(h, tagDirNames) }, `in directory 0 of 0`},
		"dir index":    {func(h header) { h.setInts(tagDirIndexes, 0, 9, 0, 0, 0, 0) }, `in directory 9 of 5`},
		"relative dir": {strs(tagDirNames, "etc/", "/etc/shop/", "/opt/", "/opt/shop/"), `directory name "etc/"`},
		"climbing dir": {strs(tagDirNames, "/etc/../", "/etc/shop/", "/opt/", "/opt/shop/"), `directory name "/etc/../"`},
		"base name":    {strs(tagBaseNames, "shop", "../x", "shop", "bin", "run", "shop"), `"/etc/shop/../x"`},
		"dots":         {strs(tagBaseNames, "shop", "..", "shop", "bin", "run", "shop"), `"/etc/shop/.."`},
		"twice":        {strs(tagBaseNames, "shop", "shop.conf", "shop", "shop", "run", "shop"), ``},
		"digest":       {strs(tagFileDigests, "", strings.Repeat("0", 64), "", "", "", strings.Repeat("0", 64)), `"/etc/shop/shop.conf": has the digest`},
		"short digest": {strs(tagFileDigests, "", "00", "", "", "", "00"), `has the digest "00"`},
		"md5":          {func(h header) { h.setInts(tagFileDigestAlgo, 1) }, `weaker than SHA-256`},
		"no algorithm": {func(h header) { delete(h, tagFileDigestAlgo) }, `algorithm 0`},
		"size":         {func(h header) { h.setInts(tagFileSizes, 0, 13, 0, 0, 4, 20) }, `has 12 bytes in the payload, and 13`},
		"link":         {strs(tagFileLinks, "", "", "", "", "/etc", ""), `"/opt/shop/bin/run": is a link to "shop" in the payload`},
		"type": {func(h header) {
			h.setShorts(tagFileModes, []uint16{0o100755, 0o100640, 0o40755, 0o40755, 0o120777, 0o100755})
		}, `"/etc/shop"`},
		"old names":    {strs(tagOldFileNames, "/etc"), `before rpm 4`},
		"payload":      {strs(tagPayloadDigest, strings.Repeat("0", 64)), `and its header says`},
		"payload algo": {func(h header) { h.setInts(tagPayloadDigestAlgo, 1) }, `digest of its payload by algorithm 1`},
		"relations":    {strs(tagRequireVersions, "1"), `1 values of tag 1050`},
		"relation name": {func(h header) {
			e := h[tagProvides]
			e.data = bytes.Replace(e.data, []byte("webshop"), []byte("web\x1bhop"), 1)
			h[tagProvides] = e
		}, `has the relation`},
		"control": {strs(tagFileOwners, "root", "ro\x1bt", "root", "root", "root", "root"), `owner "ro\x1bt"`},
	} {
		h, _, err := readHeader(bytes.NewReader(good[info.HeaderStart:]), regionImmutable)
		if err != nil {
			t.Fatal(err)
		}
		c.change(h)
		body := h.bytes(regionImmutable)
		sig := header{}
		sig.setInts(sigSize, uint32(int64(len(good))-info.HeaderEnd+int64(len(body))))
		raw := sig.bytes(regionSignatures)
		b := slices.Concat(good[:leadSize], raw, make([]byte, (8-len(raw)%8)%8), body, good[info.HeaderEnd:])
		_, err = Read(t.Context(), "x.rpm", bytes.NewReader(b), Limits{})
		switch {
		case name == "nothing":
			if err != nil {
				t.Error(err)
			}
		case err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "x.rpm: "):
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// TestHostileDebs has debs that others would read.
func TestHostileDebs(t *testing.T) {
	good := small(t)[Deb]
	members, err := splitAr(good)
	if err != nil {
		t.Fatal(err)
	}
	pack := func(list ...string) []byte {
		b := []byte(arMagic)
		for i := 0; i < len(list); i += 2 {
			content := list[i+1]
			if m, ok := members[list[i+1]]; ok {
				content = string(m)
			}
			b = append(append(b, arMember(list[i], 0, int64(len(content)))...), content...)
			if len(content)%2 == 1 {
				b = append(b, '\n')
			}
		}
		return b
	}
	const c, d, v = "control.tar.gz", "data.tar.gz", "debian-binary"
	for want, b := range map[string][]byte{
		"":                          pack(v, v, c, c, d, d),
		" ":                         pack(v, v, c, c, d, d, "_gpgorigin", "sig"),
		"its first member is":       pack(c, c, v, v, d, d),
		"not a deb of version 2":    pack(v, "3.0\n", c, c, d, d),
		"where control.tar comes":   pack(v, v, d, d, c, c),
		"where data.tar comes":      pack(v, v, c, c, c, c, d, d),
		"a member \"x\" behind":     pack(v, v, c, c, d, d, "x", ""),
		"is cut":                    pack(v, v, c, c),
		"is compressed by \".lz4\"": pack(v, v, c, c, "data.tar.lz4", d),
		"is damaged":                pack(v, v, c, c, "data.tar.xz", d),
		"has a member of size":      []byte(arMagic + "debian-binary   0           0     0     100644  -4        `\n2.0\n"),
		"end of its header":         []byte(arMagic + strings.Repeat("x", 60)),
	} {
		_, err := Read(t.Context(), "x.deb", bytes.NewReader(b), Limits{})
		if strings.TrimSpace(want) == "" {
			if err != nil {
				t.Error(err)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for want, control := range map[string]string{
		"field Package twice":     "Package: ab\nPackage: ab\n",
		"begins with white space": " Package: ab\n",
		"in its control file":     "Package\n",
		"has the name":            "Package: Ab\n",
		"has the architecture":    "Package: ab\nVersion: 1\n",
		"has the version":         "Package: ab\nArchitecture: all\nVersion: a b\n",
		"installed size":          "Package: ab\nArchitecture: all\nVersion: 1\nInstalled-Size: -1\n",
		"has the field Depends":   "Package: ab\nArchitecture: all\nVersion: 1\nDepends: a (1)\n",
		"control characters":      "Package: ab\x1b\n",
	} {
		if err := (&Info{}).fillDeb(map[string][]byte{"control": []byte(control)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestHeaderOfNothing has 30 million empty texts, which would be half a gigabyte in
// memory, and as many numbers.
func TestHeaderOfNothing(t *testing.T) {
	good := small(t)[RPM]
	const many = 30_000_000
	for _, kind := range []int{typeStrings, typeInt8} {
		for _, tg := range []tag{tagName, tagEpoch, tagRequires, tagRequireFlags, tagBaseNames, tagDirNames, tagFileSizes, tagFileDigestAlgo} {
			info, err := Read(t.Context(), "x", bytes.NewReader(good), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			h, _, err := readHeader(bytes.NewReader(info.header), regionImmutable)
			if err != nil {
				t.Fatal(err)
			}
			h[tg] = entry{kind, many, make([]byte, many)}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			info = &Info{}
			errFill := info.fill(h, header{})
			_, errFiles := info.files(h, Limits{}.withDefaults())
			runtime.ReadMemStats(&after)
			if errFill == nil && errFiles == nil && tg != tagEpoch && tg != tagFileDigestAlgo {
				t.Errorf("tag %d of type %d is accepted", tg, kind)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
				t.Errorf("tag %d of type %d took %d bytes", tg, kind, used)
			}
		}
	}
}

// TestLongNames has one directory with a long name in front of many files.
func TestLongNames(t *testing.T) {
	const n = 40_000
	h := header{}
	h.setStrings(tagDirNames, []string{strings.Repeat("/aaaaaaa", 500) + "/"})
	names, sizes := make([]string, n), make([]uint32, n)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	h.setStrings(tagBaseNames, names)
	for _, tg := range []tag{tagDirIndexes, tagFileSizes, tagFileModes, tagFileFlags, tagFileDevices, tagFileInodes} {
		h.setInts(tg, sizes...)
	}
	for _, tg := range []tag{tagFileOwners, tagFileGroups, tagFileLinks, tagFileDigests} {
		h.setStrings(tg, make([]string, n))
	}
	if _, err := (&Info{}).files(h, Limits{}.withDefaults()); err == nil || !strings.Contains(err.Error(), "names of files with more than 67108864 bytes") {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	for f, b := range small(t) {
		for want, l := range map[string]Limits{"files": {Files: 2}, "limit of bytes": {Content: 30}} {
			if _, err := Read(t.Context(), "x", bytes.NewReader(b), l); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", f, err, want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Read(ctx, "x", bytes.NewReader(b), Limits{}); err == nil || !strings.Contains(err.Error(), "canceled") {
			t.Error(err)
		}
		info, err := Read(t.Context(), "x", bytes.NewReader(b), Limits{HeadOnly: true})
		if err != nil || info.Size != int64(len(b)) {
			t.Errorf("%s: %v %v", f, info, err)
		}
	}
}

// FuzzRead reads whatever it is given. Digests of the header are left out of the seeds,
// so that changes come past them.
func FuzzRead(f *testing.F) {
	for _, b := range small(f) {
		f.Add(b)
	}
	f.Add(must(os.ReadFile(rpmbuild(f, "w.ufdio"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, l := range []Limits{{Files: 1000, Content: 8 << 20, Control: 1 << 20}, {Files: 1000, HeadOnly: true}} {
			info, err := Read(t.Context(), "x", bytes.NewReader(b), l)
			if err != nil {
				if _, ok := err.(*FormatError); !ok {
					t.Errorf("%T: %v", err, err)
				}
				continue
			}
			if info.Format == RPM {
				info.primary()
				info.filelists()
				info.other()
			} else {
				info.stanza()
			}
		}
	})
}

// FuzzHeader reads a header, writes what it read, and reads that.
func FuzzHeader(f *testing.F) {
	b := small(f)[RPM]
	f.Add(b[leadSize:])
	h := header{}
	h.setString(tagName, "a")
	h.setInts(tagSize, 1, 2)
	h.setShorts(tagFileModes, []uint16{1})
	f.Add(h.bytes(regionSignatures))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, _, err := readHeader(bytes.NewReader(b), regionSignatures)
		if err != nil {
			return
		}
		again, _, err := readHeader(bytes.NewReader(h.bytes(regionSignatures)), regionSignatures)
		if err != nil || len(again) != len(h) {
			t.Fatalf("%d of %d entries, %v", len(again), len(h), err)
		}
		for tg, e := range h {
			if o := again[tg]; o.kind != e.kind || o.count != e.count || !bytes.Equal(o.data, e.data) {
				t.Errorf("tag %d is %v, was %v", tg, o, e)
			}
			h.texts(tg)
			h.ints(tg)
		}
	})
}
