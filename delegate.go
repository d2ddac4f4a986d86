package lapse

import (
	"context"
	"fmt"

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
// scope only, or the error is ErrScope; an empty one is an empty scope. Name, Data and
// MaxUses are the delegate's own, and so is each later renewal.
//
// ExpiresAt and MaxExpiresAt of a delegate are never past those of the token, as they
// are at any time: when the token runs out, its delegates have run out, and when it is
// renewed, they live on for as long as they would by themselves. Where that shortens
// the life that was asked for, Issued.Reduced says so. What ends the token ends its
// delegates in the same transaction, with EndParent. So each use of a delegate reads
// the records above it as well; if one of them is damaged, the error is ErrCorrupt.
//
// Errors are those of Authenticate and Issue, ErrScope, and ErrNotDelegable for a
// token with a budget of uses or MaxDelegation deep.
func (m *Manager) Delegate(ctx context.Context, bearer string, g Grant) (Issued, error) {
	_, parent, err := m.good(ctx, "delegate", bearer)
	if err != nil {
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
	if err := d.issue(ctx, "delegate"); err != nil {
		return Issued{}, m.verdict(parent.ID, err)
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
		parent := d.m.token(&rec)
		above, err := d.m.under(&parent, tx.Get)
		if err != nil {
			return err
		}
		d.spare = []ID{id}
		if above != nil {
			d.spare = append(d.spare, above.ids[:above.depth]...)
		}
		switch {
		case !parent.Live(d.now):
			return expired(&parent)
		case parent.MaxUses != 0 || len(d.spare) > MaxDelegation:
			return ErrNotDelegable
		}
		if rec.Family == (ID{}) { // so that its end looks for delegates
			rec.Family = rec.ID
			if err := tx.Put(rec); err != nil {
				return err
			}
		}
		d.rec.Family, d.rec.Parent = rec.Family, rec.ID
		d.under(&lineage{until: parent.ExpiresAt, limit: parent.MaxExpiresAt})
		return nil
	}
}

// under puts the draft under those above it, and says what that took.
func (d *draft) under(above *lineage) {
	asked := d.rec.ExpiresAt
	d.rec.MaxExpiresAt = earlierCap(d.rec.MaxExpiresAt, above.limit)
	d.rec.ExpiresAt = capped(asked, d.rec.MaxExpiresAt)
	d.above = above
	if above.soonest(d.rec.ExpiresAt).Before(asked) {
		d.reduced = []string{"TTL"}
	}
}
