package lapse

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// login is a session on its way into the store.
type login struct {
	p     *Pairs
	grant Grant

	key             bearer.TagKey // drawn before the transaction, as the ID and the secrets
	access, refresh bearer.Credential

	epoch uint32 // of the transaction
	rec   storage.Record
	room  room
}

// run draws the random parts and stores the session, in an epoch that lasts until then.
func (l *login) run(ctx context.Context) error {
	return l.p.refresh.outlive(ctx, "issue pair", &l.room.evicted, func() (uint32, error) {
		err := l.attempt(ctx)
		return l.epoch, err
	})
}

func (l *login) attempt(ctx context.Context) (err error) {
	for range mintAttempts {
		if err = l.draw(l.p.refresh.now()); err != nil {
			return err
		}
		err = updateError("issue pair", l.p.refresh.store.Update(ctx, l.grant.Subject, l.store))
		if !errors.Is(err, ErrConflict) || errors.Is(err, ErrOutcomeUnknown) {
			break
		}
	}
	return err
}

// draw draws the ID, the key and both secrets of a session that begins at now.
func (l *login) draw(now time.Time) error {
	if err := l.refresh.Mint(now, l.grant.Subject); err != nil {
		return err
	}
	var b [len(bearer.TagKey{}) + 2*bearer.RandomLen]byte
	if err := bearer.Draw(b[:]); err != nil {
		return err
	}
	n := copy(l.key[:], b[:])
	copy(l.access[:], l.refresh[:bearer.IDLen])
	l.refresh.SetTagged(&l.key, l.p.refresh.binding, bearer.RefreshSecret, 0, b[n:])
	l.access.SetTagged(&l.key, l.p.access.binding, bearer.AccessSecret, 0, b[n+bearer.RandomLen:])
	return nil
}

// store is the transaction.
func (l *login) store(tx storage.Tx) error {
	now, epoch := l.p.refresh.stamp()
	l.epoch = epoch
	return l.p.refresh.judged(epoch, l.put(tx, now))
}

// put makes room if it must, and puts the session.
func (l *login) put(tx storage.Tx, now time.Time) error {
	p := l.p
	l.room = room{m: p.access, policy: &p.rules.policy, kind: KindSession, prefix: p.access.prefix, rules: p.rules}
	l.make(now, l.epoch)
	if f, ok := tx.(fitter); ok && f.PutIfFits(&l.rec, p.rules.policy.MaxTokens-1, now) {
		return nil
	}
	if _, err := getIn(tx, l.rec.ID); err == nil {
		return errTakenID
	} else if err != errGone {
		return err
	}
	if err := l.room.make(tx, now); err != nil {
		return err
	}
	return putIn(tx, &l.rec)
}

// make sets the record of a session that begins at now.
func (l *login) make(now time.Time, epoch uint32) {
	p, g := l.p, l.grant
	ttl := g.ttl(&p.access.policy)
	g.TTL, g.SessionTTL = g.SessionTTL, 0
	g.record(&l.rec, &p.rules.policy, p.access.prefix, now)
	l.rec.ID, l.rec.Kind, l.rec.Epoch = l.refresh.ID(), KindSession, epoch
	l.rec.Digest = l.refresh.Digest(p.refresh.binding)
	kept := sessionParts{
		refreshPrefix: p.refresh.prefix,
		accessScope:   g.Scope,
		key:           l.key,
		accessExpires: capped(steady.Add(now, ttl), l.rec.ExpiresAt),
		accessTTL:     ttl,
		access:        l.access.Sum(p.access.binding),
	}
	l.rec.Sealed = kept.seal()
}
