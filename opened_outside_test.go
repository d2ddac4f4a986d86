package lapse_test

import (
	"context"
	"testing"

	"github.com/seed-55daa01a/lapse"
)

// opened returns what a Hold shows, or without one the error and a context that has ended.
func opened(h *lapse.Hold, err error) (context.Context, lapse.Token, error) {
	if err == nil {
		return h.Context(), h.Token(), nil
	}
	ctx, end := context.WithCancelCause(context.Background())
	end(err)
	return ctx, lapse.Token{}, err
}

// loggedOut returns what a verb that logs out says besides the token.
func loggedOut(_ lapse.Token, err error) error { return err }

// made returns v, which must have been made.
func made[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// alone skips, under the race detector, a long test in which one goroutine does everything.
func alone(t *testing.T) {
	t.Helper()
	if lapse.RaceEnabled {
		t.Skip("one goroutine: nothing for the race detector")
	}
}
