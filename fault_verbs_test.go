package lapse_test

import (
	"context"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

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
}

// sceneConfig has one key for Obtain, or another in its place.
func sceneConfig(policy lapse.Policy, key byte) lapse.Config {
	return lapse.Config{Policy: policy, Keys: []lapse.Key{lapse.NewKey([]byte{31: key})}}
}

func newScene(t *testing.T) *scene { return newSceneOn(t, memory.New()) }

// newSceneOn makes one on store.
func newSceneOn(t *testing.T, store storage.Store) *scene {
	t.Helper()
	f := &fixture{t: t, ctx: context.Background(), clock: newClock(), store: storagetest.NewFaulty(store)}
	f.Manager = f.manager(sceneConfig(scenePolicy, 1))
	f.issue(lapse.Grant{Subject: "ana", TTL: time.Second}) // swept by Sweep
	f.clock.add(25 * time.Hour)
	s := &scene{fixture: f, on: f.store, idle: f.issue(lapse.Grant{Subject: "ana"}), live: f.issue(lapse.Grant{Subject: "ana"})}
	f.issue(lapse.Grant{Subject: "ana"})
	s.budget = f.issue(lapse.Grant{Subject: "tim", MaxUses: 1})
	s.family = []lapse.Issued{f.issue(lapse.Grant{Subject: "eve"})}
	for n := range 2 {
		f.clock.add(time.Millisecond)
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
	s.logIn()
	f.clock.add(time.Minute)
	f.events = nil
	f.store.Reset()
	return s
}

// logIn makes the session of sue.
func (s *scene) logIn() {
	p, err := lapse.NewPairs(s.store, lapse.PairConfig{Access: lapse.Config{Clock: s.clock}})
	if err != nil {
		s.t.Fatal(err)
	}
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
	cfg.Clock, cfg.Observe = s.clock, func(_ context.Context, e lapse.Event) { s.events = append(s.events, e) }
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
	_, tok, err := opened(s.Hold(ctx, bearer))
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
	{"Expire", 0, func(ctx context.Context, s *scene) (string, error) {
		ended, err := s.Expire(ctx, s.live.ID)
		return map[bool]string{true: "ended"}[ended], err
	}},
	{"ExpireBearer", 0, func(ctx context.Context, s *scene) (string, error) {
		tok, err := s.ExpireBearer(ctx, s.live.Bearer)
		return tok.Subject, err
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
	{"Tokens of a family", 0, func(ctx context.Context, s *scene) (string, error) {
		for _, err := range s.Tokens(ctx, "eve") {
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
	{"Tokens", 0, func(ctx context.Context, s *scene) (string, error) {
		for _, err := range s.Tokens(ctx, "ana") {
			if err != nil {
				return "", err
			}
		}
		return "all", nil
	}},
	{"Expiring", 0, func(ctx context.Context, s *scene) (string, error) {
		for _, err := range s.Expiring(ctx, time.Hour) {
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
