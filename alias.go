package lapse

import "github.com/seed-55daa01a/lapse/storage"

// Token says what a program may know of a token: a flat value without secret or digest.
// Instants are in UTC, to the millisecond, and the zero Time means "not set". The fields are
//
//	ID           ID        // the public name; it never changes
//	Prefix       string    // of the token's text; of a session, of its access text
//	Subject      string    // whose token it is, as in Grant
//	Name         string    // for people, as in Grant
//	Scope        string    // words with one space between them, as in Grant
//	Data         string    // the caller's own, as in Grant
//	IssuedAt     time.Time // of a session: the log-in
//	LastUsedAt   time.Time // the last use that was recorded; zero: none
//	ExpiresAt    time.Time // the first instant at which the token is dead; a renewal moves it
//	MaxExpiresAt time.Time // no renewal passes this instant; zero: there is no cap
//	EndedAt      time.Time // when the token was ended; zero: it was not
//	EndReason    EndReason // why the token was ended; zero: it was not
//	Kind         Kind      // KindPlain or KindSession
//	Generation   uint32    // how many secrets the token had before the current one
//	RotatedAt    time.Time // when the current secret replaced another; zero: the first secret is current
//	Family       ID        // the first token of a chain of delegations; zero: nothing was delegated from this token
//	Parent       ID        // the token that this one was delegated from; zero: none
//	MaxUses      int       // how often the token can be used in all; zero: there is no limit
//	UsesLeft     int       // how many of MaxUses are left; -1: see Repeated
//
// and the methods are
//   - Live(now) reports whether the token is alive at now; give it [Manager.Now].
//   - Has(scope) reports whether scope is a word of Scope.
//   - Repeated() reports whether Authenticate let in a repetition of the last use.
//   - DeadFrom() returns the first instant at which the token is dead by its record.
//
// [github.com/seed-55daa01a/lapse/storage.Token] says more of each method.
type Token = storage.Token

// ID names a token in public. It prints as 22 characters, which also follow the
// prefix in the token's own text. Its methods are those of
// [github.com/seed-55daa01a/lapse/storage.ID].
type ID = storage.ID

// Kind says what a Token is of.
type Kind = storage.Kind

// The kinds of tokens.
const (
	KindPlain   = storage.KindPlain   // a token with one secret
	KindSession = storage.KindSession // a log-in with Pairs, with two secrets
)

// EndReason says why a token was ended before it ran out.
type EndReason = storage.EndReason

// Why lapse ends a token.
const (
	EndRevoked   = storage.EndRevoked   // by Expire or ExpireBearer, of a Manager or Pairs
	EndSubject   = storage.EndSubject   // with every token of its subject, by ExpireSubject
	EndEvicted   = storage.EndEvicted   // to make room for another one, by Policy.AtLimit
	EndRotated   = storage.EndRotated   // a delegate, when Rotate replaced the secret above it with overlap 0; or by an earlier version
	EndReused    = storage.EndReused    // a session, when a refresh text that had been replaced was presented again
	EndExhausted = storage.EndExhausted // by its last use, of Grant.MaxUses
	EndParent    = storage.EndParent    // with the token that it was delegated from
	EndClock     = storage.EndClock     // with all issued before the clock proved to have been wrong
)

// ParseID reads the 22 characters that an ID prints as. It returns ErrInvalidID
// for anything else: nothing is trimmed or folded.
func ParseID(s string) (ID, error) { return storage.ParseID(s) }
