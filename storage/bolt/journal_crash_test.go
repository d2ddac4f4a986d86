package bolt

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// anas returns the records from and below to, all of one subject.
func anas(from, to int, change func(*storage.Record)) (records []storage.Record) {
	for n := from; n < to; n++ {
		r := record(n)
		r.Subject, r.Data = "ana", ""
		if change != nil {
			change(&r)
		}
		records = append(records, r)
	}
	return records
}

func endsIt(r *storage.Record) { r.EndedAt, r.EndReason = r.IssuedAt, storage.EndRevoked }

func isLarge(r *storage.Record) { r.Data = strings.Repeat("x", storage.MaxData) }

// smallWrites writes a frame of every kind.
func smallWrites(r *recorder) {
	t, s := r.t, r.s
	r.put(anas(100, 101, nil)...)
	r.put(anas(100, 101, endsIt)...)
	r.put(anas(100, 110, nil)[1:]...)
	r.step(func(next *state) {
		used := next.records[record(5).ID]
		use := by(used, time.Minute)
		use.Raise(&used)
		next.records[used.ID] = used
	}, func() error {
		touch(t, s, record(5), by(record(5), time.Minute))
		return s.flush()
	})
	r.step(func(next *state) { next.mark = ahead(s, time.Hour) }, s.flushMark)
	r.step(func(next *state) {
		rec := next.records[record(3).ID]
		endsIt(&rec)
		next.records[rec.ID] = rec
	}, func() error { endInAGroup(t, s); return nil })
	r.step(func(next *state) { delete(next.records, record(3).ID) }, func() error {
		_, err := s.Sweep(t.Context(), record(4).IssuedAt, 10)
		return err
	})
	deletions(r)
}

// deletions deletes a record, puts another under its ID, and deletes one as it puts others,
// which need a newer schema.
func deletions(r *recorder) {
	rotates := func(r *storage.Record) { r.Generation, r.RotatedAt = 1, r.IssuedAt }
	was, news := anas(7, 8, nil)[0], anas(200, 202, rotates)
	r.step(func(next *state) { delete(next.records, was.ID) }, func() error { return deleting(r.s, was) })
	r.put(anas(7, 8, rotates)...)
	r.step(func(next *state) {
		delete(next.records, was.ID)
		for _, rec := range news {
			next.records[rec.ID] = rec
		}
	}, func() error {
		return r.s.Update(r.t.Context(), was.Subject, func(tx storage.Tx) error {
			return errors.Join(tx.Put(news[0]), tx.Delete(was.ID), tx.Put(news[1]))
		})
	})
}

// turnTo puts large records until frames are written to that half.
func turnTo(r *recorder, half, serial int) {
	r.t.Helper()
	for n := serial; r.s.log.journal.in != half; n++ {
		if n == serial+64 {
			r.t.Fatal("it never turns")
		}
		r.put(anas(n, n+1, isLarge)...)
	}
}

// journalHistory takes a store through everything that may become of its journal.
func journalHistory(r *recorder) {
	t, j := r.t, &r.s.log.journal
	small := func(serial int) func() {
		return func() { r.put(anas(serial, serial+1, nil)...); serial++ }
	}
	smallWrites(r)
	r.put(anas(1000, 1000+mergeStep+10, nil)...)
	turnTo(r, 1, 3000)
	if n := r.merge(small(4000)); n != 2 {
		t.Errorf("the merge took %d transactions; want 2", n)
	}
	r.put(anas(1000, 1000+mergeStep+10, endsIt)...)
	turnTo(r, 0, 5000)
	small(6000)()
	if n := r.merge(small(6010)); n != 2 {
		t.Errorf("the merge took %d transactions; want 2", n)
	}
	half := j.half
	r.put(anas(7000, 7000+half/storage.MaxData+2, isLarge)...)
	if j.half <= half {
		t.Error("the halves are as long as they were")
	}
	small(8000)()
	r.next = r.now
	if err := r.s.Close(); err != nil {
		t.Error(err)
	}
	r.mirrored()
}

// TestJournalAtEveryCrash: whatever a crash leaves of a write to the file, and whichever
// meta page is lost besides, what was acknowledged is there, and of what was not all or
// nothing.
func TestJournalAtEveryCrash(t *testing.T) {
	t.Parallel()
	r := watchWrites(t)
	journalHistory(r)
	for i, wrong := range r.wrong {
		if i < 5 {
			t.Error(wrong)
		}
	}
	t.Logf("%d faults, %v", len(r.wrong), r.counts)
	for _, name := range []string{"frame, before", "frame, after", "frame and pages", "pages", "meta", "mirror"} {
		n := 0
		for seen, times := range r.counts {
			if strings.HasPrefix(seen, name) {
				n += times
			}
		}
		if n == 0 {
			t.Errorf("%s: never seen", name)
		}
	}
}

// TestJournalFaultsAreCaught: what looks at every crash finds a store that writes no
// frame, does not mirror, or reuses a half too early.
func TestJournalFaultsAreCaught(t *testing.T) {
	t.Parallel()
	for plant, history := range map[string]func(*recorder){
		nowhere:    smallWrites,
		unmirrored: journalHistory,
		tooEarly: func(r *recorder) {
			for n := 100; n < 300 && len(r.wrong) == 0; n++ {
				r.put(anas(n, n+1, isLarge)...)
			}
		},
	} {
		r := watchWrites(t)
		r.plant, r.judge = plant, func(m *moment) {
			if len(r.wrong) == 0 {
				r.crashes(m)
			}
		}
		if history(r); len(r.wrong) == 0 {
			t.Errorf("%s: nothing was found, %v", plant, r.counts)
			continue
		}
		t.Logf("%s: %s", plant, r.wrong[0])
	}
}
