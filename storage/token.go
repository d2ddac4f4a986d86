package storage

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Token is what everyone may know of a token: a flat, immutable value without
// secret or digest. Every instant is in UTC, to the millisecond; the zero Time
// means "not set".
type Token struct {
	ID           ID        `json:"id"`
	Prefix       string    `json:"prefix"`
	Subject      string    `json:"subject"`
	Name         string    `json:"name,omitempty"`
	Scope        string    `json:"scope,omitempty"`
	Data         string    `json:"data,omitempty"`
	IssuedAt     time.Time `json:"issued_at"`
	LastUsedAt   time.Time `json:"last_used_at,omitzero"`   // zero until first used
	ExpiresAt    time.Time `json:"expires_at"`              // the first instant at which it is dead
	MaxExpiresAt time.Time `json:"max_expires_at,omitzero"` // no renewal passes this; zero: no cap
	EndedAt      time.Time `json:"ended_at,omitzero"`       // zero while nobody ended it
	EndReason    EndReason `json:"end_reason,omitempty"`    // why it was ended; zero while nobody did
	Kind         Kind      `json:"kind,omitempty"`          // KindPlain or KindSession
	Generation   uint32    `json:"generation,omitempty"`    // how many secrets it had before the current one
	RotatedAt    time.Time `json:"rotated_at,omitzero"`     // when the current secret replaced another; zero: it is the first

	Family   ID  `json:"family,omitzero"`     // the first token of a chain of delegations; zero: nothing was delegated from it
	Parent   ID  `json:"parent,omitzero"`     // whose delegate it is; zero: it is none
	MaxUses  int `json:"max_uses,omitempty"`  // how often it can be used in all; zero: as often as it lives
	UsesLeft int `json:"uses_left,omitempty"` // how many of them are left; -1 in the answer to a repetition, see Repeated
}

// Live reports whether the token is alive at now: nobody has ended it and now is
// before ExpiresAt. The instant of expiry is dead, and so is a token without one. The now
// to give is that of Manager.Now: a clock that was set back would revive the token.
func (t Token) Live(now time.Time) bool {
	return t.EndedAt.IsZero() && now.Before(t.ExpiresAt)
}

// Has reports whether scope is one of the space-separated words of Scope. It
// compares whole words byte for byte, knows no wildcard, and is false for a
// scope that is empty or holds a space.
func (t Token) Has(scope string) bool {
	if scope == "" || strings.Contains(scope, " ") {
		return false
	}
	for word := range strings.SplitSeq(t.Scope, " ") {
		if word == scope {
			return true
		}
	}
	return false
}

// Repeated reports whether Authenticate or Peek returned the token for the repetition of
// its last use, which Grant.UseGrace lets in. No such token is stored.
func (t Token) Repeated() bool { return t.UsesLeft < 0 }

// DeadFrom returns the first instant at which the token is dead by what its
// record says: EndedAt or ExpiresAt, whichever comes first.
func (t Token) DeadFrom() time.Time {
	if !t.EndedAt.IsZero() && t.EndedAt.Before(t.ExpiresAt) {
		return t.EndedAt
	}
	return t.ExpiresAt
}

// Kind says what a record is of. Its numbers are stored and never change their
// meaning.
type Kind uint8

const (
	KindPlain   Kind = iota // a token with one secret
	KindSession             // a log-in with two secrets: one refreshes it, one gives access
)

var kinds = [...]string{"", "session"}

// String returns one lower-case word, "" for KindPlain, and "unknown" for a kind that
// a newer version has stored.
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return "unknown"
}

// MarshalText returns the word of String. The error is always nil.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText sets k from the word of String. It returns an error for any other text
// and then leaves k as it was.
func (k *Kind) UnmarshalText(text []byte) error {
	i := slices.Index(kinds[:], string(text))
	if i < 0 {
		return errKind
	}
	*k = Kind(i)
	return nil
}

var errKind = errors.New("storage: not the word of a Kind: want \"\" or session")

// EndReason says why a token was ended before it ran out. Its numbers are stored
// and never change their meaning.
type EndReason uint8

// The reasons for which lapse ends a token. The zero EndReason is that of a
// token which nobody ended, even if it has run out.
const (
	EndRevoked   EndReason = 1 + iota // by Expire or ExpireBearer; one that ran out has no reason
	EndSubject                        // with every token of its subject, by ExpireSubject
	EndEvicted                        // to make room for another one, by Policy.AtLimit
	EndRotated                        // a delegate, when the secret above it was replaced with overlap 0; or a token that an earlier version rotated
	EndReused                         // a session, when a refresh text that had been replaced was presented again
	EndExhausted                      // by its last use
	EndParent                         // with the token that it was delegated from
	EndClock                          // with all issued before the clock proved to have been wrong
)

var endReasons = [...]string{"", "revoked", "subject", "evicted", "rotated", "reused", "exhausted", "parent", "clock"}

// String returns one lower-case word, "" for the zero EndReason, and "unknown"
// for a reason that a newer version has stored.
func (r EndReason) String() string {
	if int(r) < len(endReasons) {
		return endReasons[r]
	}
	return "unknown"
}

// MarshalText returns the word of String. The error is always nil.
func (r EndReason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText sets r from the word of String. A word that this version does not know is
// one of a newer version, and no reason to know nothing of the token: r becomes 255, which
// stands for every such word and for no reason of lapse. The error is always nil.
func (r *EndReason) UnmarshalText(text []byte) error {
	*r = unknownReason
	if i := slices.Index(endReasons[:], string(text)); i >= 0 {
		*r = EndReason(i)
	}
	return nil
}

const unknownReason EndReason = 255
