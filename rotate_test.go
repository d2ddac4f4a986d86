package lapse_test

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

func rotate(t *testing.T, f *fixture, bearer string, overlap time.Duration) lapse.Issued {
	t.Helper()
	i, err := f.Rotate(f.ctx, bearer, overlap)
	if err != nil {
		t.Fatalf("Rotate: %v", err)
	}
	if tok, err := f.Peek(f.ctx, i.Bearer); err != nil || tok != i.Token {
		t.Fatalf("Peek of the successor: %+v, %v; want %+v", tok, err, i.Token)
	}
	return i
}

// wantPeek: the bearer is good, or refused as want says.
func (f *fixture) wantPeek(t *testing.T, what, bearer string, want error) {
	t.Helper()
	_, err := f.Peek(f.ctx, bearer)
	wantIs(t, what, err, want)
}

func TestRotate(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 10 * time.Hour}})
	old := f.issue(lapse.Grant{Subject: "ana", Name: "key", Scope: "read write", Data: "data", TTL: 2 * time.Hour})
	f.clock.add(30 * time.Minute)
	f.events = nil
	got := rotate(t, f, old.Bearer, time.Hour)
	at := startMilli.Add(30 * time.Minute)
	wantDiff(t, "successor", lapse.Token{
		ID: got.ID, Prefix: "lapse", Subject: "ana", Name: "key", Scope: "read write", Data: "data",
		IssuedAt: at, ExpiresAt: at.Add(2 * time.Hour), MaxExpiresAt: at.Add(10 * time.Hour),
		Family: old.ID, Predecessor: old.ID,
	}, got.Token)
	want := old.Token
	want.Family, want.Successor = old.ID, got.ID
	want.ExpiresAt, want.MaxExpiresAt = at.Add(time.Hour), at.Add(time.Hour)
	wantDiff(t, "predecessor", want, f.token(old.ID))
	if got := f.record(old.ID).ExpiresAt; !got.Equal(want.ExpiresAt) {
		t.Errorf("the record of the predecessor says %v; Sweep and lists go by that", got)
	}
	wantDiff(t, "events", []lapse.Event{{Kind: lapse.EventIssued, At: at, Token: got.Token}}, f.events)
	if got.Bearer == old.Bearer || got.Reused {
		t.Errorf("the bearer is the same: %v, Reused %v", got.Bearer == old.Bearer, got.Reused)
	}
	f.clock.add(time.Hour)
	renewed, err := f.Authenticate(f.ctx, got.Bearer)
	if err != nil || !renewed.ExpiresAt.Equal(at.Add(3*time.Hour)) {
		t.Errorf("a use of the successor: %+v, %v; want it renewed by its own TTL", renewed, err)
	}
}

// TestOverlapEdges asks both tokens around each end that an overlap can have.
func TestOverlapEdges(t *testing.T) {
	const day = 24 * time.Hour
	for _, row := range []struct {
		name    string
		ttl     time.Duration
		overlap time.Duration
		use     time.Duration // the old one is used then, after the rotation, which renews what can be
		ends    time.Duration // after the rotation
		reason  lapse.EndReason
	}{
		{"none", day, 0, -1, 0, lapse.EndRotated},
		{"a millisecond", day, time.Millisecond, -1, time.Millisecond, 0},
		{"a millisecond and a part", day, 1900 * time.Microsecond, -1, time.Millisecond, 0},
		{"an hour", day, time.Hour, -1, time.Hour, 0},
		{"an hour, used meanwhile", day, time.Hour, 59 * time.Minute, time.Hour, 0},
		{"as long as its own", 2 * time.Hour, 2 * time.Hour, -1, 2 * time.Hour, 0},
		{"longer than its own", 2 * time.Hour, day, -1, 2 * time.Hour, 0},
		{"longer than its own, used meanwhile", 2 * time.Hour, day, time.Hour, 2 * time.Hour, 0},
		{"the cap", day, 30 * day, -1, day, 0},
	} {
		for _, after := range []time.Duration{-time.Millisecond, 0, time.Millisecond} {
			if row.ends+after < 0 {
				continue
			}
			f := newFixture(t, lapse.Config{})
			old := f.issue(lapse.Grant{Subject: "ana", TTL: row.ttl})
			got := rotate(t, f, old.Bearer, row.overlap)
			if row.use >= 0 {
				f.clock.add(row.use)
				if _, err := f.Authenticate(f.ctx, old.Bearer); err != nil {
					t.Errorf("%s: %v", row.name, err)
				}
				f.clock.add(-row.use)
			}
			f.clock.add(row.ends + after)
			tok, err := f.Authenticate(f.ctx, old.Bearer)
			if after < 0 {
				if err != nil || !tok.ExpiresAt.Equal(startMilli.Add(row.ends)) {
					t.Errorf("%s, before the end: %v, %v", row.name, tok.ExpiresAt, err)
				}
				continue
			}
			var why *lapse.Rejection
			if !errors.Is(err, lapse.ErrExpired) || !errors.As(err, &why) || why.Reason != row.reason || !why.At.Equal(startMilli.Add(row.ends)) {
				t.Errorf("%s, %v after the end: %v", row.name, after, err)
			}
			if row.ends+after < row.ttl {
				f.wantPeek(t, row.name+": the successor", got.Bearer, nil)
			}
		}
	}
}

// TestLateTouchCannotLengthenAnOverlap: a use that was on its way into the store when
// the token was rotated raises its expiry, and the cap decides.
func TestLateTouchCannotLengthenAnOverlap(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	old := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.add(time.Minute)
	f.store.Before(func(op opOf) {
		if op != opTouch {
			return
		}
		f.store.Before(nil)
		rotate(t, f, old.Bearer, time.Minute)
	})
	if _, err := f.Authenticate(f.ctx, old.Bearer); err != nil {
		t.Fatal(err)
	}
	if got := f.record(old.ID).ExpiresAt; !got.Equal(startMilli.Add(31 * time.Minute)) {
		t.Fatalf("the record says %v; the touch did not come late", got)
	}
	f.clock.add(time.Minute - time.Millisecond)
	f.wantPeek(t, "before the overlap's end", old.Bearer, nil)
	f.clock.add(time.Millisecond)
	f.wantPeek(t, "at the overlap's end", old.Bearer, lapse.ErrExpired)
	if tok, err := f.manager(lapse.Config{Prefix: "other"}).Token(f.ctx, old.ID); err != nil || tok.Live(f.clock.Now()) {
		t.Errorf("another Manager takes it for alive: %+v, %v", tok, err)
	}
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
			wantIs(t, name, err, lapse.ErrInvalidGrant)
			if got.Bearer != "" || errors.Is(err, lapse.ErrUnauthenticated) {
				t.Errorf("%s: %v with a bearer: %v", name, err, got.Bearer != "")
			}
		})
		if len(calls) != 0 {
			t.Errorf("%s: it asked the store: %v", name, calls)
		}
	}
	_, err := f.manager(lapse.Config{Policy: lapse.Policy{MaxTTL: lapse.NoLimit}}).Rotate(f.ctx, i.Bearer, lapse.NoLimit)
	wantIs(t, "NoLimit without a cap", err, lapse.ErrInvalidGrant)
	once := f.issue(lapse.Grant{Subject: "ana", MaxUses: 2})
	before := f.contents()
	_, err = f.Rotate(f.ctx, once.Bearer, time.Millisecond)
	wantIs(t, "a budget in two hands", err, lapse.ErrInvalidGrant)
	wantDiff(t, "contents", before, f.contents())
	rotate(t, f, i.Bearer, time.Hour+time.Millisecond-1) // rounded down
}

// TestRotateNeedsAGoodToken: in each case what Authenticate says, and no change.
func TestRotateNeedsAGoodToken(t *testing.T) {
	var refused error
	f := newFixture(t, lapse.Config{})
	strict := f.manager(lapse.Config{CheckSubject: f.checks(&refused)})
	i, ended, ran := f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana", TTL: time.Minute})
	f.Expire(f.ctx, ended.ID)
	f.clock.add(time.Minute)
	forged := f.manager(lapse.Config{Prefix: "other"})
	before := f.contents()
	for _, row := range []struct {
		name, bearer string
		m            *lapse.Manager
		check, want  error
	}{
		{"no token", "nonsense", f.Manager, nil, lapse.ErrMalformed},
		{"ended", ended.Bearer, f.Manager, nil, lapse.ErrExpired},
		{"ran out", ran.Bearer, f.Manager, nil, lapse.ErrExpired},
		{"another Manager's", i.Bearer, forged, nil, lapse.ErrUnknown},
		{"subject refused", i.Bearer, strict, lapse.ErrSubjectRefused, lapse.ErrSubjectRefused},
		{"subject unknown", i.Bearer, strict, errDisk, errDisk},
	} {
		refused, f.events = row.check, nil
		_, err := row.m.Rotate(f.ctx, row.bearer, 0)
		wantIs(t, row.name, err, row.want)
		if row.want != errDisk {
			wantIs(t, row.name, err, lapse.ErrUnauthenticated)
			wantDiff(t, row.name+": events", []lapse.EventKind{lapse.EventRejected}, f.kinds())
		}
	}
	wantDiff(t, "contents", before, f.contents())
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
		f := newFixture(t, lapse.Config{})
		parent := f.issue(lapse.Grant{Subject: "ana"})
		delegate, err := f.Delegate(f.ctx, parent.Bearer, lapse.Grant{TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for what, bearer := range map[string]string{"its end": parent.Bearer, "its parent's": delegate.Bearer} {
			f.store.Before(func(op opOf) {
				if op == opUpdate {
					f.store.Before(nil)
					f.clock.add(row.after)
				}
			})
			f.events = nil
			_, err := f.Rotate(f.ctx, bearer, time.Second)
			wantIs(t, row.name+" "+what, err, row.want)
			if row.want != nil {
				wantDiff(t, row.name+": events", []lapse.EventKind{lapse.EventRejected}, f.kinds())
			}
			f.clock.add(-row.after)
		}
	}
}
