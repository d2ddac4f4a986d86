package lapse_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
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
			lapsetest.WantIs(t, verb.name, err, errDisk)
			lapsetest.WantIs(t, verb.name, err, lapse.ErrUnavailable)
			if gave != "" || len(s.events) != 0 {
				t.Errorf("%s, call %d: it failed and yet gave %q and told of %+v", verb.name, n, gave, s.events)
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
