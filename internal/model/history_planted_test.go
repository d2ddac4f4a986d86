package model

import (
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// changed is a fault that changes the records of which that is so.
func changed(where func(r *storage.Record) bool, change func(r *storage.Record)) func(storage.Record) storage.Record {
	return func(r storage.Record) storage.Record {
		if where(&r) {
			change(&r)
		}
		return r
	}
}

// historyFaults are faults in what a store keeps of a life, a budget and a delegation.
func historyFaults() map[string]lapsetest.Wrong {
	any := func(*storage.Record) bool { return true }
	delegate := func(r *storage.Record) bool { return r.Parent != (lapse.ID{}) }
	alias := func(r *storage.Record) bool { return r.Kind == storage.KindAlias }
	ended := func(why lapse.EndReason) func(*storage.Record) bool {
		return func(r *storage.Record) bool { return r.EndReason == why }
	}
	revive := func(r *storage.Record) { r.EndedAt, r.EndReason = time.Time{}, 0 }
	return map[string]lapsetest.Wrong{
		"expires a millisecond late": {OnGet: changed(any, func(r *storage.Record) { r.ExpiresAt = r.ExpiresAt.Add(time.Millisecond) })},
		"forgets ends":               {OnGet: changed(any, revive)},
		"forgets the cap":            {OnPut: changed(any, func(r *storage.Record) { r.MaxExpiresAt = time.Time{} })},
		"hides the dead":             {OnList: func(r storage.Record) bool { return r.EndedAt.IsZero() }},
		"loses renewals by use":      {OnTouch: func(storage.Use) storage.Use { return storage.Use{} }},
		"sweeps at the instant":      {OnSweep: func(before time.Time) time.Time { return before.Add(time.Millisecond) }},
		"sweeps too little":          {OnSweep: func(before time.Time) time.Time { return before.Add(-time.Millisecond) }},
		"ends with another reason":   {OnPut: changed(ended(lapse.EndEvicted), func(r *storage.Record) { r.EndReason = lapse.EndRevoked })},
		"a leak leaves delegates":    {OnPut: changed(ended(lapse.EndRotated), revive)},
		"a delegate outlives its parent": {OnGet: changed(func(r *storage.Record) bool { return r.ID == r.Family }, func(r *storage.Record) {
			r.ExpiresAt = r.ExpiresAt.Add(time.Hour)
		})},
		"a delegate passes the cap of its parent": {OnPut: changed(delegate, func(r *storage.Record) { r.MaxExpiresAt = r.MaxExpiresAt.Add(time.Millisecond) })},
		"forgets whose delegate it is":            {OnPut: changed(delegate, func(r *storage.Record) { r.Parent = lapse.ID{} })},
		"forgets families":                        {OnPut: changed(any, func(r *storage.Record) { r.Family = lapse.ID{} })},
		"gives a use for nothing":                 {OnPut: changed(func(r *storage.Record) bool { return r.UsesLeft == 1 && r.MaxUses == 2 }, func(r *storage.Record) { r.UsesLeft = 2 })},
		"lets the exhausted live":                 {OnPut: changed(ended(lapse.EndExhausted), revive)},
		"a reused session lives":                  {OnPut: changed(ended(lapse.EndReused), revive)},
		"a rotation lengthens no life": {OnOver: func(old, r storage.Record) storage.Record {
			if old.Generation != r.Generation && r.Kind == lapse.KindPlain {
				r.RotatedAt = old.RotatedAt
			}
			return r
		}},
		"a refresh restarts the cap": {OnOver: func(old, r storage.Record) storage.Record {
			if old.Generation != r.Generation && r.Kind == lapse.KindSession && !r.MaxExpiresAt.IsZero() {
				r.MaxExpiresAt = r.MaxExpiresAt.Add(r.TTL)
			}
			return r
		}},
		"forgets when the user was present": {OnPut: changed(func(r *storage.Record) bool { return !r.AuthenticatedAt.IsZero() && r.Parent == (lapse.ID{}) }, func(r *storage.Record) {
			r.AuthenticatedAt = time.Time{}
		})},
		"forgets a suspension": {OnGet: changed(any, func(r *storage.Record) { r.SuspendedAt = time.Time{} })},
		"a rotation resumes": {OnOver: func(old, r storage.Record) storage.Record {
			if old.Generation != r.Generation {
				r.SuspendedAt = time.Time{}
			}
			return r
		}},
		"binds to another key": {OnGet: changed(func(r *storage.Record) bool { return r.Thumbprint != (lapse.Thumbprint{}) }, func(r *storage.Record) {
			r.Thumbprint[0] ^= 3
		})},
		"a refresh forgets the client": {OnOver: func(old, r storage.Record) storage.Record {
			if old.Generation != r.Generation {
				r.Client = ""
			}
			return r
		}},
		"Obtain does not know its own": {OnPut: changed(func(r *storage.Record) bool { return r.Sealed.Len() == 34 }, func(r *storage.Record) {
			r.Sealed = storage.NewSealed("?" + r.Sealed.Text()[1:])
		})},
		"a foreign text finds no token": {OnGet: changed(alias, func(r *storage.Record) {
			r.Sealed = storage.NewSealed(r.Sealed.Text()[:2] + string(make([]byte, 16)) + r.Sealed.Text()[18:])
		})},
		"a request is made twice":         {OnRead: changed(alias, func(r *storage.Record) { r.ExpiresAt = r.IssuedAt })},
		"forgets the living alone":        {OnDelete: func(r storage.Record) bool { return r.EndedAt.IsZero() }},
		"forgets no session":              {OnDelete: func(r storage.Record) bool { return r.Kind != lapse.KindSession }},
		"a page hides what never expires": {OnList: func(r storage.Record) bool { return !r.MaxExpiresAt.IsZero() }},
		"acknowledges what it did not do": {OnUpdate: func(n int) bool { return n%29 != 0 }},
	}
}

// historySeeds names a script that finds each fault which fewer than one script in five finds: to
// play the scripts before that one takes most of the time of the test. The other faults are sought
// from script 0 on.
var historySeeds = map[string]uint64{
	"a delegate outlives its parent":          5,
	"a delegate passes the cap of its parent": 5,
	"a leak leaves delegates":                 161,
	"a rotation resumes":                      77,
	"ends with another reason":                30,
	"forgets a suspension":                    35,
	"forgets ends":                            5,
	"forgets families":                        5,
	"forgets the living alone":                10,
	"forgets when the user was present":       6,
	"forgets whose delegate it is":            5,
	"loses renewals by use":                   6,
	"sweeps at the instant":                   12,
	"sweeps too little":                       24,
}

// TestHistoriesFindPlantedFaults: each of these must be found by one of 200 scripts, or
// TestHistories proves nothing. The script of historySeeds is tried first, then the rest.
func TestHistoriesFindPlantedFaults(t *testing.T) {
	for name, fault := range historyFaults() {
		t.Run(name, func(t *testing.T) {
			for n := range uint64(200) {
				seed := (historySeeds[name] + n) % 200
				store := fault
				store.Store = memory.New()
				if play(script(seed, 1500), &store, nil) != nil {
					t.Logf("found by script %d, the %d. tried", seed, n+1)
					return
				}
			}
			t.Error("not found")
		})
	}
}
