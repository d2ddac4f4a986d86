package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

var errDisk = errors.New("disk on fire")

// scene is a store with a few tokens, on which one verb is tried.
type scene struct {
	*fixture
	live, idle lapse.Issued

	family []lapse.Issued // of eve, each delegated from the one before
	budget lapse.Issued   // of tim, with one use
}

func newScene(t *testing.T) *scene {
	t.Helper()
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 3, AtLimit: lapse.LimitEndOldest}})
	f.issue(lapse.Grant{Subject: "ana", TTL: time.Second}) // swept by Sweep
	f.clock.add(25 * time.Hour)
	s := &scene{fixture: f, idle: f.issue(lapse.Grant{Subject: "ana"}), live: f.issue(lapse.Grant{Subject: "ana"})}
	f.issue(lapse.Grant{Subject: "ana"})
	s.budget = f.issue(lapse.Grant{Subject: "tim", MaxUses: 1})
	s.family = []lapse.Issued{f.issue(lapse.Grant{Subject: "eve"})}
	for n := range 2 {
		f.clock.add(time.Millisecond)
		s.family = append(s.family, f.delegate(s.family[n], lapse.Grant{}))
	}
	f.clock.add(time.Minute)
	f.events = nil
	f.store.Reset()
	return s
}

// verbs are all that reach the store, with every write they can do in reach:
// Issue has to evict, Authenticate and Renew have something to renew.
var verbs = []struct {
	name string
	do   func(ctx context.Context, s *scene) (gave string, err error)
}{
	{"Issue", func(ctx context.Context, s *scene) (string, error) {
		i, err := s.Issue(ctx, lapse.Grant{Subject: "ana"})
		return i.Bearer, err
	}},
	{"Authenticate", func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Authenticate(ctx, s.live.Bearer)
		return tok.Subject, err
	}},
	{"Peek", func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Peek(ctx, s.live.Bearer)
		return tok.Subject, err
	}},
	{"Renew", func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Renew(ctx, s.live.Bearer)
		return tok.Subject, err
	}},
	{"Expire", func(ctx context.Context, s *scene) (string, error) {
		ended, err := s.Expire(ctx, s.live.ID)
		return map[bool]string{true: "ended"}[ended], err
	}},
	{"ExpireBearer", func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.ExpireBearer(ctx, s.live.Bearer)
		return tok.Subject, err
	}},
	{"ExpireSubject", func(ctx context.Context, s *scene) (string, error) {
		n, err := s.ExpireSubject(ctx, "ana")
		return map[bool]string{true: "ended"}[n > 0], err
	}},
	{"Authenticate with a budget", func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Authenticate(ctx, s.budget.Bearer)
		return tok.Subject, err
	}},
	{"Peek at a delegate", func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Peek(ctx, s.family[2].Bearer)
		return tok.Subject, err
	}},
	{"Renew of a delegate", func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Renew(ctx, s.family[2].Bearer)
		return tok.Subject, err
	}},
	{"Delegate", func(ctx context.Context, s *scene) (string, error) { // which evicts a family
		i, err := s.Delegate(ctx, s.family[0].Bearer, lapse.Grant{})
		return i.Bearer, err
	}},
	{"Expire of a family", func(ctx context.Context, s *scene) (string, error) {
		ended, err := s.Expire(ctx, s.family[0].ID)
		return map[bool]string{true: "ended"}[ended], err
	}},
	{"ExpireSubject of a family but one", func(ctx context.Context, s *scene) (string, error) {
		n, err := s.ExpireSubject(ctx, "eve", s.family[2].ID)
		return map[bool]string{true: "ended"}[n > 0], err
	}},
	{"Token of a delegate", func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Token(ctx, s.family[2].ID)
		return tok.Subject, err
	}},
	{"Tokens of a family", func(ctx context.Context, s *scene) (string, error) {
		for _, err := range s.Tokens(ctx, "eve") {
			if err != nil {
				return "", err
			}
		}
		return "all", nil
	}},
	{"Token", func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Token(ctx, s.live.ID)
		return tok.Subject, err
	}},
	{"Tokens", func(ctx context.Context, s *scene) (string, error) {
		for _, err := range s.Tokens(ctx, "ana") {
			if err != nil {
				return "", err
			}
		}
		return "all", nil
	}},
	{"Expiring", func(ctx context.Context, s *scene) (string, error) {
		for _, err := range s.Expiring(ctx, time.Hour) {
			if err != nil {
				return "", err
			}
		}
		return "all", nil
	}},
	{"Login", func(ctx context.Context, s *scene) (string, error) {
		ana := lapse.VerifierFunc[string](func(context.Context, string) (string, error) { return "ana", nil })
		i, err := lapse.Login(ctx, s.Manager, "password", lapse.Grant{}, ana)
		return i.Bearer, err
	}},
	{"Sweep", func(ctx context.Context, s *scene) (string, error) {
		n, err := s.Sweep(ctx)
		return map[bool]string{true: "swept"}[n > 0], err
	}},
}

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

// TestStorageFaults fails each call that each verb makes, in each way.
func TestStorageFaults(t *testing.T) {
	for _, verb := range verbs {
		calls := newScene(t).count(verb.do)
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
				t.Run(name, func(t *testing.T) {
					s := newScene(t)
					before := s.contents()
					s.store.Reset()
					s.store.Inject(n, fault.mode, fault.err)
					gave, err := verb.do(lateAt(s.ctx, s.store, n, fault.mode), s)
					if !s.store.Fired() {
						t.Fatal("the fault did not happen")
					}
					if verb.name == "Authenticate" && n == 2 {
						s.wantUseWithoutRenewal(t, err, fault.want)
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

// count returns how many calls do makes.
func (s *scene) count(do func(context.Context, *scene) (string, error)) int {
	s.store.Reset()
	if _, err := do(s.ctx, s); err != nil {
		s.t.Fatalf("without a fault: %v", err)
	}
	return len(s.store.Calls())
}

// wantUseWithoutRenewal: a renewal by use that cannot be stored leaves the use
// good, the stored expiry in the answer, and Observe told.
func (s *scene) wantUseWithoutRenewal(t *testing.T, err, cause error) {
	t.Helper()
	if err != nil {
		t.Errorf("a renewal that was not stored failed the authentication: %v", err)
	}
	if len(s.events) != 1 || s.events[0].Kind != lapse.EventRenewalFailed || !errors.Is(s.events[0].Err, cause) {
		t.Errorf("events: %+v; want one failed renewal by %v", s.events, cause)
	}
	if got := s.events[0].Token.ExpiresAt; !got.Equal(s.live.ExpiresAt) {
		t.Errorf("the token says %v; want the stored %v", got, s.live.ExpiresAt)
	}
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

// TestPanickingStore: a panic passes through, and what comes after it works.
func TestPanickingStore(t *testing.T) {
	for _, verb := range verbs {
		s := newScene(t)
		s.store.Inject(1, storagetest.Panic, nil)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: the store's panic was swallowed", verb.name)
				}
			}()
			verb.do(s.ctx, s)
		}()
		s.wantWorking(t)
	}
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
