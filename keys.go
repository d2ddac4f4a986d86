package lapse

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

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

// newKeys returns what derives by each of keys, or ErrInvalidConfig with the place of
// the first that is out of limits, and nothing of what it is.
func newKeys(keys []Key) ([]bearer.Key, error) {
	var derive []bearer.Key
	for i, k := range keys {
		material := k.bytes()
		if len(material) != bearer.KeyLen {
			return nil, fmt.Errorf("%w: Keys[%d]: %d bytes; want %d random ones", ErrInvalidConfig, i, len(material), bearer.KeyLen)
		}
		if [bearer.KeyLen]byte(material) == ([bearer.KeyLen]byte{}) {
			return nil, fmt.Errorf("%w: Keys[%d]: all zero; want %d random bytes", ErrInvalidConfig, i, bearer.KeyLen)
		}
		for j, other := range keys[:i] {
			if bytes.Equal(material, other.bytes()) {
				return nil, fmt.Errorf("%w: Keys[%d]: the same as Keys[%d]; leave one of them out", ErrInvalidConfig, i, j)
			}
		}
		derive = append(derive, bearer.NewKey([bearer.KeyLen]byte(material)))
	}
	return derive, nil
}

// obtained is how what is sealed in the record of a token made by Obtain begins: a
// kind and its version. The salt follows.
const (
	obtained    = "o1"
	obtainedLen = len(obtained) + bearer.SecretLen
)

// obtainedSecret makes c's secret, which is random, the salt of one that k derives, and
// returns what to seal in the record.
func obtainedSecret(c *bearer.Credential, k bearer.Key, b bearer.Binding) storage.Sealed {
	salt := string(c[bearer.IDLen:])
	secret := k.First(c.ID(), b, salt)
	copy(c[bearer.IDLen:], secret[:])
	return storage.NewSealed(obtained + salt)
}

// saltOf returns the salt of the first secret of a token made by Obtain, and whether rec
// is of one that still has it.
func saltOf(rec *storage.Record) (salt string, ok bool) {
	salt, ok = strings.CutPrefix(rec.Sealed.Text(), obtained)
	return salt, ok && len(salt) == bearer.SecretLen
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
func (m *Manager) reveal(rec *storage.Record, c *bearer.Credential) bool {
	copy(c[:], rec.ID[:])
	salt, first := saltOf(rec)
	r, was, err := rotatedOf(rec)
	if !first && (err != nil || !was || !r.obtained) {
		return false
	}
	for _, k := range m.keys {
		if first {
			*c.Secret() = k.First(rec.ID, m.binding, salt)
		} else {
			random := k.Rotated(rec.ID, m.binding, rec.Generation, r.salt[:])
			c.SetTagged(&r.key, m.binding, bearer.PlainSecret, rec.Generation, random[:])
		}
		if c.Proves(m.binding, &rec.Digest) {
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
