package lapse

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// tickSharer is a store that keeps no marks and lets Managers share some.
type tickSharer struct {
	storage.Store
	marks *storage.Marks
}

func (s *tickSharer) SharedMarks() *storage.Marks { return s.marks }

func newTickSharer() *tickSharer {
	return &tickSharer{memory.New(), storage.NewMarks(storage.Mark{}, nil)}
}

// TestFault4PairsShareOneTime: one side of Pairs has looked at a clock that was ahead. The
// other side issues, and refreshes, by the same time.
func TestFault4PairsShareOneTime(t *testing.T) {
	for name, open := range map[string]func() storage.Store{
		"no marks":     func() storage.Store { return struct{ storage.Store }{memory.New()} },
		"shared marks": func() storage.Store { return newTickSharer() },
		"kept marks":   func() storage.Store { return memory.New() },
	} {
		for _, side := range []string{"access", "refresh"} {
			clock, ctx := newTickWall(), t.Context()
			p := tickMust(NewPairs(open(), PairConfig{Access: Config{Clock: clock}}))(t)
			clock.set(time.Hour)
			if side == "access" {
				p.access.now()
			} else {
				p.refresh.now()
			}
			clock.set(-time.Hour)
			for range 10 {
				c := tickMust(p.Issue(ctx, Grant{Subject: "ana"}))(t)
				clock.pass(time.Minute)
				for range 2 {
					if _, err := p.Access().Authenticate(ctx, c.Access.Bearer); err != nil {
						t.Fatalf("%s, the %s side was ahead: %v", name, side, err)
					}
					c = tickMust(p.Refresh(ctx, c.Refresh.Bearer))(t)
				}
				if !p.access.Now().Equal(p.refresh.Now()) {
					t.Fatalf("%s: it is %v and %v", name, p.access.Now(), p.refresh.Now())
				}
			}
		}
	}
}

// TestFault4ManagersShareOneTime: two Managers of one store see one time, where the store
// keeps marks or has some to share, and a store without either is as it was.
func TestFault4ManagersShareOneTime(t *testing.T) {
	for _, row := range []struct {
		name  string
		store storage.Store
		same  bool
	}{
		{"no marks", struct{ storage.Store }{memory.New()}, false},
		{"shared marks", newTickSharer(), true},
		{"kept marks", memory.New(), true},
	} {
		clock := newTickWall()
		first := tickMust(New(row.store, Config{Clock: clock}))(t)
		second := tickMust(New(row.store, Config{Clock: clock}))(t)
		clock.set(time.Hour)
		first.Now()
		clock.set(-time.Hour)
		if same := first.Now().Equal(second.Now()); same != row.same {
			t.Errorf("%s: %v and %v; want the same: %v", row.name, first.Now(), second.Now(), row.same)
		}
		if !row.same {
			continue
		}
		third := tickMust(New(row.store, Config{Clock: clock}))(t)
		if !third.Now().Equal(first.Now()) {
			t.Errorf("%s: a Manager that came later sees %v, not %v", row.name, third.Now(), first.Now())
		}
	}
}

// TestFault4SharedMarksAreNotKept: nothing begins an epoch that a later process would not
// know of, and GuardStrict, which would have to, is refused.
func TestFault4SharedMarksAreNotKept(t *testing.T) {
	s, clock := newTickSharer(), newTickWall()
	if _, err := New(s, Config{Clock: clock, ClockGuard: GuardStrict}); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("GuardStrict: %v; want ErrInvalidConfig", err)
	}
	m := tickMust(New(s, Config{Clock: clock}))(t)
	i := tickMust(m.Issue(t.Context(), Grant{Subject: "ana"}))(t)
	clock.set(-time.Hour)
	for range 3 {
		if _, err := m.Authenticate(t.Context(), i.Bearer); err != nil {
			t.Errorf("a clock that is behind: %v", err)
		}
		clock.pass(9 * time.Minute)
	}
	if m.AcceptClock(t.Context()); s.marks.Epoch() != 0 {
		t.Error("an epoch has begun")
	}
}

// TestFault7StrictCountsFromTheMark: a Manager under GuardStrict that is idle while the
// clock is behind counts from the store's mark when it is asked first.
func TestFault7StrictCountsFromTheMark(t *testing.T) {
	for _, row := range []struct {
		behind time.Duration // for how long, when the idle one is asked
		want   error
	}{
		{defaultSettle - time.Millisecond, nil}, {defaultSettle, nil}, {defaultSettle + time.Millisecond, ErrClock}, {25 * time.Minute, ErrClock},
	} {
		store, clock := memory.New(), newTickWall()
		busy := tickMust(New(store, Config{Clock: clock, ClockGuard: GuardStrict}))(t)
		idle := tickMust(New(store, Config{Clock: clock, ClockGuard: GuardStrict}))(t)
		i := tickMust(busy.Issue(t.Context(), Grant{Subject: "ana"}))(t)
		clock.set(-time.Hour)
		busy.Peek(t.Context(), i.Bearer)
		clock.pass(row.behind)
		if _, err := idle.Peek(t.Context(), i.Bearer); !errors.Is(err, row.want) {
			t.Errorf("after %v: %v; want %v", row.behind, err, row.want)
		}
	}
}

// TestFault7LenientKeepsNoOther: a Manager with a larger tolerance, whichever looks first
// and last, does not keep a strict one from settling, nor is it kept itself.
func TestFault7LenientKeepsNoOther(t *testing.T) {
	for _, row := range []struct {
		behind  time.Duration
		strict  error
		lenient bool // it begins an epoch
	}{
		{defaultTolerance, nil, false},
		{defaultTolerance + time.Millisecond, ErrClock, false},
		{3 * time.Hour, ErrClock, false},
		{3*time.Hour + time.Millisecond, nil, true}, // and the epoch ends the wait of the strict one
	} {
		for _, strictFirst := range []bool{true, false} {
			store, clock := memory.New(), newTickWall()
			strict := tickMust(New(store, Config{Clock: clock, ClockGuard: GuardStrict}))(t)
			lenient := tickMust(New(store, Config{Clock: clock, ClockTolerance: 3 * time.Hour}))(t)
			strict.Issue(t.Context(), Grant{Subject: "ana"})
			clock.set(-row.behind)
			look := func() (err error) {
				if strictFirst {
					_, err = strict.Issue(t.Context(), Grant{Subject: "ana"})
				}
				if _, err := lenient.Issue(t.Context(), Grant{Subject: "ana"}); err != nil {
					t.Errorf("the lenient one: %v", err)
				}
				if !strictFirst {
					_, err = strict.Issue(t.Context(), Grant{Subject: "ana"})
				}
				return err
			}
			for range 11 {
				if err := look(); err != nil {
					t.Errorf("behind by %v, before it has settled: %v", row.behind, err)
				}
				clock.pass(defaultSettle / 10)
			}
			look()
			if err := look(); !errors.Is(err, row.strict) || (store.Marks().Epoch() > 0) != row.lenient {
				t.Errorf("behind by %v, the strict one first %v: %v in epoch %d; want %v, an epoch %v",
					row.behind, strictFirst, err, store.Marks().Epoch(), row.strict, row.lenient)
			}
			fourth := tickMust(New(store, Config{Clock: clock, ClockTolerance: 4 * time.Hour}))(t) // it ends nothing either
			if fourth.Now(); !row.lenient && store.Marks().Epoch() > 0 {
				t.Errorf("behind by %v: a lenient Manager that came late began an epoch", row.behind)
			}
		}
	}
}

// TestFault7OneClockKeepsUp: where two machines' clocks differ, as long as one keeps up
// nothing settles; and once that one is silent for the settle time, the other one does.
func TestFault7OneClockKeepsUp(t *testing.T) {
	store, right, wrong := memory.New(), newTickWall(), newTickWall()
	keeps := tickMust(New(store, Config{Clock: right}))(t)
	lags := tickMust(New(store, Config{Clock: wrong}))(t)
	keeps.Now()
	wrong.set(-time.Hour)
	for range 40 {
		lags.Issue(t.Context(), Grant{Subject: "ana"})
		keeps.Now()
		right.pass(time.Minute)
		wrong.pass(time.Minute)
	}
	if store.Marks().Epoch() != 0 {
		t.Error("an epoch although another clock keeps up")
	}
	for range 12 {
		lags.Issue(t.Context(), Grant{Subject: "ana"})
		wrong.pass(time.Minute)
	}
	if lags.Issue(t.Context(), Grant{Subject: "ana"}); store.Marks().Epoch() != 1 {
		t.Errorf("epoch %d; want 1 once no clock keeps up", store.Marks().Epoch())
	}
}

// TestFault7EpochCutsHoldsAtOnce: an epoch that another Manager of the store begins, or an
// administrator, cuts connections within 100 ms, whatever time it is for them.
func TestFault7EpochCutsHoldsAtOnce(t *testing.T) {
	for name, begin := range map[string]func(holder, other *Manager) error{
		"by AcceptClock":                    func(m, _ *Manager) error { return m.AcceptClock(context.Background()) },
		"by AcceptClock of another Manager": func(_, m *Manager) error { return m.AcceptClock(context.Background()) },
		"by a verb of another Manager": func(_, m *Manager) error {
			m.Now()
			time.Sleep(2 * time.Second)
			_, err := m.Issue(context.Background(), Grant{Subject: "bob"})
			return err
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(30 * 365 * day) // the bubble begins in 2000, which is not plausible
			clock, store := &bubbleClock{start: time.Now()}, memory.New()
			m := tickMust(New(store, Config{Clock: clock, Policy: Policy{TTL: day}, ClockTolerance: 2 * time.Hour}))(t)
			other := tickMust(New(store, Config{Clock: clock, ClockSettle: time.Second}))(t)
			var held []*Hold
			for range 3 {
				i := tickMust(m.Issue(context.Background(), Grant{Subject: "ana"}))(t)
				held = append(held, tickMust(m.Hold(context.Background(), i.Bearer))(t))
			}
			synctest.Wait()
			clock.off.Add(int64(-3 * time.Hour))
			if err := begin(m, other); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			for _, h := range held {
				var why *Rejection
				if !errors.As(context.Cause(h.Context()), &why) || why.Reason != EndClock {
					t.Errorf("%s: %v after 100 ms; want it cut with EndClock", name, context.Cause(h.Context()))
				}
				h.Release()
			}
			synctest.Wait()
		})
	}
}
