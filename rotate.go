package lapse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Rotate replaces a long-lived token: it stores a successor, and lets the token whose
// text bearer is live on for overlap, so that whoever uses it has time to change over,
// but not past the expiry that it has now: nothing renews it any longer. With an overlap
// of 0, for a token that has leaked, it is ended at once, with EndRotated. It is durable
// before it returns.
//
// The successor has the old token's subject, name, scope, data and TTL, and a life of
// its own, from now on by the policy: a delegate's ends with its parent all the same. Of
// a budget of uses it has those that are left; such a token takes an overlap of 0 only,
// or its uses could be spent twice. The two name each other as Token.Successor and
// Token.Predecessor, and share a Token.Family. The end of one is not the end of the
// other, but where AtLimit makes room. What was delegated from the old token dies with
// it and is not handed on. The successor of a token made by Obtain is what Obtain gives
// from then on, if the Manager has Config.Keys.
//
// At most one of a token's predecessors is alive: rotating a token that is still in its
// own predecessor's overlap ends that predecessor. Nothing lengthens an overlap. A token
// in its overlap does not count towards MaxTokens while its successor is alive, so Rotate
// works at the limit and evicts nobody.
//
// A token never has two live successors. If the answer of Rotate got lost, call it again
// with the old token, within the overlap: a successor that has never been used is then
// ended with EndRotated and replaced by another. One that has been used (Authenticate,
// Renew, Delegate, or Obtain where that renews), whether it is still alive or not, is
// not: ErrRotated, and nothing has changed. (A use that could not be recorded, or that a
// crash lost, is none.) Nor does a call replace a successor that was not there yet when
// it looked: of calls that meet exactly one succeeds, and the others get ErrRotated, or
// ErrExpired with an overlap of 0. Of calls one after the other the last that succeeded
// holds the successor that is alive.
//
// Errors are those of Authenticate and Issue, but for ErrLimit; ErrRotated;
// ErrNotRenewable for a token of Pairs, which Refresh replaces; and ErrInvalidGrant for
// an overlap that is negative, under a millisecond but not 0, or over the policy's
// MaxTTL, or not 0 for a token with a budget. After ErrOutcomeUnknown call again; if the
// overlap was 0 and that is ErrExpired, issue a token instead.
func (m *Manager) Rotate(ctx context.Context, bearer string, overlap time.Duration) (Issued, error) {
	if err := m.policy.checkOverlap(overlap); err != nil {
		return Issued{}, err
	}
	rec, tok, err := m.good(ctx, "rotate", bearer)
	if err != nil {
		return Issued{}, err
	}
	if ofPair(&rec) {
		return Issued{}, fmt.Errorf("%w: it is one of a pair; refresh that", ErrNotRenewable)
	}
	if tok.MaxUses != 0 && overlap != 0 {
		return Issued{}, fmt.Errorf("%w: overlap: %v would let a budget be spent twice; want 0", ErrInvalidGrant, overlap)
	}
	r := succession{id: rec.ID, seen: rec.Successor, overlap: overlap}
	d := draft{m: m, tie: r.tie, grant: Grant{
		Subject: rec.Subject, Name: rec.Name, Scope: rec.Scope, Data: rec.Data, TTL: rec.TTL, MaxUses: rec.MaxUses,
	}}
	if _, ok := saltOf(&rec); ok && len(m.keys) > 0 {
		d.key = m.keys[0]
	}
	if err := d.issue(ctx, "rotate"); err != nil {
		return Issued{}, m.verdict(tok.ID, err)
	}
	return d.issued(), nil
}

// checkOverlap returns ErrInvalidGrant unless overlap can be one.
func (p *Policy) checkOverlap(overlap time.Duration) error {
	if err := checkDuration(overlap, false); err != nil {
		return fmt.Errorf("%w: overlap: %w", ErrInvalidGrant, err)
	}
	if overlap.Truncate(time.Millisecond) > p.MaxTTL {
		return fmt.Errorf("%w: overlap: %v is over the policy's MaxTTL of %v", ErrInvalidGrant, overlap, p.MaxTTL)
	}
	return nil
}

// succession is what a call of Rotate knows of the old token.
type succession struct {
	id      ID
	seen    ID // the successor that it had when the call began
	overlap time.Duration
}

// tie makes d the successor, if the old token is still good and has none in use.
func (r *succession) tie(tx storage.Tx, d *draft) error {
	old, err := getIn(tx, r.id)
	if err != nil {
		return err
	}
	tok := d.m.token(&old)
	if _, err := d.m.under(&tok, tx.Get); err != nil {
		return err
	}
	if !tok.Live(d.now) {
		return expired(&tok)
	}
	if old.Successor != (ID{}) {
		if old.Successor != r.seen {
			return ErrRotated
		}
		if err := d.supersede(tx, old.Successor); err != nil {
			return err
		}
	}
	return d.succeed(tx, &old, r.overlap)
}

// supersede ends the token of id, which the draft replaces as a successor, unless it
// has been used. One that is no longer there may have been.
func (d *draft) supersede(tx storage.Tx, id ID) error {
	rec, err := getIn(tx, id)
	if errors.Is(err, ErrNotFound) {
		return ErrRotated
	}
	if err != nil {
		return err
	}
	if !rec.LastUsedAt.IsZero() || rec.Successor != (ID{}) {
		return ErrRotated
	}
	for other, err := range tx.Records() {
		switch {
		case errors.Is(err, ErrCorrupt): // denied as it is
		case err != nil:
			return err
		case other.Parent == id: // so that nothing is left to end with it
			return ErrRotated
		}
	}
	if !rec.Live(d.now) {
		return nil
	}
	rec.EndedAt, rec.EndReason, rec.Successor = d.now, EndRotated, d.rec.ID
	d.ended = append(d.ended, d.m.token(&rec))
	return tx.Put(rec)
}

// succeed makes the draft the successor of old, which is live, in the room that this one
// has, and lets old live on for overlap at most. The predecessor of old ends.
func (d *draft) succeed(tx storage.Tx, old *storage.Record, overlap time.Duration) error {
	d.inPlace = true
	tied := old.Family != (ID{}) // or nothing was delegated from it
	if !tied {
		old.Family = old.ID
	}
	d.rec.Family, d.rec.Predecessor, old.Successor = old.Family, old.ID, d.rec.ID
	d.rec.UsesLeft = old.UsesLeft
	if old.Parent != (ID{}) {
		tok := d.m.token(old)
		above, err := d.m.under(&tok, tx.Get)
		if err != nil {
			return err
		}
		d.rec.Parent = old.Parent
		d.under(above)
	}
	predecessor, err := d.m.endPredecessor(tx, &old.Token, EndRotated, d.now)
	if err != nil {
		return err
	}
	d.ended = append(d.ended, predecessor...)
	if overlap != 0 {
		until := capped(add(d.now, overlap), d.m.token(old).ExpiresAt)
		old.ExpiresAt, old.MaxExpiresAt = until, until // a renewal that is under way raises the first at most
		return tx.Put(*old)
	}
	old.EndedAt, old.EndReason = d.now, EndRotated
	if err := tx.Put(*old); err != nil {
		return err
	}
	ended := []Token{d.m.token(old)}
	if tied {
		if ended, err = d.m.endDelegates(tx, ended, d.now); err != nil {
			return err
		}
	}
	d.ended = append(d.ended, ended...)
	return nil
}

// endPredecessor ends the token that tok replaces, and its delegates, if it is still in
// its overlap, and returns what it ended. A damaged one is denied as it is.
func (m *Manager) endPredecessor(tx storage.Tx, tok *Token, why EndReason, now time.Time) ([]Token, error) {
	if tok.Predecessor == (ID{}) {
		return nil, nil
	}
	rec, err := getIn(tx, tok.Predecessor)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrCorrupt):
		return nil, nil
	case err != nil:
		return nil, err
	case !rec.Live(now):
		return nil, nil
	}
	return m.endTied(tx, rec.ID, why, now)
}
