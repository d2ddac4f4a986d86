package lapse

import (
	"errors"
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
	if err := tx.Put(rec); err != nil {
		return Token{}, fmt.Errorf("end %v: %w", id, err)
	}
	return m.token(&rec), nil
}

// endTied is end for the token of id and, with EndParent, for every one that was
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
	delegates := make(map[ID][]ID) // by parent
	for rec, err := range tx.Records() {
		switch {
		case errors.Is(err, ErrCorrupt): // denied as it is
		case err != nil:
			return nil, err
		case rec.Parent != (ID{}) && rec.Live(now):
			delegates[rec.Parent] = append(delegates[rec.Parent], rec.ID)
		}
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

// endFamily ends what still lives by its record of a family, for the reason why; what
// was delegated ends with EndParent, but for reuse. It returns them as they are then.
// A damaged record is denied as it is.
func (m *Manager) endFamily(tx storage.Tx, family ID, why EndReason, now time.Time) (ended []Token, err error) {
	for rec, err := range tx.Records() {
		switch {
		case errors.Is(err, ErrCorrupt):
			continue
		case err != nil:
			return nil, err
		case rec.Family != family || !rec.Live(now):
			continue
		}
		rec.EndedAt, rec.EndReason = now, why
		if rec.Parent != (ID{}) && why != EndReused {
			rec.EndReason = EndParent
		}
		if err := tx.Put(rec); err != nil {
			return nil, fmt.Errorf("end %v: %w", rec.ID, err)
		}
		ended = append(ended, m.token(&rec))
	}
	return ended, nil
}

func (m *Manager) tellEnded(tokens []Token) {
	for _, tok := range tokens {
		m.tell(Event{Kind: EventEnded, At: tok.EndedAt, Token: tok})
	}
}
