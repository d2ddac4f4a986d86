package lapse

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
)

// A tagged secret is a generation, random bytes, and a tag that proves that lapse made
// the two for this record. Every secret of a session is tagged, and every secret that a
// rotation made. The first secret of a plain token is random bytes alone.
const (
	generationLen = 4
	randomLen     = 20
	tagLen        = 8
)

// secretKind says what a secret is for.
type secretKind byte

const (
	plainSecret   secretKind = 1 + iota // of a plain token
	accessSecret                        // of a session, to authenticate with
	refreshSecret                       // of a session, to refresh it
)

// tagKey is the key of the tags of one record. A thief of it can make texts that are
// taken for spent ones, and none that authenticates.
type tagKey [16]byte

const tagLabel = "lapse:t1"

// tag is HMAC-SHA-256 (RFC 2104), cut to tagLen bytes, over a label, the binding, the
// kind, and of c the ID, the generation and the random bytes. It is computed for every
// text that is refused, so it allocates nothing.
func (k *tagKey) tag(b binding, c *credential, kind secretKind) [tagLen]byte {
	const messageLen = len(tagLabel) + len(binding{}) + 1 + idLen + generationLen + randomLen
	var inner [sha256.BlockSize + messageLen]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner[:], k[:])
	copy(outer[:], k[:])
	for i := range sha256.BlockSize {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	m := append(inner[:sha256.BlockSize], tagLabel...)
	m = append(append(m, b[:]...), byte(kind))
	_ = append(m, c[:idLen+generationLen+randomLen]...)
	sum := sha256.Sum256(inner[:])
	copy(outer[sha256.BlockSize:], sum[:])
	sum = sha256.Sum256(outer[:])
	return [tagLen]byte(sum[:])
}

// setTagged makes c's secret the tagged one of a generation with the given random bytes.
func (c *credential) setTagged(k *tagKey, b binding, kind secretKind, generation uint32, random []byte) {
	binary.BigEndian.PutUint32(c[idLen:], generation)
	copy(c[idLen+generationLen:], random[:randomLen])
	tag := k.tag(b, c, kind)
	copy(c[idLen+generationLen+randomLen:], tag[:])
}

// generation returns the generation that a tagged secret says it is of.
func (c *credential) generation() uint32 { return binary.BigEndian.Uint32(c[idLen:]) }

// tagged reports whether c has the tag that k makes, in a time that does not depend on
// where the two differ.
func (c *credential) tagged(k *tagKey, b binding, kind secretKind) bool {
	tag := k.tag(b, c, kind)
	return subtle.ConstantTimeCompare(tag[:], c[idLen+generationLen+randomLen:]) == 1
}

// saltLen is the length of the salt that the next secret is derived with.
const saltLen = 16

// successor returns the random bytes of the secret that replaces c's, for the salt and
// the generation of the new one: HMAC-SHA-256 keyed by the old secret. Whoever presents
// the old text again can be given the new one, and the record alone opens neither.
func (c *credential) successor(b binding, kind secretKind, generation uint32, salt []byte) [sha256.Size]byte {
	mac := hmac.New(sha256.New, c.secret()[:])
	mac.Write([]byte("lapse secret by rotation, version 1"))
	mac.Write(b[:])
	mac.Write(c[:idLen])
	mac.Write(binary.BigEndian.AppendUint32([]byte{byte(kind)}, generation))
	mac.Write(salt)
	return [sha256.Size]byte(mac.Sum(nil))
}

// draw fills b with random bytes.
func draw(b []byte) error {
	if _, err := io.ReadFull(rand.Reader, b); err != nil {
		return fmt.Errorf("%w: %w", errNoRandomness, err)
	}
	return nil
}
