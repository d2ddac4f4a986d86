package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

func rotate(t *testing.T, f *fixture, bearer string, overlap time.Duration) lapse.Issued {
	t.Helper()
	i, err := f.Rotate(f.ctx, bearer, overlap)
	if err != nil {
		t.Fatalf("Rotate: %v", err)
	}
	if tok, err := f.Peek(f.ctx, i.Bearer); err != nil || tok != i.Token {
		t.Fatalf("Peek by the new text: %+v, %v; want %+v", tok, err, i.Token)
	}
	return i
}

// wantPeek: the bearer is good, or refused as want says.
func (f *fixture) wantPeek(t *testing.T, what, bearer string, want error) {
	t.Helper()
	_, err := f.Peek(f.ctx, bearer)
	lapsetest.WantIs(t, what, err, want)
}

// TestRotate: the token stays what it is, and has another secret and a new life.
func TestRotate(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 10 * time.Hour}})
	old := f.issue(lapse.Grant{Subject: "ana", Name: "key", Scope: "read write", Data: "data", TTL: 2 * time.Hour})
	f.clock.Add(10 * time.Minute)
	if _, err := f.Authenticate(f.ctx, old.Bearer); err != nil {
		t.Fatal(err)
	}
	f.clock.Add(20 * time.Minute)
	f.events = nil
	got := rotate(t, f, old.Bearer, time.Hour)
	at := lapsetest.StartMilli.Add(30 * time.Minute)
	want := lapse.Token{
		ID: old.ID, Prefix: "lapse", Subject: "ana", Name: "key", Scope: "read write", Data: "data",
		IssuedAt: lapsetest.StartMilli, LastUsedAt: lapsetest.StartMilli.Add(10 * time.Minute), Generation: 1, RotatedAt: at,
		ExpiresAt: at.Add(2 * time.Hour), MaxExpiresAt: at.Add(10 * time.Hour),
		AuthenticatedAt: lapsetest.StartMilli,
	}
	lapsetest.WantDiff(t, "the token", want, got.Token)
	lapsetest.WantDiff(t, "what is stored", want, f.token(old.ID))
	lapsetest.WantDiff(t, "events", []lapse.Event{{Kind: lapse.EventRotated, At: at, Token: want}}, f.events)
	if got.Bearer == old.Bearer || got.Existing || got.Evicted != nil || len(f.contents()) != 1 {
		t.Errorf("the text is the same: %v; %d records", got.Bearer == old.Bearer, len(f.contents()))
	}
	if rec := f.record(old.ID); rec.TTL != 2*time.Hour || !rec.PreviousUntil.Equal(at.Add(time.Hour)) {
		t.Errorf("TTL %v, the previous text until %v", rec.TTL, rec.PreviousUntil)
	}
	before := f.contents()
	if tok, err := f.Authenticate(f.ctx, old.Bearer); err != nil || tok != want {
		t.Errorf("by the previous text: %+v, %v; want the token as it is", tok, err)
	}
	lapsetest.WantDiff(t, "after a use of the previous text", before, f.contents())
	f.clock.Add(time.Minute)
	used, err := f.Authenticate(f.ctx, got.Bearer)
	if err != nil || !used.ExpiresAt.Equal(at.Add(2*time.Hour+time.Minute)) {
		t.Errorf("a use of the new text: %+v, %v; want it renewed by the token's own TTL", used, err)
	}
}

// TestOverlapEdges asks both texts around each end that an overlap can have.
func TestOverlapEdges(t *testing.T) {
	const day = 24 * time.Hour
	for _, row := range []struct {
		name    string
		ttl     time.Duration
		after   time.Duration // from issue to rotation
		overlap time.Duration
		use     time.Duration // the previous text is used then, after the rotation
		ends    time.Duration // after the rotation
	}{
		{"none", day, 0, 0, -1, 0},
		{"a millisecond", day, 0, time.Millisecond, -1, time.Millisecond},
		{"a millisecond and a part", day, 0, 1900 * time.Microsecond, -1, time.Millisecond},
		{"an hour", day, 0, time.Hour, -1, time.Hour},
		{"an hour, used meanwhile", day, 0, time.Hour, 59 * time.Minute, time.Hour},
		{"a millisecond less than it had", 2 * time.Hour, time.Hour, time.Hour - time.Millisecond, -1, time.Hour - time.Millisecond},
		{"as long as it had", 2 * time.Hour, time.Hour, time.Hour, -1, time.Hour},
		{"longer than it had", 2 * time.Hour, time.Hour, day, -1, time.Hour},
		{"longer than it had, used meanwhile", 2 * time.Hour, time.Hour, day, 30 * time.Minute, time.Hour},
		{"longer than it had, by a millisecond", 2 * time.Hour, 2*time.Hour - time.Millisecond, day, -1, time.Millisecond},
		{"the cap", day, 0, 30 * day, -1, day},
	} {
		for _, after := range []time.Duration{-time.Millisecond, 0, time.Millisecond} {
			if row.ends+after < 0 {
				continue
			}
			f := newFixture(t, lapse.Config{})
			old := f.issue(lapse.Grant{Subject: "ana", TTL: row.ttl})
			f.clock.Add(row.after)
			got := rotate(t, f, old.Bearer, row.overlap)
			if row.use >= 0 {
				f.clock.Add(row.use)
				if _, err := f.Authenticate(f.ctx, old.Bearer); err != nil {
					t.Errorf("%s: %v", row.name, err)
				}
				f.clock.Add(-row.use)
			}
			f.clock.Add(row.ends + after)
			f.events = nil
			_, err := f.Authenticate(f.ctx, old.Bearer)
			if after < 0 {
				lapsetest.WantIs(t, row.name+", before the end", err, nil)
				continue
			}
			var why *lapse.Rejection
			if !errors.Is(err, lapse.ErrReplaced) || !errors.As(err, &why) || *why != (lapse.Rejection{Err: lapse.ErrReplaced, ID: old.ID, Subject: "ana"}) {
				t.Errorf("%s, %v after the end: %v", row.name, after, err)
			}
			lapsetest.WantDiff(t, row.name+": events", []lapse.EventKind{lapse.EventSpent}, f.kinds())
			if row.ends+after < row.ttl {
				f.wantPeek(t, row.name+": the new text", got.Bearer, nil)
			}
		}
	}
}

// TestCapCountsFromTheRotation: a token that is used without end lives for MaxTTL from
// its last rotation, under the policy as it was then or is now, whichever ends earlier.
func TestCapCountsFromTheRotation(t *testing.T) {
	const h = time.Hour
	for _, row := range []struct {
		name          string
		issued        time.Duration // MaxTTL then
		rotated, seen time.Duration // MaxTTL then
		want          time.Duration // after the rotation
	}{
		{"the same policy", 5 * h, 5 * h, 5 * h, 5 * h},
		{"raised before the rotation", 5 * h, 9 * h, 9 * h, 9 * h},
		{"lowered before the rotation", 9 * h, 5 * h, 9 * h, 5 * h},
		{"lowered after the rotation", 9 * h, 9 * h, 5 * h, 5 * h},
		{"raised after the rotation", 5 * h, 5 * h, 9 * h, 5 * h},
		{"lifted before the rotation, set after it", 5 * h, lapse.NoLimit, 9 * h, 9 * h},
	} {
		for _, after := range []time.Duration{-time.Millisecond, 0, time.Millisecond} {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: h, MaxTTL: row.issued}})
			old := f.issue(lapse.Grant{Subject: "ana"})
			f.clock.Add(30 * time.Minute)
			got, err := f.manager(lapse.Config{Policy: lapse.Policy{TTL: h, MaxTTL: row.rotated}}).Rotate(f.ctx, old.Bearer, 0)
			if err != nil {
				t.Fatal(err)
			}
			seen := f.manager(lapse.Config{Policy: lapse.Policy{TTL: h, MaxTTL: row.seen}})
			for range row.want/(30*time.Minute) - 1 {
				f.clock.Add(30 * time.Minute)
				if _, err := seen.Authenticate(f.ctx, got.Bearer); err != nil {
					t.Fatalf("%s: %v", row.name, err)
				}
			}
			f.clock.Add(30*time.Minute + after)
			_, err = seen.Authenticate(f.ctx, got.Bearer)
			want := lapse.ErrExpired
			if after < 0 {
				want = nil
			}
			lapsetest.WantIs(t, row.name, err, want)
		}
	}
}

// TestRotateUnderEachRenewal: a rotation begins a new life under every Renewal.
func TestRotateUnderEachRenewal(t *testing.T) {
	for _, renewal := range []lapse.Renewal{lapse.RenewDefault, lapse.RenewOnUse, lapse.RenewOnRequest, lapse.RenewNever} {
		f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: time.Hour, Renewal: renewal}})
		old := f.issue(lapse.Grant{Subject: "ana"})
		f.clock.Add(time.Hour - time.Millisecond)
		if got := rotate(t, f, old.Bearer, 0); !got.ExpiresAt.Equal(lapsetest.StartMilli.Add(2*time.Hour - time.Millisecond)) {
			t.Errorf("Renewal %d: it lives until %v", renewal, got.ExpiresAt)
		}
	}
}

// TestLateTouchStaysUnderTheCap: a use that was judged before a rotation, and is written
// after it, does not lengthen the new life past its cap.
func TestLateTouchStaysUnderTheCap(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		f := &fixture{t: t, ctx: t.Context(), clock: lapsetest.NewClock(), store: store}
		f.Manager = f.manager(lapse.Config{Policy: lapse.Policy{TTL: 20 * time.Hour}})
		short := f.manager(lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 2 * time.Hour}})
		old := f.issue(lapse.Grant{Subject: "ana", TTL: 20 * time.Hour})
		f.clock.Add(time.Minute)
		var late storage.Record
		store.Before(func(op storagetest.Op) {
			if op != opTouch {
				return
			}
			store.Before(nil)
			if _, err := short.Rotate(f.ctx, old.Bearer, time.Minute); err != nil {
				t.Errorf("Rotate: %v", err)
			}
			late = f.record(old.ID)
		})
		if _, err := f.Authenticate(f.ctx, old.Bearer); err != nil {
			t.Fatal(err)
		}
		limit := lapsetest.StartMilli.Add(2*time.Hour + time.Minute)
		if late.Generation != 1 || !late.MaxExpiresAt.Equal(limit) {
			t.Fatalf("as the touch came: %+v; it was to come late", late)
		}
		if got := f.record(old.ID); got.ExpiresAt.After(limit) || !got.LastUsedAt.Equal(lapsetest.StartMilli.Add(time.Minute)) {
			t.Errorf("the record says %v, used at %v; its cap is %v", got.ExpiresAt, got.LastUsedAt, limit)
		}
		f.clock.Set(limit)
		if ended, err := f.Expire(f.ctx, old.ID); ended || err != nil {
			t.Errorf("at its cap, Expire ends it: %v, %v", ended, err)
		}
	})
}

func TestRotateRefuses(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTTL: time.Hour}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	for name, overlap := range map[string]time.Duration{
		"negative": -1, "a negative hour": -time.Hour, "a nanosecond": 1, "under a millisecond": time.Millisecond - 1,
		"over the cap": time.Hour + time.Millisecond, "NoLimit": lapse.NoLimit,
	} {
		calls := f.calls(func() {
			got, err := f.Rotate(f.ctx, i.Bearer, overlap)
			lapsetest.WantIs(t, name, err, lapse.ErrInvalidGrant)
			byID, errByID := f.RotateID(f.ctx, i.ID, overlap)
			lapsetest.WantIs(t, name+", by ID", errByID, lapse.ErrInvalidGrant)
			if got.Bearer != "" || byID.Bearer != "" || errors.Is(err, lapse.ErrUnauthenticated) {
				t.Errorf("%s: %v with a bearer: %v", name, err, got.Bearer != "")
			}
		})
		if len(calls) != 0 {
			t.Errorf("%s: it asked the store: %v", name, calls)
		}
	}
	_, err := f.manager(lapse.Config{Policy: lapse.Policy{MaxTTL: lapse.NoLimit}}).Rotate(f.ctx, i.Bearer, lapse.NoLimit)
	lapsetest.WantIs(t, "NoLimit without a cap", err, lapse.ErrInvalidGrant)
	rotate(t, f, i.Bearer, time.Hour+time.Millisecond-1) // rounded down
}

// TestRotateNeedsAGoodToken: in each case what Authenticate says, and no change.
func TestRotateNeedsAGoodToken(t *testing.T) {
	var refused error
	f := newFixture(t, lapse.Config{})
	strict := f.manager(lapse.Config{Admit: f.checks(&refused)})
	i, ended, ran := f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana", TTL: time.Minute})
	spent := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	if _, err := f.Authenticate(f.ctx, spent.Bearer); err != nil {
		t.Fatal(err)
	}
	f.Expire(f.ctx, ended.ID)
	f.clock.Add(time.Minute)
	forged := f.manager(lapse.Config{Prefix: "other"})
	before := f.contents()
	for _, row := range []struct {
		name, bearer string
		m            *lapse.Manager
		check, want  error
	}{
		{"no token", "nonsense", f.Manager, nil, lapse.ErrMalformed},
		{"ended", ended.Bearer, f.Manager, nil, lapse.ErrRevoked},
		{"ran out", ran.Bearer, f.Manager, nil, lapse.ErrExpired},
		{"without uses", spent.Bearer, f.Manager, nil, lapse.ErrExhausted},
		{"another Manager's", i.Bearer, forged, nil, lapse.ErrUnknown},
		{"subject refused", i.Bearer, strict, lapse.ErrRefused, lapse.ErrRefused},
		{"subject unknown", i.Bearer, strict, errDisk, errDisk},
	} {
		refused, f.events = row.check, nil
		_, err := row.m.Rotate(f.ctx, row.bearer, 0)
		lapsetest.WantIs(t, row.name, err, row.want)
		if row.want != errDisk {
			lapsetest.WantIs(t, row.name, err, lapse.ErrUnauthenticated)
			lapsetest.WantDiff(t, row.name+": events", []lapse.EventKind{lapse.EventRejected}, f.kinds())
		}
	}
	lapsetest.WantDiff(t, "contents", before, f.contents())
}

// TestRotateTooLate: what dies while the transaction waits for its turn is dead to it.
func TestRotateTooLate(t *testing.T) {
	for _, row := range []struct {
		name  string
		after time.Duration
		want  error
	}{
		{"before", 30*time.Minute - time.Millisecond, nil},
		{"at", 30 * time.Minute, lapse.ErrExpired},
	} {
		for _, what := range []string{"its end", "its parent's"} {
			f := newFixture(t, lapse.Config{})
			i := f.issue(lapse.Grant{Subject: "ana"})
			if what == "its parent's" {
				i = f.delegate(i, lapse.Grant{TTL: time.Hour})
			}
			f.store.Before(func(op opOf) {
				if op == opUpdate {
					f.store.Before(nil)
					f.clock.Add(row.after)
				}
			})
			f.events = nil
			_, err := f.Rotate(f.ctx, i.Bearer, time.Second)
			lapsetest.WantIs(t, row.name+" "+what, err, row.want)
			if row.want != nil {
				lapsetest.WantDiff(t, row.name+": events", []lapse.EventKind{lapse.EventRejected}, f.kinds())
			}
		}
	}
}

// afterRotation is something that happens to a rotated token before Rotate is called
// with the previous text once more.
type afterRotation struct {
	name string
	do   func(f *fixture, old, next lapse.Issued) error
	want error // of Rotate with the previous text and an overlap
}

var afterRotations = []afterRotation{
	{"nothing", func(*fixture, lapse.Issued, lapse.Issued) error { return nil }, nil},
	{"Peek", func(f *fixture, _, next lapse.Issued) error { _, err := f.Peek(f.ctx, next.Bearer); return err }, nil},
	{"a use of the previous text", func(f *fixture, old, _ lapse.Issued) error { _, err := f.Authenticate(f.ctx, old.Bearer); return err }, nil},
	{"Renew by the previous text", func(f *fixture, old, _ lapse.Issued) error { _, err := f.Renew(f.ctx, old.Bearer); return err }, nil},
	{"Confirm by the previous text", func(f *fixture, old, _ lapse.Issued) error { _, err := f.Confirm(f.ctx, old.Bearer); return err }, nil},
	{"Delegate by the previous text", func(f *fixture, old, _ lapse.Issued) error {
		_, err := f.Delegate(f.ctx, old.Bearer, lapse.Grant{})
		return err
	}, nil},
	{"Hold by the previous text", func(f *fixture, old, _ lapse.Issued) error { return f.holdOnce(old.Bearer) }, nil},
	{"Obtain", func(f *fixture, _, _ lapse.Issued) error { _, err := f.Obtain(f.ctx, forAna); return err }, nil},
	{"Rotate with the previous text", func(f *fixture, old, _ lapse.Issued) error {
		_, err := f.Rotate(f.ctx, old.Bearer, time.Second)
		return err
	}, nil},
	{"a refused use", func(f *fixture, _, next lapse.Issued) error {
		refused := lapse.ErrRefused
		_, err := f.manager(lapse.Config{Admit: f.checks(&refused)}).Authenticate(f.ctx, next.Bearer)
		return lapsetest.Ignore(err, lapse.ErrRefused)
	}, nil},
	{"Authenticate", func(f *fixture, _, next lapse.Issued) error { _, err := f.Authenticate(f.ctx, next.Bearer); return err }, lapse.ErrRotated},
	{"Hold", func(f *fixture, _, next lapse.Issued) error { return f.holdOnce(next.Bearer) }, lapse.ErrRotated},
	{"Renew", func(f *fixture, _, next lapse.Issued) error { _, err := f.Renew(f.ctx, next.Bearer); return err }, lapse.ErrRotated},
	{"Confirm", func(f *fixture, _, next lapse.Issued) error { _, err := f.Confirm(f.ctx, next.Bearer); return err }, lapse.ErrRotated},
	{"Delegate", func(f *fixture, _, next lapse.Issued) error {
		i, err := f.Delegate(f.ctx, next.Bearer, lapse.Grant{})
		f.Expire(f.ctx, i.ID) // that the delegate is gone makes no difference
		return err
	}, lapse.ErrRotated},
	{"Rotate", func(f *fixture, _, next lapse.Issued) error {
		_, err := f.Rotate(f.ctx, next.Bearer, time.Minute)
		return err
	}, lapse.ErrReplaced},
	{"Expire", func(f *fixture, _, next lapse.Issued) error { _, err := f.Expire(f.ctx, next.ID); return err }, lapse.ErrRevoked},
}

func (f *fixture) holdOnce(bearer string) error {
	ctx, leave := context.WithCancel(f.ctx)
	defer leave()
	_, _, err := lapsetest.Opened(f.Hold(ctx, bearer))
	return err
}

// TestRotateAgain: Rotate with the previous text gives the same answer again, whatever
// overlap is asked for, until the new text has been used; then it is ErrRotated. Neither
// changes anything.
func TestRotateAgain(t *testing.T) {
	for _, row := range afterRotations {
		for _, made := range []string{"Issue", "Obtain", "Issue with a budget", "Delegate"} {
			for _, overlap := range []time.Duration{time.Second, time.Minute, time.Hour} {
				if made == "Issue with a budget" && row.name != "nothing" && row.name != "Authenticate" {
					continue
				}
				name := row.name + ", made by " + made
				f, old := rotatable(t, made)
				first := rotate(t, f, old.Bearer, time.Minute)
				f.clock.Add(time.Millisecond)
				if err := row.do(f, old, first); err != nil {
					t.Fatal(name, err)
				}
				before := f.contents()
				f.events = nil
				again, err := f.Rotate(f.ctx, old.Bearer, overlap)
				lapsetest.WantIs(t, name, err, row.want)
				if row.want == nil && (again.Bearer != first.Bearer || again.Token != f.token(old.ID)) {
					t.Errorf("%s, overlap %v: another answer: %+v", name, overlap, again.Token)
				}
				if row.want == nil {
					lapsetest.WantDiff(t, name+": events", []lapse.EventKind{lapse.EventRepeated}, f.kinds())
				} else if row.want == lapse.ErrRotated {
					lapsetest.WantDiff(t, name+": events", 0, len(f.events))
				}
				lapsetest.WantDiff(t, name+": contents", before, f.contents())
				f.clock.Add(time.Minute - 2*time.Millisecond)
				wantPrevious := row.want
				if row.want == lapse.ErrRotated {
					wantPrevious = nil
				}
				f.wantPeek(t, name+": the previous text, before its instant", old.Bearer, wantPrevious)
				f.clock.Add(time.Millisecond)
				f.wantPeek(t, name+": the previous text, at its instant", old.Bearer, lapse.ErrReplaced)
			}
		}
	}
}

// rotatable makes a token. Uses within RenewEvery of the issue are not due.
func rotatable(t *testing.T, made string) (*fixture, lapse.Issued) {
	t.Helper()
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{RenewEvery: time.Hour}, 1))
	switch made {
	case "Obtain":
		return f, obtain(t, f, f.Manager, forAna)
	case "Delegate":
		return f, f.delegate(f.issue(forAna), lapse.Grant{})
	case "Issue with a budget":
		return f, f.issue(lapse.Grant{Subject: "ana", MaxUses: 5})
	}
	return f, f.issue(forAna)
}

// TestFirstUseThatCannotBeStored is good, and told; the new text counts as not used.
func TestFirstUseThatCannotBeStored(t *testing.T) {
	for _, row := range []struct {
		mode   storagetest.Mode
		err    error
		stored bool
	}{
		{storagetest.FailBefore, errDisk, false},
		{storagetest.FailBefore, lapse.ErrUnavailable, false},
		{storagetest.FailAfter, lapse.ErrOutcomeUnknown, true},
	} {
		for name, use := range map[string]func(f *fixture, bearer string) error{
			"Authenticate": func(f *fixture, bearer string) error { _, err := f.Authenticate(f.ctx, bearer); return err },
			"Hold":         (*fixture).holdOnce,
		} {
			f := newFixture(t, lapse.Config{})
			old := f.issue(forAna)
			next := rotate(t, f, old.Bearer, time.Minute)
			f.events = nil
			f.store.Reset()
			f.store.InjectOp(opUpdate, 1, row.mode, row.err)
			lapsetest.WantIs(t, name, use(f, next.Bearer), nil)
			if n := len(f.events); n > 0 && f.events[n-1].Kind == lapse.EventHeld {
				f.events = f.events[:n-1]
			}
			if !f.store.Fired() || len(f.events) != 1 || f.events[0].Kind != lapse.EventRenewalFailed || !errors.Is(f.events[0].Err, row.err) {
				t.Errorf("%s: fired %v, told %+v; want that it could not be recorded", name, f.store.Fired(), f.events)
			}
			if !f.events[0].Token.ExpiresAt.Equal(next.ExpiresAt) || f.events[0].Token.ID != old.ID {
				t.Errorf("%s: told of %+v; want the token as it was", name, f.events[0].Token)
			}
			again, err := f.Rotate(f.ctx, old.Bearer, time.Minute)
			if row.stored {
				lapsetest.WantIs(t, name+", stored all the same", err, lapse.ErrRotated)
			} else if err != nil || again.Bearer != next.Bearer {
				t.Errorf("%s, not stored: %v; want the same answer again", name, err)
			}
			lapsetest.WantIs(t, name+", once more", use(f, next.Bearer), nil)
			_, err = f.Rotate(f.ctx, old.Bearer, time.Minute)
			lapsetest.WantIs(t, name+": after a use that was stored", err, lapse.ErrRotated)
		}
	}
}

// TestFirstUseOfABudget is a use like any other: if it cannot be stored, it fails.
func TestFirstUseOfABudget(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	old := f.issue(lapse.Grant{Subject: "ana", MaxUses: 2})
	next := rotate(t, f, old.Bearer, time.Minute)
	f.store.Reset()
	f.store.InjectOp(opUpdate, 1, storagetest.FailBefore, errDisk)
	_, err := f.Authenticate(f.ctx, next.Bearer)
	lapsetest.WantIs(t, "a use that cannot be stored", err, errDisk)
	if again := rotate(t, f, old.Bearer, time.Minute); again.Bearer != next.Bearer || again.UsesLeft != 2 {
		t.Errorf("%+v; want the same answer, with two uses", again.Token)
	}
}

// TestPreviousWithoutOverlap: Rotate with the previous text and an overlap of 0 is no
// repeat: it makes another secret, and ends both older ones.
func TestPreviousWithoutOverlap(t *testing.T) {
	for _, made := range []string{"Issue", "Obtain", "Issue with a budget", "Delegate"} {
		for _, used := range []bool{false, true} {
			f, old := rotatable(t, made)
			next := rotate(t, f, old.Bearer, time.Hour)
			if used {
				if _, err := f.Authenticate(f.ctx, next.Bearer); err != nil {
					t.Fatal(err)
				}
			}
			f.events = nil
			got := rotate(t, f, old.Bearer, 0)
			lapsetest.WantDiff(t, made+": events", []lapse.EventKind{lapse.EventRotated}, f.kinds())
			if got.Bearer == next.Bearer || got.Generation != 2 || got.ID != old.ID {
				t.Errorf("%s, used %v: %+v; want another secret", made, used, got.Token)
			}
			f.wantPeek(t, made+": the previous one", old.Bearer, lapse.ErrReplaced)
			f.wantPeek(t, made+": the one in between", next.Bearer, lapse.ErrReplaced)
		}
	}
}

// TestRotateAtRandom takes random steps with all texts of a token and asks after each: at
// most two of them work, the newest and one before it, and every other is known for one
// that was replaced.
func TestRotateAtRandom(t *testing.T) {
	race.Alone(t)
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		f := newFixture(t, lapsetest.Keyed(lapse.Policy{RenewEvery: time.Minute, MaxTTL: 2 * time.Hour}, 1))
		first := obtain(t, f, f.Manager, forAna)
		if seed%2 == 0 {
			first = f.issue(forAna)
		}
		id, texts := first.ID, []string{first.Bearer}
		for step := range 40 {
			text := texts[max(0, len(texts)-1-r.IntN(4))]
			var got lapse.Issued
			switch r.IntN(7) {
			case 0, 1:
				got, _ = f.Rotate(f.ctx, text, time.Duration(r.IntN(4))*10*time.Minute)
			case 2:
				f.Authenticate(f.ctx, text)
			case 3:
				f.clock.Add(time.Duration(r.IntN(10)) * time.Minute)
			case 4:
				got, _ = f.RotateID(f.ctx, id, time.Duration(r.IntN(4))*10*time.Minute)
			case 5:
				f.Delegate(f.ctx, text, lapse.Grant{})
			case 6:
				f.Renew(f.ctx, text)
			}
			if got.Bearer != "" && got.Bearer != texts[len(texts)-1] {
				texts = append(texts, got.Bearer)
			}
			if err := f.wellReplaced(id, texts); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
	}
}

// wellReplaced says what is wrong with the texts of a token, in the order in which they
// were given, if anything.
func (f *fixture) wellReplaced(id lapse.ID, texts []string) error {
	tok := f.token(id)
	if !tok.Live(f.clock.Now()) {
		return nil
	}
	working := 0
	for n, text := range texts {
		_, err := f.Peek(f.ctx, text)
		switch last := n == len(texts)-1; {
		case last && err != nil:
			return fmt.Errorf("the newest text: %w", err)
		case err == nil:
			working++
		case !errors.Is(err, lapse.ErrReplaced):
			return fmt.Errorf("text %d of %d: %w", n, len(texts), err)
		}
	}
	if working > 2 || int(tok.Generation) != len(texts)-1 {
		return fmt.Errorf("%d of %d texts work, generation %d", working, len(texts), tok.Generation)
	}
	return nil
}

// TestWellReplacedFindsWhatIsWrong, or the tests that ask it mean nothing.
func TestWellReplacedFindsWhatIsWrong(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	a := f.issue(forAna)
	b := rotate(t, f, a.Bearer, time.Hour)
	other := f.issue(forAna)
	for name, row := range map[string]struct {
		texts []string
		wrong bool
	}{
		"nothing":                    {[]string{a.Bearer, b.Bearer}, false},
		"an order that is not so":    {[]string{b.Bearer, a.Bearer, "x"}, true},
		"a rotation that is missing": {[]string{b.Bearer}, true},
		"a third that works":         {[]string{a.Bearer, other.Bearer, b.Bearer}, true},
		"one that is unknown":        {[]string{withSecret(a.Bearer, 1), b.Bearer}, true},
	} {
		if err := f.wellReplaced(a.ID, row.texts); (err != nil) != row.wrong {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// replacement is a verb that gives a bearer in the place of another one, on tokens for
// which it has everything to do that it can.
type replacement struct {
	name  string
	keys  []byte
	ready func(f *fixture) (old string, do doing)
	tells []lapse.EventKind // without a fault
	again error             // what a second call says after the first has had its effect
	works bool              // the old text works after that
	calls int               // inside its transaction, at least
}

var replacePolicy = lapse.Policy{MaxTokens: 3, AtLimit: lapse.LimitEndOldest}

type doing = func(ctx context.Context, m *lapse.Manager) (lapse.Issued, error)

func obtaining(g lapse.Grant) doing {
	return func(ctx context.Context, m *lapse.Manager) (lapse.Issued, error) { return m.Obtain(ctx, g) }
}

func rotating(bearer string, overlap time.Duration) doing {
	return func(ctx context.Context, m *lapse.Manager) (lapse.Issued, error) {
		return m.Rotate(ctx, bearer, overlap)
	}
}

// withDelegates has the token of bearer delegate to one that delegates to another.
func (f *fixture) withDelegates(i lapse.Issued) lapse.Issued {
	f.t.Helper()
	f.delegate(f.delegate(i, lapse.Grant{}), lapse.Grant{})
	return i
}

var (
	evEnded, evIssued, evRotated = lapse.EventEnded, lapse.EventIssued, lapse.EventRotated
	forAna                       = lapse.Grant{Subject: "ana"}
)

var replacements = []replacement{
	{"Obtain a new one", []byte{1}, func(f *fixture) (string, doing) {
		f.issue(forAna)
		f.issue(forAna)
		return "", obtaining(forAna)
	}, []lapse.EventKind{evEnded, evIssued}, nil, false, 4},
	{"Obtain the same", []byte{1}, func(f *fixture) (string, doing) {
		return obtain(f.t, f, f.Manager, forAna).Bearer, obtaining(forAna)
	}, []lapse.EventKind{lapse.EventRenewed}, nil, true, 2},
	{"Obtain for a retired key", []byte{2}, func(f *fixture) (string, doing) {
		old := f.withDelegates(obtain(f.t, f, f.Manager, forAna))
		return old.Bearer, obtaining(forAna)
	}, []lapse.EventKind{evEnded, evEnded, evRotated}, nil, false, 8},
	{"Rotate", []byte{1}, func(f *fixture) (string, doing) {
		old := f.withDelegates(f.issue(forAna))
		return old.Bearer, rotating(old.Bearer, time.Minute)
	}, []lapse.EventKind{evRotated}, nil, true, 2},
	{"Rotate what was obtained", []byte{1}, func(f *fixture) (string, doing) {
		old := obtain(f.t, f, f.Manager, forAna)
		return old.Bearer, rotating(old.Bearer, time.Minute)
	}, []lapse.EventKind{evRotated}, nil, true, 2},
	{"Rotate at once", nil, func(f *fixture) (string, doing) {
		old := f.withDelegates(f.issue(forAna))
		return old.Bearer, rotating(old.Bearer, 0)
	}, []lapse.EventKind{evEnded, evEnded, evRotated}, lapse.ErrReplaced, false, 8},
	{"Rotate again", nil, func(f *fixture) (string, doing) {
		old := f.issue(forAna)
		rotate(f.t, f, old.Bearer, time.Hour)
		return old.Bearer, rotating(old.Bearer, time.Minute)
	}, []lapse.EventKind{lapse.EventRepeated}, nil, true, 1},
	{"Rotate at once with the previous text", nil, func(f *fixture) (string, doing) {
		old := f.withDelegates(f.issue(forAna))
		rotate(f.t, f, old.Bearer, time.Hour)
		return old.Bearer, rotating(old.Bearer, 0)
	}, []lapse.EventKind{evEnded, evEnded, evRotated}, lapse.ErrReplaced, false, 8},
	{"Rotate in an overlap", nil, func(f *fixture) (string, doing) {
		next := rotate(f.t, f, f.issue(forAna).Bearer, time.Hour)
		return next.Bearer, rotating(next.Bearer, time.Minute)
	}, []lapse.EventKind{evRotated}, nil, true, 2},
	{"Rotate a delegate", nil, func(f *fixture) (string, doing) {
		old := f.delegate(f.issue(forAna), lapse.Grant{})
		return old.Bearer, rotating(old.Bearer, time.Minute)
	}, []lapse.EventKind{evRotated}, nil, true, 3},
	{"RotateID", nil, func(f *fixture) (string, doing) {
		old := f.withDelegates(f.issue(forAna))
		return old.Bearer, func(ctx context.Context, m *lapse.Manager) (lapse.Issued, error) {
			return m.RotateID(ctx, old.ID, time.Minute)
		}
	}, []lapse.EventKind{evRotated}, nil, true, 2},
}

// scene has everything ready, the clock a little later, and a Manager for r on store.
func (r *replacement) scene(t *testing.T, over func(f *fixture) storage.Store) (f *fixture, m *lapse.Manager, old string, do doing) {
	t.Helper()
	f = newFixture(t, lapsetest.Keyed(replacePolicy, 1))
	f.issue(lapse.Grant{Subject: "ana", TTL: 10 * time.Minute}) // the oldest
	f.clock.Add(time.Second)
	old, do = r.ready(f)
	f.clock.Add(time.Second)
	cfg := lapsetest.Keyed(replacePolicy, r.keys...)
	cfg.Clock = f.clock
	cfg.Observe = f.observe
	m, err := lapse.New(over(f), cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.events = nil
	f.store.Reset()
	return f, m, old, do
}

func itself(f *fixture) storage.Store { return f.store }

// TestReplacementFaults fails each call to the store of Obtain, Rotate and RotateID, in
// each way: nothing has happened, or the error says that it may have. Then the same again
// gives one text that works; without an overlap it may say that the old one was replaced.
func TestReplacementFaults(t *testing.T) {
	for _, r := range replacements {
		f, m, _, do := r.scene(t, itself)
		if _, err := do(f.ctx, m); err != nil {
			t.Fatalf("%s without a fault: %v", r.name, err)
		}
		lapsetest.WantDiff(t, r.name+": events", r.tells, f.kinds())
		calls := f.store.Calls()
		for n := range calls {
			for _, fault := range []struct {
				mode      storagetest.Mode
				err, want error
			}{
				{storagetest.FailBefore, storage.ErrUnavailable, lapse.ErrUnavailable},
				{storagetest.FailBefore, errDisk, lapse.ErrUnavailable},
				{storagetest.FailBefore, storage.ErrClosed, lapse.ErrClosed},
				{storagetest.FailBefore, storage.ErrCorrupt, lapse.ErrCorrupt},
				{storagetest.FailAfter, storage.ErrOutcomeUnknown, lapse.ErrOutcomeUnknown},
				{storagetest.Hang, nil, context.Canceled},
			} {
				t.Run(fmt.Sprintf("%s/%v %d/%v %v", r.name, calls[n], n, fault.mode, fault.err), func(t *testing.T) {
					f, m, old, do := r.scene(t, itself)
					before := f.contents()
					f.store.Reset()
					f.store.Inject(n+1, fault.mode, fault.err)
					ctx, cancel := context.WithCancel(f.ctx)
					defer cancel()
					left := n
					f.store.Before(func(opOf) {
						if left--; left < 0 && fault.mode == storagetest.Hang {
							cancel() // as the call that hangs arrives
						}
					})
					got, err := do(ctx, m)
					f.store.Before(nil)
					if !f.store.Fired() {
						t.Fatal("the fault did not happen")
					}
					f.wantNothing(t, got, err, fault.want)
					happened := fault.mode == storagetest.FailAfter && calls[n] == opUpdate
					if !happened {
						lapsetest.WantDiff(t, "contents", before, f.contents())
					}
					f.wantDoneBy(t, &r, m, old, do, happened)
				})
			}
		}
	}
}

// wantNothing: the verb failed as want says, and gave and told of nothing.
func (f *fixture) wantNothing(t *testing.T, got lapse.Issued, err, want error) {
	t.Helper()
	lapsetest.WantIs(t, "error", err, want)
	if errors.Is(err, lapse.ErrUnauthenticated) || errors.Is(err, lapse.ErrRotated) || errors.Is(err, lapse.ErrLimit) {
		t.Errorf("a fault of the store reads as a verdict: %v", err)
	}
	if got.Bearer != "" || len(f.events) != 0 {
		t.Errorf("it failed, and yet gave a bearer (%v) and told of %+v", got.Bearer != "", f.events)
	}
	if n := len(f.failures); n == 0 || !errors.Is(f.failures[n-1].Err, want) {
		t.Errorf("it failed, and told of the failures %+v", f.failures)
	}
}

// wantDoneBy calls the verb once more, after one call that may have had its effect: the
// client has one text that works, or is told that its own was replaced. The old text works
// where the verb leaves it an overlap.
func (f *fixture) wantDoneBy(t *testing.T, r *replacement, m *lapse.Manager, old string, do doing, happened bool) {
	t.Helper()
	got, err := do(f.ctx, m)
	if happened && r.again != nil {
		lapsetest.WantIs(t, "once more", err, r.again)
		f.wantPeek(t, "the old text", old, lapse.ErrReplaced)
	} else if err != nil {
		t.Errorf("once more: %v", err)
	} else if _, err := m.Authenticate(f.ctx, got.Bearer); err != nil {
		t.Errorf("what it gave then: %v", err)
	}
	if old != "" && old != got.Bearer {
		_, err := m.Peek(f.ctx, old)
		lapsetest.WantIs(t, "the old text", err, map[bool]error{false: lapse.ErrReplaced}[r.works])
	}
	f.wantWhole(t)
}

// wantWhole: no token is half rotated. A delegate's end by a rotation came with another
// secret of the token above it, and that of all its delegates.
func (f *fixture) wantWhole(t *testing.T) {
	t.Helper()
	byID := map[lapse.ID]storage.Record{}
	for _, rec := range f.contents() {
		byID[rec.ID] = rec
		if (rec.Generation == 0) != rec.RotatedAt.IsZero() || !rec.PreviousUntil.IsZero() && rec.PreviousUntil.Before(rec.RotatedAt) {
			t.Errorf("half rotated: %+v, previous until %v", rec.Token, rec.PreviousUntil)
		}
	}
	for _, rec := range byID {
		above, under := byID[rec.Parent]
		switch {
		case !under:
		case above.EndReason != 0 || above.Kind != lapse.KindPlain:
		case above.Parent == (lapse.ID{}) && (rec.EndReason == lapse.EndRotated) != (above.Generation > 0 && above.PreviousUntil.IsZero()):
			t.Errorf("the delegate ended as %q, of a token of generation %d", rec.EndReason, above.Generation)
		}
		if under && above.EndReason != 0 && rec.EndReason != lapse.EndParent {
			t.Errorf("a delegate ended as %q with the one above it", rec.EndReason)
		}
	}
}

// livingFaults is txFaults that makes a loop over the living fail as well.
type livingFaults struct{ *txFaults }

func (f livingFaults) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return f.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(livingTx{faultyTx{tx, f.txFaults}}) })
}

type livingTx struct{ faultyTx }

func (tx livingTx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for r, err := range tx.Tx.Living(now) {
			if failed := tx.f.fail(); failed != nil {
				yield(storage.Record{}, failed)
				return
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// TestReplacementTxFaults fails each call inside the transactions: they are given up.
func TestReplacementTxFaults(t *testing.T) {
	for _, r := range replacements {
		n := 1
		for ; ; n++ {
			var store *txFaults
			f, m, old, do := r.scene(t, func(f *fixture) storage.Store {
				store = &txFaults{Store: f.store}
				return livingFaults{store}
			})
			before := f.contents()
			store.left = n
			got, err := do(f.ctx, m)
			if store.left > 0 {
				break
			}
			f.wantNothing(t, got, err, errDisk)
			lapsetest.WantDiff(t, fmt.Sprint(r.name, ", call ", n), before, f.contents())
			f.wantDoneBy(t, &r, m, old, do, false)
		}
		if n <= r.calls {
			t.Errorf("%s: %d calls were failed; the harness sees too few", r.name, n-1)
		}
	}
}

// TestReplacementRunsAgain: nothing is left of a run that the store undid, whichever of
// its calls failed.
func TestReplacementRunsAgain(t *testing.T) {
	for _, r := range replacements {
		for fault := range 6 {
			f, m, _, do := r.scene(t, func(f *fixture) storage.Store { return &twice{f.store, f.clock, fault, func() {}} })
			counts := f.clock.Now().Add(time.Second).Truncate(time.Millisecond)
			got, err := do(f.ctx, m)
			if err != nil {
				t.Fatalf("%s, fault %d: %v", r.name, fault, err)
			}
			for _, e := range f.events {
				if !e.At.Equal(counts) {
					t.Errorf("%s, fault %d: %v at %v; want %v, of the run that counts", r.name, fault, e.Kind, e.At, counts)
				}
			}
			lapsetest.WantDiff(t, r.name+": events", r.tells, f.kinds())
			if tok, err := m.Peek(f.ctx, got.Bearer); err != nil || tok != got.Token {
				t.Errorf("%s, fault %d: Peek: %+v, %v", r.name, fault, tok, err)
			}
			f.wantWhole(t)
		}
	}
}

// TestRetiredMeanwhile: between two runs of a transaction, another call ends the token
// whose secret the first one would have replaced. Then the token that is issued needs room
// of its own.
func TestRetiredMeanwhile(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
	old := obtain(t, f, f.Manager, forAna)
	other := f.issue(forAna)
	cfg := lapsetest.Keyed(lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitEndOldest}, 2)
	cfg.Clock = f.clock
	m, err := lapse.New(&twice{f.store, f.clock, 0, func() { f.Expire(f.ctx, old.ID) }}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Obtain(f.ctx, forAna)
	if err != nil {
		t.Fatal(err)
	}
	lapsetest.WantDiff(t, "evicted", []lapse.ID{other.ID}, got.Evicted)
	if was := f.token(old.ID); got.Existing || got.ID == old.ID || was.EndReason != lapse.EndRevoked || was.Generation != 0 {
		t.Errorf("%+v, in the place of %+v", got.Token, was)
	}
}

// TestReplacementStops at an ended context, a closed store and a panic, without effect.
func TestReplacementStops(t *testing.T) {
	for _, r := range replacements {
		f, m, old, do := r.scene(t, itself)
		before := f.contents()
		ctx, cancel := context.WithCancel(f.ctx)
		cancel()
		got, err := do(ctx, m)
		f.wantNothing(t, got, err, context.Canceled)
		f.store.InjectOp(opUpdate, 1, storagetest.Panic, nil)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: the store's panic was swallowed", r.name)
				}
			}()
			do(f.ctx, m)
		}()
		lapsetest.WantDiff(t, r.name+": contents", before, f.contents())
		f.wantDoneBy(t, &r, m, old, do, false)
		if err := f.store.Close(); err != nil {
			t.Fatal(err)
		}
		f.events = nil
		got, err = do(f.ctx, m)
		f.wantNothing(t, got, err, lapse.ErrClosed)
	}
}

// rotationsTold returns a Manager, and a count of the rotations that it tells of.
func rotationsTold(t *testing.T, store *storagetest.Faulty) (*lapse.Manager, *atomic.Int64) {
	t.Helper()
	var told atomic.Int64
	m, err := lapse.New(store, lapse.Config{Clock: lapsetest.NewClock(), Observe: func(_ context.Context, e lapse.Event) {
		if e.Kind == lapse.EventRotated {
			told.Add(1)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return m, &told
}

// TestRotateUnder64Callers who have all found the token not rotated: one of them replaces
// its secret. With an overlap all are given the same text; without one the others are
// told that theirs was replaced.
func TestRotateUnder64Callers(t *testing.T) {
	const callers = 64
	for _, overlap := range []time.Duration{0, time.Minute} {
		lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
			ctx := context.Background()
			m, told := rotationsTold(t, store)
			old, err := m.Issue(ctx, forAna)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]lapse.Issued, callers)
			lapsetest.Arrivals(store, callers, storagetest.OpUpdate)
			errs := lapsetest.Together(callers, func(i int) (err error) {
				got[i], err = m.Rotate(ctx, old.Bearer, overlap)
				return err
			})
			store.Before(nil)
			given, texts := 0, map[string]bool{}
			for i, err := range errs {
				if err == nil {
					given++
					texts[got[i].Bearer] = true
				} else {
					lapsetest.WantIs(t, "one of the others", err, lapse.ErrReplaced)
				}
			}
			want := callers
			if overlap == 0 {
				want = 1
			}
			if given != want || len(texts) != 1 || told.Load() != 1 {
				t.Errorf("overlap %v: %d were given %d texts, %d rotations; want %d, one and one", overlap, given, len(texts), told.Load(), want)
			}
			for text := range texts {
				if tok, err := m.Authenticate(ctx, text); err != nil || tok.Generation != 1 {
					t.Errorf("overlap %v: what was given: %+v, %v", overlap, tok, err)
				}
			}
		})
	}
}

// TestRotateOneAfterTheOther: callers that come as they like, of whom each uses what it is
// given at once, replace the secret once; each has the same text, or is told that it is in
// use.
func TestRotateOneAfterTheOther(t *testing.T) {
	const callers = 64
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, told := rotationsTold(t, store)
		old, err := m.Issue(ctx, forAna)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]lapse.Issued, callers)
		lapsetest.Arrivals(store, callers, storagetest.OpGet)
		errs := lapsetest.Together(callers, func(i int) (err error) {
			if got[i], err = m.Rotate(ctx, old.Bearer, time.Minute); err == nil {
				_, err = m.Authenticate(ctx, got[i].Bearer)
			}
			return lapsetest.Ignore(err, lapse.ErrRotated)
		})
		store.Before(nil)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		texts := map[string]bool{}
		for _, i := range got {
			if i.Bearer != "" {
				texts[i.Bearer] = true
			}
		}
		if told.Load() != 1 || len(texts) != 1 {
			t.Errorf("%d rotations gave %d texts; want one of each", told.Load(), len(texts))
		}
		_, err = m.Rotate(ctx, old.Bearer, time.Minute)
		lapsetest.WantIs(t, "after all that", err, lapse.ErrRotated)
	})
}

// TestRotateAgainstItsEnd: a rotation and an end meet. Whichever came first, the token is
// ended, under both of its secrets.
func TestRotateAgainstItsEnd(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, _ := lapsetest.GateManager(t, store, lapse.Policy{MaxTokens: lapse.NoTokenLimit})
		for range 20 {
			old, err := m.Issue(ctx, forAna)
			if err != nil {
				t.Fatal(err)
			}
			var next lapse.Issued
			lapsetest.Arrivals(store, 2, storagetest.OpUpdate)
			errs := lapsetest.Together(2, func(i int) (err error) {
				if i == 0 {
					_, err := m.Expire(ctx, old.ID)
					return err
				}
				next, err = m.Rotate(ctx, old.Bearer, time.Minute)
				return lapsetest.Ignore(err, lapse.ErrRevoked)
			})
			store.Before(nil)
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			tok, err := m.Token(ctx, old.ID)
			if err != nil || tok.EndReason != lapse.EndRevoked || (tok.Generation == 1) != (next.Bearer != "") {
				t.Fatalf("%+v, %v; want it ended", tok, err)
			}
			for _, text := range []string{old.Bearer, next.Bearer} {
				if _, err := m.Peek(ctx, text); text != "" && !errors.Is(err, lapse.ErrRevoked) {
					t.Fatalf("after the end: %v", err)
				}
			}
		}
	})
}

// TestRotateSurvivesReopening: between the rotation and its repeat the store is closed
// and opened again, with a renewal of the old text that was deferred when the token was
// rotated.
func TestRotateSurvivesReopening(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "tokens.db")
	open := func() (*bolt.Store, *lapse.Manager, *lapsetest.StepClock) {
		store, err := bolt.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, clock := lapsetest.GateManager(t, store, lapse.Policy{})
		return store, m, clock
	}
	store, m, clock := open()
	old, err := m.Issue(ctx, forAna)
	if err != nil {
		t.Fatal(err)
	}
	clock.Add(time.Minute)
	_, used := m.Authenticate(ctx, old.Bearer)
	next, rotated := m.Rotate(ctx, old.Bearer, time.Minute)
	if err := errors.Join(used, rotated, store.Close()); err != nil {
		t.Fatal(err)
	}

	store, m, clock = open()
	clock.Add(2*time.Minute - time.Millisecond)
	again, err := m.Rotate(ctx, old.Bearer, time.Hour)
	if err != nil || again.Bearer != next.Bearer || again.Token != next.Token {
		t.Errorf("the same again: %v, %+v; want %+v", err, again.Token, next.Token)
	}
	_, firstUse := m.Authenticate(ctx, next.Bearer)
	if err := errors.Join(firstUse, store.Close()); err != nil {
		t.Fatal(err)
	}

	store, m, clock = open()
	defer store.Close()
	clock.Add(2*time.Minute - time.Millisecond)
	_, err = m.Rotate(ctx, old.Bearer, time.Minute)
	lapsetest.WantIs(t, "after a use of the new text", err, lapse.ErrRotated)
	_, err = m.Peek(ctx, old.Bearer)
	lapsetest.WantIs(t, "the previous text, before its instant", err, nil)
	clock.Add(time.Millisecond)
	_, err = m.Peek(ctx, old.Bearer)
	lapsetest.WantIs(t, "the previous text, at its instant", err, lapse.ErrReplaced)
	if tok, err := m.Peek(ctx, next.Bearer); err != nil || tok.ID != old.ID || tok.Generation != 1 {
		t.Errorf("the new text: %+v, %v", tok, err)
	}
}

func rotateID(t *testing.T, f *fixture, id lapse.ID, overlap time.Duration) lapse.Issued {
	t.Helper()
	i, err := f.RotateID(f.ctx, id, overlap)
	if err != nil {
		t.Fatalf("RotateID: %v", err)
	}
	if tok, err := f.Peek(f.ctx, i.Bearer); err != nil || tok != i.Token {
		t.Fatalf("Peek by the new text: %+v, %v; want %+v", tok, err, i.Token)
	}
	return i
}

// TestRotateID: the text in use becomes the previous one, and the token is as after
// Rotate.
func TestRotateID(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	old := f.issue(lapse.Grant{Subject: "ana", Name: "key", Scope: "read", Data: "data"})
	f.clock.Add(time.Minute)
	f.events = nil
	got := rotateID(t, f, old.ID, time.Minute)
	at := lapsetest.StartMilli.Add(time.Minute)
	want := old.Token
	want.Generation, want.RotatedAt, want.ExpiresAt, want.MaxExpiresAt = 1, at, at.Add(30*time.Minute), at.Add(30*24*time.Hour)
	lapsetest.WantDiff(t, "the token", want, got.Token)
	lapsetest.WantDiff(t, "events", []lapse.Event{{Kind: lapse.EventRotated, At: at, Token: want}}, f.events)
	f.clock.Add(time.Minute - time.Millisecond)
	f.wantPeek(t, "the previous text before its instant", old.Bearer, nil)
	_, err := f.Rotate(f.ctx, old.Bearer, time.Minute)
	lapsetest.WantIs(t, "Rotate with the previous text", err, lapse.ErrRotated) // there is no repeat
	f.clock.Add(time.Millisecond)
	f.wantPeek(t, "the previous text at its instant", old.Bearer, lapse.ErrReplaced)
}

// TestRotateIDOfWhatIsNotUsed replaces the text that no use has been made of, and leaves
// the previous one as it is; after a use, that text becomes the previous one.
func TestRotateIDOfWhatIsNotUsed(t *testing.T) {
	for name, rotates := range map[string]func(f *fixture, old lapse.Issued) lapse.Issued{
		"after RotateID": func(f *fixture, old lapse.Issued) lapse.Issued { return rotateID(f.t, f, old.ID, time.Hour) },
		"after Rotate":   func(f *fixture, old lapse.Issued) lapse.Issued { return rotate(f.t, f, old.Bearer, time.Hour) },
	} {
		for _, used := range []bool{false, true} {
			f := newFixture(t, lapse.Config{})
			old := f.issue(forAna)
			first := rotates(f, old)
			if used {
				if _, err := f.Authenticate(f.ctx, first.Bearer); err != nil {
					t.Fatal(err)
				}
			}
			f.clock.Add(time.Minute)
			until := f.record(old.ID).PreviousUntil
			second := rotateID(t, f, old.ID, 10*time.Minute)
			if second.Generation != 2 || !second.RotatedAt.Equal(lapsetest.StartMilli.Add(time.Minute)) {
				t.Errorf("%s, used %v: %+v", name, used, second.Token)
			}
			good, replaced := old, first
			if used {
				good, replaced, until = first, old, lapsetest.StartMilli.Add(11*time.Minute)
			}
			f.wantPeek(t, name+": the previous text", good.Bearer, nil)
			f.wantPeek(t, name+": the one that gave way", replaced.Bearer, lapse.ErrReplaced)
			if got := f.record(old.ID).PreviousUntil; !got.Equal(until) {
				t.Errorf("%s, used %v: the previous text works until %v; want %v", name, used, got, until)
			}
			_, err := f.Rotate(f.ctx, good.Bearer, time.Minute)
			lapsetest.WantIs(t, name+": Rotate with the previous text", err, lapse.ErrRotated)
			rotateID(t, f, old.ID, 0)
			f.wantPeek(t, name+": with overlap 0, the previous text", good.Bearer, lapse.ErrReplaced)
			f.wantPeek(t, name+": with overlap 0, the current text", second.Bearer, lapse.ErrReplaced)
		}
	}
}

// TestRotateIDRefuses what it cannot rotate, and changes nothing.
func TestRotateIDRefuses(t *testing.T) {
	refused := lapse.ErrRefused
	f := newFixture(t, lapse.Config{})
	live, ended := f.issue(forAna), f.issue(forAna)
	ran := f.issue(lapse.Grant{Subject: "ana", TTL: time.Minute})
	parent := f.issue(lapse.Grant{Subject: "ana", TTL: time.Minute})
	orphan := f.delegate(parent, lapse.Grant{})
	spent := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	if _, err := f.Authenticate(f.ctx, spent.Bearer); err != nil {
		t.Fatal(err)
	}
	f.Expire(f.ctx, ended.ID)
	f.clock.Add(time.Minute)
	before := f.contents()
	for _, row := range []struct {
		name string
		m    *lapse.Manager
		id   lapse.ID
		want error
	}{
		{"no such token", f.Manager, lapse.ID{1}, lapse.ErrNotFound},
		{"of another prefix", f.manager(lapse.Config{Prefix: "other"}), live.ID, lapse.ErrNotFound},
		{"ended", f.Manager, ended.ID, lapse.ErrRevoked},
		{"ran out", f.Manager, ran.ID, lapse.ErrExpired},
		{"whose parent ran out", f.Manager, orphan.ID, lapse.ErrExpired},
		{"without uses", f.Manager, spent.ID, lapse.ErrExhausted},
	} {
		f.events = nil
		_, err := row.m.RotateID(f.ctx, row.id, time.Second)
		lapsetest.WantIs(t, row.name, err, row.want)
		if len(f.events) != 0 {
			t.Errorf("%s: told of %+v", row.name, f.events)
		}
	}
	lapsetest.WantDiff(t, "contents", before, f.contents())
	if _, err := f.manager(lapse.Config{Admit: f.checks(&refused)}).RotateID(f.ctx, live.ID, 0); err != nil {
		t.Errorf("Admit was asked: %v", err)
	}
}

// TestRotateOfASession is Refresh's to do, by every text and by the ID, under every
// prefix.
func TestRotateOfASession(t *testing.T) {
	clock := lapsetest.NewClock()
	store := memory.New()
	p, err := lapse.NewPairs(store, lapse.PairConfig{Access: lapse.Config{Clock: clock}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Issue(t.Context(), lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := lapse.New(store, lapse.Config{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, m := range []*lapse.Manager{p.Access(), other} {
			_, err := m.Rotate(t.Context(), c.Access.Bearer, time.Minute)
			lapsetest.WantIs(t, "Rotate of an access text", err, lapse.ErrNotRenewable)
			_, err = m.RotateID(t.Context(), c.Access.ID, 0)
			lapsetest.WantIs(t, "RotateID of a session", err, lapse.ErrNotRenewable)
		}
		if c, err = p.Refresh(t.Context(), c.Refresh.Bearer); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Access().Authenticate(t.Context(), c.Access.Bearer); err != nil {
		t.Error(err)
	}
}

type opOf = storagetest.Op

func (f *fixture) record(id lapse.ID) storage.Record {
	f.t.Helper()
	r, err := f.store.Get(f.ctx, id)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *fixture) checks(err *error) func(context.Context, lapse.Token) error {
	return func(context.Context, lapse.Token) error { return *err }
}

func (f *fixture) live(id lapse.ID) bool { return f.token(id).Live(f.clock.Now()) }

// TestRotateAndDelegates: with an overlap delegates live on, as long as they would have;
// without one they end in the same transaction.
func TestRotateAndDelegates(t *testing.T) {
	for _, overlap := range []time.Duration{0, time.Minute} {
		f := newFixture(t, lapse.Config{})
		old := f.issue(lapse.Grant{Subject: "ana", Scope: "a b"})
		near := f.delegate(old, lapse.Grant{Scope: "a"})
		far := f.delegate(near, lapse.Grant{Scope: "a"})
		other := f.delegate(f.issue(lapse.Grant{Subject: "ana", Scope: "a"}), lapse.Grant{})
		f.events = nil
		rotate(t, f, old.Bearer, overlap)
		f.wantPeek(t, "a delegate of another token", other.Bearer, nil)
		if overlap > 0 {
			lapsetest.WantDiff(t, "events", []lapse.EventKind{lapse.EventRotated}, f.kinds())
			f.clock.Add(30*time.Minute - time.Millisecond)
			f.wantPeek(t, "near, after the overlap", near.Bearer, nil)
			f.wantPeek(t, "far, after the overlap", far.Bearer, nil)
			continue
		}
		lapsetest.WantDiff(t, "events", []lapse.EventKind{lapse.EventEnded, lapse.EventEnded, lapse.EventRotated}, f.kinds())
		for id, want := range map[lapse.ID]lapse.EndReason{near.ID: lapse.EndRotated, far.ID: lapse.EndParent} {
			if got := f.token(id); got.EndReason != want || !got.EndedAt.Equal(lapsetest.StartMilli) {
				t.Errorf("%+v; want it ended as %v", got, want)
			}
		}
		f.wantPeek(t, "near", near.Bearer, lapse.ErrRevoked)
		f.wantPeek(t, "far", far.Bearer, lapse.ErrRevoked)
	}
}

// TestRotateADelegate: it stays under its parent, in scope and end, and keeps its cap.
func TestRotateADelegate(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTTL: 2 * time.Hour}})
	parent := f.issue(lapse.Grant{Subject: "ana", Scope: "a b", TTL: 2 * time.Hour})
	delegate := f.delegate(parent, lapse.Grant{Scope: "a", TTL: time.Hour})
	f.clock.Add(time.Hour - time.Millisecond)
	got := rotate(t, f, delegate.Bearer, time.Minute)
	if got.ID != delegate.ID || got.Parent != parent.ID || got.Scope != "a" || got.Family != parent.ID {
		t.Errorf("%+v; want it under the parent", got.Token)
	}
	if !got.MaxExpiresAt.Equal(parent.MaxExpiresAt) {
		t.Errorf("its cap is %v; want the parent's %v", got.MaxExpiresAt, parent.MaxExpiresAt)
	}
	f.clock.Add(30 * time.Minute)
	last := rotate(t, f, got.Bearer, 0)
	if !last.ExpiresAt.Equal(parent.MaxExpiresAt) {
		t.Errorf("it lives until %v; want the parent's cap", last.ExpiresAt)
	}
	if !f.live(parent.ID) {
		t.Error("the parent ended with the delegate's old secret")
	}
	if ended, err := f.Expire(f.ctx, parent.ID); !ended || err != nil {
		t.Fatal(ended, err)
	}
	_, err := f.Rotate(f.ctx, last.Bearer, 0)
	lapsetest.WantIs(t, "once the parent has ended", err, lapse.ErrRevoked)
	if got := f.token(last.ID).EndReason; got != lapse.EndParent {
		t.Errorf("it ended as %v; want with its parent", got)
	}
}

// TestDelegateOfThePreviousText lives no longer than that text, whatever renews it or
// rotates it.
func TestDelegateOfThePreviousText(t *testing.T) {
	for _, does := range []string{"nothing", "renewed", "rotated"} {
		f := newFixture(t, lapse.Config{})
		old := f.issue(forAna)
		rotate(t, f, old.Bearer, 10*time.Minute)
		until := lapsetest.StartMilli.Add(10 * time.Minute)
		d, err := f.Delegate(f.ctx, old.Bearer, lapse.Grant{})
		if err != nil || !d.ExpiresAt.Equal(until) || !d.MaxExpiresAt.Equal(until) {
			t.Fatalf("%+v, %v; want it to end with the text, at %v", d.Token, err, until)
		}
		lapsetest.WantDiff(t, "reduced", []string{"TTL"}, d.Reduced)
		f.clock.Add(time.Minute)
		switch does {
		case "renewed":
			if _, err := f.Renew(f.ctx, d.Bearer); err != nil {
				t.Fatal(err)
			}
		case "rotated":
			d = rotate(t, f, d.Bearer, 0)
		}
		f.clock.Add(9*time.Minute - time.Millisecond)
		f.wantPeek(t, does+": before the text ends", d.Bearer, nil)
		f.clock.Add(time.Millisecond)
		f.wantPeek(t, does+": as the text ends", d.Bearer, lapse.ErrExpired)
	}
}

// TestRotateABudget: both texts spend the same uses, and there are no more for it.
func TestRotateABudget(t *testing.T) {
	for _, overlap := range []time.Duration{0, time.Minute} {
		f := newFixture(t, lapse.Config{})
		old := f.issue(lapse.Grant{Subject: "ana", MaxUses: 5})
		if _, err := f.Authenticate(f.ctx, old.Bearer); err != nil {
			t.Fatal(err)
		}
		got := rotate(t, f, old.Bearer, overlap)
		if got.MaxUses != 5 || got.UsesLeft != 4 {
			t.Errorf("%d of %d uses are left; want 4 of 5", got.UsesLeft, got.MaxUses)
		}
		spent := map[string]int{}
		for range 6 {
			for _, text := range []string{got.Bearer, old.Bearer} {
				if _, err := f.Authenticate(f.ctx, text); err == nil {
					spent[text]++
				}
			}
		}
		want := map[string]int{got.Bearer: 4}
		if overlap > 0 {
			want = map[string]int{got.Bearer: 2, old.Bearer: 2}
		}
		lapsetest.WantDiff(t, "uses", want, spent)
		if tok := f.token(old.ID); tok.EndReason != lapse.EndExhausted {
			t.Errorf("%+v; want it exhausted", tok)
		}
	}
}

// TestRotateAtTheLimit: a rotation needs no room and ends no other token, and its token
// keeps its place.
func TestRotateAtTheLimit(t *testing.T) {
	for _, atLimit := range []lapse.AtLimit{lapse.LimitRefuse, lapse.LimitEndOldest, lapse.LimitEndIdlest} {
		for _, overlap := range []time.Duration{0, time.Minute} {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 2, AtLimit: atLimit}})
			old := f.issue(forAna)
			f.clock.Add(time.Second)
			second := f.issue(forAna)
			f.clock.Add(time.Second)
			got := rotate(t, f, old.Bearer, overlap)
			lowered := f.manager(lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: atLimit}})
			again, err := lowered.Rotate(f.ctx, got.Bearer, overlap)
			if err != nil || got.Evicted != nil || again.Evicted != nil || !f.live(second.ID) || !f.live(old.ID) {
				t.Errorf("AtLimit %d, overlap %v: %v, evicted %v and %v", atLimit, overlap, err, got.Evicted, again.Evicted)
			}
			third, err := f.Issue(f.ctx, forAna)
			switch atLimit {
			case lapse.LimitRefuse:
				lapsetest.WantIs(t, "a third", err, lapse.ErrLimit)
			case lapse.LimitEndOldest: // by log-in
				lapsetest.WantDiff(t, "evicted", []lapse.ID{old.ID}, third.Evicted)
			case lapse.LimitEndIdlest: // by the rotation
				lapsetest.WantDiff(t, "evicted", []lapse.ID{second.ID}, third.Evicted)
			}
		}
	}
}

// TestRotateWhatWasObtained: Obtain gives the new text, if the Manager that rotated has
// keys. What one without keys rotated is no token of Obtain any more.
func TestRotateWhatWasObtained(t *testing.T) {
	for _, row := range []struct {
		name  string
		keys  []byte
		given bool
	}{{"the same key", []byte{1}, true}, {"a new key first", []byte{2, 1}, true}, {"a new key alone", []byte{2}, true}, {"no keys", nil, false}} {
		for _, byID := range []bool{false, true} {
			f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
			g := lapse.Grant{Subject: "ana", Name: "laptop"}
			old := obtain(t, f, f.Manager, g)
			m := f.manager(lapsetest.Keyed(lapse.Policy{}, row.keys...))
			got, err := m.Rotate(f.ctx, old.Bearer, time.Hour)
			if byID {
				got, err = m.RotateID(f.ctx, old.ID, time.Hour)
			}
			if err != nil {
				t.Fatal(err)
			}
			again := obtain(t, f, f.manager(lapsetest.Keyed(lapse.Policy{}, 2, 1)), g)
			if (again.Bearer == got.Bearer) != row.given || again.Existing != row.given || (again.ID == old.ID) != row.given {
				t.Errorf("%s: Obtain gives %v, Existing %v; want the new text: %v", row.name, again.ID, again.Existing, row.given)
			}
			f.wantPeek(t, row.name+": the new text", got.Bearer, nil)
		}
	}
}

// TestEachRotationDrawsASalt: a token that Obtain made has another text after each
// rotation, and each is given again by Obtain.
func TestEachRotationDrawsASalt(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
	text, seen, salts := obtain(t, f, f.Manager, forAna).Bearer, map[string]bool{}, map[string]bool{}
	for range 10 {
		seen[text] = true
		next := rotate(t, f, text, 0)
		if got := obtain(t, f, f.Manager, forAna); got.Bearer != next.Bearer || !got.Existing {
			t.Fatal("Obtain does not give the new text")
		}
		sealed := f.record(next.ID).Sealed.Text()
		salts[sealed[len(sealed)-16:]] = true
		text = next.Bearer
	}
	if len(seen) != 10 || len(salts) != 10 {
		t.Errorf("%d texts and %d salts of 10 rotations", len(seen), len(salts))
	}
}
