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
		if within < time.Millisecond {
			yield(Token{}, fmt.Errorf("%w: within: %v is under a millisecond; say how far to look ahead", ErrInvalidConfig, within))
			return
		}
		var s expiringList
		err := m.retryOnNewEpoch(ctx, "expiring", new([]Token), func() (uint32, error) {
			s = expiringList{m: m, ctx: ctx}
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

// addRecord adds rec, which the store listed with err, if it is alive by itself and has uses left.
func (s *expiringList) addRecord(rec *storage.Record, err error) error {
	if err != nil {
		return s.addDamaged(rec.ID, storeError("expiring", err))
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
		if _, err := s.m.clampStored(s.ctx, "expiring", tok); err != nil {
			return s.addDamaged(tok.ID, err)
		}
		if !tok.Live(s.now) {
			return nil
		}
	}
	s.tokens = append(s.tokens, *tok)
	return nil
}
