package lapse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

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
	if _, err := m.underStored(ctx, "token", &tok); err != nil {
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
				_, err = m.underStored(ctx, verb, &tok)
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

// Expiring yields the tokens, of every subject and prefix, that are alive now and will
// not be when the time within has passed unless something renews them, soonest first,
// those that expire together in the order of their IDs. It is for notices to their owners.
// NoLimit finds every token that is alive.
//
// A session expires when it would run out without another refresh, whatever its access
// text does. A delegate expires with the token that it was delegated from, if that is
// sooner.
//
// All of them are read when the loop begins, as of that instant, and held in memory until
// it ends: about 300 bytes each, and their texts. What is found is what expires in time by
// its own record: one whose record promises more is not found, even if a MaxTTL that has
// been lowered since, or the token that it was delegated from, ends it sooner.
//
// An error that wraps ErrCorrupt stands for one damaged record; such pairs come first.
// Any other error is the only pair: ErrInvalidConfig for a within of less than a
// millisecond, or the store's. The loop body may call any verb.
func (m *Manager) Expiring(ctx context.Context, within time.Duration) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		if within < time.Millisecond {
			yield(Token{}, fmt.Errorf("%w: within: %v is under a millisecond; say how far to look ahead", ErrInvalidConfig, within))
			return
		}
		var s soon
		err := m.outlive(ctx, "expiring", new([]Token), func() (uint32, error) {
			s = soon{m: m, ctx: ctx}
			err := s.collect(within)
			return s.epoch, err
		})
		if err != nil {
			yield(Token{}, err)
			return
		}
		for _, d := range s.damaged {
			if !yield(Token{ID: d.id}, d.err) {
				return
			}
		}
		for _, tok := range s.tokens {
			if !yield(tok, nil) {
				return
			}
		}
	}
}

// soon is what expires soon, as it is being collected.
type soon struct {
	m       *Manager
	ctx     context.Context
	now     time.Time
	epoch   uint32 // of now
	tokens  []Token
	damaged []damage
}

// damage is a record that cannot be judged, and why.
type damage struct {
	id  ID
	err error
}

func (s *soon) collect(within time.Duration) error {
	s.now, s.epoch = s.m.stamp()
	var filter storage.Filter // no store has to know an instant behind the last one
	if last := steady.Add(s.now, within.Truncate(time.Millisecond)); within != NoLimit && last.UnixMilli() < steady.LastInstant {
		filter.ExpiresBefore = last.Add(time.Millisecond)
	}
	for rec, err := range s.m.store.List(s.ctx, filter) {
		if err := s.found(&rec, err); err != nil {
			return err
		}
	}
	all := s.tokens
	s.tokens = all[:0] // never ahead of what is judged
	for i := range all {
		if err := s.judge(&all[i]); err != nil {
			return err
		}
	}
	slices.SortFunc(s.tokens, func(a, b Token) int {
		return cmp.Or(a.ExpiresAt.Compare(b.ExpiresAt), a.ID.Compare(b.ID))
	})
	return nil
}

// found keeps what the record alone says expires soon.
func (s *soon) found(rec *storage.Record, err error) error {
	if err != nil {
		return s.failed(rec.ID, storeError("expiring", err))
	}
	if tok := s.m.token(rec); tok.Live(s.now) && !spent(rec) {
		s.tokens = append(s.tokens, tok)
	}
	return nil
}

// failed notes a damaged record, and returns any other error.
func (s *soon) failed(id ID, err error) error {
	if !errors.Is(err, ErrCorrupt) {
		return err
	}
	s.damaged = append(s.damaged, damage{id, err})
	return nil
}

// judge keeps tok if the records that it was delegated from agree.
func (s *soon) judge(tok *Token) error {
	if tok.Parent != (ID{}) {
		if _, err := s.m.underStored(s.ctx, "expiring", tok); err != nil {
			return s.failed(tok.ID, err)
		}
		if !tok.Live(s.now) {
			return nil
		}
	}
	s.tokens = append(s.tokens, *tok)
	return nil
}
