package bearer

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
)

// A tagged secret is a generation, random bytes, and a tag. The tag proves that lapse made the
// generation and the random bytes for this record. Every secret of a session has a tag, and so
// has every secret that a rotation made. The first secret of a plain token is random bytes alone.
const (
	GenerationLen = 4 // bytes
	RandomLen     = 20
	tagLen        = 8
)

// Kind says what a secret is for.
type Kind byte

// The kinds of secrets.
const (
	PlainSecret   Kind = 1 + iota // of a plain token
	AccessSecret                  // of a session, to authenticate with
	RefreshSecret                 // of a session, to refresh it
)

// TagKey is the key of the tags of one record. A thief who has it can make texts that pass for
// spent ones, but no text that authenticates.
type TagKey [16]byte

// Each message begins with one of these labels, so that no message is taken for one of another
// use. The labels are short: a message and the block of the key are two blocks of SHA-256.
const (
	tagLabel       = "lapse:t1"
	successorLabel = "lapse:r1"
)

// tag returns HMAC-SHA-256 (RFC 2104), cut to tagLen bytes, over a label, the binding, the kind,
// and the ID, the generation and the random bytes of c. Every refusal computes a tag, so it
// allocates nothing.
func (k *TagKey) tag(b Binding, c *Credential, kind Kind) [tagLen]byte {
	m := append(make([]byte, 0, maxMessage), tagLabel...)
	m = append(append(m, b[:]...), byte(kind))
	sum := shortMAC(k[:], append(m, c[:IDLen+GenerationLen+RandomLen]...))
	return [tagLen]byte(sum[:])
}

// maxMessage is the length of the longest message that shortMAC takes.
const maxMessage = 55

// shortMAC returns HMAC-SHA-256 (RFC 2104) of a message of at most maxMessage bytes, by a key of
// at most a block. It allocates nothing: with crypto/hmac BenchmarkRefresh/one takes a fifth more
// time.
func shortMAC(key, message []byte) [sha256.Size]byte {
	var inner [sha256.BlockSize + maxMessage]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner[:], key)
	for i := 0; i < sha256.BlockSize; i += 8 {
		word := binary.LittleEndian.Uint64(inner[i:])
		binary.LittleEndian.PutUint64(inner[i:], word^0x3636363636363636)
		binary.LittleEndian.PutUint64(outer[i:], word^0x5c5c5c5c5c5c5c5c)
	}
	n := copy(inner[sha256.BlockSize:], message)
	sum := sha256.Sum256(inner[:sha256.BlockSize+n])
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}

// SetTagged sets c's secret to the generation, the first RandomLen bytes of random, and their tag.
// c has its ID already.
func (c *Credential) SetTagged(k *TagKey, b Binding, kind Kind, generation uint32, random []byte) {
	binary.BigEndian.PutUint32(c[IDLen:], generation)
	copy(c[IDLen+GenerationLen:], random[:RandomLen])
	tag := k.tag(b, c, kind)
	copy(c[IDLen+GenerationLen+RandomLen:], tag[:])
}

// Generation returns the generation in c's secret. It means nothing unless Tagged is true.
func (c *Credential) Generation() uint32 { return binary.BigEndian.Uint32(c[IDLen:]) }

// Tagged reports whether c's secret has the tag that k makes, in a time that does not depend on
// where the two tags differ.
func (c *Credential) Tagged(k *TagKey, b Binding, kind Kind) bool {
	tag := k.tag(b, c, kind)
	return subtle.ConstantTimeCompare(tag[:], c[IDLen+GenerationLen+RandomLen:]) == 1
}

// SaltLen is the length, in bytes, of the salt with which the next secret is derived.
const SaltLen = 16

// Successor returns the random bytes of the secret that replaces c's, for the generation and the
// salt of the new secret: HMAC-SHA-256 keyed by the old secret. So the old text and the record
// together give the new text again, and the record alone gives neither.
func (c *Credential) Successor(b Binding, kind Kind, generation uint32, salt []byte) [sha256.Size]byte {
	m := append(make([]byte, 0, maxMessage), successorLabel...)
	m = append(append(m, b[:]...), c[:IDLen]...)
	m = binary.BigEndian.AppendUint32(append(m, byte(kind)), generation)
	return shortMAC(c.Secret()[:], append(m, salt[:SaltLen]...))
}
