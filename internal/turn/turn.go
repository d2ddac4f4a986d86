// Package turn is a lock whose wait can be given up.
package turn

import (
	"context"
	"sync/atomic"
)

// Turn is held by one goroutine at a time. The zero value is not usable: New makes one.
//
// Whoever asks while it is free takes it, even where others have waited for longer: a
// turn that is handed to somebody who has yet to be woken is nobody's until then, and
// with short turns that is most of the time. But who has lost it to others often enough
// is handed it.
type Turn struct {
	held   atomic.Bool
	free   chan struct{} // rung when it was given back
	hungry atomic.Int32  // how many are to be handed it
	handed chan struct{}
}

// patience is how often somebody who waits loses the turn before it is handed to them.
const patience = 8

// New returns a turn that nobody holds.
func New() *Turn { return &Turn{free: make(chan struct{}, 1), handed: make(chan struct{})} }

// Try takes t if no other goroutine holds it, and reports whether it did.
func (t *Turn) Try() bool { return !t.held.Load() && t.held.CompareAndSwap(false, true) }

// Take waits until the caller holds t.
func (t *Turn) Take() {
	if !t.Try() {
		t.wait(nil, nil)
	}
}

// TakeUnless is Take, but gives up, and reports false, if ctx ends or closed is closed
// while somebody else holds t.
func (t *Turn) TakeUnless(ctx context.Context, closed <-chan struct{}) bool {
	return t.Try() || t.wait(ctx.Done(), closed) // a context makes its channel for the first who asks
}

func (t *Turn) wait(done, closed <-chan struct{}) bool {
	var handed chan struct{} // from the time on when it may be
	for lost := 0; ; lost++ {
		if lost == patience {
			t.hungry.Add(1)
			defer t.hungry.Add(-1)
			handed = t.handed
		}
		if t.Try() { // it may have been given back before this
			return true
		}
		select {
		case <-t.free:
		case <-handed:
			return true
		case <-done:
			return false
		case <-closed:
			return false
		}
	}
}

// Give gives t back. Its caller holds it.
func (t *Turn) Give() {
	if t.hungry.Load() > 0 {
		select {
		case t.handed <- struct{}{}: // which leaves it held
			return
		default: // nobody is there yet
		}
	}
	t.held.Store(false)
	select {
	case t.free <- struct{}{}:
	default: // one is being woken
	}
}
