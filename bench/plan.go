package main

import (
	"strconv"
	"time"
)

// plan says how much is measured: the sizes, the callers and the turns. Rows are
// named for these numbers, so that no small run passes for a large one.
type plan struct {
	quick   bool
	sizes   []int // live tokens, ascending; the bounds are about the first and the last
	callers []int // at once, in rows about durable writes: one, some, many, a crowd
	crowds  []int // live tokens of one subject that ExpireSubject ends

	refreshes int // how often a session has been refreshed that is compared with a new one
	refreshed int // how many sessions that is done to
	dead      int // dead records of one subject, and live tokens of one that are ended at once

	rounds        int           // of a contest in which one caller does something short
	turn          time.Duration // how long each side's turn takes in it, about
	longRounds    int           // of one in which the collector runs
	longTurn      time.Duration // long enough for several collections
	durableRounds int           // of a contest about durable writes
	durableTurn   time.Duration
	costlyRounds  int // of operations that take a second each: sweeps, opens, large crowds

	sweeps     int           // lots that die together; each sweep deletes one, a tenth of the store
	idle       time.Duration // how long a reader is watched before each sweep
	churn      int           // live tokens in the rows about churn
	allocCalls int           // how many calls count allocations
	collects   int           // full garbage collections that are timed
	builders   int           // callers at once that fill a store on disk

	settledRounds int           // of a contest in which lapse closes its store at the end of each turn
	settledTurn   time.Duration // long enough for a log to fill
	few           int           // tokens of a store that is opened for one issue
	issueIdle     time.Duration // how long issuers are watched before each sweep
	changes       int           // in the log of a store whose process was killed
	renewals      int           // a second, in rows about bytes written
	renewing      time.Duration // how long they go on
}

// fullPlan is the run whose figures count, with large tokens in the largest stores.
func fullPlan(large int) plan {
	return plan{
		sizes:   []int{1_000, 10_000, 100_000, large},
		callers: []int{1, 16, 64, 256},
		crowds:  []int{1, 100, 10_000},

		refreshes: 10_000, refreshed: 100, dead: 100_000,

		rounds: 101, turn: 6 * time.Millisecond,
		longRounds: 61, longTurn: 25 * time.Millisecond,
		durableRounds: 15, durableTurn: 120 * time.Millisecond,
		costlyRounds: 5,

		sweeps: 3, idle: 400 * time.Millisecond,
		churn: 400_000, allocCalls: 2_000, collects: 9, builders: 256,

		settledRounds: 5, settledTurn: 16 * time.Second, few: 100, issueIdle: 3 * time.Second,
		changes: 500_000, renewals: 10_000, renewing: 3 * time.Minute,
	}
}

// quickPlan runs everything once or twice on next to nothing.
func quickPlan() plan {
	return plan{
		quick:   true,
		sizes:   []int{100, 200, 500, 1_000},
		callers: []int{1, 2, 4, 8},
		crowds:  []int{1, 5, 20},

		refreshes: 20, refreshed: 5, dead: 50,

		rounds: 3, turn: 200 * time.Microsecond,
		longRounds: 2, longTurn: time.Millisecond,
		durableRounds: 2, durableTurn: 2 * time.Millisecond,
		costlyRounds: 2,

		sweeps: 1, idle: 5 * time.Millisecond,
		churn: 200, allocCalls: 20, collects: 2, builders: 8,

		settledRounds: 2, settledTurn: 2 * time.Millisecond, few: 10, issueIdle: 20 * time.Millisecond,
		changes: 500, renewals: 1_000, renewing: 200 * time.Millisecond,
	}
}

func (p plan) small() int  { return p.sizes[0] }
func (p plan) medium() int { return p.sizes[len(p.sizes)-2] }
func (p plan) large() int  { return p.sizes[len(p.sizes)-1] }

// count writes a number as rows are named for it: 1e3 for 1000, 250 for 250.
func count(n int) string {
	zeros := 0
	for m := n; m >= 10 && m%10 == 0; m /= 10 {
		zeros++
	}
	digits := strconv.Itoa(n)
	if zeros < 3 {
		return digits
	}
	return digits[:len(digits)-zeros] + "e" + strconv.Itoa(zeros)
}

// grouped writes a number for people: 1,000,000.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
