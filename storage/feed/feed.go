// Package feed tells the watchers of a store in this process which records were replaced and deleted.
// It is for authors of a storage backend: Feed.Watch is the method of storage.Watcher.
package feed

import (
	"context"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Feed passes changes on to all watchers. For each watcher it keeps the changes that the watcher
// has not taken yet. The zero value is a feed without watchers. A Feed is safe for concurrent use.
// No method except Watch waits for a watcher.
type Feed struct {
	watched atomic.Bool // there are watchers; Tell takes no lock while there are none
	mu      sync.Mutex
	all     []*watcher // without those that an error has ended
	err     error      // why nothing can be heard at the moment; storage.ErrClosed for good
}

type watcher struct {
	ready   chan struct{} // holds a value when the watcher has something to take
	pending []storage.Change
	gap     bool          // changes were lost; pending is empty then
	asOf    time.Duration // of the latest AsOf that the watcher has not taken; 0 for none
	err     error         // ends the watch once the rest is taken
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

// AsOf tells all watchers that every change of an Update which had returned before at has been told. at
// is an instant of storage.Elapsed. A watcher that has not taken the AsOf before gets the later one
// alone, behind all other changes that it has not taken.
func (f *Feed) AsOf(at time.Duration) {
	if !f.watched.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.all {
		w.asOf = max(w.asOf, at)
		w.ring()
	}
}

// Fail ends every watch with err, once its watcher has taken what was told before. A watch that begins
// before the next Restore ends with err at once, without a Gap. err wraps storage.ErrUnavailable.
func (f *Feed) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail(err)
}

// Restore lets watches begin again after Fail. Each of them begins with a Gap.
func (f *Feed) Restore() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != storage.ErrClosed {
		f.err = nil
	}
}

// Close ends every watch with storage.ErrClosed, including each watch that begins later.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail(storage.ErrClosed)
}

func (f *Feed) fail(err error) {
	if f.err == storage.ErrClosed {
		return
	}
	f.err = err
	for _, w := range f.all {
		w.err = err
		w.ring()
	}
	f.all = nil
	f.watched.Store(false)
}

// Watch is the method of storage.Watcher.
func (f *Feed) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	return func(yield func(storage.Change, error) bool) {
		w := &watcher{ready: make(chan struct{}, 1)}
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
	w.ring()
	if w.err = f.err; w.err != nil {
		return
	}
	w.gap = true
	f.all = append(f.all, w)
	f.watched.Store(true)
}

func (f *Feed) remove(w *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at := slices.Index(f.all, w); at >= 0 {
		f.all = slices.Delete(f.all, at, at+1)
	}
	f.watched.Store(len(f.all) > 0)
}

// take returns the changes that the feed keeps for w. The error is the one that ends the watch.
func (f *Feed) take(w *watcher) (changes []storage.Change, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changes, w.pending = w.pending, nil
	if w.gap {
		changes, w.gap = []storage.Change{{Gap: true}}, false
	}
	if w.asOf != 0 {
		changes, w.asOf = append(changes, storage.Change{AsOf: w.asOf}), 0
	}
	return changes, w.err
}

// ring wakes the watcher, now or when it waits next.
func (w *watcher) ring() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}
