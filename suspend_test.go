package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// suspend fails the test unless Suspend returns changed.
func (f *fixture) suspend(id lapse.ID, changed bool) {
	f.t.Helper()
	if got, err := f.Suspend(f.ctx, id); got != changed || err != nil {
		f.t.Fatalf("Suspend: %v, %v; want %v", got, err, changed)
	}
}

// resume fails the test unless Resume returns changed.
func (f *fixture) resume(id lapse.ID, changed bool) {
	f.t.Helper()
	if got, err := f.Resume(f.ctx, id); got != changed || err != nil {
		f.t.Fatalf("Resume: %v, %v; want %v", got, err, changed)
	}
}

// wantSuspended: the text is refused as one of the token of id, which was suspended at that instant.
func (f *fixture) wantSuspended(what, bearer string, id lapse.ID, at time.Time) {
	f.t.Helper()
	tok, err := f.Peek(f.ctx, bearer)
	var why *lapse.Rejection
	if !errors.As(err, &why) || why.Err != lapse.ErrSuspended || why.ID != id || !why.At.Equal(at) || why.Reason != 0 || why.Subject == "" || tok != (lapse.Token{}) {
		f.t.Errorf("%s: %+v, %v; want a Rejection of %v at %v", what, tok, err, id, at)
	}
	lapsetest.WantIs(f.t, what, err, lapse.ErrUnauthenticated)
}

// TestSuspendAndResume change SuspendedAt of the record and nothing else. Each is told once, and done
// again changes nothing.
func TestSuspendAndResume(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", Name: "laptop"})
	f.clock.Add(time.Minute)
	record, at := f.record(i.ID), f.Now()
	suspended := i.Token
	suspended.SuspendedAt = at
	f.events = nil
	f.resume(i.ID, false)
	f.suspend(i.ID, true)
	f.wantSuspended("suspended", i.Bearer, i.ID, at)
	lapsetest.WantDiff(t, "the token", suspended, f.token(i.ID))
	f.clock.Add(time.Minute)
	f.suspend(i.ID, false)
	f.wantSuspended("suspended again", i.Bearer, i.ID, at)
	suspension := record
	suspension.SuspendedAt = at
	lapsetest.WantDiff(t, "the record, suspended", suspension, f.record(i.ID))
	f.resume(i.ID, true)
	f.resume(i.ID, false)
	lapsetest.WantDiff(t, "the record, resumed", record, f.record(i.ID))
	_, err := f.Authenticate(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "resumed", err, nil)
	f.events = slices.DeleteFunc(f.events, func(e lapse.Event) bool { return e.Kind == lapse.EventRejected || e.Kind == lapse.EventRenewed })
	lapsetest.WantDiff(t, "events", []lapse.Event{{Kind: lapse.EventSuspended, At: at, Token: suspended}, {Kind: lapse.EventResumed, At: at.Add(time.Minute), Token: i.Token}}, f.events)
}

// TestSuspendOfTheDead: before, at and after the end of a token, which stays dead.
func TestSuspendOfTheDead(t *testing.T) {
	const life = 30 * time.Minute
	for _, row := range []struct {
		name  string
		after time.Duration
		end   func(f *fixture, i lapse.Issued) error
		want  error // of Resume, and of the text then
		why   lapse.EndReason
	}{
		{"before it runs out", life - time.Millisecond, nil, nil, 0},
		{"when it runs out", life, nil, lapse.ErrExpired, 0},
		{"after it ran out", life + time.Millisecond, nil, lapse.ErrExpired, 0},
		{"ended", time.Minute, func(f *fixture, i lapse.Issued) error { _, err := f.Expire(f.ctx, i.ID); return err }, lapse.ErrRevoked, lapse.EndRevoked},
		{"ended with its subject", time.Minute, func(f *fixture, _ lapse.Issued) error { _, err := f.ExpireSubject(f.ctx, "ana"); return err }, lapse.ErrRevoked, lapse.EndSubject},
		{"logged out", time.Minute, func(f *fixture, i lapse.Issued) error { return lapsetest.LoggedOut(f.ExpireBearer(f.ctx, i.Bearer)) }, lapse.ErrRevoked, lapse.EndRevoked},
	} {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprint(row.name, ", suspended before: ", before), func(t *testing.T) {
				f := newFixture(t, lapse.Config{})
				i := f.issue(lapse.Grant{Subject: "ana"})
				if before {
					f.suspend(i.ID, true)
				}
				f.clock.Set(lapsetest.StartMilli.Add(row.after))
				if row.end != nil {
					lapsetest.WantIs(t, "the end", row.end(f, i), nil)
				}
				f.suspend(i.ID, row.want == nil && !before)
				was := f.record(i.ID)
				changed, err := f.Resume(f.ctx, i.ID)
				lapsetest.WantIs(t, "Resume", err, row.want)
				if changed != (row.want == nil) {
					t.Errorf("Resume returned %v", changed)
				}
				_, err = f.Peek(f.ctx, i.Bearer)
				lapsetest.WantIs(t, "Peek", err, row.want)
				if row.want == nil {
					return
				}
				var refused *lapse.Rejection
				if !errors.As(err, &refused) || refused.Reason != row.why {
					t.Errorf("Resume: %v; want the reason %v", err, row.why)
				}
				lapsetest.WantDiff(t, "the record", was, f.record(i.ID))
			})
		}
	}
	f := newFixture(t, lapse.Config{})
	for name, do := range map[string]func(context.Context, lapse.ID) (bool, error){"Suspend": f.Suspend, "Resume": f.Resume} {
		changed, err := do(f.ctx, lapse.ID{1})
		lapsetest.WantIs(t, name+" of no token", err, lapse.ErrNotFound)
		if changed || len(f.events) > 0 {
			t.Errorf("%s of no token: %v, told %v", name, changed, f.events)
		}
	}
}

// TestSuspendOfAnyPrefix goes by the record: a Manager under whose policy the token is dead suspends and
// resumes it all the same.
func TestSuspendOfAnyPrefix(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.Add(10 * time.Minute)
	for name, m := range map[string]*lapse.Manager{
		"another prefix":  f.manager(lapse.Config{Prefix: "admin"}),
		"a lower MaxTTL":  f.manager(lapse.Config{Policy: lapse.Policy{TTL: time.Minute, MaxTTL: time.Minute}}),
		"the same policy": f.Manager,
	} {
		changed, err := m.Suspend(f.ctx, i.ID)
		if !changed || err != nil {
			t.Errorf("%s: Suspend: %v, %v", name, changed, err)
		}
		f.wantSuspended(name, i.Bearer, i.ID, f.Now())
		changed, err = m.Resume(f.ctx, i.ID)
		if !changed || err != nil {
			t.Errorf("%s: Resume: %v, %v", name, changed, err)
		}
		f.wantPeek(t, name, i.Bearer, nil)
	}
}

// TestSuspendRefusesDelegates: every delegate below is refused, and shown as suspended since the first
// of those above it was; each has to be resumed that was suspended itself.
func TestSuspendRefusesDelegates(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	family := f.chain(4)
	other := f.delegate(family[0], lapse.Grant{})
	first := f.Now()
	f.suspend(family[1].ID, true)
	f.clock.Add(time.Minute)
	second := f.Now()
	f.suspend(family[3].ID, true) // a delegate of a suspended one
	want := func(what string, at ...time.Time) {
		t.Helper()
		for n, i := range family {
			lapsetest.WantDiff(t, fmt.Sprint(what, ": SuspendedAt of ", n), at[n], f.token(i.ID).SuspendedAt)
			if at[n].IsZero() {
				f.wantPeek(t, fmt.Sprint(what, ": ", n), i.Bearer, nil)
			} else {
				f.wantSuspended(fmt.Sprint(what, ": ", n), i.Bearer, i.ID, at[n])
			}
		}
		f.wantPeek(t, what+": beside it", other.Bearer, nil)
	}
	want("both", time.Time{}, first, first, first)
	f.resume(family[2].ID, false)
	want("what was not suspended itself", time.Time{}, first, first, first)
	f.resume(family[1].ID, true)
	want("the last alone", time.Time{}, time.Time{}, time.Time{}, second)
	f.resume(family[3].ID, true)
	want("none", time.Time{}, time.Time{}, time.Time{}, time.Time{})
	f.suspend(family[1].ID, true)
	f.resume(family[1].ID, true)
	want("the second again", time.Time{}, time.Time{}, time.Time{}, time.Time{})
	_, err := f.Expire(f.ctx, family[0].ID)
	lapsetest.WantIs(t, "Expire", err, nil)
	_, err = f.Resume(f.ctx, family[3].ID)
	lapsetest.WantIs(t, "Resume below what was ended", err, lapse.ErrRevoked)
}

// TestSuspendedGoesOnRunningOut: nothing renews it, and its time goes on.
func TestSuspendedGoesOnRunningOut(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
	i := obtain(t, f, f.Manager, forAna)
	f.suspend(i.ID, true)
	was := f.record(i.ID)
	for _, row := range []struct {
		at   time.Duration
		want error
	}{
		{time.Minute, lapse.ErrSuspended},
		{30*time.Minute - time.Millisecond, lapse.ErrSuspended},
		{30 * time.Minute, lapse.ErrExpired},
	} {
		at, want := row.at, row.want
		f.clock.Set(lapsetest.StartMilli.Add(at))
		for name, verb := range bearerVerbs(f.Manager) {
			if name != "ExpireBearer" {
				lapsetest.WantIs(t, fmt.Sprint(name, " after ", at), verb(f.ctx, i.Bearer), want)
			}
		}
		if want == lapse.ErrSuspended {
			_, err := f.Obtain(f.ctx, forAna)
			lapsetest.WantIs(t, fmt.Sprint("Obtain after ", at), err, want)
		}
	}
	lapsetest.WantDiff(t, "the record", was, f.record(i.ID))
}

// TestSuspendedKeepsItsPlace in MaxTokens: LimitRefuse and LimitEndOldest count it, and LimitEndIdlest
// counts it and does not end it.
func TestSuspendedKeepsItsPlace(t *testing.T) {
	for _, row := range []struct {
		name      string
		at        lapse.AtLimit
		suspended []int // of three tokens, the oldest first
		want      error
		evicted   int
	}{
		{"refuse", lapse.LimitRefuse, []int{0, 1, 2}, lapse.ErrLimit, 0},
		{"the oldest", lapse.LimitEndOldest, []int{0}, nil, 0},
		{"the oldest of such alone", lapse.LimitEndOldest, []int{0, 1, 2}, nil, 0},
		{"the idlest, none suspended", lapse.LimitEndIdlest, nil, nil, 0},
		{"the idlest, the first suspended", lapse.LimitEndIdlest, []int{0}, nil, 1},
		{"the idlest, two suspended", lapse.LimitEndIdlest, []int{0, 1}, nil, 2},
		{"the idlest, all suspended", lapse.LimitEndIdlest, []int{0, 1, 2}, lapse.ErrLimit, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 3, AtLimit: row.at}})
			var all []lapse.Issued
			for range 3 {
				all = append(all, f.issue(lapse.Grant{Subject: "ana"}))
				f.clock.Add(time.Second)
			}
			for _, n := range row.suspended {
				f.suspend(all[n].ID, true)
			}
			before := f.contents()
			i, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana"})
			lapsetest.WantIs(t, "Issue", err, row.want)
			if err != nil {
				lapsetest.WantDiff(t, "the records", before, f.contents())
				f.resume(all[0].ID, true)
				return
			}
			lapsetest.WantDiff(t, "evicted", []lapse.ID{all[row.evicted].ID}, i.Evicted)
		})
	}
}

// TestSuspendedIsNeverEvictedInPart: where a lower MaxTokens asks for more than are not suspended, none
// is ended.
func TestSuspendedIsNeverEvictedInPart(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	first, second := f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana"})
	f.suspend(first.ID, true)
	before := f.contents()
	m := f.manager(lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitEndIdlest}})
	_, err := m.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	lapsetest.WantIs(t, "Issue", err, lapse.ErrLimit)
	lapsetest.WantDiff(t, "the records", before, f.contents())
	f.wantPeek(t, "the other one", second.Bearer, nil)
}

// TestSuspendedDelegatesKeepTheirPlace in MaxDelegates.
func TestSuspendedDelegatesKeepTheirPlace(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxDelegates: 1}})
	parent := f.issue(lapse.Grant{Subject: "ana"})
	child := f.delegate(parent, lapse.Grant{})
	f.suspend(child.ID, true)
	_, err := f.Delegate(f.ctx, parent.Bearer, lapse.Grant{})
	lapsetest.WantIs(t, "Delegate", err, lapse.ErrLimit)
}

// TestSuspendedIsListed by every list, and swept when any dead token would be.
func TestSuspendedIsListed(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour}}})
	c := p.first(lapse.Grant{})
	at := p.Now()
	p.suspend(c.Access.ID, true)
	for name, list := range map[string]func(func(lapse.Token, error) bool){
		"List": p.List(p.ctx, lapse.Query{Subject: "ana"}), "List within": p.List(p.ctx, lapse.Query{Within: lapse.NoLimit}), "pages": p.List(p.ctx, lapse.Query{}), "Sessions": p.Sessions(p.ctx, "ana"),
	} {
		all, err := lapsetest.Collect(list)
		if err != nil || len(all) != 1 || all[0].ID != c.Access.ID || !all[0].SuspendedAt.Equal(at) || !all[0].Live(p.Now()) {
			t.Errorf("%s: %+v, %v", name, all, err)
		}
	}
	for _, row := range []struct {
		at   time.Duration
		want int
	}{{0, 0}, {25*time.Hour - time.Millisecond, 0}, {25 * time.Hour, 0}, {25*time.Hour + time.Millisecond, 1}} {
		p.clock.Set(lapsetest.StartMilli.Add(row.at))
		if n, err := p.Sweep(p.ctx); n != row.want || err != nil {
			t.Errorf("Sweep after %v: %d, %v; want %d", row.at, n, err, row.want)
		}
	}
}

// TestSuspendedSession: a session is suspended whole, by its one ID, whichever text is presented, and
// one resumption gives both texts back. A spent refresh text ends it meanwhile.
func TestSuspendedSession(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	s := p.session3(lapse.Grant{})
	child, err := p.Delegate(p.ctx, s.current.Access.Bearer, lapse.Grant{})
	lapsetest.WantIs(t, "Delegate", err, nil)
	p.suspend(s.current.Refresh.ID, true)
	for name, c := range map[string]lapse.TokenPair{"previous": s.previous, "current": s.current} {
		p.wantRefresh(name, c, lapse.ErrSuspended)
		p.wantAccess(name, c, lapse.ErrSuspended)
		_, err := p.Pairs.Peek(p.ctx, c.Refresh.Bearer)
		lapsetest.WantIs(t, name+", Pairs.Peek", err, lapse.ErrSuspended)
	}
	p.wantPeek(t, "a delegate", child.Bearer, lapse.ErrSuspended)
	_, err = p.Pairs.Peek(p.ctx, s.spent.Refresh.Bearer)
	lapsetest.WantIs(t, "a spent text", err, lapse.ErrReplaced)
	p.resume(s.current.Access.ID, true)
	p.wantAccess("resumed", s.current, nil)
	p.wantPeek(t, "a delegate, resumed", child.Bearer, nil)
	next := p.next(s.current)
	p.suspend(next.Access.ID, true)
	p.wantRefresh("a spent text of a suspended session", s.spent, lapse.ErrReused)
	if tok := p.token(next.Access.ID); tok.EndReason != lapse.EndReused || tok.SuspendedAt.IsZero() {
		t.Errorf("after the reuse: %+v", tok)
	}
	_, err = p.Resume(p.ctx, next.Access.ID)
	lapsetest.WantIs(t, "Resume after the reuse", err, lapse.ErrRevoked)
}

// TestSuspendedSessionsStay where a log-in ends the idlest session, and fail it where there are only
// suspended ones.
func TestSuspendedSessionsStay(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 2}}})
	first := p.first(lapse.Grant{})
	p.clock.Add(time.Second)
	second := p.first(lapse.Grant{})
	p.suspend(first.Access.ID, true)
	p.clock.Add(time.Second)
	third := p.first(lapse.Grant{})
	lapsetest.WantDiff(t, "living", []lapse.ID{first.Access.ID, third.Access.ID}, p.living(), sortIDs)
	p.wantAccess("the second", second, lapse.ErrRevoked)
	p.suspend(third.Access.ID, true)
	_, err := p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "ana"})
	lapsetest.WantIs(t, "a log-in", err, lapse.ErrLimit)
}

// TestObtainOfTheSuspended is refused, makes no other token, and changes nothing. The newest token like
// the grant decides: an older one that is suspended, or is not, makes no difference.
func TestObtainOfTheSuspended(t *testing.T) {
	for name, retired := range map[string]bool{"its key is there": false, "its key is retired": true} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
			older := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
			f.change(older.ID, func(r *storage.Record) { r.Name = "set aside" })
			f.clock.Add(time.Second)
			newer := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
			f.change(older.ID, func(r *storage.Record) { r.Name = "" })
			m := f.Manager
			if retired {
				m = f.manager(lapsetest.Keyed(lapse.Policy{}, 2))
			}
			f.suspend(newer.ID, true)
			at := f.Now()
			f.clock.Add(time.Second)
			before := f.contents()
			f.events = nil
			i, err := m.Obtain(f.ctx, lapse.Grant{Subject: "ana"})
			var why *lapse.Rejection
			if !errors.As(err, &why) || why.Err != lapse.ErrSuspended || why.ID != newer.ID || !why.At.Equal(at) || i.Bearer != "" {
				t.Errorf("Obtain: %+v, %v", i, err)
			}
			lapsetest.WantDiff(t, "events", []lapse.EventKind{lapse.EventRejected}, f.kinds())
			lapsetest.WantDiff(t, "the records", before, f.contents())
			other, err := m.Obtain(f.ctx, lapse.Grant{Subject: "ana", Name: "phone"})
			if err != nil || other.Existing {
				t.Errorf("for another grant: %+v, %v", other, err)
			}
			f.suspend(older.ID, true)
			f.resume(newer.ID, true)
			if i, err = m.Obtain(f.ctx, lapse.Grant{Subject: "ana"}); err != nil || i.ID != newer.ID {
				t.Errorf("the newest is not suspended: %+v, %v", i, err)
			}
			_, err = f.Expire(f.ctx, newer.ID)
			lapsetest.WantIs(t, "Expire", err, nil)
			_, err = m.Obtain(f.ctx, lapse.Grant{Subject: "ana"})
			lapsetest.WantIs(t, "the older one is the newest now", err, lapse.ErrSuspended)
		})
	}
}

// TestRotateIDOfTheSuspended works and leaves it suspended: the new text is good after Resume.
func TestRotateIDOfTheSuspended(t *testing.T) {
	for _, overlap := range []time.Duration{0, time.Minute} {
		f := newFixture(t, lapse.Config{})
		i := f.issue(lapse.Grant{Subject: "ana"})
		f.suspend(i.ID, true)
		at := f.Now()
		f.clock.Add(time.Second)
		next, err := f.RotateID(f.ctx, i.ID, overlap)
		lapsetest.WantIs(t, "RotateID", err, nil)
		lapsetest.WantDiff(t, "SuspendedAt", at, next.SuspendedAt)
		f.wantSuspended("the new text", next.Bearer, i.ID, at)
		old := lapse.ErrReplaced
		if overlap > 0 {
			old = lapse.ErrSuspended
		}
		f.wantPeek(t, "the old text", i.Bearer, old)
		f.resume(i.ID, true)
		f.wantPeek(t, "the new text, resumed", next.Bearer, nil)
	}
}

// TestSuspendedHasNoRepetition: within the grace of its last use a suspended token is not let in again,
// and a resumed one is.
func TestSuspendedHasNoRepetition(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(answerLink(1))
	_, err := f.Authenticate(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "the use", err, nil)
	f.suspend(i.ID, true)
	was := f.record(i.ID)
	for name, verb := range bearerVerbs(f.Manager) {
		if name != "ExpireBearer" {
			lapsetest.WantIs(t, name, verb(f.ctx, i.Bearer), lapse.ErrSuspended)
		}
	}
	lapsetest.WantDiff(t, "the record", was, f.record(i.ID))
	f.resume(i.ID, true)
	tok, err := f.Authenticate(f.ctx, i.Bearer)
	if err != nil || !tok.Repeated() {
		t.Errorf("resumed: %+v, %v; want a repetition", tok, err)
	}
}

// suspendsBetween is a store in which the token of id is suspended between the first read of a verb and its
// transaction.
type suspendsBetween struct {
	storage.Store
	suspend func()
}

func (s *suspendsBetween) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	if suspend := s.suspend; suspend != nil {
		s.suspend = nil
		suspend()
	}
	return s.Store.Update(ctx, subject, fn)
}

// TestSuspendedMeanwhile: a verb that read the token before Suspend, and writes after it, refuses. A last
// use is not spent, and no other caller's last use is repeated.
func TestSuspendedMeanwhile(t *testing.T) {
	for _, g := range []lapse.Grant{{Subject: "ana"}, {Subject: "ana", MaxUses: 1}, answerLink(1)} {
		for _, name := range []string{"Renew", "Confirm", "Rotate", "Delegate", "Authenticate"} {
			f := newFixture(t, lapse.Config{})
			store := &suspendsBetween{Store: f.store}
			m := lapsetest.Must(lapse.New(store, lapse.Config{Clock: f.clock}))
			i := f.issue(g)
			f.clock.Add(time.Minute)
			if name == "Authenticate" && g.MaxUses == 0 {
				continue // its use is a Touch
			}
			store.suspend = func() {
				if g.UseGrace > 0 && name == "Authenticate" {
					_, err := f.Authenticate(f.ctx, i.Bearer) // the last use, by another caller
					lapsetest.WantIs(t, "the last use", err, nil)
				}
				f.suspend(i.ID, true)
			}
			lapsetest.WantIs(t, name, bearerVerbs(m)[name](f.ctx, i.Bearer), lapse.ErrSuspended)
			if n := len(f.contents()); n != 1 {
				t.Errorf("%s: %d records", name, n)
			}
		}
	}
}

// TestSuspendCutsHolds: connections by the token, by its delegates and by both kinds of text, with the
// refusal as the cause. After Resume a new connection is held.
func TestSuspendCutsHolds(t *testing.T) {
	for _, on := range holdStores {
		inSession(t, on.name, on.open, lapse.PairConfig{}, func(s *sessions) {
			h := s.holder
			plain, login := h.issue(lapse.Grant{TTL: time.Hour}), s.logIn()
			child, err := h.Delegate(h.ctx, plain.Bearer, lapse.Grant{})
			lapsetest.WantIs(t, "Delegate", err, nil)
			grandchild, err := h.Delegate(h.ctx, child.Bearer, lapse.Grant{})
			lapsetest.WantIs(t, "Delegate", err, nil)
			for _, row := range []struct {
				name    string
				suspend lapse.ID
				cut     map[lapse.ID]string
			}{
				{"plain", plain.ID, map[lapse.ID]string{plain.ID: plain.Bearer, child.ID: child.Bearer, grandchild.ID: grandchild.Bearer}},
				{"a delegate", child.ID, map[lapse.ID]string{child.ID: child.Bearer, grandchild.ID: grandchild.Bearer}},
				{"a session", login.Access.ID, map[lapse.ID]string{login.Access.ID: login.Access.Bearer}},
			} {
				other := h.hold(granted(t, h.Manager, lapse.Grant{Subject: "bob"}).Bearer)
				held := map[lapse.ID]context.Context{}
				for id, bearer := range row.cut {
					held[id] = h.hold(bearer)
				}
				time.Sleep(6 * time.Second)
				at := now()
				changed, err := h.manager(lapse.Config{Prefix: "admin"}).Suspend(h.ctx, row.suspend)
				if !changed || err != nil {
					t.Fatalf("%s: Suspend: %v, %v", row.name, changed, err)
				}
				for id, ctx := range held {
					h.wantRejection(h.cut(row.name, ctx, on.late), lapse.ErrSuspended, id, at, 0)
					_, _, err := lapsetest.Opened(h.Hold(h.ctx, row.cut[id]))
					lapsetest.WantIs(t, row.name+": Hold", err, lapse.ErrSuspended)
				}
				h.alive(row.name+": another token", other)
				_, err = h.Resume(h.ctx, row.suspend)
				lapsetest.WantIs(t, "Resume", err, nil)
				for _, bearer := range row.cut {
					h.hold(bearer)
				}
			}
		})
	}
}

// TestUseOfTheSuspended is refused before the cut, where the store tells no changes.
func TestUseOfTheSuspended(t *testing.T) {
	inBubble(t, "polled", func(*testing.T) storage.Store { return mute{memory.New()} }, lapse.Config{}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		held := h.connect(h.Manager, i.Bearer)
		time.Sleep(time.Millisecond)
		_, err := h.Suspend(h.ctx, i.ID)
		lapsetest.WantIs(t, "Suspend", err, nil)
		lapsetest.WantIs(t, "Use", held.Use(h.ctx), lapse.ErrSuspended)
		lapsetest.WantIs(t, "cause", h.cut("later", held.Context(), 5*time.Second), lapse.ErrSuspended)
		wantSameRefusal(t, "Use after the cut", held.Use(h.ctx), context.Cause(held.Context()))
	})
}

// TestSuspendOfALastUseThatIsHeld: the cut ends the last connection, and so the token.
func TestSuspendOfALastUseThatIsHeld(t *testing.T) {
	onMemory(t, "memory", lapse.Config{}, func(h *holder) {
		i := h.issue(lapse.Grant{MaxUses: 1})
		held := h.hold(i.Bearer)
		_, err := h.Suspend(h.ctx, i.ID)
		lapsetest.WantIs(t, "Suspend", err, nil)
		lapsetest.WantIs(t, "cause", h.cut("suspended", held, 0), lapse.ErrSuspended)
		h.left("suspended", i.ID, 0, lapse.EndExhausted)
		_, err = h.Resume(h.ctx, i.ID)
		lapsetest.WantIs(t, "Resume", err, lapse.ErrExhausted)
	})
}

// TestSuspendAsksNoAdmit about a suspended token again: the recheck of a connection does not either.
func TestSuspendAsksNoAdmit(t *testing.T) {
	asked := 0
	f := newFixture(t, lapse.Config{Admit: func(context.Context, lapse.Token) error { asked++; return lapse.ErrRefused }})
	i := f.issue(lapse.Grant{Subject: "ana"})
	f.suspend(i.ID, true)
	for name, verb := range bearerVerbs(f.Manager) {
		if name != "ExpireBearer" {
			lapsetest.WantIs(t, name, verb(f.ctx, i.Bearer), lapse.ErrSuspended)
		}
	}
	f.resume(i.ID, true)
	if asked > 0 {
		t.Errorf("Admit was asked %d times", asked)
	}
	f.wantPeek(t, "resumed", i.Bearer, lapse.ErrRefused)
}

// TestSuspendSurvives reopening of a file, a backup, Restore and Compact.
func TestSuspendSurvives(t *testing.T) {
	dir, ctx, mock := t.TempDir(), context.Background(), lapsetest.NewClock()
	path, copied, restored := filepath.Join(dir, "tokens.db"), filepath.Join(dir, "backup.db"), filepath.Join(dir, "restored.db")
	open := func(path string) (*lapse.Manager, *bolt.Store) {
		store := lapsetest.Must(bolt.Open(path, nil))
		return lapsetest.Must(lapse.New(store, lapse.Config{Clock: mock})), store
	}
	m, store := open(path)
	i, other := lapsetest.Must(m.Issue(ctx, lapse.Grant{Subject: "ana"})), lapsetest.Must(m.Issue(ctx, lapse.Grant{Subject: "ana"}))
	for _, id := range []lapse.ID{i.ID, other.ID} {
		lapsetest.Must(m.Suspend(ctx, id))
	}
	lapsetest.Must(m.Resume(ctx, other.ID))
	want := lapsetest.Must(m.Token(ctx, i.ID))
	look := func(what string, m *lapse.Manager) {
		t.Helper()
		_, err := m.Peek(ctx, i.Bearer)
		lapsetest.WantIs(t, what, err, lapse.ErrSuspended)
		lapsetest.WantDiff(t, what, want, lapsetest.Must(m.Token(ctx, i.ID)))
		_, err = m.Peek(ctx, other.Bearer)
		lapsetest.WantIs(t, what+", resumed", err, nil)
	}
	lapsetest.WantIs(t, "Compact", store.Compact(ctx), nil)
	look("after Compact", m)
	lapsetest.WantIs(t, "Close", store.Close(), nil)
	m, store = open(path)
	look("reopened", m)
	file := lapsetest.Must(os.Create(copied))
	lapsetest.WantIs(t, "Backup", store.Backup(ctx, file), nil)
	lapsetest.WantIs(t, "Close", file.Close(), nil)
	lapsetest.WantIs(t, "Close", store.Close(), nil)
	lapsetest.WantIs(t, "Restore", bolt.Restore(copied, restored), nil)
	m, store = open(restored)
	defer store.Close()
	look("restored", m)
}

// TestSuspendTogether: of callers that suspend and resume one token at once, as many suspend it as resume
// it, or one more; and an end that one of them stores is final.
func TestSuspendTogether(t *testing.T) {
	const callers = 9
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, mock := lapsetest.GateManager(t, store, lapse.Policy{})
		for round := range 10 {
			i, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
			lapsetest.WantIs(t, "Issue", err, nil)
			mock.Add(time.Minute)
			ends := round%2 == 0
			changed := make([]bool, callers)
			lapsetest.Arrivals(store, callers, storagetest.OpUpdate)
			errs := lapsetest.Together(callers, func(n int) (err error) {
				switch {
				case n == 0 && ends:
					_, err = m.Expire(ctx, i.ID)
				case n%2 == 0:
					changed[n], err = m.Suspend(ctx, i.ID)
				default:
					changed[n], err = m.Resume(ctx, i.ID)
					err = lapsetest.Ignore(err, lapse.ErrRevoked)
				}
				return err
			})
			store.Before(nil)
			lapsetest.WantIs(t, "together", errors.Join(errs...), nil)
			more := 0
			for n, did := range changed {
				if did {
					more += 1 - 2*(n%2)
				}
			}
			tok, err := m.Token(ctx, i.ID)
			lapsetest.WantIs(t, "Token", err, nil)
			if (more == 1) != !tok.SuspendedAt.IsZero() || more < 0 || more > 1 || (tok.EndReason == lapse.EndRevoked) != ends {
				t.Errorf("%d more suspensions than resumptions: %+v", more, tok)
			}
		}
	})
}

// TestObtainOfTheSuspendedNearAnEditedExpiry: however little is left of the suspended token, Obtain
// makes no other beside it.
func TestObtainOfTheSuspendedNearAnEditedExpiry(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
	i := obtain(t, f, f.Manager, forAna)
	f.edit(i.ID, until(f.Now().Add(20*time.Minute)))
	f.suspend(i.ID, true)
	for _, left := range []time.Duration{3*time.Minute + time.Millisecond, 3 * time.Minute, 3*time.Minute - time.Millisecond, time.Millisecond} {
		f.clock.Set(f.token(i.ID).ExpiresAt.Add(-left))
		_, err := f.Obtain(f.ctx, forAna)
		lapsetest.WantIs(t, fmt.Sprintf("Obtain with %v left", left), err, lapse.ErrSuspended)
	}
}

// TestLostSuspensionIsAskedForAgain: after ErrOutcomeUnknown, the same Suspend or Resume is no error and
// has its effect, whether the lost call had that or not. It returns true only if the lost call did not.
func TestLostSuspensionIsAskedForAgain(t *testing.T) {
	for mode, changed := range map[storagetest.Mode]bool{storagetest.FailBefore: true, storagetest.FailAfter: false} {
		f := newFixture(t, lapse.Config{})
		i := f.issue(lapse.Grant{Subject: "ana"})
		lose := func(name string, do func(context.Context, lapse.ID) (bool, error)) {
			f.events = nil
			f.store.InjectOp(storagetest.OpUpdate, 1, mode, storage.ErrOutcomeUnknown)
			got, err := do(f.ctx, i.ID)
			lapsetest.WantIs(t, name, err, lapse.ErrOutcomeUnknown)
			if got || len(f.events) != 0 {
				t.Errorf("%s, %v: of unknown outcome, and yet %v, %+v", name, mode, got, f.events)
			}
		}
		at := f.Now()
		lose("Suspend", f.Suspend)
		f.clock.Add(time.Minute)
		if changed {
			at = f.Now()
		}
		f.suspend(i.ID, changed)
		f.wantSuspended("Suspend again", i.Bearer, i.ID, at)
		lose("Resume", f.Resume)
		f.resume(i.ID, changed)
		_, err := f.Peek(f.ctx, i.Bearer)
		lapsetest.WantIs(t, "Resume again", err, nil)
	}
}
