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

// EndReason says why a token was ended before it ran out.
type EndReason = storage.EndReason

// Why lapse ends a token.
const (
	EndExpired   = storage.EndExpired   // by Expire or ExpireBearer, or Expire of Pairs
	EndSubject   = storage.EndSubject   // with every token of its subject, by ExpireSubject
	EndEvicted   = storage.EndEvicted   // to make room for another one, by Policy.AtLimit
	EndRotated   = storage.EndRotated   // since its successor took its place
	EndReused    = storage.EndReused    // with its family, when a refresh token was presented again
	EndExhausted = storage.EndExhausted // by its last use, of Grant.MaxUses
	EndParent    = storage.EndParent    // with the token that it was delegated from
	EndClock     = storage.EndClock     // with all issued before the clock proved to have been wrong
)

// ParseID reads the 22 characters that an ID prints as. It returns ErrInvalidID
// for anything else: nothing is trimmed or folded.
func ParseID(s string) (ID, error) { return storage.ParseID(s) }
