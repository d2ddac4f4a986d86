package storagetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// markCases returns the cases for a store that is a storage.Marker.
func markCases() []testCase {
	return []testCase{
		{"M1_one_for_all", "Marks returns one and the same for as long as the store is open.",
			checkOneMarks},
		{"M2_rides_with_a_put", "The Mark of when an Update that put something was called, or a later one, survives Close.",
			checkMarkRides},
		{"M3_every_field", "Every field of a Mark survives: instants from year 1 to 9999 and any Epoch.",
			checkMarkFields},
		{"M4_written_alone", "What due was called for is written although nothing else is, and then Saved is called.",
			checkMarkAlone},
		{"M4_written_by_close", "Close writes the Mark.",
			checkMarkAtClose},
	}
}

func (e *env) marks() (*storage.Marks, error) {
	marker, ok := e.store.(storage.Marker)
	if !ok {
		return nil, errNoMarker
	}
	return marker.Marks(), nil
}

// marksToKeep returns the marks of a store that can be reopened.
func (e *env) marksToKeep() (*storage.Marks, error) {
	marks, err := e.marks()
	if err == nil && e.reopenStore == nil {
		err = errNoReopen
	}
	return marks, err
}

// marked checks the mark after reopening. The At may be later than that of want.
func (e *env) marked(want storage.Mark) error {
	if err := e.reopen(); err != nil {
		return err
	}
	marks, err := e.marks()
	if err != nil {
		return err
	}
	got := marks.Mark()
	if got.At.Before(want.At) {
		return fmt.Errorf("after Reopen the mark is at %v; want %v", got.At, want.At)
	}
	got.At = want.At
	return diff("the mark after Reopen", want, got)
}

func checkOneMarks(e *env) error {
	marks, err := e.marks()
	if err != nil {
		return err
	}
	if err := e.put(e.record("ana")); err != nil {
		return err
	}
	return together(4, func(int) error {
		again, err := e.marks()
		if err == nil && again != marks {
			err = errors.New("a second call of Marks has returned other marks")
		}
		return err
	})
}

func checkMarkRides(e *env) error {
	marks, err := e.marksToKeep()
	if err != nil {
		return err
	}
	for n := range 5 {
		marks.Raise(instant(int64(n+1)).UnixMilli()+int64(n), marks.Epoch())
		want := marks.Mark()
		if err := e.put(e.record("ana")); err != nil {
			return err
		}
		if err := e.marked(want); err != nil {
			return fmt.Errorf("Update %d: %w", n+1, err)
		}
		if marks, err = e.marks(); err != nil {
			return err
		}
	}
	return nil
}

func checkMarkFields(e *env) error {
	if _, err := e.marksToKeep(); err != nil {
		return err
	}
	first, last := time.UnixMilli(-62135596800_000+1).UTC(), time.UnixMilli(253402300799_999).UTC()
	epoch := uint32(0)
	for n, at := range []time.Time{first, time.UnixMilli(-1).UTC(), time.UnixMilli(0).UTC(), instant(1), last} {
		marks, err := e.marks()
		if err != nil {
			return err
		}
		marks.Restart(at, last, epoch)
		for epoch++; n == 4 && epoch < 70_000; epoch++ { // past what fits in 16 bits
			marks.Restart(at, last, epoch)
		}
		marks.Lag(first, time.Hour, time.Minute)
		if n%2 == 1 {
			marks.Restart(at, time.Time{}, epoch)
			epoch++
		}
		want := marks.Mark()
		if err := e.put(e.record("ana")); err != nil {
			return err
		}
		if err := e.marked(want); err != nil {
			return err
		}
	}
	return nil
}

func checkMarkAlone(e *env) error {
	marks, err := e.marksToKeep()
	if err != nil {
		return err
	}
	for _, change := range []func(){
		func() { marks.Raise(marks.At()+2*time.Minute.Milliseconds(), marks.Epoch()) },
		func() { marks.Hush(instant(3)) },
		func() { marks.Restart(instant(1), instant(4), marks.Epoch()) },
	} {
		if err := e.put(e.record("ana")); err != nil {
			return err
		}
		change()
		if err := e.written(marks); err != nil {
			return fmt.Errorf("the change of a mark is not written: %w", err)
		}
	}
	return e.marked(marks.Mark())
}

// written waits until all changes of marks are written.
func (e *env) written(marks *storage.Marks) error {
	var given atomic.Bool // the patience is used up
	defer given.Store(true)
	return runGuarded(e.patience, func() error {
		for marks.Unsaved() && !given.Load() {
			pause, stop := context.WithTimeout(e.ctx, time.Millisecond)
			<-pause.Done()
			stop()
		}
		return nil
	})
}

func checkMarkAtClose(e *env) error {
	marks, err := e.marksToKeep()
	if err != nil {
		return err
	}
	marks.Raise(instant(1).UnixMilli()+1, marks.Epoch())
	if err := e.marked(marks.Mark()); err != nil {
		return err
	}
	if marks, err = e.marks(); err != nil {
		return err
	}
	marks.Raise(marks.At()+1, marks.Epoch())
	marks.Lag(instant(0), time.Hour, time.Minute)
	return e.marked(marks.Mark())
}
