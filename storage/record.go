package storage

import (
	"fmt"
	"time"
)

// The limits of texts, in bytes. A Manager enforces them before a Record reaches a Store, and a
// Store must take every text up to its limit.
const (
	MaxPrefix  = 16
	MaxSubject = 255
	MaxName    = 255
	MaxScope   = 1024
	MaxData    = 4096
	MaxSealed  = 1536
	MaxEndedBy = 255
	MaxEndNote = 255
	MaxClient  = 255
)

// MaxUseGrace is the upper limit of Record.UseGrace.
const MaxUseGrace = time.Minute

// Record is what a Store keeps of a token: everything except the secret itself. It has no pointer
// to memory that changes, so that a copy is independent of the original. It prints without its
// digest and its sealed text. Compare records with Equal.
type Record struct {
	Token
	TTL    time.Duration // how long each renewal or refresh lasts, copied from the policy or the grant at issue
	Digest Digest        // of the current secret; for a session, of its refresh secret
	Sealed Sealed        // bytes that a Manager keeps for itself in some records; put and read together with Digest
	Epoch  uint32        // Mark.Epoch at issue

	// UseGrace is how long a token lives after the last use of its budget, so that this use may be
	// repeated: whole milliseconds, 0 to MaxUseGrace.
	UseGrace time.Duration

	// PreviousUntil is the first instant at which the secret before the current one does not work
	// any more. Zero means that it does not work at all. A Put that changes Digest and leaves
	// PreviousUntil zero ends the old secret, as an end ends a token (S28).
	PreviousUntil time.Time

	// CapEdited says that Manager.Edit has set MaxExpiresAt: a new life of the token keeps that cap.
	CapEdited bool
}

// Equal reports whether every field of r equals that of other. It compares the sealed texts byte by
// byte, and the other fields with ==.
func (r Record) Equal(other Record) bool {
	return r.Token == other.Token && r.TTL == other.TTL && r.Digest == other.Digest && r.Sealed.Equal(other.Sealed) &&
		r.Epoch == other.Epoch && r.UseGrace == other.UseGrace && r.PreviousUntil == other.PreviousUntil && r.CapEdited == other.CapEdited
}

// Format writes the token and its TTL.
func (r Record) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%+v", struct {
		Token
		TTL time.Duration
	}{r.Token, r.TTL})
}

// Use is the content of a Touch: the token was used at At, and this use extends its life to
// ExpiresAt. A zero time raises nothing.
type Use struct {
	At        time.Time
	ExpiresAt time.Time
}

// Raise applies u to r: LastUsedAt and ExpiresAt become the later of the present value and that of
// u, each on its own. ExpiresAt does not pass MaxExpiresAt where that is set. An ended record stays
// as it is. Raise reports whether a field changed.
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

// Filter selects the records that List yields: those that meet every condition that is set. The
// zero Filter selects every record.
type Filter struct {
	Subject       string    // only records of this subject; "" for any
	ExpiresBefore time.Time // only records with an ExpiresAt before this instant; zero for any
}

// Match reports whether r meets every condition of f that is set.
func (f Filter) Match(r Record) bool {
	return (f.Subject == "" || f.Subject == r.Subject) &&
		(f.ExpiresBefore.IsZero() || r.ExpiresAt.Before(f.ExpiresBefore))
}
