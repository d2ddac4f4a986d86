package storage

import (
	"fmt"
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
// It is a value without pointers to memory that changes; copying it is enough to own it.
// It prints without its digest and what is sealed in it. Compare records with Equal.
type Record struct {
	Token
	TTL    time.Duration // what each renewal or refresh grants, copied from the policy or the grant at issue
	Digest Digest        // of the current secret; of a session, of the one that refreshes it
	Sealed Sealed        // what a Manager keeps for itself of some tokens; put and read together with Digest
	Epoch  uint32        // Mark.Epoch at issue

	// UseGrace is for how long a token lives after the last use of its budget, so that the
	// use may be repeated: whole milliseconds, 0 to MaxUseGrace.
	UseGrace time.Duration

	// PreviousUntil is the first instant at which the secret before the current one
	// works no more. Zero: it does not work at all. A Put that changes Digest and
	// leaves this zero ends the old secret as an end does a token (S28).
	PreviousUntil time.Time
}

// Equal reports whether every field of r is that of other: by ==, and what is sealed by
// its bytes.
func (r Record) Equal(other Record) bool {
	return r.Token == other.Token && r.TTL == other.TTL && r.Digest == other.Digest && r.Sealed.Equal(other.Sealed) &&
		r.Epoch == other.Epoch && r.UseGrace == other.UseGrace && r.PreviousUntil == other.PreviousUntil
}

// Format writes the token and its TTL.
func (r Record) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%+v", struct {
		Token
		TTL time.Duration
	}{r.Token, r.TTL})
}

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
