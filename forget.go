package lapse

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// sweepBatch is how many records one step of Sweep deletes at most.
const sweepBatch = 500

// Sweep deletes the records, of every prefix, of tokens that have been dead by their own record
// for longer than Policy.Retention, and returns how many it deleted. That counts the records of a
// RequestID and of an Import as well, which are no tokens. It deletes in batches, so that other
// writers of the store get their turn in between. It returns when there is no more to delete, or
// with an error when ctx ends; deleted is right then, too. Sweep never deletes a token that is
// alive, or that is renewed while Sweep runs.
//
// For 24 hours after the clock proved to be wrong (Config.ClockGuard), Sweep deletes nothing, and
// that is no error. The same holds after a Clock with Elapsed, such as the system's, jumped ahead
// by more than the retention. A jump of any other Clock looks like time that passed, and Sweep
// goes by it at once: so tests can travel in time.
//
// Call Sweep in a loop of your own, hourly for instance. Managers that share a store sweep the
// same records: the shortest Retention among them holds.
func (m *Manager) Sweep(ctx context.Context) (deleted int, err error) {
	verb := m.begin(VerbSweep, &err)
	defer m.finish(ctx, &verb, &err)
	if err := m.ready(ctx, &verb); err != nil {
		return 0, err
	}
	if m.policy.Retention == NoLimit {
		if err := ctx.Err(); err != nil {
			return 0, storeError(VerbSweep, err)
		}
		return 0, nil
	}
	now, epoch := m.stamp()
	if m.time != nil {
		if now.Before(m.marks.Mark().Quiet) {
			return 0, nil
		}
		if err := m.endEarlierEpochs(ctx); err != nil {
			return 0, err
		}
	}
	defer func() { m.swept(ctx, &verb, deleted) }()
	return m.sweepBefore(ctx, steady.Normalise(now.Add(-m.policy.Retention)), epoch)
}

// sweepBefore deletes the records that were dead before that instant of epoch. In a later epoch it
// stops, since before was by the wrong clock.
func (m *Manager) sweepBefore(ctx context.Context, before time.Time, epoch uint32) (deleted int, err error) {
	for m.marks.Epoch() == epoch {
		n, err := m.store.Sweep(ctx, before, sweepBatch)
		deleted += n
		if err != nil {
			return deleted, storeError(VerbSweep, err)
		}
		if n < sweepBatch {
			break
		}
	}
	return deleted, nil
}

// swept counts the records that verb, a Sweep, deleted, and tells Observe.
func (m *Manager) swept(ctx context.Context, verb *call, deleted int) {
	if deleted > 0 {
		m.count(VerbSwept, outcomeOK, uint64(deleted))
		m.tell(ctx, verb, Event{Kind: EventSwept, At: m.now(), N: deleted})
	}
}

// ForgetSubject deletes every record of subject now, dead or alive and of every prefix, in one
// transaction, and returns how many tokens it deleted. It is durable before ForgetSubject returns.
// Held connections are cut with ErrUnknown. Texts of the tokens are ErrUnknown from then on: no
// record says any more that the tokens were ended, and by whom. Tokens that are issued later live.
//
// Observe is told of EventEnded for each token that was alive, with EndSubject, and then of one
// EventForgotten, if ForgetSubject deleted a token. Copies of the records may stay in backups, and
// in a file until it is compacted: docs/operating.md says how long.
//
// ErrInvalidGrant means that no token can have such a subject. An error that wraps ErrCorrupt and
// comes with deleted over 0 means that damaged records are left, and that all others were deleted.
// Any other error means that nothing was deleted, unless it is ErrOutcomeUnknown.
func (m *Manager) ForgetSubject(ctx context.Context, subject string) (deleted int, err error) {
	verb := m.begin(VerbForgetSubject, &err)
	defer m.finish(ctx, &verb, &err)
	if err := checkStoredSubject(subject); err != nil {
		return 0, err
	}
	if err := m.ready(ctx, &verb); err != nil {
		return 0, err
	}
	var f forgetting
	err = m.update(ctx, &verb, subject, func(tx storage.Tx, now time.Time) error {
		f = forgetting{m: m, at: ending{now, EndSubject, actorOf(ctx)}}
		return f.forgetIn(tx)
	})
	if err != nil {
		return 0, err
	}
	m.tellEnded(ctx, &verb, f.ended)
	if f.deleted > 0 {
		m.tell(ctx, &verb, Event{Kind: EventForgotten, At: f.at.at, Token: Token{Subject: subject}, N: f.deleted})
	}
	if f.left != nil {
		return f.deleted, storeError(VerbForgetSubject, f.left)
	}
	return f.deleted, nil
}

// forgetting is one ForgetSubject.
type forgetting struct {
	m  *Manager
	at ending

	// The results of the transaction.
	deleted int     // tokens
	ended   []Token // of these, those that were alive
	left    error   // of a damaged record that stays
}

// forgetIn is the transaction. It reads all records before it deletes one, since a delegate is alive
// by the records above it.
func (f *forgetting) forgetIn(tx storage.Tx) error {
	ids, damagedIDs, err := f.gather(tx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := tx.Delete(id); err != nil {
			return fromOutside(err, storeErrors...)
		}
	}
	for _, id := range damagedIDs {
		switch err := tx.Delete(id); {
		case err == nil && !bearer.IsAlias(id):
			f.deleted++
		case err == nil:
		case damaged(err):
			f.left = fromOutside(err, storeErrors...)
		default:
			return fromOutside(err, storeErrors...)
		}
	}
	return nil
}

// gather notes the records of the subject, and returns the IDs of those that can be read and of those
// that are damaged.
func (f *forgetting) gather(tx storage.Tx) (ids, damagedIDs []ID, err error) {
	for rec, err := range tx.Records() {
		switch {
		case damaged(err):
			damagedIDs = append(damagedIDs, rec.ID)
			continue
		case err != nil:
			return nil, nil, fromOutside(err, storeErrors...)
		}
		ids = append(ids, rec.ID)
		if err := f.note(tx, &rec); err != nil {
			return nil, nil, err
		}
	}
	return ids, damagedIDs, nil
}

// note counts rec, if it is of a token, and keeps the token if it is alive.
func (f *forgetting) note(tx storage.Tx, rec *storage.Record) error {
	if !isToken(rec) {
		return nil
	}
	f.deleted++
	if f.m.observe == nil {
		return nil
	}
	f.m.showClockEnd(rec)
	alive, err := liveByRecord(rec, f.at.at, tx.Get)
	if alive {
		f.at.endRecord(rec)
		f.ended = append(f.ended, f.m.token(rec))
	}
	return err
}
