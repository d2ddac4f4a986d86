package lapse

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/internal/hold"
	"github.com/seed-55daa01a/lapse/storage"
)

// Use counts a message of the peer as a use of the token, by the ID of the token: no text is kept.
// Use asks no Admit. It records and renews what Authenticate with the current text would, as often
// as Policy.RenewEvery lets it. Where no use is due, and no verb such as Edit has changed the token,
// Use reads no record and allocates nothing.
//
// Every use of a session counts: it raises LastUsedAt alone. A plain token may have been rotated
// since the connection was opened, or the connection may have been opened by a previous text.
// Then Use records nothing and returns nil until the connection is cut.
//
// Once Context has ended, Use returns context.Cause of it and tells Observe nothing: of a token
// that died or was suspended the cause is a *Rejection, as of Authenticate. Use may refuse before
// the cut. It may also return nil for a short time after the end. On ErrUnauthenticated go on
// reading: the cut ends Context, which closes the connection. For a token with a budget
// (Grant.MaxUses) Use returns ErrNotRenewable, and spends nothing. Any other error means that Use
// could not tell: it is one of the store or of ctx, or ErrClock. A use that could not be recorded
// is good, and Observe is told, as by Authenticate. Use may be called concurrently.
func (h *Hold) Use(ctx context.Context) (err error) {
	if held := h.Context(); held.Err() != nil {
		return h.countUseAfterEnd(context.Cause(held))
	}
	verb := h.m.begin(VerbUse, &err)
	defer h.m.finish(ctx, &verb, &err)
	if err := h.m.ready(ctx, &verb); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return storeError(VerbUse, err)
	}
	readAt := h.conn.ReadAt()
	if readAt.After(h.m.now().UnixMilli()) {
		return nil // BenchmarkHoldUse: by the record a use takes 2.7 times as long
	}
	return h.use(ctx, &verb, readAt)
}

// countUseAfterEnd counts a Use after Context has ended with cause, and returns cause. A cause that
// the caller of Hold chose counts as canceled. Observe is told nothing: EventCut has told what a
// cut is about, and a cause of the caller may hold a secret.
func (h *Hold) countUseAfterEnd(cause error) error {
	counted := cause
	if _, rejected := cause.(*Rejection); !rejected && !errors.Is(cause, ErrClosed) {
		counted = context.Canceled
	}
	h.m.count(VerbUse, outcomeOf(counted), 1)
	return cause
}

// use is Use by the record of the token. readAt is the ReadAt of the connection before the record is
// read.
func (h *Hold) use(ctx context.Context, verb *call, readAt hold.ReadAt) error {
	m, generation := h.m, h.conn.Generation()
	var rec storage.Record
	err := m.load(ctx, h.token.ID, &rec)
	now := m.now()
	switch err = ofID(h.token.ID, &rec, err); {
	case err == errGone:
		return m.refuse(ctx, verb, &Rejection{Err: ErrUnknown, ID: h.token.ID})
	case err != nil:
		return storeError(VerbUse, err)
	}
	above, err := m.viewHeld(ctx, verb, &rec, generation, now)
	if err == nil {
		h.found(&rec.Token)
	}
	switch {
	case err != nil:
		return err
	case rec.MaxUses != 0:
		return ErrNotRenewable
	case floorOf(&rec) > generation:
		return m.refuse(ctx, verb, heldReplaced(rec.ID, rec.Subject, generation))
	}
	counts := rec.Kind == KindSession || rec.Generation == generation
	if counts && m.mayRecord(&rec, now) {
		if err := m.recordHeldUse(ctx, verb, &rec, generation, now, above); err != nil {
			return err
		}
	}
	h.conn.SetReadAt(readAt, m.useReadAt(&rec, counts))
	return nil
}

// found keeps tok, as a Use has found it, for Token. Most uses find only LastUsedAt and ExpiresAt
// changed: to keep these would take the memory of a second Token for each connection.
func (h *Hold) found(tok *Token) {
	last, used, expires := h.seen(), tok.LastUsedAt, tok.ExpiresAt
	tok.LastUsedAt, tok.ExpiresAt = last.LastUsedAt, last.ExpiresAt
	same := *tok == *last
	if tok.LastUsedAt, tok.ExpiresAt = used, expires; !same {
		kept := *tok
		h.latest.Store(&kept)
	}
}

// viewHeld changes rec, which m owns, into what callers see of a token that a connection is held
// by, and returns the tokens above it. A dead or suspended token is refused to a secret of generation.
func (m *Manager) viewHeld(ctx context.Context, verb *call, rec *storage.Record, generation uint32, now time.Time) (above *ancestry, err error) {
	m.showClockEnd(rec)
	m.viewText(rec, currentText)
	if alive(&rec.Token, now) {
		if above, err = m.clampStored(ctx, VerbUse, &rec.Token); err != nil {
			return nil, err
		}
	}
	if err := unusable(&rec.Token, generation, now); err != nil {
		return nil, m.refuse(ctx, verb, err)
	}
	return above, nil
}

// recordHeldUse is recordUse by a connection that a secret of generation has opened. Unless rec is a
// session, that is the current secret of rec.
func (m *Manager) recordHeldUse(ctx context.Context, verb *call, rec *storage.Record, generation uint32, now time.Time, above *ancestry) error {
	switch {
	case unusedSecret(rec): // Hold could not store that it used the secret
		id := rec.ID
		m.firstUse(ctx, verb, &rec.Token, func(tx storage.Tx, now time.Time) (judged, error) {
			return m.judgeHeldIn(tx, id, generation, now)
		})
	case m.policy.due(&rec.Token, now):
		m.touch(ctx, verb, &rec.Token, rec.TTL, now, above)
	}
	return m.refuseOvertaken(ctx, verb, &rec.Token, rec.Epoch, generation)
}

// judgeHeldIn is proveLiveIn for a connection that a secret of generation has opened, of the
// plain token of id. j.stands is currentText if that is still the current secret.
func (m *Manager) judgeHeldIn(tx storage.Tx, id ID, generation uint32, now time.Time) (j judged, err error) {
	if j.rec, err = getIn(tx, id); err != nil {
		return j, err
	}
	if j.stands = previousText; j.rec.Generation == generation {
		j.stands = currentText
	}
	return j, m.viewLiveIn(tx, &j, generation, now)
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

// heldRanOut returns the cause for the connections of a token that expired while the store
// could not be read.
func heldRanOut(id ID, subject string, expiry time.Time) error {
	return &Rejection{Err: ErrExpired, ID: id, Subject: subject, At: expiry}
}

// heldReplaced returns the cause for a connection whose text had a secret of generation,
// which was replaced with an overlap of 0.
func heldReplaced(id ID, subject string, generation uint32) error {
	return &Rejection{Err: ErrReplaced, ID: id, Subject: subject, Generation: generation}
}

// ofGeneration returns cause, of a token, for a connection whose text had a secret of
// generation.
func ofGeneration(cause error, generation uint32) error {
	r, ok := cause.(*Rejection)
	if !ok || r.Generation == generation {
		return cause
	}
	own := *r
	own.Generation = generation
	return &own
}
