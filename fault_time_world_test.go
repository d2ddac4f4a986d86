package lapse

import (
	"context"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// tickWall is a Clock with Elapsed for goroutines: pass is time that goes by, set is
// someone who sets the clock.
type tickWall struct {
	mu      sync.Mutex
	now     time.Time
	elapsed time.Duration
}

func newTickWall() *tickWall { return &tickWall{now: testInstant} }

func (c *tickWall) Now() time.Time                       { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *tickWall) Elapsed() time.Duration               { c.mu.Lock(); defer c.mu.Unlock(); return c.elapsed }
func (c *tickWall) After(time.Duration) <-chan time.Time { return nil }
func (c *tickWall) set(d time.Duration)                  { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }
func (c *tickWall) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.elapsed = c.now.Add(d), c.elapsed+d
}

// tickStore is a store in memory that calls the function which set has set before and
// after each operation, those of transactions included.
type tickStore struct {
	*memory.Store
	mu      sync.Mutex
	between func() // one at a time
}

func (s *tickStore) step() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.between != nil {
		s.between()
	}
}

// set sets what comes between operations, and returns what did before.
func (s *tickStore) set(f func()) (before func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.between = s.between, f
	return before
}

func (s *tickStore) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	s.step()
	defer s.step()
	return s.Store.Get(ctx, id)
}

func (s *tickStore) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	s.step()
	defer s.step()
	return s.Store.Touch(ctx, id, use)
}

func (s *tickStore) Sweep(ctx context.Context, before time.Time, limit int) (int, error) {
	s.step()
	defer s.step()
	return s.Store.Sweep(ctx, before, limit)
}

func (s *tickStore) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return s.around(s.Store.List(ctx, f))
}

func (s *tickStore) around(records iter.Seq2[storage.Record, error]) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		s.step()
		for rec, err := range records {
			if s.step(); !yield(rec, err) {
				return
			}
		}
		s.step()
	}
}

func (s *tickStore) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	s.step()
	defer s.step()
	return s.Store.Update(ctx, subject, func(tx storage.Tx) error {
		s.step()
		defer s.step()
		return fn(&tickTx{tx, s})
	})
}

type tickTx struct {
	storage.Tx
	s *tickStore
}

func (x *tickTx) Get(id storage.ID) (storage.Record, error) {
	x.s.step()
	defer x.s.step()
	return x.Tx.Get(id)
}

func (x *tickTx) Put(r storage.Record) error {
	x.s.step()
	defer x.s.step()
	return x.Tx.Put(r)
}

func (x *tickTx) Records() iter.Seq2[storage.Record, error] { return x.s.around(x.Tx.Records()) }
func (x *tickTx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	return x.s.around(x.Tx.Living(now))
}

// tickWorld is a store with all that a verb can be asked about, and who asks.
type tickWorld struct {
	t     *testing.T
	ctx   context.Context
	clock *tickWall
	store *tickStore

	m      *Manager
	p      *Pairs
	plain  Issued
	budget Issued
	child  Issued
	again  Issued // of Obtain, with the Name "again"
	before Issued // whose text is the previous one
	pair   TokenPair
	spare  TokenPair     // which has been refreshed a moment ago
	text   map[ID]string // a text of each token
}

func newTickWorld(t *testing.T, guard ClockGuard) *tickWorld {
	t.Helper()
	ctx, release := context.WithCancel(context.Background())
	t.Cleanup(release)
	w := &tickWorld{t: t, ctx: ctx, clock: newTickWall(), store: &tickStore{Store: memory.New()}, text: map[ID]string{}}
	admit := func(context.Context, Token) error { return nil }
	cfg := Config{Clock: w.clock, ClockGuard: guard, Admit: admit, Keys: []Key{NewKey([]byte(strings.Repeat("k", keyLen)))},
		Policy: Policy{TTL: day, MaxTTL: 30 * day, MaxTokens: 50}}
	w.m = tickMust(New(w.store, cfg))(t)
	w.p = tickMust(NewPairs(w.store, PairConfig{Access: Config{Clock: w.clock, ClockGuard: guard, Admit: admit, Prefix: "acc", Policy: Policy{TTL: day}}, Refresh: Config{Prefix: "ref"}}))(t)
	w.plain = tickMust(w.m.Issue(ctx, Grant{Subject: "ana"}))(t)
	w.budget = tickMust(w.m.Issue(ctx, Grant{Subject: "ana", MaxUses: 3}))(t)
	w.child = tickMust(w.m.Delegate(ctx, w.plain.Bearer, Grant{}))(t)
	w.pair = tickMust(w.p.Issue(ctx, Grant{Subject: "ana"}))(t)
	w.spare = tickMust(w.p.Issue(ctx, Grant{Subject: "ana"}))(t)
	w.again = tickMust(w.m.Obtain(ctx, Grant{Subject: "ana", Name: "again"}))(t)
	w.before = tickMust(w.m.Issue(ctx, Grant{Subject: "ana"}))(t)
	tickMust(w.m.Rotate(ctx, w.before.Bearer, time.Hour))(t)
	for _, i := range []Issued{w.plain, w.budget, w.child, w.again, w.before, w.pair.Access.Issued} {
		w.text[i.ID] = i.Bearer
	}
	w.clock.pass(10 * time.Minute) // so that a use is due
	refreshed := tickMust(w.p.Refresh(ctx, w.spare.Refresh.Bearer))(t)
	w.text[refreshed.Access.ID] = refreshed.Access.Bearer
	return w
}

// tickMust returns v, or fails t.
func tickMust[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// peek says whether text is good.
func (w *tickWorld) peek(text string) (err error) {
	switch prefix, _, _ := strings.Cut(text, "_"); prefix {
	case "acc":
		_, err = w.p.Access().Peek(w.ctx, text)
	case "ref":
		_, err = w.p.Peek(w.ctx, text)
	default:
		_, err = w.m.Peek(w.ctx, text)
	}
	return err
}

// list checks, as a list tells of each token, whether that is so.
func (w *tickWorld) list(list iter.Seq2[Token, error]) ([]string, error) {
	for tok, err := range list {
		if err != nil {
			return nil, err
		}
		between := w.store.set(nil)
		if err := w.peek(w.text[tok.ID]); tok.Live(w.m.Now()) != (err == nil) {
			w.t.Errorf("the list tells of a token that is alive: %v; and Peek says: %v", tok.Live(w.m.Now()), err)
		}
		w.store.set(between)
	}
	return nil, nil
}

// tickVerb is one call. It returns the texts that it said are good.
type tickVerb struct {
	name string // of the function or method, and after a space the special case
	do   func(w *tickWorld) (good []string, err error)
}

// tickGood returns what a verb says that returns an Issued.
func tickGood(i Issued, err error) ([]string, error) { return []string{i.Bearer}, err }

// tickSame returns what a verb says that returns a token of text.
func tickSame(text string) func(Token, error) ([]string, error) {
	return func(_ Token, err error) ([]string, error) { return []string{text}, err }
}

func tickNone[T any](_ T, err error) ([]string, error) { return nil, err }

func tickPair(c TokenPair, err error) ([]string, error) {
	return []string{c.Access.Bearer, c.Refresh.Bearer}, err
}

// tickVerbs are all verbs of this package.
var tickVerbs = []tickVerb{
	{"Manager.Issue", func(w *tickWorld) ([]string, error) { return tickGood(w.m.Issue(w.ctx, Grant{Subject: "ana"})) }},
	{"Manager.Obtain", func(w *tickWorld) ([]string, error) { return tickGood(w.m.Obtain(w.ctx, Grant{Subject: "ana"})) }},
	{"Manager.Obtain again", func(w *tickWorld) ([]string, error) {
		return tickGood(w.m.Obtain(w.ctx, Grant{Subject: "ana", Name: "again"}))
	}},
	{"Manager.Delegate", func(w *tickWorld) ([]string, error) { return tickGood(w.m.Delegate(w.ctx, w.plain.Bearer, Grant{})) }},
	{"Manager.Authenticate", func(w *tickWorld) ([]string, error) {
		return tickSame(w.plain.Bearer)(w.m.Authenticate(w.ctx, w.plain.Bearer))
	}},
	{"Manager.Authenticate a delegate", func(w *tickWorld) ([]string, error) {
		return tickSame(w.child.Bearer)(w.m.Authenticate(w.ctx, w.child.Bearer))
	}},
	{"Manager.Authenticate a budget", func(w *tickWorld) ([]string, error) {
		return tickSame(w.budget.Bearer)(w.m.Authenticate(w.ctx, w.budget.Bearer))
	}},
	{"Manager.Authenticate an access text", func(w *tickWorld) ([]string, error) {
		return tickSame(w.pair.Access.Bearer)(w.p.Access().Authenticate(w.ctx, w.pair.Access.Bearer))
	}},
	{"Manager.Peek", func(w *tickWorld) ([]string, error) {
		return tickSame(w.plain.Bearer)(w.m.Peek(w.ctx, w.plain.Bearer))
	}},
	{"Manager.Renew", func(w *tickWorld) ([]string, error) {
		return tickSame(w.plain.Bearer)(w.m.Renew(w.ctx, w.plain.Bearer))
	}},
	{"Manager.Rotate", func(w *tickWorld) ([]string, error) { return tickGood(w.m.Rotate(w.ctx, w.plain.Bearer, 0)) }},
	{"Manager.Rotate with an overlap", func(w *tickWorld) ([]string, error) {
		return tickGood(w.m.Rotate(w.ctx, w.plain.Bearer, time.Hour))
	}},
	{"Manager.Rotate again", func(w *tickWorld) ([]string, error) {
		return tickGood(w.m.Rotate(w.ctx, w.before.Bearer, time.Hour))
	}},
	{"Manager.RotateID", func(w *tickWorld) ([]string, error) { return tickGood(w.m.RotateID(w.ctx, w.plain.ID, 0)) }},
	{"Manager.Expire", func(w *tickWorld) ([]string, error) { return tickNone(w.m.Expire(w.ctx, w.plain.ID)) }},
	{"Manager.ExpireBearer", func(w *tickWorld) ([]string, error) { return tickNone(w.m.ExpireBearer(w.ctx, w.plain.Bearer)) }},
	{"Manager.ExpireSubject", func(w *tickWorld) ([]string, error) { return tickNone(w.m.ExpireSubject(w.ctx, "ana")) }},
	{"Manager.Token", func(w *tickWorld) ([]string, error) {
		return w.list(func(yield func(Token, error) bool) { yield(w.m.Token(w.ctx, w.plain.ID)) })
	}},
	{"Manager.Tokens", func(w *tickWorld) ([]string, error) { return w.list(w.m.Tokens(w.ctx, "ana")) }},
	{"Manager.Expiring", func(w *tickWorld) ([]string, error) { return w.list(w.m.Expiring(w.ctx, NoLimit)) }},
	{"Manager.Sweep", func(w *tickWorld) ([]string, error) { return tickNone(w.m.Sweep(w.ctx)) }},
	{"Manager.AcceptClock", func(w *tickWorld) ([]string, error) { return nil, w.m.AcceptClock(w.ctx) }},
	{"Login", func(w *tickWorld) ([]string, error) {
		return tickGood(Login(w.ctx, w.m, "ana", Grant{}, Verifier[string](tickKnows)))
	}},
	{"Identify", func(w *tickWorld) ([]string, error) {
		return tickNone(Identify(w.ctx, w.m, "ana", Verifier[string](tickKnows)))
	}},
	{"Pairs.Issue", func(w *tickWorld) ([]string, error) { return tickPair(w.p.Issue(w.ctx, Grant{Subject: "ana"})) }},
	{"Pairs.Refresh", func(w *tickWorld) ([]string, error) { return tickPair(w.p.Refresh(w.ctx, w.pair.Refresh.Bearer)) }},
	{"Pairs.Peek", func(w *tickWorld) ([]string, error) {
		return tickSame(w.pair.Refresh.Bearer)(w.p.Peek(w.ctx, w.pair.Refresh.Bearer))
	}},
	{"Pairs.Sessions", func(w *tickWorld) ([]string, error) { return w.list(w.p.Sessions(w.ctx, "ana")) }},
	{"Pairs.ExpireBearer", func(w *tickWorld) ([]string, error) {
		return tickNone(w.p.ExpireBearer(w.ctx, w.pair.Refresh.Bearer))
	}},
	{"Pairs.ExpireBearer an access text", func(w *tickWorld) ([]string, error) {
		return tickNone(w.p.ExpireBearer(w.ctx, w.pair.Access.Bearer))
	}},
	{"Manager.Hold", func(w *tickWorld) ([]string, error) { return nil, w.hold(w.plain.Bearer) }},
	{"Manager.Hold a budget", func(w *tickWorld) ([]string, error) { return nil, w.hold(w.budget.Bearer) }},
}

// tickRepeat is Refresh within the grace, which a test that passes time does not play.
var tickRepeat = tickVerb{"Pairs.Refresh again", func(w *tickWorld) ([]string, error) {
	return tickPair(w.p.Refresh(w.ctx, w.spare.Refresh.Bearer))
}}

// hold waits until what it holds is cut, if an epoch has begun, or else the test hangs.
func (w *tickWorld) hold(text string) error {
	h, err := w.m.Hold(w.ctx, text)
	if err == nil && w.store.Marks().Epoch() > 0 {
		<-h.Context().Done()
	}
	return err
}

// tickKnows believes what it is told.
var tickKnows = VerifierFunc[string](func(_ context.Context, name string) (string, error) { return name, nil })
