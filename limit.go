package lapse

import (
	"fmt"
	"iter"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// room is a limit on the live tokens or sessions of a subject, and what it takes to stay
// within the limit. Delegates take no room: Policy.MaxDelegates limits them.
type room struct {
	m      *Manager // whose connections count as uses, and as whom tokens are seen
	policy *Policy  // whose MaxTokens and AtLimit
	kind   Kind
	prefix string        // of the tokens that count
	rules  *sessionRules // of the sessions that count; nil for plain tokens

	evicted []Token
}

// make ends what AtLimit says so that one more has room at now, or returns ErrLimit.
func (r *room) make(tx storage.Tx, now time.Time) error {
	r.evicted = nil
	if r.policy.MaxTokens == NoTokenLimit {
		return nil
	}
	var live []Token
	for rec, err := range readable(tx.Living(now)) {
		if err != nil {
			return err
		}
		if !r.counts(&rec) {
			continue
		}
		if tok := r.m.token(&rec); tok.Live(now) {
			live = append(live, tok)
		}
	}
	if len(live) < r.policy.MaxTokens {
		return nil
	}
	if r.policy.AtLimit == LimitRefuse {
		return decide(fmt.Errorf("%w: %d of %d", ErrLimit, len(live), r.policy.MaxTokens))
	}
	for _, tok := range r.policy.evict(live, len(live)+1-r.policy.MaxTokens, r.m.holds.Holding) {
		ended, err := r.m.endTied(tx, tok.ID, EndEvicted, now)
		if err != nil {
			return err
		}
		r.evicted = append(r.evicted, ended...)
	}
	return nil
}

// counts reports whether rec takes room while it lives.
func (r *room) counts(rec *storage.Record) bool {
	if spent(rec) && !r.m.holds.Holding(rec.ID) {
		return false
	}
	if rec.Kind != r.kind || rec.Prefix != r.prefix || rec.Parent != (ID{}) {
		return false
	}
	return r.rules == nil || r.rules.made(rec)
}

// readable leaves out the damaged records of a loop, which are denied as they are.
func readable(records iter.Seq2[storage.Record, error]) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for rec, err := range records {
			if !damaged(err) && !yield(rec, fromOutside(err, storeErrors...)) {
				return
			}
		}
	}
}

// spent reports whether rec has no uses left. It may be alive for what is held by it, or
// for the grace of its last use, and takes room only while it is held here.
func spent(rec *storage.Record) bool { return rec.MaxUses != 0 && rec.UsesLeft <= 0 }
