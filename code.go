package lapse

import (
	"context"
	"errors"
)

// codes are the words of Code, those that say more first.
var codes = [...]struct {
	err  error
	word string
	own  bool // an error of this package, which nothing from outside passes for
}{
	{ErrRefused, "refused", true},
	{ErrBadCredentials, "bad_credentials", true},
	{ErrMalformed, "malformed", true},
	{ErrUnknown, "unknown", true},
	{ErrExpired, "expired", true},
	{ErrRevoked, "revoked", true},
	{ErrReplaced, "replaced", true},
	{ErrReused, "reused", true},
	{ErrExhausted, "exhausted", true},
	{ErrUnauthenticated, "unauthenticated", true},
	{ErrInvalidConfig, "bad_config", true},
	{ErrInvalidGrant, "bad_grant", true},
	{ErrInvalidID, "bad_id", true},
	{ErrLimit, "limit", true},
	{ErrNotRenewable, "not_renewable", true},
	{ErrNotDelegable, "not_delegable", true},
	{ErrRotated, "rotated", true},
	{ErrScope, "scope", true},
	{ErrClock, "clock", true},
	{ErrNoKeys, "no_keys", true},
	{ErrNotMine, "not_mine", true},
	{ErrOutcomeUnknown, "outcome_unknown", true},
	{ErrNotFound, "not_found", true},
	{ErrConflict, "conflict", true},
	{ErrClosed, "closed", true},
	{ErrCorrupt, "corrupt", true},
	{ErrLocked, "locked", true},
	{ErrUnavailable, "unavailable", true},
	{context.Canceled, "canceled", false},
	{context.DeadlineExceeded, "unavailable", false},
}

// Code returns one word for each way to fail, for metrics and logs: that of the error of
// this package that err wraps, in lower case with underscores, as "expired", "revoked",
// "replaced", "reused" or "unavailable". It is "ok" for nil, "canceled" for
// context.Canceled, "unavailable" for context.DeadlineExceeded, and "internal" for an
// error that wraps none of them. The words do not
// change between versions. They are no error codes of RFC 6749.
func Code(err error) string {
	if err == nil {
		return "ok"
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.word
		}
	}
	return "internal"
}
