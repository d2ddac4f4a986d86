package lapse_test

import (
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestRenewalOfDelegates: what each renewal returns and tells is what every other call
// answers, whether the delegate or those above it run out first.
func TestRenewalOfDelegates(t *testing.T) {
	const m, h = time.Minute, time.Hour
	for _, row := range []struct {
		name            string
		parent, ttl     time.Duration
		uses            int // of the delegate, 0 for as often as it lives
		byUse, byCall   time.Duration
		toldUse, budget bool
	}{
		{name: "the delegate runs out first", parent: 10 * h, ttl: 30 * m, byUse: 40 * m, byCall: 50 * m, toldUse: true},
		{name: "the parent does", parent: 30 * m, ttl: 2 * h, byUse: 30 * m, byCall: 30 * m},
		{name: "the parent does once the delegate is renewed", parent: 35 * m, ttl: 30 * m, byUse: 35 * m, byCall: 35 * m, toldUse: true},
		{name: "a budget, the delegate first", parent: 10 * h, ttl: 30 * m, uses: 5, byUse: 40 * m, byCall: 50 * m, toldUse: true},
		{name: "a budget, the parent first", parent: 30 * m, ttl: 2 * h, uses: 5, byUse: 30 * m, byCall: 30 * m},
		{name: "a budget, the parent once the delegate is renewed", parent: 35 * m, ttl: 30 * m, uses: 5, byUse: 35 * m, byCall: 35 * m, toldUse: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{})
			parent := f.issue(lapse.Grant{Subject: "ana", TTL: row.parent})
			d := f.delegate(parent, lapse.Grant{TTL: row.ttl, MaxUses: row.uses})
			f.events = nil
			f.clock.add(10 * m)
			got, err := f.Authenticate(f.ctx, d.Bearer)
			wantIs(t, "Authenticate", err, nil)
			wantDiff(t, "used and seen", f.seen(d), got)
			if want := startMilli.Add(row.byUse); !got.ExpiresAt.Equal(want) {
				t.Errorf("a use renews until %v; want %v", got.ExpiresAt, want)
			}
			told := []lapse.Event{{Kind: lapse.EventRenewed, At: startMilli.Add(10 * m), Token: got}}
			if !row.toldUse {
				told = nil
			}
			wantDiff(t, "events of the use", told, f.events)
			f.events = nil
			f.clock.add(10 * m)
			got, err = f.Renew(f.ctx, d.Bearer)
			wantIs(t, "Renew", err, nil)
			wantDiff(t, "renewed and seen", f.seen(d), got)
			if want := startMilli.Add(row.byCall); !got.ExpiresAt.Equal(want) {
				t.Errorf("Renew renews until %v; want %v", got.ExpiresAt, want)
			}
			wantDiff(t, "events of Renew", []lapse.Event{{Kind: lapse.EventRenewed, At: startMilli.Add(20 * m), Token: got}}, f.events)
		})
	}
}

// TestParentDiesBeforeTheTurn: a verb that was judged in time, but whose turn came
// after a parent had run out or was ended, is refused and writes nothing.
func TestParentDiesBeforeTheTurn(t *testing.T) {
	verbs := map[string]func(f *fixture, i lapse.Issued) error{
		"Renew": func(f *fixture, i lapse.Issued) error {
			_, err := f.Renew(f.ctx, i.Bearer)
			return err
		},
		"Authenticate": func(f *fixture, i lapse.Issued) error {
			_, err := f.Authenticate(f.ctx, i.Bearer)
			return err
		},
		"Delegate": func(f *fixture, i lapse.Issued) error {
			_, err := f.Delegate(f.ctx, i.Bearer, lapse.Grant{})
			return err
		},
	}
	for name, verb := range verbs {
		for end, happens := range map[string]func(f *fixture, parent lapse.Issued){
			"ran out": func(f *fixture, _ lapse.Issued) { f.clock.add(30 * time.Minute) },
			"ended":   func(f *fixture, parent lapse.Issued) { f.Expire(f.ctx, parent.ID) },
			"swept": func(f *fixture, _ lapse.Issued) {
				f.clock.add(26 * time.Hour)
				if n, err := f.Sweep(f.ctx); n != 1 || err != nil {
					f.t.Errorf("Sweep: %d, %v", n, err)
				}
			},
		} {
			t.Run(name+"/"+end, func(t *testing.T) {
				f := newFixture(t, lapse.Config{})
				parent := f.issue(lapse.Grant{Subject: "ana"})
				uses := map[bool]int{true: 2}[name == "Authenticate"]
				d := f.delegate(parent, lapse.Grant{TTL: 100 * time.Hour, MaxUses: uses})
				f.store.Before(func(op storagetest.Op) {
					if op == opUpdate {
						f.store.Before(nil)
						happens(f, parent)
					}
				})
				f.events = nil
				err := verb(f, d)
				wantIs(t, "error", err, map[string]error{"ended": lapse.ErrRevoked, "ran out": lapse.ErrExpired, "swept": lapse.ErrExpired}[end])
				if last := f.events[len(f.events)-1]; last.Kind != lapse.EventRejected {
					t.Errorf("last event %v; want the rejection", last.Kind)
				}
				if tok := f.seen(d); !tok.LastUsedAt.IsZero() || tok.UsesLeft != uses {
					t.Errorf("%+v; want it unused", tok)
				}
			})
		}
	}
}

// TestLoweredCapOfTheFirst: the cap of a policy that was lowered counts from the issue
// of the first, and binds all below it, those that are delegated later as well.
func TestLoweredCapOfTheFirst(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: 10 * time.Hour}})
	first := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.add(30 * time.Minute)
	near := f.delegate(first, lapse.Grant{TTL: 9 * time.Hour})
	f.clock.add(10 * time.Minute)
	f.Manager = f.manager(lapse.Config{Policy: lapse.Policy{TTL: time.Minute, MaxTTL: time.Hour}})
	limit := startMilli.Add(time.Hour)
	far := f.delegate(near, lapse.Grant{TTL: 50 * time.Minute})
	wantDiff(t, "reduced", []string{"TTL"}, far.Reduced)
	for n, i := range []lapse.Issued{near, far} {
		if tok := f.seen(i); !tok.ExpiresAt.Equal(limit) || !tok.MaxExpiresAt.Equal(limit) {
			t.Errorf("token %d: until %v, cap %v; want %v", n, tok.ExpiresAt, tok.MaxExpiresAt, limit)
		}
	}
	wantDiff(t, "issued and seen", f.seen(far), far.Token)
	tok, err := f.Renew(f.ctx, far.Bearer)
	if err != nil || !tok.ExpiresAt.Equal(limit) {
		t.Errorf("Renew: until %v, %v", tok.ExpiresAt, err)
	}
	f.clock.set(limit)
	for _, i := range []lapse.Issued{near, far} {
		_, err := f.Peek(f.ctx, i.Bearer)
		wantIs(t, "at the lowered cap", err, lapse.ErrExpired)
	}
	if ended, err := f.Expire(f.ctx, near.ID); !ended || err != nil {
		t.Errorf("Expire of one that a policy alone keeps out: %v, %v; want it ended for good", ended, err)
	}
	f.Manager = f.manager(lapse.Config{})
	_, err = f.Peek(f.ctx, near.Bearer)
	wantIs(t, "under the first policy again", err, lapse.ErrRevoked)
}
