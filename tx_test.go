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

// over returns a Manager like the scene's own on another store.
func (s *scene) over(store storage.Store, policy lapse.Policy) *lapse.Manager {
	s.t.Helper()
	s.on = store
	cfg := sceneConfig(policy, 1)
	cfg.Clock, cfg.Observe = s.clock, func(_ context.Context, e lapse.Event) { s.events = append(s.events, e) }
	m, err := lapse.New(store, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

var scenePolicy = lapse.Policy{MaxTokens: 3, AtLimit: lapse.LimitEndOldest}

// TestTxFaults fails each call that each verb makes inside its transaction, one pair of
// Records or Living counted as a call: the transaction is given up.
func TestTxFaults(t *testing.T) {
	for _, verb := range verbs {
		for n := 1; ; n++ {
			s := newScene(t)
			before := s.contents()
			store := &txFaults{Store: s.store, left: n}
			s.Manager = s.over(store, scenePolicy)
			gave, err := verb.do(s.ctx, s)
			if store.done() {
				break
			}
			if verb.use > 0 {
				s.wantUseWithoutRenewal(t, before, gave, err, errDisk)
				continue
			}
			wantIs(t, verb.name, err, errDisk)
			wantIs(t, verb.name, err, lapse.ErrUnavailable)
			if gave != "" || len(s.events) != 0 {
				t.Errorf("%s, call %d: it failed and yet gave %q and told of %+v", verb.name, n, gave, s.events)
			}
			wantDiff(t, verb.name+": contents", before, s.contents())
		}
	}
}

// TestTxPanics: a panic of any call inside a transaction passes through, and leaves
// nothing of the transaction and no lock.
func TestTxPanics(t *testing.T) {
	for _, verb := range verbs {
		for n := 1; ; n++ {
			s := newScene(t)
			before := s.contents()
			store := &txFaults{Store: s.store, left: n, panics: true}
			s.Manager = s.over(store, scenePolicy)
			panicked := panics(func() { verb.do(s.ctx, s) })
			if store.done() {
				break
			}
			if !panicked {
				t.Errorf("%s, call %d: the panic was swallowed", verb.name, n)
			}
			wantDiff(t, fmt.Sprint(verb.name, ", call ", n, ": contents"), before, s.contents())
			s.wantWorking(t)
		}
	}
}

// TestTxFaultsReachEveryCall: of a transaction that makes each call once, each is failed.
func TestTxFaultsReachEveryCall(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	id := f.issue(lapse.Grant{Subject: "ana"}).ID
	rec, err := f.store.Get(f.ctx, id)
	wantIs(t, "Get", err, nil)
	for n := 1; n <= 5; n++ {
		store, reached := &txFaults{Store: f.store, left: n}, 0
		err := store.Update(f.ctx, "ana", func(tx storage.Tx) error {
			for _, call := range []func() error{
				func() error { _, err := tx.Get(id); return err },
				func() error { return tx.Put(rec) },
				func() error { return first(tx.Records()) },
				func() error { return first(tx.Living(startMilli)) },
				func() error { return tx.Delete(id) },
			} {
				reached++
				if err := call(); err != nil {
					return err
				}
			}
			return nil
		})
		wantIs(t, fmt.Sprint("call ", n), err, errDisk)
		if reached != n {
			t.Errorf("call %d: %d calls were made", n, reached)
		}
	}
}

// first returns the error of the first pair, if there is one.
func first(records iter.Seq2[storage.Record, error]) error {
	for _, err := range records {
		return err
	}
	return nil
}

// txFaults fails one call of a Tx, of which left - 1 others come before, or panics in it.
type txFaults struct {
	storage.Store
	left   int
	panics bool
}

// done reports whether the call to fail has not come, and fails none from now on.
func (f *txFaults) done() bool {
	left := f.left
	f.left = 0
	return left > 0
}

func (f *txFaults) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return f.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(faultyTx{tx, f}) })
}

func (f *txFaults) fail() error {
	if f.left--; f.left == 0 && f.panics {
		panic(errDisk)
	} else if f.left == 0 {
		return errDisk
	}
	return nil
}

type faultyTx struct {
	storage.Tx
	f *txFaults
}

func (tx faultyTx) Get(id storage.ID) (storage.Record, error) {
	if err := tx.f.fail(); err != nil {
		return storage.Record{}, err
	}
	return tx.Tx.Get(id)
}

func (tx faultyTx) Put(r storage.Record) error {
	if err := tx.f.fail(); err != nil {
		return err
	}
	return tx.Tx.Put(r)
}

func (tx faultyTx) Delete(id storage.ID) error {
	if err := tx.f.fail(); err != nil {
		return err
	}
	return tx.Tx.Delete(id)
}

func (tx faultyTx) Records() iter.Seq2[storage.Record, error] { return tx.f.each(tx.Tx.Records()) }

func (tx faultyTx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	return tx.f.each(tx.Tx.Living(now))
}

// each counts every pair as a call.
func (f *txFaults) each(records iter.Seq2[storage.Record, error]) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for r, err := range records {
			if failed := f.fail(); failed != nil {
				yield(storage.Record{}, failed)
				return
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// TestTransactionRunsAgain: a store may run a transaction more than once. Nothing
// of a run that was undone is left, nor its instant.
func TestTransactionRunsAgain(t *testing.T) {
	refuse := lapse.Policy{MaxTokens: 4}
	for _, row := range []struct {
		name    string
		policy  lapse.Policy
		fault   int // call of the first run that fails; 0: none
		do      func(s *scene, m *lapse.Manager) (int, error)
		between func(s *scene)
		want    int
		events  []lapse.EventKind
	}{
		{"Issue with eviction", scenePolicy, 0, issueAgain, nil, 1, []lapse.EventKind{lapse.EventEnded, lapse.EventIssued}},
		{"Issue into the last place", refuse, 0, issueAgain, nil, 0, []lapse.EventKind{lapse.EventIssued}},
		{"Issue after a fault", refuse, 3, issueAgain, nil, 0, []lapse.EventKind{lapse.EventIssued}},
		{"Renew", scenePolicy, 0, renewAgain, nil, 1801, []lapse.EventKind{lapse.EventRenewed}},
		{"Delegate, which evicts nothing", scenePolicy, 0, delegateAgain, nil, 0, []lapse.EventKind{lapse.EventIssued}},
		{"Delegate after a fault", refuse, 4, delegateAgain, nil, 0, []lapse.EventKind{lapse.EventIssued}},
		{"Rotate", scenePolicy, 0, rotateAgain, nil, 1, []lapse.EventKind{lapse.EventRotated}},
		{"Rotate, then the same by another", scenePolicy, 0, rotateAgain, rotateLive, 1, nil},
		{"Rotate of a parent with overlap 0", scenePolicy, 0, rotateParentAgain, nil, 1, []lapse.EventKind{lapse.EventEnded, lapse.EventEnded, lapse.EventRotated}},
		{"RotateID", scenePolicy, 0, rotateIDAgain, nil, 1, []lapse.EventKind{lapse.EventRotated}},
		{"RotateID, with another rotation in between", scenePolicy, 0, rotateIDAgain, rotateLive, 2, []lapse.EventKind{lapse.EventRotated}},
		{"the first use of a rotated text", scenePolicy, 0, useRotatedAgain, nil, 1, []lapse.EventKind{lapse.EventRenewed}},
		{"Obtain after its key was retired", scenePolicy, 0, obtainAgain, nil, 1, []lapse.EventKind{lapse.EventRotated}},
		{"the last use of a budget", scenePolicy, 0, spendAgain, nil, 0, []lapse.EventKind{lapse.EventEnded}},
		{"Expire of a family", scenePolicy, 0, expireFamilyAgain, nil, 1, []lapse.EventKind{lapse.EventEnded, lapse.EventEnded, lapse.EventEnded}},
		{"Expire", scenePolicy, 0, expireAgain, nil, 1, []lapse.EventKind{lapse.EventEnded}},
		{"Expire of what another ends in between", scenePolicy, 0, expireAgain, endLive, 0, nil},
		{"ExpireSubject", scenePolicy, 0, expireSubjectAgain, nil, 3, []lapse.EventKind{lapse.EventEnded, lapse.EventEnded, lapse.EventEnded}},
		{"ExpireSubject, one of which another ends in between", scenePolicy, 0, expireSubjectAgain, endLive, 2, []lapse.EventKind{lapse.EventEnded, lapse.EventEnded}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newScene(t)
			s.t = t
			m := s.over(&twice{s.store, s.clock, row.fault, func() {
				if row.between != nil {
					row.between(s)
				}
				s.events = nil
			}}, row.policy)
			counts := s.clock.Now().Add(time.Second).Truncate(time.Millisecond)
			got, err := row.do(s, m)
			if got != row.want || err != nil {
				t.Errorf("%d, %v; want %d", got, err, row.want)
			}
			var kinds []lapse.EventKind
			for _, e := range s.events {
				kinds = append(kinds, e.Kind)
				if !e.At.Equal(counts) {
					t.Errorf("%v at %v; want %v, of the run that counts", e.Kind, e.At, counts)
				}
			}
			wantDiff(t, "events", row.events, kinds)
		})
	}
}

func issueAgain(s *scene, m *lapse.Manager) (int, error) {
	i, err := m.Issue(s.ctx, lapse.Grant{Subject: "ana"})
	return len(i.Evicted), err
}

func delegateAgain(s *scene, m *lapse.Manager) (int, error) {
	i, err := m.Delegate(s.ctx, s.family[0].Bearer, lapse.Grant{})
	return len(i.Evicted), err
}

// rotateAgain returns the generation of the text.
func rotateAgain(s *scene, m *lapse.Manager) (int, error) {
	i, err := m.Rotate(s.ctx, s.live.Bearer, time.Minute)
	return s.generationOf(i, err)
}

func rotateIDAgain(s *scene, m *lapse.Manager) (int, error) {
	i, err := m.RotateID(s.ctx, s.live.ID, time.Minute)
	return s.generationOf(i, err)
}

func rotateParentAgain(s *scene, m *lapse.Manager) (int, error) {
	i, err := m.Rotate(s.ctx, s.family[0].Bearer, 0)
	return s.generationOf(i, err)
}

func useRotatedAgain(s *scene, m *lapse.Manager) (int, error) {
	tok, err := m.Authenticate(s.ctx, s.rotated.Bearer)
	return int(tok.Generation), err
}

func obtainAgain(s *scene, _ *lapse.Manager) (int, error) {
	i, err := s.retired().Obtain(s.ctx, lapse.Grant{Subject: "kim"})
	return s.generationOf(i, err)
}

func rotateLive(s *scene) {
	_, err := rotateAgain(s, s.Manager)
	wantIs(s.t, "Rotate in between", err, nil)
}

// generationOf returns the generation of i, whose text must be good.
func (s *scene) generationOf(i lapse.Issued, err error) (int, error) {
	if err == nil {
		_, err = s.Peek(s.ctx, i.Bearer)
	}
	return int(i.Generation), err
}

// spendAgain returns how many uses are left.
func spendAgain(s *scene, m *lapse.Manager) (int, error) {
	tok, err := m.Authenticate(s.ctx, s.budget.Bearer)
	return tok.UsesLeft, err
}

func expireFamilyAgain(s *scene, m *lapse.Manager) (int, error) {
	ended, err := m.Expire(s.ctx, s.family[0].ID)
	return map[bool]int{true: 1}[ended], err
}

// renewAgain returns for how many seconds from its call the token lives.
func renewAgain(s *scene, m *lapse.Manager) (int, error) {
	begin := s.clock.Now().Truncate(time.Millisecond)
	tok, err := m.Renew(s.ctx, s.live.Bearer)
	return int(tok.ExpiresAt.Sub(begin) / time.Second), err
}

func expireAgain(s *scene, m *lapse.Manager) (int, error) {
	ended, err := m.Expire(s.ctx, s.live.ID)
	return map[bool]int{true: 1}[ended], err
}

func expireSubjectAgain(s *scene, m *lapse.Manager) (int, error) {
	return m.ExpireSubject(s.ctx, "ana")
}

func endLive(s *scene) {
	if ended, err := s.Expire(s.ctx, s.live.ID); !ended || err != nil {
		s.t.Errorf("Expire in between: %v, %v", ended, err)
	}
}

// twice runs every transaction twice, a second apart, and undoes the first run, in
// which it makes the call of that number fail. It returns another second later.
type twice struct {
	storage.Store
	clock   *stepClock
	fault   int
	between func()
}

func (w *twice) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	undone := errors.New("undone")
	first := &txFaults{Store: w.Store, left: w.fault}
	err := first.Update(ctx, subject, func(tx storage.Tx) error {
		fn(tx)
		return undone
	})
	if err != undone {
		return err
	}
	w.clock.add(time.Second)
	w.between()
	defer w.clock.add(time.Second)
	return w.Store.Update(ctx, subject, fn)
}
