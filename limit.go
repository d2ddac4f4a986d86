package lapse

import (
	"fmt"
	"iter"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// room is a limit on the live tokens or sessions of a subject, and what it takes to stay
// within the limit. Delegates take no room: Policy.MaxDelegates limits them.
type tokenLimit struct {
	m      *Manager // whose connections count as uses, and as whom tokens are seen
	policy *Policy  // whose MaxTokens and AtLimit
	kind   Kind
	prefix string        // of the tokens that count
	rules  *sessionRules // of the sessions that count; nil for plain tokens

	evicted []Token
}

// make ends what AtLimit says so that one more has room at now, or returns ErrLimit.
func (l *tokenLimit) makeRoom(tx storage.Tx, now time.Time) error {
	l.evicted = nil
	if l.policy.MaxTokens == NoTokenLimit {
		return nil
	}
	live, err := l.live(tx, now)
	switch {
	case err != nil:
		return err
	case len(live) < l.policy.MaxTokens:
		return nil
	case l.policy.AtLimit == LimitRefuse:
		return decide(fmt.Errorf("%w: %d of %d", ErrLimit, len(live), l.policy.MaxTokens))
	}
	return l.evict(tx, live, now)
}

// live returns the tokens that count and are alive at now.
func (l *tokenLimit) live(tx storage.Tx, now time.Time) (live []Token, err error) {
	for rec, err := range readable(tx.Living(now)) {
		if err != nil {
			return nil, err
		}
		if !l.counts(&rec) {
			continue
		}
		if tok := l.m.token(&rec); tok.Live(now) {
			live = append(live, tok)
		}
	}
	return live, nil
}

// evict ends as many of live, which are MaxTokens or more, as one more token needs.
func (l *tokenLimit) evict(tx storage.Tx, live []Token, now time.Time) error {
	for _, tok := range l.policy.evict(live, len(live)+1-l.policy.MaxTokens, l.m.holds.holding) {
		ended, err := l.m.endTied(tx, tok.ID, EndEvicted, now)
		if err != nil {
			return err
		}
		l.evicted = append(l.evicted, ended...)
	}
	return nil
}

// counts reports whether rec takes room while it lives.
func (l *tokenLimit) counts(rec *storage.Record) bool {
	if spent(rec) && !l.m.holds.holding(rec.ID) {
		return false
	}
	if rec.Kind != l.kind || rec.Prefix != l.prefix || rec.Parent != (ID{}) {
		return false
	}
	return l.rules == nil || l.rules.made(rec)
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
