package lapse_test

import (
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestHistoriesFindPlantedFaultsInTies is the test above for what Rotate, Obtain and
// Pairs tie together.
func TestHistoriesFindPlantedFaultsInTies(t *testing.T) {
	unended := func(r storage.Record) storage.Record {
		r.EndedAt, r.EndReason = time.Time{}, 0
		return r
	}
	none := lapse.ID{}
	salted := func(r storage.Record) bool { return r.Prefix != "r" && r.Sealed.Len() > 2 }
	unrotated := func(r storage.Record) storage.Record {
		if r.EndReason == lapse.EndRotated && r.Prefix == "r" && r.Sealed.Len() > 0 {
			return unended(r)
		}
		return r
	}
	younger := func(r storage.Record) storage.Record {
		if r.EndReason == lapse.EndRotated && r.Prefix == "r" && r.Sealed.Len() > 0 {
			r.EndedAt = r.EndedAt.Add(time.Millisecond)
		}
		return r
	}
	for name, fault := range map[string]wrong{
		"a rotation leaves two live successors": {put: func(r storage.Record) storage.Record {
			if r.EndReason == lapse.EndRotated && r.Prefix != "r" && r.Predecessor != none && r.LastUsedAt.IsZero() {
				return unended(r)
			}
			return r
		}},
		"a rotation leaves two live predecessors": {put: func(r storage.Record) storage.Record {
			if r.EndReason == lapse.EndRotated && r.Successor != none && r.Prefix != "r" && r.ExpiresAt.Equal(r.MaxExpiresAt) {
				return unended(r)
			}
			return r
		}},
		"a leaked token lives on": {over: func(old, r storage.Record) storage.Record {
			if r.EndReason == lapse.EndRotated && old.Successor == none && r.Prefix != "r" {
				return unended(r)
			}
			return r
		}},
		"a renewal lengthens an overlap": {over: func(old, r storage.Record) storage.Record {
			if old.Successor != none && r.EndedAt.IsZero() && r.LastUsedAt.After(old.LastUsedAt) {
				r.ExpiresAt = r.LastUsedAt.Add(r.TTL)
				r.MaxExpiresAt = r.ExpiresAt
			}
			return r
		}},
		"another rotation lengthens an overlap": {over: func(old, r storage.Record) storage.Record {
			if old.Successor != none && old.Successor != r.Successor && r.EndedAt.IsZero() {
				r.ExpiresAt = r.ExpiresAt.Add(time.Minute)
				r.MaxExpiresAt = r.ExpiresAt
			}
			return r
		}},
		"a rotation gives a budget anew": {put: func(r storage.Record) storage.Record {
			if r.Predecessor != none && r.LastUsedAt.IsZero() {
				r.UsesLeft = r.MaxUses
			}
			return r
		}},
		"Obtain does not know its own": {put: func(r storage.Record) storage.Record {
			if salted(r) {
				r.Sealed = storage.NewSealed("?" + r.Sealed.Text()[1:])
			}
			return r
		}},
		"Obtain gives the one in its overlap": {records: func(r storage.Record) storage.Record {
			if salted(r) && r.EndedAt.IsZero() {
				r.Successor = none
			}
			return r
		}},
		"a replay forks the family": {
			get: unrotated, read: unrotated,
			over: func(old, r storage.Record) storage.Record {
				if old.EndReason == lapse.EndRotated {
					r.EndedAt, r.EndReason = old.EndedAt, old.EndReason
				}
				return r
			},
		},
		"a grace lasts a millisecond too long": {get: younger, read: younger},
		"a family is half ended by reuse": {put: func(r storage.Record) storage.Record {
			if r.EndReason == lapse.EndReused && r.Prefix == "c" {
				return unended(r)
			}
			return r
		}},
		"what is sealed stays": {over: func(old, r storage.Record) storage.Record {
			if old.Sealed.Len() > 0 {
				r.Sealed = old.Sealed
			}
			return r
		}},
		"a rotation restarts the cap": {put: func(r storage.Record) storage.Record {
			if r.Prefix == "r" && r.Predecessor != none && r.EndedAt.IsZero() && !r.MaxExpiresAt.IsZero() {
				r.MaxExpiresAt = r.MaxExpiresAt.Add(r.TTL)
			}
			return r
		}},
	} {
		t.Run(name, func(t *testing.T) { find(t, fault) })
	}
}
