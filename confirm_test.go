package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// confirm fails the test if Confirm fails, or returns something else than what Peek sees then.
func (f *fixture) confirm(bearer string) lapse.Token {
	f.t.Helper()
	tok, err := f.Confirm(f.ctx, bearer)
	lapsetest.WantIs(f.t, "Confirm", err, nil)
	seen, err := f.Peek(f.ctx, bearer)
	lapsetest.WantIs(f.t, "Peek", err, nil)
	lapsetest.WantDiff(f.t, "confirmed and seen", seen, tok)
	return tok
}

// TestConfirmSetsNow: before, at and after the instant that is stored. A clock that goes back sets
// nothing back, and where nothing changes nothing is written.
func TestConfirmSetsNow(t *testing.T) {
	for _, row := range []struct {
		name  string
		first bool // Confirm was called ten minutes after the issue
		at    time.Duration
		want  time.Duration
		puts  int
	}{
		{"before the issue", false, -time.Millisecond, 0, 0},
		{"at the issue", false, 0, 0, 0},
		{"after the issue", false, time.Millisecond, time.Millisecond, 1},
		{"before the last Confirm", true, 10*time.Minute - time.Millisecond, 10 * time.Minute, 0},
		{"at the last Confirm", true, 10 * time.Minute, 10 * time.Minute, 0},
		{"after the last Confirm", true, 10*time.Minute + time.Millisecond, 10*time.Minute + time.Millisecond, 1},
		{"a part of a millisecond after the last Confirm", true, 10*time.Minute + 999*time.Microsecond, 10 * time.Minute, 0},
	} {
		f := newFixture(t, lapse.Config{ClockGuard: lapse.GuardOff})
		i := f.issue(lapse.Grant{Subject: "ana"})
		if row.first {
			f.clock.Set(lapsetest.StartMilli.Add(10 * time.Minute))
			f.confirm(i.Bearer)
		}
		before := f.record(i.ID)
		f.clock.Set(lapsetest.StartMilli.Add(row.at))
		tok := f.confirm(i.Bearer)
		want := lapsetest.StartMilli.Add(row.want)
		lapsetest.WantDiff(t, row.name+": AuthenticatedAt", want, tok.AuthenticatedAt)
		if row.puts > 0 {
			before.AuthenticatedAt = want
		}
		lapsetest.WantDiff(t, row.name+": the record", before, f.record(i.ID))
	}
}

// TestConfirmIsNoUse: it renews and spends nothing, records no use, and Observe is told once.
func TestConfirmIsNoUse(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	for _, g := range []lapse.Grant{{Subject: "ana"}, {Subject: "ana", MaxUses: 3}} {
		i := f.issue(g)
		f.clock.Add(10 * time.Minute)
		want := f.record(i.ID)
		f.events = nil
		f.confirm(i.Bearer)
		want.AuthenticatedAt = f.Now()
		lapsetest.WantDiff(t, "the record", want, f.record(i.ID))
		lapsetest.WantDiff(t, "events", []lapse.EventKind{lapse.EventConfirmed}, f.kinds())
	}
}

// confirmSurvivors change a token, which keeps its AuthenticatedAt.
var confirmSurvivors = map[string]func(f *fixture, i *lapse.Issued) error{
	"Authenticate": func(f *fixture, i *lapse.Issued) error { _, err := f.Authenticate(f.ctx, i.Bearer); return err },
	"Renew":        func(f *fixture, i *lapse.Issued) error { _, err := f.Renew(f.ctx, i.Bearer); return err },
	"Rotate": func(f *fixture, i *lapse.Issued) (err error) {
		*i, err = f.Rotate(f.ctx, i.Bearer, time.Minute)
		return err
	},
	"Rotate, 0": func(f *fixture, i *lapse.Issued) (err error) { *i, err = f.Rotate(f.ctx, i.Bearer, 0); return err },
	"RotateID": func(f *fixture, i *lapse.Issued) (err error) {
		*i, err = f.RotateID(f.ctx, i.ID, time.Minute)
		return err
	},
	"Obtain": func(f *fixture, i *lapse.Issued) (err error) { *i, err = f.Obtain(f.ctx, forAna); return err },
	"Obtain, which rotates": func(f *fixture, i *lapse.Issued) (err error) {
		g := forAna
		g.TTL, g.MinLeft = 4*time.Hour, 2*time.Hour
		*i, err = f.Obtain(f.ctx, g)
		return err
	},
	"Delegate": func(f *fixture, i *lapse.Issued) error {
		_, err := f.Delegate(f.ctx, i.Bearer, lapse.Grant{})
		return err
	},
}

// TestConfirmSurvives: what a user has confirmed stays, whatever is done to the token.
func TestConfirmSurvives(t *testing.T) {
	for name, do := range confirmSurvivors {
		f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
		i := obtain(t, f, f.Manager, forAna)
		f.clock.Add(time.Minute)
		want := f.confirm(i.Bearer).AuthenticatedAt
		id := i.ID
		f.clock.Add(time.Minute)
		lapsetest.WantIs(t, name, do(f, &i), nil)
		seen, err := f.Peek(f.ctx, i.Bearer)
		lapsetest.WantIs(t, name+", Peek", err, nil)
		if seen.ID != id || seen.AuthenticatedAt != want || !want.Equal(lapsetest.StartMilli.Add(time.Minute)) {
			t.Errorf("%s: %+v; want AuthenticatedAt %v", name, seen, want)
		}
	}
}

// TestConfirmOfASession: by each access text that works, and for both texts of each refresh after it.
func TestConfirmOfASession(t *testing.T) {
	for _, previous := range []bool{false, true} {
		p := memoryPairs(t, lapse.PairConfig{})
		first := p.first(lapse.Grant{Scope: "read"})
		c := p.next(first)
		by := c.Access.Bearer
		if previous {
			by = first.Access.Bearer
		}
		p.clock.Add(time.Second)
		want := p.Now()
		lapsetest.WantDiff(t, "before", lapsetest.StartMilli, c.Access.AuthenticatedAt)
		lapsetest.WantDiff(t, "AuthenticatedAt", want, p.confirm(by).AuthenticatedAt)
		p.clock.Add(time.Minute)
		c = p.next(c)
		lapsetest.WantDiff(t, "by the access text", want, c.Access.AuthenticatedAt)
		lapsetest.WantDiff(t, "by the refresh text", want, c.Refresh.AuthenticatedAt)
		_, err := p.Confirm(p.ctx, c.Refresh.Bearer)
		lapsetest.WantIs(t, "by a refresh text", err, lapse.ErrUnknown)
		_, err = p.Confirm(p.ctx, first.Access.Bearer)
		lapsetest.WantIs(t, "by a spent access text", err, lapse.ErrReplaced)
	}
}

// TestConfirmAndDelegates: a delegate has the AuthenticatedAt of its parent at Delegate, and neither
// changes with the other.
func TestConfirmAndDelegates(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.Add(time.Minute)
	unconfirmed := f.delegate(parent, lapse.Grant{})
	at := f.confirm(parent.Bearer).AuthenticatedAt
	f.clock.Add(time.Minute)
	child := f.delegate(parent, lapse.Grant{})
	grandchild := f.delegate(child, lapse.Grant{})
	f.clock.Add(time.Minute)
	later := f.confirm(parent.Bearer).AuthenticatedAt
	for name, row := range map[string]struct {
		i    lapse.Issued
		want time.Time
	}{
		"before Confirm": {unconfirmed, lapsetest.StartMilli}, "after Confirm": {child, at}, "of that one": {grandchild, at}, "the parent": {parent, later},
	} {
		lapsetest.WantDiff(t, name, row.want, f.seen(row.i).AuthenticatedAt)
	}
	f.clock.Add(time.Minute)
	own := f.confirm(child.Bearer).AuthenticatedAt
	lapsetest.WantDiff(t, "by the delegate", f.Now(), own)
	lapsetest.WantDiff(t, "the parent of it", later, f.seen(parent).AuthenticatedAt)
	lapsetest.WantDiff(t, "the delegate of it", at, f.seen(grandchild).AuthenticatedAt)
}

// TestConfirmSurvivesReopening of a file.
func TestConfirmSurvivesReopening(t *testing.T) {
	path, ctx, mock := filepath.Join(t.TempDir(), "tokens.db"), context.Background(), lapsetest.NewClock()
	open := func() (*lapse.Manager, storage.Store) {
		store, err := bolt.Open(path, nil)
		lapsetest.WantIs(t, "Open", err, nil)
		m, err := lapse.New(store, lapse.Config{Clock: mock})
		lapsetest.WantIs(t, "New", err, nil)
		return m, store
	}
	key := lapse.Thumbprint{1, 31: 2}
	ctx = lapse.WithProof(ctx, key)
	m, store := open()
	i, err := m.Issue(ctx, lapse.Grant{Subject: "ana", Thumbprint: key})
	lapsetest.WantIs(t, "Issue", err, nil)
	mock.Add(time.Minute)
	want, err := m.Confirm(ctx, i.Bearer)
	lapsetest.WantIs(t, "Confirm", err, nil)
	lapsetest.WantIs(t, "Close", store.Close(), nil)
	m, store = open()
	defer store.Close()
	got, err := m.Peek(ctx, i.Bearer)
	lapsetest.WantIs(t, "Peek", err, nil)
	lapsetest.WantDiff(t, "the token", want, got)
	if !got.AuthenticatedAt.Equal(lapsetest.StartMilli.Add(time.Minute)) || got.Thumbprint != key {
		t.Errorf("%+v", got)
	}
	_, err = m.Peek(context.Background(), i.Bearer)
	lapsetest.WantIs(t, "without the proof", err, lapse.ErrProof)
}

// TestConfirmAsksAdmit as Login does, with the present as AuthenticatedAt: an Admit that wants a recent
// one refuses every other verb, and Confirm never.
func TestConfirmAsksAdmit(t *testing.T) {
	type maxAge struct{}
	var f *fixture
	f = newFixture(t, lapse.Config{Admit: func(ctx context.Context, tok lapse.Token) error {
		if limit, ok := ctx.Value(maxAge{}).(time.Duration); ok && f.Now().Sub(tok.AuthenticatedAt) > limit {
			return fmt.Errorf("step up: %w", lapse.ErrRefused)
		}
		return nil
	}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	strict := context.WithValue(f.ctx, maxAge{}, 5*time.Minute)
	f.clock.Add(5 * time.Minute)
	_, err := f.Authenticate(strict, i.Bearer)
	lapsetest.WantIs(t, "at the limit", err, nil)
	f.clock.Add(time.Millisecond)
	for name, verb := range bearerVerbs(f.Manager) {
		if name != "ExpireBearer" && name != "Confirm" {
			lapsetest.WantIs(t, name+" after the limit", verb(strict, i.Bearer), lapse.ErrRefused)
		}
	}
	_, err = f.Confirm(strict, i.Bearer)
	lapsetest.WantIs(t, "Confirm", err, nil)
	_, err = f.Authenticate(strict, i.Bearer)
	lapsetest.WantIs(t, "confirmed", err, nil)
}

// TestConfirmNeverAsksAdmitAboutAnEarlierInstant than the token has: before, at and after that.
func TestConfirmNeverAsksAdmitAboutAnEarlierInstant(t *testing.T) {
	var asked []time.Time
	f := newFixture(t, lapse.Config{ClockGuard: lapse.GuardOff, Admit: func(_ context.Context, tok lapse.Token) error {
		asked = append(asked, tok.AuthenticatedAt)
		return nil
	}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	for _, confirmed := range []bool{false, true} {
		last := lapsetest.StartMilli
		if confirmed {
			f.clock.Set(lapsetest.StartMilli.Add(time.Minute))
			last = f.confirm(i.Bearer).AuthenticatedAt
		}
		for _, by := range []time.Duration{-time.Millisecond, 0, time.Millisecond} {
			asked = nil
			f.clock.Set(last.Add(by))
			_, err := f.Confirm(f.ctx, i.Bearer)
			lapsetest.WantIs(t, "Confirm", err, nil)
			lapsetest.WantDiff(t, fmt.Sprint("asked, confirmed before: ", confirmed, ", by ", by), []time.Time{last.Add(max(by, 0))}, asked)
		}
	}
}

// TestConfirmTogether: of callers that confirm, rotate and end one token at once, the end wins, and
// no Confirm sets the instant of another one back.
func TestConfirmTogether(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, mock := lapsetest.GateManager(t, store, lapse.Policy{})
		for range 10 {
			i, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
			lapsetest.WantIs(t, "Issue", err, nil)
			mock.Add(time.Minute)
			lapsetest.Arrivals(store, 6, storagetest.OpUpdate)
			errs := lapsetest.Together(6, func(n int) error {
				switch n {
				case 0:
					_, err := m.Expire(ctx, i.ID)
					return err
				case 1:
					_, err := m.RotateID(ctx, i.ID, time.Minute)
					return lapsetest.Ignore(err, lapse.ErrRevoked)
				default:
					_, err := m.Confirm(ctx, i.Bearer)
					return lapsetest.Ignore(err, lapse.ErrRevoked)
				}
			})
			store.Before(nil)
			lapsetest.WantIs(t, "together", errors.Join(errs...), nil)
			tok, err := m.Token(ctx, i.ID)
			lapsetest.WantIs(t, "Token", err, nil)
			if tok.EndReason != lapse.EndRevoked || tok.AuthenticatedAt.Before(tok.IssuedAt) || tok.AuthenticatedAt.After(tok.EndedAt) {
				t.Errorf("%+v", tok)
			}
		}
	})
}
