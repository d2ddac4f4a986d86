package lapse

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// keyLen is the length of each of Config.Keys, in bytes.
const keyLen = 32

// key returns the secret that one of Config.Keys derives for a token and a salt. It
// is a function, because no printer finds the bytes of the key in one.
type key func(id ID, t tag, salt string) [secretLen]byte

// newKey is HMAC-SHA256 over parts of fixed lengths, so that no two tokens, formats or
// prefixes have the same message.
func newKey(material [keyLen]byte) key {
	return func(id ID, t tag, salt string) [secretLen]byte {
		mac := hmac.New(sha256.New, material[:])
		mac.Write([]byte("lapse secret by Obtain, version 1"))
		mac.Write(t[:])
		mac.Write(id[:])
		mac.Write([]byte(salt))
		return [secretLen]byte(mac.Sum(nil))
	}
}

// newKeys returns what derives by each of keys, or ErrInvalidConfig with the place of
// the first that is out of limits, and nothing of what it is.
func newKeys(keys [][]byte) ([]key, error) {
	var derive []key
	for i, k := range keys {
		if len(k) != keyLen {
			return nil, fmt.Errorf("%w: Keys[%d]: %d bytes; want %d random ones", ErrInvalidConfig, i, len(k), keyLen)
		}
		if [keyLen]byte(k) == ([keyLen]byte{}) {
			return nil, fmt.Errorf("%w: Keys[%d]: all zero; want %d random bytes", ErrInvalidConfig, i, keyLen)
		}
		for j, other := range keys[:i] {
			if bytes.Equal(k, other) {
				return nil, fmt.Errorf("%w: Keys[%d]: the same as Keys[%d]; leave one of them out", ErrInvalidConfig, i, j)
			}
		}
		derive = append(derive, newKey([keyLen]byte(k)))
	}
	return derive, nil
}

// obtained is how what is sealed in the record of a token made by Obtain begins: a
// kind and its version. The salt follows.
const obtained = "o1"

// derive makes c's secret, which is random, the salt of one that k derives, and returns
// what to seal in the record.
func (c *credential) derive(k key, t tag) storage.Sealed {
	salt := string(c[idLen:])
	secret := k(c.id(), t, salt)
	copy(c[idLen:], secret[:])
	return storage.NewSealed(obtained + salt)
}

// saltOf returns the salt of a token made by Obtain, and whether rec is of one.
func saltOf(rec *storage.Record) (salt string, ok bool) {
	salt, ok = strings.CutPrefix(rec.Sealed.Text(), obtained)
	return salt, ok && len(salt) == secretLen
}

// reveal sets c to what the holder of a token made by Obtain presents, and reports
// whether one of the keys still derives it.
func (m *Manager) reveal(rec *storage.Record, c *credential) bool {
	salt, ok := saltOf(rec)
	if !ok {
		return false
	}
	copy(c[:], rec.ID[:])
	for _, k := range m.keys {
		secret := k(rec.ID, m.tag, salt)
		copy(c[idLen:], secret[:])
		if c.proves(m.tag, &rec.Digest) {
			return true
		}
	}
	return false
}

// shownConfig is a Config without its keys.
type shownConfig struct {
	Policy       Policy
	Prefix       string
	Clock        string // its type
	CheckSubject bool   // whether there is one
	Observe      bool
	Keys         int // how many

	RecheckSubject, PollHolds time.Duration

	ClockGuard                  ClockGuard
	ClockTolerance, ClockSettle time.Duration
}

func (c *Config) shown() shownConfig {
	return shownConfig{c.Policy, c.Prefix, fmt.Sprintf("%T", c.Clock), c.CheckSubject != nil, c.Observe != nil, len(c.Keys), c.RecheckSubject, c.PollHolds, c.ClockGuard, c.ClockTolerance, c.ClockSettle}
}

// Format writes the Config without its Keys, for every verb that go vet lets pass.
func (c Config) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", c.shown()) }

// LogValue is the Config without its Keys.
func (c Config) LogValue() slog.Value { return slog.AnyValue(c.shown()) }

// MarshalJSON refuses, as it would for the functions alone: Keys are secret.
func (c Config) MarshalJSON() ([]byte, error) { return nil, errConfigStored }

// GobEncode refuses: Keys are secret.
func (c Config) GobEncode() ([]byte, error) { return nil, errConfigStored }

var errConfigStored = errors.New("lapse: a Config holds keys and functions and is not to be stored; encode its Policy")
