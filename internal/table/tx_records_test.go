package table

import (
	"slices"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// mixed returns a stage whose table shows ana's records 2, 5 and 8 and bob's 4, with
// ana's 1, 6 and 9 and bob's 7 held in front of it, and ana's 5 as well, ended.
func mixed(t *testing.T) *Stage {
	t.Helper()
	s := stageOf(record(2, "ana"), record(5, "ana"), record(8, "ana"), record(4, "bob"))
	hold(s, "bob", func(tx *Tx) { putAll(t, tx, record(7, "bob")) })
	hold(s, "ana", func(tx *Tx) {
		putAll(t, tx, record(9, "ana"), record(1, "ana"), with(record(5, "ana"), 0, 100, 70), record(6, "ana"))
	})
	return s
}

// TestRecordsInOrder: what is shown, held and put by the update itself is one list.
func TestRecordsInOrder(t *testing.T) {
	s := mixed(t)
	tx := s.Begin("ana")
	if got, want := numbers(t, tx), []int{1, 2, 5, 6, 8, 9}; !slices.Equal(got, want) {
		t.Errorf("at first: %v; want %v", got, want)
	}
	putAll(t, tx, record(10, "ana"), record(3, "ana"), record(6, "ana"), record(2, "ana"), record(3, "ana"))
	if got, want := numbers(t, tx), []int{1, 2, 3, 5, 6, 8, 9, 10}; !slices.Equal(got, want) {
		t.Errorf("after its puts: %v; want %v", got, want)
	}
	if r, err := tx.Get(id(5)); err != nil || r.EndedAt != at(70) {
		t.Errorf("the one that is held ended: %+v, %v", r, err)
	}
	if got, want := numbers(t, s.Begin("bob")), []int{4, 7}; !slices.Equal(got, want) {
		t.Errorf("bob's: %v; want %v", got, want)
	}
	if got := numbers(t, s.Begin("eve")); got != nil {
		t.Errorf("eve's: %v; want none", got)
	}
}

// TestStaged: only what is held makes an update wait for others.
func TestStaged(t *testing.T) {
	for _, row := range []struct {
		name, subject string
		read          func(*Tx)
		want          bool
	}{
		{"nothing", "ana", func(*Tx) {}, false},
		{"one that is shown", "ana", func(tx *Tx) { tx.Get(id(2)) }, false},
		{"one that is held", "ana", func(tx *Tx) { tx.Get(id(6)) }, true},
		{"one that is held ended", "ana", func(tx *Tx) { tx.Get(id(5)) }, true},
		{"another subject's that is held", "ana", func(tx *Tx) { tx.Get(id(7)) }, true},
		{"one that is absent", "ana", func(tx *Tx) { tx.Get(id(99)) }, false},
		{"all", "ana", func(tx *Tx) { numbers(t, tx) }, true},
		{"all of somebody without", "eve", func(tx *Tx) { numbers(t, tx) }, false},
		{"its own", "eve", func(tx *Tx) { putAll(t, tx, record(3, "eve")); numbers(t, tx) }, false},
	} {
		tx := mixed(t).Begin(row.subject)
		row.read(tx)
		if tx.Staged() != row.want {
			t.Errorf("%s: %v; want %v", row.name, tx.Staged(), row.want)
		}
	}
}

// TestRecordsInsideRecords: the loop body lists, puts, and stops; every list is of
// what there was when it began.
func TestRecordsInsideRecords(t *testing.T) {
	tx := mixed(t).Begin("ana")
	var outer, stopped []int
	want := []int{1, 2, 5, 6, 8, 9}
	for range 2 { // the second time in the memory of the first
		outer, stopped = nil, nil
		for r, err := range tx.Records() {
			if err != nil {
				t.Fatal(err)
			}
			outer = append(outer, int(r.ID[7]))
			inner := numbers(t, tx)
			if !slices.Equal(inner, want) {
				t.Fatalf("inside, at %v: %v; want %v", outer, inner, want)
			}
			for r := range tx.Records() {
				if stopped = append(stopped, int(r.ID[7])); len(stopped)%2 == 0 {
					break
				}
			}
			n := 20 + len(want)
			putAll(t, tx, record(n, "ana"))
			want = append(want, n)
		}
		if !slices.Equal(outer, want[:len(outer)]) || len(want) != 2*len(outer) {
			t.Errorf("outside: %v; want the first half of %v", outer, want)
		}
	}
	if got := numbers(t, tx); !slices.Equal(got, want) {
		t.Errorf("in the end: %v; want %v", got, want)
	}
}

// TestRecordsThatAreLeft: a panic out of the loop body, or one that never ends,
// leaves nothing of a list to the next update.
func TestRecordsThatAreLeft(t *testing.T) {
	s := mixed(t)
	func() {
		defer func() { recover() }()
		for range s.Begin("ana").Records() {
			panic("no")
		}
	}()
	if got, want := numbers(t, s.Begin("bob")), []int{4, 7}; !slices.Equal(got, want) {
		t.Errorf("%v; want %v", got, want)
	}
}

// TestCreated counts what is held and new to the table, until it is shown or dropped.
func TestCreated(t *testing.T) {
	s := stageOf(record(1, "ana"))
	first := hold(s, "ana", func(tx *Tx) {
		putAll(t, tx, record(1, "ana"), record(2, "ana"), record(3, "ana"), record(2, "ana"))
		if tx.Created() != 2 {
			t.Errorf("the first creates %d; want 2", tx.Created())
		}
	})
	second := hold(s, "ana", func(tx *Tx) {
		putAll(t, tx, record(2, "ana"), record(4, "ana"))
		if tx.Created() != 1 {
			t.Errorf("the second creates %d; want 1", tx.Created())
		}
	})
	other := hold(s, "bob", func(tx *Tx) { putAll(t, tx, record(5, "bob")) })
	for _, step := range []struct {
		name string
		do   func()
		want int
	}{
		{"held", func() {}, 4},
		{"the first is shown", func() { s.Show(first) }, 2},
		{"the second is dropped", func() { s.LetGo(second) }, 1},
		{"and once more", func() { s.LetGo(second) }, 1},
		{"the other one is shown", func() { s.Show(other) }, 0},
		{"what was never held is shown", func() {
			tx := s.Begin("bob")
			putAll(t, tx, record(6, "bob"))
			s.Reveal(tx.Writes())
		}, 0},
	} {
		if step.do(); s.Created() != step.want {
			t.Errorf("%s: %d; want %d", step.name, s.Created(), step.want)
		}
	}
	if len(s.held) != 0 || len(s.created) != 0 {
		t.Errorf("left: %d held, created %v", len(s.held), s.created)
	}
	if got, want := numbers(t, s.Begin("ana")), []int{1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("ana's: %v; want %v", got, want)
	}
}

// TestDroppedTwice: dropping a write again takes nothing from one that creates the
// same record since.
func TestDroppedTwice(t *testing.T) {
	s := stageOf()
	first := hold(s, "ana", func(tx *Tx) { putAll(t, tx, record(1, "ana")) })
	s.LetGo(first)
	second := hold(s, "ana", func(tx *Tx) { putAll(t, tx, record(1, "ana")) })
	s.LetGo(first)
	if got := numbers(t, s.Begin("ana")); !slices.Equal(got, []int{1}) || s.Created() != 1 || !s.Holds(id(1)) {
		t.Errorf("records %v, %d created, held %v; want record 1", got, s.Created(), s.Holds(id(1)))
	}
	s.Show(second)
	if s.Created() != 0 || s.Holds(id(1)) {
		t.Errorf("%d created, held %v; want nothing", s.Created(), s.Holds(id(1)))
	}
}

// TestShowLetsNewerBe: showing a write does not end the hold of one that came after.
func TestShowLetsNewerBe(t *testing.T) {
	s := stageOf(record(1, "ana"))
	first := hold(s, "ana", func(tx *Tx) { putAll(t, tx, with(record(1, "ana"), 10, 100, 0)) })
	second := hold(s, "ana", func(tx *Tx) { putAll(t, tx, with(record(1, "ana"), 20, 100, 0)) })
	s.Show(first)
	if !s.Holds(id(1)) {
		t.Error("the second is held no more")
	}
	expect(t, s, with(record(1, "ana"), 20, 100, 0), with(record(1, "ana"), 10, 100, 0))
	s.LetGo(second)
	expect(t, s, with(record(1, "ana"), 10, 100, 0), with(record(1, "ana"), 10, 100, 0))
	var r storage.Record
	if s.Holds(id(1)) || !s.table.Get(id(1), &r) {
		t.Error("held still, or gone")
	}
}
