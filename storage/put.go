package storage

import "fmt"

// CheckPut returns the error that S7, S8 and S29 demand for replacing old by r in an Update of
// subject, or nil. old is nil where no record has the ID.
func CheckPut(subject string, old *Record, r Record) error {
	switch {
	case r.Subject != subject:
		return errForeignRecord
	case r.EndedAt.IsZero() && (r.EndedBy != "" || r.EndNote != ""):
		return errNoEnd
	case old == nil:
		return nil
	case old.Subject != subject:
		return errTakenID
	case !old.EndedAt.IsZero() && !sameEnd(&old.Token, &r.Token):
		return errRevival
	case r.Thumbprint != old.Thumbprint:
		return errRebound
	case r.ExpiresAt.Before(old.ExpiresAt) && (r.MaxExpiresAt.IsZero() || r.MaxExpiresAt.After(r.ExpiresAt)):
		return errUncapped
	}
	return nil
}

// sameEnd reports whether a and b have the same end, with all that is kept of it.
func sameEnd(a, b *Token) bool {
	return a.EndedAt.Equal(b.EndedAt) && a.EndReason == b.EndReason && a.EndedBy == b.EndedBy && a.EndNote == b.EndNote
}

var (
	errForeignRecord = fmt.Errorf("%w: the record names another subject than the update", ErrConflict)
	errTakenID       = fmt.Errorf("%w: another subject holds this ID", ErrConflict)
	errUncapped      = fmt.Errorf("%w: a lower expiry needs a cap that is not above it", ErrConflict)
	errRevival       = fmt.Errorf("%w: an end is final", ErrConflict)
	errNoEnd         = fmt.Errorf("%w: only a record with an end has EndedBy and EndNote", ErrConflict)
	errRebound       = fmt.Errorf("%w: the thumbprint of a record never changes", ErrConflict)
)
