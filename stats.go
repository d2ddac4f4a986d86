package lapse

import (
	"context"
	"errors"
	"iter"
)

// Stats are the counters of a Manager, as they were when Manager.Stats returned them. They begin
// at zero when the Manager is made, and never decrease.
type Stats struct {
	counts []uint64 // by statIndex
}

// StatKey names one of the Stats: how often a verb had an outcome.
//
// Outcome is "ok", "renewed" if the call renewed the token, "repeated" if it gave an answer again,
// or the Code of the error that it returned. A call that panicked is "internal". A loop over List,
// Holds, Watch or Sessions counts once, by its first error. VerbRelease, VerbCut and VerbSwept
// count what their comments say.
type StatKey struct {
	Verb    Verb   `json:"verb"`
	Outcome string `json:"outcome"`
}

// Stats returns the counters of m. Every call of a verb is counted once, after its effect and when
// it returns. The two Managers of Pairs have the same counters, which count the verbs of the Pairs,
// too.
func (m *Manager) Stats() Stats { return Stats{m.counts.Sums()} }

// Get returns how often the verb of key had the outcome of key, and 0 for a key that does not exist.
func (s Stats) Get(key StatKey) (n uint64) {
	if int(key.Verb) >= verbCount || len(s.counts) == 0 {
		return 0
	}
	for o := range outcome(outcomeCount) { // several outcomes can have one word
		if o.String() == key.Outcome {
			n += s.counts[statIndex(key.Verb, o)]
		}
	}
	return n
}

// All yields the counters that are not zero, in an order that is always the same.
func (s Stats) All() iter.Seq2[StatKey, uint64] {
	return func(yield func(StatKey, uint64) bool) {
		for verb := range Verb(verbCount) {
			for o := range outcome(outcomeCount) {
				key := StatKey{verb, o.String()}
				if !o.firstOfWord() {
					continue
				}
				if n := s.Get(key); n > 0 && !yield(key, n) {
					return
				}
			}
		}
	}
}

// outcome is what a call of a verb came to: one of the constants, or outcomeCodes and the index of
// an error in codes.
type outcome uint8

const (
	outcomeOK       outcome = iota
	outcomeRenewed          // the call renewed the token
	outcomeRepeated         // the answer had been given before
	outcomeInternal         // the error has no Code of its own, or the call panicked
	outcomeCodes

	outcomeCount = int(outcomeCodes) + len(codes)
)

var outcomeWords = [outcomeCodes]string{"ok", "renewed", "repeated", "internal"}

// outcomeOf returns the outcome of a call that returned err, outcomeOK for nil.
func outcomeOf(err error) outcome {
	if err == nil {
		return outcomeOK
	}
	for i := range codes {
		if errors.Is(err, codes[i].err) {
			return outcomeCodes + outcome(i)
		}
	}
	return outcomeInternal
}

// String returns the word of o in a StatKey.
func (o outcome) String() string {
	if o < outcomeCodes {
		return outcomeWords[o]
	}
	return codes[o-outcomeCodes].word
}

// firstOfWord reports whether o is the first outcome with its word.
func (o outcome) firstOfWord() bool {
	for before := range o {
		if before.String() == o.String() {
			return false
		}
	}
	return true
}

// couldNotTell reports whether o means that a verb failed because of the store, the context, the
// clock, a hook or a Verifier: by nothing that its caller asked for, and by no verdict.
func (o outcome) couldNotTell() bool {
	if o < outcomeCodes {
		return o == outcomeInternal
	}
	switch codes[o-outcomeCodes].err {
	case ErrClock, ErrOutcomeUnknown, ErrConflict, ErrClosed, ErrCorrupt, ErrLocked, ErrUnavailable, context.Canceled, context.DeadlineExceeded:
		return true
	}
	return false
}

// statCount is how many counters there are.
const statCount = verbCount * outcomeCount

// statIndex returns the index of a counter.
func statIndex(verb Verb, o outcome) int { return int(verb)*outcomeCount + int(o) }

// count adds n to a counter.
func (m *Manager) count(verb Verb, o outcome, n uint64) {
	m.counts.Add(statIndex(verb, o), n)
}
