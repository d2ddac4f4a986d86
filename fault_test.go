package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

var errDisk = errors.New("disk on fire")

// contents returns every record of the store.
func (f *fixture) contents() []storage.Record {
	f.t.Helper()
	var all []storage.Record
	for r, err := range f.store.List(f.ctx, storage.Filter{}) {
		if err != nil {
			f.t.Fatalf("List: %v", err)
		}
		all = append(all, r)
	}
	return all
}

// TestEveryVerbIsTried: no exported method of a Manager is missing among the verbs that are
// tried with faults, nor one of Pairs, except those that never reach the store.
func TestEveryVerbIsTried(t *testing.T) {
	tried := func(of any, names func(yield func(string) bool), exempt ...string) {
		missing, methods := map[string]bool{}, reflect.TypeOf(of)
		for i := range methods.NumMethod() {
			missing[methods.Method(i).Name] = true
		}
		for _, name := range exempt {
			delete(missing, name)
		}
		for name := range names {
			word, _, _ := strings.Cut(name, " ")
			delete(missing, word)
		}
		if len(missing) > 0 {
			t.Errorf("%T: not tried: %v", of, missing)
		}
	}
	tried(&lapse.Manager{}, func(yield func(string) bool) {
		for _, v := range verbs {
			yield(v.name)
		}
	}, "AcceptClock", "Now")
	tried(&lapse.Pairs{}, func(yield func(string) bool) {
		for _, v := range pairVerbs {
			yield(v.name)
		}
	}, "Access")
}

// TestStorageFaults fails each call that each verb makes, in each way.
func TestStorageFaults(t *testing.T) {
	alone(t)
	for _, verb := range verbs {
		calls := len(callsOf(t, verb.do))
		for n := 1; n <= calls; n++ {
			for _, fault := range []struct {
				mode storagetest.Mode
				err  error
				want error
			}{
				{storagetest.FailBefore, storage.ErrUnavailable, lapse.ErrUnavailable},
				{storagetest.FailBefore, errDisk, lapse.ErrUnavailable},
				{storagetest.FailBefore, errDisk, errDisk},
				{storagetest.FailBefore, storage.ErrClosed, lapse.ErrClosed},
				{storagetest.FailBefore, storage.ErrCorrupt, lapse.ErrCorrupt},
				{storagetest.FailAfter, storage.ErrOutcomeUnknown, lapse.ErrOutcomeUnknown},
				{storagetest.Hang, nil, context.DeadlineExceeded},
				{storagetest.Hang, nil, lapse.ErrUnavailable},
			} {
				name := fmt.Sprintf("%s/call %d/%v %v", verb.name, n, fault.mode, fault.err)
				if verb.name == "Hold" && n == verb.use && fault.mode == storagetest.Hang {
					continue // its context has ended, and with it the hold
				}
				t.Run(name, func(t *testing.T) {
					s := newScene(t)
					before := s.contents()
					s.store.Reset()
					s.store.Inject(n, fault.mode, fault.err)
					gave, err := verb.do(lateAt(s.ctx, s.store, n, fault.mode), s)
					if !s.store.Fired() {
						t.Fatal("the fault did not happen")
					}
					if n == verb.use {
						s.wantUseWithoutRenewal(t, before, gave, err, fault.want)
						return
					}
					wantIs(t, "error", err, fault.want)
					if errors.Is(err, lapse.ErrUnauthenticated) {
						t.Errorf("a fault of the store reads as a bad token: %v", err)
					}
					if gave != "" {
						t.Errorf("it failed and yet gave %q", gave)
					}
					if fault.mode != storagetest.FailAfter {
						wantDiff(t, "contents", before, s.contents())
					}
					wantRecordsAgree(t, s.fixture) // no family is half ended
					if len(s.events) != 0 {
						t.Errorf("events of what did not happen: %+v", s.events)
					}
					s.wantWorking(t)
				})
			}
		}
	}
}

// callsOf returns the calls of the store that do makes. What serves a connection may read
// its token as soon as that is held: the fewest calls of several tries are those of do.
func callsOf(t *testing.T, do func(context.Context, *scene) (string, error)) (fewest []storagetest.Op) {
	t.Helper()
	for n := range 4 {
		s := newScene(t)
		s.store.Reset()
		if _, err := do(s.ctx, s); err != nil {
			t.Fatalf("without a fault: %v", err)
		}
		if calls := s.store.Calls(); n == 0 || len(calls) < len(fewest) {
			fewest = calls
		}
	}
	return fewest
}

// wantUseWithoutRenewal: a use that cannot be recorded is good, and Observe is told, with
// the token as it is stored.
func (s *scene) wantUseWithoutRenewal(t *testing.T, before []storage.Record, gave string, err, cause error) {
	t.Helper()
	if err != nil || gave == "" {
		t.Errorf("a use that was not recorded failed the authentication: %q, %v", gave, err)
	}
	if len(s.events) != 1 || s.events[0].Kind != lapse.EventRenewalFailed || !errors.Is(s.events[0].Err, cause) {
		t.Fatalf("events: %+v; want one failed renewal by %v", s.events, cause)
	}
	got := s.events[0].Token
	for _, r := range before {
		if r.ID == got.ID && (got.ExpiresAt.After(r.ExpiresAt) || !got.LastUsedAt.Equal(r.LastUsedAt)) {
			t.Errorf("the token is told to be used at %v, until %v; stored is %v", got.LastUsedAt, got.ExpiresAt, r)
		}
	}
	s.wantWorking(t)
}

// wantWorking: whatever happened, the next use of a token that nothing was asked
// to end works.
func (s *scene) wantWorking(t *testing.T) {
	t.Helper()
	i, err := s.Issue(s.ctx, lapse.Grant{Subject: "bob"})
	if err != nil {
		t.Fatalf("Issue afterwards: %v", err)
	}
	if _, err := s.Authenticate(s.ctx, i.Bearer); err != nil {
		t.Errorf("Authenticate afterwards: %v", err)
	}
}

// TestPanickingStore: a panic of any call passes through, has no effect where there was
// none, and what comes after it works.
func TestPanickingStore(t *testing.T) {
	for _, verb := range verbs {
		calls := len(callsOf(t, verb.do))
		for n := 1; n <= calls; n++ {
			s := newScene(t)
			before := s.contents()
			s.store.Reset()
			s.store.Inject(n, storagetest.Panic, nil)
			if !panics(func() { verb.do(s.ctx, s) }) {
				t.Errorf("%s, call %d: the store's panic was swallowed", verb.name, n)
			}
			wantDiff(t, fmt.Sprint(verb.name, ", call ", n, ": contents"), before, s.contents())
			s.wantWorking(t)
		}
	}
}

func panics(do func()) (did bool) {
	defer func() { did = recover() != nil }()
	do()
	return false
}

// TestEndedContext: no verb has an effect once its context has ended, and each
// says so in the context's words.
func TestEndedContext(t *testing.T) {
	for _, verb := range verbs {
		s := newScene(t)
		before := s.contents()
		ctx, cancel := context.WithCancel(s.ctx)
		cancel()
		_, err := verb.do(ctx, s)
		wantIs(t, verb.name, err, context.Canceled)
		if errors.Is(err, lapse.ErrUnauthenticated) || errors.Is(err, lapse.ErrUnavailable) {
			t.Errorf("%s: %v is not what happened", verb.name, err)
		}
		wantDiff(t, verb.name+": contents", before, s.contents())
	}
}

// TestClosedStore: every verb says ErrClosed.
func TestClosedStore(t *testing.T) {
	for _, verb := range verbs {
		s := newScene(t)
		if err := s.store.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := verb.do(s.ctx, s)
		wantIs(t, verb.name, err, lapse.ErrClosed)
	}
}

// TestIDCollision: an ID that exists is never written over, and Issue draws
// another one.
func TestIDCollision(t *testing.T) {
	for taken, want := range map[int]error{1: nil, 2: nil, 3: lapse.ErrConflict} {
		store := &collider{Store: memory.New(), left: taken}
		m, err := lapse.New(store, lapse.Config{Clock: newClock()})
		if err != nil {
			t.Fatal(err)
		}
		i, err := m.Issue(context.Background(), lapse.Grant{Subject: "ana"})
		wantIs(t, fmt.Sprint(taken, " collisions"), err, want)
		if (i.Bearer == "") != (want != nil) {
			t.Errorf("%d collisions: bearer %v", taken, i.Bearer != "")
		}
	}
}

// collider finds the first IDs taken.
type collider struct {
	storage.Store
	left int
}

func (c *collider) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return c.Store.Update(ctx, subject, func(tx storage.Tx) error {
		if c.left > 0 {
			c.left--
			return fn(takenTx{tx})
		}
		return fn(tx)
	})
}

type takenTx struct{ storage.Tx }

func (takenTx) Get(id storage.ID) (storage.Record, error) {
	return storage.Record{Token: storage.Token{ID: id}}, nil
}
