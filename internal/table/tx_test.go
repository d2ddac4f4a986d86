package table

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
)

func at(ms int) time.Time { return time.UnixMilli(int64(ms)).UTC() }

func id(n int) (id storage.ID) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

// record returns record n of subject, last used at 0 and good until 100.
func record(n int, subject string) storage.Record {
	return storage.Record{Token: storage.Token{ID: id(n), Subject: subject, LastUsedAt: at(0), ExpiresAt: at(100)}}
}

// with returns r with other times; ends it if ended is not 0.
func with(r storage.Record, used, expires, ended int) storage.Record {
	r.LastUsedAt, r.ExpiresAt = at(used), at(expires)
	if ended != 0 {
		r.EndedAt, r.EndReason = at(ended), storage.EndRevoked
	}
	return r
}

// limited returns r with a cap.
func limited(r storage.Record, ms int) storage.Record {
	r.MaxExpiresAt = at(ms)
	return r
}

// stageOf returns a stage in front of a table that shows records.
func stageOf(records ...storage.Record) *Stage {
	t := New()
	for i := range records {
		t.Put(&records[i], storage.Use{})
	}
	return NewStage(t)
}

// hold runs fn as an update of subject and holds what it puts.
func hold(s *Stage, subject string, fn func(*Tx)) []Write {
	tx := s.Begin(subject)
	fn(tx)
	writes := slices.Clone(tx.Writes())
	s.Hold(writes)
	return writes
}

func putAll(t *testing.T, tx *Tx, records ...storage.Record) {
	t.Helper()
	for _, r := range records {
		if err := tx.Put(r); err != nil {
			t.Fatalf("Put: %v", err)
		}
	}
}

// expect compares what an update of its subject reads of want with want, and with
// what the table shows.
func expect(t *testing.T, s *Stage, inTx, shown storage.Record) {
	t.Helper()
	got, err := s.Begin(inTx.Subject).Get(inTx.ID)
	if diff := cmp.Diff(inTx, got); diff != "" || err != nil {
		t.Errorf("an update reads, %v (-want +got):\n%s", err, diff)
	}
	var r storage.Record
	s.table.Get(shown.ID, &r)
	if diff := cmp.Diff(shown, r); diff != "" {
		t.Errorf("the table shows (-want +got):\n%s", diff)
	}
}

func numbers(t *testing.T, tx *Tx) (all []int) {
	t.Helper()
	for r, err := range tx.Records() {
		if err != nil {
			t.Fatalf("Records: %v", err)
		}
		all = append(all, int(binary.BigEndian.Uint64(r.ID[:])))
	}
	return all
}

// TestReadsStayTheSame: a Touch in the middle of an update is none of its business,
// and comes after it: it is not lost, but where the update has ended the record.
func TestReadsStayTheSame(t *testing.T) {
	r := record(1, "ana")
	for _, row := range []struct {
		name       string
		put, shown storage.Record
	}{
		{"put as it was read", r, with(r, 50, 150, 0)},
		{"raised less", with(r, 40, 140, 0), with(r, 50, 150, 0)},
		{"raised as much", with(r, 50, 150, 0), with(r, 50, 150, 0)},
		{"raised more", with(r, 60, 160, 0), with(r, 60, 160, 0)},
		{"one raised more", with(r, 40, 160, 0), with(r, 50, 160, 0)},
		{"lowered", limited(with(r, 0, 90, 0), 90), limited(with(r, 50, 90, 0), 90)},
		{"capped above", limited(r, 149), limited(with(r, 50, 149, 0), 149)},
		{"capped at what was raised", limited(r, 150), limited(with(r, 50, 150, 0), 150)},
		{"raised to the cap", limited(with(r, 0, 120, 0), 120), limited(with(r, 50, 120, 0), 120)},
		{"past the cap already", limited(with(r, 0, 100, 0), 80), limited(with(r, 50, 100, 0), 80)},
		{"ended", with(r, 0, 100, 70), with(r, 0, 100, 70)},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := stageOf(r)
			writes := hold(s, "ana", func(tx *Tx) {
				for _, use := range []storage.Use{{At: at(50)}, {ExpiresAt: at(150)}, {}} {
					got, err := tx.Get(r.ID)
					if err != nil || !got.Equal(r) {
						t.Errorf("Get: %+v, %v; want %+v", got, err, r)
					}
					for got, err := range tx.Records() {
						if err != nil || !got.Equal(r) {
							t.Errorf("Records: %+v, %v; want %+v", got, err, r)
						}
						s.table.Touch(r.ID, use)
					}
				}
				putAll(t, tx, row.put)
				if got, err := tx.Get(r.ID); err != nil || !got.Equal(row.put) {
					t.Errorf("Get of what it put: %+v, %v; want %+v", got, err, row.put)
				}
			})
			s.Show(writes)
			expect(t, s, row.shown, row.shown)
			if !row.shown.Equal(row.put) && s.table.Unsaved() == 0 {
				t.Error("nobody is to save what was touched")
			}
		})
	}
}

// TestTouchUnderAHeldWrite: a Touch that came while a write was held comes after it: it
// is seen by the next update, and by everybody once that is shown, unless that update
// has lowered it or the write has ended the record.
func TestTouchUnderAHeldWrite(t *testing.T) {
	r := record(1, "ana")
	for _, row := range []struct {
		name                      string
		first, read, second, then storage.Record
	}{
		{"put again", r, with(r, 50, 150, 0), with(r, 50, 150, 0), with(r, 50, 150, 0)},
		{"raised before", with(r, 60, 140, 0), with(r, 60, 150, 0), with(r, 60, 150, 0), with(r, 60, 150, 0)},
		{"raised after", r, with(r, 50, 150, 0), with(r, 51, 151, 0), with(r, 51, 151, 0)},
		{"ended before", with(r, 0, 100, 70), with(r, 0, 100, 70), with(r, 0, 100, 70), with(r, 0, 100, 70)},
		{"ended after", r, with(r, 50, 150, 0), with(r, 50, 150, 70), with(r, 50, 150, 70)},
		{"lowered before", limited(with(r, 0, 90, 0), 90), limited(with(r, 50, 90, 0), 90), limited(with(r, 50, 90, 0), 90), limited(with(r, 50, 90, 0), 90)},
		{"lowered after", r, with(r, 50, 150, 0), limited(with(r, 50, 120, 0), 120), limited(with(r, 50, 120, 0), 120)},
		{"raised, then lowered", with(r, 0, 200, 0), with(r, 50, 200, 0), limited(with(r, 50, 120, 0), 120), limited(with(r, 50, 120, 0), 120)},
		{"lowered, and the cap gone", limited(with(r, 0, 90, 0), 90), limited(with(r, 50, 90, 0), 90), with(r, 50, 95, 0), with(r, 50, 95, 0)},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := stageOf(r)
			first := hold(s, "ana", func(tx *Tx) { putAll(t, tx, row.first) })
			s.table.Touch(r.ID, storage.Use{At: at(50), ExpiresAt: at(150)})
			expect(t, s, row.read, with(r, 50, 150, 0))
			second := hold(s, "ana", func(tx *Tx) { putAll(t, tx, row.second) })
			expect(t, s, row.second, with(r, 50, 150, 0))
			s.Show(first)
			expect(t, s, row.second, row.read)
			s.Show(second)
			expect(t, s, row.then, row.then)
		})
	}
}

// TestLoweredWhileHeld: what an update lowers, after one that is held has raised
// it, is low in the end.
func TestLoweredWhileHeld(t *testing.T) {
	r := record(1, "ana")
	low := limited(with(r, 10, 90, 0), 90)
	s := stageOf(r)
	first := hold(s, "ana", func(tx *Tx) { putAll(t, tx, with(r, 60, 200, 0)) })
	second := hold(s, "ana", func(tx *Tx) { putAll(t, tx, low) })
	s.Show(first)
	expect(t, s, low, with(r, 60, 200, 0))
	s.Show(second)
	expect(t, s, low, low)
	if s.table.Unsaved() > 0 {
		t.Error("there is something to save that nobody has touched")
	}
}

func TestPutConflicts(t *testing.T) {
	live, dead := record(1, "ana"), with(record(2, "ana"), 0, 100, 70)
	otherReason := dead
	otherReason.EndReason = storage.EndSubject
	for _, held := range []bool{false, true} {
		s := stageOf()
		writes := hold(s, "ana", func(tx *Tx) { putAll(t, tx, live, dead) })
		if !held {
			s.Show(writes)
		}
		for _, row := range []struct {
			name, subject string
			r             storage.Record
			ok            bool
		}{
			{"another subject's ID", "bob", record(1, "bob"), false},
			{"another subject's record", "bob", live, false},
			{"naming another subject", "ana", record(1, "bob"), false},
			{"a new one naming another subject", "ana", record(3, "bob"), false},
			{"a new one", "bob", record(3, "bob"), true},
			{"replaced", "ana", with(live, 1, 100, 0), true},
			{"lowered under a cap", "ana", limited(with(live, 1, 90, 0), 90), true},
			{"lowered", "ana", with(live, 1, 99, 0), false},
			{"lowered under too high a cap", "ana", limited(with(live, 1, 90, 0), 91), false},
			{"revived", "ana", record(2, "ana"), false},
			{"ended again", "ana", with(dead, 0, 100, 71), false},
			{"ended for another reason", "ana", otherReason, false},
			{"ended as it is", "ana", with(dead, 1, 100, 70), true},
		} {
			tx := s.Begin(row.subject)
			err := tx.Put(row.r)
			if (err == nil) != row.ok || err != nil && !errors.Is(err, storage.ErrConflict) {
				t.Errorf("held %v: %s: %v", held, row.name, err)
			}
			if (len(tx.Writes()) == 1) != row.ok {
				t.Errorf("held %v: %s: %d writes", held, row.name, len(tx.Writes()))
			}
		}
		tx := s.Begin("ana")
		putAll(t, tx, with(live, 0, 100, 70))
		if err := tx.Put(live); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("held %v: revived by the update that ended it: %v", held, err)
		}
		if _, err := s.Begin("bob").Get(live.ID); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("held %v: another subject's record: %v; want ErrNotFound", held, err)
		}
	}
}

// TestDamaged: a record that cannot be read is ErrCorrupt to read and to replace.
func TestDamaged(t *testing.T) {
	s := stageOf(record(1, "ana"))
	s.Damaged = func(d storage.ID) bool { return d == id(2) }
	tx := s.Begin("ana")
	_, get := tx.Get(id(2))
	for what, err := range map[string]error{"Get": get, "Put": tx.Put(record(2, "ana"))} {
		if !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v; want ErrCorrupt", what, err)
		}
	}
	if _, err := tx.Get(id(3)); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("one that is not there: %v; want ErrNotFound", err)
	}
	if got := numbers(t, tx); !slices.Equal(got, []int{1}) || len(tx.Writes()) != 0 {
		t.Errorf("records %v, %d writes; want record 1 and none", got, len(tx.Writes()))
	}
}
