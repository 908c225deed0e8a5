package safearchive

import (
	"encoding/binary"
	"io"
)

// zstdFrames passes a zstd stream on and walks its frames (RFC 8878, 3.1) on
// the way. It refuses what the decoder would take: bytes behind the last
// frame, also when there are fewer than four of them. It refuses dictionaries
// and large windows before the decoder sees them.
//
// The walk is a sequence of fields: field bytes are collected, then step
// looks at them and says what comes next.
type zstdFrames struct {
	r   io.Reader
	in  *input
	lim *Limits

	step  func(*zstdFrames, []byte) error // takes the field; nil means magic
	field [14]byte                        // window, dictionary and content size together at most
	have  int
	need  int
	skip  uint64 // bytes of a block or of a skippable frame to pass over

	checksum bool // the frame ends with one
	single   bool // the window is the content size
	dict     int  // bytes of the dictionary id
	fcs      int  // bytes of the content size
}

func (z *zstdFrames) Read(p []byte) (int, error) {
	n, err := z.r.Read(p)
	if fail := z.scan(p[:n]); fail != nil {
		return 0, z.in.fail(fail)
	}
	if err == io.EOF && z.inFrame() {
		return n, z.in.fail(refuse("", "ends inside a zstd frame, or has bytes behind the last one"))
	}
	return n, err
}

// inFrame reports whether the stream may not end here.
func (z *zstdFrames) inFrame() bool { return z.step != nil || z.have > 0 || z.skip > 0 }

func (z *zstdFrames) scan(b []byte) error {
	for len(b) > 0 {
		if z.skip > 0 {
			n := min(z.skip, uint64(len(b)))
			z.skip -= n
			b = b[n:]
			continue
		}
		if z.step == nil {
			z.need = 4
		}
		n := copy(z.field[z.have:z.need], b)
		z.have += n
		b = b[n:]
		if z.have < z.need {
			return nil
		}
		z.have = 0
		step := z.step
		if step == nil {
			step = (*zstdFrames).magic
		}
		if err := step(z, z.field[:z.need]); err != nil {
			return err
		}
	}
	return nil
}

// next makes the following n bytes a field for step; a nil step is the magic
// number of the next frame.
func (z *zstdFrames) next(n int, step func(*zstdFrames, []byte) error) { z.need, z.step = n, step }

func (z *zstdFrames) magic(b []byte) error {
	switch {
	case isSkippable(b):
		z.next(4, func(z *zstdFrames, b []byte) error {
			z.skip = uint64(binary.LittleEndian.Uint32(b))
			z.next(0, nil)
			return nil
		})
	case binary.LittleEndian.Uint32(b) == 0xfd2fb528:
		z.next(1, (*zstdFrames).descriptor)
	default:
		return refuse("", "has bytes behind the last zstd frame")
	}
	return nil
}

// descriptor reads the Frame_Header_Descriptor, which says how long the rest
// of the header is.
func (z *zstdFrames) descriptor(b []byte) error {
	d := b[0]
	z.checksum, z.single = d&4 != 0, d&0x20 != 0
	z.dict = []int{0, 1, 2, 4}[d&3]
	z.fcs = []int{0, 2, 4, 8}[d>>6]
	if z.single && z.fcs == 0 {
		z.fcs = 1
	}
	n := z.dict + z.fcs
	if !z.single {
		n++
	}
	z.next(n, (*zstdFrames).header)
	return nil
}

func (z *zstdFrames) header(b []byte) error {
	var window uint64
	if !z.single {
		base := uint64(1) << (10 + b[0]>>3)
		window = base + base/8*uint64(b[0]&7)
		b = b[1:]
	}
	if id := b[:z.dict]; littleEndian(id) != 0 {
		return refuse("", "needs the zstd dictionary %d", littleEndian(id))
	}
	if z.single {
		window = littleEndian(b[z.dict:])
	}
	if window > uint64(z.lim.Window) {
		return over("", LimitWindow, z.lim.Window)
	}
	z.next(3, (*zstdFrames).block)
	return nil
}

func (z *zstdFrames) block(b []byte) error {
	h := littleEndian(b)
	z.skip = h >> 3
	if h>>1&3 == 1 { // RLE: one byte stands for all
		z.skip = 1
	}
	switch last := h&1 != 0; {
	case !last:
		z.next(3, (*zstdFrames).block)
	case z.checksum:
		// The decoder compares it.
		z.next(4, func(z *zstdFrames, _ []byte) error { z.next(0, nil); return nil })
	default:
		z.next(0, nil)
	}
	return nil
}

func littleEndian(b []byte) uint64 {
	var v uint64
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	return v
}
