package lapse_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
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
	}, "AcceptClock", "Now", "Stats", "Prefix", "Holds", "Watch") // TestHoldsFaults and TestWatchFaults try these
	tried(&lapse.Pairs{}, func(yield func(string) bool) {
		for _, v := range pairVerbs {
			yield(v.name)
		}
	}, "Access", "RefreshPrefix")
	tried(&lapse.DeviceLogin{}, func(yield func(string) bool) {
		for _, v := range deviceVerbs {
			yield(v.name)
		}
	})
}

// callFaults are the ways in which a call of a store fails, each with what the verb returns then.
var callFaults = []struct {
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
}

// TestStorageFaults fails each call that each verb makes, in each way.
func TestStorageFaults(t *testing.T) {
	testStorageFaults(t, newScene)
	t.Run("by ID", func(t *testing.T) { testStorageFaults(t, newSceneByID) })
}

func testStorageFaults(t *testing.T, newScene func(*testing.T) *scene) {
	for v, verb := range verbs {
		if race.Enabled && !strings.HasPrefix(verb.name, "Hold") {
			continue // one goroutine does it all, and there is nothing for the race detector
		}
		calls := len(callsOf(t, newScene, verb.do))
		for n := 1; n <= calls; n++ {
			for f, fault := range callFaults {
				if !sample.Every(3, v+n+f) {
					continue
				}
				name := fmt.Sprintf("%s/call %d/%v %v", verb.name, n, fault.mode, fault.err)
				if strings.HasPrefix(verb.name, "Hold") && n == verb.use && fault.mode == storagetest.Hang {
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
					lapsetest.WantIs(t, "error", err, fault.want)
					if errors.Is(err, lapse.ErrUnauthenticated) {
						t.Errorf("a fault of the store reads as a bad token: %v", err)
					}
					if gave != "" {
						t.Errorf("it failed and yet gave %q", gave)
					}
					if fault.mode != storagetest.FailAfter {
						lapsetest.WantDiff(t, "contents", before, s.contents())
					}
					wantRecordsAgree(t, s.fixture) // no family is half ended
					if told := s.toldAtOnce(fault.mode); len(told) != 0 {
						t.Errorf("events of what did not happen: %+v", told)
					}
					if len(s.failures) != 1 || !errors.Is(s.failures[0].Err, fault.want) {
						t.Errorf("told of the failures %+v; want one by %v", s.failures, fault.want)
					}
					s.wantWorking(t)
				})
			}
		}
	}
}

// callsOf returns the calls of the store that do makes. What serves a connection may read
// its token as soon as that is held: the fewest calls of several tries are those of do.
func callsOf(t *testing.T, newScene func(*testing.T) *scene, do func(context.Context, *scene) (string, error)) (fewest []storagetest.Op) {
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

// toldAtOnce returns the events. It leaves out the end of a token whose last use was stored, and whose Hold
// failed all the same: a goroutine of the Manager ends that token at some time.
func (s *scene) toldAtOnce(mode storagetest.Mode) []lapse.Event {
	return slices.DeleteFunc(s.told(), func(e lapse.Event) bool {
		return mode == storagetest.FailAfter && e.Kind == lapse.EventEnded && e.Token.EndReason == lapse.EndExhausted
	})
}

// wantUseWithoutRenewal: a use that cannot be recorded is good, and Observe is told, with
// the token as it is stored.
func (s *scene) wantUseWithoutRenewal(t *testing.T, before []storage.Record, gave string, err, cause error) {
	t.Helper()
	if err != nil || gave == "" {
		t.Errorf("a use that was not recorded failed the authentication: %q, %v", gave, err)
	}
	told := s.told()
	if n := len(told); n > 0 && told[n-1].Kind == lapse.EventHeld {
		told = told[:n-1]
	}
	if len(told) != 1 || told[0].Kind != lapse.EventRenewalFailed || !errors.Is(told[0].Err, cause) {
		t.Fatalf("events: %+v; want one failed renewal by %v", told, cause)
	}
	got := told[0].Token
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
		calls := len(callsOf(t, newScene, verb.do))
		for n := 1; n <= calls; n++ {
			s := newScene(t)
			before := s.contents()
			s.store.Reset()
			s.store.Inject(n, storagetest.Panic, nil)
			if !panics(func() { verb.do(s.ctx, s) }) {
				t.Errorf("%s, call %d: the store's panic was swallowed", verb.name, n)
			}
			lapsetest.WantDiff(t, fmt.Sprint(verb.name, ", call ", n, ": contents"), before, s.contents())
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
		lapsetest.WantIs(t, verb.name, err, context.Canceled)
		if errors.Is(err, lapse.ErrUnauthenticated) || errors.Is(err, lapse.ErrUnavailable) {
			t.Errorf("%s: %v is not what happened", verb.name, err)
		}
		lapsetest.WantDiff(t, verb.name+": contents", before, s.contents())
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
		lapsetest.WantIs(t, verb.name, err, lapse.ErrClosed)
	}
}

// TestIDCollision: an ID that exists is never written over, and Issue draws
// another one.
func TestIDCollision(t *testing.T) {
	for taken, want := range map[int]error{1: nil, 2: nil, 3: lapse.ErrConflict} {
		store := &collider{Store: memory.New(), left: taken}
		m, err := lapse.New(store, lapse.Config{Clock: lapsetest.NewClock()})
		if err != nil {
			t.Fatal(err)
		}
		i, err := m.Issue(context.Background(), lapse.Grant{Subject: "ana"})
		lapsetest.WantIs(t, fmt.Sprint(taken, " collisions"), err, want)
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

// verdicts are the errors by which this package decides, none of which a store or a hook
// can make it return.
var verdicts = map[string]error{
	"ErrUnauthenticated": lapse.ErrUnauthenticated, "ErrMalformed": lapse.ErrMalformed, "ErrUnknown": lapse.ErrUnknown,
	"ErrExpired": lapse.ErrExpired, "ErrRevoked": lapse.ErrRevoked, "ErrSuspended": lapse.ErrSuspended, "ErrReplaced": lapse.ErrReplaced, "ErrRefused": lapse.ErrRefused, "ErrProof": lapse.ErrProof,
	"ErrExhausted": lapse.ErrExhausted, "ErrReused": lapse.ErrReused, "ErrBadCredentials": lapse.ErrBadCredentials,
	"ErrInvalidConfig": lapse.ErrInvalidConfig, "ErrInvalidGrant": lapse.ErrInvalidGrant, "ErrLimit": lapse.ErrLimit,
	"ErrNotRenewable": lapse.ErrNotRenewable, "ErrNotDelegable": lapse.ErrNotDelegable, "ErrRotated": lapse.ErrRotated,
	"ErrScope": lapse.ErrScope, "ErrClock": lapse.ErrClock, "ErrNoKeys": lapse.ErrNoKeys, "ErrNotMine": lapse.ErrNotMine,
	"ErrInvalidID": lapse.ErrInvalidID, "ErrInvalidThumbprint": lapse.ErrInvalidThumbprint, "ErrNotFound": lapse.ErrNotFound, "a GrantError": &lapse.GrantError{Field: "TTL"}, "a ScopeError": &lapse.ScopeError{Missing: []string{"read"}},
	"a Rejection": &lapse.Rejection{Err: lapse.ErrExpired, ID: lapse.ID{9}},
}

// otherVerdicts are what verbs of another Manager returned.
func otherVerdicts(t *testing.T) map[string]error {
	t.Helper()
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 1}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	_, full := f.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	_, absent := f.Token(f.ctx, lapse.ID{1})
	_, rotates := f.RotateID(f.ctx, lapse.ID{1}, 0)
	f.Expire(f.ctx, i.ID)
	_, refused := f.Authenticate(f.ctx, i.Bearer)
	return map[string]error{"another's ErrLimit": full, "another's ErrNotFound": absent, "another's ErrNotFound of RotateID": rotates, "another's refusal": refused}
}

// wantNoVerdict: err says that something else failed, by cause, and decides nothing.
func wantNoVerdict(t *testing.T, name string, err, cause error) {
	t.Helper()
	var r *lapse.Rejection
	var grant *lapse.GrantError
	var scope *lapse.ScopeError
	if !errors.Is(err, cause) || errors.As(err, &r) || errors.As(err, &grant) || errors.As(err, &scope) {
		t.Errorf("%s: %v, with the Rejection %v; want one by %v alone", name, err, r, cause)
	}
	for sentinel, verdict := range verdicts {
		if errors.Is(err, verdict) {
			t.Errorf("%s: %v wraps %s", name, err, sentinel)
		}
	}
}

// TestFault19StoresDecideNothing: whatever a store returns from whichever call, a verb
// answers that it could not tell, or is a use that is good all the same. Without -whole a call
// returns each verdict in one of three forms, by turns.
func TestFault19StoresDecideNothing(t *testing.T) {
	race.Alone(t)
	tries := 0
	verdicts := maps.Clone(verdicts)
	maps.Copy(verdicts, otherVerdicts(t))
	for v, verb := range verbs {
		calls := callsOf(t, newScene, verb.do)
		for i, sentinel := range slices.Sorted(maps.Keys(verdicts)) {
			verdict := verdicts[sentinel]
			for n, call := range calls {
				if strings.Contains(sentinel, "ErrNotFound") && call == opGet {
					continue // there it is the store's to say
				}
				forms := []error{fmt.Errorf("%w: %w", errDisk, verdict), fmt.Errorf("%w: %w", lapse.ErrUnavailable, verdict), verdict}
				if !sample.Every(2, v+i+n) {
					continue
				}
				if !sample.Whole() {
					forms = forms[(v+i+n)%len(forms):][:1]
				}
				for _, says := range forms {
					tries++
					name := fmt.Sprintf("%s: %s from call %d, %v", verb.name, sentinel, n+1, call)
					s := newScene(t)
					s.store.Reset()
					s.store.Inject(n+1, storagetest.FailBefore, says)
					gave, err := verb.do(s.ctx, s)
					if n+1 == verb.use {
						lapsetest.WantIs(t, name, err, nil)
						err = s.told()[0].Err
					} else if gave != "" {
						t.Errorf("%s gave %q", name, gave)
					}
					wantNoVerdict(t, name, err, lapse.ErrUnavailable)
				}
			}
		}
	}
	t.Logf("%d errors from stores", tries)
}

// TestUpdateIDFindsNothing: where UpdateID finds no record, a verb that has an ID says so, and one
// that has a text reads the record, and goes on by that.
func TestUpdateIDFindsNothing(t *testing.T) {
	name, read := "tablet", []storagetest.Op{storagetest.OpUpdateID, storagetest.OpGet, storagetest.OpUpdate}
	for verb, c := range map[string]struct {
		do    func(s *scene) error
		want  error
		calls []storagetest.Op
	}{
		"Expire":                     {func(s *scene) error { _, err := s.Expire(s.ctx, s.live.ID); return err }, nil, read[:1]},
		"RotateID":                   {func(s *scene) error { _, err := s.RotateID(s.ctx, s.live.ID, 0); return err }, lapse.ErrNotFound, read[:1]},
		"Suspend":                    {func(s *scene) error { _, err := s.Suspend(s.ctx, s.live.ID); return err }, lapse.ErrNotFound, read[:1]},
		"Resume":                     {func(s *scene) error { _, err := s.Resume(s.ctx, s.live.ID); return err }, lapse.ErrNotFound, read[:1]},
		"Edit":                       {func(s *scene) error { _, err := s.Edit(s.ctx, s.live.ID, lapse.Changes{Name: &name}); return err }, lapse.ErrNotFound, read[:1]},
		"ExpireBearer":               {func(s *scene) error { _, err := s.ExpireBearer(s.ctx, s.live.Bearer); return err }, nil, read},
		"ExpireBearer of a delegate": {func(s *scene) error { _, err := s.ExpireBearer(s.ctx, s.family[2].Bearer); return err }, nil, read},
		"Refresh":                    {func(s *scene) error { _, err := s.pairs().Refresh(s.ctx, s.session.Refresh.Bearer); return err }, nil, read},
	} {
		s := newSceneByID(t)
		s.store.InjectOp(storagetest.OpUpdateID, 1, storagetest.FailBefore, storage.ErrNotFound)
		lapsetest.WantIs(t, verb, c.do(s), c.want)
		lapsetest.WantDiff(t, verb, c.calls, s.store.Calls())
	}
}

// TestCallsByID: on a store that is a storage.IDUpdater no verb reads a record only to learn its
// subject. A Refresh that asks Admit reads it first, since Admit is not asked in a transaction.
func TestCallsByID(t *testing.T) {
	s := newSceneByID(t)
	asking, err := lapse.NewPairs(s.store, lapse.PairConfig{Access: lapse.Config{Clock: s.clock, Admit: func(context.Context, lapse.Token) error { return nil }}})
	if err != nil {
		t.Fatal(err)
	}
	name := "tablet"
	for _, c := range []struct {
		verb, want string
		do         func() error
	}{
		{"Issue", "[Update]", func() error { _, err := s.Issue(s.ctx, lapse.Grant{Subject: "bob"}); return err }},
		{"Authenticate for the first time", "[Get Touch]", func() error { _, err := s.Authenticate(s.ctx, s.live.Bearer); return err }},
		{"Authenticate", "[Get]", func() error { _, err := s.Authenticate(s.ctx, s.live.Bearer); return err }},
		{"Edit", "[UpdateID]", func() error { _, err := s.Edit(s.ctx, s.live.ID, lapse.Changes{Name: &name}); return err }},
		{"Suspend", "[UpdateID]", func() error { _, err := s.Suspend(s.ctx, s.live.ID); return err }},
		{"Resume", "[UpdateID]", func() error { _, err := s.Resume(s.ctx, s.live.ID); return err }},
		{"RotateID", "[UpdateID]", func() error { _, err := s.RotateID(s.ctx, s.live.ID, time.Minute); return err }},
		{"Expire", "[UpdateID]", func() error { _, err := s.Expire(s.ctx, s.live.ID); return err }},
		{"Expire of an unknown ID", "[UpdateID]", func() error { _, err := s.Expire(s.ctx, lapse.ID{1}); return err }},
		{"ExpireBearer", "[UpdateID]", func() error { _, err := s.ExpireBearer(s.ctx, s.idle.Bearer); return err }},
		{"Refresh", "[UpdateID]", func() (err error) {
			s.session, err = s.pairs().Refresh(s.ctx, s.session.Refresh.Bearer)
			return err
		}},
		{"Refresh that asks Admit", "[Get Update]", func() error { _, err := asking.Refresh(s.ctx, s.session.Refresh.Bearer); return err }},
	} {
		s.store.Reset()
		if err := c.do(); err != nil {
			t.Fatalf("%s: %v", c.verb, err)
		}
		if calls := fmt.Sprint(s.store.Calls()); calls != c.want {
			t.Errorf("%s calls %s, want %s", c.verb, calls, c.want)
		}
	}
}

// TestFault19StoresDecideNothingOfPairs: what TestFault19StoresDecideNothing shows, for Pairs.
func TestFault19StoresDecideNothingOfPairs(t *testing.T) {
	race.Alone(t)
	for _, verb := range pairVerbs {
		s := newPairScene(t, nil)
		verb.do(s.ctx, s)
		for n, call := range s.store.Calls() {
			for sentinel, verdict := range verdicts {
				if sentinel == "ErrNotFound" && call == opGet {
					continue
				}
				s := newPairScene(t, nil)
				s.store.Inject(n+1, storagetest.FailBefore, fmt.Errorf("%w: %w", errDisk, verdict))
				_, err := verb.do(s.ctx, s)
				name := fmt.Sprintf("%s: %s from call %d, %v", verb.name, sentinel, n+1, call)
				wantNoVerdict(t, name, err, errDisk)
				lapsetest.WantIs(t, name, err, lapse.ErrUnavailable)
			}
		}
	}
}

// TestFault19HooksDecideTheirOwn: what Admit returns refuses a token if it wraps
// ErrRefused, and whatever else it wraps decides nothing; so with a Verifier and
// ErrBadCredentials.
func TestFault19HooksDecideTheirOwn(t *testing.T) {
	var says error
	f := newFixture(t, lapse.Config{Admit: func(context.Context, lapse.Token) error { return says }})
	i := f.issue(lapse.Grant{Subject: "ana"})
	verbs := map[string]func() error{
		"Authenticate": func() error { _, err := f.Authenticate(f.ctx, i.Bearer); return err },
		"Hold":         func() error { _, err := f.Hold(f.ctx, i.Bearer); return err },
		"Renew":        func() error { _, err := f.Renew(f.ctx, i.Bearer); return err },
		"Confirm":      func() error { _, err := f.Confirm(f.ctx, i.Bearer); return err },
		"Rotate":       func() error { _, err := f.Rotate(f.ctx, i.Bearer, time.Minute); return err },
		"Delegate":     func() error { _, err := f.Delegate(f.ctx, i.Bearer, lapse.Grant{}); return err },
		"Identify, by Admit": func() error {
			_, err := lapse.Identify(f.ctx, f.Manager, "", verifierThatSays("ana", nil))
			return err
		},
		"Identify": func() error {
			admitted := f.manager(lapse.Config{})
			_, err := lapse.Identify(f.ctx, admitted, "", verifierThatSays("", says))
			return err
		},
		"Login": func() error {
			_, err := lapse.Login(f.ctx, f.manager(lapse.Config{}), "", lapse.Grant{}, verifierThatSays("", says))
			return err
		},
	}
	for verb, do := range verbs {
		for sentinel, verdict := range verdicts {
			switch {
			case sentinel == "ErrRefused" && verb != "Identify" && verb != "Login":
				continue
			case (sentinel == "ErrBadCredentials" || sentinel == "ErrNotMine") && (verb == "Identify" || verb == "Login"):
				continue
			}
			says = fmt.Errorf("%w: %w", errDisk, verdict)
			wantNoVerdict(t, verb+": "+sentinel, do(), errDisk)
			if verb == "Identify" || verb == "Login" {
				continue
			}
			says = fmt.Errorf("%w: %w: %w", errDisk, lapse.ErrRefused, verdict)
			var r *lapse.Rejection
			err := do()
			if !errors.Is(err, lapse.ErrRefused) || !errors.Is(err, errDisk) || !errors.As(err, &r) || r.Err == verdict {
				t.Errorf("%s: refused, and %s: %v", verb, sentinel, err)
			}
			if sentinel != "ErrRefused" && sentinel != "ErrUnauthenticated" && errors.Is(err, verdict) {
				t.Errorf("%s: a refusal wraps %s as well: %v", verb, sentinel, err)
			}
		}
	}
}

func verifierThatSays(subject string, err error) lapse.Verifier[string] {
	return lapse.VerifierFunc[string](func(context.Context, string) (string, error) { return subject, err })
}

// lostAnswer is a verb that replaces a secret, whose outcome is not known to its caller.
type lostAnswer struct {
	name  string
	grace time.Duration
	held  func(s *lostScene) string // the text in the client's hands
	ask   func(s *lostScene, held string) (answer string, err error)
	again error // what a retry says where the first call had its effect; nil: it answers
}

// lostScene has a token of rob by Obtain, rotated once, and a session of ana, refreshed
// once.
type lostScene struct {
	*pairs
	before, rotated lapse.Issued
	old, tip        lapse.TokenPair
	plain           bool // the answer is a text of a plain token
}

func newLostScene(t *testing.T, grace time.Duration) *lostScene {
	t.Helper()
	s := &lostScene{pairs: memoryPairs(t, lapse.PairConfig{Grace: grace, Access: lapse.Config{Keys: []lapse.Key{lapse.NewKey(lapsetest.KeyOf(1))}}})}
	s.before = s.issue(lapse.Grant{Subject: "rob"})
	var err error
	if s.rotated, err = s.Rotate(s.ctx, s.before.Bearer, time.Minute); err != nil {
		t.Fatal(err)
	}
	s.old = s.first(lapse.Grant{})
	s.tip = s.next(s.old)
	return s
}

func rotatingFor(overlap time.Duration) func(s *lostScene, held string) (string, error) {
	return func(s *lostScene, held string) (string, error) {
		i, err := s.Rotate(s.ctx, held, overlap)
		s.plain = true
		return i.Bearer, err
	}
}

func rotatingIDFor(overlap time.Duration) func(s *lostScene, held string) (string, error) {
	return func(s *lostScene, _ string) (string, error) {
		i, err := s.RotateID(s.ctx, s.before.ID, overlap)
		s.plain = true
		return i.Bearer, err
	}
}

func refreshingIt(s *lostScene, held string) (string, error) {
	c, err := s.Refresh(s.ctx, held)
	return c.Refresh.Bearer, err
}

func beforeOf(s *lostScene) string  { return s.before.Bearer }
func rotatedOf(s *lostScene) string { return s.rotated.Bearer }

var lostAnswers = []lostAnswer{
	{"Rotate", 0, rotatedOf, rotatingFor(time.Minute), nil},
	{"Rotate by the previous text", 0, beforeOf, rotatingFor(time.Minute), nil},
	{"Rotate with overlap 0", 0, rotatedOf, rotatingFor(0), lapse.ErrReplaced},
	{"Rotate by the previous text with overlap 0", 0, beforeOf, rotatingFor(0), lapse.ErrReplaced},
	{"RotateID", 0, rotatedOf, rotatingIDFor(time.Minute), nil},
	{"RotateID with overlap 0", 0, rotatedOf, rotatingIDFor(0), nil},
	{"Refresh", 0, func(s *lostScene) string { return s.tip.Refresh.Bearer }, refreshingIt, nil},
	{"Refresh by the previous text", 0, func(s *lostScene) string { return s.old.Refresh.Bearer }, refreshingIt, nil},
	{"Refresh without a grace", lapse.NoGrace, func(s *lostScene) string { return s.tip.Refresh.Bearer }, refreshingIt, lapse.ErrReused},
}

// works checks that text is the current one of its token or session, by which the next one
// can be had.
func (s *lostScene) works(t *testing.T, what, text string) {
	t.Helper()
	peek, next := s.Pairs.Peek, refreshingIt
	if s.plain {
		peek, next = s.Manager.Peek, rotatingFor(time.Minute)
	}
	tok, err := peek(s.ctx, text)
	lapsetest.WantIs(t, what, err, nil)
	if rec := s.record(tok.ID); rec.Generation != tok.Generation {
		t.Errorf("%s: generation %d of %d", what, tok.Generation, rec.Generation)
	}
	after, err := next(s, text)
	lapsetest.WantIs(t, what+": the next one", err, nil)
	if rec := s.record(tok.ID); rec.Generation != tok.Generation+1 || after == text {
		t.Errorf("%s: it was not the current text", what)
	}
}

// TestLostAnswerIsAskedForAgain: after ErrOutcomeUnknown, whether the call had its effect
// or not, a retry with the same text ends with one working text in the client's hands,
// where there is an overlap or a grace. Where there is none, and it had its effect, the
// retry is refused, and the client logs in again.
func TestLostAnswerIsAskedForAgain(t *testing.T) {
	for _, row := range lostAnswers {
		for _, mode := range []storagetest.Mode{storagetest.FailBefore, storagetest.FailAfter} {
			for lost := 1; lost <= 3; lost++ { // how often in a row
				s := newLostScene(t, row.grace)
				held := row.held(s)
				records := len(s.contents())
				name := fmt.Sprintf("%s, %v, %d times", row.name, mode, lost)
				for range lost {
					s.store.InjectOp(storagetest.OpUpdate, 1, mode, storage.ErrOutcomeUnknown)
					answer, err := row.ask(s, held)
					if !s.store.Fired() { // it is refused already, without a transaction
						lapsetest.WantIs(t, name, err, row.again)
						break
					}
					lapsetest.WantIs(t, name, err, lapse.ErrOutcomeUnknown)
					if answer != "" {
						t.Errorf("%s: it failed and yet answered", name)
					}
				}
				s.store.Reset()
				answer, err := row.ask(s, held)
				if mode == storagetest.FailAfter && row.again != nil {
					lapsetest.WantIs(t, name+": the retry", err, row.again)
					s.wantLogIn(t, name)
					continue
				}
				lapsetest.WantIs(t, name+": the retry", err, nil)
				if n := len(s.contents()); n != records {
					t.Errorf("%s: %d records; want %d", name, n, records)
				}
				s.works(t, name, answer)
			}
		}
	}
}

// wantLogIn: that a retry was refused keeps no client from logging in.
func (s *lostScene) wantLogIn(t *testing.T, what string) {
	t.Helper()
	s.wantAccess(what+": a log-in", s.first(lapse.Grant{}), nil)
	s.wantPeek(t, what+": another token", s.issue(lapse.Grant{Subject: "rob"}).Bearer, nil)
}

// TestLostAnswerOfALogIn leaves at most one session of which no client has a text, and the
// next log-in works.
func TestLostAnswerOfALogIn(t *testing.T) {
	for mode, more := range map[storagetest.Mode]int{storagetest.FailBefore: 1, storagetest.FailAfter: 2} {
		s := newLostScene(t, 0)
		records := len(s.contents())
		s.store.InjectOp(storagetest.OpUpdate, 1, mode, storage.ErrOutcomeUnknown)
		c, err := s.Pairs.Issue(s.ctx, lapse.Grant{Subject: "ana"})
		lapsetest.WantIs(t, "Issue", err, lapse.ErrOutcomeUnknown)
		if c.Access.Bearer != "" || c.Refresh.Bearer != "" {
			t.Errorf("it failed and yet gave %+v", c)
		}
		s.wantLogIn(t, mode.String())
		if n := len(s.contents()) - 1 - records; n != more { // one is the plain token
			t.Errorf("%v: %d more sessions; want %d", mode, n, more)
		}
	}
}

// TestLostLogOutIsAskedForAgain: after ErrOutcomeUnknown, a log-out with the same text is
// no error, and the session is dead.
func TestLostLogOutIsAskedForAgain(t *testing.T) {
	for _, row := range logOuts {
		for _, mode := range []storagetest.Mode{storagetest.FailBefore, storagetest.FailAfter} {
			p := memoryPairs(t, lapse.PairConfig{})
			s := p.session3(lapse.Grant{})
			p.clock.Add(row.after)
			p.store.InjectOp(storagetest.OpUpdate, 1, mode, storage.ErrOutcomeUnknown)
			lapsetest.WantIs(t, row.name, lapsetest.LoggedOut(p.ExpireBearer(p.ctx, row.text(s))), lapse.ErrOutcomeUnknown)
			lapsetest.WantIs(t, row.name+", again", lapsetest.LoggedOut(p.ExpireBearer(p.ctx, row.text(s))), nil)
			if why := p.token(s.current.Refresh.ID).EndReason; why != row.why {
				t.Errorf("%s, %v: it ended as %v; want %v", row.name, mode, why, row.why)
			}
			p.wantNothingWorks(t, row.name, s)
		}
	}
}

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
	for v, verb := range verbs {
		for o, op := range []string{"Get", "Put", "Living"} {
			all := map[string]error{
				"a refusal":                  others["another's refusal"],
				"another's ErrLimit":         others["another's ErrLimit"],
				"unavailable and damaged":    fmt.Errorf("%w: %w", storage.ErrUnavailable, storage.ErrCorrupt),
				"late and not found":         fmt.Errorf("%w: %w", storage.ErrNotFound, context.DeadlineExceeded),
				"not found, and its refusal": fmt.Errorf("%w: %w", storage.ErrNotFound, others["another's refusal"]),
			}
			for i, name := range slices.Sorted(maps.Keys(all)) {
				says := all[name]
				if !sample.Every(3, v+o+i) {
					continue
				}
				for n := range 4 {
					s := newScene(t)
					store := &sayingStore{Store: s.on, op: op, left: n, err: says}
					cfg := sceneConfig(scenePolicy, 1)
					cfg.Clock, cfg.Observe = s.clock, s.observe
					s.Manager = lapsetest.Must(lapse.New(store, cfg))
					s.events = nil
					gave, err := verb.do(s.ctx, s)
					if !store.said {
						break
					}
					tries++
					what := fmt.Sprintf("%s: %s from call %d of %s", verb.name, name, n+1, op)
					if told := s.told(); err == nil && len(told) > 0 && told[0].Kind == lapse.EventRenewalFailed {
						err = told[0].Err
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
	m := lapsetest.Must(lapse.New(store, lapse.Config{Clock: f.clock}))
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

// scene is a store with a few tokens, on which one verb is tried.
type scene struct {
	*fixture
	on         storage.Store // that of the Manager
	live, idle lapse.Issued

	family  []lapse.Issued  // of eve, each delegated from the one before
	budget  lapse.Issued    // of tim, with one use
	before  lapse.Issued    // of rob, the previous text
	rotated lapse.Issued    // of rob, the current text, which has not been used
	kept    lapse.Issued    // of kim, by Obtain
	session lapse.TokenPair // of sue, refreshed once

	suspended lapse.Issued // of leo
}

// sceneConfig has one key for Obtain, or another in its place.
func sceneConfig(policy lapse.Policy, key byte) lapse.Config {
	return lapse.Config{Policy: policy, Keys: []lapse.Key{lapse.NewKey([]byte{31: key})}, Foreign: readOld}
}

func newScene(t *testing.T) *scene { return newSceneOn(t, memory.New()) }

// newSceneByID makes one on a store that is a storage.IDUpdater.
func newSceneByID(t *testing.T) *scene { return newSceneOn(t, lapsetest.NewByID()) }

// newSceneOn makes one on store.
func newSceneOn(t *testing.T, store storage.Store) *scene {
	t.Helper()
	f := &fixture{t: t, ctx: context.Background(), clock: lapsetest.NewClock(), store: storagetest.NewFaulty(store)}
	f.Manager = f.manager(sceneConfig(scenePolicy, 1))
	f.issue(lapse.Grant{Subject: "ana", TTL: time.Second}) // swept by Sweep
	f.clock.Add(25 * time.Hour)
	s := &scene{fixture: f, on: f.store, idle: f.issue(lapse.Grant{Subject: "ana"}), live: f.issue(lapse.Grant{Subject: "ana"})}
	f.issue(lapse.Grant{Subject: "ana"})
	s.budget = f.issue(lapse.Grant{Subject: "tim", MaxUses: 1})
	s.family = []lapse.Issued{f.issue(lapse.Grant{Subject: "eve"})}
	for n := range 2 {
		f.clock.Add(time.Millisecond)
		s.family = append(s.family, f.delegate(s.family[n], lapse.Grant{}))
	}
	s.before = f.issue(lapse.Grant{Subject: "rob"})
	f.delegate(s.before, lapse.Grant{}) // ended by an overlap of 0
	var err error
	if s.rotated, err = f.Rotate(f.ctx, s.before.Bearer, 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	if s.kept, err = f.Obtain(f.ctx, lapse.Grant{Subject: "kim"}); err != nil {
		t.Fatal(err)
	}
	f.issue(lapse.Grant{Subject: "ida", RequestID: "first"})
	f.imported(1, lapse.Grant{Subject: "ida"})
	s.logIn()
	s.suspended = f.issue(lapse.Grant{Subject: "leo"})
	if _, err = f.Suspend(f.ctx, s.suspended.ID); err != nil {
		t.Fatal(err)
	}
	f.clock.Add(time.Minute)
	f.events = nil
	f.store.Reset()
	return s
}

// pairs returns Pairs that nothing is told of.
func (s *scene) pairs() *lapse.Pairs {
	s.t.Helper()
	p, err := lapse.NewPairs(s.store, lapse.PairConfig{Access: lapse.Config{Clock: s.clock}})
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// logIn makes the session of sue.
func (s *scene) logIn() {
	p := s.pairs()
	var err error
	if s.session, err = p.Issue(s.ctx, lapse.Grant{Subject: "sue"}); err != nil {
		s.t.Fatal(err)
	}
	if s.session, err = p.Refresh(s.ctx, s.session.Refresh.Bearer); err != nil {
		s.t.Fatal(err)
	}
}

// retired returns a Manager like the scene's own whose key for Obtain is another.
func (s *scene) retired() *lapse.Manager {
	cfg := sceneConfig(scenePolicy, 2)
	cfg.Clock, cfg.Observe = s.clock, s.observe
	m, err := lapse.New(s.on, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// hold holds a connection until the test ends.
func (s *scene) hold(ctx context.Context, bearer string) (string, error) {
	ctx, release := context.WithCancel(ctx)
	s.t.Cleanup(release)
	_, tok, err := lapsetest.Opened(s.Hold(ctx, bearer))
	return tok.Subject, err
}

// managerVerb is a verb that reaches the store. use is the number of the call that records
// a use: if that fails, the use stands, and Observe is told.
type managerVerb struct {
	name string
	use  int
	do   func(ctx context.Context, s *scene) (gave string, err error)
}

// verbs are all of a Manager, with every write they can do in reach: Issue has to evict,
// Authenticate and Renew have something to renew.
var verbs = []managerVerb{
	{"Issue", 0, func(ctx context.Context, s *scene) (string, error) {
		i, err := s.Issue(ctx, lapse.Grant{Subject: "ana"})
		return i.Bearer, err
	}},
	{"Authenticate", 2, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Authenticate(ctx, s.live.Bearer)
		return tok.Subject, err
	}},
	{"Peek", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Peek(ctx, s.live.Bearer)
		return tok.Subject, err
	}},
	{"Renew", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Renew(ctx, s.live.Bearer)
		return tok.Subject, err
	}},
	{"Confirm", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Confirm(ctx, s.live.Bearer)
		return tok.Subject, err
	}},
	{"Confirm of a delegate", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Confirm(ctx, s.family[2].Bearer)
		return tok.Subject, err
	}},
	{"Edit", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Edit(ctx, s.live.ID, editAll(s.live.Token))
		return tok.Subject, err
	}},
	{"Edit of a delegate", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Edit(ctx, s.family[2].ID, editAll(s.family[2].Token))
		return tok.Subject, err
	}},
	{"Expire", 0, func(ctx context.Context, s *scene) (string, error) {
		ended, err := s.Expire(ctx, s.live.ID)
		return map[bool]string{true: "ended"}[ended], err
	}},
	{"ExpireBearer", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.ExpireBearer(ctx, s.live.Bearer)
		return tok.Subject, err
	}},
	{"Suspend", 0, func(ctx context.Context, s *scene) (string, error) {
		changed, err := s.Suspend(ctx, s.live.ID)
		return map[bool]string{true: "suspended"}[changed], err
	}},
	{"Suspend of a delegate", 0, func(ctx context.Context, s *scene) (string, error) {
		changed, err := s.Suspend(ctx, s.family[2].ID)
		return map[bool]string{true: "suspended"}[changed], err
	}},
	{"Resume", 0, func(ctx context.Context, s *scene) (string, error) {
		changed, err := s.Resume(ctx, s.suspended.ID)
		return map[bool]string{true: "resumed"}[changed], err
	}},
	{"ExpireSubject", 0, func(ctx context.Context, s *scene) (string, error) {
		n, err := s.ExpireSubject(ctx, "ana")
		return map[bool]string{true: "ended"}[n > 0], err
	}},
	{"Authenticate with a budget", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Authenticate(ctx, s.budget.Bearer)
		return tok.Subject, err
	}},
	{"Peek at a delegate", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Peek(ctx, s.family[2].Bearer)
		return tok.Subject, err
	}},
	{"Renew of a delegate", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Renew(ctx, s.family[2].Bearer)
		return tok.Subject, err
	}},
	{"Delegate", 0, func(ctx context.Context, s *scene) (string, error) {
		i, err := s.Delegate(ctx, s.family[0].Bearer, lapse.Grant{})
		return i.Bearer, err
	}},
	{"Expire of a family", 0, func(ctx context.Context, s *scene) (string, error) {
		ended, err := s.Expire(ctx, s.family[0].ID)
		return map[bool]string{true: "ended"}[ended], err
	}},
	{"ExpireSubject of a family but one", 0, func(ctx context.Context, s *scene) (string, error) {
		n, err := s.ExpireSubject(ctx, "eve", s.family[2].ID)
		return map[bool]string{true: "ended"}[n > 0], err
	}},
	{"Token of a delegate", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Token(ctx, s.family[2].ID)
		return tok.Subject, err
	}},
	{"List of a family", 0, func(ctx context.Context, s *scene) (string, error) {
		for _, err := range s.List(ctx, lapse.Query{Subject: "eve"}) {
			if err != nil {
				return "", err
			}
		}
		return "all", nil
	}},
	{"Token", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Token(ctx, s.live.ID)
		return tok.Subject, err
	}},
	{"List of a subject", 0, func(ctx context.Context, s *scene) (string, error) {
		for _, err := range s.List(ctx, lapse.Query{Subject: "ana"}) {
			if err != nil {
				return "", err
			}
		}
		return "all", nil
	}},
	{"List", 0, func(ctx context.Context, s *scene) (string, error) {
		for _, err := range s.List(ctx, lapse.Query{Live: true}) {
			if err != nil {
				return "", err
			}
		}
		return "all", nil
	}},
	{"Count", 0, func(ctx context.Context, s *scene) (string, error) {
		n, err := s.Count(ctx, lapse.Query{Live: true})
		return map[bool]string{true: "counted"}[n > 0 && err == nil], err // with ErrCorrupt it has counted the others
	}},
	{"ForgetSubject", 0, func(ctx context.Context, s *scene) (string, error) {
		n, err := s.ForgetSubject(ctx, "eve")
		return map[bool]string{true: "forgotten"}[n > 0], err
	}},
	{"List within", 0, func(ctx context.Context, s *scene) (string, error) {
		for _, err := range s.List(ctx, lapse.Query{Within: time.Hour}) {
			if err != nil {
				return "", err
			}
		}
		return "all", nil
	}},
	{"Login", 0, func(ctx context.Context, s *scene) (string, error) {
		ana := lapse.VerifierFunc[string](func(context.Context, string) (string, error) { return "ana", nil })
		i, err := lapse.Login(ctx, s.Manager, "password", lapse.Grant{}, ana)
		return i.Bearer, err
	}},
	{"Sweep", 0, func(ctx context.Context, s *scene) (string, error) {
		n, err := s.Sweep(ctx)
		return map[bool]string{true: "swept"}[n > 0], err
	}},
	{"Authenticate by a rotated text", 2, func(ctx context.Context, s *scene) (string, error) { // its first use
		tok, err := s.Authenticate(ctx, s.rotated.Bearer)
		return tok.Subject, err
	}},
	{"Authenticate by a previous text", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Authenticate(ctx, s.before.Bearer)
		return tok.Subject, err
	}},
	{"Authenticate by an access text", 2, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Authenticate(ctx, s.session.Access.Bearer)
		return tok.Subject, err
	}},
	{"Delegate by an access text", 0, func(ctx context.Context, s *scene) (string, error) {
		i, err := s.Delegate(ctx, s.session.Access.Bearer, lapse.Grant{})
		return i.Bearer, err
	}},
	{"Delegate by a rotated text", 0, func(ctx context.Context, s *scene) (string, error) {
		i, err := s.Delegate(ctx, s.rotated.Bearer, lapse.Grant{})
		return i.Bearer, err
	}},
	{"ExpireBearer by an access text", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.ExpireBearer(ctx, s.session.Access.Bearer)
		return tok.Subject, err
	}},
	{"Hold", 2, func(ctx context.Context, s *scene) (string, error) { return s.hold(ctx, s.live.Bearer) }},
	{"Hold with a budget", 0, func(ctx context.Context, s *scene) (string, error) { return s.hold(ctx, s.budget.Bearer) }},
	{"Hold by a previous text", 0, func(ctx context.Context, s *scene) (string, error) { return s.hold(ctx, s.before.Bearer) }},
	{"Rotate", 0, func(ctx context.Context, s *scene) (string, error) {
		i, err := s.Rotate(ctx, s.live.Bearer, time.Minute)
		return i.Bearer, err
	}},
	{"Rotate by the previous text", 0, func(ctx context.Context, s *scene) (string, error) { // the same again
		i, err := s.Rotate(ctx, s.before.Bearer, time.Minute)
		return i.Bearer, err
	}},
	{"Rotate with overlap 0", 0, func(ctx context.Context, s *scene) (string, error) {
		i, err := s.Rotate(ctx, s.rotated.Bearer, 0)
		return i.Bearer, err
	}},
	{"Rotate of a parent with overlap 0", 0, func(ctx context.Context, s *scene) (string, error) {
		i, err := s.Rotate(ctx, s.family[0].Bearer, 0)
		return i.Bearer, err
	}},
	{"RotateID", 0, func(ctx context.Context, s *scene) (string, error) {
		i, err := s.RotateID(ctx, s.live.ID, time.Minute)
		return i.Bearer, err
	}},
	{"RotateID of a delegate with overlap 0", 0, func(ctx context.Context, s *scene) (string, error) {
		i, err := s.RotateID(ctx, s.family[1].ID, 0)
		return i.Bearer, err
	}},
	{"Issue again by a RequestID", 0, func(ctx context.Context, s *scene) (string, error) {
		i, err := s.Issue(ctx, lapse.Grant{Subject: "ida", RequestID: "first"})
		return i.Bearer, err
	}},
	{"Issue by a RequestID", 0, func(ctx context.Context, s *scene) (string, error) {
		i, err := s.Issue(ctx, lapse.Grant{Subject: "ana", RequestID: "second"})
		return i.Bearer, err
	}},
	{"Import", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Import(ctx, lapse.Grant{Subject: "ana"}, oldToken(2))
		return tok.Subject, err
	}},
	{"Import again", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Import(ctx, lapse.Grant{Subject: "ida"}, oldToken(1))
		return tok.Subject, err
	}},
	{"Authenticate by a foreign text", 3, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Authenticate(ctx, oldText(1))
		return tok.Subject, err
	}},
	{"Peek by a foreign text", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.Peek(ctx, oldText(1))
		return tok.Subject, err
	}},
	{"Rotate by a foreign text", 0, func(ctx context.Context, s *scene) (string, error) {
		i, err := s.Rotate(ctx, oldText(1), time.Minute)
		return i.Bearer, err
	}},
	{"ExpireBearer by a foreign text", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.ExpireBearer(ctx, oldText(1))
		return tok.Subject, err
	}},
	{"Hold by a foreign text", 3, func(ctx context.Context, s *scene) (string, error) { return s.hold(ctx, oldText(1)) }},
	{"Obtain", 0, func(ctx context.Context, s *scene) (string, error) {
		i, err := s.Obtain(ctx, lapse.Grant{Subject: "kim"})
		return i.Bearer, err
	}},
	{"Obtain of a new one", 0, func(ctx context.Context, s *scene) (string, error) {
		i, err := s.Obtain(ctx, lapse.Grant{Subject: "kim", Name: "phone"})
		return i.Bearer, err
	}},
	{"Obtain after its key was retired", 0, func(ctx context.Context, s *scene) (string, error) {
		i, err := s.retired().Obtain(ctx, lapse.Grant{Subject: "kim"})
		return i.Bearer, err
	}},
}

// deadlined is a context whose deadline passes when it is told to: no test has to hope
// that a call begins before a real one does.
type deadlined struct {
	context.Context
	done chan struct{}
	once sync.Once
}

func (d *deadlined) Done() <-chan struct{} { return d.done }

func (d *deadlined) Err() error {
	select {
	case <-d.done:
		return context.DeadlineExceeded
	default:
		return d.Context.Err()
	}
}

func (d *deadlined) pass() { d.once.Do(func() { close(d.done) }) }

// lateAt returns a context whose deadline passes as the n-th call of store from now on
// arrives, if mode is that of a store that hangs.
func lateAt(ctx context.Context, store *storagetest.Faulty, n int, mode storagetest.Mode) context.Context {
	if mode != storagetest.Hang {
		return ctx
	}
	d := &deadlined{Context: ctx, done: make(chan struct{})}
	var calls atomic.Int64
	store.Before(func(storagetest.Op) {
		if calls.Add(1) == int64(n) {
			store.Before(nil)
			d.pass()
		}
	})
	return d
}

// damaged is a store in which one record cannot be read.
type damaged struct {
	storage.Store
	id storage.ID
}

func (d *damaged) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	if id == d.id {
		return storage.Record{}, storage.ErrCorrupt
	}
	return d.Store.Get(ctx, id)
}

func (d *damaged) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return d.without(d.Store.List(ctx, f))
}

func (d *damaged) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return d.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(damagedTx{tx, d}) })
}

func (d *damaged) without(records iter.Seq2[storage.Record, error]) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for r, err := range records {
			if r.ID == d.id {
				r, err = storage.Record{Token: storage.Token{ID: d.id}}, storage.ErrCorrupt
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

type damagedTx struct {
	storage.Tx
	d *damaged
}

func (tx damagedTx) Get(id storage.ID) (storage.Record, error) {
	if id == tx.d.id {
		return storage.Record{}, storage.ErrCorrupt
	}
	return tx.Tx.Get(id)
}

func (tx damagedTx) Records() iter.Seq2[storage.Record, error] { return tx.d.without(tx.Tx.Records()) }

func (tx damagedTx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	return tx.d.without(tx.Tx.Living(now))
}

// TestDamagedRecord: a record that cannot be read is denied, hides nothing of its
// subject's others, and takes no room from them.
func TestDamagedRecord(t *testing.T) {
	ctx := context.Background()
	store := &damaged{Store: memory.New()}
	m, err := lapse.New(store, lapse.Config{Policy: lapse.Policy{MaxTokens: 3, AtLimit: lapse.LimitEndOldest}, Clock: lapsetest.NewClock()})
	if err != nil {
		t.Fatal(err)
	}
	var issued []lapse.Issued
	issue := func(evicted int) {
		t.Helper()
		i, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
		if err != nil || len(i.Evicted) != evicted {
			t.Fatalf("Issue: %v, evicted %v; want %d", err, i.Evicted, evicted)
		}
		issued = append(issued, i)
	}
	issue(0)
	issue(0)
	issue(0)
	store.id = issued[1].ID

	for name, verb := range bearerVerbs(m) {
		err := verb(ctx, issued[1].Bearer)
		lapsetest.WantIs(t, name, err, lapse.ErrCorrupt)
		if errors.Is(err, lapse.ErrUnauthenticated) {
			t.Errorf("%s: %v reads as a bad token", name, err)
		}
	}
	_, err = m.Expire(ctx, store.id)
	lapsetest.WantIs(t, "Expire", err, lapse.ErrCorrupt)
	_, err = m.Token(ctx, store.id)
	lapsetest.WantIs(t, "Token", err, lapse.ErrCorrupt)

	sound := 0
	for tok, err := range m.List(ctx, lapse.Query{Subject: "ana"}) {
		if (tok.ID == store.id) != errors.Is(err, lapse.ErrCorrupt) {
			t.Errorf("List: %v, %v", tok.ID, err)
		}
		if err == nil {
			sound++
		}
	}
	if sound != 2 {
		t.Errorf("%d sound tokens listed; want 2, before and behind the damaged one", sound)
	}
	issue(0) // two are alive
	issue(1)
	if n, err := m.ExpireSubject(ctx, "ana"); n != 3 || err != nil {
		t.Errorf("ExpireSubject: %d, %v; want the 3 that can be read", n, err)
	}
}

// over returns a Manager like the scene's own on another store.
func (s *scene) over(store storage.Store, policy lapse.Policy) *lapse.Manager {
	s.t.Helper()
	s.on = store
	cfg := sceneConfig(policy, 1)
	cfg.Clock, cfg.Observe = s.clock, s.observe
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
			lapsetest.WantIs(t, verb.name, err, errDisk)
			lapsetest.WantIs(t, verb.name, err, lapse.ErrUnavailable)
			if told := s.told(); gave != "" || len(told) != 0 {
				t.Errorf("%s, call %d: it failed and yet gave %q and told of %+v", verb.name, n, gave, told)
			}
			lapsetest.WantDiff(t, verb.name+": contents", before, s.contents())
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
			lapsetest.WantDiff(t, fmt.Sprint(verb.name, ", call ", n, ": contents"), before, s.contents())
			s.wantWorking(t)
		}
	}
}

// TestTxFaultsReachEveryCall: of a transaction that makes each call once, each is failed.
func TestTxFaultsReachEveryCall(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	id := f.issue(lapse.Grant{Subject: "ana"}).ID
	rec, err := f.store.Get(f.ctx, id)
	lapsetest.WantIs(t, "Get", err, nil)
	for n := 1; n <= 5; n++ {
		store, reached := &txFaults{Store: f.store, left: n}, 0
		err := store.Update(f.ctx, "ana", func(tx storage.Tx) error {
			for _, call := range []func() error{
				func() error { _, err := tx.Get(id); return err },
				func() error { return tx.Put(rec) },
				func() error { return first(tx.Records()) },
				func() error { return first(tx.Living(lapsetest.StartMilli)) },
				func() error { return tx.Delete(id) },
			} {
				reached++
				if err := call(); err != nil {
					return err
				}
			}
			return nil
		})
		lapsetest.WantIs(t, fmt.Sprint("call ", n), err, errDisk)
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
		{"Confirm", scenePolicy, 0, confirmAgain, nil, 1, []lapse.EventKind{lapse.EventConfirmed}},
		{"Edit", scenePolicy, 0, editAgain, nil, 1, []lapse.EventKind{lapse.EventEdited}},
		{"Delegate, which evicts nothing", scenePolicy, 0, delegateAgain, nil, 0, []lapse.EventKind{lapse.EventIssued}},
		{"Delegate after a fault", refuse, 4, delegateAgain, nil, 0, []lapse.EventKind{lapse.EventIssued}},
		{"Rotate", scenePolicy, 0, rotateAgain, nil, 1, []lapse.EventKind{lapse.EventRotated}},
		{"Rotate, then the same by another", scenePolicy, 0, rotateAgain, rotateLive, 1, []lapse.EventKind{lapse.EventRepeated}},
		{"Rotate of a parent with overlap 0", scenePolicy, 0, rotateParentAgain, nil, 1, []lapse.EventKind{lapse.EventEnded, lapse.EventEnded, lapse.EventRotated}},
		{"RotateID", scenePolicy, 0, rotateIDAgain, nil, 1, []lapse.EventKind{lapse.EventRotated}},
		{"RotateID, with another rotation in between", scenePolicy, 0, rotateIDAgain, rotateLive, 2, []lapse.EventKind{lapse.EventRotated}},
		{"the first use of a rotated text", scenePolicy, 0, useRotatedAgain, nil, 1, []lapse.EventKind{lapse.EventRenewed}},
		{"Obtain after its key was retired", scenePolicy, 0, obtainAgain, nil, 1, []lapse.EventKind{lapse.EventRotated}},
		{"the last use of a budget", scenePolicy, 0, spendAgain, nil, 0, []lapse.EventKind{lapse.EventEnded}},
		{"Suspend", scenePolicy, 0, suspendAgain, nil, 1, []lapse.EventKind{lapse.EventSuspended}},
		{"Suspend of what another suspends in between", scenePolicy, 0, suspendAgain, suspendLive, 0, nil},
		{"Resume", scenePolicy, 0, resumeAgain, nil, 1, []lapse.EventKind{lapse.EventResumed}},
		{"Resume of what another resumes in between", scenePolicy, 0, resumeAgain, resumeLeo, 0, nil},
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
			lapsetest.WantDiff(t, "events", row.events, kinds)
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
	lapsetest.WantIs(s.t, "Rotate in between", err, nil)
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

// confirmAgain returns how many seconds after its call the user was present.
func confirmAgain(s *scene, m *lapse.Manager) (int, error) {
	begin := s.clock.Now().Truncate(time.Millisecond)
	tok, err := m.Confirm(s.ctx, s.live.Bearer)
	return int(tok.AuthenticatedAt.Sub(begin) / time.Second), err
}

func suspendAgain(s *scene, m *lapse.Manager) (int, error) {
	changed, err := m.Suspend(s.ctx, s.live.ID)
	return map[bool]int{true: 1}[changed], err
}

func suspendLive(s *scene) {
	if changed, err := s.Suspend(s.ctx, s.live.ID); !changed || err != nil {
		s.t.Errorf("Suspend in between: %v, %v", changed, err)
	}
}

func resumeAgain(s *scene, m *lapse.Manager) (int, error) {
	changed, err := m.Resume(s.ctx, s.suspended.ID)
	return map[bool]int{true: 1}[changed], err
}

func resumeLeo(s *scene) {
	if changed, err := s.Resume(s.ctx, s.suspended.ID); !changed || err != nil {
		s.t.Errorf("Resume in between: %v, %v", changed, err)
	}
}

// editAll returns changes of every field of tok, which has no delegates.
func editAll(tok lapse.Token) lapse.Changes {
	name, scope, data, uses, until := "edited", "", "edited", 7, tok.ExpiresAt.Add(-time.Second)
	return lapse.Changes{Name: &name, Scope: &scope, Data: &data, MaxUses: &uses, ExpiresAt: &until}
}

// editAgain returns by how many seconds Edit has lowered the expiry.
func editAgain(s *scene, m *lapse.Manager) (int, error) {
	tok, err := m.Edit(s.ctx, s.live.ID, editAll(s.live.Token))
	return int(s.live.ExpiresAt.Sub(tok.ExpiresAt) / time.Second), err
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
	clock   *lapsetest.StepClock
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
	w.clock.Add(time.Second)
	w.between()
	defer w.clock.Add(time.Second)
	return w.Store.Update(ctx, subject, fn)
}

// crashImage is the file of a store as a crash at one moment would leave it.
type crashImage struct {
	name string
	file []byte
	seen []storage.Record // what every reader saw at that moment
}

// crashing is a store in a file that is copied at the start and at the end of each call,
// and before each call inside of a transaction.
type crashing struct {
	storage.Store
	path string

	mu     sync.Mutex       // guards what follows: a held connection reads on its own
	seen   []storage.Record // before the transaction that runs
	images []crashImage
	over   bool // no more images are taken
}

// taken returns the images that there are, and has no more taken.
func (c *crashing) taken() []crashImage {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	return c.images
}

// before returns what was seen before the transaction that runs, and whether no more
// images are taken.
func (c *crashing) before() (seen []storage.Record, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen, c.over
}

// begin notes what is seen before a call.
func (c *crashing) begin(seen []storage.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = seen
}

// openCrashing opens a store in a file of its own that begins as file, or empty where that
// is nil, and closes it when t ends.
func openCrashing(t *testing.T, file []byte, opts *bolt.Options) *crashing {
	t.Helper()
	c := &crashing{path: filepath.Join(t.TempDir(), "tokens.db")}
	if file != nil {
		if err := os.WriteFile(c.path, file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	store, err := bolt.Open(c.path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	c.Store = store
	return c
}

// image takes the file as it is, unless that is the image before.
func (c *crashing) image(name string, seen []storage.Record) {
	file, err := os.ReadFile(c.path)
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.images); n > 0 && bytes.Equal(c.images[n-1].file, file) && slices.EqualFunc(c.images[n-1].seen, seen, storage.Record.Equal) {
		return
	}
	c.images = append(c.images, crashImage{name, file, seen})
}

// around takes the file before and after call.
func (c *crashing) around(name string, call func()) {
	if _, over := c.before(); over {
		call()
		return
	}
	seen := recordsOf(c.Store)
	c.begin(seen)
	c.image("before "+name, seen)
	call()
	c.image("after "+name, recordsOf(c.Store))
}

func (c *crashing) Get(ctx context.Context, id storage.ID) (r storage.Record, err error) {
	c.around("Get", func() { r, err = c.Store.Get(ctx, id) })
	return r, err
}

func (c *crashing) Touch(ctx context.Context, id storage.ID, use storage.Use) (err error) {
	c.around("Touch", func() { err = c.Store.Touch(ctx, id, use) })
	return err
}

func (c *crashing) Update(ctx context.Context, subject string, fn func(storage.Tx) error) (err error) {
	c.around("Update", func() {
		err = c.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(crashingTx{tx, c}) })
	})
	return err
}

func (c *crashing) Sweep(ctx context.Context, deadBefore time.Time, limit int) (n int, err error) {
	c.around("Sweep", func() { n, err = c.Store.Sweep(ctx, deadBefore, limit) })
	return n, err
}

// List has no images: it changes nothing, and its loop may do what has.
func (c *crashing) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return c.Store.List(ctx, f)
}

type crashingTx struct {
	storage.Tx
	c *crashing
}

func (tx crashingTx) Put(r storage.Record) error {
	seen, over := tx.c.before()
	if over {
		return tx.Tx.Put(r)
	}
	tx.c.image("before Put", seen)
	err := tx.Tx.Put(r)
	tx.c.image("after Put", seen)
	return err
}

// recordsOf returns every record of store, in ID order.
func recordsOf(store storage.Store) (all []storage.Record) {
	for r, err := range store.List(context.Background(), storage.Filter{}) {
		if err != nil {
			panic(err)
		}
		all = append(all, r)
	}
	return all
}

// reopen opens the image in a file of its own.
func (i *crashImage) reopen(t *testing.T) storage.Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crashed.db")
	if err := os.WriteFile(path, i.file, 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := bolt.Open(path, nil)
	if err != nil {
		t.Fatalf("%s: %v", i.name, err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// wrong says what a crash has taken of what was seen, or left half done, if anything.
func (i *crashImage) wrong(store storage.Store, now time.Time) error {
	got := recordsOf(store)
	if diff := gocmp.Diff(i.seen, got); diff != "" {
		return fmt.Errorf("%s: the file holds something else than what was seen (-seen +file):\n%s", i.name, diff)
	}
	byID := make(map[storage.ID]storage.Record)
	for _, r := range got {
		byID[r.ID] = r
	}
	for _, r := range got {
		if parent, ok := byID[r.Parent]; ok && !parent.EndedAt.IsZero() && r.Live(now) {
			return fmt.Errorf("%s: %v lives, and its parent was ended as %v", i.name, r.ID, parent.EndReason)
		}
	}
	return nil
}

// refusedAfter says which verbs are refused by what they did before a crash.
var refusedAfter = map[string]error{
	"Authenticate with a budget":        lapse.ErrExhausted,
	"Hold with a budget":                lapse.ErrExhausted,
	"Rotate with overlap 0":             lapse.ErrReplaced,
	"Rotate of a parent with overlap 0": lapse.ErrReplaced,
}

// TestCrashOfAVerb: whenever the process dies in the middle of a verb, the file holds what
// was seen, nothing is half done, and the verb comes to the same when it is called again,
// or is refused by what it has done.
func TestCrashOfAVerb(t *testing.T) {
	first := openCrashing(t, nil, nil)
	first.taken()
	made := newSceneOn(t, first)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(first.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range verbs {
		t.Run(verb.name, func(t *testing.T) {
			crash := openCrashing(t, file, &bolt.Options{FlushEvery: bolt.FlushAtOnce})
			s := made.reopened(t, crash)
			if _, err := verb.do(s.ctx, s); err != nil {
				t.Fatal(err)
			}
			images := crash.taken()
			now := s.clock.Now()
			for _, image := range images {
				store := image.reopen(t)
				if err := image.wrong(store, now); err != nil {
					t.Error(err)
				}
				again := s.reopened(t, store)
				gave, err := verb.do(again.ctx, again)
				if err != nil && (refusedAfter[verb.name] == nil || image.name != "after Update" || !errors.Is(err, refusedAfter[verb.name])) {
					t.Errorf("%s: again: %q, %v", image.name, gave, err)
				}
				again.wantTexts(t, image.name, gave)
				again.wantWorking(t)
			}
		})
	}
}

// reopened returns the scene on what a crash has left.
func (s *scene) reopened(t *testing.T, store storage.Store) *scene {
	t.Helper()
	f := newFixture(t, lapse.Config{})
	again := *s
	again.fixture, again.on = f, store
	f.clock.Set(s.clock.Now())
	again.Manager = again.over(store, scenePolicy)
	f.store = nil // that of newFixture is another
	return &again
}

// wantTexts: of the texts of a token that are known one is current and one previous at
// most, and a text that the verb gave works.
func (s *scene) wantTexts(t *testing.T, what, gave string) {
	t.Helper()
	working := map[lapse.ID]map[string]bool{}
	for _, bearer := range []string{s.live.Bearer, s.before.Bearer, s.rotated.Bearer, s.kept.Bearer, s.session.Access.Bearer, gave} {
		tok, err := s.Peek(s.ctx, bearer)
		if err != nil {
			if bearer == gave && strings.HasPrefix(gave, "lapse_") { // it gave no subject
				t.Errorf("%s: the text that was given: %v", what, err)
			}
			continue
		}
		if working[tok.ID] == nil {
			working[tok.ID] = map[string]bool{}
		}
		working[tok.ID][bearer] = true
	}
	for id, texts := range working {
		if len(texts) > 2 {
			t.Errorf("%s: %d texts of %v work", what, len(texts), id)
		}
	}
}

// TestCrashOfPairs is TestCrashOfAVerb for sessions: the session lives as a whole or not at
// all, by one current text and one previous one, and a lost answer can be asked for again.
func TestCrashOfPairs(t *testing.T) {
	for _, verb := range pairVerbs {
		t.Run(verb.name, func(t *testing.T) {
			var crash *crashing
			s := newPairScene(t, func(storage.Store) storage.Store {
				crash = openCrashing(t, nil, &bolt.Options{FlushEvery: bolt.FlushAtOnce})
				return crash
			})
			crash.images = nil
			gave, err := verb.do(s.ctx, s)
			lapsetest.WantIs(t, verb.name, err, verb.want)
			images := crash.taken()
			if len(images) == 0 && verb.name != "Sessions" {
				t.Fatal("no moment was seen")
			}
			for _, image := range images {
				store := image.reopen(t)
				if err := image.wrong(store, s.clock.Now()); err != nil {
					t.Error(err)
				}
				again := *s
				again.pairs = newPairs(t, store, lapse.PairConfig{Refresh: pairSceneLimit})
				again.clock.Set(s.clock.Now())
				if again.wantRetry(t, verb); t.Failed() {
					t.Fatalf("%s: see above", image.name)
				}
				if image.name == "after Update" && verb.name == "Refresh" {
					_, err := again.Pairs.Peek(again.ctx, gave.Refresh.Bearer)
					lapsetest.WantIs(t, "the answer that was lost, which has been given again and refreshed", err, nil)
				}
			}
		})
	}
}

// tearing is a store that writes what an Update puts one by one.
type tearing struct {
	*crashing
}

func (s tearing) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	torn := errors.New("torn")
	var puts []storage.Record
	err := s.Store.Update(ctx, subject, func(tx storage.Tx) error {
		puts = nil
		return errors.Join(fn(&noting{tx, &puts}), torn)
	})
	if !errors.Is(err, torn) || errors.Is(err, storage.ErrConflict) {
		return err
	}
	for _, r := range puts {
		if err := s.Store.Update(ctx, subject, func(tx storage.Tx) error { return tx.Put(r) }); err != nil {
			return err
		}
		s.image("between two writes", recordsOf(s.Store))
	}
	return nil
}

type noting struct {
	storage.Tx
	puts *[]storage.Record
}

func (tx *noting) Put(r storage.Record) error {
	*tx.puts = append(*tx.puts, r)
	return tx.Tx.Put(r)
}

// TestCrashesAreCaught: a store that tears a transaction apart is found out, and so is one
// that shows a use before it is in the file.
func TestCrashesAreCaught(t *testing.T) {
	caught := func(images []crashImage, now time.Time) (found error) {
		for _, image := range images {
			found = cmp.Or(found, image.wrong(image.reopen(t), now))
		}
		return found
	}
	torn := tearing{openCrashing(t, nil, &bolt.Options{FlushEvery: bolt.FlushAtOnce})}
	p := newPairs(t, torn, lapse.PairConfig{})
	c := p.first(lapse.Grant{})
	_, err := p.Delegate(p.ctx, c.Access.Bearer, lapse.Grant{})
	lapsetest.WantIs(t, "Delegate", err, nil)
	torn.images = nil
	lapsetest.WantIs(t, "Expire", lapsetest.LoggedOut(p.ExpireBearer(p.ctx, c.Access.Bearer)), nil)
	if err := caught(torn.images, p.clock.Now()); err == nil {
		t.Error("a session that is half ended was not noticed")
	}

	lazy := openCrashing(t, nil, &bolt.Options{FlushEvery: time.Hour})
	p = newPairs(t, lazy, lapse.PairConfig{})
	c = p.first(lapse.Grant{})
	p.clock.Add(time.Minute)
	lazy.images = nil
	_, err = p.Authenticate(p.ctx, c.Access.Bearer)
	lapsetest.WantIs(t, "Authenticate", err, nil)
	if err := caught(lazy.images, p.clock.Now()); err == nil {
		t.Error("a use that is not in the file was not noticed")
	}
}
