package lapse

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seed-55daa01a/lapse/storage"
)

// storeErrors are the kinds of errors that a store may return from any of its methods.
var storeErrors = []error{
	ErrConflict, ErrUnavailable, ErrOutcomeUnknown, ErrClosed, ErrCorrupt, ErrLocked, context.Canceled,
}

// storeError says which verb an error of the store stopped, and of which kind it
// is: one that names no kind, a deadline that passed included, means that the
// store could not answer.
func storeError(verb string, err error) error {
	err = fromOutside(err, storeErrors...)
	for _, kind := range storeErrors {
		if errors.Is(err, kind) {
			return fmt.Errorf("lapse: %s: %w", verb, err)
		}
	}
	return fmt.Errorf("lapse: %s: %w: %w", verb, ErrUnavailable, err)
}

// absent reports whether err, which a store returned for an ID, says that there is no such
// record, and nothing else.
func absent(err error) bool { return isOnly(err, ErrNotFound) }

// damaged reports whether err, which a store returned for a record, says that the record
// is damaged, and nothing else.
func damaged(err error) bool { return isOnly(err, ErrCorrupt) }

// isOnly reports whether err is of that kind and of no other one that Code knows. What says
// more, as that a deadline has passed while nothing was found, could not tell.
func isOnly(err, kind error) bool {
	if err == kind || !errors.Is(err, kind) {
		return err == kind
	}
	for _, c := range codes {
		if c.err != kind && errors.Is(err, c.err) {
			return false
		}
	}
	return true
}

// decision is an error that this package decided on inside a transaction.
type decision struct{ error }

func decide(err error) error { return decision{err} }

func (d decision) Unwrap() error { return d.error }

// errGone is what a transaction decides if the record that it is about is absent.
var errGone = decide(ErrNotFound)

// fromTx is an error that a transaction of this package returned to the store. Any other
// error that an Update returns is the store's own.
type fromTx struct{ error }

// Unwrap returns the error.
func (t *fromTx) Unwrap() error { return t.error }

// updateError returns what this package decided inside a transaction as it is, and makes
// a storeError of the rest.
func updateError(verb string, err error) error {
	if err == nil {
		return nil
	}
	if own, ok := err.(*fromTx); ok {
		switch err = own.error; err.(type) {
		case decision, *Rejection:
			return err
		}
		if err == errEpoch {
			return err
		}
	}
	return storeError(verb, err)
}

// recordError is storeError for what record returned: without a record ErrNotFound.
func recordError(verb string, err error) error {
	if errors.Is(err, errGone) {
		return fmt.Errorf("lapse: %s: %w", verb, ErrNotFound)
	}
	return storeError(verb, err)
}

// putIn has tx put rec. Its error is no decision.
func putIn(tx storage.Tx, rec *storage.Record) error {
	return fromOutside(tx.Put(*rec), storeErrors...)
}

// fromOutside returns err, which a store or a hook returned. Of the errors of this package
// what it returns wraps those of may alone: a directory that Admit asks may have refused a
// token of its own, and that says nothing about the token at hand.
func fromOutside(err error, may ...error) error {
	if err == nil {
		return nil
	}
	var r *Rejection
	hides := errors.As(err, &r) && !slices.Contains(may, ErrUnauthenticated)
	for _, c := range codes {
		hides = hides || c.own && errors.Is(err, c.err) && !slices.Contains(may, c.err)
	}
	if !hides {
		return err
	}
	return &outside{err, may}
}

// outside is an error that wraps what err does, except for the errors of this package that
// are not among may.
type outside struct {
	err error
	may []error
}

// Error returns the text of the error.
func (o *outside) Error() string { return o.err.Error() }

// Is hides the errors of this package.
func (o *outside) Is(target error) bool {
	switch target.(type) {
	case *Rejection, *GrantError, *ScopeError, decision:
		return false
	}
	for _, c := range codes {
		if c.own && c.err == target && !slices.Contains(o.may, target) {
			return false
		}
	}
	return errors.Is(o.err, target)
}

// As hides a Rejection, a GrantError and a ScopeError: another Manager made them.
func (o *outside) As(target any) bool {
	switch target.(type) {
	case **Rejection, **GrantError, **ScopeError:
		return false
	}
	return errors.As(o.err, target)
}
