package lapse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// MaxDelegation is how deep a chain of delegations can be: a token that Issue made
// delegates to another, that to a third, down to this many below the first.
const MaxDelegation = 4

// Delegate stores a token for somebody who acts in the place of bearer's holder: for
// the same subject, with no more scope than bearer's token, and with no longer a
// life. It is durable before it returns.
//
// Grant.Subject is empty or that of the token. Grant.Scope holds words of the token's
// scope only, or the error is ErrScope; an empty one is an empty scope. A life that
// was asked for beyond the end of the token's own is shortened, and Issued.Reduced
// says so. Name, Data and MaxUses are the delegate's own, and so is each later
// renewal, never past the cap of the token it came from.
//
// What ends the token ends its delegates in the same transaction, with EndParent; when
// the token runs out, they cannot be used either. So each use of a delegate reads the
// records above it as well.
//
// Errors are those of Authenticate and Issue, ErrScope, and ErrNotDelegable for a
// token with a budget of uses or MaxDelegation deep.
func (m *Manager) Delegate(ctx context.Context, bearer string, g Grant) (Issued, error) {
	rec, err := m.prove(ctx, "delegate", bearer)
	if err != nil {
		return Issued{}, err
	}
	parent := m.token(&rec)
	if err := m.admit(ctx, "delegate", &parent, m.now()); err != nil {
		return Issued{}, err
	}
	if g.Subject == "" {
		g.Subject = parent.Subject
	}
	if err := g.check(&m.policy); err != nil {
		return Issued{}, err
	}
	if g.Subject != parent.Subject {
		return Issued{}, fmt.Errorf("%w: Subject: a delegate has that of its parent; leave it empty", ErrInvalidGrant)
	}
	if err := Require(parent, words(g.Scope)...); err != nil {
		return Issued{}, err
	}
	d := draft{m: m, grant: g, tie: delegateOf(parent.ID)}
	err = d.issue(ctx, "delegate")
	switch {
	case errors.Is(err, ErrNotFound): // swept since it was proved, so it had long been dead
		return Issued{}, m.refuse(&Rejection{Err: ErrUnknown, ID: parent.ID})
	case errors.Is(err, ErrUnauthenticated):
		return Issued{}, m.refuse(err)
	case err != nil:
		return Issued{}, err
	}
	return d.issued(), nil
}

// delegateOf ties a draft to the parent of id, if that is still good.
func delegateOf(id ID) func(tx storage.Tx, d *draft) error {
	return func(tx storage.Tx, d *draft) error {
		rec, err := getIn(tx, id)
		if err != nil {
			return err
		}
		parent, depth := d.m.token(&rec), 1
		d.spare = []ID{id}
		for above := parent.Parent; above != (ID{}); depth++ {
			next, err := getIn(tx, above)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			d.spare = append(d.spare, above)
			above = next.Parent
		}
		if err := bound(&parent, d.m, tx.Get); err != nil {
			return err
		}
		switch {
		case !parent.Live(d.now):
			return expired(&parent)
		case parent.MaxUses != 0 || depth > MaxDelegation:
			return ErrNotDelegable
		}
		if rec.Family == (ID{}) { // so that its end looks for delegates
			rec.Family = rec.ID
			if err := tx.Put(rec); err != nil {
				return err
			}
		}
		d.rec.Family, d.rec.Parent = rec.Family, rec.ID
		d.rec.MaxExpiresAt = earlierCap(d.rec.MaxExpiresAt, parent.MaxExpiresAt)
		d.reduced = nil
		if limit := d.rec.MaxExpiresAt; !limit.IsZero() && limit.Before(d.rec.ExpiresAt) {
			d.rec.ExpiresAt, d.reduced = limit, []string{"TTL"}
		}
		return nil
	}
}

// bound lowers the expiry of a delegate to that of each token it was delegated from,
// which get returns. One without its parents has none.
func bound(tok *Token, m *Manager, get func(ID) (storage.Record, error)) error {
	id := tok.Parent
	for range MaxDelegation {
		if id == (ID{}) {
			return nil
		}
		rec, err := get(id)
		switch {
		case errors.Is(err, ErrNotFound): // swept, so it has long been dead
			tok.ExpiresAt = time.Time{}
			return nil
		case err != nil:
			return err
		case rec.ID != id:
			return errWrongRecord
		}
		parent := m.token(&rec)
		if dead := parent.DeadFrom(); dead.Before(tok.ExpiresAt) {
			tok.ExpiresAt = dead
		}
		id = parent.Parent
	}
	if id != (ID{}) { // deeper than Delegate makes them
		tok.ExpiresAt = time.Time{}
	}
	return nil
}

// boundBy is bound by what the store says now.
func (m *Manager) boundBy(ctx context.Context, verb string, tok *Token) error {
	err := bound(tok, m, func(id ID) (storage.Record, error) { return m.store.Get(ctx, id) })
	if err != nil {
		return storeError(verb, err)
	}
	return nil
}
