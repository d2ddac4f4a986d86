// Package feed tells those who watch a store of this process what was put and deleted.
package feed

import (
	"context"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/storage"
)

// Feed passes changes on to all watchers, and keeps for each those that it has not taken yet. The
// zero value is a feed without watchers. A Feed is safe for concurrent use, and Tell and Gap wait
// for no watcher.
type Feed struct {
	watched atomic.Bool // there are watchers: without any, Tell takes no lock
	mu      sync.Mutex
	all     []*watcher
	closed  bool
}

type watcher struct {
	ready   chan struct{} // rung when the watcher has something to take
	pending []storage.Change
	gap     bool // changes were lost, so that none is pending
}

// maxPending is how many changes are kept for a watcher. A watcher that falls further behind has a gap.
const maxPending = 1 << 16

// Tell tells of a record that was put or deleted.
func (f *Feed) Tell(id storage.ID, subject string) {
	if !f.watched.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.all {
		switch {
		case w.gap:
		case len(w.pending) == maxPending:
			w.pending, w.gap = nil, true
		default:
			w.pending = append(w.pending, storage.Change{ID: id, Subject: subject})
		}
		w.ring()
	}
}

// Gap tells that anything may have changed.
func (f *Feed) Gap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.all {
		w.pending, w.gap = nil, true
		w.ring()
	}
}

// Close ends every watch with storage.ErrClosed, also those that begin later.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, w := range f.all {
		w.ring()
	}
}

// Watch is storage.Watcher's.
func (f *Feed) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	return func(yield func(storage.Change, error) bool) {
		w := &watcher{ready: make(chan struct{}, 1), gap: true}
		w.ring()
		f.add(w)
		defer f.remove(w)
		for {
			select {
			case <-w.ready:
			case <-ctx.Done():
				yield(storage.Change{}, ctx.Err())
				return
			}
			changes, err := f.take(w)
			for _, c := range changes {
				if !yield(c, nil) {
					return
				}
			}
			if err != nil {
				yield(storage.Change{}, err)
				return
			}
		}
	}
}

func (f *Feed) add(w *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, w)
	f.watched.Store(true)
}

func (f *Feed) remove(w *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := slices.Index(f.all, w)
	f.all = slices.Delete(f.all, at, at+1)
	f.watched.Store(len(f.all) > 0)
}

// take returns the changes that are kept for w. The error is storage.ErrClosed once f is closed.
func (f *Feed) take(w *watcher) (changes []storage.Change, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changes, w.pending = w.pending, nil
	if w.gap {
		changes, w.gap = []storage.Change{{Gap: true}}, false
	}
	if f.closed {
		err = storage.ErrClosed
	}
	return changes, err
}

func (w *watcher) ring() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}
