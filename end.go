package lapse

import (
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// end stores the end of the token of id, at now and with the reason why, and returns the token
// as it is then. Two ends are stored elsewhere: EndExhausted with a last use, which Policy.spend records, and
// EndClock, by endEarlierEpochs.
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

// endWithDelegates ends the token of id with the reason why, and its delegates and theirs with
// EndParent. It returns them as they are then, the token of id first.
func (m *Manager) endWithDelegates(tx storage.Tx, id ID, why EndReason, now time.Time) ([]Token, error) {
	tok, err := m.end(tx, id, why, now)
	if err != nil {
		return nil, err
	}
	ended := []Token{tok}
	if tok.Family == (ID{}) { // it has no delegates
		return ended, nil
	}
	return m.endDelegates(tx, ended, now)
}

// endDelegates ends, with EndParent, the delegates of ended, and theirs, that are alive by their
// records. It returns ended with all of them appended.
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

// endRotatedDelegates ends the delegates of the token of id, which has a new secret, with
// EndRotated, and their delegates with EndParent.
func (m *Manager) endRotatedDelegates(tx storage.Tx, id ID, now time.Time) (ended []Token, err error) {
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
