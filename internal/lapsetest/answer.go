package lapsetest

import (
	"context"
	"errors"

	"github.com/seed-55daa01a/lapse"
)

// Collect returns the tokens that seq yields, and its errors joined.
func Collect(seq func(func(lapse.Token, error) bool)) (all []lapse.Token, err error) {
	for tok, e := range seq {
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		all = append(all, tok)
	}
	return all, err
}

// Opened returns what a Hold shows, or without one the error and a context that has ended.
func Opened(h *lapse.Hold, err error) (context.Context, lapse.Token, error) {
	if err == nil {
		return h.Context(), h.Token(), nil
	}
	ctx, end := context.WithCancelCause(context.Background())
	end(err)
	return ctx, lapse.Token{}, err
}

// LoggedOut returns what a verb that logs out says besides the token.
func LoggedOut(_ lapse.Token, err error) error { return err }

// Must returns v, and panics if err is not nil.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Ignore returns nil if err is expected, else err.
func Ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
