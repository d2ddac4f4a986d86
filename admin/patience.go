package admin

import (
	"context"
	"time"
)

// patience is how long one end waits for the other: for the rest of a line that has begun, for the
// reader of a line, and for a verb that is neither a stream nor a job over the whole store.
const patience = 30 * time.Second

// within returns ctx with the deadline of a call.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}
