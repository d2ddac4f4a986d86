package lapse_test

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// moody is a store in memory that does not always answer, and whose Watch is what a
// test makes of it.
type moody struct {
	*memory.Store
	get     atomic.Pointer[func(ctx context.Context) error] // before each Get
	watch   atomic.Pointer[watchFunc]                       // instead of Watch
	watched atomic.Int32                                    // how often Watch was ranged over
}

type watchFunc func(ctx context.Context, yield func(storage.Change, error) bool)

func (m *moody) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	if before := m.get.Load(); before != nil {
		if err := (*before)(ctx); err != nil {
			return storage.Record{}, err
		}
	}
	return m.Store.Get(ctx, id)
}

func (m *moody) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	return func(yield func(storage.Change, error) bool) {
		m.watched.Add(1)
		if watch := m.watch.Load(); watch != nil {
			(*watch)(ctx, yield)
			return
		}
		m.Store.Watch(ctx)(yield)
	}
}

// onMoody is inBubble on a moody store.
func onMoody(t *testing.T, name string, cfg lapse.Config, test func(h *holder, store *moody)) {
	t.Helper()
	store := &moody{Store: nil}
	open := func(*testing.T) storage.Store {
		store.Store = memory.New()
		return store
	}
	inBubble(t, name, open, cfg, func(h *holder) { test(h, store) })
}

// silences are the ways in which a store does not answer.
var silences = map[string]func(ctx context.Context) error{
	"unavailable": func(context.Context) error { return storage.ErrUnavailable },
	"corrupt":     func(context.Context) error { return storage.ErrCorrupt },
	"odd":         func(context.Context) error { return errDisk },
	"hangs": func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	},
}

// TestHoldWhileTheStoreIsSilent: until the end that is known, and a second at most.
func TestHoldWhileTheStoreIsSilent(t *testing.T) {
	for name, silence := range silences {
		onMoody(t, name, lapse.Config{}, func(h *holder, store *moody) {
			i := h.issue(lapse.Grant{})
			held := h.hold(i.Bearer)
			time.Sleep(20 * time.Minute)
			store.get.Store(&silence)
			h.end(i.ID, lapse.EndRevoked) // which cannot be read
			time.Sleep(10*time.Minute - time.Millisecond)
			h.alive("until then", held)
			h.wantRejection(h.cut("then", held, time.Second+strikeSlack), lapse.ErrExpired, i.ID, i.ExpiresAt, 0)
		})
	}
}

// strikeSlack is for what begins to be noted a moment after a token is due.
const strikeSlack = 110 * time.Millisecond

// giveUp is how long a read that hangs may take, if nobody is due meanwhile: it is
// noticed when whoever waits wakes.
const giveUp = 15*time.Second + time.Second + strikeSlack

// TestHoldOfADeafStore: a store that hangs whatever becomes of the context is waited
// for by nobody who is held.
func TestHoldOfADeafStore(t *testing.T) {
	onMoody(t, "deaf", lapse.Config{}, func(h *holder, store *moody) {
		awake := make(chan struct{})
		defer close(awake)
		deaf := func(context.Context) error { <-awake; return nil }
		first, second := h.issue(lapse.Grant{}), h.issue(lapse.Grant{TTL: time.Hour})
		held := []context.Context{h.hold(first.Bearer), h.hold(second.Bearer)}
		time.Sleep(time.Second)
		store.get.Store(&deaf)
		time.Sleep(30*time.Minute - time.Second - time.Millisecond)
		h.alive("the first", held[0])
		h.cut("the first", held[0], time.Second+strikeSlack)
		time.Sleep(time.Until(second.ExpiresAt) - time.Millisecond)
		h.alive("the second", held[1])
		h.cut("the second", held[1], time.Second+strikeSlack)
	})
}

// TestHoldAfterSilence: what was told while the store could not be read is read once
// it can be, and one token that cannot be read keeps no other from it.
func TestHoldAfterSilence(t *testing.T) {
	for name, silence := range silences {
		onMoody(t, name, lapse.Config{}, func(h *holder, store *moody) {
			i, j := h.issue(lapse.Grant{}), h.issue(lapse.Grant{})
			ended, other := h.hold(i.Bearer), h.hold(j.Bearer)
			time.Sleep(time.Minute)
			store.get.Store(&silence)
			h.end(i.ID, lapse.EndRevoked)
			time.Sleep(time.Minute)
			h.alive("nobody could tell", ended)
			store.get.Store(nil)
			wantIs(t, "cause", h.cut("told before", ended, giveUp+5*time.Second), lapse.ErrRevoked)
			h.end(j.ID, lapse.EndRevoked)
			h.cut("told after", other, 0)
		})
	}
}

// TestHoldBesideOneThatHangs: ends of the others are late by what it takes to give up.
func TestHoldBesideOneThatHangs(t *testing.T) {
	onMoody(t, "one", lapse.Config{}, func(h *holder, store *moody) {
		i, j := h.issue(lapse.Grant{}), h.issue(lapse.Grant{})
		stuck, other := h.hold(i.Bearer), h.hold(j.Bearer)
		time.Sleep(time.Minute)
		var once atomic.Bool
		hang := func(ctx context.Context) error {
			if once.CompareAndSwap(false, true) {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		store.get.Store(&hang)
		h.change(i.ID, func(r *storage.Record) { r.Name = "renamed" })
		synctest.Wait()
		h.end(j.ID, lapse.EndRevoked)
		h.cut("the other", other, giveUp)
		h.alive("the one that hung", stuck)
	})
}

// watches are ways in which a Watch tells nothing.
var watches = map[string]watchFunc{
	"fails": func(_ context.Context, yield func(storage.Change, error) bool) {
		yield(storage.Change{}, storage.ErrUnavailable)
	},
	"ends":         func(context.Context, func(storage.Change, error) bool) {},
	"never yields": func(ctx context.Context, _ func(storage.Change, error) bool) { <-ctx.Done() },
	"fails after its gap": func(_ context.Context, yield func(storage.Change, error) bool) {
		if yield(storage.Change{Gap: true}, nil) {
			yield(storage.Change{}, errDisk)
		}
	},
}

// TestHoldWithoutWatch: a store that could tell and does not is polled, never later
// than the interval, and asked to tell again.
func TestHoldWithoutWatch(t *testing.T) {
	for name, watch := range watches {
		onMoody(t, name, lapse.Config{PollHolds: 3 * time.Second}, func(h *holder, store *moody) {
			store.watch.Store(&watch)
			i, j := h.issue(lapse.Grant{}), h.issue(lapse.Grant{})
			polled, heard := h.hold(i.Bearer), h.hold(j.Bearer)
			time.Sleep(time.Minute + time.Millisecond)
			h.end(i.ID, lapse.EndRevoked)
			h.cut("polled", polled, 3*time.Second)
			if name == "never yields" {
				return
			}
			store.watch.Store(nil)
			time.Sleep(3 * time.Second)
			h.end(j.ID, lapse.EndRevoked)
			h.cut("heard again", heard, 0)
		})
	}
}

// TestHoldWatchBreaks: what was put between two watches is found by the Gap.
func TestHoldWatchBreaks(t *testing.T) {
	onMoody(t, "breaks", lapse.Config{}, func(h *holder, store *moody) {
		broken := make(chan struct{})
		watch := watchFunc(func(_ context.Context, yield func(storage.Change, error) bool) {
			if yield(storage.Change{Gap: true}, nil) {
				<-broken
				yield(storage.Change{}, storage.ErrUnavailable)
			}
		})
		store.watch.Store(&watch)
		i := h.issue(lapse.Grant{})
		held := h.hold(i.Bearer)
		synctest.Wait()
		store.watch.Store(nil)
		h.end(i.ID, lapse.EndRevoked)
		h.alive("nothing was told", held)
		close(broken)
		h.cut("broken", held, 5*time.Second)
	})
}

// TestHoldPollsNobody where the store tells: it is read when there is something new.
func TestHoldPollsNobody(t *testing.T) {
	onMoody(t, "idle", lapse.Config{}, func(h *holder, store *moody) {
		held := h.hold(h.issue(lapse.Grant{TTL: 5 * time.Hour}).Bearer)
		synctest.Wait()
		var reads atomic.Int32
		count := func(context.Context) error { reads.Add(1); return nil }
		store.get.Store(&count)
		time.Sleep(4 * time.Hour)
		h.alive("idle", held)
		if n := reads.Load(); n != 0 || store.watched.Load() != 1 {
			t.Errorf("%d reads and %d watches in four hours; want none, and one", n, store.watched.Load())
		}
	})
}

// TestHoldOfAWrongRecord: another token's record ends nothing.
func TestHoldOfAWrongRecord(t *testing.T) {
	store := &wrong{Store: memory.New()}
	var mixed atomic.Pointer[lapse.ID] // whose record is given for any other
	store.get = func(r storage.Record) storage.Record {
		if id := mixed.Load(); id != nil {
			r, _ = store.Store.Get(context.Background(), *id)
		}
		return r
	}
	inBubble(t, "wrong", func(*testing.T) storage.Store { return store }, lapse.Config{}, func(h *holder) {
		held, other := h.hold(h.issue(lapse.Grant{}).Bearer), h.issue(lapse.Grant{})
		h.end(other.ID, lapse.EndRevoked)
		mixed.Store(&other.ID)
		time.Sleep(30*time.Minute - time.Millisecond)
		h.alive("by another's record", held)
		cause := h.cut("at its time", held, time.Millisecond)
		if errors.Is(cause, lapse.ErrUnknown) || !errors.Is(cause, lapse.ErrExpired) {
			t.Errorf("cut by %v", cause)
		}
	})
}
