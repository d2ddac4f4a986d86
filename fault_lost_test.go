package lapse_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

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
	s := &lostScene{pairs: memoryPairs(t, lapse.PairConfig{Grace: grace, Access: lapse.Config{Keys: []lapse.Key{lapse.NewKey(keyOf(1))}}})}
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
	wantIs(t, what, err, nil)
	if rec := s.record(tok.ID); rec.Generation != tok.Generation {
		t.Errorf("%s: generation %d of %d", what, tok.Generation, rec.Generation)
	}
	after, err := next(s, text)
	wantIs(t, what+": the next one", err, nil)
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
						wantIs(t, name, err, row.again)
						break
					}
					wantIs(t, name, err, lapse.ErrOutcomeUnknown)
					if answer != "" {
						t.Errorf("%s: it failed and yet answered", name)
					}
				}
				s.store.Reset()
				answer, err := row.ask(s, held)
				if mode == storagetest.FailAfter && row.again != nil {
					wantIs(t, name+": the retry", err, row.again)
					s.wantLogIn(t, name)
					continue
				}
				wantIs(t, name+": the retry", err, nil)
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
		wantIs(t, "Issue", err, lapse.ErrOutcomeUnknown)
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
			p.clock.add(row.after)
			p.store.InjectOp(storagetest.OpUpdate, 1, mode, storage.ErrOutcomeUnknown)
			wantIs(t, row.name, loggedOut(p.ExpireBearer(p.ctx, row.text(s))), lapse.ErrOutcomeUnknown)
			wantIs(t, row.name+", again", loggedOut(p.ExpireBearer(p.ctx, row.text(s))), nil)
			if why := p.token(s.current.Refresh.ID).EndReason; why != row.why {
				t.Errorf("%s, %v: it ended as %v; want %v", row.name, mode, why, row.why)
			}
			p.wantNothingWorks(t, row.name, s)
		}
	}
}
