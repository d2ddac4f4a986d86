package lapse

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Obtain returns the subject's live token for a grant like g, or issues one where there
// is none; Issued.Existing says which. It is the log-in of programs that keep one token for
// each subject, or each device (by Name): however many log in at once, all get the same
// text. It is durable before it returns.
//
// A token is like g if Name, Data, MaxUses and UseGrace are those of g, and Scope has the
// same words in any order. Another TTL is told in Issued.Reduced. Obtain gives only tokens
// of its own making and of its Manager's prefix, of several the newest. Secrets derive from
// Config.Keys, the ID and a stored salt: who has a key and the records can make them.
//
// A token given again is renewed as by Renew, under RenewOnRequest too, but not under
// RenewNever. If less than Grant.MinLeft of its life is left then, its secret is replaced
// as by Rotate, with the TTL of g, and the old text works until the expiry that it had. If
// its key is gone from Config.Keys, the secret is replaced as with overlap 0. Neither needs
// room, nor spends a use. After Rotate, Obtain gives the new text. As for Issue, Admit is
// not asked, and AtLimit decides whether there is room for a new token.
//
// Errors are ErrNoKeys and those of Issue. After ErrOutcomeUnknown, Obtain gives the token
// that it may have made; any other error has changed nothing.
func (m *Manager) Obtain(ctx context.Context, g Grant) (Issued, error) {
	if len(m.keys) == 0 {
		return Issued{}, ErrNoKeys
	}
	if err := g.checkObtain(&m.policy); err != nil {
		return Issued{}, err
	}
	o := obtaining{asked: g, draft: draft{m: m, grant: g, key: m.keys[0]}, rotation: rotation{m: m}}
	if err := o.rotation.draw(); err != nil {
		return Issued{}, err
	}
	if err := o.draft.run(ctx, "obtain", o.decide); err != nil {
		return Issued{}, err
	}
	if !o.found {
		return o.draft.issued(ctx), nil
	}
	if o.rotated {
		m.tellEnded(ctx, o.draft.evicted)
		m.tell(ctx, Event{Kind: EventRotated, At: o.token.RotatedAt, Token: o.token})
	}
	if !o.renewedAt.IsZero() {
		m.tell(ctx, Event{Kind: EventRenewed, At: o.renewedAt, Token: o.token})
	}
	return Issued{Token: o.token, Bearer: o.held.Text(m.prefix), Existing: true, Reduced: o.reduced}, nil
}

// obtaining is a draft that is not needed if the subject has its token already.
type obtaining struct {
	asked    Grant // of which draft draws the TTL
	draft    draft
	rotation rotation // of a token whose key is retired, or which is about to die

	found     bool // the rest is about what was found
	held      bearer.Credential
	token     Token
	renewedAt time.Time // zero: not renewed
	rotated   bool
	reduced   []string
}

// decide is the transaction.
func (o *obtaining) decide(tx storage.Tx) error {
	d := &o.draft
	d.now, d.epoch = d.m.stamp()
	return d.m.judged(d.epoch, o.choose(tx, d.now))
}

// choose finds the token to give again, or issues one.
func (o *obtaining) choose(tx storage.Tx, now time.Time) error {
	d := &o.draft
	o.renewedAt, o.rotated, o.reduced, d.evicted = time.Time{}, false, nil, nil
	rec, err := d.candidate(tx, now)
	if err != nil {
		return err
	}
	if o.found = rec.ID != (ID{}); !o.found {
		return d.put(tx)
	}
	o.token = d.m.token(&rec)
	if !d.m.reveal(&rec, &o.held) {
		return o.replace(tx, rec.ID, 0, now)
	}
	until := o.token.ExpiresAt
	if d.m.policy.Renewal != RenewNever {
		until = latest(until, renewedUntil(&o.token, rec.TTL, now))
	}
	if until.Sub(now) < o.asked.minLeft(&d.m.policy) {
		return o.replace(tx, rec.ID, o.token.ExpiresAt.Sub(now), now)
	}
	if rec.TTL < o.asked.leastTTL(&d.m.policy) || rec.TTL > o.asked.ttl(&d.m.policy) {
		o.reduced = []string{"TTL"}
	}
	return o.renew(tx, &rec, now)
}

// replace gives the token of id a new secret, and the life that was asked for.
func (o *obtaining) replace(tx storage.Tx, id ID, overlap time.Duration, now time.Time) error {
	r := &o.rotation
	r.id, r.overlap, r.life = id, overlap, o.draft.grant.ttl(&o.draft.m.policy)
	if err := r.run(tx, now); err != nil {
		return err
	}
	o.token, o.held, o.rotated, o.draft.evicted = r.token, r.cred, true, r.ended
	if o.token.ExpiresAt.After(steady.Add(now, r.life)) { // a renewal shortens no life
		o.reduced = []string{"TTL"}
	}
	return nil
}

// renew gives rec, which is live, a new TTL unless the policy is RenewNever.
func (o *obtaining) renew(tx storage.Tx, rec *storage.Record, now time.Time) error {
	m := o.draft.m
	if m.policy.Renewal == RenewNever {
		return nil
	}
	renewal(&o.token, rec.TTL, now).Raise(rec)
	o.token, o.renewedAt = m.token(rec), now
	return putIn(tx, rec)
}

// candidate returns the newest of the live tokens that were made by Obtain for a grant
// like the draft's, or a record without ID. One that is damaged is denied, so it is none.
func (d *draft) candidate(tx storage.Tx, now time.Time) (found storage.Record, err error) {
	for rec, err := range readable(tx.Living(now)) {
		if err != nil {
			return storage.Record{}, err
		}
		if !d.fits(&rec) || !madeByObtain(&rec) {
			continue
		}
		if tok := d.m.token(&rec); tok.Live(now) && !rec.IssuedAt.Before(found.IssuedAt) {
			found = rec
		}
	}
	return found, nil
}

// fits reports whether rec is what the draft's grant asks for, and can still be used.
func (d *draft) fits(rec *storage.Record) bool {
	g := &d.grant
	return rec.Prefix == d.m.prefix && rec.Name == g.Name && rec.Data == g.Data &&
		within(rec.Scope, g.Scope) && within(g.Scope, rec.Scope) &&
		rec.MaxUses == g.MaxUses && rec.UseGrace == g.UseGrace.Truncate(time.Millisecond) && (rec.MaxUses == 0 || rec.UsesLeft > 0)
}
