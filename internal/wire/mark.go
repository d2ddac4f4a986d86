package wire

import (
	"encoding/binary"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// MarkLen is the length of an encoded mark. A mark is, in big-endian order:
//
//	8      At
//	4      Epoch
//	3 × 8  Since, Quiet, Behind
//	4      CRC-32 (Castagnoli) of "mark" and everything before
//
// Instants are Unix milliseconds, also the zero Time, whose number is negative.
const MarkLen = 8 + 4 + 3*8 + SumLen

const markKey = "mark"

// EncodeMark returns the encoded m.
func EncodeMark(m storage.Mark) []byte {
	b := make([]byte, 0, MarkLen)
	b = binary.BigEndian.AppendUint64(b, uint64(m.At.UnixMilli()))
	b = binary.BigEndian.AppendUint32(b, m.Epoch)
	for _, t := range [3]time.Time{m.Since, m.Quiet, m.Behind} {
		b = binary.BigEndian.AppendUint64(b, uint64(t.UnixMilli()))
	}
	return binary.BigEndian.AppendUint32(b, Checksum([]byte(markKey), b))
}

// DecodeMark returns the mark that v encodes, and false if v is no encoded mark.
func DecodeMark(v []byte) (m storage.Mark, ok bool) {
	if len(v) != MarkLen || Checksum([]byte(markKey), v[:MarkLen-SumLen]) != binary.BigEndian.Uint32(v[MarkLen-SumLen:]) {
		return m, false
	}
	m.Epoch = binary.BigEndian.Uint32(v[8:])
	for at, t := range map[int]*time.Time{0: &m.At, 12: &m.Since, 20: &m.Quiet, 28: &m.Behind} {
		*t = Milli(v[at:])
	}
	return m, true
}

// Milli returns the instant that b begins with, in 8 bytes.
func Milli(b []byte) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC()
}
