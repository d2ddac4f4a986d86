package lapse_test

import (
	"slices"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// TestDelegatesCount like any other token, for as long as they can be used.
func TestDelegatesCount(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 3}})
	parent := f.issue(lapse.Grant{Subject: "ana"})
	f.delegate(parent, lapse.Grant{TTL: 10 * time.Hour})
	f.delegate(parent, lapse.Grant{TTL: 10 * time.Hour})
	_, err := f.Delegate(f.ctx, parent.Bearer, lapse.Grant{})
	wantIs(t, "a fourth", err, lapse.ErrLimit)
	f.clock.add(30*time.Minute - time.Millisecond)
	_, err = f.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	wantIs(t, "1 ms before the parent runs out", err, lapse.ErrLimit)
	f.clock.add(time.Millisecond)
	for range 3 {
		f.issue(lapse.Grant{Subject: "ana"})
	}
	_, err = f.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	wantIs(t, "after it, a fourth", err, lapse.ErrLimit)
}

// TestDelegateSparesWhatItComesFrom: those above the new token make no room for it.
func TestDelegateSparesWhatItComesFrom(t *testing.T) {
	for _, atLimit := range []lapse.AtLimit{lapse.LimitEndOldest, lapse.LimitEndIdlest} {
		f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 4, AtLimit: atLimit}})
		all := f.chain(3)
		f.clock.add(time.Minute)
		young := f.issue(lapse.Grant{Subject: "ana"})
		d := f.delegate(all[2], lapse.Grant{})
		if !slices.Equal(d.Evicted, []lapse.ID{young.ID}) {
			t.Errorf("AtLimit %d: evicted %v; want %v, the youngest", atLimit, d.Evicted, young.ID)
		}
		for _, i := range append(all, d) {
			if _, err := f.Peek(f.ctx, i.Bearer); err != nil {
				t.Errorf("AtLimit %d: %v", atLimit, err)
			}
		}
		before := f.contents()
		_, err := f.Delegate(f.ctx, d.Bearer, lapse.Grant{})
		wantIs(t, "when all that live are above it", err, lapse.ErrLimit)
		wantDiff(t, "contents", before, f.contents())
	}
}

// TestEvictionWithDelegates ends what has to go, what came from that, and no more.
func TestEvictionWithDelegates(t *testing.T) {
	for _, row := range []struct {
		name  string
		limit int
		goes  []int // of parent, delegate, other, youngest
	}{
		{"one too many, and its delegate", 4, []int{0, 1}},
		{"two too many: the delegate makes room as well", 3, []int{0, 1}},
		{"three too many", 2, []int{0, 1, 2}},
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

// TestEvictionOfDelegateThenParent: when both go, each is ended and told of once.
func TestEvictionOfDelegateThenParent(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent := f.issue(lapse.Grant{Subject: "ana"})
	d := f.delegate(parent, lapse.Grant{})
	far := f.delegate(d, lapse.Grant{})
	f.clock.add(time.Minute)
	if _, err := f.Authenticate(f.ctx, parent.Bearer); err != nil {
		t.Fatal(err)
	}
	f.clock.add(time.Minute)
	f.events = nil
	m := f.manager(lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitEndIdlest}})
	got, err := m.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Evicted) != 3 || len(f.events) != 4 || got.Evicted[2] != parent.ID {
		t.Errorf("evicted %v, told %d times; want each once, the parent last", got.Evicted, len(f.events))
	}
	for id, reasons := range map[lapse.ID][]lapse.EndReason{
		parent.ID: {lapse.EndEvicted}, d.ID: {lapse.EndEvicted}, far.ID: {lapse.EndEvicted, lapse.EndParent},
	} {
		if tok := f.token(id); !slices.Contains(reasons, tok.EndReason) {
			t.Errorf("%v: %v; want one of %v", id, tok.EndReason, reasons)
		}
	}
}

// TestEvictionInAnOverlap: the end of a successor makes no room while what it replaces is
// spared, so another goes, or there is none.
func TestEvictionInAnOverlap(t *testing.T) {
	for _, others := range []int{0, 1} {
		f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 1 + others, AtLimit: lapse.LimitEndOldest}})
		old := f.issue(lapse.Grant{Subject: "ana"})
		next := rotate(t, f, old.Bearer, time.Minute)
		f.clock.add(time.Second)
		var want []lapse.ID
		for range others {
			want = append(want, f.issue(lapse.Grant{Subject: "ana"}).ID)
		}
		got, err := f.Delegate(f.ctx, old.Bearer, lapse.Grant{})
		if others == 0 {
			wantIs(t, "without another", err, lapse.ErrLimit)
		} else if err != nil || !slices.Equal(got.Evicted, want) {
			t.Errorf("evicted %v, %v; want %v", got.Evicted, err, want)
		}
		if !f.live(old.ID) || !f.live(next.ID) {
			t.Errorf("%d others: the old one lives: %v, its successor: %v", others, f.live(old.ID), f.live(next.ID))
		}
	}
}

// TestEvictionCountsWhatWentAlong: who goes with a predecessor has made room as well.
func TestEvictionCountsWhatWentAlong(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	old := f.issue(lapse.Grant{Subject: "ana"})
	next := rotate(t, f, old.Bearer, time.Minute)
	f.clock.add(time.Second)
	bystander := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.add(time.Second)
	child := f.delegate(old, lapse.Grant{})
	m := f.manager(lapse.Config{Policy: lapse.Policy{MaxTokens: 2, AtLimit: lapse.LimitEndOldest}})
	got, err := m.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	wantDiff(t, "evicted", []lapse.ID{next.ID, old.ID, child.ID}, got.Evicted)
	if !f.live(bystander.ID) {
		t.Error("one more went than had to")
	}
}
