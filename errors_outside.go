package lapse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/seed-55daa01a/lapse/storage"
)

// storeErrors are the kinds of errors that any method of a store may return.
var storeErrors = []error{
	ErrConflict, ErrUnavailable, ErrOutcomeUnknown, ErrClosed, ErrCorrupt, ErrLocked, context.Canceled,
}

// storeError returns err, which a store returned, with the verb and a kind of storeErrors. An err
// without a kind, such as a deadline that passed, means that the store could not answer: that is
// ErrUnavailable.
func storeError(verb Verb, err error) error {
	err = fromOutside(err, storeErrors...)
	for _, kind := range storeErrors {
		if errors.Is(err, kind) {
			return fmt.Errorf("lapse: %s: %w", verb, err)
		}
	}
	return fmt.Errorf("lapse: %s: %w: %w", verb, ErrUnavailable, err)
}

// absent reports whether err, which a store returned for an ID, means that there is no such
// record, and nothing else.
func absent(err error) bool { return isOnly(err, ErrNotFound) }

// damaged reports whether err, which a store returned for a record, means that the record is
// damaged, and nothing else.
func damaged(err error) bool { return isOnly(err, ErrCorrupt) }

// isOnly reports whether err is of that kind and of no other kind that Code knows. An error of two
// kinds, such as ErrNotFound after a deadline has passed, means that the store could not tell.
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

// decision is an error that a transaction of this package returns to end the verb, and that the
// store had no part in.
type decision struct{ error }

// decide returns err as a decision.
func decide(err error) error { return decision{err} }

func (d decision) Unwrap() error { return d.error }

// errGone is the decision of a transaction whose record is absent.
var errGone = decide(ErrNotFound)

// errWrongRecord says that the store answered for one ID with the record of another.
var errWrongRecord = fmt.Errorf("%w: it answered with another token's record", ErrCorrupt)

// fromTx marks an error that a transaction of this package returned to the store. An error of
// Update without that mark is the store's own.
type fromTx struct{ error }

// Unwrap returns the error.
func (t *fromTx) Unwrap() error { return t.error }

// updateError returns err, which an Update returned. A decision, a *Rejection and errEpoch of a
// transaction of this package are returned as they are, any other error as a storeError.
func updateError(verb Verb, err error) error {
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

// recordError is storeError for an error of Manager.record: errGone becomes ErrNotFound.
func recordError(verb Verb, err error) error {
	if errors.Is(err, errGone) {
		return fmt.Errorf("lapse: %s: %w", verb, ErrNotFound)
	}
	return storeError(verb, err)
}

// putIn puts rec in tx. Its error is never a decision.
func putIn(tx storage.Tx, rec *storage.Record) error {
	return fromOutside(tx.Put(*rec), storeErrors...)
}

// fromOutside returns err, which a store or a hook returned, so that it wraps no error of this
// package that is not in may. Admit may ask another service that uses lapse: if that refuses a
// token of its own, its error must not refuse the token of this call.
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

// outside wraps err, and hides those errors of this package in it that are not in may.
type outside struct {
	err error
	may []error
}

// Error returns the text of err.
func (o *outside) Error() string { return o.err.Error() }

// Is reports whether target is in err and not hidden.
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

// As sets target from err, unless target is for a *Rejection, a *GrantError or a *ScopeError:
// another Manager made those.
func (o *outside) As(target any) bool {
	switch target.(type) {
	case **Rejection, **GrantError, **ScopeError:
		return false
	}
	return errors.As(o.err, target)
}

// tellable returns err, which a verb returns because it could not tell, as Observe may see it.
func tellable(err error) error {
	if u, ok := err.(*untold); ok {
		return u.told
	}
	return err
}

// untold is an error that may quote a secret: that of a Verifier may quote the credentials. Observe
// is told another error, with the same Code.
type untold struct {
	error
	told error
}

// hideText returns err as an untold. Its text for Observe is text, with that of an error of codes.
func hideText(text string, err error) error {
	told := errors.New(text)
	if o := outcomeOf(err); o >= outcomeCodes {
		told = fmt.Errorf("%s: %w", text, codes[o-outcomeCodes].err)
	}
	return &untold{err, told}
}

// Unwrap returns the error.
func (u *untold) Unwrap() error { return u.error }

// jsonError gives an error in an Event the JSON of a reason.
type jsonError struct{ error }

// withJSON returns err, as a jsonError unless it has a JSON of its own.
func withJSON(err error) error {
	if _, ok := err.(json.Marshaler); ok || err == nil {
		return err
	}
	return jsonError{err}
}

func (f jsonError) Unwrap() error { return f.error }

// MarshalJSON writes code and error, as for a Rejection.
func (f jsonError) MarshalJSON() ([]byte, error) {
	return json.Marshal(reason{Code: Code(f.error), Error: f.Error()})
}

// LogValue returns the text of the error.
func (f jsonError) LogValue() slog.Value { return slog.StringValue(f.Error()) }
