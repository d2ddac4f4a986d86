package storage

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"unsafe"
)

// Digest is the digest of a token's secret, and the algorithm that made it. It never prints, not
// even by reflection: each process masks the digests in its memory with its own random bits. Equal
// and == compare digests of one process. The zero Digest is the digest of no secret.
type Digest struct {
	words     [4]uint64 // little-endian, each masked; words, because they are compared and copied faster than bytes
	algorithm byte      // 0 for the zero Digest, and words are zero then
}

// SHA256 is the algorithm number of the digests that lapse makes: SHA-256 over a tag of format
// version and prefix, the ID and the secret.
const SHA256 byte = 1

// mask masks the words of every Digest, by turns, so that a printer that works by reflection prints
// noise. The package fmt does so where a verb is wrong.
var mask = drawMask()

func drawMask() [2]uint64 {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return [2]uint64{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
}

// NewDigest returns the Digest of sum, made by algorithm, or the zero Digest for algorithm 0.
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

// Sum returns the unmasked digest, for stores to keep; for the zero Digest it returns zeros. Do not
// log it.
func (d Digest) Sum() (sum [32]byte) {
	if d.algorithm == 0 {
		return sum
	}
	for i, w := range d.words {
		binary.LittleEndian.PutUint64(sum[8*i:], w^mask[i%2])
	}
	return sum
}

// Equal reports whether d and other are the same digest by the same algorithm. Its time does not
// depend on where they differ. The zero Digest equals only another zero Digest.
func (d Digest) Equal(other Digest) bool {
	a, b := &d.words, &other.words
	differ := (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | uint64(d.algorithm^other.algorithm)
	return differ == 0
}

// Matches reports whether d is the digest *sum by algorithm. Its time does not depend on where they
// differ. The zero Digest matches no sum. Matches compares sum without first making a Digest of it,
// which the caller would have to wait for.
func (d *Digest) Matches(algorithm byte, sum *[32]byte) bool {
	order, even, odd := binary.LittleEndian, mask[0], mask[1]
	return (d.words[0]^even^order.Uint64(sum[0:]))|(d.words[1]^odd^order.Uint64(sum[8:]))|
		(d.words[2]^even^order.Uint64(sum[16:]))|(d.words[3]^odd^order.Uint64(sum[24:]))|uint64(d.algorithm^algorithm) == 0
}

// Format writes a placeholder, so that no digest reaches a log.
func (d Digest) Format(f fmt.State, _ rune) { io.WriteString(f, "[digest]") }

// Sealed is a text of at most MaxSealed bytes in which a Manager keeps what it must know of the
// secrets of a token, besides the Digest: a salt, the digests of other secrets, the key of their
// tags, and of a session the prefix, the scope and the times of its texts. Nothing in it is
// encrypted. No text that authenticates can be made from it alone: that takes an earlier text of
// the token as well, or a key of the Manager. A store keeps the bytes as they are. A Sealed never
// prints: reflection shows an address and a length. Compare it with Equal; == does not compile, and
// reflect.DeepEqual compares addresses.
type Sealed struct {
	_     [0]func()      // a struct with a func in it cannot be compared with ==
	first unsafe.Pointer // to the first byte; nil for none
	n     int
}

// NewSealed returns text as a Sealed; the empty text gives the zero Sealed. It shares the memory of
// text.
func NewSealed(text string) Sealed {
	if text == "" {
		return Sealed{}
	}
	return Sealed{first: unsafe.Pointer(unsafe.StringData(text)), n: len(text)}
}

// Text returns the bytes, for stores to keep. Do not log them.
func (s Sealed) Text() string { return unsafe.String((*byte)(s.first), s.n) }

// Len returns how many bytes there are.
func (s Sealed) Len() int { return s.n }

// Equal reports whether s and other hold the same bytes.
func (s Sealed) Equal(other Sealed) bool { return s.Text() == other.Text() }

// Format writes a placeholder, so that no sealed text reaches a log.
func (s Sealed) Format(f fmt.State, _ rune) { io.WriteString(f, "[sealed]") }
