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

// expiringList is what expires soon, as it is being collected.
type expiringList struct {
	m       *Manager
	ctx     context.Context
	now     time.Time
	epoch   uint32 // of now
	tokens  []Token
	damaged []damagedRecord
}

// damagedRecord is a record that cannot be judged, and why.
type damagedRecord struct {
	id  ID
	err error
}

func (s *expiringList) collect(within time.Duration) error {
	s.now, s.epoch = s.m.stamp()
	var filter storage.Filter // no store has to know an instant behind the last one
	if last := steady.Add(s.now, within.Truncate(time.Millisecond)); within != NoLimit && last.UnixMilli() < steady.LastInstant {
		filter.ExpiresBefore = last.Add(time.Millisecond)
	}
	for rec, err := range s.m.store.List(s.ctx, filter) {
		if err := s.addRecord(&rec, err); err != nil {
			return err
		}
	}
	all := s.tokens
	s.tokens = all[:0] // never ahead of what is judged
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

// addRecord keeps what the record alone says expires soon.
func (s *expiringList) addRecord(rec *storage.Record, err error) error {
	if err != nil {
		return s.addDamaged(rec.ID, storeError("expiring", err))
	}
	if tok := s.m.token(rec); tok.Live(s.now) && !spent(rec) {
		s.tokens = append(s.tokens, tok)
	}
	return nil
}

// addDamaged notes a damaged record, and returns any other error.
func (s *expiringList) addDamaged(id ID, err error) error {
	if !errors.Is(err, ErrCorrupt) {
		return err
	}
	s.damaged = append(s.damaged, damagedRecord{id, err})
	return nil
}

// addLive keeps tok if the records that it was delegated from agree.
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
