package lapse_test

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
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
	wantIs(t, what, err, want)
}

// TestRotate: the token stays what it is, and has another secret and a new life.
func TestRotate(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 10 * time.Hour}})
	old := f.issue(lapse.Grant{Subject: "ana", Name: "key", Scope: "read write", Data: "data", TTL: 2 * time.Hour})
	f.clock.add(10 * time.Minute)
	if _, err := f.Authenticate(f.ctx, old.Bearer); err != nil {
		t.Fatal(err)
	}
	f.clock.add(20 * time.Minute)
	f.events = nil
	got := rotate(t, f, old.Bearer, time.Hour)
	at := startMilli.Add(30 * time.Minute)
	want := lapse.Token{
		ID: old.ID, Prefix: "lapse", Subject: "ana", Name: "key", Scope: "read write", Data: "data",
		IssuedAt: startMilli, LastUsedAt: startMilli.Add(10 * time.Minute), Generation: 1, RotatedAt: at,
		ExpiresAt: at.Add(2 * time.Hour), MaxExpiresAt: at.Add(10 * time.Hour),
	}
	wantDiff(t, "the token", want, got.Token)
	wantDiff(t, "what is stored", want, f.token(old.ID))
	wantDiff(t, "events", []lapse.Event{{Kind: lapse.EventRotated, At: at, Token: want}}, f.events)
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
	wantDiff(t, "after a use of the previous text", before, f.contents())
	f.clock.add(time.Minute)
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
			f.clock.add(row.after)
			got := rotate(t, f, old.Bearer, row.overlap)
			if row.use >= 0 {
				f.clock.add(row.use)
				if _, err := f.Authenticate(f.ctx, old.Bearer); err != nil {
					t.Errorf("%s: %v", row.name, err)
				}
				f.clock.add(-row.use)
			}
			f.clock.add(row.ends + after)
			f.events = nil
			_, err := f.Authenticate(f.ctx, old.Bearer)
			if after < 0 {
				wantIs(t, row.name+", before the end", err, nil)
				continue
			}
			var why *lapse.Rejection
			if !errors.Is(err, lapse.ErrReplaced) || !errors.As(err, &why) || *why != (lapse.Rejection{Err: lapse.ErrReplaced, ID: old.ID, Subject: "ana"}) {
				t.Errorf("%s, %v after the end: %v", row.name, after, err)
			}
			wantDiff(t, row.name+": events", []lapse.EventKind{lapse.EventSpent}, f.kinds())
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
			f.clock.add(30 * time.Minute)
			got, err := f.manager(lapse.Config{Policy: lapse.Policy{TTL: h, MaxTTL: row.rotated}}).Rotate(f.ctx, old.Bearer, 0)
			if err != nil {
				t.Fatal(err)
			}
			seen := f.manager(lapse.Config{Policy: lapse.Policy{TTL: h, MaxTTL: row.seen}})
			for range row.want/(30*time.Minute) - 1 {
				f.clock.add(30 * time.Minute)
				if _, err := seen.Authenticate(f.ctx, got.Bearer); err != nil {
					t.Fatalf("%s: %v", row.name, err)
				}
			}
			f.clock.add(30*time.Minute + after)
			_, err = seen.Authenticate(f.ctx, got.Bearer)
			want := lapse.ErrExpired
			if after < 0 {
				want = nil
			}
			wantIs(t, row.name, err, want)
		}
	}
}

// TestRotateUnderEachRenewal: a rotation begins a new life under every Renewal.
func TestRotateUnderEachRenewal(t *testing.T) {
	for _, renewal := range []lapse.Renewal{lapse.RenewDefault, lapse.RenewOnUse, lapse.RenewOnRequest, lapse.RenewNever} {
		f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: time.Hour, Renewal: renewal}})
		old := f.issue(lapse.Grant{Subject: "ana"})
		f.clock.add(time.Hour - time.Millisecond)
		if got := rotate(t, f, old.Bearer, 0); !got.ExpiresAt.Equal(startMilli.Add(2*time.Hour - time.Millisecond)) {
			t.Errorf("Renewal %d: it lives until %v", renewal, got.ExpiresAt)
		}
	}
}

// TestLateTouchStaysUnderTheCap: a use that was judged before a rotation, and is written
// after it, does not lengthen the new life past its cap.
func TestLateTouchStaysUnderTheCap(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		f := &fixture{t: t, ctx: t.Context(), clock: newClock(), store: store}
		f.Manager = f.manager(lapse.Config{Policy: lapse.Policy{TTL: 20 * time.Hour}})
		short := f.manager(lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 2 * time.Hour}})
		old := f.issue(lapse.Grant{Subject: "ana", TTL: 20 * time.Hour})
		f.clock.add(time.Minute)
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
		limit := startMilli.Add(2*time.Hour + time.Minute)
		if late.Generation != 1 || !late.MaxExpiresAt.Equal(limit) {
			t.Fatalf("as the touch came: %+v; it was to come late", late)
		}
		if got := f.record(old.ID); got.ExpiresAt.After(limit) || !got.LastUsedAt.Equal(startMilli.Add(time.Minute)) {
			t.Errorf("the record says %v, used at %v; its cap is %v", got.ExpiresAt, got.LastUsedAt, limit)
		}
		f.clock.set(limit)
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
			wantIs(t, name, err, lapse.ErrInvalidGrant)
			byID, errByID := f.RotateID(f.ctx, i.ID, overlap)
			wantIs(t, name+", by ID", errByID, lapse.ErrInvalidGrant)
			if got.Bearer != "" || byID.Bearer != "" || errors.Is(err, lapse.ErrUnauthenticated) {
				t.Errorf("%s: %v with a bearer: %v", name, err, got.Bearer != "")
			}
		})
		if len(calls) != 0 {
			t.Errorf("%s: it asked the store: %v", name, calls)
		}
	}
	_, err := f.manager(lapse.Config{Policy: lapse.Policy{MaxTTL: lapse.NoLimit}}).Rotate(f.ctx, i.Bearer, lapse.NoLimit)
	wantIs(t, "NoLimit without a cap", err, lapse.ErrInvalidGrant)
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
	f.clock.add(time.Minute)
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
		for _, what := range []string{"its end", "its parent's"} {
			f := newFixture(t, lapse.Config{})
			i := f.issue(lapse.Grant{Subject: "ana"})
			if what == "its parent's" {
				i = f.delegate(i, lapse.Grant{TTL: time.Hour})
			}
			f.store.Before(func(op opOf) {
				if op == opUpdate {
					f.store.Before(nil)
					f.clock.add(row.after)
				}
			})
			f.events = nil
			_, err := f.Rotate(f.ctx, i.Bearer, time.Second)
			wantIs(t, row.name+" "+what, err, row.want)
			if row.want != nil {
				wantDiff(t, row.name+": events", []lapse.EventKind{lapse.EventRejected}, f.kinds())
			}
		}
	}
}
