package lapse

import "context"

// opened returns what a Hold shows, or without one the error and a context that has ended.
func opened(h *Hold, err error) (context.Context, Token, error) {
	if err == nil {
		return h.Context(), h.Token(), nil
	}
	ctx, end := context.WithCancelCause(context.Background())
	end(err)
	return ctx, Token{}, err
}

// loggedOut returns what a verb that logs out says besides the token.
func loggedOut(_ Token, err error) error { return err }
