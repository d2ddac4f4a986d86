package base62

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// reference spells n with math/big, which has nothing in common with this
// package. It writes 0-9a-zA-Z where this alphabet is 0-9A-Za-z.
func reference(n *big.Int, width int) string {
	swapped := strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, n.Text(62))
	return strings.Repeat("0", width-len(swapped)) + swapped
}

func bigUint(v uint64) *big.Int { return new(big.Int).SetUint64(v) }

// values are the boundaries, then numbers of every magnitude from a fixed seed.
func values() []uint64 {
	vs := []uint64{0, 1, 61, 62, 62*62 - 1, 62 * 62, math.MaxUint32 - 1, math.MaxUint32, math.MaxUint32 + 1,
		math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64 - 1, math.MaxUint64}
	for n := uint64(1); n < math.MaxUint64/62; n *= 62 {
		vs = append(vs, n-1, n, n+1)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 5_000 {
		vs = append(vs, r.Uint64()>>r.UintN(64))
	}
	return vs
}

func TestAppendAgreesWithMathBig(t *testing.T) {
	for _, v := range values() {
		want := "kept" + reference(bigUint(v), Group)
		got := string(Append([]byte("kept"), binary.BigEndian.AppendUint64(nil, v)))
		if got != want {
			t.Errorf("Append(%d) = %q, want %q", v, got, want)
		}
	}
}

func TestAppendWritesGroupsInOrder(t *testing.T) {
	src := binary.BigEndian.AppendUint64(nil, 1)
	src = binary.BigEndian.AppendUint64(src, math.MaxUint64)
	src = append(src, "short"...) // less than a group is not written
	if diff := cmp.Diff("00000000001LygHa16AHYF", string(Append(nil, src))); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestDecodeReadsWhatMathBigWrites(t *testing.T) {
	for _, v := range values() {
		var dst [8]byte
		if text := reference(bigUint(v), Group); !Decode(dst[:], text) || binary.BigEndian.Uint64(dst[:]) != v {
			t.Errorf("Decode(%q) = %x, want %x", text, dst, v)
		}
	}
}

func TestDecodeBoundaries(t *testing.T) {
	over := new(big.Int).Lsh(big.NewInt(1), 64)
	last := new(big.Int).Exp(big.NewInt(62), big.NewInt(Group), nil)
	for _, tt := range []struct {
		name string
		n    *big.Int
		want bool
	}{
		{"0", big.NewInt(0), true},
		{"1", big.NewInt(1), true},
		{"2^64-1", bigUint(math.MaxUint64), true},
		{"2^64", over, false},
		{"2^64+1", new(big.Int).Add(over, big.NewInt(1)), false},
		{"2^65-1", new(big.Int).Add(over, bigUint(math.MaxUint64)), false},
		{"2^65", new(big.Int).Lsh(over, 1), false},
		{"62^11-1", last.Sub(last, big.NewInt(1)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := reference(tt.n, Group)
			if got := Decode(make([]byte, 8), text); got != tt.want {
				t.Errorf("Decode(%q) = %v, want %v", text, got, tt.want)
			}
			// A second group is judged like the first one.
			if got := Decode(make([]byte, 16), "00000000000"+text); got != tt.want {
				t.Errorf("Decode(%q) as the second group = %v, want %v", text, got, tt.want)
			}
		})
	}
}

// TestDecodeAgreesWithMathBig compares the verdict on arbitrary digits, most of
// which spell a number above 2^64-1.
func TestDecodeAgreesWithMathBig(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	accepted := 0
	for range 20_000 {
		digits := make([]byte, Group)
		n := new(big.Int)
		for i := range digits {
			d := r.IntN(62)
			digits[i] = alphabet[d]
			n.Add(n.Mul(n, big.NewInt(62)), big.NewInt(int64(d)))
		}
		dst := make([]byte, 8)
		ok := Decode(dst, string(digits))
		if ok != n.IsUint64() {
			t.Fatalf("Decode(%q) = %v for %v", digits, ok, n)
		}
		if ok && binary.BigEndian.Uint64(dst) != n.Uint64() {
			t.Fatalf("Decode(%q) = %x, want %v", digits, dst, n)
		}
		if ok {
			accepted++
		}
	}
	if accepted < 1_000 || accepted > 19_000 {
		t.Errorf("accepted %d of 20,000: both verdicts must have been compared", accepted)
	}
}

func TestBytesOutsideTheAlphabet(t *testing.T) {
	for b := range 256 {
		inside := strings.IndexByte(alphabet, byte(b)) >= 0
		for at := range Group {
			text := []byte("00000000000")
			text[at] = byte(b)
			// 2^64-1 begins with an L: as the first digit anything above overflows.
			want := inside && (at > 0 || byte(b) <= 'L')
			if got := Decode(make([]byte, 8), string(text)); got != want {
				t.Errorf("Decode(%q) = %v, want %v", text, got, want)
			}
		}
		for at := range 6 {
			text := []byte("000000")
			text[at] = byte(b)
			// 4*62^5 is below 2^32 and 5*62^5 is above.
			want := inside && (at > 0 || byte(b) <= '4')
			if _, got := Decode32(string(text)); got != want {
				t.Errorf("Decode32(%q) = %v, want %v", text, got, want)
			}
		}
	}
}

// TestManyBytesOutsideTheAlphabet: one wrong byte must not make up for another,
// in whichever positions they are.
func TestManyBytesOutsideTheAlphabet(t *testing.T) {
	for _, b := range []byte{'-', '_', ' ', 0, 0x7f, 0x80, 0xff} {
		for positions := 1; positions < 1<<Group; positions++ {
			for _, digit := range []byte{'0', 'A', 'z'} {
				text := bytes.Repeat([]byte{digit}, Group)
				for at := range text {
					if positions>>at&1 == 1 {
						text[at] = b
					}
				}
				if Decode(make([]byte, 8), string(text)) {
					t.Fatalf("Decode took %q", text)
				}
				if _, ok := Decode32(string(text)); ok && positions&(1<<6-1) != 0 {
					t.Fatalf("Decode32 took %q", text)
				}
			}
		}
	}
}

func TestShortInput(t *testing.T) {
	for n := range Group {
		if text := strings.Repeat("0", n); Decode(make([]byte, 8), text) {
			t.Errorf("Decode of a group took %q", text)
		}
		if text := strings.Repeat("0", Group+n); Decode(make([]byte, 16), text) {
			t.Errorf("Decode of two groups took %q", text)
		}
	}
	for n := range 6 {
		if _, ok := Decode32(strings.Repeat("0", n)); ok {
			t.Errorf("Decode32 took %d digits", n)
		}
	}
	if !Decode(nil, "") {
		t.Error("Decode of no groups at all needs no digits")
	}
}

func TestDecodeReadsNoFurtherThanItMust(t *testing.T) {
	dst := make([]byte, 8)
	if !Decode(dst, "0000000000z!!") || !bytes.Equal(dst, []byte{0, 0, 0, 0, 0, 0, 0, 61}) {
		t.Errorf("Decode = %x; what follows the groups is not its business", dst)
	}
	if v, ok := Decode32("00000z!!"); !ok || v != 61 {
		t.Errorf("Decode32 = %d, %v; what follows the digits is not its business", v, ok)
	}
}

func TestChecksumDigits(t *testing.T) {
	for _, v := range []uint32{0, 1, 61, 62, math.MaxInt32, math.MaxUint32 - 1, math.MaxUint32} {
		want := reference(bigUint(uint64(v)), 6)
		if got := string(Append32(nil, v)); got != want {
			t.Errorf("Append32(%d) = %q, want %q", v, got, want)
		}
		if got, ok := Decode32(want); !ok || got != v {
			t.Errorf("Decode32(%q) = %d, %v, want %d", want, got, ok, v)
		}
		// The same digits with 2^32 on top would be a second spelling.
		second := reference(bigUint(uint64(v)+1<<32), 6)
		if _, ok := Decode32(second); ok {
			t.Errorf("Decode32(%q) took a second spelling of %d", second, v)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	text := strings.Repeat("LygHa16AHYF", 6)
	dst := make([]byte, 48)
	if n := testing.AllocsPerRun(100, func() { Decode(dst, text) }); n != 0 {
		t.Errorf("Decode makes %v allocations", n)
	}
	room := make([]byte, 0, len(text))
	if n := testing.AllocsPerRun(100, func() { Append(room, dst) }); n != 0 {
		t.Errorf("Append with room makes %v allocations", n)
	}
}
