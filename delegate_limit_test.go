package lapse_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// TestDelegatesTakeNoRoom: delegates do not count towards MaxTokens, whatever AtLimit
// says, and the limit is that of the tokens that were logged in.
func TestDelegatesTakeNoRoom(t *testing.T) {
	for _, atLimit := range []lapse.AtLimit{lapse.LimitRefuse, lapse.LimitEndOldest, lapse.LimitEndIdlest} {
		f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 2, AtLimit: atLimit}})
		all := f.chain(1 + lapse.MaxDelegation)
		for range 5 {
			all = append(all, f.delegate(all[0], lapse.Grant{}))
		}
		f.clock.add(time.Minute)
		all = append(all, f.issue(lapse.Grant{Subject: "ana"}))
		for range 2 { // at the limit, too
			d := f.delegate(all[0], lapse.Grant{})
			if len(d.Evicted) != 0 {
				t.Errorf("AtLimit %d: a delegate evicted %v", atLimit, d.Evicted)
			}
			all = append(all, d)
		}
		for n, i := range all {
			if _, err := f.Peek(f.ctx, i.Bearer); err != nil {
				t.Errorf("AtLimit %d: token %d: %v", atLimit, n, err)
			}
		}
		if atLimit == lapse.LimitRefuse {
			_, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana"})
			wantIs(t, "a third that was logged in", err, lapse.ErrLimit)
		}
	}
}

// TestMaxDelegates: a token has as many live delegates as the policy says, and no more.
func TestMaxDelegates(t *testing.T) {
	for _, row := range []struct {
		name  string
		limit int
		have  int // delegates before the one that is asked for
		want  error
	}{
		{"one below", 3, 1, nil},
		{"the last", 3, 2, nil},
		{"at the limit", 3, 3, lapse.ErrLimit},
		{"the only one", 1, 0, nil},
		{"a second of one", 1, 1, lapse.ErrLimit},
		{"the default, the last", 0, 99, nil},
		{"the default, one more", 0, 100, lapse.ErrLimit},
		{"lifted", lapse.NoTokenLimit, 150, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 1, MaxDelegates: row.limit}})
			parent := f.issue(lapse.Grant{Subject: "ana"})
			for range row.have {
				f.delegate(parent, lapse.Grant{})
			}
			before := f.contents()
			f.events = nil
			d, err := f.Delegate(f.ctx, parent.Bearer, lapse.Grant{})
			wantIs(t, "one more", err, row.want)
			if row.want == nil {
				return
			}
			if errors.Is(err, lapse.ErrUnauthenticated) || errors.Is(err, lapse.ErrUnavailable) || d.Bearer != "" {
				t.Errorf("%v with %v", err, d)
			}
			wantDiff(t, "contents", before, f.contents())
			wantDiff(t, "events", []lapse.Event(nil), f.events)
		})
	}
}

// TestMaxDelegatesIsNotNegative, and the error names the field.
func TestMaxDelegatesIsNotNegative(t *testing.T) {
	_, err := lapse.New(newFixture(t, lapse.Config{}).store, lapse.Config{Policy: lapse.Policy{MaxDelegates: -1}})
	wantIs(t, "New", err, lapse.ErrInvalidConfig)
	if err == nil || !strings.Contains(err.Error(), "Policy.MaxDelegates: -1") {
		t.Errorf("%v; want the field and its value", err)
	}
}

// TestDeadDelegatesDoNotCount, however they died.
func TestDeadDelegatesDoNotCount(t *testing.T) {
	const ms, m = time.Millisecond, time.Minute
	for _, row := range []struct {
		name string
		die  func(f *fixture, d lapse.Issued)
		want error
	}{
		{"alive", func(*fixture, lapse.Issued) {}, lapse.ErrLimit},
		{"1 ms before it runs out", func(f *fixture, _ lapse.Issued) { f.clock.add(10*m - ms) }, lapse.ErrLimit},
		{"as it runs out", func(f *fixture, _ lapse.Issued) { f.clock.add(10 * m) }, nil},
		{"1 ms after it ran out", func(f *fixture, _ lapse.Issued) { f.clock.add(10*m + ms) }, nil},
		{"ended", func(f *fixture, d lapse.Issued) { f.Expire(f.ctx, d.ID) }, nil},
		{"its budget is spent", func(f *fixture, d lapse.Issued) { f.Authenticate(f.ctx, d.Bearer) }, nil},
		{"swept", func(f *fixture, d lapse.Issued) {
			f.clock.add(26 * time.Hour)
			if n, err := f.Sweep(f.ctx); n != 1 || err != nil {
				f.t.Fatalf("Sweep: %d, %v", n, err)
			}
		}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxDelegates: 2}})
			parent := f.issue(lapse.Grant{Subject: "ana", TTL: 100 * time.Hour})
			f.delegate(parent, lapse.Grant{TTL: 100 * time.Hour})
			row.die(f, f.delegate(parent, lapse.Grant{TTL: 10 * m, MaxUses: 1}))
			_, err := f.Delegate(f.ctx, parent.Bearer, lapse.Grant{})
			wantIs(t, "one more", err, row.want)
		})
	}
}

// TestOnlyItsOwnDelegatesCount: those of its delegates, and those of another token of the
// subject, are not the token's.
func TestOnlyItsOwnDelegatesCount(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxDelegates: 2}})
	parent, other := f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana"})
	near := f.delegate(parent, lapse.Grant{})
	for _, i := range []lapse.Issued{near, near, other, other} {
		f.delegate(i, lapse.Grant{})
	}
	f.delegate(parent, lapse.Grant{})
	for n, i := range []lapse.Issued{parent, near, other} {
		if _, err := f.Delegate(f.ctx, i.Bearer, lapse.Grant{}); !errors.Is(err, lapse.ErrLimit) {
			t.Errorf("a third of token %d: %v; want ErrLimit", n, err)
		}
	}
}

// TestDelegatesOfARotatedTokenCount on, since the token is what it was; an overlap of 0
// ends them, and they count no more.
func TestDelegatesOfARotatedTokenCount(t *testing.T) {
	for _, row := range []struct {
		overlap time.Duration
		want    error
	}{{time.Minute, lapse.ErrLimit}, {0, nil}} {
		f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxDelegates: 1}})
		parent := f.issue(lapse.Grant{Subject: "ana"})
		f.delegate(parent, lapse.Grant{})
		next, err := f.Rotate(f.ctx, parent.Bearer, row.overlap)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Delegate(f.ctx, next.Bearer, lapse.Grant{})
		wantIs(t, row.overlap.String(), err, row.want)
	}
}

// TestDelegatesOfASessionCount through its refreshes, by each access text.
func TestDelegatesOfASessionCount(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	p, err := lapse.NewPairs(f.store, lapse.PairConfig{Access: lapse.Config{Clock: f.clock, Policy: lapse.Policy{MaxDelegates: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	for n, want := range []error{nil, nil, lapse.ErrLimit, lapse.ErrLimit} {
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Access().Delegate(f.ctx, c.Access.Bearer, lapse.Grant{})
		wantIs(t, "delegate", err, want)
		if n == 2 {
			f.clock.add(10 * time.Minute)
		}
		c, err = p.Refresh(f.ctx, c.Refresh.Bearer)
	}
}

// TestEvictionWithDelegates ends what has to go, what came from that, and no more.
func TestEvictionWithDelegates(t *testing.T) {
	for _, row := range []struct {
		name  string
		limit int
		goes  []int // of parent, delegate, other, youngest
	}{
		{"room for one more", 4, nil},
		{"one too many, and its delegate", 3, []int{0, 1}},
		{"two too many", 2, []int{0, 1, 2}},
		{"all", 1, []int{0, 1, 2, 3}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{})
			all := []lapse.Issued{f.issue(lapse.Grant{Subject: "ana"})}
			for range 2 {
				f.clock.add(time.Minute)
				all = append(all, f.issue(lapse.Grant{Subject: "ana"}))
			}
			f.clock.add(time.Minute) // the delegate is the youngest
			all = slices.Insert(all, 1, f.delegate(all[0], lapse.Grant{}))
			f.clock.add(time.Minute)
			f.events = nil
			m := f.manager(lapse.Config{Policy: lapse.Policy{MaxTokens: row.limit, AtLimit: lapse.LimitEndOldest}})
			got, err := m.Issue(f.ctx, lapse.Grant{Subject: "ana"})
			if err != nil {
				t.Fatal(err)
			}
			var want []lapse.ID
			for _, n := range row.goes {
				want = append(want, all[n].ID)
			}
			wantDiff(t, "evicted", want, got.Evicted)
			if len(f.events) != len(want)+1 {
				t.Errorf("told %d times; want each end once, and the issue", len(f.events))
			}
			for n, i := range all {
				reason := lapse.EndEvicted
				if n == 1 {
					reason = lapse.EndParent
				}
				if !slices.Contains(row.goes, n) {
					reason = 0
				}
				if tok := f.token(i.ID); tok.EndReason != reason {
					t.Errorf("token %d: %v; want %v", n, tok.EndReason, reason)
				}
			}
		})
	}
}
