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
	d.under(&lineage{until: until, limit: earlierCap(j.tok.MaxExpiresAt, j.leftOf(until))})
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

// lineage is what those that a delegate came from, near or far, make of it. A nil
// lineage is that of a token that is nobody's delegate, or was ended itself.
type lineage struct {
	until time.Time // when the first of them runs out
	limit time.Time // the earliest of their caps, zero for none
	ended time.Time // when the first of them was ended, zero if none was
	depth int       // how many they are
	ids   [MaxDelegation]ID
}

// lower makes of tok, as its own record has it, what everyone sees of it: it lives no
// longer than any of those above, and it was ended when one of them was.
func (l *lineage) lower(tok *Token) {
	if l == nil || !tok.EndedAt.IsZero() {
		return
	}
	tok.MaxExpiresAt = earlierCap(tok.MaxExpiresAt, l.limit)
	tok.ExpiresAt = l.soonest(tok.ExpiresAt)
	if !l.ended.IsZero() {
		tok.EndedAt, tok.EndReason = l.ended, EndParent
	}
}

// soonest returns t, or when the first of those above runs out if that is earlier.
func (l *lineage) soonest(t time.Time) time.Time {
	if l != nil && l.until.Before(t) {
		return l.until
	}
	return t
}

// lineageOf reads those above tok with get, and takes of each what see makes of it.
// One that is gone has long been dead, and more than Delegate puts above each other
// are no good either: then nothing is left of the life of tok.
func lineageOf(tok *Token, see func(*storage.Record) Token, get func(ID) (storage.Record, error)) (*lineage, error) {
	if tok.Parent == (ID{}) || !tok.EndedAt.IsZero() {
		return nil, nil
	}
	l := new(lineage)
	for id := tok.Parent; id != (ID{}); l.depth++ {
		if l.depth == MaxDelegation {
			l.until = time.Time{}
			break
		}
		rec, err := get(id)
		switch {
		case absent(err), err == nil && rec.ID == id && rec.Subject != tok.Subject:
			l.until = time.Time{}
			return l, nil
		case err != nil:
			return nil, fromOutside(err, storeErrors...)
		case rec.ID != id:
			return nil, errWrongRecord
		}
		above := see(&rec)
		if l.depth == 0 || above.ExpiresAt.Before(l.until) {
			l.until = above.ExpiresAt
		}
		l.limit = earlierCap(l.limit, above.MaxExpiresAt)
		l.ended = earlierCap(l.ended, above.EndedAt)
		l.ids[l.depth] = id
		id = above.Parent
	}
	return l, nil
}

// under lowers tok, which m.token returned, by those above it, which get returns. The
// error leaves tok as it is: it is that of get, or ErrCorrupt.
func (m *Manager) under(tok *Token, get func(ID) (storage.Record, error)) (*lineage, error) {
	above, err := lineageOf(tok, m.token, get)
	above.lower(tok)
	return above, err
}

// underStored is under by what the store says now.
func (m *Manager) underStored(ctx context.Context, verb string, tok *Token) (*lineage, error) {
	if tok.Parent == (ID{}) {
		return nil, nil
	}
	above, err := m.under(tok, func(id ID) (storage.Record, error) { return m.store.Get(ctx, id) })
	if err != nil {
		return nil, storeError(verb, err)
	}
	return above, nil
}

// lasts reports whether rec is alive at now by what the records say, its own and those
// above it, whatever a policy makes of them. One above that is damaged may be alive.
func lasts(rec *storage.Record, now time.Time, get func(ID) (storage.Record, error)) (bool, error) {
	if !rec.Live(now) || rec.Parent == (ID{}) {
		return rec.Live(now), nil
	}
	tok := rec.Token
	above, err := lineageOf(&tok, func(r *storage.Record) Token { return r.Token }, get)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return false, err
	}
	above.lower(&tok)
	return tok.Live(now), nil
}
