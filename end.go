package lapse

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// ending says when tokens end, why, and by whom.
type ending struct {
	at    time.Time
	why   EndReason
	actor Actor // zero: not known
}

// endRecord sets the end of rec.
func (e ending) endRecord(rec *storage.Record) {
	rec.EndedAt, rec.EndReason, rec.EndedBy, rec.EndNote = e.at, e.why, e.actor.Name, e.actor.Note
}

// because returns e with another reason.
func (e ending) because(why EndReason) ending {
	e.why = why
	return e
}

// end stores the end of the token of id, and returns the token as it is then. Two ends are stored
// elsewhere: EndExhausted with a last use, by spending.inTx, and EndClock, by endEarlierEpochs.
func (m *Manager) end(tx storage.Tx, id ID, e ending) (Token, error) {
	rec, err := getIn(tx, id)
	if err != nil {
		return Token{}, err
	}
	e.endRecord(&rec)
	if err := putIn(tx, &rec); err != nil {
		return Token{}, fmt.Errorf("end %v: %w", id, err)
	}
	return m.token(&rec), nil
}

// endWithDelegates ends the token of id by e, and its delegates and theirs with
// EndParent. It returns them as they are then, the token of id first.
func (m *Manager) endWithDelegates(tx storage.Tx, id ID, e ending) ([]Token, error) {
	tok, err := m.end(tx, id, e)
	if err != nil {
		return nil, err
	}
	ended := []Token{tok}
	if tok.Family == (ID{}) { // it has no delegates
		return ended, nil
	}
	return m.endDelegates(tx, ended, e)
}

// endDelegates ends, with EndParent, the delegates of ended, and theirs, that are alive by their
// records. It returns ended with all of them appended.
func (m *Manager) endDelegates(tx storage.Tx, ended []Token, e ending) ([]Token, error) {
	delegates, err := delegatesIn(tx, e.at)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(ended); i++ {
		for _, id := range delegates[ended[i].ID] {
			tok, err := m.end(tx, id, e.because(EndParent))
			if err != nil {
				return nil, err
			}
			ended = append(ended, tok)
		}
	}
	return ended, nil
}

// endRotatedDelegates ends the delegates of the token of id, which has a new secret, with
// EndRotated, and their delegates with EndParent.
func (m *Manager) endRotatedDelegates(tx storage.Tx, id ID, e ending) (ended []Token, err error) {
	delegates, err := delegatesIn(tx, e.at)
	if err != nil {
		return nil, err
	}
	for _, id := range delegates[id] {
		tok, err := m.end(tx, id, e.because(EndRotated))
		if err != nil {
			return nil, err
		}
		ended = append(ended, tok)
	}
	if len(ended) == 0 {
		return nil, nil
	}
	return m.endDelegates(tx, ended, e)
}

// delegatesIn returns, by parent, the IDs of all delegates of the subject that are alive by their
// records. It skips damaged records.
func delegatesIn(tx storage.Tx, now time.Time) (map[ID][]ID, error) {
	delegates := make(map[ID][]ID)
	for rec, err := range readable(tx.Living(now)) {
		if err != nil {
			return nil, err
		}
		if rec.Parent != (ID{}) && rec.Live(now) {
			delegates[rec.Parent] = append(delegates[rec.Parent], rec.ID)
		}
	}
	return delegates, nil
}

// expired returns the rejection of tok, which is dead, to a secret of the generation by:
// ErrExpired, ErrRevoked or ErrExhausted.
func expired(tok *Token, by uint32) *Rejection {
	why := ErrExpired
	switch {
	case tok.EndReason == EndExhausted, tok.EndedAt.IsZero() && tok.MaxUses != 0 && tok.UsesLeft <= 0:
		why = ErrExhausted
	case !tok.EndedAt.IsZero():
		why = ErrRevoked
	}
	return &Rejection{
		Err: why, ID: tok.ID, Subject: tok.Subject, Generation: by,
		At: deadFrom(tok), Reason: tok.EndReason, EndedBy: tok.EndedBy, EndNote: tok.EndNote,
	}
}

// refuseDead refuses c, a text of tok, which is dead. by is the generation of its secret.
func (m *Manager) refuseDead(ctx context.Context, verb *call, c *bearer.Credential, tok *Token, by uint32) error {
	payTag(c, m.binding)
	return m.refuse(ctx, verb, expired(tok, by))
}

// deadFrom is Token.DeadFrom without a copy of the token.
func deadFrom(tok *Token) time.Time { return capped(tok.ExpiresAt, tok.EndedAt) }

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

// evict returns the n tokens of live that AtLimit ends first, in that order, or fewer if there are
// not so many. held reports whether a connection is held by a token: for LimitEndIdlest that counts
// as a use now. LimitEndIdlest ends no suspended token, which cannot be used. evict changes live.
func (p *Policy) evict(live []Token, n int, held func(ID) bool) []Token {
	since := func(t *Token) time.Time { return t.IssuedAt }
	inUse := make(map[ID]bool)
	if p.AtLimit == LimitEndIdlest {
		since = func(t *Token) time.Time { return latest(t.IssuedAt, t.RotatedAt, t.LastUsedAt) }
		live = slices.DeleteFunc(live, func(t Token) bool { return !t.SuspendedAt.IsZero() })
		for i := range live {
			inUse[live[i].ID] = held(live[i].ID)
		}
	}
	slices.SortStableFunc(live, func(a, b Token) int {
		switch {
		case inUse[a.ID] && !inUse[b.ID]:
			return 1
		case inUse[b.ID] && !inUse[a.ID]:
			return -1
		}
		return since(&a).Compare(since(&b))
	})
	return live[:min(n, len(live))]
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
