package table

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestUnsavedFromTheMiddle begins where the last call stopped, in the middle of what
// is looked at as one, and misses nothing before that.
func TestUnsavedFromTheMiddle(t *testing.T) {
	table := New()
	for i := range 20 {
		table.Put(&storage.Record{Token: storage.Token{ID: numbered(i)}}, storage.Use{})
		table.MarkUnsaved(numbered(i))
	}
	taken := len(table.TakeUnsaved(10, new(atomic.Int64)))
	table.MarkUnsaved(numbered(0))
	table.MarkUnsaved(storage.ID{255})
	if rest := len(table.TakeUnsaved(100, new(atomic.Int64))); taken != 10 || rest != 11 || table.Unsaved() != 0 {
		t.Errorf("%d and %d taken, %d left", taken, rest, table.Unsaved())
	}
}

// TestUnsavedAllHaveTheirTurn marks the first records again and again.
func TestUnsavedAllHaveTheirTurn(t *testing.T) {
	const n = 3000
	table := New()
	for i := range n {
		table.Put(&storage.Record{Token: storage.Token{ID: numbered(i)}}, storage.Use{})
		table.Touch(numbered(i), storage.Use{At: epoch})
	}
	missing := map[storage.ID]bool{}
	for i := range n {
		missing[numbered(i)] = true
	}
	for round := range n {
		for _, id := range table.TakeUnsaved(10, new(atomic.Int64)) {
			delete(missing, id)
		}
		for i := range 100 {
			table.Touch(numbered(i), storage.Use{At: epoch.Add(time.Duration(round+1) * time.Millisecond)})
		}
	}
	if len(missing) > 0 {
		t.Errorf("%d never had their turn", len(missing))
	}
	if got := table.TakeUnsaved(0, new(atomic.Int64)); len(got) != 0 || len(table.TakeUnsaved(-1, new(atomic.Int64))) != 0 {
		t.Errorf("%d taken of at most none", len(got))
	}
}

// TestUnsavedOrInHand looks, while marks are taken off, for an instant at which a
// renewal is neither unsaved nor in the hands of whoever saves it.
func TestUnsavedOrInHand(t *testing.T) {
	table := New()
	table.Put(&storage.Record{Token: storage.Token{ID: numbered(0)}}, storage.Use{})
	for range sample.Of(3000, 1000) {
		var inHand atomic.Int64
		table.MarkUnsaved(numbered(0))
		begin, taken := make(chan struct{}), make(chan struct{})
		go func() {
			<-begin
			table.TakeUnsaved(1, &inHand)
			close(taken)
		}()
		close(begin)
		for done := false; !done; {
			select {
			case <-taken:
				done = true
			default:
			}
			if n := table.Unsaved(); n+int(inHand.Load()) == 0 {
				t.Fatal("neither unsaved nor in hand")
			}
		}
		if n := inHand.Load(); n != 1 || table.Unsaved() != 0 {
			t.Fatalf("%d in hand, %d unsaved", n, table.Unsaved())
		}
	}
}
