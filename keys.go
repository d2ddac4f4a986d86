package lapse

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// keyLen is the length of each of Config.Keys, in bytes.
const keyLen = 32

// Key is one of Config.Keys. It never prints: no printer and no encoder finds the bytes in
// it, by reflection either. The zero Key has none, and New refuses it.
type Key struct {
	material func() []byte // a function, because reflection sees nothing but its address
}

// NewKey returns a copy of b as a Key. New returns ErrInvalidConfig for one that is not 32
// random bytes.
func NewKey(b []byte) Key {
	b = bytes.Clone(b)
	return Key{func() []byte { return b }}
}

// bytes returns what NewKey was given.
func (k Key) bytes() []byte {
	if k.material == nil {
		return nil
	}
	return k.material()
}

// Format writes a placeholder.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, "[key]") }

// key derives secrets by one of Config.Keys. It is a function, as the one in Key is, since
// reflection sees of that its address alone.
type key func(label string, parts ...[]byte) [sha256.Size]byte

// newKey is HMAC-SHA-256 over a label and parts of fixed lengths, so that no two tokens,
// formats or prefixes have the same message.
func newKey(material [keyLen]byte) key {
	return func(label string, parts ...[]byte) [sha256.Size]byte {
		mac := hmac.New(sha256.New, material[:])
		mac.Write([]byte(label))
		for _, part := range parts {
			mac.Write(part)
		}
		return [sha256.Size]byte(mac.Sum(nil))
	}
}

// first returns the first secret of a token, which has no tag.
func (k key) first(id ID, b binding, salt string) [secretLen]byte {
	return k("lapse secret by Obtain, version 1", b[:], id[:], []byte(salt))
}

// rotated returns the random bytes of the secret of a later generation.
func (k key) rotated(id ID, b binding, generation uint32, salt []byte) [sha256.Size]byte {
	return k("lapse secret by Obtain, version 2", b[:], id[:], binary.BigEndian.AppendUint32(nil, generation), salt)
}

// newKeys returns what derives by each of keys, or ErrInvalidConfig with the place of
// the first that is out of limits, and nothing of what it is.
func newKeys(keys []Key) ([]key, error) {
	var derive []key
	for i, k := range keys {
		material := k.bytes()
		if len(material) != keyLen {
			return nil, fmt.Errorf("%w: Keys[%d]: %d bytes; want %d random ones", ErrInvalidConfig, i, len(material), keyLen)
		}
		if [keyLen]byte(material) == ([keyLen]byte{}) {
			return nil, fmt.Errorf("%w: Keys[%d]: all zero; want %d random bytes", ErrInvalidConfig, i, keyLen)
		}
		for j, other := range keys[:i] {
			if bytes.Equal(material, other.bytes()) {
				return nil, fmt.Errorf("%w: Keys[%d]: the same as Keys[%d]; leave one of them out", ErrInvalidConfig, i, j)
			}
		}
		derive = append(derive, newKey([keyLen]byte(material)))
	}
	return derive, nil
}

// obtained is how what is sealed in the record of a token made by Obtain begins: a
// kind and its version. The salt follows.
const (
	obtained    = "o1"
	obtainedLen = len(obtained) + secretLen
)

// derive makes c's secret, which is random, the salt of one that k derives, and returns
// what to seal in the record.
func (c *credential) derive(k key, b binding) storage.Sealed {
	salt := string(c[idLen:])
	secret := k.first(c.id(), b, salt)
	copy(c[idLen:], secret[:])
	return storage.NewSealed(obtained + salt)
}

// saltOf returns the salt of the first secret of a token made by Obtain, and whether rec
// is of one that still has it.
func saltOf(rec *storage.Record) (salt string, ok bool) {
	salt, ok = strings.CutPrefix(rec.Sealed.Text(), obtained)
	return salt, ok && len(salt) == secretLen
}

// madeByObtain reports whether the current secret of rec is derived from one of
// Config.Keys.
func madeByObtain(rec *storage.Record) bool {
	if rec.Kind != KindPlain {
		return false
	}
	if _, ok := saltOf(rec); ok {
		return true
	}
	r, _, err := rotatedOf(rec)
	return err == nil && r.obtained
}

// reveal sets c to what the holder of a token made by Obtain presents, and reports
// whether one of the keys still derives it.
func (m *Manager) reveal(rec *storage.Record, c *credential) bool {
	copy(c[:], rec.ID[:])
	salt, first := saltOf(rec)
	r, was, err := rotatedOf(rec)
	if !first && (err != nil || !was || !r.obtained) {
		return false
	}
	for _, k := range m.keys {
		if first {
			*c.secret() = k.first(rec.ID, m.binding, salt)
		} else {
			random := k.rotated(rec.ID, m.binding, rec.Generation, r.salt[:])
			c.setTagged(&r.key, m.binding, plainSecret, rec.Generation, random[:])
		}
		if c.proves(m.binding, &rec.Digest) {
			return true
		}
	}
	return false
}

// shownConfig is what is worth printing of a Config.
type shownConfig struct {
	Policy  Policy
	Prefix  string
	Clock   string // its type
	Admit   bool   // whether there is one
	Observe bool
	Keys    int // how many

	Recheck, PollHolds time.Duration

	ClockGuard                  ClockGuard
	ClockTolerance, ClockSettle time.Duration
}

func (c *Config) shown() shownConfig {
	return shownConfig{c.Policy, c.Prefix, fmt.Sprintf("%T", c.Clock), c.Admit != nil, c.Observe != nil, len(c.Keys), c.Recheck, c.PollHolds, c.ClockGuard, c.ClockTolerance, c.ClockSettle}
}

// Format writes the Config with the number of its Keys, and of its functions whether
// there is one.
func (c Config) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", c.shown()) }

// LogValue is what Format writes.
func (c Config) LogValue() slog.Value { return slog.AnyValue(c.shown()) }
