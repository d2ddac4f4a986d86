package lapse

import (
	"fmt"
	"time"

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
