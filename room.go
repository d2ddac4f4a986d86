package lapse

import (
	"errors"
	"fmt"
	"slices"

	"github.com/seed-55daa01a/lapse/storage"
)

// makeRoom ends what AtLimit says so that one more token stays within the limit.
func (d *draft) makeRoom(tx storage.Tx) error {
	p := &d.m.policy
	if p.MaxTokens == NoTokenLimit {
		return nil
	}
	if err := d.count(tx, false); err != nil || d.live < p.MaxTokens {
		return err
	}
	if p.AtLimit == Refuse {
		return fmt.Errorf("%w: %d of %d", ErrLimit, d.live, p.MaxTokens)
	}
	if err := d.count(tx, true); err != nil {
		return err
	}
	victims := p.evict(d.tokens, d.spare...)
	if d.live-len(victims) >= p.MaxTokens { // too many are to be spared
		return fmt.Errorf("%w: %d of %d", ErrLimit, d.live, p.MaxTokens)
	}
	left := d.live
	for _, tok := range victims {
		if left < p.MaxTokens {
			break // some went with those that they came from, or with their family
		}
		if among(d.evicted, tok.ID) {
			continue
		}
		ended, err := d.evict(tx, &tok)
		if err != nil {
			return err
		}
		for _, e := range ended {
			if among(d.tokens, e.ID) {
				left--
			}
		}
		d.evicted = append(d.evicted, ended...)
	}
	return nil
}

// evict ends tok, with what was delegated from it or with its family, and what it
// replaces, which would count from now on.
func (d *draft) evict(tx storage.Tx, tok *Token) ([]Token, error) {
	if d.families && tok.Family != (ID{}) {
		return d.m.endFamily(tx, tok.Family, EndEvicted, d.now)
	}
	ended, err := d.m.endTied(tx, tok.ID, EndEvicted, d.now)
	if err != nil {
		return nil, err
	}
	predecessor, err := d.m.endPredecessor(tx, tok, EndEvicted, d.now)
	return append(ended, predecessor...), err
}

// among reports whether one of tokens has that ID.
func among(tokens []Token, id ID) bool {
	return slices.ContainsFunc(tokens, func(t Token) bool { return t.ID == id })
}

// count counts the subject's live tokens of this prefix, and keeps them if told
// to: most of the time their number is all that matters.
func (d *draft) count(tx storage.Tx, keep bool) error {
	d.live, d.tokens, d.keep, d.listErr, d.tx = 0, nil, keep, nil, tx
	tx.Records()(d.add)
	return d.listErr
}

// add is the body of count's loop. A record that is damaged is denied, and one under it
// as well, so they do not count, nor does one whose successor counts for it.
func (d *draft) add(rec storage.Record, err error) bool {
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			d.listErr = err
		}
		return d.listErr == nil
	}
	if rec.Prefix != d.m.prefix {
		return true
	}
	tok := d.m.token(&rec)
	live, err := d.lives(&tok)
	if live && err == nil && tok.Successor != (ID{}) {
		live, err = d.alone(&tok)
	}
	if err != nil {
		return d.add(rec, err)
	}
	if live {
		d.live++
		if d.keep {
			d.tokens = append(d.tokens, tok)
		}
	}
	return true
}

// lives reports whether tok is alive by itself and by those it was delegated from.
func (d *draft) lives(tok *Token) (bool, error) {
	if _, err := d.m.under(tok, d.tx.Get); err != nil {
		return false, err
	}
	return tok.Live(d.now), nil
}

// alone reports whether the successor of tok is dead, so that tok counts itself.
func (d *draft) alone(tok *Token) (bool, error) {
	if tok.Successor == d.rec.ID { // which is about to be stored
		return false, nil
	}
	rec, err := getIn(d.tx, tok.Successor)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	successor := d.m.token(&rec)
	live, err := d.lives(&successor)
	return !live, err
}
