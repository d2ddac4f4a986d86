package lapse

import "fmt"

// GrantError is what errors.As finds in an ErrInvalidGrant: which field is out of its
// limits. An OAuth endpoint answers invalid_scope where Field is "Scope", and
// invalid_request otherwise (RFC 6749 section 5.2). It holds nothing of the field's value
// but lengths, numbers, durations and, of Subject and Name, the number of a character.
type GrantError struct {
	Field string // of Grant, as "Scope" or "TTL"; "Subject" and "overlap" also where they were given by themselves
	Limit string // what is wrong and what the limit is, in words
}

// invalidGrant returns the GrantError of a field, with its limit as fmt.Sprintf writes it.
func invalidGrant(field, format string, args ...any) *GrantError {
	return &GrantError{Field: field, Limit: fmt.Sprintf(format, args...)}
}

// Error is the text of ErrInvalidGrant, the field and the limit.
func (e *GrantError) Error() string {
	return ErrInvalidGrant.Error() + ": " + e.Field + ": " + e.Limit
}

// Unwrap returns ErrInvalidGrant.
func (e *GrantError) Unwrap() error { return ErrInvalidGrant }
