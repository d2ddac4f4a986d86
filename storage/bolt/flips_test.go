package bolt

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// fieldsOfMeta are the lengths, in bytes, of what a meta page begins with: number, flags,
// count and overflow of the page, and then what metaLen lists.
var fieldsOfMeta = []int{8, 2, 2, 4, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8}

// flipped returns which bits a test flips of what has fields of these lengths, in order:
// the first and the last bit of each field, and of each of -flips parts of equal length
// one that is drawn. With as many parts as there are bits these are all of them.
func flipped(r *rand.Rand, fields []int) []int {
	bits, chosen := 0, make(map[int]bool)
	for _, length := range fields {
		chosen[bits] = true
		bits += 8 * length
		chosen[bits-1] = true
	}
	parts := min(*flips, bits)
	for part := range parts {
		from, to := part*bits/parts, (part+1)*bits/parts
		chosen[from+r.IntN(to-from)] = true
	}
	return slices.Sorted(maps.Keys(chosen))
}

// TestFlipped: a sample has both ends of every field and as many bits as it should, and
// enough parts are all bits.
func TestFlipped(t *testing.T) {
	defer func(n int) { *flips = n }(*flips)
	for _, row := range []struct{ parts, least, most int }{
		{0, 28, 28}, {1, 28, 29}, {80, 80, 108}, {639, 639, 640}, {640, 640, 640}, {641, 640, 640},
	} {
		*flips = row.parts
		got := flipped(chance(drawn(t), row.parts), fieldsOfMeta)
		if len(got) < row.least || len(got) > row.most || !slices.IsSorted(got) {
			t.Errorf("%d parts: %d bits, %v; want %d to %d", row.parts, len(got), got, row.least, row.most)
		}
		for _, end := range []int{0, 63, 64, 8*pageHeader - 1, 8 * pageHeader, 8*(pageHeader+metaChecksum) - 1, 8*(pageHeader+metaLen) - 1} {
			if !slices.Contains(got, end) {
				t.Errorf("%d parts: bit %d, the end of a field, is not among them", row.parts, end)
			}
		}
	}
}
