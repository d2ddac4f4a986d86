package lapse

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Use counts a message of the peer as a use of the token, by its ID: no text is kept, and Admit
// is not asked. It records and renews what Authenticate with the current text would, as often as
// Policy.RenewEvery lets it. Where no use is due Use reads no record and allocates nothing.
//
// Every use of a session counts: it raises LastUsedAt alone. A plain token may have been rotated
// since the connection was opened, or the connection may have been opened by a previous text.
// Then Use records nothing and returns nil until the connection is cut.
//
// Once Context has ended, Use returns context.Cause of it: of a token that died a *Rejection,
// as Authenticate gives it. Use may return such a *Rejection before the connection is cut, and nil
// until the end of the token has reached the connection. For a token with a budget
// (Grant.MaxUses) it returns ErrNotRenewable, and spends nothing. Any other error means that Use
// could not tell: it is one of the store or of ctx, or ErrClock. A use that could not be recorded
// is good, and Observe is told, as by Authenticate. Use may be called concurrently.
func (h *Hold) Use(ctx context.Context) (err error) {
	verb := call{Verb: VerbUse}
	if held := h.Context(); held.Err() != nil {
		return h.useTooLate(ctx, &verb, context.Cause(held))
	}
	defer h.m.finish(ctx, &verb, &err)
	if err := h.m.ready(ctx, &verb); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return storeError(VerbUse, err)
	}
	if at := h.readAt.Load(); at != 0 && h.m.now().UnixMilli() < at {
		return nil // BenchmarkHoldUse: by the record a use takes 2.7 times as long
	}
	return h.use(ctx, &verb)
}

// useTooLate counts a Use after Context has ended, and returns the cause of that. A peer that left is
// no failure: it counts as canceled, and Observe is not told the cause, which may quote a secret.
func (h *Hold) useTooLate(ctx context.Context, verb *call, cause error) error {
	if _, rejected := cause.(*Rejection); rejected || errors.Is(cause, ErrClosed) {
		h.m.finish(ctx, verb, &cause)
	} else {
		h.m.count(VerbUse, outcomeOf(context.Canceled), 1)
	}
	return cause
}

// use is Use by the record of the token.
func (h *Hold) use(ctx context.Context, verb *call) error {
	m, by := h.m, h.conn.Generation()
	var rec storage.Record
	err := m.load(ctx, h.token.ID, &rec)
	now := m.now()
	switch err = ofID(h.token.ID, &rec, err); {
	case err == errGone:
		return m.refuse(ctx, verb, &Rejection{Err: ErrUnknown, ID: h.token.ID})
	case err != nil:
		return storeError(VerbUse, err)
	}
	above, err := m.viewHeld(ctx, verb, &rec, by, now)
	switch {
	case err != nil:
		return err
	case rec.MaxUses != 0:
		return ErrNotRenewable
	case floorOf(&rec) > by:
		return m.refuse(ctx, verb, heldReplaced(rec.ID, rec.Subject, by))
	}
	counts := rec.Kind == KindSession || rec.Generation == by
	if counts && m.mayRecord(&rec, now) {
		if err := m.recordHeldUse(ctx, verb, &rec, by, now, above); err != nil {
			return err
		}
	}
	h.readAt.Store(m.useReadAt(&rec, counts))
	return nil
}

// viewHeld changes rec, which m owns, into what callers see of a token that a connection is held
// by, and returns the tokens above it. A dead token is refused to a secret of generation by.
func (m *Manager) viewHeld(ctx context.Context, verb *call, rec *storage.Record, by uint32, now time.Time) (above *ancestry, err error) {
	m.showClockEnd(rec)
	m.viewText(rec, currentText)
	if alive(&rec.Token, now) {
		if above, err = m.clampStored(ctx, VerbUse, &rec.Token); err != nil {
			return nil, err
		}
	}
	if !alive(&rec.Token, now) {
		return nil, m.refuse(ctx, verb, expired(&rec.Token, by))
	}
	return above, nil
}

// recordHeldUse is recordUse by a connection that the current secret of rec, which is of
// generation by, has opened, or by any connection of a session.
func (m *Manager) recordHeldUse(ctx context.Context, verb *call, rec *storage.Record, by uint32, now time.Time, above *ancestry) error {
	switch {
	case unusedSecret(rec): // Hold could not store that it used the secret
		id := rec.ID
		m.firstUse(ctx, verb, &rec.Token, func(tx storage.Tx, now time.Time) (judged, error) {
			return m.judgeHeldIn(tx, id, by, now)
		})
	case m.policy.due(&rec.Token, now):
		m.touch(ctx, verb, &rec.Token, rec.TTL, now, above)
	}
	return m.refuseOvertaken(ctx, verb, &rec.Token, rec.Epoch, by)
}

// judgeHeldIn is proveLiveIn for a connection that a secret of generation by has opened, of the
// plain token of id. j.stands is currentText if that is still the current secret.
func (m *Manager) judgeHeldIn(tx storage.Tx, id ID, by uint32, now time.Time) (j judged, err error) {
	if j.rec, err = getIn(tx, id); err != nil {
		return j, err
	}
	if j.stands = previousText; j.rec.Generation == by {
		j.stands = currentText
	}
	return j, m.viewLiveIn(tx, &j, by, now)
}

// useReadAt returns the instant, in Unix milliseconds, at which a use of rec by a connection can
// first record something or be refused, or 0 if the next use may record something whenever it
// comes. counts says that uses of the connection are recorded. rec is as callers see it after the
// last use.
func (m *Manager) useReadAt(rec *storage.Record, counts bool) int64 {
	expires := rec.ExpiresAt.UnixMilli()
	switch {
	case !counts:
		return expires
	case m.policy.RenewEvery == 0 || unusedSecret(rec):
		return 0
	}
	since := max(rec.IssuedAt.UnixMilli(), rec.LastUsedAt.UnixMilli())
	return min(expires, since+m.policy.RenewEvery.Milliseconds())
}
