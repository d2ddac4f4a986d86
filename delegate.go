package lapse

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// MaxDelegation is how deep a chain of delegations can be: a token that Issue made
// delegates to another, that to a third, down to this many below the first.
const MaxDelegation = 4

// Delegate stores a token for another party that acts in the place of bearer's holder:
// for the same subject, with no more scope, and with no longer a life. It is durable
// before it returns.
//
// Grant.Subject is empty or that of the token. Grant.Scope holds words of the token's
// scope only, or the error is ErrScope; an empty one is an empty scope. Name, Data and
// MaxUses are the delegate's own, and so is each later renewal.
//
// ExpiresAt and MaxExpiresAt of a delegate are never past those that the token has at any
// time, nor past what the text had left if bearer is an access text or a previous one;
// Issued.Reduced says if that shortens the life that was asked for. What ends the token
// ends its delegates in the same transaction, with EndParent; of all rotations and
// refreshes Rotate with overlap 0 alone ends them.
//
// Delegates do not count towards MaxTokens and evict nothing: Policy.MaxDelegates limits
// them, with ErrLimit. Each use of a delegate reads the records above it as well; if one
// of them is damaged, the error is ErrCorrupt. Other errors are those of Authenticate and
// Issue, and ErrNotDelegable for a token with a budget of uses or MaxDelegation deep.
func (m *Manager) Delegate(ctx context.Context, bearer string, g Grant) (Issued, error) {
	p, parent, err := m.good(ctx, "delegate", bearer)
	if err != nil {
		return Issued{}, err
	}
	if g.Subject != "" && g.Subject != parent.Subject {
		return Issued{}, invalidGrant("Subject", "a delegate has that of its parent; leave it empty")
	}
	if err := g.checkPlain(&m.policy); err != nil {
		return Issued{}, err
	}
	g.Subject = parent.Subject
	if err := Require(parent, words(g.Scope)...); err != nil {
		return Issued{}, err
	}
	d := draft{m: m, grant: g, tie: func(tx storage.Tx, d *draft) error { return d.delegateFrom(tx, &p.presented) }}
	if err := d.issue(ctx, "delegate"); err != nil {
		return Issued{}, m.verdict(ctx, parent.ID, err)
	}
	return d.issued(ctx), nil
}

// delegateFrom ties the draft to the token whose text p is, if that is still good.
func (d *draft) delegateFrom(tx storage.Tx, p *presented) error {
	j, err := d.m.goodIn(tx, p, d.now)
	if err != nil {
		return err
	}
	if j.tok.MaxUses != 0 || j.above != nil && j.above.depth >= MaxDelegation {
		return decide(ErrNotDelegable)
	}
	if err := d.m.roomForDelegate(tx, j.rec.ID, d.now); err != nil {
		return err
	}
	changed, err := j.delegates()
	if err != nil {
		return err
	}
	if changed {
		if err := putIn(tx, &j.rec); err != nil {
			return err
		}
	}
	d.rec.Family, d.rec.Parent = j.rec.Family, j.rec.ID
	until := j.until()
	d.limitBy(&ancestry{until: until, limit: earlierCap(j.tok.MaxExpiresAt, j.leftOf(until))})
	return nil
}

// delegates prepares the record of j for a delegate: its end will look for delegates,
// and its current secret has been used. It reports whether that changes the record.
func (j *judged) delegates() (changed bool, err error) {
	if j.stands == currentText && j.rec.Kind == KindPlain {
		if changed, err = useSecret(&j.rec); err != nil {
			return false, err
		}
	}
	if j.rec.Family == (ID{}) {
		j.rec.Family, changed = j.rec.ID, true
	}
	return changed, nil
}

// until returns when what j was judged by ends: the token, or the text if that ends
// earlier.
func (j *judged) until() time.Time {
	if j.stands == previousText && j.rec.Kind == KindPlain {
		return capped(j.tok.ExpiresAt, j.rec.PreviousUntil)
	}
	return j.tok.ExpiresAt
}

// leftOf returns until as a cap where it is one of the text alone, which nothing renews.
func (j *judged) leftOf(until time.Time) time.Time {
	if j.stands == previousText || j.rec.Kind == KindSession {
		return until
	}
	return time.Time{}
}

// roomForDelegate returns ErrLimit if the token of id has as many live delegates as it
// may. A delegate that a policy of another prefix keeps out counts as long as its record
// lives.
func (m *Manager) roomForDelegate(tx storage.Tx, id ID, now time.Time) error {
	if m.policy.MaxDelegates == NoTokenLimit {
		return nil
	}
	n := 0
	for rec, err := range readable(tx.Living(now)) {
		if err != nil {
			return err
		}
		if rec.Parent == id && !spent(&rec) && m.token(&rec).Live(now) {
			n++
		}
	}
	if n >= m.policy.MaxDelegates {
		return decide(fmt.Errorf("%w: the token has %d delegates of %d", ErrLimit, n, m.policy.MaxDelegates))
	}
	return nil
}

// limitBy puts the draft under those above it, and says what that took.
func (d *draft) limitBy(above *ancestry) {
	asked := d.rec.ExpiresAt
	d.rec.MaxExpiresAt = earlierCap(d.rec.MaxExpiresAt, above.limit)
	d.rec.ExpiresAt = capped(asked, d.rec.MaxExpiresAt)
	d.above = above
	if above.earliest(d.rec.ExpiresAt).Before(asked) {
		d.reduced = []string{"TTL"}
	}
}
