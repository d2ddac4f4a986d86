package storage

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// The sizes that a Manager enforces before a Record reaches a Store, in bytes. A
// Store must take every string up to its limit.
const (
	MaxPrefix  = 16
	MaxSubject = 255
	MaxName    = 255
	MaxScope   = 1024
	MaxData    = 4096
	MaxSealed  = 1536
)

// MaxUseGrace is the most that Record.UseGrace is.
const MaxUseGrace = time.Minute

// Record is what a Store keeps of a token: everything but the secret itself.
// It is a value without pointers to shared memory; copying it is enough to own it.
// It prints without its digest and what is sealed in it.
type Record struct {
	Token
	TTL    time.Duration // what each renewal or refresh grants, copied from the policy or the grant at issue
	Digest Digest        // of the current secret; of a session, of the one that refreshes it
	Sealed Sealed        // what a Manager keeps for itself of some tokens; put and read together with Digest
	Epoch  uint32        // Mark.Epoch at issue

	// UseGrace is for how long after the last use of a budget its text is good again: whole
	// milliseconds, 0 to MaxUseGrace.
	UseGrace time.Duration

	// PreviousUntil is the first instant at which the secret before the current one
	// works no more. Zero: it does not work at all. A Put that changes Digest and
	// leaves this zero ends the old secret as an end does a token (S28).
	PreviousUntil time.Time
}

// Format writes the token and its TTL, for every verb that go vet lets pass.
func (r Record) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%+v", struct {
		Token
		TTL time.Duration
	}{r.Token, r.TTL})
}

// Digest is the digest of a token's secret with the algorithm that made it. It
// never prints: fmt, slog, JSON and gob see nothing of it. No secret has the zero
// Digest.
type Digest struct {
	words     [4]uint64 // little-endian; words, because they are compared and copied faster than bytes
	algorithm byte
}

// SHA256 is the algorithm byte of the digest that lapse makes: SHA-256 over
// a tag of format version and prefix, the ID and the secret.
const SHA256 byte = 1

// NewDigest returns the digest that algorithm gave as sum.
func NewDigest(algorithm byte, sum [32]byte) Digest {
	order := binary.LittleEndian
	return Digest{[4]uint64{order.Uint64(sum[0:]), order.Uint64(sum[8:]), order.Uint64(sum[16:]), order.Uint64(sum[24:])}, algorithm}
}

// Algorithm returns the number of the algorithm, SHA256 for instance, or 0 for
// the zero Digest.
func (d Digest) Algorithm() byte { return d.algorithm }

// Sum returns the digest itself, for stores to keep. It must not be logged.
func (d Digest) Sum() (sum [32]byte) {
	for i, w := range d.words {
		binary.LittleEndian.PutUint64(sum[8*i:], w)
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

// Matches reports what d.Equal(NewDigest(algorithm, *sum)) does, in a time that does not
// depend on where they differ either. Whoever has only just got the sum need not wait
// until a Digest of it has settled in memory.
func (d *Digest) Matches(algorithm byte, sum *[32]byte) bool {
	order := binary.LittleEndian
	differ := (d.words[0] ^ order.Uint64(sum[0:])) | (d.words[1] ^ order.Uint64(sum[8:])) |
		(d.words[2] ^ order.Uint64(sum[16:])) | (d.words[3] ^ order.Uint64(sum[24:])) | uint64(d.algorithm^algorithm)
	return differ == 0
}

// Format writes a placeholder, so that no digest reaches a log.
func (d Digest) Format(f fmt.State, _ rune) { io.WriteString(f, "[digest]") }

// Sealed is what a Manager keeps in a record that only a bearer, or a key of the
// Manager, makes anything of: at most MaxSealed bytes that a store keeps as they are.
// It never prints: fmt, slog, JSON and gob see nothing of it.
type Sealed struct{ text string }

// NewSealed returns text as what is sealed, "" as nothing.
func NewSealed(text string) Sealed { return Sealed{text} }

// Text returns the bytes, for stores to keep. They must not be logged.
func (s Sealed) Text() string { return s.text }

// Len returns how many bytes there are.
func (s Sealed) Len() int { return len(s.text) }

// Equal reports whether s and other hold the same bytes.
func (s Sealed) Equal(other Sealed) bool { return s == other }

// Format writes a placeholder, so that nothing sealed reaches a log.
func (s Sealed) Format(f fmt.State, _ rune) { io.WriteString(f, "[sealed]") }

// Use is what a Touch records: that a token was used at At, and the expiry that
// this use earned. A zero time raises nothing.
type Use struct {
	At        time.Time
	ExpiresAt time.Time
}

// Raise applies u to r as a renewal must, which only ever adds: LastUsedAt and
// ExpiresAt become the later of what they are and what u says, each on its own.
// ExpiresAt does not pass MaxExpiresAt where that is set, and a record that was ended
// stays as it is. Raise reports whether anything changed.
func (u Use) Raise(r *Record) bool {
	if !r.EndedAt.IsZero() {
		return false
	}
	changed := false
	if u.At.After(r.LastUsedAt) {
		r.LastUsedAt, changed = u.At, true
	}
	expires := u.ExpiresAt
	if !r.MaxExpiresAt.IsZero() && r.MaxExpiresAt.Before(expires) {
		expires = r.MaxExpiresAt
	}
	if expires.After(r.ExpiresAt) {
		r.ExpiresAt, changed = expires, true
	}
	return changed
}

// Filter selects the records that List yields: those that meet every condition
// that is set. The zero Filter selects every record.
type Filter struct {
	Subject       string    // only this subject's; "" for any
	ExpiresBefore time.Time // only with an ExpiresAt before this instant; zero for any
}

// Match reports whether r meets every condition of f that is set.
func (f Filter) Match(r Record) bool {
	return (f.Subject == "" || f.Subject == r.Subject) &&
		(f.ExpiresBefore.IsZero() || r.ExpiresAt.Before(f.ExpiresBefore))
}
