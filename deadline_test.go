package lapse_test

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// deadlined is a context whose deadline passes when it is told to: no test has to hope
// that a call begins before a real one does.
type deadlined struct {
	context.Context
	done chan struct{}
	once sync.Once
}

func (d *deadlined) Done() <-chan struct{} { return d.done }

func (d *deadlined) Err() error {
	select {
	case <-d.done:
		return context.DeadlineExceeded
	default:
		return d.Context.Err()
	}
}

func (d *deadlined) pass() { d.once.Do(func() { close(d.done) }) }

// lateAt returns a context whose deadline passes as the n-th call of store from now on
// arrives, if mode is that of a store that hangs.
func lateAt(ctx context.Context, store *storagetest.Faulty, n int, mode storagetest.Mode) context.Context {
	if mode != storagetest.Hang {
		return ctx
	}
	d := &deadlined{Context: ctx, done: make(chan struct{})}
	var calls atomic.Int64
	store.Before(func(storagetest.Op) {
		if calls.Add(1) == int64(n) {
			store.Before(nil)
			d.pass()
		}
	})
	return d
}
