package hold_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse/internal/hold"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestReadAll: after a gap many tokens are read with one call, each gets its own state, and an answer
// that cannot be right cuts none of them until their expiry.
func TestReadAll(t *testing.T) {
	const tokens = 5
	id := func(i int) storage.ID { return storage.ID{9, byte(i)} }
	for name, row := range map[string]struct {
		answer func(ids []storage.ID, states []hold.State) []hold.State
		cut    func(i int) error // of the token i
	}{
		"all live":    {func(_ []storage.ID, states []hold.State) []hold.State { return states }, func(int) error { return nil }},
		"too short":   {func(_ []storage.ID, states []hold.State) []hold.State { return states[:1] }, func(int) error { return nil }},
		"none":        {func([]storage.ID, []hold.State) []hold.State { return nil }, func(int) error { return nil }},
		"too long":    {func(_ []storage.ID, states []hold.State) []hold.State { return append(states, states...) }, func(int) error { return nil }},
		"it panics":   {func([]storage.ID, []hold.State) []hold.State { panic("of a store") }, func(int) error { return nil }},
		"the odd die": {oddDie, func(i int) error { return []error{nil, errDead}[i%2] }},
	} {
		inBubble(t, name, 0, func(t *testing.T, _ *hold.Scheduler, w *world) {
			expires, gap, calls := w.state.ExpiresAt, false, 0
			cfg := configOf(w, 0)
			cfg.Read = func(context.Context, storage.ID) hold.State {
				w.mu.Lock()
				defer w.mu.Unlock()
				return hold.State{ExpiresAt: expires, Unreadable: gap}
			}
			cfg.ReadAll = func(_ context.Context, ids []storage.ID, alive func()) []hold.State {
				states := make([]hold.State, len(ids))
				for i := range states {
					states[i].ExpiresAt = expires
					alive()
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				if !gap {
					return states
				}
				if calls++; len(ids) != tokens {
					t.Errorf("%d tokens in one call; want %d", len(ids), tokens)
				}
				return row.answer(ids, states)
			}
			s := hold.New(cfg)
			var conns [tokens]*hold.Conn
			for i := range conns {
				conns[i] = new(hold.Conn)
				conns[i].Open(context.Background(), func() {})
				s.Add(conns[i], id(i))
				s.Arm(conns[i], &storage.Token{ID: id(i), ExpiresAt: expires}, 0, false)
			}
			synctest.Wait()
			w.set(func() { gap = true })
			w.changes <- storage.Change{Gap: true}
			time.Sleep(time.Millisecond)
			synctest.Wait()
			for i, c := range conns {
				if got := context.Cause(c.Context()); !errors.Is(got, row.cut(i)) {
					t.Errorf("token %d: cut by %v; want %v", i, got, row.cut(i))
				}
				drop(s, c)
			}
			if calls != 1 {
				t.Errorf("%d calls; want 1", calls)
			}
		})
	}
}

// oddDie returns states with an end for the tokens of odd IDs.
func oddDie(ids []storage.ID, states []hold.State) []hold.State {
	for i, id := range ids {
		if id[1]%2 == 1 {
			states[i].Cause = errDead
		}
	}
	return states
}
