package lapse

import (
	"context"
	"errors"
	"iter"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Token returns the token of id, dead or alive and of whatever prefix, for people
// who administer. Token.Live at Manager.Now tells whether it is alive. ErrNotFound if
// there is none, or no longer; ErrCorrupt if its record is damaged, or one above a delegate.
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

// Tokens yields the subject's tokens of every prefix, dead ones too until they
// are swept, in the order of their IDs. That is the order in which their issues began,
// to the millisecond; sort by IssuedAt for the order in which they were stored.
// Token.Live at Manager.Now tells which are alive. The loop body may call any verb.
//
// An error that wraps ErrCorrupt stands for one record that is damaged, or is a
// delegate's under one that is, and the loop goes on; any other error is the last pair.
// ErrInvalidGrant means that no token can have such a subject.
func (m *Manager) Tokens(ctx context.Context, subject string) iter.Seq2[Token, error] {
	return m.tokens(ctx, "tokens", subject, func(*storage.Record) bool { return true })
}

// tokens is Tokens for the records that wanted lets pass.
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
			if err == nil && rec.Kind == KindSession && !legible(&rec) {
				err = errSecrets
			}
			tok := m.token(&rec)
			if err != nil {
				err = storeError(verb, err)
			} else {
				_, err = m.clampStored(ctx, verb, &tok)
			}
			if err != nil {
				tok = Token{ID: rec.ID}
			}
			if !yield(tok, err) || err != nil && !errors.Is(err, ErrCorrupt) {
				return
			}
		}
	}
}

// sweepBatch is how many records one step of Sweep deletes at most.
const sweepBatch = 500

// Sweep deletes the records of tokens that have been dead for longer than
// Policy.Retention by what the record itself says, of every prefix, in batches
// between which others get their turn, and says how many it deleted. It ends when
// none is left or ctx ends; what it deleted by then stays deleted and is counted. A
// token that is alive, or was renewed while Sweep ran, is never deleted.
//
// Within 24 hours after the clock proved to be wrong (Config.ClockGuard), nothing is
// deleted, and that is no error. The same holds after a Clock with Elapsed, as the
// system's is, leapt ahead by more than the retention. A leap of any other Clock is not
// told from time that passed, and Sweep goes by it at once: so tests travel in time.
//
// Call it from a loop of your own, hourly for instance. Managers that share a
// store sweep the same records: the shortest Retention among them holds.
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
	for m.marks.Epoch() == epoch { // or before is by the wrong clock
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
