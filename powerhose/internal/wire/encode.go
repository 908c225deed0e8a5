package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// Append writes the head behind dst and returns the longer slice. What it
// writes [Decode] reads: for a head that cannot be, the error is that of
// Decode, and dst is returned as it was.
func (h *Head) Append(dst []byte) ([]byte, error) {
	if h.Type == 0 || h.Type >= numTypes {
		return dst, &DecodeError{BadType, 0, 3}
	}
	start := len(dst)
	be := binary.BigEndian
	b := append(dst, 'P', 'H', Version, byte(h.Type))
	b = be.AppendUint64(b, h.Number)
	switch h.Type {
	case Hello:
		b = be.AppendUint32(b, h.PID)
		b = append(b, h.Incarnation[:]...)
		b = append(b, h.Lowest, h.Highest, h.Window)
		b = appendBytes(b, tagName, h.Name)
		b = appendBytes(b, tagSocket, h.Socket)
		b = append(b, h.Kinds...)
		b = appendBytes(b, tagLanguage, h.Language)
		b = appendBytes(b, tagLibrary, h.Library)
		b = appendBytes(b, tagHeld, h.Held)
	case Welcome:
		b = append(b, h.Version, h.Window, h.Tries)
		b = be.AppendUint32(b, h.Period)
		b = be.AppendUint64(b, h.MaxBody)
		b = append(b, h.Incarnation[:]...)
	case Refused, Drain, Bye:
		b = be.AppendUint16(b, uint16(h.Code))
		b = appendBytes(b, tagText, h.Text)
	case Pong:
		b = be.AppendUint32(b, h.Run)
		b = appendBytes(b, tagHeld, h.Held)
	case Job:
		b = be.AppendUint32(b, h.Left)
		b = append(b, h.Attempt, h.Flags)
		b = appendBytes(b, tagKind, h.Kind)
	case Result:
		b = be.AppendUint32(b, h.Run)
	case Error:
		b = be.AppendUint16(b, uint16(h.Code))
		b = be.AppendUint32(b, h.Run)
		b = appendBytes(b, tagText, h.Text)
	case Call:
		b = be.AppendUint32(b, h.Left)
		b = be.AppendUint32(b, h.BusyWait)
		b = append(b, h.Flags)
		b = appendBytes(b, tagKind, h.Kind)
	case Reply:
		b = be.AppendUint16(b, uint16(h.Code))
		b = append(b, h.Attempt)
		b = be.AppendUint32(b, h.PID)
		b = be.AppendUint32(b, h.Wait)
		b = be.AppendUint32(b, h.Run)
		b = appendBytes(b, tagName, h.Name)
		b = appendBytes(b, tagText, h.Text)
	}
	var back Head
	if err := Decode(b[start:], &back); err != nil {
		return dst, err
	}
	return b, nil
}

// appendBytes writes an option, unless it is empty.
func appendBytes(b []byte, tag uint8, value []byte) []byte {
	if len(value) == 0 {
		return b
	}
	return appendOption(b, tag, value, len(value))
}

// appendOption writes an option of n bytes, of which value are there already.
// A length that does not fit is written as one that no reader accepts.
func appendOption(b []byte, tag uint8, value []byte, n int) []byte {
	b = append(b, tag)
	b = binary.BigEndian.AppendUint16(b, uint16(min(n, MaxHead+1)))
	return append(b, value...)
}

// CutText makes a text as short as an option may be, without half a character
// at its end, and without bytes that are no text.
func CutText(s string) string {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	if len(s) <= MaxText {
		return s
	}
	n := MaxText
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
