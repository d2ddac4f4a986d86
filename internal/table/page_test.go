package table

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestPageInARace reads pages while records are put, touched and deleted. Each record that stays is in
// one page, and every record of a page is whole.
func TestPageInARace(t *testing.T) {
	const stays, rounds = 300, 60
	x := New()
	ids := make([]storage.ID, 2*stays)
	for n := range ids {
		ids[n] = storage.ID{0: byte(n), 1: byte(n >> 8), 15: byte(n)}
		r := version(ids[n], 1)
		x.Put(&r, storage.Use{})
	}
	var over atomic.Bool
	write := func() {
		for n := 2; !over.Load(); n++ {
			id := ids[n%stays]
			r := version(id, n%5000)
			x.Put(&r, storage.Use{At: r.LastUsedAt, ExpiresAt: r.ExpiresAt})
			goes := ids[stays+n%stays]
			if !x.Delete(goes) {
				r = version(goes, n%5000)
				x.Put(&r, storage.Use{})
			}
		}
	}
	read := func() {
		defer over.Store(true)
		for round := range rounds {
			seen := map[storage.ID]int{}
			for after := ""; ; {
				page, next, err := x.Page(after, 1+round%37, nil)
				if err != nil {
					t.Error(err)
					return
				}
				for _, r := range page {
					seen[r.ID]++
					if wrong := whole(r.ID, r); wrong != "" {
						t.Error(wrong)
						return
					}
				}
				if after = next; after == "" {
					break
				}
			}
			for _, id := range ids[:stays] {
				if seen[id] != 1 {
					t.Errorf("round %d: a record that stays is in %d pages", round, seen[id])
					return
				}
			}
		}
	}
	together(write, read)
}

// TestPageDamaged: the damaged records come first, each as the end of its page, and hide no other.
func TestPageDamaged(t *testing.T) {
	x := New()
	for n := range 5 {
		r := version(storage.ID{0: 9, 15: byte(n)}, 1)
		x.Put(&r, storage.Use{})
	}
	damaged := []storage.ID{{1}, {2}}
	for _, size := range []int{1, 2, 5, 6} {
		var got []storage.ID
		for after := ""; ; {
			page, next, err := x.Page(after, size, damaged)
			for i, r := range page {
				if bad := slices.Contains(damaged, r.ID); bad != errors.Is(err, storage.ErrCorrupt) || bad && (i != len(page)-1 || !r.Equal(storage.Record{Token: storage.Token{ID: r.ID}})) {
					t.Errorf("by %d: %v with %v", size, r.ID, err)
				}
				got = append(got, r.ID)
			}
			if after = next; after == "" {
				break
			}
		}
		if len(got) != 7 || len(slices.Compact(slices.SortedFunc(slices.Values(got), storage.ID.Compare))) != 7 {
			t.Errorf("by %d: %v", size, got)
		}
	}
}
