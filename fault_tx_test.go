package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// sayingStore is a store of which the calls of transactions, from one on, return an error.
type sayingStore struct {
	storage.Store
	op   string // "Get", "Put" or "Living"
	left int    // how many calls of op go well
	err  error
	said bool
}

func (s *sayingStore) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return s.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(sayingTx{tx, s}) })
}

func (s *sayingStore) says(op string) bool {
	if s.op != op {
		return false
	}
	s.left--
	s.said = s.said || s.left < 0
	return s.left < 0
}

type sayingTx struct {
	storage.Tx
	*sayingStore
}

func (tx sayingTx) Get(id storage.ID) (storage.Record, error) {
	if tx.says("Get") {
		return storage.Record{}, tx.err
	}
	return tx.Tx.Get(id)
}

func (tx sayingTx) Put(r storage.Record) error {
	if tx.says("Put") {
		return tx.err
	}
	return tx.Tx.Put(r)
}

func (tx sayingTx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	if tx.says("Living") {
		return func(yield func(storage.Record, error) bool) { yield(storage.Record{}, tx.err) }
	}
	return tx.Tx.Living(now)
}

// TestFault19TransactionsDecideNothing: whatever a call of a transaction returns, be it the
// very error that a verb of another Manager returned, a verb answers that it could not
// tell, or is a use that is good all the same.
func TestFault19TransactionsDecideNothing(t *testing.T) {
	others, tries := otherVerdicts(t), 0
	for _, verb := range verbs {
		for _, op := range []string{"Get", "Put", "Living"} {
			for name, says := range map[string]error{
				"a refusal":                  others["another's refusal"],
				"another's ErrLimit":         others["another's ErrLimit"],
				"unavailable and damaged":    fmt.Errorf("%w: %w", storage.ErrUnavailable, storage.ErrCorrupt),
				"late and not found":         fmt.Errorf("%w: %w", storage.ErrNotFound, context.DeadlineExceeded),
				"not found, and its refusal": fmt.Errorf("%w: %w", storage.ErrNotFound, others["another's refusal"]),
			} {
				for n := range 4 {
					s := newScene(t)
					store := &sayingStore{Store: s.on, op: op, left: n, err: says}
					cfg := sceneConfig(scenePolicy, 1)
					cfg.Clock, cfg.Observe = s.clock, func(_ context.Context, e lapse.Event) { s.events = append(s.events, e) }
					s.Manager = made(lapse.New(store, cfg))
					s.events = nil
					gave, err := verb.do(s.ctx, s)
					if !store.said {
						break
					}
					tries++
					what := fmt.Sprintf("%s: %s from call %d of %s", verb.name, name, n+1, op)
					if err == nil && len(s.events) > 0 && s.events[0].Kind == lapse.EventRenewalFailed {
						err = s.events[0].Err
					} else if gave != "" {
						t.Errorf("%s gave %q", what, gave)
					}
					wantNoVerdict(t, what, err, lapse.ErrUnavailable)
				}
			}
		}
	}
	t.Logf("%d errors from transactions", tries)
}

// TestFault19UnknownOutcomeIsNoConflict: an issue whose outcome is unknown is not tried
// again, whatever else the store says, nor is one that another Manager's epoch overtook.
func TestFault19UnknownOutcomeIsNoConflict(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	store := &countingUpdates{Store: f.store}
	m := made(lapse.New(store, lapse.Config{Clock: f.clock}))
	store.err = fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, storage.ErrConflict)
	_, err := m.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	if !errors.Is(err, lapse.ErrOutcomeUnknown) || store.updates != 1 || len(f.contents()) != 1 {
		t.Errorf("%v, after %d Updates, %d tokens", err, store.updates, len(f.contents()))
	}
}

// countingUpdates commits, and then returns err.
type countingUpdates struct {
	storage.Store
	updates int
	err     error
}

func (s *countingUpdates) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	s.updates++
	if err := s.Store.Update(ctx, subject, fn); err != nil {
		return err
	}
	return s.err
}
