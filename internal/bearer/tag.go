package bearer

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
)

// A tagged secret is a generation, random bytes, and a tag that proves that lapse made
// the two for this record. Every secret of a session is tagged, and every secret that a
// rotation made. The first secret of a plain token is random bytes alone.
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

// TagKey is the key of the tags of one record. A thief of it can make texts that are
// taken for spent ones, and none that authenticates.
type TagKey [16]byte

// What the messages begin with, so that none is taken for another. They are short: with
// its label, each message and a block of the key are two blocks of SHA-256.
const (
	tagLabel       = "lapse:t1"
	successorLabel = "lapse:r1"
)

// tag is HMAC-SHA-256 (RFC 2104), cut to tagLen bytes, over a label, the binding, the
// kind, and of c the ID, the generation and the random bytes. It is computed for every
// text that is refused, so it allocates nothing.
func (k *TagKey) tag(b Binding, c *Credential, kind Kind) [tagLen]byte {
	m := append(make([]byte, 0, maxMessage), tagLabel...)
	m = append(append(m, b[:]...), byte(kind))
	sum := shortMAC(k[:], append(m, c[:IDLen+GenerationLen+RandomLen]...))
	return [tagLen]byte(sum[:])
}

// maxMessage is the length of the longest message that shortMAC takes.
const maxMessage = 55

// shortMAC is HMAC-SHA-256 (RFC 2104) of a message of at most maxMessage bytes, by a key
// of at most a block. It allocates nothing; with crypto/hmac a BenchmarkRefresh/one takes
// a fifth more.
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

// SetTagged makes c's secret the tagged one of a generation with the given random bytes.
func (c *Credential) SetTagged(k *TagKey, b Binding, kind Kind, generation uint32, random []byte) {
	binary.BigEndian.PutUint32(c[IDLen:], generation)
	copy(c[IDLen+GenerationLen:], random[:RandomLen])
	tag := k.tag(b, c, kind)
	copy(c[IDLen+GenerationLen+RandomLen:], tag[:])
}

// Generation returns the generation that a tagged secret says it is of.
func (c *Credential) Generation() uint32 { return binary.BigEndian.Uint32(c[IDLen:]) }

// Tagged reports whether c has the tag that k makes, in a time that does not depend on
// where the two differ.
func (c *Credential) Tagged(k *TagKey, b Binding, kind Kind) bool {
	tag := k.tag(b, c, kind)
	return subtle.ConstantTimeCompare(tag[:], c[IDLen+GenerationLen+RandomLen:]) == 1
}

// SaltLen is the length of the salt that the next secret is derived with.
const SaltLen = 16

// Successor returns the random bytes of the secret that replaces c's, for the salt and
// the generation of the new one: HMAC-SHA-256 keyed by the old secret. A caller that presents
// the old text again can be given the new one, and the record alone opens neither.
func (c *Credential) Successor(b Binding, kind Kind, generation uint32, salt []byte) [sha256.Size]byte {
	m := append(make([]byte, 0, maxMessage), successorLabel...)
	m = append(append(m, b[:]...), c[:IDLen]...)
	m = binary.BigEndian.AppendUint32(append(m, byte(kind)), generation)
	return shortMAC(c.Secret()[:], append(m, salt[:SaltLen]...))
}
