package storagetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// BenchmarkWalk measures a store whose Living walks the dead, as Bench measures any other:
// it shows what Bench is to find.
func BenchmarkWalk(b *testing.B) {
	benchDead(b, Backend{Open: func(testing.TB) storage.Store { return newToy() }}, 10_000)
}

func livingLike(living func(t *toyTx, now time.Time) []storage.Record) func(*toy) storage.Store {
	return tuned(func(t *toy) { t.living = living })
}

func livingFlaws() []flaw {
	return []flaw{
		{"yields_the_dead_instead", []string{"S27", "S30", "S31", "S33", "S36"}, livingLike(func(t *toyTx, now time.Time) (all []storage.Record) {
			for _, r := range t.records {
				if t.toy.belongs(r, t.subject) && !r.Live(now) {
					all = append(all, r)
				}
			}
			slices.SortFunc(all, byID)
			return all
		})},
		{"living_by_expiry", []string{"S30", "S31"}, livingLike(func(t *toyTx, now time.Time) []storage.Record {
			all := t.walk(now)
			slices.SortStableFunc(all, func(a, b storage.Record) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
			return all
		})},
		{"living_twice", []string{"S30", "S31", "S36"}, livingLike(func(t *toyTx, now time.Time) (all []storage.Record) {
			for _, r := range t.walk(now) {
				all = append(all, r, r)
			}
			return all
		})},
		{"living_of_others", []string{"S30"}, livingLike(func(t *toyTx, now time.Time) []storage.Record {
			all := t.walk(now)
			for _, r := range t.records {
				if r.Live(now) && r.Subject == "bob" && t.subject == "ana" {
					all = append(all, r)
				}
			}
			slices.SortFunc(all, byID)
			return all
		})},
		{"living_before_the_tx", []string{"S30"}, livingLike(func(t *toyTx, now time.Time) []storage.Record {
			before := *t
			before.records, before.put = t.toy.records, nil
			return before.walk(now)
		})},
		{"misses_the_last_instant", []string{"S30", "S31"}, livingLike(func(t *toyTx, now time.Time) []storage.Record {
			return t.walk(now.Add(time.Millisecond))
		})},
		{"never_looks_back", []string{"S30"}, func(t *toy) storage.Store { return newBuried(t, false, true, true) }},
		{"buries_what_is_touched", []string{"S30"}, func(t *toy) storage.Store { return newBuried(t, true, false, true) }},
		{"buries_what_is_put", []string{"S30"}, func(t *toy) storage.Store { return newBuried(t, true, true, false) }},
	}
}

// buried remembers of who was found dead once when that had expired, and goes by it until
// a Put or a Touch of the record has it forget that.
type buried struct {
	*toy
	dead        map[storage.ID]time.Time
	touch, puts bool // which of the two has it forget
}

// newBuried returns a store that forgets by a Put or a Touch, and one that looks back, or
// not: for which a record that was found dead lives at no earlier instant.
func newBuried(t *toy, back, touch, puts bool) storage.Store {
	b := buried{t, make(map[storage.ID]time.Time), touch, puts}
	t.living = func(tx *toyTx, now time.Time) (all []storage.Record) {
		for _, r := range tx.records {
			if !tx.toy.belongs(r, tx.subject) || !r.EndedAt.IsZero() {
				continue
			}
			expiry, known := b.dead[r.ID]
			switch {
			case known && (!back || !now.Before(expiry)):
			case known || r.Live(now):
				all = append(all, r)
			default:
				b.dead[r.ID] = r.ExpiresAt
			}
		}
		slices.SortFunc(all, byID)
		return all
	}
	return b
}

func (b buried) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	err := b.toy.Touch(ctx, id, use)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.touch {
		delete(b.dead, id)
	}
	return err
}

func (b buried) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return b.toy.Update(ctx, subject, func(tx storage.Tx) error { return fn(buriedTx{tx, b}) })
}

type buriedTx struct {
	storage.Tx
	buried
}

func (b buriedTx) Put(r storage.Record) error {
	if b.puts {
		delete(b.dead, r.ID)
	}
	return b.Tx.Put(r)
}
