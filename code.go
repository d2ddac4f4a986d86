package lapse

import (
	"context"
	"errors"
)

// codes are the words of Code, those that say more first.
var codes = [...]struct {
	err  error
	word string
}{
	{ErrRefused, "refused"},
	{ErrBadCredentials, "bad_credentials"},
	{ErrMalformed, "malformed"},
	{ErrUnknown, "unknown"},
	{ErrExpired, "expired"},
	{ErrRevoked, "revoked"},
	{ErrReplaced, "replaced"},
	{ErrReused, "reused"},
	{ErrExhausted, "exhausted"},
	{ErrUnauthenticated, "unauthenticated"},
	{ErrInvalidConfig, "bad_config"},
	{ErrInvalidGrant, "bad_grant"},
	{ErrInvalidID, "bad_id"},
	{ErrLimit, "limit"},
	{ErrNotRenewable, "not_renewable"},
	{ErrNotDelegable, "not_delegable"},
	{ErrRotated, "rotated"},
	{ErrScope, "scope"},
	{ErrClock, "clock"},
	{ErrNoKeys, "no_keys"},
	{ErrNotMine, "not_mine"},
	{ErrOutcomeUnknown, "outcome_unknown"},
	{ErrNotFound, "not_found"},
	{ErrConflict, "conflict"},
	{ErrClosed, "closed"},
	{ErrCorrupt, "corrupt"},
	{ErrLocked, "locked"},
	{ErrUnavailable, "unavailable"},
	{context.Canceled, "canceled"},
	{context.DeadlineExceeded, "unavailable"},
}

// Code returns one word for each way to fail, for metrics and logs: that of the error of
// this package that err wraps, in lower case with underscores, as "expired", "revoked",
// "replaced", "reused" or "unavailable". It is "ok" for nil, "canceled" for
// context.Canceled, and "internal" for an error that wraps none of them. The words do not
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
