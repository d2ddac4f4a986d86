package lapse

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// end is the only way to die but running out: the record stays, with the instant
// and the reason. It returns the token as it is then.
func (m *Manager) end(tx storage.Tx, id ID, why EndReason, now time.Time) (Token, error) {
	rec, err := getIn(tx, id)
	if err != nil {
		return Token{}, err
	}
	rec.EndedAt, rec.EndReason = now, why
	if err := putIn(tx, &rec); err != nil {
		return Token{}, fmt.Errorf("end %v: %w", id, err)
	}
	return m.token(&rec), nil
}

// endTied is end for the token of id and, with EndParent, for every token that was
// delegated from it, near or far. It returns them as they are then, the token of id
// first.
func (m *Manager) endTied(tx storage.Tx, id ID, why EndReason, now time.Time) ([]Token, error) {
	tok, err := m.end(tx, id, why, now)
	if err != nil {
		return nil, err
	}
	ended := []Token{tok}
	if tok.Family == (ID{}) { // then nothing was delegated from it
		return ended, nil
	}
	return m.endDelegates(tx, ended, now)
}

// endDelegates ends, with EndParent, what was delegated from those that have been
// ended and still lives by its record, near or far, and appends it to them.
func (m *Manager) endDelegates(tx storage.Tx, ended []Token, now time.Time) ([]Token, error) {
	delegates, err := delegatesIn(tx, now)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(ended); i++ {
		for _, id := range delegates[ended[i].ID] {
			tok, err := m.end(tx, id, EndParent, now)
			if err != nil {
				return nil, err
			}
			ended = append(ended, tok)
		}
	}
	return ended, nil
}

// endDelegatesOf ends what was delegated from the token of id, which lives on under
// another secret: its own delegates with EndRotated, theirs with EndParent.
func (m *Manager) endDelegatesOf(tx storage.Tx, id ID, now time.Time) (ended []Token, err error) {
	delegates, err := delegatesIn(tx, now)
	if err != nil {
		return nil, err
	}
	for _, id := range delegates[id] {
		tok, err := m.end(tx, id, EndRotated, now)
		if err != nil {
			return nil, err
		}
		ended = append(ended, tok)
	}
	if len(ended) == 0 {
		return nil, nil
	}
	return m.endDelegates(tx, ended, now)
}

// delegatesIn returns the IDs of the delegates that live by their records, by parent. A
// damaged record is denied as it is.
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

func (m *Manager) tellEnded(ctx context.Context, tokens []Token) {
	for _, tok := range tokens {
		m.tell(ctx, Event{Kind: EventEnded, At: tok.EndedAt, Token: tok})
	}
}
