package storage

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Token is the public part of a token's record: a flat, immutable value without secret or digest.
// Every instant is in UTC, to the millisecond; the zero Time means "not set".
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
	EndedAt      time.Time `json:"ended_at,omitzero"`       // zero while the token has no end
	EndReason    EndReason `json:"end_reason,omitempty"`    // why it was ended; zero while the token has no end
	EndedBy      string    `json:"ended_by,omitempty"`      // who ended it, in the words of the caller; empty while the token has no end
	EndNote      string    `json:"end_note,omitempty"`      // what the caller noted about the end; empty while the token has no end
	Kind         Kind      `json:"kind,omitempty"`          // KindPlain or KindSession; KindAlias only in records that no verb returns
	Generation   uint32    `json:"generation,omitempty"`    // how many secrets the token had before the current one
	RotatedAt    time.Time `json:"rotated_at,omitzero"`     // when the current secret replaced another; zero for the first secret

	AuthenticatedAt time.Time  `json:"authenticated_at,omitzero"` // when the user was last known to be present; zero in a record until Confirm
	Client          string     `json:"client,omitempty"`          // the program or party that the token was issued to; empty: not told
	Thumbprint      Thumbprint `json:"thumbprint,omitzero"`       // of the key that the token is bound to; zero: the token is not bound
	SuspendedAt     time.Time  `json:"suspended_at,omitzero"`     // since when every use is refused until the token is resumed; zero: the token is not suspended

	Family   ID  `json:"family,omitzero"`     // the first token of a chain of delegations; zero for a token in no chain
	Parent   ID  `json:"parent,omitzero"`     // the token from which this one was delegated; zero for no delegate
	MaxUses  int `json:"max_uses,omitempty"`  // how many uses the token has in all; zero for no limit
	UsesLeft int `json:"uses_left,omitempty"` // how many uses are left; -1 in the answer to a repetition, see Repeated
}

// Live reports whether the token is alive at now: it has no end, and now is before ExpiresAt. The
// instant of expiry is dead, and a token without ExpiresAt is dead. Take now from Manager.Now: a
// clock that was set back would revive the token. A suspended token is alive, and refused: ask for
// SuspendedAt.IsZero, too.
func (t Token) Live(now time.Time) bool {
	return t.EndedAt.IsZero() && now.Before(t.ExpiresAt)
}

// Has reports whether scope is one of the space-separated words of Scope. It compares whole words
// byte for byte and knows no wildcard. It is false for a scope that is empty or contains a space.
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

// Repeated reports whether Authenticate or Peek returned the token for the repetition of its last
// use, which Grant.UseGrace permits. No such token is stored.
func (t Token) Repeated() bool { return t.UsesLeft < 0 }

// DeadFrom returns the first instant at which the token is dead according to its record: EndedAt or
// ExpiresAt, whichever comes first.
func (t Token) DeadFrom() time.Time {
	if !t.EndedAt.IsZero() && t.EndedAt.Before(t.ExpiresAt) {
		return t.EndedAt
	}
	return t.ExpiresAt
}

// Kind says whether a record is a plain token, a session or an alias. Its numbers are stored and never
// change their meaning.
type Kind uint8

// The kinds of a record.
const (
	KindPlain   Kind = iota // a token with one secret
	KindSession             // a log-in with two secrets: one refreshes it, one gives access
	KindAlias               // no token: what a Manager finds by a key: another name of a token, or the log-in of a device
)

var kinds = [...]string{"", "session", "alias"}

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

// UnmarshalText sets k from the word of String. For any other text it returns an error and leaves k
// as it was.
func (k *Kind) UnmarshalText(text []byte) error {
	i := slices.Index(kinds[:], string(text))
	if i < 0 {
		return errKind
	}
	*k = Kind(i)
	return nil
}

var errKind = errors.New("storage: not the word of a Kind: want \"\", session or alias")

// EndReason says why a token was ended before it expired. Its numbers are stored and never change
// their meaning.
type EndReason uint8

// The reasons for which lapse ends a token. The zero EndReason is that of a token without an end,
// even if the token has expired.
const (
	EndRevoked   EndReason = 1 + iota // by Expire or ExpireBearer; a token that has only expired has no reason
	EndSubject                        // by ExpireSubject, with every token of its subject
	EndEvicted                        // by Policy.AtLimit, to make room for a new token
	EndRotated                        // a delegate, when the secret of its parent was replaced with overlap 0; or a token that an earlier version rotated
	EndReused                         // a session, when a refresh text that had been replaced was presented again
	EndExhausted                      // by its last use
	EndParent                         // with its parent, from which it was delegated
	EndClock                          // with all tokens that were issued before the clock was found wrong
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

// UnmarshalText sets r from the word of String. A word that this version does not know comes from a
// newer version, and the token must still be readable: r becomes 255 then, which is no reason of
// lapse. The error is always nil.
func (r *EndReason) UnmarshalText(text []byte) error {
	*r = unknownReason
	if i := slices.Index(endReasons[:], string(text)); i >= 0 {
		*r = EndReason(i)
	}
	return nil
}

// unknownReason stands for every reason of a newer version.
const unknownReason EndReason = 255
