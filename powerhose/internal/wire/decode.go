package wire

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// A Fault is a way in which bytes are no head. Its name is that of the
// vectors.
type Fault uint8

// The faults, in the order in which they are looked for.
const (
	TooLong    Fault = 1 + iota // more than MaxHead bytes
	TooShort                    // an end before that of the fixed part or of an option
	BadMagic                    // does not start with PH
	BadHeadVer                  // a version that this is not
	BadType                     // a type that version 1 does not have
	BadNumber                   // 0 where there must be one, or the reverse
	BadValue                    // a field that is out of its range
	BadTag                      // an unknown option that must be known
	BadOrder                    // an option twice, or after one with a higher tag
	BadLength                   // an option that is longer or shorter than it may be
	BadOption                   // an option with a value that it cannot have
	Missing                     // an option that must be there
	numFaults
)

var faults = [numFaults]struct{ name, text string }{
	TooLong:    {"too-long", "is longer than 1024 bytes"},
	TooShort:   {"too-short", "ends too early"},
	BadMagic:   {"magic", "does not start with PH"},
	BadHeadVer: {"version", "is of a version other than 1"},
	BadType:    {"type", "is of a type that version 1 does not have"},
	BadNumber:  {"number", "has a number that its type cannot have"},
	BadValue:   {"value", "has a field that is out of range"},
	BadTag:     {"tag", "has an option that is unknown and must not be ignored"},
	BadOrder:   {"order", "has options that do not rise"},
	BadLength:  {"length", "has an option of a wrong length"},
	BadOption:  {"option", "has an option with a value that it cannot have"},
	Missing:    {"missing", "misses an option"},
}

// String gives the short name that the vectors use.
func (f Fault) String() string { return faults[f].name }

// A DecodeError says what is wrong with a head, and where.
type DecodeError struct {
	Fault  Fault
	Type   Type // 0 if it was not reached
	Offset int  // of the byte at which it was seen
}

// Error is one sentence.
func (e *DecodeError) Error() string {
	if e.Type == 0 {
		return fmt.Sprintf("head %s (byte %d)", faults[e.Fault].text, e.Offset)
	}
	return fmt.Sprintf("%s head %s (byte %d)", e.Type, faults[e.Fault].text, e.Offset)
}

// limits has the shortest and the longest value of each option.
var limits = [numTags]struct{ min, max int }{
	tagName:     {1, MaxName},
	tagSocket:   {1, MaxSocket},
	tagKind:     {1, MaxKind},
	tagLanguage: {1, MaxLanguage},
	tagLibrary:  {1, MaxLibrary},
	tagText:     {1, MaxText},
	tagHeld:     {8, 8 * MaxWindow},
}

// Decode reads a head. The error is a *[DecodeError], and then h is not to be
// used; otherwise h refers to b.
func Decode(b []byte, h *Head) error {
	*h = Head{}
	switch {
	case len(b) > MaxHead:
		return &DecodeError{TooLong, 0, MaxHead}
	case len(b) < headSize:
		return &DecodeError{TooShort, 0, len(b)}
	case b[0] != 'P' || b[1] != 'H':
		return &DecodeError{BadMagic, 0, 0}
	case b[2] != Version:
		return &DecodeError{BadHeadVer, 0, 2}
	case b[3] == 0 || Type(b[3]) >= numTypes:
		return &DecodeError{BadType, 0, 3}
	}
	h.Type, h.Number = Type(b[3]), binary.BigEndian.Uint64(b[4:])
	s := &shapes[h.Type]
	if s.number == none && h.Number != 0 || s.number == some && h.Number == 0 {
		return &DecodeError{BadNumber, h.Type, 4}
	}
	if len(b) < headSize+s.fixed {
		return &DecodeError{TooShort, h.Type, len(b)}
	}
	if at := h.fixed(b); at != 0 {
		return &DecodeError{BadValue, h.Type, at}
	}
	if err := h.options(b, headSize+s.fixed, s.tags); err != nil {
		return err
	}
	if h.Type == Hello && h.Window > 0 && (h.Name == nil || h.Socket == nil) {
		return &DecodeError{Missing, h.Type, len(b)}
	}
	return nil
}

// fixed reads the fixed part. It returns the offset of a field that is out of
// range, or 0.
func (h *Head) fixed(b []byte) int {
	be := binary.BigEndian
	switch h.Type {
	case Hello:
		h.PID = be.Uint32(b[12:])
		copy(h.Incarnation[:], b[16:])
		h.Lowest, h.Highest, h.Window = b[32], b[33], b[34]
		switch {
		case h.Incarnation == [16]byte{}:
			return 16
		case h.Lowest == 0 || h.Lowest > h.Highest:
			return 32
		case h.Window > MaxWindow:
			return 34
		}
	case Welcome:
		h.Version, h.Window, h.Tries = b[12], b[13], b[14]
		h.Period, h.MaxBody = be.Uint32(b[15:]), be.Uint64(b[19:])
		copy(h.Incarnation[:], b[27:])
		switch {
		case h.Version == 0:
			return 12
		case h.Window > MaxWindow:
			return 13
		case h.Tries == 0:
			return 14
		case h.Period == 0:
			return 15
		case h.Incarnation == [16]byte{}:
			return 27
		}
	case Refused, Drain, Bye:
		h.Code = Code(be.Uint16(b[12:]))
		if h.Code == OK {
			return 12
		}
	case Pong:
		h.Run = be.Uint32(b[12:])
	case Job:
		h.Left, h.Attempt, h.Flags = be.Uint32(b[12:]), b[16], b[17]
		switch {
		case h.Attempt == 0:
			return 16
		case h.Flags&^(FlagRepeatable|FlagProgress) != 0:
			return 17
		}
	case Result:
		h.Run = be.Uint32(b[12:])
	case Error:
		h.Code, h.Run = Code(be.Uint16(b[12:])), be.Uint32(b[14:])
		if h.Code == OK {
			return 12
		}
	case Call:
		h.Left, h.BusyWait, h.Flags = be.Uint32(b[12:]), be.Uint32(b[16:]), b[20]
		if h.Flags&^(FlagRepeatable|FlagProgress|FlagUrgent) != 0 {
			return 20
		}
	case Reply:
		h.Code, h.Attempt, h.PID = Code(be.Uint16(b[12:])), b[14], be.Uint32(b[15:])
		h.Wait, h.Run = be.Uint32(b[19:]), be.Uint32(b[23:])
	}
	return 0
}

// options reads what follows the fixed part, from offset at.
func (h *Head) options(b []byte, at int, tags uint8) error {
	last, kinds, first := -1, 0, 0
	for at < len(b) {
		if len(b)-at < optionHead {
			return &DecodeError{TooShort, h.Type, len(b)}
		}
		tag, n := b[at], int(binary.BigEndian.Uint16(b[at+1:]))
		end := at + optionHead + n
		known := tag < numTags && tags&(1<<tag) != 0
		several := tag == tagKind && h.Type == Hello
		switch {
		case end > len(b):
			return &DecodeError{TooShort, h.Type, len(b)}
		case tag >= tagCritical:
			return &DecodeError{BadTag, h.Type, at}
		case int(tag) < last || int(tag) == last && !several:
			return &DecodeError{BadOrder, h.Type, at}
		case known && (n < limits[tag].min || n > limits[tag].max):
			return &DecodeError{BadLength, h.Type, at + 1}
		}
		last = int(tag)
		if known {
			value := b[at+optionHead : end : end]
			if !valid(tag, value) {
				return &DecodeError{BadOption, h.Type, at + optionHead}
			}
			switch tag {
			case tagName:
				h.Name = value
			case tagSocket:
				h.Socket = value
			case tagLanguage:
				h.Language = value
			case tagLibrary:
				h.Library = value
			case tagText:
				h.Text = value
			case tagHeld:
				h.Held = value
			case tagKind:
				if !several {
					h.Kind = value
					break
				}
				if kinds++; kinds > MaxKinds {
					return &DecodeError{BadLength, h.Type, at}
				}
				if kinds == 1 {
					first = at
				}
				h.Kinds = b[first:end:end] // they stand together
			}
		}
		at = end
	}
	return nil
}

// valid reports whether an option may have this value, its length aside.
func valid(tag uint8, value []byte) bool {
	switch tag {
	case tagSocket:
		for _, c := range value {
			if c == 0 {
				return false
			}
		}
		return true
	case tagText:
		return utf8.Valid(value)
	case tagHeld:
		for i := range Numbers(value).Len() {
			if Numbers(value).At(i) == 0 {
				return false
			}
		}
		return len(value)%8 == 0
	default:
		return word(value)
	}
}

// word reports whether a name has only characters that need no quoting
// anywhere: letters, digits and . _ + -
func word(b []byte) bool {
	for _, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '+' || c == '-') {
			return false
		}
	}
	return true
}
