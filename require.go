package lapse

import (
	"slices"
	"strings"
)

// Require returns nil if tok has every one of scopes (Token.Has), or else ErrScope, with a
// *ScopeError that names those that are missing. Call it on what Authenticate returned: the
// bearer is who it says it is, and may not do this (RFC 6750 section 3.1, 403).
func Require(tok Token, scopes ...string) error {
	missing := slices.DeleteFunc(slices.Clone(scopes), tok.Has)
	if len(missing) == 0 {
		return nil
	}
	return missingScope(missing)
}

// words returns the words of a valid scope.
func words(scope string) []string { return strings.Fields(scope) }
