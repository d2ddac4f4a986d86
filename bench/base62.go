package main

import "encoding/binary"

// The bare parts write and read 8 bytes as 11 digits of base62, as the text of a
// token does. This code is as fast as that of lapse, and independent of it.

const (
	digits   = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	noDigit  = 1 << 24 // more than any three digits are worth
	groupLen = 11
)

// digitTable holds the value of each byte as the last of three digits, as the second and as
// the first, and the text of every two digits.
type digitTable struct {
	worth [3][256]uint32
	pairs [62 * 62][2]byte
}

func newDigitTable() *digitTable {
	t := new(digitTable)
	for place := range t.worth {
		for b := range t.worth[place] {
			t.worth[place][b] = noDigit
		}
	}
	for v, b := range []byte(digits) {
		t.worth[0][b], t.worth[1][b], t.worth[2][b] = uint32(v), uint32(v*62), uint32(v*62*62)
	}
	for v := range t.pairs {
		t.pairs[v] = [2]byte{digits[v/62], digits[v%62]}
	}
	return t
}

// decode48 reads 66 digits. It reports false if a byte is no digit, and does not check
// whether a group is above 2^64-1.
func (t *digitTable) decode48(dst *[48]byte, src string) bool {
	w, bad := &t.worth, uint32(0)
	for i := range 6 {
		s := src[i*groupLen : i*groupLen+groupLen]
		a := w[1][s[0]] + w[0][s[1]]
		b := w[2][s[2]] + w[1][s[3]] + w[0][s[4]]
		c := w[2][s[5]] + w[1][s[6]] + w[0][s[7]]
		d := w[2][s[8]] + w[1][s[9]] + w[0][s[10]]
		bad |= a | b | c | d
		low := uint64(c)*(62*62*62) + uint64(d)
		high := uint64(a)*(62*62*62) + uint64(b)
		binary.BigEndian.PutUint64(dst[i*8:], high*(62*62*62*62*62*62)+low)
	}
	return bad < noDigit
}

// encode4 writes 6 digits.
func (t *digitTable) encode4(dst *[6]byte, v uint32) {
	for k := 4; k >= 0; k -= 2 {
		*(*[2]byte)(dst[k:]) = t.pairs[v%(62*62)]
		v /= 62 * 62
	}
}

// encode48 writes 66 digits.
func (t *digitTable) encode48(dst *[66]byte, src *[48]byte) {
	for i := range 6 {
		v := binary.BigEndian.Uint64(src[i*8:])
		high, low := v/(62*62*62*62*62*62), v%(62*62*62*62*62*62)
		d := dst[i*groupLen : i*groupLen+groupLen]
		d[0] = digits[high/(62*62*62*62)]
		for k := 3; k >= 1; k -= 2 {
			*(*[2]byte)(d[k:]) = t.pairs[high%(62*62)]
			high /= 62 * 62
		}
		for k := 9; k >= 5; k -= 2 {
			*(*[2]byte)(d[k:]) = t.pairs[low%(62*62)]
			low /= 62 * 62
		}
	}
}
