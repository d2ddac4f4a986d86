package storagetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// timeCases returns the cases for a store that is a storage.Timekeeper.
func timeCases() []testCase {
	return []testCase{
		{"S38_time_during_an_update", "Time never blocks: it returns while Updates of its own process and of another one are under way.",
			across(checkTimeDuringUpdate)},
		{"S38_one_time_for_all_processes", "Time is the clock of the engine, carried on: that of two processes differs by no more than they say.",
			across(checkTimeAcross)},
	}
}

var errNoTime = errors.New("the store knows no time: it is no storage.Timekeeper, or has no answer yet")

func (e *env) timekeeper() (storage.Timekeeper, error) {
	if k, ok := e.store.(storage.Timekeeper); ok {
		if _, _, ok := k.Time(); ok {
			return k, nil
		}
	}
	return nil, errNoTime
}

func checkTimeDuringUpdate(e, other *env) error {
	mine, err := e.timekeeper()
	if err != nil {
		return err
	}
	theirs, err := other.timekeeper()
	if err != nil {
		return err
	}
	return e.update("ana", func(storage.Tx) error {
		return together(callers, func(int) error {
			for range 100 {
				mine.Time()
				theirs.Time()
			}
			return nil
		})
	})
}

// reading is an answer of Time.
type reading struct {
	keeper        storage.Timekeeper
	at            time.Time
	err           time.Duration
	before, after time.Duration // the instants of storage.Elapsed between which it was given
}

func (r *reading) take() error {
	var ok bool
	r.before = storage.Elapsed()
	r.at, r.err, ok = r.keeper.Time()
	if r.after = storage.Elapsed(); !ok {
		return errors.New("a Timekeeper has no answer any more")
	}
	return nil
}

// follows returns an error if r and first are not of one clock.
func (r *reading) follows(first *reading) error {
	const rounding = time.Millisecond
	passed, within := r.at.Sub(first.at), r.err+first.err+rounding
	if least, most := r.before-first.after-within, r.after-first.before+within; passed < least || passed > most {
		return fmt.Errorf("the time went on by %v, and by what Time says and what has elapsed it is %v to %v", passed, least, most)
	}
	return nil
}

func checkTimeAcross(e, other *env) error {
	mine, err := e.timekeeper()
	if err != nil {
		return err
	}
	theirs, err := other.timekeeper()
	if err != nil {
		return err
	}
	all := []*reading{{keeper: mine}, {keeper: theirs}, {keeper: mine}, {keeper: theirs}}
	for i, r := range all {
		if err := r.take(); err != nil {
			return err
		}
		for _, earlier := range all[:i] {
			if err := r.follows(earlier); err != nil {
				return err
			}
		}
		if i%2 == 1 {
			pauseFor(e.ctx, moment)
		}
	}
	return nil
}
