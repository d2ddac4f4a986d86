package lapse

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-55daa01a/lapse/storage"
)

// Token is all that a program may know of a token: a flat value without secret or digest.
// Instants are in UTC, to the millisecond, and the zero Time means "not set". The fields are
//
//	ID              ID         // the public name; it never changes
//	Prefix          string     // of the token's text; of a session, of its access text
//	Subject         string     // whose token it is, as in Grant
//	Name            string     // for people, as in Grant
//	Scope           string     // words with one space between them, as in Grant
//	Data            string     // the caller's own, as in Grant
//	IssuedAt        time.Time  // of a session: the log-in
//	LastUsedAt      time.Time  // the last use that was recorded; zero: none
//	ExpiresAt       time.Time  // the first instant at which the token is dead; a renewal moves it
//	MaxExpiresAt    time.Time  // no renewal passes this instant; zero: there is no cap
//	EndedAt         time.Time  // when the token was ended; zero: it was not
//	EndReason       EndReason  // why the token was ended; zero: it was not
//	EndedBy         string     // who ended the token, in the caller's words; empty: not told
//	EndNote         string     // what was noted about the end; empty: nothing
//	Kind            Kind       // KindPlain or KindSession
//	Generation      uint32     // how many secrets the token had before the current one
//	RotatedAt       time.Time  // when the current secret replaced another; zero: the first secret is current
//	AuthenticatedAt time.Time  // when the user was last present: IssuedAt, or the last Confirm (RFC 9470)
//	Client          string     // the program or party that the token was issued to, as in Grant; empty: not told
//	Thumbprint      Thumbprint // of the key that the token is bound to (RFC 9449, RFC 8705); zero: the token is not bound
//	SuspendedAt     time.Time  // since when the token, or one above a delegate, is suspended; zero: it is not
//	Family          ID         // the first token of a chain of delegations; zero: nothing was delegated from this token
//	Parent          ID         // the token that this one was delegated from; zero: none
//	MaxUses         int        // how often the token can be used in all; zero: there is no limit
//	UsesLeft        int        // how many of MaxUses are left; -1: see Repeated
//
// and the methods are
//   - Live(now) reports whether the token is alive at now; give it [Manager.Now]. A suspended token is alive.
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

// Thumbprint names a key to which a token can be bound: the hash of the JWK of a public key, which
// RFC 9449 calls jkt, or of a certificate, which RFC 8705 calls x5t#S256. Its methods are those of
// [github.com/seed-55daa01a/lapse/storage.Thumbprint].
type Thumbprint = storage.Thumbprint

// Kind says whether a token is a plain one or a session.
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
	EndRotated   = storage.EndRotated   // of a delegate, when a rotation with overlap 0 replaced its parent's secret; or by an earlier version
	EndReused    = storage.EndReused    // of a session, when a replaced refresh text was presented again
	EndExhausted = storage.EndExhausted // by its last use, of Grant.MaxUses
	EndParent    = storage.EndParent    // of a delegate, with its parent
	EndClock     = storage.EndClock     // with all tokens that were issued before the clock proved to be wrong
)

// ParseID reads the 22 characters that an ID prints as. It returns ErrInvalidID for any other
// text: it trims and folds nothing.
func ParseID(s string) (ID, error) { return storage.ParseID(s) }

// ParseThumbprint reads the 43 characters of base64url without padding that a Thumbprint prints
// as. It returns ErrInvalidThumbprint for any other text, and for the text of 32 zero bytes.
func ParseThumbprint(s string) (Thumbprint, error) { return storage.ParseThumbprint(s) }

// Require returns nil if tok has every word of scopes (Token.Has), or else a *ScopeError, which
// wraps ErrScope and names the missing words. Call it with a token that Authenticate returned:
// an error means that the bearer is good and may not do this (RFC 6750 section 3.1, 403).
func Require(tok Token, scopes ...string) error {
	missing := slices.DeleteFunc(slices.Clone(scopes), tok.Has)
	if len(missing) == 0 {
		return nil
	}
	return missingScope(missing)
}

// words returns the words of a valid scope.
func words(scope string) []string { return strings.Fields(scope) }

// ScopeError is the error that wraps ErrScope, for errors.As. It says which words are missing.
type ScopeError struct {
	// Missing are the words that were asked for and are missing, in the order in which they
	// were asked for: 16 at most, each cut at 64 bytes. "[N bytes]" stands for a word that no
	// scope can have (RFC 6749 section 3.3), or that may contain a part of a token: 40 letters
	// and digits in a row, or 24 with a digit among them.
	Missing []string

	// More is how many words are missing besides those in Missing.
	More int

	// Limit is set if something else is wrong, too: more is asked for than a scope can have,
	// or, within the grace, another scope than the first time.
	Limit string
}

const (
	maxMissing     = 16
	maxMissingWord = 64

	// So many letters and digits in a row may contain a secret: secretRun, or partRun with a
	// digit among them, which may be a half of a text. The text of a token ends in 72.
	secretRun, partRun = 40, 24
)

// missingScope returns the ScopeError for the missing words.
func missingScope(missing []string) *ScopeError {
	e := &ScopeError{More: max(0, len(missing)-maxMissing)}
	for _, word := range missing[:len(missing)-e.More] {
		e.Missing = append(e.Missing, shownWord(word))
	}
	return e
}

// repeatedScope returns the ScopeError for a Refresh that, within the grace, asks for another
// scope than the first time.
func repeatedScope(asked, first string) *ScopeError {
	e := missingScope(missingWords(first, asked))
	e.Limit = "within the grace Refresh repeats its answer, with the scope that was asked for first"
	return e
}

// Error returns the text of ErrScope with Limit, or else with the missing words.
func (e *ScopeError) Error() string {
	text := ErrScope.Error() + ": " + e.Limit
	switch {
	case e.Limit != "":
		return text
	case e.More > 0:
		return fmt.Sprintf("%s%q and %d more are missing", text, e.Missing, e.More)
	}
	return fmt.Sprintf("%s%q is missing", text, e.Missing)
}

// Unwrap returns ErrScope.
func (e *ScopeError) Unwrap() error { return ErrScope }

// shownWord returns word, which a caller asked for, as an error may show it.
func shownWord(word string) string {
	if len(word) > storage.MaxScope || !isWord(word) || mayHoldSecret(word) {
		return fmt.Sprintf("[%d bytes]", len(word))
	}
	return word[:min(len(word), maxMissingWord)]
}

// mayHoldSecret reports whether s has so many ASCII letters and digits in a row that they may be
// a part of a secret.
func mayHoldSecret(s string) bool {
	run, digit := 0, false
	for _, c := range []byte(s) {
		switch isDigit := c >= '0' && c <= '9'; {
		case isDigit || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z':
			run, digit = run+1, digit || isDigit
		default:
			run, digit = 0, false
		}
		if run >= secretRun || run >= partRun && digit {
			return true
		}
	}
	return false
}
