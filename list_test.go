package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

func TestList(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	refresh := f.manager(lapse.Config{Prefix: "refresh"})
	var want []lapse.Token
	for _, name := range []string{"laptop", "phone", "tablet"} {
		want = append(want, f.issue(lapse.Grant{Subject: "ana", Name: name}).Token)
		f.clock.Add(time.Millisecond)
	}
	r, err := refresh.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, r.Token)
	f.issue(lapse.Grant{Subject: "bob"})
	if _, err := f.Expire(f.ctx, want[1].ID); err != nil {
		t.Fatal(err)
	}
	want[1].EndedAt, want[1].EndReason = lapsetest.StartMilli.Add(3*time.Millisecond), lapse.EndRevoked
	f.clock.Add(time.Hour)
	got, err := lapsetest.Collect(f.List(f.ctx, lapse.Query{Subject: "ana"}))
	if err != nil {
		t.Fatal(err)
	}
	lapsetest.WantDiff(t, "dead and alive, of every prefix, in order of issue", want, got)

	if got, err := lapsetest.Collect(f.List(f.ctx, lapse.Query{Subject: "nobody"})); len(got) != 0 || err != nil {
		t.Errorf("unknown subject: %v, %v", got, err)
	}
	if got, err := lapsetest.Collect(f.List(f.ctx, lapse.Query{})); len(got) != 5 || err != nil {
		t.Errorf("of any subject: %v, %v", got, err)
	}
}

// TestListBody: the loop may stop, and may call any verb.
func TestListBody(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	for range 3 {
		f.issue(lapse.Grant{Subject: "ana"})
	}
	for tok := range f.List(f.ctx, lapse.Query{Subject: "ana"}) {
		if ended, err := f.Expire(f.ctx, tok.ID); !ended || err != nil {
			t.Errorf("Expire in the loop: %v, %v", ended, err)
		}
	}
	for range f.List(f.ctx, lapse.Query{Subject: "ana"}) {
		break
	}
	if n, err := f.ExpireSubject(f.ctx, "ana"); n != 0 || err != nil {
		t.Errorf("after a loop that stopped: %d, %v", n, err)
	}
}

func TestTokenNotFound(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	_, err := f.Token(f.ctx, lapse.ID{1})
	lapsetest.WantIs(t, "Token", err, lapse.ErrNotFound)
	if errors.Is(err, lapse.ErrUnauthenticated) {
		t.Errorf("%v reads as a bad token", err)
	}
}

// TestSweepBoundary: a dead record is kept for its retention, the last instant of
// that included, whether it ran out or was ended.
func TestSweepBoundary(t *testing.T) {
	for _, row := range []struct {
		after time.Duration
		want  int
	}{
		{24*time.Hour - time.Millisecond, 0},
		{24 * time.Hour, 0},
		{24*time.Hour + time.Millisecond, 1},
	} {
		for _, ended := range []bool{false, true} {
			f := newFixture(t, lapse.Config{})
			i := f.issue(lapse.Grant{Subject: "ana", TTL: time.Hour})
			f.clock.Add(30 * time.Minute)
			if ended {
				f.Expire(f.ctx, i.ID)
			} else {
				f.clock.Add(30 * time.Minute)
			}
			f.clock.Add(row.after)
			n, err := f.Sweep(f.ctx)
			if n != row.want || err != nil {
				t.Errorf("ended %v, dead for %v: swept %d, %v; want %d", ended, row.after, n, err, row.want)
			}
			if _, err := f.Token(f.ctx, i.ID); (err != nil) != (row.want == 1) {
				t.Errorf("ended %v, dead for %v: Token: %v", ended, row.after, err)
			}
		}
	}
}

func TestSweepSparesTheLiving(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: lapse.NoTokenLimit}})
	const dead, live = 1203, 7 // more than two batches
	for range dead {
		f.issue(lapse.Grant{Subject: "ana", TTL: time.Second})
	}
	for range live {
		f.issue(lapse.Grant{Subject: "ana", TTL: 30 * 24 * time.Hour})
	}
	f.clock.Add(25 * time.Hour)
	var n int
	var err error
	calls := f.calls(func() { n, err = f.Sweep(f.ctx) })
	if n != dead || err != nil {
		t.Errorf("swept %d, %v; want %d", n, err, dead)
	}
	if len(calls) != 3 {
		t.Errorf("in %d batches; want 3", len(calls))
	}
	if left, err := lapsetest.Collect(f.List(f.ctx, lapse.Query{Subject: "ana"})); len(left) != live || err != nil {
		t.Errorf("%d left, %v; want %d", len(left), err, live)
	}
	if n, err := f.Sweep(f.ctx); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
}

func TestSweepKeepsForEver(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{Retention: lapse.NoLimit}})
	f.issue(lapse.Grant{Subject: "ana"})
	f.clock.Add(50 * 365 * 24 * time.Hour)
	calls := f.calls(func() {
		if n, err := f.Sweep(f.ctx); n != 0 || err != nil {
			t.Errorf("swept %d, %v", n, err)
		}
	})
	lapsetest.WantDiff(t, "calls: for ever has no instant to sweep before", noCalls, calls)
}

// TestSweepCountsWhatItDid: an end of the context or a fault leaves what was
// deleted deleted, and counted.
func TestSweepCountsWhatItDid(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: lapse.NoTokenLimit}})
	for range 1100 {
		f.issue(lapse.Grant{Subject: "ana", TTL: time.Second})
	}
	f.clock.Add(25 * time.Hour)
	ctx, cancel := context.WithCancel(f.ctx)
	batches := 0
	f.store.Before(func(op storagetest.Op) {
		if batches++; batches == 2 {
			cancel()
		}
	})
	n, err := f.Sweep(ctx)
	if n != 500 {
		t.Errorf("swept %d before the end of the context; want 500", n)
	}
	lapsetest.WantIs(t, "Sweep", err, context.Canceled)
	f.store.Before(nil)
	f.store.InjectOp(storagetest.OpSweep, 2, storagetest.FailBefore, storage.ErrUnavailable)
	n, err = f.Sweep(f.ctx)
	if n != 500 {
		t.Errorf("swept %d before the fault; want 500", n)
	}
	lapsetest.WantIs(t, "Sweep", err, lapse.ErrUnavailable)
	if n, err := f.Sweep(f.ctx); n != 100 || err != nil {
		t.Errorf("swept %d, %v in the end; want 100", n, err)
	}
}

// names returns the names of the tokens that seq yields, sorted by their expiry, behind the errors
// as what they wrap.
func names(seq iter.Seq2[lapse.Token, error]) (all []string) {
	var tokens []lapse.Token
	for tok, err := range seq {
		switch {
		case err == nil:
			tokens = append(tokens, tok)
		case errors.Is(err, lapse.ErrCorrupt):
			all = append(all, "corrupt")
		default:
			all = append(all, "failed")
		}
	}
	slices.SortStableFunc(tokens, func(a, b lapse.Token) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
	for _, tok := range tokens {
		all = append(all, tok.Name)
	}
	return all
}

// TestListWithinBoundaries: (now, now+within], to the millisecond.
func TestListWithinBoundaries(t *testing.T) {
	const ms, hour = time.Millisecond, time.Hour
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		m, clock := lapsetest.GateManager(t, store, lapse.Policy{TTL: hour, MaxTTL: lapse.NoLimit})
		for _, left := range []time.Duration{-ms, 0, ms, hour - ms, hour, hour + ms, 2 * hour} {
			issueFor(t, m, lapse.Grant{Subject: "ana", Name: left.String(), TTL: 10*time.Minute + left})
		}
		clock.Add(10 * time.Minute)
		for _, tt := range []struct {
			within time.Duration
			want   []string
		}{
			{ms, []string{"1ms"}},
			{2*ms - 1, []string{"1ms"}},
			{hour - 2*ms, []string{"1ms"}},
			{hour - ms, []string{"1ms", "59m59.999s"}},
			{hour, []string{"1ms", "59m59.999s", "1h0m0s"}},
			{hour + ms - 1, []string{"1ms", "59m59.999s", "1h0m0s"}},
			{hour + ms, []string{"1ms", "59m59.999s", "1h0m0s", "1h0m0.001s"}},
			{lapse.NoLimit - 1, []string{"1ms", "59m59.999s", "1h0m0s", "1h0m0.001s", "2h0m0s"}},
			{lapse.NoLimit, []string{"1ms", "59m59.999s", "1h0m0s", "1h0m0.001s", "2h0m0s"}},
		} {
			lapsetest.WantDiff(t, fmt.Sprintf("within %v", tt.within), tt.want, names(m.List(t.Context(), lapse.Query{Within: tt.within})))
		}
	})
}

// TestListWithinLooksAhead only forwards: a within that can find nothing is a mistake.
func TestListWithinLooksAhead(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	f.issue(lapse.Grant{Subject: "ana"})
	for _, within := range []time.Duration{1, time.Millisecond - 1, -1, -time.Hour, -1 << 63} {
		calls := f.calls(func() {
			n := 0
			for tok, err := range f.List(f.ctx, lapse.Query{Within: within}) {
				n++
				if lapsetest.WantIs(t, within.String(), err, lapse.ErrInvalidQuery); tok != (lapse.Token{}) {
					t.Errorf("%v yields %+v", within, tok)
				}
			}
			if n != 1 {
				t.Errorf("%v yields %d pairs", within, n)
			}
		})
		lapsetest.WantDiff(t, "calls", noCalls, calls)
	}
}

// TestListWithinSelects: Within yields the tokens of every subject and prefix, and no dead one. An ended
// token and a spent one are dead.
func TestListWithinSelects(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	keys := f.manager(lapse.Config{Prefix: "key"})
	issue := func(m *lapse.Manager, subject, name string, ttl time.Duration) lapse.Issued {
		return issueFor(t, m, lapse.Grant{Subject: subject, Name: name, TTL: ttl})
	}
	issue(f.Manager, "ana", "third", 20*time.Minute)
	issue(keys, "bob", "first", 5*time.Minute)
	issue(f.Manager, "bob", "second", 10*time.Minute)
	f.clock.Add(time.Minute)
	issue(keys, "ana", "fourth", 19*time.Minute) // expires with the third
	ended := issue(f.Manager, "ana", "ended", 10*time.Minute)
	if _, err := f.Expire(f.ctx, ended.ID); err != nil {
		t.Fatal(err)
	}
	spent := issueFor(t, f.Manager, lapse.Grant{Subject: "ana", Name: "spent", TTL: 10 * time.Minute, MaxUses: 1})
	if _, err := f.Authenticate(f.ctx, spent.Bearer); err != nil {
		t.Fatal(err)
	}
	f.events = nil
	calls := f.calls(func() {
		lapsetest.WantDiff(t, "tokens", []string{"first", "second", "third", "fourth"}, names(f.List(f.ctx, lapse.Query{Within: time.Hour})))
	})
	lapsetest.WantDiff(t, "calls", []storagetest.Op{storagetest.OpList}, calls)
	for tok, err := range f.List(f.ctx, lapse.Query{Within: time.Hour}) {
		if want := f.token(tok.ID); err != nil || tok != want || len(f.events) != 0 {
			t.Errorf("yields %+v, %v; want what Token says: %+v", tok, err, want)
		}
	}
}

// TestListOrder: the tokens of a Subject, and those of a Within, come in the order of the bytes of their
// IDs, whole and by pages. That is neither the order in which they are issued within a millisecond, nor
// that of their expiry, nor that of their subjects or their ends.
func TestListOrder(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		m, clock := lapsetest.GateManager(t, store, lapse.Policy{MaxTokens: lapse.NoTokenLimit})
		keys := lapsetest.Must(lapse.New(store, lapse.Config{Clock: clock, Prefix: "key"}))
		const subjects, instants, tokens = 2, 4, 12
		var live, ofAna []lapse.ID
		for n := range instants * tokens {
			g := lapse.Grant{Subject: []string{"ben", "ana"}[n%subjects], TTL: time.Hour - time.Duration(n)*time.Second}
			i := issueFor(t, []*lapse.Manager{m, keys}[n/2%2], g)
			if i.Subject == "ana" {
				ofAna = append(ofAna, i.ID)
			}
			if n%5 == 0 {
				lapsetest.Must(m.Expire(t.Context(), i.ID))
			} else {
				live = append(live, i.ID)
			}
			if n%tokens == tokens-1 {
				clock.Add(time.Millisecond)
			}
		}
		for name, row := range map[string]struct {
			q   lapse.Query
			ids []lapse.ID
		}{"Subject": {lapse.Query{Subject: "ana"}, ofAna}, "Within": {lapse.Query{Within: 2 * time.Hour}, live}} {
			want := slices.Clone(row.ids)
			slices.SortFunc(want, func(a, b lapse.ID) int { return strings.Compare(string(a[:]), string(b[:])) })
			if slices.Equal(want, row.ids) {
				t.Fatalf("%s: the tokens were issued in the order of their IDs, which shows nothing", name)
			}
			for _, limit := range []int{0, 1, 5} {
				q := row.q
				q.Limit, q.Next = limit, &q.After
				var got []lapse.ID
				for page := 0; page == 0 || q.After != ""; page++ {
					for _, tok := range lapsetest.Must(lapsetest.Collect(m.List(t.Context(), q))) {
						got = append(got, tok.ID)
					}
				}
				lapsetest.WantDiff(t, fmt.Sprintf("%s, by %d", name, limit), want, got)
			}
		}
	})
}

// TestListWithinAfterARenewal: what was renewed out of the time is not in it.
func TestListWithinAfterARenewal(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", Name: "renewed"})
	f.issue(lapse.Grant{Subject: "ana", Name: "idle"})
	f.clock.Add(20 * time.Minute)
	lapsetest.WantDiff(t, "before", 2, len(names(f.List(f.ctx, lapse.Query{Within: 10 * time.Minute}))))
	if _, err := f.Authenticate(f.ctx, i.Bearer); err != nil {
		t.Fatal(err)
	}
	lapsetest.WantDiff(t, "after", []string{"idle"}, names(f.List(f.ctx, lapse.Query{Within: 10 * time.Minute})))
}

// TestListWithinUnderALoweredCap, as its comment says it.
func TestListWithinUnderALoweredCap(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	f.issue(lapse.Grant{Subject: "ana", Name: "30 m"})
	f.issue(lapse.Grant{Subject: "ana", Name: "2 h", TTL: 2 * time.Hour})
	f.issue(lapse.Grant{Subject: "ana", Name: "5 h", TTL: 5 * time.Hour})
	lowered := f.manager(lapse.Config{Policy: lapse.Policy{MaxTTL: time.Hour}})
	lapsetest.WantDiff(t, "found by their records", []string{"30 m", "2 h"}, names(lowered.List(f.ctx, lapse.Query{Within: 2 * time.Hour})))
	for tok := range lowered.List(f.ctx, lapse.Query{Within: 2 * time.Hour}) {
		if want := lapsetest.StartMilli.Add(time.Hour); tok.Name == "2 h" && !tok.ExpiresAt.Equal(want) {
			t.Errorf("until %v, want the cap of now: %v", tok.ExpiresAt, want)
		}
	}
	f.clock.Add(time.Hour)
	lapsetest.WantDiff(t, "dead by the lowered cap", []string(nil), names(lowered.List(f.ctx, lapse.Query{Within: 4 * time.Hour})))
	lapsetest.WantDiff(t, "and not by the old one", []string{"2 h", "5 h"}, names(f.List(f.ctx, lapse.Query{Within: 4 * time.Hour})))
}

// TestListWithinDamaged: one record that cannot be read is said to be so, and hides no
// other.
func TestListWithinDamaged(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	for _, name := range []string{"a", "b", "c"} {
		f.issue(lapse.Grant{Subject: name, Name: name})
		f.clock.Add(time.Millisecond)
	}
	id := f.contents()[1].ID
	m, err := lapse.New(&damaged{Store: f.store, id: id}, lapse.Config{Clock: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	lapsetest.WantDiff(t, "tokens", []string{"corrupt", "a", "c"}, names(m.List(f.ctx, lapse.Query{Within: time.Hour})))
	for tok, err := range m.List(f.ctx, lapse.Query{Within: time.Hour}) {
		if (tok == lapse.Token{ID: id}) != (err != nil) || errors.Is(err, lapse.ErrUnauthenticated) {
			t.Errorf("%+v, %v", tok, err)
		}
	}
}

// TestListWithinBody may call any verb, and stop.
func TestListWithinBody(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		m, _ := lapsetest.GateManager(t, store, lapse.Policy{})
		for range 3 {
			issueFor(t, m, lapse.Grant{Subject: "ana"})
		}
		for range m.List(t.Context(), lapse.Query{Within: time.Hour}) {
			break
		}
		n := 0
		for tok, err := range m.List(t.Context(), lapse.Query{Within: time.Hour}) {
			if n++; err != nil {
				t.Fatal(err)
			}
			if ended, err := m.Expire(t.Context(), tok.ID); !ended || err != nil {
				t.Errorf("Expire in the loop: %v, %v", ended, err)
			}
		}
		if left := names(m.List(t.Context(), lapse.Query{Within: time.Hour})); n != 3 || len(left) != 0 {
			t.Errorf("%d yielded, %v left after their end", n, left)
		}
	})
}

// asked is a store that keeps what its List was asked for.
type asked struct {
	storage.Store
	filter storage.Filter
}

func (a *asked) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	a.filter = f
	return a.Store.List(ctx, f)
}

// TestListWithinAtTheEndOfTime: what lives until the last instant is found there, and
// the store is not asked for what lies behind it.
func TestListWithinAtTheEndOfTime(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTTL: lapse.NoLimit}})
	i := f.issue(lapse.Grant{Subject: "ana", Name: "last"})
	last := time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
	f.change(i.ID, func(r *storage.Record) { r.ExpiresAt = last })
	store := &asked{Store: f.store}
	for _, tt := range []struct {
		now    time.Time
		within time.Duration
		want   []string
		before time.Time
	}{
		{lapsetest.StartMilli, lapse.NoLimit, []string{"last"}, time.Time{}},
		{lapsetest.StartMilli, time.Hour, nil, lapsetest.StartMilli.Add(time.Hour + time.Millisecond)},
		{lapsetest.StartMilli, lapse.NoLimit - 1, nil, lapsetest.StartMilli.Add((lapse.NoLimit - 1).Truncate(time.Millisecond)).Add(time.Millisecond)},
		{last.Add(-time.Hour), time.Hour - time.Millisecond, nil, last},
		{last.Add(-time.Hour), time.Hour, []string{"last"}, time.Time{}},
		{last.Add(-time.Hour), 2 * time.Hour, []string{"last"}, time.Time{}},
	} {
		clock := &dialClock{tt.now}
		m, err := lapse.New(store, lapse.Config{Policy: lapse.Policy{MaxTTL: lapse.NoLimit}, Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		what := fmt.Sprintf("at %v, within %v", tt.now, tt.within)
		lapsetest.WantDiff(t, what, tt.want, names(m.List(f.ctx, lapse.Query{Within: tt.within})))
		lapsetest.WantDiff(t, what+": asked for", storage.Filter{ExpiresBefore: tt.before}, store.filter)
	}
}

// change rewrites the record of a token.
func (f *fixture) change(id lapse.ID, change func(r *storage.Record)) {
	f.t.Helper()
	err := f.store.Update(f.ctx, f.token(id).Subject, func(tx storage.Tx) error {
		r, err := tx.Get(id)
		if err != nil {
			return err
		}
		change(&r)
		return tx.Put(r)
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// TestListWithinOfTheRotated: a token that was rotated is yielded once, and expires when its
// new life does, whatever its previous text does.
func TestListWithinOfTheRotated(t *testing.T) {
	for _, overlap := range []time.Duration{0, time.Minute, 5 * time.Minute} {
		f := newFixture(t, lapse.Config{})
		i := f.issue(lapse.Grant{Subject: "ana", Name: "rotated"})
		f.clock.Add(10 * time.Minute)
		next, err := f.Rotate(f.ctx, i.Bearer, overlap)
		if err != nil {
			t.Fatal(err)
		}
		lapsetest.WantDiff(t, "until 1 ms before its end", []string(nil), names(f.List(f.ctx, lapse.Query{Within: 30*time.Minute - time.Millisecond})))
		for tok, err := range f.List(f.ctx, lapse.Query{Within: 30 * time.Minute}) {
			if err != nil || tok != f.token(i.ID) || !tok.ExpiresAt.Equal(next.ExpiresAt) {
				t.Errorf("%+v, %v; want what Token says", tok, err)
			}
		}
		lapsetest.WantDiff(t, "until its end", []string{"rotated"}, names(f.List(f.ctx, lapse.Query{Within: 30 * time.Minute})))
	}
}

// TestListWithinOfSessions: a session expires when it would run out without another
// refresh; its access secret and a grace have no say.
func TestListWithinOfSessions(t *testing.T) {
	const day = 24 * time.Hour
	f := newFixture(t, lapse.Config{})
	p, err := lapse.NewPairs(f.store, lapse.PairConfig{
		Access:  lapse.Config{Clock: f.clock},
		Refresh: lapse.Config{Policy: lapse.Policy{TTL: 10 * day, MaxTTL: 15 * day}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Issue(f.ctx, lapse.Grant{Subject: "ana", Name: "session"})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		after, left time.Duration // after how long it is refreshed, and what it has left then
	}{{0, 10 * day}, {time.Hour, 10 * day}, {9 * day, 15*day - time.Hour - 9*day}} {
		f.clock.Add(row.after)
		if c, err = p.Refresh(f.ctx, c.Refresh.Bearer); err != nil {
			t.Fatal(err)
		}
		for _, m := range []*lapse.Manager{p.Access(), f.Manager} {
			lapsetest.WantDiff(t, "1 ms too near", []string(nil), names(m.List(f.ctx, lapse.Query{Within: row.left - time.Millisecond})))
			lapsetest.WantDiff(t, "in time", []string{"session"}, names(m.List(f.ctx, lapse.Query{Within: row.left})))
		}
	}
	if _, err := p.Access().ExpireBearer(f.ctx, c.Access.Bearer); err != nil {
		t.Fatal(err)
	}
	lapsetest.WantDiff(t, "once it is logged out", []string(nil), names(f.List(f.ctx, lapse.Query{Within: lapse.NoLimit})))
}

// TestListWithinDelegates expire with those that they were delegated from.
func TestListWithinDelegates(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent := f.issue(lapse.Grant{Subject: "ana", Name: "parent", TTL: 10 * time.Minute})
	f.clock.Add(time.Millisecond) // so that its ID comes first
	child, err := f.Delegate(f.ctx, parent.Bearer, lapse.Grant{Name: "child", TTL: 20 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	f.issue(lapse.Grant{Subject: "bob", Name: "bob's", TTL: 15 * time.Minute})
	lapsetest.WantDiff(t, "both", []string{"parent", "child", "bob's"}, names(f.List(f.ctx, lapse.Query{Within: 20 * time.Minute})))
	for tok, err := range f.List(f.ctx, lapse.Query{Within: 20 * time.Minute}) {
		if err != nil || tok.ID == child.ID && !tok.ExpiresAt.Equal(parent.ExpiresAt) {
			t.Errorf("%s until %v, %v; want %v", tok.Name, tok.ExpiresAt, err, parent.ExpiresAt)
		}
	}
	lapsetest.WantDiff(t, "the child's record promises more", []string{"parent", "bob's"}, names(f.List(f.ctx, lapse.Query{Within: 15 * time.Minute})))
	f.clock.Set(parent.ExpiresAt)
	lapsetest.WantDiff(t, "the parent ran out", []string{"bob's"}, names(f.List(f.ctx, lapse.Query{Within: 20 * time.Minute})))

	store := &damaged{Store: f.store, id: parent.ID}
	m, err := lapse.New(store, lapse.Config{Clock: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	lapsetest.WantDiff(t, "the parent's record is damaged", []string{"corrupt", "corrupt", "bob's"}, names(m.List(f.ctx, lapse.Query{Within: 20 * time.Minute})))
}

// mixedUp is a store that answers with another token's record.
type mixedUp struct {
	storage.Store
	asked, answered lapse.ID
}

func (s mixedUp) Get(ctx context.Context, id lapse.ID) (storage.Record, error) {
	if id == s.asked {
		id = s.answered
	}
	return s.Store.Get(ctx, id)
}

// TestListWithinTrustsNoOtherRecord: that some other token lives says nothing of a parent.
func TestListWithinTrustsNoOtherRecord(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent, other := f.issue(lapse.Grant{Subject: "ana", Name: "parent"}), f.issue(lapse.Grant{Subject: "ana", TTL: time.Millisecond})
	f.delegate(parent, lapse.Grant{Name: "child"})
	f.clock.Add(time.Millisecond)
	m, err := lapse.New(mixedUp{f.store, parent.ID, other.ID}, lapse.Config{Clock: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	lapsetest.WantDiff(t, "tokens", []string{"corrupt", "parent"}, names(m.List(f.ctx, lapse.Query{Within: time.Hour})))
}

// TestListFails: an error of the store is the last pair.
func TestListFails(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent := f.issue(lapse.Grant{Subject: "ana", Name: "parent"})
	f.clock.Add(time.Millisecond) // so that its ID comes first
	f.delegate(parent, lapse.Grant{Name: "child"})
	calls := f.calls(func() {
		lapsetest.WantDiff(t, "without a fault", []string{"parent", "child"}, names(f.List(f.ctx, lapse.Query{Within: time.Hour})))
	})
	lapsetest.WantDiff(t, "calls", []storagetest.Op{storagetest.OpList, opGet}, calls)
	for n := range calls {
		f.store.Reset()
		f.store.Inject(n+1, storagetest.FailBefore, errDisk)
		lapsetest.WantDiff(t, fmt.Sprint("call ", n+1), append([]string{"failed"}, []string{"parent"}[:n]...), names(f.List(f.ctx, lapse.Query{Within: time.Hour})))
		f.store.Reset()
		f.store.Inject(n+1, storagetest.FailBefore, errDisk)
		var last error
		for _, err := range f.List(f.ctx, lapse.Query{Within: time.Hour}) {
			last = err
		}
		lapsetest.WantIs(t, "the last pair", last, errDisk)
		lapsetest.WantIs(t, "the last pair", last, lapse.ErrUnavailable)
	}
	f.store.Reset()
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	for _, err := range f.List(ctx, lapse.Query{Within: time.Hour}) {
		lapsetest.WantIs(t, "after the context", err, context.Canceled)
	}
}

// onPagers runs a test on every kind of store: two that are Pagers, and one that is none.
func onPagers(t *testing.T, test func(t *testing.T, store storage.Store)) {
	t.Run("memory", func(t *testing.T) { test(t, memory.New()) })
	t.Run("bolt", func(t *testing.T) {
		s, err := bolt.Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		test(t, s)
	})
	t.Run("no Pager", func(t *testing.T) { test(t, struct{ storage.Store }{memory.New()}) })
}

// pagesOf returns the tokens of all pages of q, which have limit tokens each. It calls between with
// each page but the last.
func pagesOf(t *testing.T, m *lapse.Manager, q lapse.Query, limit int, between func()) (all []lapse.Token) {
	t.Helper()
	q.Limit, q.Next = limit, &q.After
	for range 1000 {
		page, err := lapsetest.Collect(m.List(t.Context(), q))
		if err != nil || len(page) > limit {
			t.Fatalf("a page of %d has %d tokens, %v", limit, len(page), err)
		}
		if all = append(all, page...); q.After == "" {
			return all
		}
		between()
	}
	t.Fatal("the pages have no end")
	return nil
}

// tokenIDs returns the IDs of tokens in order.
func tokenIDs(tokens []lapse.Token) (ids []lapse.ID) {
	for _, tok := range tokens {
		ids = append(ids, tok.ID)
	}
	slices.SortFunc(ids, lapse.ID.Compare)
	return ids
}

// listScene has 60 tokens of three subjects, two prefixes and two names, of which some are dead, and
// three sessions.
func listScene(t *testing.T, store storage.Store) (m *lapse.Manager, all []lapse.Token) {
	t.Helper()
	many := lapse.Policy{MaxTokens: lapse.NoTokenLimit}
	m, clock := lapsetest.GateManager(t, store, many)
	keys := lapsetest.Must(lapse.New(store, lapse.Config{Clock: clock, Prefix: "key", Policy: many}))
	p := lapsetest.Must(lapse.NewPairs(store, lapse.PairConfig{Access: lapse.Config{Clock: clock}}))
	for n := range 60 {
		g := lapse.Grant{Subject: []string{"ana", "bob", "carl"}[n%3], Name: []string{"", "phone"}[n/3%2], TTL: time.Duration(n+1) * time.Minute}
		if n%20 == 0 {
			lapsetest.Must(p.Issue(t.Context(), lapse.Grant{Subject: g.Subject, Name: g.Name}))
			continue
		}
		i := issueFor(t, []*lapse.Manager{m, keys}[n/6%2], g)
		if n%7 == 0 {
			lapsetest.Must(m.Expire(t.Context(), i.ID))
		}
		if n%10 == 1 && n%7 != 0 {
			lapsetest.Must([]*lapse.Manager{m, keys}[n/6%2].Delegate(t.Context(), i.Bearer, lapse.Grant{Name: "phone"}))
		}
	}
	clock.Add(20 * time.Minute)
	for rec, err := range store.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, lapsetest.Must(m.Token(t.Context(), rec.ID)))
	}
	return m, all
}

// TestListPages: the pages of every Query, of every size, are the tokens that meet its conditions,
// each once; Count counts them; and no page is longer than its limit.
func TestListPages(t *testing.T) {
	onPagers(t, func(t *testing.T, store storage.Store) {
		m, all := listScene(t, store)
		now, found := m.Now(), 0
		for nth, q := range []lapse.Query{
			{}, {Subject: "ana"}, {Prefix: "key"}, {Prefix: "lapse"}, {Name: "phone"}, {Live: true}, {Within: 10 * time.Minute}, {Within: lapse.NoLimit},
			{Subject: "bob", Live: true}, {Prefix: "key", Name: "phone", Live: true}, {Subject: "carl", Within: 10 * time.Minute, Name: "phone"}, {Subject: "nobody"}, {Prefix: "none"},
		} {
			var want []lapse.Token
			for _, tok := range all {
				if (q.Subject == "" || q.Subject == tok.Subject) && (q.Prefix == "" || q.Prefix == tok.Prefix) && (q.Name == "" || q.Name == tok.Name) &&
					(!q.Live && q.Within == 0 || tok.Live(now)) && (q.Within == 0 || tok.ExpiresAt.Sub(now) <= q.Within) {
					want = append(want, tok)
				}
			}
			whole, err := lapsetest.Collect(m.List(t.Context(), q))
			lapsetest.WantDiff(t, fmt.Sprintf("%+v", q), tokenIDs(want), tokenIDs(whole))
			if n, failed := m.Count(t.Context(), q); n != len(want) || failed != nil || err != nil {
				t.Errorf("%+v: Count: %d, %v; List: %v; want %d", q, n, failed, err, len(want))
			}
			for n, limit := range []int{1, 2, 7, max(1, len(want)-1), max(1, len(want)), len(want) + 1} {
				if !sample.Every(3, nth+n) {
					continue
				}
				lapsetest.WantDiff(t, fmt.Sprintf("%+v by %d", q, limit), whole, pagesOf(t, m, q, limit, func() {}))
				some, _ := lapsetest.Collect(m.List(t.Context(), lapse.Query{Subject: q.Subject, Prefix: q.Prefix, Name: q.Name, Live: q.Live, Within: q.Within, Limit: limit}))
				lapsetest.WantDiff(t, fmt.Sprintf("%+v: the first %d", q, limit), whole[:min(limit, len(whole))], some)
			}
			found += len(want)
		}
		if found < 200 {
			t.Errorf("the queries found %d tokens", found)
		}
	})
}

// TestListWhileTokensChange: what is there from the first page to the last comes once, although others
// come and go between the pages.
func TestListWhileTokensChange(t *testing.T) {
	onPagers(t, func(t *testing.T, store storage.Store) {
		m, clock := lapsetest.GateManager(t, store, lapse.Policy{MaxTokens: lapse.NoTokenLimit})
		var stay []lapse.Token
		for n := range 40 {
			issueFor(t, m, lapse.Grant{Subject: fmt.Sprint("gone ", n)})
			clock.Add(time.Millisecond)
			stay = append(stay, issueFor(t, m, lapse.Grant{Subject: "ana"}).Token)
		}
		step := 0
		for limit := 1; limit < 5; limit++ {
			got := pagesOf(t, m, lapse.Query{Live: true}, limit, func() {
				lapsetest.Must(m.ForgetSubject(t.Context(), fmt.Sprint("gone ", step*7%80)))
				step++
				issueFor(t, m, lapse.Grant{Subject: fmt.Sprint("gone ", 40+step%40)})
				lapsetest.Must(m.RotateID(t.Context(), stay[step%40].ID, 0))
			})
			got = slices.DeleteFunc(got, func(tok lapse.Token) bool { return tok.Subject != "ana" })
			lapsetest.WantDiff(t, fmt.Sprint("those that stayed, by ", limit), tokenIDs(stay), tokenIDs(got))
		}
		if step < 40 {
			t.Errorf("%d changes", step)
		}
	})
}

// TestCountWhileTokensChange: a count that runs beside writers counts each token that stays once.
func TestCountWhileTokensChange(t *testing.T) {
	onPagers(t, func(t *testing.T, store storage.Store) {
		m, _ := lapsetest.GateManager(t, store, lapse.Policy{MaxTokens: lapse.NoTokenLimit})
		const stay, churn = 700, 50
		for range stay {
			issueFor(t, m, lapse.Grant{Subject: "ana", Name: "stays"})
		}
		began, stop, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := m.Issue(context.Background(), lapse.Grant{Subject: "bob", Name: "goes"}); err != nil {
					t.Error(err)
				}
				if n%churn == churn-1 {
					if _, err := m.ForgetSubject(context.Background(), "bob"); err != nil {
						t.Error(err)
					}
				}
				if n == churn {
					close(began)
				}
			}
		}()
		<-began
		for range 20 {
			if n, err := m.Count(t.Context(), lapse.Query{Name: "stays"}); n != stay || err != nil {
				t.Errorf("Count of what stays: %d, %v; want %d", n, err, stay)
			}
			if n, err := m.Count(t.Context(), lapse.Query{}); n < stay || err != nil {
				t.Errorf("Count of all: %d, %v; want %d at least", n, err, stay)
			}
		}
		close(stop)
		<-ended
	})
}

// TestQueryLimits: a field out of its limits, or that the verb does not take, is named, and the store
// is not asked.
func TestQueryLimits(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	f.issue(lapse.Grant{Subject: "ana"})
	next := "as it was"
	long := strings.Repeat("x", 256)
	list := func(q lapse.Query) error { _, err := lapsetest.Collect(f.List(f.ctx, q)); return err }
	count := func(q lapse.Query) error { _, err := f.Count(f.ctx, q); return err }
	watch := func(q lapse.Query) error {
		for _, err := range f.Watch(f.ctx, q) {
			return err
		}
		return nil
	}
	all := map[string]func(lapse.Query) error{"List": list, "Count": count, "Watch": watch}
	for _, row := range []struct {
		field string
		q     lapse.Query
		verbs string
	}{
		{"Subject", lapse.Query{Subject: long}, "List Count Watch"},
		{"Subject", lapse.Query{Subject: "a\x00"}, "List Count Watch"},
		{"Subject", lapse.Query{Subject: "\xff"}, "List Count Watch"},
		{"Name", lapse.Query{Name: long}, "List Count Watch"},
		{"Name", lapse.Query{Name: "a\n"}, "List Count Watch"},
		{"Prefix", lapse.Query{Prefix: strings.Repeat("x", storage.MaxPrefix+1)}, "List Count Watch"},
		{"Prefix", lapse.Query{Prefix: "Lapse"}, "List Count Watch"},
		{"Within", lapse.Query{Within: 1}, "List Count Watch"},
		{"Within", lapse.Query{Within: -time.Hour}, "List Count Watch"},
		{"Limit", lapse.Query{Limit: -1, Next: &next}, "List Count Watch"},
		{"Within", lapse.Query{Within: time.Millisecond}, "Watch"},
		{"Live", lapse.Query{Live: true}, "Watch"},
		{"Limit", lapse.Query{Limit: 1}, "Count Watch"},
		{"After", lapse.Query{After: "x"}, "List Count Watch"},
		{"Next", lapse.Query{Next: &next}, "Count Watch"},
	} {
		for _, name := range strings.Fields(row.verbs) {
			var err error
			calls := f.calls(func() { err = all[name](row.q) })
			lapsetest.WantIs(t, fmt.Sprintf("%s of %+v", name, row.q), err, lapse.ErrInvalidQuery)
			lapsetest.WantDiff(t, "calls", noCalls, calls)
			if err == nil || !strings.Contains(err.Error(), row.field) || lapse.Code(err) != "bad_query" || strings.Contains(err.Error(), long) {
				t.Errorf("%s of %+v: %v; want the field %s", name, row.q, err, row.field)
			}
		}
	}
	lapsetest.WantDiff(t, "Next", "as it was", next)
	for _, q := range []lapse.Query{{Subject: long[:255]}, {Name: long[:255]}, {Prefix: long[:16]}, {Within: time.Millisecond}, {Limit: 1}, {Within: lapse.NoLimit}} {
		if err := list(q); err != nil {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

// TestListAfter: an After is good for its own conditions alone, and where it comes from a Pager for
// its own store alone. Any other text is ErrInvalidQuery by name.
func TestListAfter(t *testing.T) {
	next := func(m *lapse.Manager, q lapse.Query) (after string) {
		q.Limit, q.Next = 1, &after
		if _, err := lapsetest.Collect(m.List(t.Context(), q)); err != nil || after == "" {
			t.Fatalf("the first page of %+v: next %q, %v", q, after, err)
		}
		return after
	}
	refused := func(what string, m *lapse.Manager, q lapse.Query) {
		t.Helper()
		left := "as it was"
		q.Next = &left
		pairs := 0
		for tok, err := range m.List(t.Context(), q) {
			pairs++
			lapsetest.WantIs(t, what, err, lapse.ErrInvalidQuery)
			if tok != (lapse.Token{}) || !strings.Contains(err.Error(), "After") || strings.Contains(err.Error(), q.After) {
				t.Errorf("%s: %v, %v", what, tok, err)
			}
		}
		if pairs != 1 || left != "as it was" {
			t.Errorf("%s: %d pairs, next %q", what, pairs, left)
		}
	}
	onPagers(t, func(t *testing.T, store storage.Store) {
		m, _ := listScene(t, store)
		other, _ := listScene(t, memory.New())
		queries := []lapse.Query{{}, {Subject: "ana"}, {Prefix: "key"}, {Name: "phone"}, {Live: true}, {Within: time.Hour}, {Within: 2 * time.Hour}, {Subject: "ana", Name: "phone"}}
		for i, q := range queries {
			for j, as := range queries {
				if as.After = next(m, q); i != j {
					refused(fmt.Sprintf("the After of %+v for %+v", q, as), m, as)
				}
			}
			good := next(m, q)
			for at := range good {
				forged := []byte(good)
				forged[at] ^= 1
				q.After = string(forged)
				refused(fmt.Sprint("changed at ", at), m, q)
			}
			for _, forged := range []string{"0", good + "0", good[1:], good[:len(good)-1], strings.Repeat("0", 11), strings.Repeat("0", 33), "é" + good} {
				q.After = forged
				refused("forged", m, q)
			}
			q.After = ""
			if q.After = next(other, q); q.Subject == "" && q.Within == 0 {
				refused("the After of another store", m, q)
			}
			q.After, q.Limit = good, 1
			if page, err := lapsetest.Collect(m.List(t.Context(), q)); len(page) != 1 || err != nil {
				t.Errorf("the true After: %v, %v", page, err)
			}
		}
	})
}

// TestListAfterReopening: bolt refuses an After from before it was opened, by name. One that names an
// ID goes on.
func TestListAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	var after [2]string
	queries := [2]lapse.Query{{}, {Subject: "ana"}}
	for n := range 2 {
		s, err := bolt.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, _ := lapsetest.GateManager(t, s, lapse.Policy{})
		issueFor(t, m, lapse.Grant{Subject: "ana"})
		issueFor(t, m, lapse.Grant{Subject: "ana"})
		for i, q := range queries {
			q.Limit, q.After, q.Next = 1, after[i], &after[i]
			page, err := lapsetest.Collect(m.List(t.Context(), q))
			if refused := n == 1 && i == 0; errors.Is(err, lapse.ErrInvalidQuery) != refused || (len(page) == 0) != refused {
				t.Errorf("%+v, opening %d: %v, %v", q, n, page, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestListNext: a body that breaks, and an error that ends the loop, leave Next as it was, so that the
// same page comes again.
func TestListNext(t *testing.T) {
	onPagers(t, func(t *testing.T, store storage.Store) {
		m, all := listScene(t, store)
		for _, q := range []lapse.Query{{}, {Within: lapse.NoLimit}} {
			q.Limit, q.Next = 4, &q.After
			first := lapsetest.Must(lapsetest.Collect(m.List(t.Context(), q)))
			was := q.After
			var next lapse.Token
			for tok, err := range m.List(t.Context(), q) {
				if next = tok; err != nil {
					t.Error(err)
				}
				break
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := lapsetest.Collect(m.List(ctx, q)); !errors.Is(err, context.Canceled) || q.After != was || was == "" {
				t.Errorf("%v; after a break and an error Next is %q; it was %q", err, q.After, was)
			}
			second := lapsetest.Must(lapsetest.Collect(m.List(t.Context(), q)))
			if len(first) != 4 || len(second) != 4 || second[0] != next || slices.Contains(tokenIDs(first), second[0].ID) || len(all) < 9 {
				t.Errorf("the page after it: %v", second)
			}
		}
	})
}

// pageStore is a store in memory whose n-th Page fails, if n is not 0, and in which a record is damaged.
type pageStore struct {
	*memory.Store
	n       int
	err     error
	damaged lapse.ID
}

func (s *pageStore) Page(ctx context.Context, after string, n int) ([]storage.Record, string, error) {
	if s.n--; s.n == 0 {
		return nil, "", s.err
	}
	recs, next, err := s.Store.Page(ctx, after, n)
	for i := range recs {
		if recs[i].ID == s.damaged {
			if recs, next, err = s.Store.Page(ctx, after, i+1); err == nil {
				recs[i], err = storage.Record{Token: storage.Token{ID: s.damaged}}, storage.ErrCorrupt
			}
			break
		}
	}
	return recs, next, err
}

func (s *pageStore) PageFor(store storage.Store) bool { return store == storage.Store(s) }

// TestListPageFails: an error of any Page is the last pair, with the class of a store's error, and
// gives no token twice when the loop is begun again.
func TestListPageFails(t *testing.T) {
	store := &pageStore{Store: memory.New()}
	m, _ := lapsetest.GateManager(t, store, lapse.Policy{MaxTokens: lapse.NoTokenLimit})
	for range 600 {
		issueFor(t, m, lapse.Grant{Subject: "ana"})
	}
	for n := 1; n <= 3; n++ {
		for err, want := range map[error]error{storage.ErrUnavailable: lapse.ErrUnavailable, errDisk: lapse.ErrUnavailable, storage.ErrClosed: lapse.ErrClosed, storage.ErrCorrupt: lapse.ErrCorrupt, storage.ErrInvalidAfter: lapse.ErrUnavailable} {
			store.n, store.err = n, err
			got, failed := lapsetest.Collect(m.List(t.Context(), lapse.Query{}))
			lapsetest.WantIs(t, fmt.Sprint("Page ", n), failed, want)
			if len(got) != 256*(n-1) || errors.Is(failed, lapse.ErrUnauthenticated) {
				t.Errorf("Page %d: %d tokens before %v", n, len(got), failed)
			}
			store.n = n
			if n, failed := m.Count(t.Context(), lapse.Query{}); !errors.Is(failed, want) || n != 0 && !errors.Is(failed, lapse.ErrCorrupt) {
				t.Errorf("Count: %d, %v", n, failed)
			}
		}
	}
}

// TestListPageDamaged: a damaged record is one pair of a page, and hides no other.
func TestListPageDamaged(t *testing.T) {
	store := &pageStore{Store: memory.New()}
	m, _ := lapsetest.GateManager(t, store, lapse.Policy{MaxTokens: lapse.NoTokenLimit})
	var all []lapse.Token
	for range 10 {
		all = append(all, issueFor(t, m, lapse.Grant{Subject: "ana"}).Token)
	}
	for _, tok := range all {
		store.damaged = tok.ID
		for _, limit := range []int{0, 1, 3, 10} {
			q, good, bad := lapse.Query{Limit: limit}, 0, 0
			for q.Next = &q.After; good+bad < 11; {
				for tok, err := range m.List(t.Context(), q) {
					if err == nil {
						good++
					} else if lapsetest.WantIs(t, "the damaged one", err, lapse.ErrCorrupt); tok == (lapse.Token{ID: store.damaged}) {
						bad++
					}
				}
				if q.After == "" {
					break
				}
			}
			if good != 9 || bad != 1 {
				t.Errorf("by %d: %d tokens and %d damaged; want 9 and 1", limit, good, bad)
			}
		}
		if n, err := m.Count(t.Context(), lapse.Query{}); n != 9 || !errors.Is(err, lapse.ErrCorrupt) {
			t.Errorf("Count: %d, %v; want the 9 that can be read, and ErrCorrupt", n, err)
		}
	}
}

// watched is a Watch whose changes a test takes one by one.
type watched struct {
	t    *testing.T
	next func() (lapse.Change, error, bool)
}

// watch begins a Watch and takes the Gap that it begins with.
func watch(t *testing.T, m *lapse.Manager, q lapse.Query) *watched {
	t.Helper()
	next, stop := iter.Pull2(m.Watch(t.Context(), q))
	t.Cleanup(stop)
	w := &watched{t, next}
	if c := w.take(); c != (lapse.Change{Gap: true}) {
		t.Fatalf("the first change is %+v", c)
	}
	return w
}

func (w *watched) take() lapse.Change {
	w.t.Helper()
	c, err, ok := w.next()
	if err != nil || !ok {
		w.t.Fatalf("no change: %v", err)
	}
	return c
}

// TestWatch: each verb that changes a token makes a Change, with the token as it is then.
func TestWatch(t *testing.T) {
	m, clock := lapsetest.GateManager(t, memory.New(), lapse.Policy{})
	p := lapsetest.Must(lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: clock}}))
	w, ofPairs := watch(t, m, lapse.Query{}), watch(t, p.Access(), lapse.Query{})
	i := issueFor(t, m, lapse.Grant{Subject: "ana", Name: "phone"})
	if c := w.take(); c != (lapse.Change{Token: i.Token}) {
		t.Errorf("Issue: %+v", c)
	}
	steps := []struct {
		name string
		do   func() error
	}{
		{"Renew", func() error { _, err := m.Renew(t.Context(), i.Bearer); return err }},
		{"Confirm", func() error { _, err := m.Confirm(t.Context(), i.Bearer); return err }},
		{"RotateID", func() error { _, err := m.RotateID(t.Context(), i.ID, time.Minute); return err }},
		{"Expire", func() error { _, err := m.Expire(t.Context(), i.ID); return err }},
	}
	before := i.Token
	for _, step := range steps {
		clock.Add(time.Second)
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if step.name == "Confirm" { // a rotation with an overlap and Confirm put once, as every other
			before = lapse.Token{}
		}
		if c := w.take(); c.Token != lapsetest.Must(m.Token(t.Context(), i.ID)) || c.Token == before || c.Gap || c.Deleted {
			t.Errorf("%s: %+v", step.name, c)
		}
	}
	lapsetest.Must(m.ForgetSubject(t.Context(), "ana"))
	if c := w.take(); c != (lapse.Change{Token: lapse.Token{ID: i.ID, Subject: "ana"}, Deleted: true}) {
		t.Errorf("ForgetSubject: %+v", c)
	}
	pair := lapsetest.Must(p.Issue(t.Context(), lapse.Grant{Subject: "bob"}))
	if c := ofPairs.take(); c.Token != pair.Refresh.Token {
		t.Errorf("Pairs.Issue: %+v, want %+v", c, pair.Refresh.Token)
	}
	pair = lapsetest.Must(p.Refresh(t.Context(), pair.Refresh.Bearer))
	if c := ofPairs.take(); c.Token != pair.Refresh.Token || c.Token.Generation != 1 {
		t.Errorf("Refresh: %+v", c)
	}
}

// TestWatchSelects: a Query tells of its subject, prefix and name alone, and of every deletion of the
// subject.
func TestWatchSelects(t *testing.T) {
	store := memory.New()
	m, clock := lapsetest.GateManager(t, store, lapse.Policy{})
	keys := lapsetest.Must(lapse.New(store, lapse.Config{Clock: clock, Prefix: "key"}))
	queries := []lapse.Query{{}, {Subject: "ana"}, {Prefix: "key"}, {Name: "phone"}, {Subject: "bob", Prefix: "lapse", Name: "phone"}}
	var watches []*watched
	for _, q := range queries {
		watches = append(watches, watch(t, m, q))
	}
	want := make([][]lapse.ID, len(queries))
	for n := range 16 {
		g := lapse.Grant{Subject: []string{"ana", "bob"}[n%2], Name: []string{"", "phone"}[n/2%2]}
		i := issueFor(t, []*lapse.Manager{m, keys}[n/4%2], g)
		for k, q := range queries {
			if (q.Subject == "" || q.Subject == i.Subject) && (q.Prefix == "" || q.Prefix == i.Prefix) && (q.Name == "" || q.Name == i.Name) {
				want[k] = append(want[k], i.ID)
			}
		}
	}
	for k, w := range watches {
		var got []lapse.ID
		for range want[k] {
			got = append(got, w.take().Token.ID)
		}
		lapsetest.WantDiff(t, fmt.Sprintf("%+v", queries[k]), want[k], got)
	}
	lapsetest.Must(m.ForgetSubject(t.Context(), "ana"))
	last := issueFor(t, keys, lapse.Grant{Subject: "bob", Name: "phone"}).ID
	other := issueFor(t, m, lapse.Grant{Subject: "ana", Name: "phone"}).ID
	bobs := issueFor(t, m, lapse.Grant{Subject: "bob", Name: "phone"}).ID
	for k, after := range [][]lapse.ID{{last, other, bobs}, {other}, {last}, {last, other, bobs}, {bobs}} {
		for n := range 8 {
			if c := watches[k].take(); queries[k].Subject != "bob" && (!c.Deleted || c.Token != (lapse.Token{ID: c.Token.ID, Subject: "ana"})) {
				t.Errorf("%+v: deletion %d: %+v", queries[k], n, c)
			} else if queries[k].Subject == "bob" {
				lapsetest.WantDiff(t, "bob's", bobs, c.Token.ID)
				after = nil
				break
			}
		}
		for _, id := range after {
			lapsetest.WantDiff(t, fmt.Sprintf("%+v: then", queries[k]), id, watches[k].take().Token.ID)
		}
	}
}

// TestWatchEnds: the last pair has the error of the context, or ErrClosed. A store without changes to
// tell is ErrUnsupported.
func TestWatchEnds(t *testing.T) {
	mute, _ := lapsetest.GateManager(t, struct{ storage.Store }{memory.New()}, lapse.Policy{})
	told := 0
	for _, err := range mute.Watch(t.Context(), lapse.Query{}) {
		told++
		lapsetest.WantIs(t, "no Watcher", err, errors.ErrUnsupported)
		if lapse.Code(err) != "unsupported" || !strings.Contains(err.Error(), "List") {
			t.Errorf("no Watcher: %v, code %s", err, lapse.Code(err))
		}
	}
	if told != 1 {
		t.Errorf("no Watcher: %d pairs; want 1", told)
	}
	for _, row := range []struct {
		want error
		end  func(store *memory.Store, cancel func())
	}{
		{context.Canceled, func(_ *memory.Store, cancel func()) { cancel() }},
		{lapse.ErrClosed, func(store *memory.Store, _ func()) { store.Close() }},
	} {
		store := memory.New()
		m, _ := lapsetest.GateManager(t, store, lapse.Policy{})
		ctx, cancel := context.WithCancel(t.Context())
		var last error
		pairs := 0
		for c, err := range m.Watch(ctx, lapse.Query{}) {
			if pairs++; c.Gap {
				row.end(store, cancel)
			}
			last = err
		}
		lapsetest.WantIs(t, "the last pair", last, row.want)
		if cancel(); pairs != 2 || errors.Is(last, lapse.ErrUnauthenticated) {
			t.Errorf("%d pairs, the last with %v", pairs, last)
		}
	}
}

// TestWatchSlowBody: no writer waits for a body that does not return. It gets a Gap for the changes
// that it missed.
func TestWatchSlowBody(t *testing.T) {
	store := memory.New()
	m, _ := lapsetest.GateManager(t, store, lapse.Policy{})
	i := issueFor(t, m, lapse.Grant{Subject: "ana"})
	w := watch(t, m, lapse.Query{}) // its body waits from now on
	for range 1<<16 + 1 {
		err := store.Update(t.Context(), "ana", func(tx storage.Tx) error {
			rec, err := tx.Get(i.ID)
			return errors.Join(err, tx.Put(rec))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if c := w.take(); !c.Gap {
		t.Errorf("after more changes than are kept: %+v", c)
	}
	j := issueFor(t, m, lapse.Grant{Subject: "ana"})
	if c := w.take(); c.Token.ID != j.ID {
		t.Errorf("then: %+v", c)
	}
}

// readStore is a store in memory whose Get and Gets fail for the record of an ID, by a fault of the
// store or of the context. What serves connections in the background has another context.
type readStore struct {
	*memory.Store
	readFault
}

type readFault struct {
	id  lapse.ID
	err error
}

func (s *readStore) Get(ctx context.Context, id lapse.ID) (storage.Record, error) {
	fault, ok := ctx.Value(readFault{}).(readFault)
	if !ok {
		fault = s.readFault
	}
	if id == fault.id {
		return storage.Record{}, fault.err
	}
	return s.Store.Get(ctx, id)
}

func (s *readStore) Gets(ctx context.Context, ids []lapse.ID) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for _, id := range ids {
			rec, err := s.Get(ctx, id)
			if errors.Is(err, storage.ErrNotFound) {
				continue
			}
			if rec.ID = id; !yield(rec, err) || err != nil && !errors.Is(err, storage.ErrCorrupt) {
				return
			}
		}
	}
}

func (s *readStore) GetsFor(store storage.Store) bool { return store == storage.Store(s) }

// singly is a readStore that is no BatchGetter.
type singly struct{ *readStore }

func (singly) GetsFor(storage.Store) bool { return false }

// TestWatchFaults: a damaged record is one pair, and the loop goes on. Any other error ends it.
func TestWatchFaults(t *testing.T) {
	store := &readStore{Store: memory.New()}
	m, _ := lapsetest.GateManager(t, store, lapse.Policy{})
	for _, fault := range []struct{ err, want error }{
		{storage.ErrCorrupt, lapse.ErrCorrupt}, {storage.ErrUnavailable, lapse.ErrUnavailable}, {errDisk, lapse.ErrUnavailable}, {storage.ErrClosed, lapse.ErrClosed},
	} {
		next, stop := iter.Pull2(m.Watch(t.Context(), lapse.Query{Name: "phone"}))
		next() // the Gap
		i := issueFor(t, m, lapse.Grant{Subject: "ana", Name: "phone"})
		store.id, store.err = i.ID, fault.err
		c, err, _ := next()
		lapsetest.WantIs(t, "the Change", err, fault.want)
		store.id = lapse.ID{}
		if corrupt := fault.err == storage.ErrCorrupt; (c.Token == lapse.Token{ID: i.ID}) != corrupt || errors.Is(err, lapse.ErrUnauthenticated) {
			t.Errorf("%+v, %v", c, err)
		} else if corrupt {
			i = issueFor(t, m, lapse.Grant{Subject: "ana", Name: "phone"})
			if c, err, _ := next(); c.Token.ID != i.ID || err != nil {
				t.Errorf("after a damaged one: %+v, %v", c, err)
			}
		} else if _, err, more := next(); more {
			t.Errorf("after the last pair: %v", err)
		}
		stop()
	}
}

// TestHolds: one pair for each token by which the Manager holds connections, as it is now.
func TestHolds(t *testing.T) {
	for name, store := range map[string]storage.Store{"by Gets": memory.New(), "by Get": singly{&readStore{Store: memory.New()}}} {
		t.Run(name, func(t *testing.T) {
			m, clock := lapsetest.GateManager(t, store, lapse.Policy{MaxTokens: lapse.NoTokenLimit})
			other := lapsetest.Must(lapse.New(store, lapse.Config{Clock: clock}))
			want := map[lapse.ID]int{}
			var holds []*lapse.Hold
			hold := func(m *lapse.Manager, bearer string) *lapse.Hold {
				h := lapsetest.Must(m.Hold(t.Context(), bearer))
				t.Cleanup(h.Release)
				return h
			}
			parent := issueFor(t, m, lapse.Grant{Subject: "ana", TTL: 10 * time.Minute})
			child := lapsetest.Must(m.Delegate(t.Context(), parent.Bearer, lapse.Grant{}))
			for n := range 600 { // more than one page
				i := issueFor(t, m, lapse.Grant{Subject: "bob"})
				for range n%3 + 1 {
					holds = append(holds, hold(m, i.Bearer))
					want[i.ID]++
				}
			}
			hold(m, child.Bearer)
			want[child.ID]++
			hold(other, parent.Bearer)
			issueFor(t, m, lapse.Grant{Subject: "carl"})
			for _, h := range holds[:100] {
				h.Release()
				if want[h.Token().ID]--; want[h.Token().ID] == 0 {
					delete(want, h.Token().ID)
				}
			}
			clock.Add(time.Second)
			got := map[lapse.ID]int{}
			var last lapse.ID
			for held, err := range m.Holds(t.Context()) {
				if err != nil || held.Token != lapsetest.Must(m.Token(t.Context(), held.Token.ID)) || held.Token.ID.Compare(last) <= 0 {
					t.Fatalf("%+v, %v behind %v", held, err, last)
				}
				got[held.Token.ID], last = held.Connections, held.Token.ID
			}
			lapsetest.WantDiff(t, "connections", want, got)
			pairs := 0
			for held, err := range other.Holds(t.Context()) {
				if pairs++; err != nil || held.Token.ID != parent.ID || held.Connections != 1 {
					t.Errorf("of the other Manager: %+v, %v", held, err)
				}
			}
			if pairs != 1 {
				t.Errorf("of the other Manager: %d pairs; want 1", pairs)
			}
		})
	}
}

// TestHoldsFaults: a damaged record is one pair, a record that is gone is none, and any other error
// ends the loop.
func TestHoldsFaults(t *testing.T) {
	base := &readStore{Store: memory.New()}
	for name, store := range map[string]storage.Store{"by Gets": base, "by Get": singly{base}} {
		t.Run(name, func(t *testing.T) {
			m, _ := lapsetest.GateManager(t, struct{ storage.Store }{store}, lapse.Policy{}) // it cuts none at once
			if name == "by Gets" {
				m, _ = lapsetest.GateManager(t, store, lapse.Policy{})
			}
			var ids []lapse.ID
			for range 3 {
				i := issueFor(t, m, lapse.Grant{Subject: "ana"})
				h := lapsetest.Must(m.Hold(t.Context(), i.Bearer))
				defer h.Release()
				ids = append(ids, i.ID)
			}
			slices.SortFunc(ids, lapse.ID.Compare)
			for _, fault := range []struct {
				err, want error
				good      int
			}{
				{storage.ErrCorrupt, lapse.ErrCorrupt, 2}, {storage.ErrNotFound, nil, 2}, {storage.ErrUnavailable, lapse.ErrUnavailable, 1}, {errDisk, lapse.ErrUnavailable, 1},
			} {
				ctx := context.WithValue(t.Context(), readFault{}, readFault{ids[1], fault.err})
				good := 0
				var failed error
				for held, err := range m.Holds(ctx) {
					if err == nil {
						good++
						continue
					}
					if failed = err; errors.Is(err, lapse.ErrCorrupt) && held != (lapse.Held{Token: lapse.Token{ID: ids[1]}, Connections: 1}) {
						t.Errorf("the damaged one is %+v", held)
					}
				}
				if !errors.Is(failed, fault.want) || good != fault.good || errors.Is(failed, lapse.ErrUnauthenticated) {
					t.Errorf("%v: %d good, %v", fault.err, good, failed)
				}
			}
		})
	}
}

// TestWatchTellsNoAlias: what ForgetSubject deletes besides tokens is told to no Watch.
func TestWatchTellsNoAlias(t *testing.T) {
	m := lapsetest.Must(lapse.New(memory.New(), lapse.Config{Foreign: readOld}))
	tok := lapsetest.Must(m.Import(t.Context(), lapse.Grant{Subject: "ana"}, oldToken(1)))
	i := lapsetest.Must(m.Issue(t.Context(), lapse.Grant{Subject: "ana", RequestID: "r"}))
	w := watch(t, m, lapse.Query{})
	lapsetest.Must(m.ForgetSubject(t.Context(), "ana"))
	last := lapsetest.Must(m.Issue(t.Context(), lapse.Grant{Subject: "ben"}))
	for c := w.take(); c.Token.ID != last.ID; c = w.take() {
		if c.Token.ID != tok.ID && c.Token.ID != i.ID && !c.Gap {
			t.Errorf("told of %+v, which is no token", c)
		}
	}
}
