package lapse

import "github.com/seed-55daa01a/lapse/storage"

// Token is what everyone may know of a token: a flat, immutable value without
// secret or digest. Its fields and methods are those of
// [github.com/seed-55daa01a/lapse/storage.Token].
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
