package lapse_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestMixtureFindsFaults: what makes no sense is found, or TestMixture means nothing.
func TestMixtureFindsFaults(t *testing.T) {
	for name, plant := range map[string]func(x *mixture, old, next, child, other lapse.Issued){
		"": func(*mixture, lapse.Issued, lapse.Issued, lapse.Issued, lapse.Issued) {},
		"an end that nobody was told of": func(x *mixture, old, _, _, _ lapse.Issued) {
			x.change(old.ID, func(r *storage.Record) { r.EndedAt, r.EndReason = startMilli, lapse.EndExpired })
		},
		"an end told twice": func(x *mixture, _, _, _, other lapse.Issued) {
			x.ExpireBearer(x.ctx, other.Bearer)
			x.events = append(x.events, x.events...)
		},
		"an end told and not stored": func(x *mixture, _, _, _, other lapse.Issued) {
			other.EndedAt, other.EndReason = startMilli, lapse.EndExpired
			x.events = append(x.events, lapse.Event{Kind: lapse.EventEnded, Token: other.Token})
		},
		"an issue told twice": func(x *mixture, _, _, _, other lapse.Issued) {
			x.events = append(x.events, lapse.Event{Kind: lapse.EventIssued, Token: other.Token})
		},
		"an issue that nobody was told of": func(x *mixture, _, _, _, _ lapse.Issued) {
			x.issue(lapse.Grant{Subject: "ana"})
			x.events = nil
		},
		"a shorter life": func(x *mixture, _, _, _, other lapse.Issued) {
			x.change(other.ID, func(r *storage.Record) { r.ExpiresAt = r.ExpiresAt.Add(-time.Millisecond) })
		},
		"another family than its parent": func(x *mixture, _, _, child, other lapse.Issued) {
			x.change(child.ID, func(r *storage.Record) { r.Family = other.ID })
		},
		"two successors": func(x *mixture, old, _, _, other lapse.Issued) {
			x.change(other.ID, func(r *storage.Record) { r.Predecessor = old.ID })
		},
		"a predecessor of one that is rotated": func(x *mixture, _, next, _, other lapse.Issued) {
			x.change(next.ID, func(r *storage.Record) { r.Successor = other.ID })
		},
		"two of Obtain": func(x *mixture, old, next, _, _ lapse.Issued) {
			x.change(next.ID, func(r *storage.Record) { r.Predecessor = lapse.ID{} })
			x.change(old.ID, func(r *storage.Record) { r.Successor = lapse.ID{} })
		},
		"one too many": func(x *mixture, _, _, _, _ lapse.Issued) {
			for range x.policy.MaxTokens {
				x.manager(lapse.Config{}).Issue(x.ctx, lapse.Grant{Subject: "ana"})
			}
		},
	} {
		x := newMixture(t, rand.New(rand.NewPCG(0, 0)))
		old := obtain(t, x.fixture, x.Manager, lapse.Grant{Subject: "ana"})
		next := rotate(t, x.fixture, old.Bearer, time.Minute)
		child, other := x.delegate(next, lapse.Grant{}), x.issue(lapse.Grant{Subject: "ana", Name: "other"})
		if err := x.fault(false); err != nil {
			t.Fatal(err)
		}
		plant(x, old, next, child, other)
		if err := x.fault(false); (err == nil) != (name == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
	x := newMixture(t, rand.New(rand.NewPCG(0, 0)))
	i := x.issue(lapse.Grant{Subject: "ana"})
	if err := x.fault(true); err == nil {
		t.Error("what failed has issued a token, and that is not found")
	}
	x.clock.add(time.Minute)
	if _, err := x.Authenticate(x.ctx, i.Bearer); err != nil {
		t.Fatal(err)
	}
	if err := x.fault(true); err == nil {
		t.Error("what failed has changed a record, and that is not found")
	}
}
