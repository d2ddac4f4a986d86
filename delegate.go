package lapse

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// MaxDelegation is how many delegates a chain of delegations can have. A token that Issue made
// has a delegate, that one has another, and so on: the last one has this many tokens above it.
const MaxDelegation = 4

// Delegate stores a token, the delegate, for another party that acts in the place of bearer's
// holder. The delegate has the subject of bearer's token, its parent, and never a larger scope
// or a longer life than that. It is durable before Delegate returns.
//
// Grant.Subject is empty or that of the parent. Grant.Scope holds words of the parent's scope
// only, or the error is ErrScope; an empty Scope is an empty scope. A word that the parent
// loses by Edit is no longer seen in the scope of the delegate. Name, Data, Client and MaxUses
// are the delegate's own, and so is each later renewal. A delegate of a bound token is bound to
// the same key, or to that of Grant.Thumbprint; its AuthenticatedAt is that of the parent now.
//
// ExpiresAt and MaxExpiresAt of a delegate are never later than those of its parent, also after
// these have changed. If bearer is an access text or a previous text, they are never later than
// the end of that text. Issued.Reduced says if that shortens the life that was asked for. What
// ends the parent ends its delegates in the same transaction, with EndParent. Of all rotations
// and refreshes of the parent, only a rotation with overlap 0 ends them, with EndRotated.
//
// Delegates do not count towards MaxTokens and evict nothing: Policy.MaxDelegates limits them,
// with ErrLimit. Each use of a delegate reads the records above it as well; if one of those is
// damaged, the error is ErrCorrupt. A parent that has a budget of uses, or that is MaxDelegation
// deep, is ErrNotDelegable. Other errors are those of Authenticate and Issue.
func (m *Manager) Delegate(ctx context.Context, bearer string, g Grant) (i Issued, err error) {
	verb := m.begin(VerbDelegate, &err)
	defer m.finish(ctx, &verb, &err)
	p, parent, err := m.proveLive(ctx, &verb, bearer)
	if err != nil {
		return Issued{}, err
	}
	if g.Subject != "" && g.Subject != parent.Subject {
		return Issued{}, invalidGrant("Subject", "a delegate has that of its parent; leave it empty")
	}
	if g.RequestID != "" {
		return Issued{}, errRequestID("Delegate")
	}
	if err := g.checkPlain(&m.policy); err != nil {
		return Issued{}, err
	}
	g.Subject = parent.Subject
	d := draft{m: m, grant: g, link: func(tx storage.Tx, d *draft) error { return d.delegateFrom(tx, &p.presented) }}
	if err := d.issue(ctx, &verb); err != nil {
		return Issued{}, m.verdict(ctx, &verb, parent.ID, err)
	}
	return d.issued(ctx, &verb), nil
}

// delegateFrom makes the draft a delegate of the token whose text p is, if that is still good.
func (d *draft) delegateFrom(tx storage.Tx, p *presented) error {
	j, err := d.m.proveLiveIn(tx, p, d.now)
	if err != nil {
		return err
	}
	if err := Require(j.tok, words(d.rec.Scope)...); err != nil {
		return decide(err)
	}
	if j.tok.MaxUses != 0 || j.above != nil && j.above.depth >= MaxDelegation {
		return decide(ErrNotDelegable)
	}
	if err := d.m.roomForDelegate(tx, j.rec.ID, d.now); err != nil {
		return err
	}
	changed, err := j.becomeParent()
	if err != nil {
		return err
	}
	if changed {
		if err := putIn(tx, &j.rec); err != nil {
			return err
		}
	}
	d.rec.Family, d.rec.Parent = j.rec.Family, j.rec.ID
	d.rec.AuthenticatedAt = j.tok.AuthenticatedAt
	if d.rec.Thumbprint.IsZero() {
		d.rec.Thumbprint = j.rec.Thumbprint
	}
	until := j.until()
	d.limitBy(&ancestry{until: until, limit: earlierCap(j.tok.MaxExpiresAt, j.capOf(until))})
	return nil
}

// becomeParent prepares the record of j for a delegate: with a family its end will look for
// delegates, and its current secret has been used. It reports whether that changes the record.
func (j *judged) becomeParent() (changed bool, err error) {
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

// until returns when the text that j was judged by ends: with the token, or earlier.
func (j *judged) until() time.Time {
	if j.stands == previousText && j.rec.Kind == KindPlain {
		return capped(j.tok.ExpiresAt, j.rec.PreviousUntil)
	}
	return j.tok.ExpiresAt
}

// capOf returns until as a cap for delegates if it is the end of the text alone, which nothing
// renews. It returns the zero Time, for no cap, if it is the end of the token.
func (j *judged) capOf(until time.Time) time.Time {
	if j.stands == previousText || j.rec.Kind == KindSession {
		return until
	}
	return time.Time{}
}

// roomForDelegate returns ErrLimit if the token of id has MaxDelegates live delegates. A
// delegate that a policy of another prefix refuses counts for as long as its record lives.
func (m *Manager) roomForDelegate(tx storage.Tx, id ID, now time.Time) error {
	if m.policy.MaxDelegates == NoTokenLimit {
		return nil
	}
	n, err := m.liveDelegates(tx, id, now)
	if err == nil && n >= m.policy.MaxDelegates {
		err = decide(fmt.Errorf("%w: the token has %d delegates of %d", ErrLimit, n, m.policy.MaxDelegates))
	}
	return err
}

// liveDelegates returns how many live delegates the token of id has.
func (m *Manager) liveDelegates(tx storage.Tx, id ID, now time.Time) (n int, err error) {
	for rec, err := range readable(tx.Living(now)) {
		if err != nil {
			return 0, err
		}
		if rec.Parent == id && !spent(&rec) && m.token(&rec).Live(now) {
			n++
		}
	}
	return n, nil
}

// limitBy limits the life of the draft by the tokens above it, and sets reduced if that
// shortens it.
func (d *draft) limitBy(above *ancestry) {
	asked := d.rec.ExpiresAt
	d.rec.MaxExpiresAt = earlierCap(d.rec.MaxExpiresAt, above.limit)
	d.rec.ExpiresAt = capped(asked, d.rec.MaxExpiresAt)
	d.above = above
	if above.earliest(d.rec.ExpiresAt).Before(asked) {
		d.reduced = []string{"TTL"}
	}
}

// ancestry is what the tokens above a delegate allow it: its parent, the parent of that, and so
// on. A nil ancestry allows everything; it is that of a token that is no delegate, or that has
// been ended itself.
type ancestry struct {
	until time.Time // when the first of them runs out
	limit time.Time // the earliest of their caps, zero for none
	ended time.Time // when the first of them was ended, zero if none was
	since time.Time // when the first of them was suspended that still is, zero if none is
	depth int       // how many they are
	above [MaxDelegation]struct {
		id    ID
		scope string
	}
}

// clamp turns tok from what its own record says into what callers see: it lives no longer than
// any token above it, it was ended when the first of those was, it is suspended while one of those
// is, and it has only words of their scopes.
func (a *ancestry) clamp(tok *Token) {
	if a == nil || !tok.EndedAt.IsZero() {
		return
	}
	tok.MaxExpiresAt = earlierCap(tok.MaxExpiresAt, a.limit)
	tok.ExpiresAt, tok.Scope = a.earliest(tok.ExpiresAt), a.within(tok.Scope)
	tok.SuspendedAt = earlierCap(tok.SuspendedAt, a.since)
	if !a.ended.IsZero() {
		tok.EndedAt, tok.EndReason = a.ended, EndParent
	}
}

// within returns scope without the words that a token above lacks.
func (a *ancestry) within(scope string) string {
	if a == nil {
		return scope
	}
	for i := range a.depth {
		scope = commonWords(scope, a.above[i].scope)
	}
	return scope
}

// earliest returns t, or the instant when the first token above runs out if that is earlier.
func (a *ancestry) earliest(t time.Time) time.Time {
	if a != nil && a.until.Before(t) {
		return a.until
	}
	return t
}

// add takes tok, which is above all that were added before.
func (a *ancestry) add(tok *Token) {
	if a.depth == 0 || tok.ExpiresAt.Before(a.until) {
		a.until = tok.ExpiresAt
	}
	a.limit = earlierCap(a.limit, tok.MaxExpiresAt)
	a.ended = earlierCap(a.ended, tok.EndedAt)
	a.since = earlierCap(a.since, tok.SuspendedAt)
	a.above[a.depth].id, a.above[a.depth].scope = tok.ID, tok.Scope
	a.depth++
}

// ancestryOf reads the records above tok with get, and adds what see makes of each. The token
// cannot live if a record above it is absent, since that one has long been dead, or if there
// are more of them than Delegate makes: then until is the zero Time. The error is that of get,
// or ErrCorrupt for a record of another ID.
func ancestryOf(tok *Token, see func(*storage.Record) Token, get func(ID) (storage.Record, error)) (*ancestry, error) {
	if tok.Parent == (ID{}) || !tok.EndedAt.IsZero() {
		return nil, nil
	}
	a := new(ancestry)
	for id := tok.Parent; id != (ID{}); {
		if a.depth == MaxDelegation {
			a.until = time.Time{}
			break
		}
		rec, err := get(id)
		switch {
		case absent(err), err == nil && rec.ID == id && rec.Subject != tok.Subject:
			a.until = time.Time{}
			return a, nil
		case err != nil:
			return nil, fromOutside(err, storeErrors...)
		case rec.ID != id:
			return nil, errWrongRecord
		}
		above := see(&rec)
		a.add(&above)
		id = above.Parent
	}
	return a, nil
}

// clamp clamps tok, which m.token returned, by its ancestry, which it reads with get and
// returns. The error is that of ancestryOf, and then tok is unchanged.
func (m *Manager) clamp(tok *Token, get func(ID) (storage.Record, error)) (*ancestry, error) {
	above, err := ancestryOf(tok, m.token, get)
	above.clamp(tok)
	return above, err
}

// clampStored clamps tok, as clamp does, by the records that the store has now. The error names
// the verb.
func (m *Manager) clampStored(ctx context.Context, verb Verb, tok *Token) (*ancestry, error) {
	if tok.Parent == (ID{}) {
		return nil, nil
	}
	above, err := m.clamp(tok, m.getter(ctx))
	if err != nil {
		return nil, storeError(verb, err)
	}
	return above, nil
}

// liveByRecord reports whether rec is alive at now by its own record and those above it, which
// it reads with get. It applies no policy. A damaged record above does not end rec.
func liveByRecord(rec *storage.Record, now time.Time, get func(ID) (storage.Record, error)) (bool, error) {
	if !rec.Live(now) || rec.Parent == (ID{}) {
		return rec.Live(now), nil
	}
	tok := rec.Token
	above, err := ancestryOf(&tok, func(r *storage.Record) Token { return r.Token }, get)
	if err != nil && !damaged(err) {
		return false, err
	}
	above.clamp(&tok)
	return tok.Live(now), nil
}
