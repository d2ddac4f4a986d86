package table

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func deleteAll(t *testing.T, tx *Tx, ids ...int) {
	t.Helper()
	for _, n := range ids {
		if err := tx.Delete(id(n)); err != nil {
			t.Fatalf("Delete %d: %v", n, err)
		}
	}
}

// TestDelete: the update that deletes a record, wherever that is, sees it no more, and
// cannot put it again.
func TestDelete(t *testing.T) {
	s := mixed(t)
	tx := s.Begin("ana")
	putAll(t, tx, record(3, "ana"), record(10, "ana"), record(2, "ana"))
	deleteAll(t, tx, 1, 2, 3, 5, 8)
	for _, n := range []int{1, 2, 3, 5, 8} {
		if _, err := tx.Get(id(n)); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Get %d: %v; want ErrNotFound", n, err)
		}
		if err := tx.Delete(id(n)); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Delete %d again: %v; want ErrNotFound", n, err)
		}
		if err := tx.Put(record(n, "ana")); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("Put %d: %v; want ErrConflict", n, err)
		}
		if fits(tx, n, 100) {
			t.Errorf("%d fits", n)
		}
	}
	if got, want := numbers(t, tx), []int{6, 9, 10}; !slices.Equal(got, want) {
		t.Errorf("left: %v; want %v", got, want)
	}
	if tx.Created() != 1 || tx.Deleted() != 4 || len(tx.Writes()) != 5 {
		t.Errorf("%d created and %d deleted of %d writes; want 1 and 4 of 5", tx.Created(), tx.Deleted(), len(tx.Writes()))
	}
}

// TestDeleteOfNothing: what is absent, another subject's or damaged is not deleted.
func TestDeleteOfNothing(t *testing.T) {
	s := mixed(t)
	s.Damaged = func(d storage.ID) bool { return d == id(50) }
	tx := s.Begin("ana")
	for n, want := range map[int]error{40: storage.ErrNotFound, 4: storage.ErrNotFound, 7: storage.ErrNotFound, 50: storage.ErrCorrupt} {
		if err := tx.Delete(id(n)); !errors.Is(err, want) {
			t.Errorf("Delete %d: %v; want %v", n, err, want)
		}
	}
	if len(tx.Writes()) > 0 {
		t.Errorf("%d writes", len(tx.Writes()))
	}
}

// TestDeleteInsideRecords: the loop body deletes what it is at, and what is to come.
func TestDeleteInsideRecords(t *testing.T) {
	s := mixed(t)
	tx := s.Begin("ana")
	var got []int
	for r := range tx.Records() {
		got = append(got, int(r.ID[7]))
		deleteAll(t, tx, int(r.ID[7]))
		if r.ID == id(2) {
			deleteAll(t, tx, 5, 6)
		}
	}
	if want := []int{1, 2, 8, 9}; !slices.Equal(got, want) || numbers(t, tx) != nil {
		t.Errorf("%v, then %v; want %v, then nothing", got, numbers(t, tx), want)
	}
}

// TestHeldDelete: while a Delete is held the table shows the record and the updates to
// come see nothing, whatever a Touch raises; once it is revealed nothing brings the
// record back.
func TestHeldDelete(t *testing.T) {
	s := stageOf(record(1, "ana"), record(2, "ana"))
	late := storage.Use{At: at(50), ExpiresAt: at(500)}
	writes := hold(s, "ana", func(tx *Tx) { deleteAll(t, tx, 1) })
	s.table.Touch(id(1), late)
	tx := s.Begin("ana")
	if _, err := tx.Get(id(1)); !errors.Is(err, storage.ErrNotFound) || !tx.Staged() {
		t.Errorf("Get: %v, staged %v; want ErrNotFound, and to wait", err, tx.Staged())
	}
	if got := numbers(t, s.Begin("ana")); !slices.Equal(got, []int{2}) || s.Records() != 1 || s.Created() != 0 || !s.Holds(id(1)) {
		t.Errorf("%v are left, of %d; %d created, held %v", got, s.Records(), s.Created(), s.Holds(id(1)))
	}
	var r storage.Record
	if !s.table.Get(id(1), &r) {
		t.Error("the table does not show it any more")
	}
	s.Reveal(writes)
	if s.table.Touch(id(1), late) || s.table.Get(id(1), &r) || s.table.Unsaved() != 0 || s.Records() != 1 {
		t.Errorf("it is back: %d unsaved, %d records", s.table.Unsaved(), s.Records())
	}
	s.LetGo(writes)
	if s.Holds(id(1)) || s.table.Len() != 1 {
		t.Errorf("held %v, %d records", s.Holds(id(1)), s.table.Len())
	}
	checkTable(t, s.table)
}

// TestDeleteThenPut: an update puts what one before it has deleted, be that held, shown
// or let go by then: the new record has nothing of the old one, nor of what a Touch has
// raised there.
func TestDeleteThenPut(t *testing.T) {
	for _, subject := range []string{"ana", "bob"} {
		for _, revealed := range []bool{false, true} {
			s := stageOf(with(record(1, "ana"), 40, 400, 0))
			first := hold(s, "ana", func(tx *Tx) { deleteAll(t, tx, 1) })
			s.table.Touch(id(1), storage.Use{At: at(50), ExpiresAt: at(500)})
			if revealed {
				s.Reveal(first)
			}
			r := record(1, subject)
			second := hold(s, subject, func(tx *Tx) { putAll(t, tx, r) })
			if got, err := s.Begin(subject).Get(r.ID); err != nil || !got.Equal(r) {
				t.Errorf("%s, revealed %v: %+v, %v; want %+v", subject, revealed, got, err, r)
			}
			r.Name = "again"
			third := hold(s, subject, func(tx *Tx) { putAll(t, tx, r) })
			if s.Created() != 1 || s.Records() != 1 {
				t.Errorf("%s, revealed %v: %d created, %d records", subject, revealed, s.Created(), s.Records())
			}
			if got := numbers(t, s.Begin("ana")); (got != nil) != (subject == "ana") {
				t.Errorf("%s, revealed %v: ana has %v", subject, revealed, got)
			}
			s.Reveal(first, second, third)
			s.table.Touch(id(1), storage.Use{At: at(60)})
			r.LastUsedAt = at(60)
			expect(t, s, r, r)
			for _, writes := range [][]Write{first, second, third} {
				s.LetGo(writes)
			}
			expect(t, s, r, r)
			if s.Created() != 0 || s.Holds(id(1)) || s.Records() != 1 {
				t.Errorf("%s, revealed %v: left: %d created, held %v", subject, revealed, s.Created(), s.Holds(id(1)))
			}
			checkTable(t, s.table)
		}
	}
}

// TestDroppedDelete: a Delete that never happens leaves the record as it is, with what
// was raised meanwhile.
func TestDroppedDelete(t *testing.T) {
	s := stageOf(record(1, "ana"))
	writes := hold(s, "ana", func(tx *Tx) { deleteAll(t, tx, 1) })
	s.table.Touch(id(1), storage.Use{At: at(50)})
	s.LetGo(writes)
	expect(t, s, with(record(1, "ana"), 50, 100, 0), with(record(1, "ana"), 50, 100, 0))
	if s.Records() != 1 || s.Holds(id(1)) {
		t.Errorf("%d records, held %v", s.Records(), s.Holds(id(1)))
	}
}

// TestDeleteIsTold as a Put is.
func TestDeleteIsTold(t *testing.T) {
	s := stageOf(record(1, "ana"), record(2, "ana"))
	told := make(chan storage.Change, 3)
	go func() {
		defer close(told)
		for c, err := range s.Feed.Watch(t.Context()) {
			if err != nil {
				return
			}
			told <- c
		}
	}()
	<-told // the Gap
	s.Show(hold(s, "ana", func(tx *Tx) { deleteAll(t, tx, 1) }))
	select {
	case c := <-told:
		if want := (storage.Change{ID: id(1), Subject: "ana"}); c != want {
			t.Errorf("told %+v; want %+v", c, want)
		}
	case <-time.After(time.Minute):
		t.Error("not told")
	}
}
