// Package feed tells the watchers of a store in this process which records were put and deleted.
package feed

import (
	"context"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/storage"
)

// Feed passes changes on to all watchers. For each watcher it keeps the changes that the watcher
// has not taken yet. The zero value is a feed without watchers. A Feed is safe for concurrent use.
// Tell and Gap never wait for a watcher.
type Feed struct {
	watched atomic.Bool // there are watchers; Tell takes no lock while there are none
	mu      sync.Mutex
	all     []*watcher
	closed  bool
}

type watcher struct {
	ready   chan struct{} // holds a value when the watcher has something to take
	pending []storage.Change
	gap     bool // changes were lost; pending is empty then
}

// maxPending is how many changes a feed keeps for a watcher. A watcher that falls further behind
// gets a Gap.
const maxPending = 1 << 16

// Tell tells all watchers of a record that was put or deleted.
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

// Gap tells all watchers that any record may have changed.
func (f *Feed) Gap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.all {
		w.pending, w.gap = nil, true
		w.ring()
	}
}

// Close ends every watch with storage.ErrClosed, including each watch that begins later.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, w := range f.all {
		w.ring()
	}
}

// Watch is the method of storage.Watcher.
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

// take returns the changes that the feed keeps for w. The error is storage.ErrClosed once f is
// closed.
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

// ring wakes the watcher, now or when it waits next.
func (w *watcher) ring() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}
