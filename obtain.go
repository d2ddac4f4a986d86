package lapse

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Obtain returns the subject's live token with the Name, Scope and MaxUses of g,
// renewed and with the same bearer text as before, or issues one where there is none.
// Issued.Existing says which. This is the log-in of programs that keep one token for each
// subject, or for each subject and device (by Name): however many log in at once, all
// hold the same token. It is durable before it returns.
//
// Only tokens made by Obtain are given again, and only by a Manager of the same prefix;
// of several the newest. Their secrets are derived from Config.Keys, the token's ID and
// a random salt, and only the salt is stored. So whoever holds a key and the records
// can make their bearers; without a key the records are worth as little as those of any
// other token.
//
// A token that is given again keeps its own Data and TTL, whatever g says. It is renewed
// as by Renew, under RenewOnRequest too, and never past its cap; under RenewNever it is given as
// it is. Giving it again costs no room, and spends none of its uses.
//
// A token whose key is no longer among Config.Keys authenticates until Obtain is asked
// for it. Then its secret is replaced in the same transaction, as by Rotate with an
// overlap of 0: the token stays, its old text ends, and so does what was delegated from
// it. After Rotate, Obtain gives the new text.
//
// As for Issue, Admit is not asked, and AtLimit decides where there is no room
// for a new token. Its cost grows with the live records of the subject.
//
// Errors are ErrNoKeys and those of Issue; each but ErrOutcomeUnknown has changed
// nothing, and after that one Obtain gives the token that it may have made.
func (m *Manager) Obtain(ctx context.Context, g Grant) (Issued, error) {
	if len(m.keys) == 0 {
		return Issued{}, ErrNoKeys
	}
	if err := g.check(&m.policy); err != nil {
		return Issued{}, err
	}
	o := obtaining{draft: draft{m: m, grant: g, key: m.keys[0]}, rotation: rotation{m: m}}
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
	return Issued{Token: o.token, Bearer: o.held.text(m.prefix), Existing: true}, nil
}

// obtaining is a draft that is not needed if the subject has its token already.
type obtaining struct {
	draft    draft
	rotation rotation // of a token whose key is retired

	found     bool // the rest is about what was found
	held      credential
	token     Token
	renewedAt time.Time // zero: not renewed
	rotated   bool
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
	o.renewedAt, o.rotated, d.evicted = time.Time{}, false, nil
	rec, err := d.candidate(tx, now)
	if err != nil {
		return err
	}
	if o.found = rec.ID != (ID{}); !o.found {
		return d.put(tx)
	}
	if d.m.reveal(&rec, &o.held) {
		return o.renew(tx, &rec, now)
	}
	o.rotated, o.rotation.id = true, rec.ID
	if err := o.rotation.run(tx, now); err != nil {
		return err
	}
	d.evicted = o.rotation.ended
	o.token, o.held = o.rotation.token, o.rotation.cred
	return nil
}

// renew gives rec, which is live, a new TTL unless the policy is RenewNever.
func (o *obtaining) renew(tx storage.Tx, rec *storage.Record, now time.Time) error {
	m := o.draft.m
	o.token = m.token(rec)
	if m.policy.Renewal == RenewNever {
		return nil
	}
	renewal(&o.token, rec.TTL, now).Raise(rec)
	o.token, o.renewedAt = m.token(rec), now
	return tx.Put(*rec)
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
	return rec.Prefix == d.m.prefix && rec.Name == g.Name && rec.Scope == g.Scope &&
		rec.MaxUses == g.MaxUses && (rec.MaxUses == 0 || rec.UsesLeft > 0)
}
