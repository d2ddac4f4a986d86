package lapse_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// mute is a store that tells nothing.
type mute struct{ storage.Store }

// holdStores are the stores on which holds are tried, and how late an end may be there.
var holdStores = []struct {
	name string
	open func(t *testing.T) storage.Store
	late time.Duration
}{
	{"memory", func(*testing.T) storage.Store { return memory.New() }, 0},
	{"bolt", openBolt, 0},
	{"polled", func(*testing.T) storage.Store { return mute{memory.New()} }, 5 * time.Second},
}

func openBolt(t *testing.T) storage.Store {
	s, err := bolt.Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// holder is somebody in a bubble who holds connections. Whatever goroutine is left
// when the bubble ends fails the test.
type holder struct {
	*lapse.Manager
	t     *testing.T
	ctx   context.Context
	store storage.Store

	bearer string // of what was issued last
}

// inBubble runs test for a holder on store, and then lets go of everything.
func inBubble(t *testing.T, name string, open func(t *testing.T) storage.Store, cfg lapse.Config, test func(h *holder)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, release := context.WithCancel(context.Background())
			h := &holder{t: t, ctx: ctx, store: open(t)}
			defer h.store.Close()
			defer synctest.Wait()
			defer release()
			h.Manager = h.manager(cfg)
			test(h)
		})
	})
}

// onMemory is inBubble on a store in memory.
func onMemory(t *testing.T, name string, cfg lapse.Config, test func(h *holder)) {
	t.Helper()
	inBubble(t, name, func(*testing.T) storage.Store { return memory.New() }, cfg, test)
}

// manager returns another Manager on the store.
func (h *holder) manager(cfg lapse.Config) *lapse.Manager {
	h.t.Helper()
	m, err := lapse.New(h.store, cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

func (h *holder) issue(g lapse.Grant) lapse.Issued {
	h.t.Helper()
	if g.Subject == "" {
		g.Subject = "ana"
	}
	i := granted(h.t, h.Manager, g)
	h.bearer = i.Bearer
	return i
}

func (h *holder) hold(bearer string) context.Context {
	h.t.Helper()
	held, tok, err := opened(h.Hold(h.ctx, bearer))
	if err != nil || tok.ID == (lapse.ID{}) || held.Err() != nil {
		h.t.Fatalf("Hold: %+v, %v, %v", tok, err, context.Cause(held))
	}
	return held
}

// alive checks that held is not cut by anything that has happened so far.
func (h *holder) alive(what string, held context.Context) {
	h.t.Helper()
	synctest.Wait()
	if held.Err() != nil {
		h.t.Fatalf("%s: cut by %v", what, context.Cause(held))
	}
}

// cut checks that held ends within late, and returns why it did.
func (h *holder) cut(what string, held context.Context, late time.Duration) error {
	h.t.Helper()
	synctest.Wait()
	if late > 0 && held.Err() == nil {
		select {
		case <-held.Done():
		case <-time.After(late):
			synctest.Wait() // for what is due at this very instant
		}
	}
	if held.Err() == nil {
		h.t.Fatalf("%s: not cut after %v", what, late)
	}
	return context.Cause(held)
}

// wantRejection checks why somebody was cut.
func (h *holder) wantRejection(cause, err error, id lapse.ID, at time.Time, reason lapse.EndReason) {
	h.t.Helper()
	var why *lapse.Rejection
	switch {
	case !errors.Is(cause, err) || !errors.As(cause, &why):
		h.t.Errorf("cut by %v; want a rejection by %v", cause, err)
	case why.ID != id || why.Subject != "ana" || !why.At.Equal(at) || why.Reason != reason:
		h.t.Errorf("cut by %+v; want token %v, %v at %v", *why, id, reason, at)
	}
}

// change replaces the record of id, and may put another one with it.
func (h *holder) change(id lapse.ID, f func(r *storage.Record), more ...storage.Record) {
	h.t.Helper()
	err := h.store.Update(context.Background(), "ana", func(tx storage.Tx) error {
		r, err := tx.Get(id)
		if err != nil {
			return err
		}
		f(&r)
		for _, m := range more {
			if err := tx.Put(m); err != nil {
				return err
			}
		}
		return tx.Put(r)
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *holder) end(id lapse.ID, why lapse.EndReason) {
	h.t.Helper()
	h.change(id, func(r *storage.Record) { r.EndedAt, r.EndReason = now(), why })
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
