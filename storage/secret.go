package storage

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"unsafe"
)

// Digest is the digest of a token's secret with the algorithm that made it. It never
// prints, not by reflection either: what is in memory of it, every process masks with
// random bits of its own. Equal and == compare digests of one process. No secret has the
// zero Digest.
type Digest struct {
	words     [4]uint64 // little-endian, each with its mask; words, because they are compared and copied faster than bytes
	algorithm byte      // 0: there is no digest, and words are zero
}

// SHA256 is the algorithm byte of the digest that lapse makes: SHA-256 over
// a tag of format version and prefix, the ID and the secret.
const SHA256 byte = 1

// mask is what the words of every Digest are masked with, by turns, so that printers that
// go by reflection, as fmt does where a verb is wrong, print noise.
var mask = drawMask()

func drawMask() [2]uint64 {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return [2]uint64{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
}

// NewDigest returns the digest that algorithm gave as sum, or the zero Digest for
// algorithm 0.
func NewDigest(algorithm byte, sum [32]byte) Digest {
	if algorithm == 0 {
		return Digest{}
	}
	order, even, odd := binary.LittleEndian, mask[0], mask[1]
	return Digest{[4]uint64{order.Uint64(sum[0:]) ^ even, order.Uint64(sum[8:]) ^ odd, order.Uint64(sum[16:]) ^ even, order.Uint64(sum[24:]) ^ odd}, algorithm}
}

// Algorithm returns the number of the algorithm, SHA256 for instance, or 0 for
// the zero Digest.
func (d Digest) Algorithm() byte { return d.algorithm }

// Sum returns the digest itself, for stores to keep, and zeros of the zero Digest. It
// must not be logged.
func (d Digest) Sum() (sum [32]byte) {
	if d.algorithm == 0 {
		return sum
	}
	for i, w := range d.words {
		binary.LittleEndian.PutUint64(sum[8*i:], w^mask[i%2])
	}
	return sum
}

// Equal reports whether d and other are the same digest by the same algorithm.
// Its time does not depend on where they differ, and the zero Digest equals
// only another zero Digest.
func (d Digest) Equal(other Digest) bool {
	a, b := &d.words, &other.words
	differ := (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | uint64(d.algorithm^other.algorithm)
	return differ == 0
}

// Matches reports whether d is what algorithm gave as *sum, in a time that does not depend
// on where they differ either. The zero Digest matches nothing. A caller
// that has only just computed the sum need not wait until a Digest of it is in memory.
func (d *Digest) Matches(algorithm byte, sum *[32]byte) bool {
	order, even, odd := binary.LittleEndian, mask[0], mask[1]
	return (d.words[0]^even^order.Uint64(sum[0:]))|(d.words[1]^odd^order.Uint64(sum[8:]))|
		(d.words[2]^even^order.Uint64(sum[16:]))|(d.words[3]^odd^order.Uint64(sum[24:]))|uint64(d.algorithm^algorithm) == 0
}

// Format writes a placeholder, so that no digest reaches a log.
func (d Digest) Format(f fmt.State, _ rune) { io.WriteString(f, "[digest]") }

// Sealed is what a Manager keeps in a record that only a bearer, or a key of the
// Manager, makes anything of: at most MaxSealed bytes that a store keeps as they are.
// It never prints: by reflection there are an address and a length. Compare it with
// Equal; == does not compile, and reflect.DeepEqual compares addresses.
type Sealed struct {
	_     [0]func()      // what has a func in it cannot be compared with ==
	first unsafe.Pointer // to the first byte; nil for none
	n     int
}

// NewSealed returns text as what is sealed, "" as nothing. It shares the memory of text.
func NewSealed(text string) Sealed {
	if text == "" {
		return Sealed{}
	}
	return Sealed{first: unsafe.Pointer(unsafe.StringData(text)), n: len(text)}
}

// Text returns the bytes, for stores to keep. They must not be logged.
func (s Sealed) Text() string { return unsafe.String((*byte)(s.first), s.n) }

// Len returns how many bytes there are.
func (s Sealed) Len() int { return s.n }

// Equal reports whether s and other hold the same bytes.
func (s Sealed) Equal(other Sealed) bool { return s.Text() == other.Text() }

// Format writes a placeholder, so that nothing sealed reaches a log.
func (s Sealed) Format(f fmt.State, _ rune) { io.WriteString(f, "[sealed]") }
