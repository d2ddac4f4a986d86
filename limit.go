package lapse

import (
	"fmt"
	"iter"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// tokenLimit keeps the live tokens, or the live sessions, of a subject within
// Policy.MaxTokens. Delegates do not count: Policy.MaxDelegates limits them.
type tokenLimit struct {
	m      *Manager // its held connections count as uses, and its policy says what is alive
	policy *Policy  // its MaxTokens and AtLimit apply
	kind   Kind
	prefix string        // of the tokens that count
	rules  *sessionRules // of the sessions that count; nil for plain tokens
	actor  Actor         // who ends tokens to make room

	evicted []Token // by makeRoom
}

// makeRoom ends the tokens that AtLimit names, so that one more may be put at now. It returns
// ErrLimit if there are MaxTokens already and AtLimit is LimitRefuse, or LimitEndIdlest and too many
// of them are suspended.
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
		return l.full(len(live))
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

// full returns ErrLimit for live tokens.
func (l *tokenLimit) full(live int) error {
	return decide(fmt.Errorf("%w: %d of %d", ErrLimit, live, l.policy.MaxTokens))
}

// evict ends as many of live, which are MaxTokens or more, as one more token needs. It ends none, and
// returns ErrLimit, if AtLimit does not name so many.
func (l *tokenLimit) evict(tx storage.Tx, live []Token, now time.Time) error {
	n := len(live)
	named := l.policy.evict(live, n+1-l.policy.MaxTokens, l.m.holds.Holding)
	if len(named) < n+1-l.policy.MaxTokens {
		return l.full(n)
	}
	for _, tok := range named {
		ended, err := l.m.endWithDelegates(tx, tok.ID, ending{now, EndEvicted, l.actor})
		if err != nil {
			return err
		}
		l.evicted = append(l.evicted, ended...)
	}
	return nil
}

// counts reports whether rec counts while it is alive. A token with no uses left counts only
// while a connection is held by it here.
func (l *tokenLimit) counts(rec *storage.Record) bool {
	if spent(rec) && !l.m.holds.Holding(rec.ID) {
		return false
	}
	if rec.Kind != l.kind || rec.Prefix != l.prefix || rec.Parent != (ID{}) {
		return false
	}
	return l.rules == nil || l.rules.made(rec)
}

// readable leaves the damaged records and the aliases out of a loop over records.
func readable(records iter.Seq2[storage.Record, error]) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for rec, err := range records {
			if damaged(err) || !isToken(&rec) {
				continue
			}
			if !yield(rec, fromOutside(err, storeErrors...)) {
				return
			}
		}
	}
}

// spent reports whether rec has a budget and no uses left. It may still be alive: for the
// connections that are held by it, or for the grace of its last use.
func spent(rec *storage.Record) bool { return rec.MaxUses != 0 && rec.UsesLeft <= 0 }
