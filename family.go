package lapse

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// pairDrafts are a refresh token and an access token on their way into the store, in
// one transaction.
type pairDrafts struct {
	p               *Pairs
	refresh, access draft
	drawn           func() error // what else the secrets are needed for; may be nil
	now             time.Time    // of the transaction
}

// drafts returns those for g, without what ties the refresh token to a family.
func (p *Pairs) drafts(g Grant, ttl time.Duration) *pairDrafts {
	d := &pairDrafts{p: p}
	d.access = draft{m: p.access, grant: g, tie: d.tieAccess}
	d.access.grant.TTL = ttl
	g.TTL = 0
	d.refresh = draft{m: p.refresh, grant: g, families: true}
	return d
}

// What is sealed in the tokens of a pair, a kind and its version: Refresh replaces them,
// and nothing else does.
const (
	paired   = "a1" // in an access token
	awaiting = "r1" // in a refresh token until it is rotated; the prefix of its access tokens follows
)

// ofPair reports whether rec is a token of Pairs that has not been rotated.
func ofPair(rec *storage.Record) bool {
	text := rec.Sealed.Text()
	return text == paired || strings.HasPrefix(text, awaiting)
}

// awaits is what is sealed in the refresh tokens of p, so that those of other Pairs with
// the same prefix get no access tokens of p.
func (p *Pairs) awaits() storage.Sealed { return storage.NewSealed(awaiting + p.access.prefix) }

// made reports whether rec, a refresh token by its prefix, is one that p made, or one
// that has been rotated, which says no longer who made it.
func (p *Pairs) made(rec *storage.Record) bool {
	return rec.Family != (ID{}) && rec.Parent == (ID{}) && (rec.EndReason == EndRotated || rec.Sealed.Equal(p.awaits()))
}

// tieAccess ties the access token to the refresh token, which is stored before it.
func (d *pairDrafts) tieAccess(_ storage.Tx, a *draft) error {
	a.rec.Family, a.rec.Sealed = d.refresh.rec.Family, storage.NewSealed(paired)
	a.rec.MaxExpiresAt = earlierCap(a.rec.MaxExpiresAt, d.refresh.rec.MaxExpiresAt)
	a.rec.ExpiresAt = capped(a.rec.ExpiresAt, a.rec.MaxExpiresAt)
	return nil
}

// put draws the credentials and runs fn in a transaction over subject.
func (d *pairDrafts) put(ctx context.Context, verb, subject string, fn func(tx storage.Tx, now time.Time) error) (err error) {
	for range mintAttempts {
		if err := d.draw(subject); err != nil {
			return err
		}
		err = d.p.refresh.update(ctx, verb, subject, fn)
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	return err
}

func (d *pairDrafts) draw(subject string) error {
	now := d.p.refresh.now()
	if err := d.refresh.draw(now, subject); err != nil {
		return err
	}
	if err := d.access.draw(now, subject); err != nil {
		return err
	}
	if d.drawn == nil {
		return nil
	}
	return d.drawn()
}

func (d *pairDrafts) storeAt(tx storage.Tx, now time.Time) error {
	d.now = now
	if err := d.refresh.storeAt(tx, now); err != nil {
		return err
	}
	return d.access.storeAt(tx, now)
}

// credentials is what there is to return once the drafts are stored. It tells of
// what made room for them, and of them.
func (d *pairDrafts) credentials() Credentials {
	var c Credentials
	d.access.answer(&c.Access)
	d.refresh.answer(&c.Refresh)
	c.ExpiresIn = left(&c.Access.Token, d.now)
	for _, made := range [...]*draft{&d.refresh, &d.access} {
		d.p.tellEnded(made.evicted)
	}
	for _, tok := range [...]*Token{&c.Refresh.Token, &c.Access.Token} {
		d.p.of(tok).tell(Event{Kind: EventIssued, At: tok.IssuedAt, Token: *tok})
	}
	return c
}

// left returns how long tok lives from now.
func left(tok *Token, now time.Time) time.Duration {
	if !tok.Live(now) {
		return 0
	}
	return tok.ExpiresAt.Sub(now)
}

// survey goes through all of the subject's records once. It wipes what is sealed and
// of no use any more: what is out of its grace, and what leads to old, a refresh token
// that has been presented. It returns the access tokens of old's family that live by
// their records, delegates aside; none if old is nil.
func (p *Pairs) survey(tx storage.Tx, now time.Time, old *storage.Record) (access []storage.Record, err error) {
	for rec, err := range tx.Records() {
		switch {
		case errors.Is(err, ErrCorrupt): // denied as it is
		case err != nil:
			return nil, err
		case rec.Prefix == p.refresh.prefix && rec.EndReason == EndRotated && rec.Sealed.Len() > 0:
			if p.within(rec.EndedAt, now) && (old == nil || rec.Successor != old.ID) {
				continue
			}
			rec.Sealed = storage.Sealed{}
			if err := tx.Put(rec); err != nil {
				return nil, err
			}
		case old != nil && rec.Family == old.Family && rec.Prefix == p.access.prefix && rec.Parent == (ID{}) && rec.Live(now):
			access = append(access, rec)
		}
	}
	return access, nil
}

// within reports whether now is within the grace of a rotation. A clock that has
// stepped back by less than the grace is, as are clocks of several machines that
// differ a little; further back is not, or a clock that was set back would open the
// grace for as long as it takes to catch up.
func (p *Pairs) within(rotated, now time.Time) bool {
	return now.Before(rotated.Add(p.grace)) && rotated.Before(now.Add(p.grace))
}
