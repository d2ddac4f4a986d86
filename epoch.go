package lapse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// epochAttempts is how often a verb is begun if a new epoch begins while it runs. A new epoch
// takes the settle time of a clock, or an administrator, so three in one verb do not happen.
const epochAttempts = 3

// errEpoch is the error of a transaction during which a new epoch began. The verb is attempted
// again, and a caller sees errEpoch after the last attempt.
var errEpoch = fmt.Errorf("%w: the clock was accepted or followed while it ran, several times; try again", ErrUnavailable)

// update runs fn in a transaction over one subject. It reads now inside the transaction, so a
// token that died while the transaction waited for its turn is dead to fn. If a new epoch begins
// meanwhile, fn has no effect and runs again. The error names the verb, except that a decision
// or a *Rejection of fn is returned as it is.
func (m *Manager) update(ctx context.Context, verb *call, subject string, fn func(tx storage.Tx, now time.Time) error) error {
	run := func(inTx func(storage.Tx) error) error { return m.store.Update(ctx, subject, inTx) }
	return m.attempts(ctx, verb, run, fn)
}

// attempts is update by the method of the store that run calls.
func (m *Manager) attempts(ctx context.Context, verb *call, run func(func(storage.Tx) error) error, fn func(tx storage.Tx, now time.Time) error) error {
	var err error
	for n := range epochAttempts {
		if n > 0 {
			if err := m.ready(ctx, verb); err != nil {
				return err
			}
		}
		err = updateError(verb.Verb, run(m.inEpoch(fn)))
		if err == nil && m.lagging() && !m.strict {
			m.followClock(ctx, verb, false) // the clock may have settled, and then what fn did is dead
		}
		if err != errEpoch {
			return err
		}
	}
	return storeError(verb.Verb, err)
}

// updateOfID is updateByID for a verb of administrators. It asks m.ready first. The error is
// ErrNotFound if there is no such token.
func (m *Manager) updateOfID(ctx context.Context, verb *call, id ID, fn func(tx storage.Tx, now time.Time) error) error {
	if err := m.ready(ctx, verb); err != nil {
		return err
	}
	err := m.updateByID(ctx, verb, id, fn)
	if errors.Is(err, errGone) {
		return recordError(verb.Verb, err)
	}
	return err
}

// updateByID is update over the subject of the token of id. Where the store is a storage.IDUpdater, the
// transaction finds the subject itself. The error is errGone if there is no such token.
func (m *Manager) updateByID(ctx context.Context, verb *call, id ID, fn func(tx storage.Tx, now time.Time) error) error {
	if m.byID != nil {
		return m.attempts(ctx, verb, func(inTx func(storage.Tx) error) error {
			err := m.byID.UpdateID(ctx, id, inTx)
			if absent(err) {
				err = &fromTx{errGone}
			}
			return err
		}, fn)
	}
	rec, err := m.record(ctx, id)
	switch {
	case errors.Is(err, errGone):
		return err
	case err != nil:
		return storeError(verb.Verb, err)
	}
	return m.update(ctx, verb, rec.Subject, fn)
}

// ifProven returns fn for a transaction that begins with the text p, of the prefix of m, and no record.
// The transaction fails with errUnproven, and has no effect, unless p is the current or the previous text
// of its token by what tx reads, and ctx proves the key of a bound token. After errUnproven the caller
// reads the record as it would without a storage.IDUpdater, and refuses p by that.
func (m *Manager) ifProven(ctx context.Context, p *presented, fn func(tx storage.Tx, now time.Time) error) func(tx storage.Tx, now time.Time) error {
	return func(tx storage.Tx, now time.Time) error {
		rec, err := getIn(tx, p.cred.ID())
		if err != nil || !m.owns(&rec) || !rec.Thumbprint.IsZero() && !proves(ctx, &rec) {
			return errUnproven
		}
		if found, err := m.match(&rec, p, now); err != nil || found != currentText && found != previousText {
			return errUnproven
		}
		return fn(tx, now)
	}
}

// errUnproven is the error of ifProven. No caller of a verb sees it.
var errUnproven = decide(errors.New("lapse: the text is not proven by the record in the store"))

// unproven reports whether a transaction that began with a text alone cannot decide: because of
// errUnproven, or because there is no record.
func unproven(err error) bool { return errors.Is(err, errUnproven) || errors.Is(err, errGone) }

// idUpdaterOf returns store as a storage.IDUpdater, or nil if it is none.
func idUpdaterOf(store storage.Store) storage.IDUpdater {
	if u, ok := store.(storage.IDUpdater); ok && u.UpdateIDFor(store) {
		return u
	}
	return nil
}

// inEpoch returns fn as a transaction that reads the time and fails if a new epoch begins.
func (m *Manager) inEpoch(fn func(tx storage.Tx, now time.Time) error) func(storage.Tx) error {
	return func(tx storage.Tx) error {
		now, epoch := m.stamp()
		return m.checkEpoch(epoch, fn(tx, now))
	}
}

// checkEpoch returns the error of a transaction that began in epoch and came to err. That is
// errEpoch if the epoch is over, or is to be ended because the clock has settled.
func (m *Manager) checkEpoch(epoch uint32, err error) error {
	if m.lagging() {
		m.time.Look() // the clock may have settled while the transaction ran
	}
	if m.marks.Epoch() != epoch || m.lagging() && m.time.Settled() {
		err = errEpoch
	}
	if err == nil {
		return nil
	}
	return &fromTx{err}
}

// retryOnNewEpoch runs act, which returns the epoch of the token that it issued. If that epoch is
// over when act returns, the token is dead before any client has its text, and act runs again.
// After a nil error evicted has the tokens that the last run evicted, and the caller tells Observe
// of these. retryOnNewEpoch tells Observe of those that earlier runs evicted.
func (m *Manager) retryOnNewEpoch(ctx context.Context, verb *call, evicted *[]Token, act func() (epoch uint32, err error)) (err error) {
	var epoch uint32
	for n := range epochAttempts {
		unready := m.ready(ctx, verb)
		if n > 0 && err == nil && m.marks.Epoch() == epoch {
			return nil // what act did is done, and stays good
		}
		m.tellEnded(ctx, verb, *evicted) // by the attempt before, which was stored
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
	m.tellEnded(ctx, verb, *evicted)
	return storeError(verb.Verb, errEpoch)
}

// overtaken returns nil, or the refusal of tok to a secret of generation by if a new epoch has
// ended tok since a verb found it good. epoch is that of the record of tok.
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

// refuseOvertaken is overtaken, and tells Observe of the refusal.
func (m *Manager) refuseOvertaken(ctx context.Context, verb *call, tok *Token, epoch uint32, by uint32) error {
	err := m.overtaken(tok, epoch, by)
	if err != nil {
		err = m.refuse(ctx, verb, err)
	}
	return err
}

// stamp returns the time and the epoch for a record that is made now. It never returns a time
// from before a new epoch with the number of that epoch: a token with both would live by the
// wrong clock.
func (m *Manager) stamp() (now time.Time, epoch uint32) {
	for {
		epoch = m.marks.Epoch()
		now = m.now()
		if m.marks.Epoch() == epoch {
			return now, epoch
		}
	}
}

// fromEarlierEpoch reports whether rec is of an earlier epoch and has no other end, so that the
// current epoch ended it. A caller that compares rec with a time reads that time first.
func (m *Manager) fromEarlierEpoch(rec *storage.Record) bool {
	return rec.Epoch < m.marks.Epoch() && rec.EndedAt.IsZero()
}

// showClockEnd sets the end of rec, with EndClock, if it is of an earlier epoch.
func (m *Manager) showClockEnd(rec *storage.Record) {
	if m.fromEarlierEpoch(rec) {
		rec.EndedAt, rec.EndReason = steady.Normalise(m.marks.Mark().Since), EndClock
	}
}

// endEarlierEpochs stores the end of the tokens of earlier epochs, which are dead already. Without
// an end their records would be kept for as long as the wrong clock let them live.
func (m *Manager) endEarlierEpochs(ctx context.Context) error {
	epoch := m.marks.Epoch()
	if m.ended.Load() == epoch {
		return nil
	}
	for rec, err := range m.store.List(ctx, storage.Filter{}) {
		if damaged(err) || err == nil && (!isToken(&rec) || !m.fromEarlierEpoch(&rec)) {
			continue
		}
		if err == nil {
			id := rec.ID
			err = m.store.Update(ctx, rec.Subject, func(tx storage.Tx) error { return m.endEarlierEpoch(tx, id) })
		}
		if err != nil {
			return storeError(VerbSweep, err)
		}
	}
	m.ended.Store(epoch)
	return nil
}

// endEarlierEpoch is endEarlierEpochs for the token of id.
func (m *Manager) endEarlierEpoch(tx storage.Tx, id ID) error {
	rec, err := getIn(tx, id)
	switch {
	case err == errGone, err == nil && !m.fromEarlierEpoch(&rec):
		return nil
	case err != nil:
		return err
	}
	m.showClockEnd(&rec)
	return putIn(tx, &rec)
}
