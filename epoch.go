package lapse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// epochAttempts is how often a verb is begun that a new epoch has overtaken. One epoch
// takes the settle time of a clock, or an administrator: three in one verb are none.
const epochAttempts = 3

// errEpoch is what a transaction returns that a new epoch has overtaken. It is for
// another attempt, and a caller sees it after the last one.
var errEpoch = fmt.Errorf("%w: the clock was accepted or followed while it ran, several times; try again", ErrUnavailable)

// update runs fn in a transaction over one subject, at the instant at which that runs:
// what has died while it waited for its turn is dead to it. All that fn does falls in the
// epoch of that instant, or it has done nothing, and runs again in the next epoch.
func (m *Manager) update(ctx context.Context, verb, subject string, fn func(tx storage.Tx, now time.Time) error) error {
	var err error
	for n := range epochAttempts {
		if n > 0 {
			if err := m.ready(ctx, verb); err != nil {
				return err
			}
		}
		err = updateError(verb, m.store.Update(ctx, subject, m.inEpoch(fn)))
		if err == nil && m.lagging() && !m.strict {
			m.followClock(ctx, false) // if it has settled since: what fn did is dead then
		}
		if err != errEpoch {
			return err
		}
	}
	return storeError(verb, err)
}

// inEpoch returns fn at an instant, and in the epoch of that instant, as a transaction.
func (m *Manager) inEpoch(fn func(tx storage.Tx, now time.Time) error) func(storage.Tx) error {
	return func(tx storage.Tx) error {
		now, epoch := m.stamp()
		return m.checkEpoch(epoch, fn(tx, now))
	}
}

// checkEpoch returns what a transaction that came to err in epoch is to return: errEpoch if
// that epoch is over or about to be.
func (m *Manager) checkEpoch(epoch uint32, err error) error {
	if m.lagging() {
		m.time.Look() // it may have settled while the transaction ran
	}
	if m.marks.Epoch() != epoch || m.lagging() && m.time.Settled() {
		err = errEpoch
	}
	if err == nil {
		return nil
	}
	return &fromTx{err}
}

// retryOnNewEpoch runs act, which judges by an epoch and returns it, again if that is over by
// then: a token that was issued would be dead before any client has its text. It tells of
// what act has evicted, unless that was the last time, which is for its caller to tell.
func (m *Manager) retryOnNewEpoch(ctx context.Context, verb string, evicted *[]Token, act func() (epoch uint32, err error)) (err error) {
	var epoch uint32
	for n := range epochAttempts {
		unready := m.ready(ctx, verb)
		if n > 0 && err == nil && m.marks.Epoch() == epoch {
			return nil // what act did is done, and stays good
		}
		m.tellEnded(ctx, *evicted) // by an attempt before, which was stored
		*evicted = nil
		if unready != nil {
			return unready
		}
		if epoch, err = act(); err != nil {
			*evicted = nil // nothing was stored
		}
		if err == nil && m.marks.Epoch() == epoch && !m.lagging() || err != nil && err != errEpoch {
			return err
		}
	}
	if err == nil && m.marks.Epoch() == epoch {
		return nil
	}
	m.tellEnded(ctx, *evicted)
	return storeError(verb, errEpoch)
}

// overtaken says why tok, whose record is of epoch, is no good any more to a secret of
// generation by, if a new epoch has begun since a verb found tok good: the answer would
// be dead.
func (m *Manager) overtaken(tok *Token, epoch uint32, by uint32) error {
	rec := storage.Record{Epoch: epoch}
	rec.EndedAt = tok.EndedAt
	if !m.fromEarlierEpoch(&rec) {
		return nil
	}
	rec.Token = *tok
	m.showClockEnd(&rec)
	return expired(&rec.Token, by)
}

// refuseOvertaken is overtaken for a text, and tells of the refusal.
func (m *Manager) refuseOvertaken(ctx context.Context, tok *Token, epoch uint32, by uint32) error {
	err := m.overtaken(tok, epoch, by)
	if err != nil {
		err = m.refuse(ctx, err)
	}
	return err
}

// stamp returns the time for a record that is made now, and the epoch that it is of. It
// must not come to a time from before a new epoch with that epoch's number: such a
// token would live by the wrong clock.
func (m *Manager) stamp() (now time.Time, epoch uint32) {
	for {
		epoch = m.marks.Epoch()
		now = m.now()
		if m.marks.Epoch() == epoch {
			return now, epoch
		}
	}
}

// fromEarlierEpoch reports whether rec is of an earlier epoch, and so ended. The time to judge
// it by is read before this is asked.
func (m *Manager) fromEarlierEpoch(rec *storage.Record) bool {
	return rec.Epoch < m.marks.Epoch() && rec.EndedAt.IsZero()
}

// showClockEnd makes of a token of an earlier epoch what everyone sees of it.
func (m *Manager) showClockEnd(rec *storage.Record) {
	if m.fromEarlierEpoch(rec) {
		rec.EndedAt, rec.EndReason = steady.Normalise(m.marks.Mark().Since), EndClock
	}
}

// endEarlierEpochs ends, in their records, the tokens of earlier epochs, which are dead
// already: those would be kept for as long as the wrong clock let them live.
func (m *Manager) endEarlierEpochs(ctx context.Context) error {
	epoch := m.marks.Epoch()
	if m.ended.Load() == epoch {
		return nil
	}
	for rec, err := range m.store.List(ctx, storage.Filter{}) {
		if damaged(err) || err == nil && !m.fromEarlierEpoch(&rec) {
			continue
		}
		if err == nil {
			id := rec.ID
			err = m.store.Update(ctx, rec.Subject, func(tx storage.Tx) error {
				rec, err := getIn(tx, id)
				if errors.Is(err, errGone) || err == nil && !m.fromEarlierEpoch(&rec) {
					return nil
				}
				m.showClockEnd(&rec)
				return putIn(tx, &rec)
			})
		}
		if err != nil {
			return storeError("sweep", err)
		}
	}
	m.ended.Store(epoch)
	return nil
}
