package lapse

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
)

// tickBegins are the ways in which an epoch begins while a verb runs.
var tickBegins = []struct {
	name  string
	begin func(w *tickWorld, other *Manager)
}{
	{"accepted by another Manager", func(w *tickWorld, other *Manager) {
		if err := other.AcceptClock(w.ctx); err != nil {
			w.t.Error(err)
		}
	}},
	{"restarted", func(w *tickWorld, _ *Manager) {
		marks, at := w.store.Marks(), steady.Normalise(w.clock.Now())
		marks.Restart(at, steady.Add(at, steady.Quiet), marks.Epoch())
	}},
}

// TestFault6EpochAtEveryOperation has an epoch begin before and after each operation on
// the store of each verb. Then no token of before lives, and what the verb said is good
// is good.
func TestFault6EpochAtEveryOperation(t *testing.T) {
	for _, row := range tickBegins {
		for _, v := range append(slices.Clone(tickVerbs), tickRepeat) {
			t.Run(v.name+"/"+row.name, func(t *testing.T) {
				n := 0
				for tickEpochAt(t, v, row.begin, n+1) {
					n++
				}
				if none := v.name == "Identify" || v.name == "Manager.AcceptClock"; (n == 0) != none {
					t.Errorf("the epoch has begun at %d operations", n)
				}
			})
		}
	}
}

// tickEpochAt has an epoch begin at operation k of v, and reports whether v has so many.
func tickEpochAt(t *testing.T, v tickVerb, begin func(*tickWorld, *Manager), k int) (began bool) {
	w := newTickWorld(t, GuardDefault)
	other := tickMust(New(w.store, Config{Clock: w.clock, Prefix: "other"}))(t)
	w.clock.set(-time.Hour)
	w.clock.pass(time.Second)
	left := k
	w.store.set(func() {
		if left--; left == 0 {
			began = true
			begin(w, other)
		}
	})
	good, err := v.do(w)
	w.store.set(nil)
	if !began {
		return false
	}
	if err != nil && !errors.Is(err, ErrUnauthenticated) {
		t.Errorf("at operation %d: %v", k, err)
	}
	var why *Rejection
	if errors.As(err, &why) && why.Reason != EndClock && why.Reason != EndParent {
		t.Errorf("at operation %d: refused with %v: %v; want EndClock", k, why.Reason, err)
	}
	if err == nil {
		for _, text := range good {
			if err := w.peek(text); err != nil {
				t.Errorf("at operation %d: what was answered is dead: %v", k, err)
			}
		}
	}
	for _, text := range append(slices.Collect(maps.Values(w.text)), w.pair.Refresh.Bearer, w.spare.Refresh.Bearer) {
		if err := w.peek(text); !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("at operation %d: a text of before: %v; want it dead", k, err)
		}
	}
	return true
}

// TestFault6SettlesAtEveryOperation: the settle time ends while something is issued, and
// no other verb runs. The token that is issued outlives that.
func TestFault6SettlesAtEveryOperation(t *testing.T) {
	issuing := "Manager.Issue Manager.Obtain again Login Pairs.Issue Manager.Rotate Manager.RotateID Manager.Renew Manager.Delegate Pairs.Refresh"
	for _, v := range tickVerbs {
		if !strings.Contains(issuing, v.name) {
			continue
		}
		for k, began := 1, true; began; k++ {
			began = false
			w := newTickWorld(t, GuardDefault)
			w.clock.set(-time.Hour)
			w.p.Access().Peek(w.ctx, w.pair.Access.Bearer)
			left := k
			w.store.set(func() {
				if left--; left == 0 {
					began = true
					w.clock.pass(defaultSettle + time.Millisecond)
				}
			})
			good, err := v.do(w)
			w.store.set(nil)
			var why *Rejection
			if replaces := strings.Contains("Manager.Rotate Manager.RotateID Manager.Renew Manager.Delegate Pairs.Refresh", v.name); replaces && errors.As(err, &why) && why.Reason == EndClock {
				continue // what it was given has ended
			}
			if err != nil {
				t.Errorf("%s at operation %d: %v", v.name, k, err)
				continue
			}
			for _, text := range good {
				if err := w.peek(text); err != nil {
					t.Errorf("%s at operation %d: dead at birth: %v", v.name, k, err)
				}
			}
		}
	}
}

// TestFault6LogInAfterSettle: the first log-in after the settle time is in, also if no
// verb has looked at the clock since that began.
func TestFault6LogInAfterSettle(t *testing.T) {
	for _, v := range tickVerbs {
		if v.name != "Manager.Issue" && v.name != "Pairs.Issue" && v.name != "Login" {
			continue
		}
		for _, passes := range []time.Duration{defaultSettle - time.Millisecond, defaultSettle, defaultSettle + time.Millisecond, time.Hour} {
			for _, looks := range []int{1, 15} {
				w := newTickWorld(t, GuardDefault)
				w.clock.set(-time.Hour)
				for range looks {
					w.m.Peek(w.ctx, w.plain.Bearer) // who looks finds it behind
					w.clock.pass(passes / time.Duration(looks))
				}
				good, err := v.do(w)
				if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					for _, text := range good {
						if err := w.peek(text); err != nil {
							t.Errorf("%s after %v and %d looks: dead at birth: %v", v.name, passes, looks, err)
						}
					}
				}
			}
		}
	}
}
