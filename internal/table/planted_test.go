package table

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// The planted faults are tables that do one thing wrong.
type (
	losesTouches   struct{ *Table } // in Put
	deletesAt      struct{ *Table } // what dies at the very instant
	leavesDead     struct{ *Table } // the last one that TakeDead finds
	forgetsMarks   struct{ *Table } // of Touch
	listsTooFew    struct{ *Table } // of a subject
	revives        struct{ *Table } // the ended, with Touch
	overlooksEnded struct{ *Table } // in Before
	passesCap      struct{ *Table } // in Touch
	mergesPastCap  struct{ *Table } // what was raised before, in Put
	losesEarlier   struct{ *Table } // what has run out since, in Living
	yieldsDead     struct{ *Table } // at the very instant, in Living
	fillsOneStep   struct{ *Table } // of the records, in Fill
)

func (f fillsOneStep) Fill(records []storage.Record) {
	f.Table.Fill(records[:min(len(records), FillStep)])
}

func (f losesTouches) Put(r *storage.Record, _ storage.Use) {
	var old storage.Record
	f.Get(r.ID, &old)
	f.Table.Put(r, storage.Use{At: old.LastUsedAt, ExpiresAt: old.ExpiresAt})
}

func (f deletesAt) TakeDead(before time.Time, n int, busy func(storage.ID) bool) ([]storage.ID, bool) {
	return f.Table.TakeDead(before.Add(time.Millisecond), n, busy)
}

func (f leavesDead) TakeDead(before time.Time, n int, busy func(storage.ID) bool) ([]storage.ID, bool) {
	gone, more := f.Table.TakeDead(before, n, busy)
	return gone, more && len(gone) > 0
}

func (f forgetsMarks) Touch(id storage.ID, use storage.Use) bool {
	marked := f.TakeUnsaved(1<<20, new(atomic.Int64))
	defer func() {
		f.TakeUnsaved(1<<20, new(atomic.Int64))
		for _, id := range marked {
			f.MarkUnsaved(id)
		}
	}()
	return f.Table.Touch(id, use)
}

func (f listsTooFew) Subject(ids []storage.ID, subject string) []storage.ID {
	got := f.Table.Subject(ids, subject)
	return got[:max(len(ids), min(len(got), len(ids)+4))]
}

func (f revives) Touch(id storage.ID, use storage.Use) bool {
	var r storage.Record
	if f.Get(id, &r) && r.EndedAt.After(use.At) {
		r.EndedAt, r.EndReason = time.Time{}, 0
		f.Table.Put(&r, storage.Use{At: r.LastUsedAt, ExpiresAt: r.ExpiresAt})
	}
	return f.Table.Touch(id, use)
}

func (f overlooksEnded) Before(before time.Time) []storage.ID {
	return slices.DeleteFunc(f.Table.Before(before), func(id storage.ID) bool {
		var r storage.Record
		return f.Get(id, &r) && !r.ExpiresAt.Before(before)
	})
}

func (f passesCap) Touch(id storage.ID, use storage.Use) bool {
	_, c := f.find(f.key(&id))
	if c == nil || int64(c.load(wEnded)) != zeroMilli || milli(use.ExpiresAt) <= int64(c.load(wExpires)) {
		return f.Table.Touch(id, use)
	}
	f.Table.Touch(id, use)
	c.store(wExpires, uint64(milli(use.ExpiresAt)))
	f.MarkUnsaved(id)
	return true
}

func (f mergesPastCap) Put(r *storage.Record, seen storage.Use) {
	var old storage.Record
	known := f.Get(r.ID, &old)
	f.Table.Put(r, seen)
	if known && r.EndedAt.IsZero() && old.ExpiresAt.After(seen.ExpiresAt) && old.ExpiresAt.After(r.ExpiresAt) {
		_, c := f.find(f.key(&r.ID))
		c.store(wExpires, uint64(milli(old.ExpiresAt)))
	}
}

// hasAside reports whether Living has put the record aside as one that has run out.
func (t *Table) hasAside(id storage.ID) bool {
	_, c := t.find(t.key(&id))
	return c != nil && c.load(wMeta)&inExpired != 0
}

// forgets is a table whose Living forgets some of what came back.
type forgets struct {
	*Table
	touched, put bool // which of that
	lost         map[storage.ID]bool
}

func (f forgets) Touch(id storage.ID, use storage.Use) bool {
	lost := f.touched && f.hasAside(id)
	rose := f.Table.Touch(id, use)
	if lost && !f.hasAside(id) {
		f.lost[id] = true
	}
	return rose
}

func (f forgets) Put(r *storage.Record, seen storage.Use) {
	lost := f.put && f.hasAside(r.ID)
	f.Table.Put(r, seen)
	if delete(f.lost, r.ID); lost && !f.hasAside(r.ID) {
		f.lost[r.ID] = true
	}
}

func (f forgets) Living(ids []storage.ID, subject string, now time.Time, keep func(storage.ID) bool) []storage.ID {
	return slices.DeleteFunc(f.Table.Living(ids, subject, now, keep), func(id storage.ID) bool { return f.lost[id] })
}

func (f losesEarlier) Living(ids []storage.ID, subject string, now time.Time, keep func(storage.ID) bool) []storage.ID {
	return slices.DeleteFunc(f.Table.Living(ids, subject, now, keep), f.hasAside)
}

func (f yieldsDead) Living(ids []storage.ID, subject string, now time.Time, keep func(storage.ID) bool) []storage.ID {
	return f.Table.Living(ids, subject, now.Add(-time.Millisecond), keep)
}

// verdict is a test that may fail.
type verdict struct {
	testing.TB
	failed bool
}

func (v *verdict) Helper() {}
func (v *verdict) fail() {
	v.failed = true
	runtime.Goexit()
}
func (v *verdict) Fatal(...any)          { v.fail() }
func (v *verdict) Fatalf(string, ...any) { v.fail() }

// The model finds every planted fault with so many seeds, and IDs that come about in
// this way; TestModel is never shorter than that.
const (
	plantedSeeds = 4
	planted      = "random"
)

// TestModelCatches gives the model a sound table and then faulty ones.
func TestModelCatches(t *testing.T) {
	for name, plant := range map[string]func(*Table) asked{
		"sound":           func(table *Table) asked { return table },
		"loses touches":   func(table *Table) asked { return losesTouches{table} },
		"deletes at":      func(table *Table) asked { return deletesAt{table} },
		"leaves dead":     func(table *Table) asked { return leavesDead{table} },
		"forgets marks":   func(table *Table) asked { return forgetsMarks{table} },
		"lists too few":   func(table *Table) asked { return listsTooFew{table} },
		"revives":         func(table *Table) asked { return revives{table} },
		"overlooks ended": func(table *Table) asked { return overlooksEnded{table} },
		"passes the cap":  func(table *Table) asked { return passesCap{table} },
		"merges past cap": func(table *Table) asked { return mergesPastCap{table} },
		"loses earlier":   func(table *Table) asked { return losesEarlier{table} },
		"yields dead":     func(table *Table) asked { return yieldsDead{table} },
		"fills one step":  func(table *Table) asked { return fillsOneStep{table} },
		"loses touched":   func(table *Table) asked { return forgets{table, true, false, map[storage.ID]bool{}} },
		"loses put":       func(table *Table) asked { return forgets{table, false, true, map[storage.ID]bool{}} },
	} {
		v := &verdict{TB: t}
		var done sync.WaitGroup
		seeds := plantedSeeds
		if name == "sound" {
			seeds = sample.Of(plantedSeeds, 1)
		}
		for seed := range uint64(seeds) {
			if v.failed {
				break
			}
			done.Go(func() {
				w := newWorld(v, plant(New()), planted, seed)
				for range 1500 {
					w.step()
				}
			})
			done.Wait()
		}
		if v.failed != (name != "sound") {
			t.Errorf("%s: caught %v", name, v.failed)
		}
	}
}
