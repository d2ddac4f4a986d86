package lapse

import (
	"context"
	"errors"
	"iter"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Token returns the token of id, dead or alive and of any prefix, for administrators. Token.Live
// at Manager.Now tells whether it is alive. The error is ErrNotFound if there is no such record,
// or no longer; ErrCorrupt if the record is damaged, or one above it; or another of the store's.
func (m *Manager) Token(ctx context.Context, id ID) (Token, error) {
	if err := m.ready(ctx, "token"); err != nil {
		return Token{}, err
	}
	rec, err := m.record(ctx, id)
	if err != nil {
		return Token{}, recordError("token", err)
	}
	tok := m.token(&rec)
	if _, err := m.clampStored(ctx, "token", &tok); err != nil {
		return Token{}, err
	}
	return tok, nil
}

// Tokens yields the subject's tokens of every prefix, also dead ones until they are swept, in the
// order of their IDs. That is the order in which their issues began, to the millisecond; sort by
// IssuedAt for the order in which they were stored. Token.Live at Manager.Now tells which are
// alive. The loop body may call any verb.
//
// An error that wraps ErrCorrupt stands for one record that is damaged, or that is a delegate's
// with a damaged record above it, and the loop goes on. Any other error is the last pair.
// ErrInvalidGrant means that no token can have such a subject.
func (m *Manager) Tokens(ctx context.Context, subject string) iter.Seq2[Token, error] {
	return m.tokens(ctx, "tokens", subject, func(*storage.Record) bool { return true })
}

// tokens is Tokens for the records for which wanted returns true. verb is the name that errors
// have.
func (m *Manager) tokens(ctx context.Context, verb, subject string, wanted func(*storage.Record) bool) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		if err := checkStoredSubject(subject); err != nil {
			yield(Token{}, err)
			return
		}
		if err := m.ready(ctx, verb); err != nil {
			yield(Token{}, err)
			return
		}
		for rec, err := range m.store.List(ctx, storage.Filter{Subject: subject}) {
			if err == nil && !wanted(&rec) {
				continue
			}
			tok, err := m.listed(ctx, verb, &rec, err)
			if !yield(tok, err) || err != nil && !errors.Is(err, ErrCorrupt) {
				return
			}
		}
	}
}

// listed returns the token of rec, which the store yielded with err. With an error it returns a
// token with the ID alone.
func (m *Manager) listed(ctx context.Context, verb string, rec *storage.Record, err error) (Token, error) {
	if err == nil && rec.Kind == KindSession && !legible(rec) {
		err = errSecrets
	}
	tok := m.token(rec)
	if err != nil {
		err = storeError(verb, err)
	} else {
		_, err = m.clampStored(ctx, verb, &tok)
	}
	if err != nil {
		tok = Token{ID: rec.ID}
	}
	return tok, err
}

// sweepBatch is how many records one step of Sweep deletes at most.
const sweepBatch = 500

// Sweep deletes the records, of every prefix, of tokens that have been dead by their own record
// for longer than Policy.Retention, and returns how many it deleted. It deletes in batches, so
// that other writers of the store get their turn in between. It returns when there is no more to
// delete, or with an error when ctx ends; deleted is right then, too. Sweep never deletes a token
// that is alive, or that is renewed while Sweep runs.
//
// For 24 hours after the clock proved to be wrong (Config.ClockGuard), Sweep deletes nothing, and
// that is no error. The same holds after a Clock with Elapsed, such as the system's, jumped ahead
// by more than the retention. A jump of any other Clock looks like time that passed, and Sweep
// goes by it at once: so tests can travel in time.
//
// Call Sweep in a loop of your own, hourly for instance. Managers that share a store sweep the
// same records: the shortest Retention among them holds.
func (m *Manager) Sweep(ctx context.Context) (deleted int, err error) {
	if err := m.ready(ctx, "sweep"); err != nil {
		return 0, err
	}
	if m.policy.Retention == NoLimit {
		if err := ctx.Err(); err != nil {
			return 0, storeError("sweep", err)
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
	before := steady.Normalise(now.Add(-m.policy.Retention))
	for m.marks.Epoch() == epoch { // in another epoch before would be by the wrong clock
		n, err := m.store.Sweep(ctx, before, sweepBatch)
		deleted += n
		if err != nil {
			return deleted, storeError("sweep", err)
		}
		if n < sweepBatch {
			break
		}
	}
	return deleted, nil
}
