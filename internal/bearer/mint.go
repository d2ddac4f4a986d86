package bearer

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrNoRandomness is what Mint and Draw return where the random source fails.
var ErrNoRandomness = errors.New("lapse: the operating system's random source gave nothing usable; no token was issued")

// mintLen is how many random bytes Mint draws: no more than it needs, for they cost more
// than anything else about a token.
const mintLen = IDLen/2 + SecretLen

// Mint fills c with a fresh ID for subject, laid out as a UUID of version 7
// (RFC 9562 section 5.7) whose last 16 bits are the shard tag, and a fresh secret.
func (c *Credential) Mint(now time.Time, subject string) error {
	if _, err := io.ReadFull(rand.Reader, c[len(c)-mintLen:]); err != nil {
		return fmt.Errorf("%w: %w", ErrNoRandomness, err)
	}
	copy(c[6:8], c[IDLen-2:]) // which the tag replaces
	if [SecretLen]byte(c[IDLen:]) == ([SecretLen]byte{}) {
		return ErrNoRandomness
	}
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(0, now.UnixMilli())))
	copy(c[:6], ms[2:])
	c[6] = c[6]&0x0f | 0x70
	c[8] = c[8]&0x3f | 0x80
	tag := shardTag(subject)
	copy(c[IDLen-len(tag):], tag[:])
	return nil
}

// shardTag returns 16 bits that are the same for all tokens of a subject: its FNV-1a
// of 32 bits, the halves XORed. Engines route by it, so it can never be another one.
func shardTag(subject string) [2]byte {
	h := uint32(2166136261)
	for i := range len(subject) {
		h = (h ^ uint32(subject[i])) * 16777619
	}
	h ^= h >> 16
	return [2]byte{byte(h >> 8), byte(h)}
}

// Draw fills b with random bytes.
func Draw(b []byte) error {
	if _, err := io.ReadFull(rand.Reader, b); err != nil {
		return fmt.Errorf("%w: %w", ErrNoRandomness, err)
	}
	return nil
}
