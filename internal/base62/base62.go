// Package base62 writes 8-byte groups as 11 digits of 0-9A-Za-z and reads them
// back. Every group has exactly one spelling: a group of digits above 2^64-1 is
// refused, so that no two texts decode to the same bytes.
package base62

import (
	"encoding/binary"
	"math/bits"
)

const (
	// Group is the number of digits that one 8-byte group takes.
	Group = 11

	alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	bad      = 0x80
)

// digits holds the value of each byte as a digit, or bad.
var digits = func() (t [256]uint8) {
	for i := range t {
		t[i] = bad
	}
	for v := range len(alphabet) {
		t[alphabet[v]] = uint8(v)
	}
	return t
}()

// Append appends src, whole groups of 8 bytes, to dst as 11 digits a group,
// leading zeros included.
func Append(dst, src []byte) []byte {
	for ; len(src) >= 8; src = src[8:] {
		dst = appendDigits(dst, binary.BigEndian.Uint64(src), Group)
	}
	return dst
}

// Append32 appends v as six digits, leading zeros included.
func Append32(dst []byte, v uint32) []byte { return appendDigits(dst, uint64(v), 6) }

func appendDigits(dst []byte, v uint64, n int) []byte {
	dst = append(dst, "00000000000"[:n]...)
	for i := len(dst) - 1; v > 0; i-- {
		dst[i] = alphabet[v%62]
		v /= 62
	}
	return dst
}

// Decode fills dst, whole groups of 8 bytes, from as many groups of digits at
// the start of src. It reports false for a src that is too short, a byte outside
// the alphabet and a group above 2^64-1; dst then means nothing.
func Decode(dst []byte, src string) bool {
	for ; len(dst) >= 8; dst, src = dst[8:], src[Group:] {
		if len(src) < Group {
			return false
		}
		a, b, c := digits[src[0]], digits[src[1]], digits[src[2]]
		d, e, f, g := digits[src[3]], digits[src[4]], digits[src[5]], digits[src[6]]
		h, i, j, k := digits[src[7]], digits[src[8]], digits[src[9]], digits[src[10]]
		wrong := (a | b | c | d) | (e | f | g | h) | (i | j | k)

		// Three short chains instead of one long one, so that they overlap.
		head := uint64((uint32(a)*62+uint32(b))*62 + uint32(c))
		mid := uint64(((uint32(d)*62+uint32(e))*62+uint32(f))*62 + uint32(g))
		tail := uint64(((uint32(h)*62+uint32(i))*62+uint32(j))*62 + uint32(k))

		high, low := bits.Mul64(head, 62*62*62*62*62*62*62*62)
		low, carry := bits.Add64(low, mid*(62*62*62*62)+tail, 0)
		if wrong >= bad || high+carry != 0 {
			return false
		}
		binary.BigEndian.PutUint64(dst, low)
	}
	return true
}

// Decode32 reads the first six bytes of src. It reports false for a src that is
// too short, a byte outside the alphabet and a value above 2^32-1.
func Decode32(src string) (v uint32, ok bool) {
	if len(src) < 6 {
		return 0, false
	}
	var n uint64
	var wrong uint8
	for i := range 6 {
		d := digits[src[i]]
		wrong |= d
		n = n*62 + uint64(d)
	}
	return uint32(n), wrong < bad && n>>32 == 0
}
