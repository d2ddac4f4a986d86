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

// Token returns the token of id, dead or alive and of any prefix, for administrators. Token.Live
// at Manager.Now tells whether it is alive. The error is ErrNotFound if there is no such record,
// or no longer; ErrCorrupt if the record is damaged, or one above it; or another of the store's.
func (m *Manager) Token(ctx context.Context, id ID) (tok Token, err error) {
	verb := m.begin(VerbToken, &err)
	defer m.finish(ctx, &verb, &err)
	if err := m.ready(ctx, &verb); err != nil {
		return Token{}, err
	}
	rec, err := m.record(ctx, id)
	if err != nil {
		return Token{}, recordError(VerbToken, err)
	}
	tok = m.token(&rec)
	if _, err := m.clampStored(ctx, VerbToken, &tok); err != nil {
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
	return m.tokens(ctx, VerbTokens, subject, func(*storage.Record) bool { return true })
}

// tokens is Tokens for the records for which wanted returns true. It counts as the verb name.
func (m *Manager) tokens(ctx context.Context, name Verb, subject string, wanted func(*storage.Record) bool) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		var first error
		verb := m.begin(name, &first)
		defer m.finish(ctx, &verb, &first)
		first = m.yieldTokens(ctx, &verb, subject, wanted, yield)
	}
}

// yieldTokens is the loop of tokens. It returns the first error that it has yielded.
func (m *Manager) yieldTokens(ctx context.Context, verb *call, subject string, wanted func(*storage.Record) bool, yield func(Token, error) bool) (first error) {
	if first = checkStoredSubject(subject); first == nil {
		first = m.ready(ctx, verb)
	}
	if first != nil {
		yield(Token{}, first)
		return first
	}
	for rec, err := range m.store.List(ctx, storage.Filter{Subject: subject}) {
		if err == nil && (rec.Kind == storage.KindAlias || !wanted(&rec)) {
			continue
		}
		tok, err := m.listed(ctx, verb.Verb, &rec, err)
		first = cmp.Or(first, err)
		if !yield(tok, err) || err != nil && !errors.Is(err, ErrCorrupt) {
			break
		}
	}
	return first
}

// listed returns the token of rec, which the store yielded with err. With an error it returns a
// token with the ID alone.
func (m *Manager) listed(ctx context.Context, verb Verb, rec *storage.Record, err error) (Token, error) {
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

// Expiring yields the tokens, of every subject and prefix, that are alive now and, unless they
// are renewed, dead when the time within has passed. The token that expires first comes first;
// tokens that expire together come in the order of their IDs. Expiring is for notices to the
// owners of tokens. With NoLimit it yields every live token.
//
// A session expires when it runs out without another refresh; the end of its access text does
// not count. A delegate expires no later than its parent.
//
// The loop reads all these tokens when it begins, as of that instant, and keeps them in memory
// until it ends: about 300 bytes each, and their texts. It finds tokens by the expiry in their
// own record. A token with a later expiry there is not found, even if a MaxTTL that was lowered
// since, or its parent, ends it sooner.
//
// An error that wraps ErrCorrupt stands for one damaged record; such pairs come first. Any other
// error is the only pair: ErrInvalidConfig for a within of less than a millisecond, or the
// store's. The loop body may call any verb.
func (m *Manager) Expiring(ctx context.Context, within time.Duration) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		var first error
		verb := m.begin(VerbExpiring, &first)
		defer m.finish(ctx, &verb, &first)
		first = m.yieldExpiring(ctx, &verb, within, yield)
	}
}

// yieldExpiring is the loop of Expiring. It returns the first error that it has yielded.
func (m *Manager) yieldExpiring(ctx context.Context, verb *call, within time.Duration, yield func(Token, error) bool) (first error) {
	if within < time.Millisecond {
		first = fmt.Errorf("%w: within: %v is under a millisecond; say how far to look ahead", ErrInvalidConfig, within)
		yield(Token{}, first)
		return first
	}
	var s expiringList
	first = m.retryOnNewEpoch(ctx, verb, new([]Token), func() (uint32, error) {
		s = expiringList{m: m, ctx: ctx}
		err := s.collect(within)
		return s.epoch, err
	})
	if first != nil {
		yield(Token{}, first)
		return first
	}
	for _, d := range s.damaged {
		first = cmp.Or(first, d.err)
		if !yield(Token{ID: d.id}, d.err) {
			return first
		}
	}
	for _, tok := range s.tokens {
		if !yield(tok, nil) {
			break
		}
	}
	return first
}

// expiringList collects the tokens that Expiring yields.
type expiringList struct {
	m       *Manager
	ctx     context.Context
	now     time.Time
	epoch   uint32 // of now
	tokens  []Token
	damaged []damagedRecord
}

// damagedRecord is a record that cannot be read, or that has such a record above it.
type damagedRecord struct {
	id  ID
	err error
}

// collect sets tokens and damaged. It returns any error that does not wrap ErrCorrupt.
func (s *expiringList) collect(within time.Duration) error {
	s.now, s.epoch = s.m.stamp()
	var filter storage.Filter // which takes no instant after steady.LastInstant
	if last := steady.Add(s.now, within.Truncate(time.Millisecond)); within != NoLimit && last.UnixMilli() < steady.LastInstant {
		filter.ExpiresBefore = last.Add(time.Millisecond)
	}
	for rec, err := range s.m.store.List(s.ctx, filter) {
		if err := s.addRecord(&rec, err); err != nil {
			return err
		}
	}
	all := s.tokens
	s.tokens = all[:0] // addLive appends no further than the loop has come
	for i := range all {
		if err := s.addLive(&all[i]); err != nil {
			return err
		}
	}
	slices.SortFunc(s.tokens, func(a, b Token) int {
		return cmp.Or(a.ExpiresAt.Compare(b.ExpiresAt), a.ID.Compare(b.ID))
	})
	return nil
}

// addRecord adds rec, which the store listed with err, if that is a token that is alive by itself
// and has uses left.
func (s *expiringList) addRecord(rec *storage.Record, err error) error {
	if err != nil {
		return s.addDamaged(rec.ID, storeError(VerbExpiring, err))
	}
	if rec.Kind == storage.KindAlias {
		return nil
	}
	if tok := s.m.token(rec); tok.Live(s.now) && !spent(rec) {
		s.tokens = append(s.tokens, tok)
	}
	return nil
}

// addDamaged adds the record of id to the damaged ones if err wraps ErrCorrupt, or returns err.
func (s *expiringList) addDamaged(id ID, err error) error {
	if !errors.Is(err, ErrCorrupt) {
		return err
	}
	s.damaged = append(s.damaged, damagedRecord{id, err})
	return nil
}

// addLive adds tok if it is alive by the records above it, too.
func (s *expiringList) addLive(tok *Token) error {
	if tok.Parent != (ID{}) {
		if _, err := s.m.clampStored(s.ctx, VerbExpiring, tok); err != nil {
			return s.addDamaged(tok.ID, err)
		}
		if !tok.Live(s.now) {
			return nil
		}
	}
	s.tokens = append(s.tokens, *tok)
	return nil
}
