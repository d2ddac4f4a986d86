package bearer

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// ErrNoRandomness is the error of Mint and Draw if the random source fails, or gives zeros.
var ErrNoRandomness = errors.New("lapse: the operating system's random source gave nothing usable; no token was issued")

// mintLen is how many random bytes Mint draws. They cost more than anything else about a token,
// so Mint draws no more than it needs.
const mintLen = IDLen/2 + SecretLen

// Mint fills c with a new ID for subject and a new random secret. The ID has the layout of a UUID
// of version 7 (RFC 9562 section 5.7), with the millisecond of now, and its last 16 bits are the
// shard tag.
func (c *Credential) Mint(now time.Time, subject string) error {
	if _, err := io.ReadFull(rand.Reader, c[len(c)-mintLen:]); err != nil {
		return fmt.Errorf("%w: %w", ErrNoRandomness, err)
	}
	copy(c[6:8], c[IDLen-2:]) // the shard tag replaces these two bytes below
	if [SecretLen]byte(c[IDLen:]) == ([SecretLen]byte{}) {
		return ErrNoRandomness
	}
	c.layOut(now, subject)
	return nil
}

// layOut sets all bits of the ID that are not random, as Mint says.
func (c *Credential) layOut(now time.Time, subject string) {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(0, now.UnixMilli())))
	copy(c[:6], ms[2:])
	c[6] = c[6]&0x0f | 0x70
	c[8] = c[8]&0x3f | 0x80
	tag := storage.ShardTag(subject)
	copy(c[IDLen-len(tag):], tag[:])
}

// Draw fills b with random bytes, or returns ErrNoRandomness.
func Draw(b []byte) error {
	if _, err := io.ReadFull(rand.Reader, b); err != nil {
		return fmt.Errorf("%w: %w", ErrNoRandomness, err)
	}
	return nil
}
