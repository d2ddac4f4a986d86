package storagetest

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// callers is how many goroutines update the same subject at once.
const callers = 32

func serialCases() []testCase {
	return []testCase{
		{"S6_no_update_is_lost", "Serializable over one subject: concurrent Updates of it act as if one came after the other.",
			checkCounter},
		{"S6_a_limit_holds", "Serializable over one subject: what fn found is still so when its puts happen.",
			checkLimit},
		{"S6_touch_is_not_lost", "A Touch falls before or after an Update, never between its reading and its writing.",
			checkTouchNotLost},
		{"S6_touch_is_not_seen_between", "A Touch falls before or after an Update, never between two of its readings.",
			checkTouchNotBetween},
		{"S6_put_stands_over_earlier_touch", "A Touch falls before or after an Update: one that came before raises nothing that the Update put.",
			checkPutOverTouch},
		{"S6_touches_and_updates_at_once", "Neither an Update nor a Touch is lost to the other, however many there are.",
			checkTouchesAndUpdates},
		{"S9_panic_aborts_and_releases", "A panic in fn aborts, reaches the caller and releases every lock; the store goes on.",
			checkPanic},
		{"S9_goexit_aborts_and_releases", "runtime.Goexit in fn aborts, ends the caller and releases every lock; the store goes on.",
			checkGoexit},
	}
}

func counted(n int) func(*storage.Record) {
	return func(r *storage.Record) { r.Data = strconv.Itoa(n) }
}

func (e *env) increment(subject string, id storage.ID) error {
	return e.update(subject, func(tx storage.Tx) error { return incrementIn(tx, id) })
}

func checkCounter(e *env) error {
	r := e.record("ana", counted(0))
	if err := e.put(r); err != nil {
		return err
	}
	if err := together(callers, func(int) error { return e.increment("ana", r.ID) }); err != nil {
		return err
	}
	want := with(r, counted(callers))
	return e.andReopened(func() error { return e.has(want) })
}

func checkLimit(e *env) error {
	const limit = 5
	rs := e.records(callers, "ana")
	var refused atomic.Int64
	err := together(callers, func(i int) error {
		err := e.update("ana", func(tx storage.Tx) error {
			n := 0
			for _, err := range tx.Records() {
				if err != nil {
					return err
				}
				n++
			}
			if n >= limit {
				return errNo
			}
			return tx.Put(rs[i])
		})
		if errors.Is(err, errNo) {
			refused.Add(1)
			return nil
		}
		return err
	})
	listed, listing := e.list(storage.Filter{Subject: "ana"})
	return errors.Join(err, listing, diff("records", limit, len(listed)), diff("refused", callers-limit, int(refused.Load())))
}

// touchAmidUpdate calls Touch when an Update has read r and has not put it yet. A store may make
// the Touch wait for the Update; then the Touch happens afterwards.
func (e *env) touchAmidUpdate(r storage.Record, use storage.Use, then func(tx storage.Tx, read storage.Record) error) error {
	var done chan error
	var once sync.Once
	err := e.update(r.Subject, func(tx storage.Tx) error {
		read, err := tx.Get(r.ID)
		if err != nil {
			return err
		}
		once.Do(func() { _, done = underway(func() error { return e.touch(r.ID, use) }) })
		within(done)
		return then(tx, read)
	})
	if done == nil {
		return err
	}
	return errors.Join(err, <-done)
}

func checkTouchNotLost(e *env) error {
	r := e.record("ana")
	use := storage.Use{At: r.LastUsedAt.Add(time.Minute), ExpiresAt: r.ExpiresAt.Add(time.Minute)}
	if err := e.put(r); err != nil {
		return err
	}
	err := e.touchAmidUpdate(r, use, func(tx storage.Tx, read storage.Record) error { return tx.Put(with(read, named("updated"))) })
	want := with(r, named("updated"), func(r *storage.Record) { use.Raise(r) })
	return errors.Join(err, e.andReopened(func() error { return e.has(want) }))
}

func checkTouchNotBetween(e *env) error {
	r := e.record("ana")
	use := storage.Use{At: r.LastUsedAt.Add(time.Minute)}
	if err := e.put(r); err != nil {
		return err
	}
	var first, second storage.Record
	err := e.touchAmidUpdate(r, use, func(tx storage.Tx, read storage.Record) error {
		again, err := tx.Get(r.ID)
		first, second = read, again
		return err
	})
	return errors.Join(err, sameRecord("second Tx.Get", first, second),
		e.has(with(r, func(r *storage.Record) { use.Raise(r) })))
}

func checkPutOverTouch(e *env) error {
	r := e.record("ana")
	if err := e.put(r); err != nil {
		return err
	}
	err := e.touch(r.ID, storage.Use{At: r.LastUsedAt.Add(time.Hour), ExpiresAt: r.ExpiresAt.Add(time.Hour)})
	if err != nil {
		return err
	}
	low := with(r, lowered(r.IssuedAt), func(r *storage.Record) { r.LastUsedAt = time.Time{} })
	if err := e.put(low); err != nil {
		return err
	}
	return e.andReopened(func() error { return errors.Join(e.has(low), e.holds(low), e.inTx(low)) })
}

func checkTouchesAndUpdates(e *env) error {
	r := e.record("ana", counted(0))
	if err := e.put(r); err != nil {
		return err
	}
	later := func(i int) time.Duration { return time.Duration(i) * time.Second }
	err := together(callers, func(i int) error {
		if i%2 == 0 {
			return e.increment("ana", r.ID)
		}
		return e.touch(r.ID, storage.Use{At: r.LastUsedAt.Add(later(i)), ExpiresAt: r.ExpiresAt.Add(later(i))})
	})
	last := later(callers - 1)
	want := with(r, counted(callers/2), expires(r.ExpiresAt.Add(last)),
		func(r *storage.Record) { r.LastUsedAt = r.LastUsedAt.Add(last) })
	return errors.Join(err, e.andReopened(func() error { return e.has(want) }))
}

func checkPanic(e *env) error {
	before := e.record("ana")
	if err := e.put(before); err != nil {
		return err
	}
	var caught any
	var err error
	func() {
		defer func() { caught = recover() }()
		err = e.update("ana", func(tx storage.Tx) error {
			err = puts(e.record("ana"), with(before, named("changed")))(tx)
			panic(errNo)
		})
	}()
	if caught != errNo {
		err = errors.Join(err, fmt.Errorf("fn panicked with %#v, and the caller with %#v", errNo, caught))
	}
	return errors.Join(err, e.stillWorks(before))
}

func checkGoexit(e *env) error {
	before := e.record("ana")
	if err := e.put(before); err != nil {
		return err
	}
	var err error
	done := make(chan error, 1)
	go func() {
		defer func() { done <- err }()
		returned := e.update("ana", func(tx storage.Tx) error {
			err = puts(e.record("ana"), with(before, named("changed")))(tx)
			runtime.Goexit()
			return nil
		})
		err = errors.Join(err, fmt.Errorf("Update returned %v to a goroutine that was to end", returned))
	}()
	return errors.Join(<-done, e.stillWorks(before))
}

// stillWorks checks that the store holds before and nothing else, and that every method works.
func (e *env) stillWorks(before ...storage.Record) error {
	if err := e.holds(before...); err != nil {
		return err
	}
	fresh := []storage.Record{e.record("ana"), e.record("bob", expires(instant(1)))}
	if err := e.put(fresh...); err != nil {
		return err
	}
	use := storage.Use{At: fresh[0].ExpiresAt}
	err := errors.Join(e.touch(fresh[0].ID, use), e.sweep(instant(2), 10, 1))
	use.Raise(&fresh[0])
	return errors.Join(err, e.has(fresh[0]), e.andReopened(func() error { return e.holds(append(before, fresh[0])...) }))
}
