// Package base62 writes groups of 8 bytes as 11 digits of 0-9A-Za-z and reads them back. Each group
// has exactly one spelling: digits that stand for more than 2^64-1 are refused, so that no two
// texts decode to the same bytes.
package base62

import (
	"encoding/binary"
	"math/bits"
)

const (
	// Group is the number of digits that one 8-byte group takes.
	Group = 11

	alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	bad      = 1 << 28 // more than every sum of digits; the sum of four does not overflow
)

// worth holds the value of each byte as a digit in the k-th place from the right, or bad. Four
// digits are read by adding four numbers.
var worth = func() (t [4][256]uint32) {
	for k := range t {
		for i := range t[k] {
			t[k][i] = bad
		}
	}
	for v := range len(alphabet) {
		n := uint32(v)
		for k := range t {
			t[k][alphabet[v]] = n
			n *= 62
		}
	}
	return t
}()

// Append appends src to dst, 11 digits for each group of 8 bytes, leading zeros included. It
// ignores bytes behind the last whole group.
func Append(dst, src []byte) []byte {
	for ; len(src) >= 8; src = src[8:] {
		v := binary.BigEndian.Uint64(src)
		head, tail := v/(62*62*62*62*62*62*62*62), v%(62*62*62*62*62*62*62*62)
		dst = append(dst, "00000000000"...)
		to := (*[Group]byte)(dst[len(dst)-Group:])
		to[0] = alphabet[head/(62*62)%62]
		two((*[2]byte)(to[1:]), uint32(head)%(62*62))
		four((*[4]byte)(to[3:]), uint32(tail/(62*62*62*62)))
		four((*[4]byte)(to[7:]), uint32(tail%(62*62*62*62)))
	}
	return dst
}

// Append32 appends v as six digits, leading zeros included.
func Append32(dst []byte, v uint32) []byte {
	dst = append(dst, "000000"...)
	to := (*[6]byte)(dst[len(dst)-6:])
	two((*[2]byte)(to[:]), v/(62*62*62*62))
	four((*[4]byte)(to[2:]), v%(62*62*62*62))
	return dst
}

// four fills to with the digits of v, which is below 62^4. The two halves do not depend on each
// other, so that the processor computes them at the same time.
func four(to *[4]byte, v uint32) {
	two((*[2]byte)(to[:]), v/(62*62))
	two((*[2]byte)(to[2:]), v%(62*62))
}

// two fills to with the digits of v, which is below 62^2.
func two(to *[2]byte, v uint32) { to[0], to[1] = alphabet[v/62%62], alphabet[v%62] }

// IsDigit reports whether c is a digit.
func IsDigit(c byte) bool { return worth[0][c] < bad }

// Decode fills dst, whole groups of 8 bytes, from as many groups of 11 digits at the start of src.
// It returns false if src is too short, contains a byte outside the alphabet, or has a group above
// 2^64-1. Then the content of dst is undefined.
func Decode(dst []byte, src string) bool {
	t := &worth
	for ; len(dst) >= 8; dst, src = dst[8:], src[Group:] {
		if len(src) < Group {
			return false
		}
		head := t[2][src[0]] + t[1][src[1]] + t[0][src[2]]
		mid := t[3][src[3]] + t[2][src[4]] + t[1][src[5]] + t[0][src[6]]
		tail := t[3][src[7]] + t[2][src[8]] + t[1][src[9]] + t[0][src[10]]

		high, low := bits.Mul64(uint64(head), 62*62*62*62*62*62*62*62)
		low, carry := bits.Add64(low, uint64(mid)*(62*62*62*62)+uint64(tail), 0)
		if head|mid|tail >= bad || high+carry != 0 {
			return false
		}
		binary.BigEndian.PutUint64(dst, low)
	}
	return true
}

// Decode32 returns the value of the first six bytes of src. It returns false if src is too short,
// contains a byte outside the alphabet, or stands for more than 2^32-1.
func Decode32(src string) (v uint32, ok bool) {
	if len(src) < 6 {
		return 0, false
	}
	t := &worth
	head := t[1][src[0]] + t[0][src[1]]
	tail := t[3][src[2]] + t[2][src[3]] + t[1][src[4]] + t[0][src[5]]
	n := uint64(head)*(62*62*62*62) + uint64(tail)
	return uint32(n), head|tail < bad && n>>32 == 0
}
