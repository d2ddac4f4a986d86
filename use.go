package lapse

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// useNow records that the current secret of rec, which p presents, was used at now. It
// refuses p if a new epoch has begun meanwhile.
func (m *Manager) useNow(ctx context.Context, verb string, p *presented, rec *storage.Record, now time.Time, above *lineage) error {
	switch {
	case rec.Generation != 0 && unusedSecret(rec):
		m.firstUse(ctx, verb, p, &rec.Token)
	case m.policy.due(&rec.Token, now):
		m.used(ctx, &rec.Token, rec.TTL, now, above)
	}
	return m.refuseOvertaken(ctx, &rec.Token, rec.Epoch, p.generation)
}

// firstUse records the first use of the current secret of tok, which p presents: no
// rotation gives that secret again. That it could not be stored does not unmake the use.
func (m *Manager) firstUse(ctx context.Context, verb string, p *presented, tok *Token) {
	var at time.Time
	var used Token
	var renewed bool
	kept := p.keep()
	err := m.update(ctx, verb, tok.Subject, func(tx storage.Tx, now time.Time) error {
		j, err := m.goodIn(tx, kept, now)
		if err != nil || j.stands != currentText {
			return err
		}
		at, used = now, j.tok
		if changed, err := useSecret(&j.rec); err != nil || !changed {
			return err
		}
		use, _ := m.policy.use(&j.tok, j.rec.TTL, now)
		use.Raise(&j.rec)
		used = m.token(&j.rec)
		j.above.lower(&used)
		renewed = used.ExpiresAt.After(j.tok.ExpiresAt)
		return putIn(tx, &j.rec)
	})
	switch {
	case errors.Is(err, ErrUnauthenticated): // ended or replaced since it was judged
	case err != nil:
		m.tell(ctx, Event{Kind: EventRenewalFailed, At: m.now(), Token: *tok, Err: err})
	case used.ID != (ID{}):
		*tok = used
		if renewed {
			m.tell(ctx, Event{Kind: EventRenewed, At: at, Token: used})
		}
	}
}

// used records that tok was used at now, which is due, if that raises something, and
// brings tok up to what everyone sees then. That it could not be stored does not unmake
// the use.
func (m *Manager) used(ctx context.Context, tok *Token, ttl time.Duration, now time.Time, above *lineage) {
	expires, raises := m.policy.dueUse(tok, ttl, now)
	if !raises || m.admission != nil && !tok.Live(m.now()) { // Admit took too long to renew by
		return
	}
	if err := m.store.Touch(ctx, tok.ID, storage.Use{At: now, ExpiresAt: expires}); err != nil {
		m.tell(ctx, Event{Kind: EventRenewalFailed, At: now, Token: *tok, Err: storeError("renew on use", err)})
		return
	}
	expires = above.soonest(expires)
	renewed := expires.After(tok.ExpiresAt)
	if now.After(tok.LastUsedAt) {
		tok.LastUsedAt = now
	}
	if renewed {
		tok.ExpiresAt = expires
	}
	if renewed && m.observe != nil { // an Event is large
		m.tell(ctx, Event{Kind: EventRenewed, At: now, Token: *tok})
	}
}
