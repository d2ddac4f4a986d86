package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// password is what the Verifiers of these tests look at: one type of many.
type password struct{ user, word string }

// desk is a Verifier that writes down that it was asked.
type desk struct {
	asked   *[]string
	name    string
	subject string
	err     error
}

func (d desk) Verify(_ context.Context, c password) (string, error) {
	*d.asked = append(*d.asked, d.name+" about "+c.user)
	return d.subject, d.err
}

// desks turns what each Verifier answers into Verifiers named a, b, c.
func desks(asked *[]string, answers ...desk) (all []lapse.Verifier[password]) {
	for i, d := range answers {
		d.asked, d.name = asked, string(rune('a'+i))
		all = append(all, d)
	}
	return all
}

var (
	knows   = desk{subject: "ana"}
	passes  = desk{err: lapse.ErrNotMine}
	refuses = desk{err: lapse.ErrBadCredentials}
	ana     = password{"ana", "correct horse"}
)

// TestLoginOrder: who is asked, until whose word holds.
func TestLoginOrder(t *testing.T) {
	foreign := fmt.Errorf("asking the directory: %w: %w", errDisk, &lapse.Rejection{Err: lapse.ErrExpired})
	for _, tt := range []struct {
		name    string
		answers []desk
		asked   int
		is      []error
		isNot   []error
	}{
		{"the only one knows", []desk{knows}, 1, nil, nil},
		{"the first knows", []desk{knows, refuses}, 1, nil, nil},
		{"the second knows", []desk{passes, knows, refuses}, 2, nil, nil},
		{"passing on is wrapped", []desk{{err: fmt.Errorf("no such user: %w", lapse.ErrNotMine)}, knows}, 2, nil, nil},
		{"passing on with a subject", []desk{{subject: "eve", err: lapse.ErrNotMine}, knows}, 2, nil, nil},
		{"the first refuses", []desk{refuses, knows}, 1, []error{lapse.ErrBadCredentials, lapse.ErrUnauthenticated}, nil},
		{"the second refuses", []desk{passes, refuses, knows}, 2, []error{lapse.ErrBadCredentials, lapse.ErrUnauthenticated}, nil},
		{"refusing with a subject", []desk{{subject: "ana", err: lapse.ErrBadCredentials}, knows}, 1, []error{lapse.ErrBadCredentials}, nil},
		{"refusing is wrapped", []desk{{err: fmt.Errorf("%w: %w", lapse.ErrBadCredentials, errDisk)}}, 1,
			[]error{lapse.ErrBadCredentials, lapse.ErrUnauthenticated, errDisk}, nil},
		{"refusing for the sake of its own token", []desk{{err: fmt.Errorf("%w: %w", &lapse.Rejection{Err: lapse.ErrExpired, ID: lapse.ID{9}}, lapse.ErrBadCredentials)}}, 1,
			[]error{lapse.ErrBadCredentials}, nil},
		{"refusing outweighs passing on", []desk{{err: errors.Join(lapse.ErrNotMine, lapse.ErrBadCredentials)}, knows}, 1,
			[]error{lapse.ErrBadCredentials}, nil},
		{"nobody knows", []desk{passes, passes}, 2, []error{lapse.ErrBadCredentials, lapse.ErrUnauthenticated}, []error{lapse.ErrNotMine}},
		{"the first could not tell", []desk{{err: errDisk}, knows}, 1, []error{errDisk}, []error{lapse.ErrUnauthenticated}},
		{"the second could not tell", []desk{passes, {err: errDisk}, knows}, 2, []error{errDisk}, []error{lapse.ErrUnauthenticated}},
		{"could not tell, with a subject", []desk{{subject: "ana", err: errDisk}}, 1, []error{errDisk}, []error{lapse.ErrUnauthenticated}},
		{"its own token is no good", []desk{{err: foreign}, knows}, 1, []error{errDisk}, []error{lapse.ErrUnauthenticated, lapse.ErrExpired}},
		{"an account is not for it to suspend", []desk{{err: lapse.ErrRefused}}, 1, nil, []error{lapse.ErrUnauthenticated}},
		{"its time ran out", []desk{{err: context.DeadlineExceeded}, knows}, 1, []error{context.DeadlineExceeded}, []error{lapse.ErrUnauthenticated}},
		{"names nobody", []desk{{}, knows}, 1, []error{lapse.ErrInvalidGrant}, []error{lapse.ErrUnauthenticated}},
		{"names what cannot be a subject", []desk{{subject: "a\x00"}, knows}, 1, []error{lapse.ErrInvalidGrant}, []error{lapse.ErrUnauthenticated}},
		{"names too long a subject", []desk{{subject: strings.Repeat("a", 256)}, knows}, 1, []error{lapse.ErrInvalidGrant}, []error{lapse.ErrUnauthenticated}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{})
			var asked []string
			issued, err := lapse.Login(f.ctx, f.Manager, ana, lapse.Grant{Name: "laptop"}, desks(&asked, tt.answers...)...)
			if len(asked) != tt.asked {
				t.Errorf("asked: %v; want the first %d", asked, tt.asked)
			}
			for _, want := range tt.is {
				lapsetest.WantIs(t, "Login", err, want)
			}
			for _, not := range tt.isNot {
				if err == nil || errors.Is(err, not) {
					t.Errorf("Login: %v; want an error that is no %v", err, not)
				}
			}
			if tt.is == nil && tt.isNot == nil {
				wantLoggedIn(t, f, issued, err)
				return
			}
			var r *lapse.Rejection
			if refused := errors.Is(err, lapse.ErrUnauthenticated); errors.As(err, &r) != refused {
				t.Errorf("carries %+v", r)
			} else if refused && (r.ID != lapse.ID{} || !r.At.IsZero()) {
				t.Errorf("the Rejection tells of a token: %+v", r)
			}
			if n := len(f.contents()); n != 0 || issued.Bearer != "" || issued.Token != (lapse.Token{}) {
				t.Errorf("it failed with %d records and gave %+v", n, issued)
			}
		})
	}
}

// wantLoggedIn: what came out is ana's token, and it is good.
func wantLoggedIn(t *testing.T, f *fixture, issued lapse.Issued, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("Login: %v", err)
	}
	tok, err := f.Peek(f.ctx, issued.Bearer)
	if err != nil || tok.Subject != "ana" || tok.Name != "laptop" || tok != issued.Token {
		t.Errorf("the token is %+v, %v", tok, err)
	}
	lapsetest.WantDiff(t, "events", []lapse.Event{{Kind: lapse.EventIssued, At: lapsetest.StartMilli, Token: issued.Token}}, f.events)
}

// TestLoginMistakes: what its programmer got wrong is told by name, before anybody is
// asked to check a password.
func TestLoginMistakes(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTTL: time.Hour}})
	var asked []string
	good := desks(&asked, knows)
	var noDesk *desk
	for _, tt := range []struct {
		name      string
		m         *lapse.Manager
		grant     lapse.Grant
		verifiers []lapse.Verifier[password]
		want      error
		says      string
	}{
		{"no Manager", nil, lapse.Grant{}, good, lapse.ErrInvalidConfig, "Manager"},
		{"no Verifier", f.Manager, lapse.Grant{}, nil, lapse.ErrInvalidConfig, "Verifier"},
		{"a nil Verifier", f.Manager, lapse.Grant{}, []lapse.Verifier[password]{nil}, lapse.ErrInvalidConfig, "Verifier 1 of 1"},
		{"a nil one behind a good one", f.Manager, lapse.Grant{}, append(good[:1:1], nil), lapse.ErrInvalidConfig, "Verifier 2 of 2"},
		{"a nil pointer", f.Manager, lapse.Grant{}, []lapse.Verifier[password]{noDesk}, lapse.ErrInvalidConfig, "Verifier 1 of 1"},
		{"a nil function", f.Manager, lapse.Grant{}, []lapse.Verifier[password]{lapse.VerifierFunc[password](nil)}, lapse.ErrInvalidConfig, "Verifier 1 of 1"},
		{"Subject", f.Manager, lapse.Grant{Subject: "a\n"}, good, lapse.ErrInvalidGrant, "Subject"},
		{"Name", f.Manager, lapse.Grant{Name: "\xff"}, good, lapse.ErrInvalidGrant, "Name"},
		{"Scope", f.Manager, lapse.Grant{Scope: " "}, good, lapse.ErrInvalidGrant, "Scope"},
		{"Data", f.Manager, lapse.Grant{Data: strings.Repeat("a", 4097)}, good, lapse.ErrInvalidGrant, "Data"},
		{"TTL", f.Manager, lapse.Grant{TTL: 2 * time.Hour}, good, lapse.ErrInvalidGrant, "TTL"},
		{"MaxUses", f.Manager, lapse.Grant{MaxUses: -1}, good, lapse.ErrInvalidGrant, "MaxUses"},
		{"Jitter", f.Manager, lapse.Grant{Jitter: 0.6}, good, lapse.ErrInvalidGrant, "Jitter"},
	} {
		_, err := lapse.Login(f.ctx, tt.m, ana, tt.grant, tt.verifiers...)
		lapsetest.WantIs(t, tt.name, err, tt.want)
		if errors.Is(err, lapse.ErrUnauthenticated) || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v; want it to name %s", tt.name, err, tt.says)
		}
	}
	if len(asked) != 0 || len(f.contents()) != 0 || len(f.events) != 0 {
		t.Errorf("asked %v, events %+v", asked, f.events)
	}
}

// TestLoginSubject: the Verifier says who it is; the Grant can only agree.
func TestLoginSubject(t *testing.T) {
	for subject, want := range map[string]error{"": nil, "ana": nil, "Ana": lapse.ErrInvalidGrant, "bob": lapse.ErrInvalidGrant} {
		f := newFixture(t, lapse.Config{})
		var asked []string
		issued, err := lapse.Login(f.ctx, f.Manager, ana, lapse.Grant{Subject: subject, Name: "laptop"}, desks(&asked, knows)...)
		if want == nil {
			wantLoggedIn(t, f, issued, err)
			continue
		}
		lapsetest.WantIs(t, subject, err, want)
		if errors.Is(err, lapse.ErrUnauthenticated) || len(asked) != 1 || len(f.contents()) != 0 {
			t.Errorf("Grant for %q: %v, %v", subject, err, asked)
		}
	}
}

// TestLoginAsksCheckSubject before anything is issued, and after the credentials.
func TestLoginAsksCheckSubject(t *testing.T) {
	for _, tt := range []struct {
		name  string
		check error
		desk  desk
		asked []string
		want  error
		bad   bool
	}{
		{"passes", nil, knows, []string{"a about ana", "check ana"}, nil, false},
		{"refuses", fmt.Errorf("%w: suspended", lapse.ErrRefused), knows, []string{"a about ana", "check ana"}, lapse.ErrRefused, true},
		{"could not tell", errDisk, knows, []string{"a about ana", "check ana"}, errDisk, false},
		{"its own token is no good", fmt.Errorf("%w: %w", errDisk, lapse.ErrExpired), knows, []string{"a about ana", "check ana"}, errDisk, false},
		{"bad credentials come first", lapse.ErrRefused, refuses, []string{"a about ana"}, lapse.ErrBadCredentials, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked []string
			f := newFixture(t, lapse.Config{Admit: func(_ context.Context, tok lapse.Token) error {
				asked = append(asked, "check "+tok.Subject)
				return tt.check
			}})
			_, err := lapse.Login(f.ctx, f.Manager, ana, lapse.Grant{}, desks(&asked, tt.desk)...)
			lapsetest.WantIs(t, "Login", err, tt.want)
			if errors.Is(err, lapse.ErrUnauthenticated) != tt.bad {
				t.Errorf("Login: %v", err)
			}
			lapsetest.WantDiff(t, "asked", tt.asked, asked)
			var r *lapse.Rejection
			if errors.As(err, &r) != tt.bad || tt.want == lapse.ErrRefused && r.Subject != "ana" {
				t.Errorf("carries %+v", r)
			}
			if n := len(f.contents()); (n == 0) != (tt.want != nil) {
				t.Errorf("%d records", n)
			}
		})
	}
}

// TestLoginTellsOfRefusals without what a Verifier says, which may be anything.
func TestLoginTellsOfRefusals(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	var asked []string
	for _, d := range []desk{{err: fmt.Errorf("%w: %q is wrong", lapse.ErrBadCredentials, ana.word)}, passes} {
		f.events = nil
		_, err := lapse.Login(f.ctx, f.Manager, ana, lapse.Grant{}, desks(&asked, d)...)
		lapsetest.WantIs(t, "Login", err, lapse.ErrBadCredentials)
		want := []lapse.Event{{Kind: lapse.EventRejected, At: lapsetest.StartMilli, Err: lapse.ErrBadCredentials}}
		lapsetest.WantDiff(t, "events", want, f.events, lapsetest.ErrorsIs)
		if text := fmt.Sprintf("%+v %v", f.events, f.events[0].Err); strings.Contains(text, ana.word) || strings.Contains(text, "ana") {
			t.Errorf("the event tells of the credentials: %s", text)
		}
		if r := new(lapse.Rejection); !errors.As(f.events[0].Err, &r) {
			t.Errorf("the event holds %T", f.events[0].Err)
		}
	}
	f.events = nil
	_, err := lapse.Login(f.ctx, f.Manager, ana, lapse.Grant{}, desks(&asked, desk{err: errDisk})...)
	if lapsetest.WantIs(t, "Login", err, errDisk); len(f.events) != 0 {
		t.Errorf("told of a Verifier that could not tell: %+v", f.events)
	}
}

// TestLoginHonoursTheContext between one Verifier and the next.
func TestLoginHonoursTheContext(t *testing.T) {
	for _, ends := range []int{0, 1, 2} {
		f := newFixture(t, lapse.Config{})
		ctx, cancel := context.WithCancel(f.ctx)
		asked := 0
		ask := lapse.VerifierFunc[password](func(context.Context, password) (string, error) {
			if asked++; asked == ends {
				cancel()
			}
			return "", lapse.ErrNotMine
		})
		if ends == 0 {
			cancel()
		}
		_, err := lapse.Login(ctx, f.Manager, ana, lapse.Grant{}, ask, ask, ask)
		lapsetest.WantIs(t, "Login", err, context.Canceled)
		if asked != ends || errors.Is(err, lapse.ErrUnauthenticated) {
			t.Errorf("asked %d of 3, the context ended after %d: %v", asked, ends, err)
		}
	}
}

// TestLoginPanics with its Verifier, and the Manager goes on.
func TestLoginPanics(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	func() {
		defer func() {
			if recover() != "lost" {
				t.Error("the Verifier's panic was swallowed")
			}
		}()
		lost := lapse.VerifierFunc[password](func(context.Context, password) (string, error) { panic("lost") })
		_, _ = lapse.Login(f.ctx, f.Manager, ana, lapse.Grant{}, lost)
	}()
	var asked []string
	issued, err := lapse.Login(f.ctx, f.Manager, ana, lapse.Grant{Name: "laptop"}, desks(&asked, knows)...)
	wantLoggedIn(t, f, issued, err)
}

// TestLoginTakesAnyCredentials: the type of what is verified is the caller's.
func TestLoginTakesAnyCredentials(t *testing.T) {
	m, err := lapse.New(memory.New(), lapse.Config{Clock: lapsetest.NewClock()})
	if err != nil {
		t.Fatal(err)
	}
	code := lapse.VerifierFunc[int](func(_ context.Context, code int) (string, error) { return fmt.Sprint("user ", code), nil })
	issued, err := lapse.Login(t.Context(), m, 7, lapse.Grant{}, code)
	if err != nil || issued.Subject != "user 7" {
		t.Errorf("%+v, %v", issued, err)
	}
}

// TestIdentify is what Login decides by, without a token.
func TestIdentify(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name    string
		ctx     context.Context
		answers []desk
		check   error
		asked   []string
		want    error
	}{
		{"the first knows", t.Context(), []desk{knows, refuses}, nil, []string{"a about ana", "check ana"}, nil},
		{"the second knows", t.Context(), []desk{passes, knows}, nil, []string{"a about ana", "b about ana", "check ana"}, nil},
		{"one refuses", t.Context(), []desk{refuses, knows}, nil, []string{"a about ana"}, lapse.ErrBadCredentials},
		{"nobody knows", t.Context(), []desk{passes, passes}, nil, []string{"a about ana", "b about ana"}, lapse.ErrBadCredentials},
		{"one could not tell", t.Context(), []desk{{err: errDisk}, knows}, nil, []string{"a about ana"}, errDisk},
		{"one names nobody", t.Context(), []desk{{}}, nil, []string{"a about ana"}, lapse.ErrInvalidGrant},
		{"Admit refuses", t.Context(), []desk{knows}, lapse.ErrRefused, []string{"a about ana", "check ana"}, lapse.ErrRefused},
		{"Admit could not tell", t.Context(), []desk{knows}, errDisk, []string{"a about ana", "check ana"}, errDisk},
		{"no Verifier", t.Context(), nil, nil, nil, lapse.ErrInvalidConfig},
		{"the context has ended", ended, []desk{knows}, nil, nil, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked []string
			f := newFixture(t, lapse.Config{Admit: func(_ context.Context, tok lapse.Token) error {
				asked = append(asked, "check "+tok.Subject)
				return tt.check
			}})
			var subject string
			var err error
			calls := f.calls(func() { subject, err = lapse.Identify(tt.ctx, f.Manager, ana, desks(&asked, tt.answers...)...) })
			lapsetest.WantIs(t, "Identify", err, tt.want)
			lapsetest.WantDiff(t, "asked", tt.asked, asked)
			lapsetest.WantDiff(t, "calls of the store", noCalls, calls)
			if (subject == "ana") != (err == nil) || err != nil && subject != "" {
				t.Errorf("Identify: %q, %v", subject, err)
			}

			told := f.events
			f.events, asked = nil, nil
			_, login := lapse.Login(tt.ctx, f.Manager, ana, lapse.Grant{}, desks(&asked, tt.answers...)...)
			lapsetest.WantIs(t, "Login says the same", login, tt.want)
			if errors.Is(err, lapse.ErrUnauthenticated) != errors.Is(login, lapse.ErrUnauthenticated) {
				t.Errorf("Identify: %v; Login: %v", err, login)
			}
			if err == nil {
				return // Login goes on
			}
			for _, events := range [][]lapse.Event{told, f.events} {
				for i := range events {
					lapsetest.WantIs(t, "the event", events[i].Err, tt.want)
					events[i].Err = nil
				}
			}
			lapsetest.WantDiff(t, "and tells the same", f.events, told)
		})
	}
	_, err := lapse.Identify(t.Context(), nil, ana, desks(nil, knows)...)
	lapsetest.WantIs(t, "no Manager", err, lapse.ErrInvalidConfig)
}

// TestSessionsLists the live sessions that these Pairs made: when each was logged in,
// refreshed and used, until when it lives, and which device it is.
func TestSessionsLists(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour}}})
	laptop := p.first(lapse.Grant{Name: "laptop", Scope: "read write"})
	p.clock.Add(time.Minute)
	phone := p.first(lapse.Grant{Name: "phone", SessionTTL: 2 * time.Hour})
	p.issue(lapse.Grant{Subject: "ana"})
	_, err := p.Delegate(p.ctx, phone.Access.Bearer, lapse.Grant{})
	lapsetest.WantIs(t, "Delegate", err, nil)
	lapsetest.WantIs(t, "log-out", lapsetest.LoggedOut(p.ExpireBearer(p.ctx, p.first(lapse.Grant{Name: "tablet"}).Refresh.Bearer)), nil)
	p.first(lapse.Grant{Name: "watch", SessionTTL: time.Minute}) // it will have run out
	p.clock.Add(time.Minute)
	p.next(laptop, "read")
	p.clock.Add(time.Minute)
	_, err = p.Authenticate(p.ctx, phone.Access.Bearer)
	lapsetest.WantIs(t, "Authenticate", err, nil)

	one := laptop.Refresh.Token
	one.RotatedAt, one.Generation, one.ExpiresAt = lapsetest.StartMilli.Add(2*time.Minute), 1, lapsetest.StartMilli.Add(62*time.Minute)
	two := phone.Refresh.Token
	two.Family = two.ID // since it delegated
	two.LastUsedAt, two.ExpiresAt = lapsetest.StartMilli.Add(3*time.Minute), lapsetest.StartMilli.Add(121*time.Minute)
	var got []lapse.Token
	for tok, err := range p.Sessions(p.ctx, "ana") {
		lapsetest.WantIs(t, "Sessions", err, nil)
		got = append(got, tok)
		lapsetest.LoggedOut(p.ExpireBearer(p.ctx, p.first(lapse.Grant{Subject: "ana"}).Access.Bearer)) // the loop body may call any verb
	}
	lapsetest.WantDiff(t, "sessions", []lapse.Token{one, two}, got)

	p.clock.Set(lapsetest.Start.Add(62*time.Minute - time.Millisecond))
	p.wantSessions(t, "a millisecond before one runs out", one.ID, two.ID)
	p.clock.Add(time.Millisecond)
	p.wantSessions(t, "as it runs out", two.ID)
}

// TestSessionsErrors: a subject that cannot be is ErrInvalidGrant, and what the store says
// is the last pair.
func TestSessionsErrors(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	p.first(lapse.Grant{})
	for subject, want := range map[string]error{"": lapse.ErrInvalidGrant, "a\nb": lapse.ErrInvalidGrant, "ana": lapse.ErrUnavailable} {
		p.store.Inject(1, storagetest.FailBefore, storage.ErrUnavailable)
		n := 0
		for tok, err := range p.Sessions(p.ctx, subject) {
			n++
			lapsetest.WantIs(t, subject, err, want)
			lapsetest.WantDiff(t, "token", lapse.Token{}, tok)
		}
		if n != 1 {
			t.Errorf("%q: %d pairs; want one", subject, n)
		}
	}
}

// TestPairsPeekChangesNothing: Peek judges as Refresh would, except that a replaced text
// is ErrReplaced after its grace, and costs one read.
func TestPairsPeekChangesNothing(t *testing.T) {
	type states struct {
		session3
		p *pairs
	}
	bearer := func(c lapse.TokenPair) string { return c.Refresh.Bearer }
	for _, row := range []struct {
		name    string
		do      func(s *states)
		present func(s *states) string
		want    error
	}{
		{"current", nil, func(s *states) string { return bearer(s.current) }, nil},
		{"previous", nil, func(s *states) string { return bearer(s.previous) }, nil},
		{"previous, before the grace ends", func(s *states) { s.p.clock.Add(10*time.Second - time.Millisecond) }, func(s *states) string { return bearer(s.previous) }, nil},
		{"previous, as the grace ends", func(s *states) { s.p.clock.Add(10 * time.Second) }, func(s *states) string { return bearer(s.previous) }, lapse.ErrReplaced},
		{"spent", nil, func(s *states) string { return bearer(s.spent) }, lapse.ErrReplaced},
		{"spent, and the session ended", func(s *states) { lapsetest.LoggedOut(s.p.ExpireBearer(s.p.ctx, bearer(s.current))) }, func(s *states) string { return bearer(s.spent) }, lapse.ErrReplaced},
		{"current, before it runs out", func(s *states) { s.p.clock.Add(720*time.Hour - time.Millisecond) }, func(s *states) string { return bearer(s.current) }, nil},
		{"current, as it runs out", func(s *states) { s.p.clock.Add(720 * time.Hour) }, func(s *states) string { return bearer(s.current) }, lapse.ErrExpired},
		{"current, logged out", func(s *states) { lapsetest.LoggedOut(s.p.ExpireBearer(s.p.ctx, bearer(s.current))) }, func(s *states) string { return bearer(s.current) }, lapse.ErrRevoked},
		{"previous, logged out", func(s *states) { lapsetest.LoggedOut(s.p.ExpireBearer(s.p.ctx, bearer(s.current))) }, func(s *states) string { return bearer(s.previous) }, lapse.ErrRevoked},
		{"current, after reuse", func(s *states) { s.p.Refresh(s.p.ctx, bearer(s.spent)) }, func(s *states) string { return bearer(s.current) }, lapse.ErrRevoked},
		{"an access text", nil, func(s *states) string { return s.current.Access.Bearer }, lapse.ErrUnknown},
		{"another secret", nil, func(s *states) string { return withSecret(bearer(s.current), 3) }, lapse.ErrUnknown},
		{"malformed", nil, func(s *states) string { return bearer(s.current) + " " }, lapse.ErrMalformed},
		{"subject refused", func(s *states) { s.p.refused = lapse.ErrRefused }, func(s *states) string { return bearer(s.current) }, lapse.ErrRefused},
		{"directory down", func(s *states) { s.p.refused = errDirectory }, func(s *states) string { return bearer(s.previous) }, errDirectory},
		{"spent, subject refused", func(s *states) { s.p.refused = lapse.ErrRefused }, func(s *states) string { return bearer(s.spent) }, lapse.ErrReplaced},
	} {
		p := memoryPairs(t, lapse.PairConfig{})
		s := &states{session3: p.session3(lapse.Grant{Scope: "read write"}), p: p}
		if row.do != nil {
			row.do(s)
		}
		before := p.contents()
		var tok lapse.Token
		var err error
		calls := p.calls(func() { tok, err = p.Pairs.Peek(p.ctx, row.present(s)) })
		lapsetest.WantIs(t, row.name, err, row.want)
		lapsetest.WantDiff(t, row.name+": contents", before, p.contents())
		if row.want != lapse.ErrMalformed {
			lapsetest.WantDiff(t, row.name+": calls", []storagetest.Op{opGet}, calls)
		}
		if want := s.current.Refresh.Token; row.want == nil && tok != want || row.want != nil && tok != (lapse.Token{}) {
			t.Errorf("%s: %+v; want %+v", row.name, tok, want)
		}
	}
}

// TestUsesOfAnAccessText raise LastUsedAt alone: neither end moves by them, whatever the
// policy says of plain tokens, and Renew, Rotate and RotateID are ErrNotRenewable.
func TestUsesOfAnAccessText(t *testing.T) {
	for _, renewal := range []lapse.Renewal{lapse.RenewDefault, lapse.RenewOnUse, lapse.RenewOnRequest, lapse.RenewNever} {
		for _, every := range []time.Duration{0, time.Minute, time.Hour} {
			p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{Renewal: renewal, RenewEvery: every}}})
			c := p.first(lapse.Grant{})
			want := p.record(c.Refresh.ID)
			p.clock.Add(time.Minute)
			tok, err := p.Authenticate(p.ctx, c.Access.Bearer)
			lapsetest.WantIs(t, "Authenticate", err, nil)
			if every <= time.Minute {
				want.LastUsedAt = lapsetest.StartMilli.Add(time.Minute)
			}
			if !tok.ExpiresAt.Equal(c.Access.ExpiresAt) || !tok.LastUsedAt.Equal(want.LastUsedAt) {
				t.Errorf("Renewal %d, RenewEvery %v: until %v, used %v", renewal, every, tok.ExpiresAt, tok.LastUsedAt)
			}
			for _, overlap := range []time.Duration{0, time.Minute} {
				_, err = p.Rotate(p.ctx, c.Access.Bearer, overlap)
				lapsetest.WantIs(t, "Rotate", err, lapse.ErrNotRenewable)
				_, err = p.RotateID(p.ctx, c.Access.ID, overlap)
				lapsetest.WantIs(t, "RotateID", err, lapse.ErrNotRenewable)
			}
			_, err = p.Renew(p.ctx, c.Access.Bearer)
			lapsetest.WantIs(t, "Renew", err, lapse.ErrNotRenewable)
			lapsetest.WantDiff(t, fmt.Sprintf("Renewal %d, RenewEvery %v: stored", renewal, every), want, p.record(c.Refresh.ID))
			if kinds := eventKinds(p.events); len(kinds) != 1 || kinds[0] != lapse.EventIssued {
				t.Errorf("Renewal %d: events %v", renewal, kinds)
			}
			next := p.next(c)
			if !next.Refresh.LastUsedAt.Equal(want.LastUsedAt) {
				t.Errorf("a refresh set LastUsedAt to %v", next.Refresh.LastUsedAt)
			}
		}
	}
}

func eventKinds(events []lapse.Event) (kinds []lapse.EventKind) {
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// TestSpentAccessTextRefusesTheSame: the verbs of a Manager say ErrReplaced of an access
// text that was replaced, Rotate ErrNotRenewable, and nothing but a log-out ends the
// session by it.
func TestSpentAccessTextRefusesTheSame(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{Renewal: lapse.RenewOnRequest}}})
	s := p.session3(lapse.Grant{})
	before := p.contents()
	for _, verb := range textVerbs {
		if verb.refreshes || verb.name == "ExpireBearer" {
			continue
		}
		p.events = nil
		want := lapse.ErrReplaced
		if verb.name == "Rotate" || verb.name == "Rotate, overlap 0" {
			want = lapse.ErrNotRenewable
		}
		lapsetest.WantIs(t, verb.name, verb.do(p, s.spent.Access.Bearer), want)
		if want == lapse.ErrReplaced {
			if len(p.events) != 1 || p.events[0].Kind != lapse.EventSpent || p.events[0].Token.ID != s.spent.Access.ID {
				t.Errorf("%s: told of %+v", verb.name, p.events)
			}
		}
	}
	lapsetest.WantDiff(t, "contents", before, p.contents())
}

// TestCheckSubjectOfSessions: it is asked by Refresh, also within the grace, by Peek, and
// by what an access text is for; not by log-ins, reuse, what ends sessions, and lists.
func TestCheckSubjectOfSessions(t *testing.T) {
	for _, row := range []struct {
		name  string
		asked bool
		do    func(p *pairs, s session3) error
	}{
		{"Issue", false, func(p *pairs, _ session3) error {
			_, err := p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "ana"})
			return err
		}},
		{"Refresh", true, func(p *pairs, s session3) error { _, err := p.Refresh(p.ctx, s.current.Refresh.Bearer); return err }},
		{"Refresh again", true, func(p *pairs, s session3) error { _, err := p.Refresh(p.ctx, s.previous.Refresh.Bearer); return err }},
		{"Pairs.Peek", true, func(p *pairs, s session3) error { _, err := p.Pairs.Peek(p.ctx, s.current.Refresh.Bearer); return err }},
		{"Authenticate", true, func(p *pairs, s session3) error { _, err := p.Authenticate(p.ctx, s.current.Access.Bearer); return err }},
		{"Authenticate by the previous text", true, func(p *pairs, s session3) error {
			_, err := p.Authenticate(p.ctx, s.previous.Access.Bearer)
			return err
		}},
		{"Delegate", true, func(p *pairs, s session3) error {
			_, err := p.Delegate(p.ctx, s.current.Access.Bearer, lapse.Grant{})
			return err
		}},
		{"Expire by the access text", false, func(p *pairs, s session3) error {
			return lapsetest.LoggedOut(p.ExpireBearer(p.ctx, s.current.Access.Bearer))
		}},
		{"Expire by the refresh text", false, func(p *pairs, s session3) error {
			return lapsetest.LoggedOut(p.ExpireBearer(p.ctx, s.current.Refresh.Bearer))
		}},
		{"Expire by a spent text", false, func(p *pairs, s session3) error {
			return lapsetest.LoggedOut(p.ExpireBearer(p.ctx, s.spent.Refresh.Bearer))
		}},
		{"ExpireBearer", false, func(p *pairs, s session3) error {
			_, err := p.fixture.ExpireBearer(p.ctx, s.previous.Access.Bearer)
			return err
		}},
		{"Sessions", false, func(p *pairs, s session3) error {
			for _, err := range p.Sessions(p.ctx, "ana") {
				return err
			}
			return context.Canceled
		}},
		{"reuse", false, func(p *pairs, s session3) error {
			_, err := p.Refresh(p.ctx, s.spent.Refresh.Bearer)
			return lapsetest.Ignore(err, lapse.ErrReused)
		}},
	} {
		for _, says := range []error{lapse.ErrRefused, errDirectory} {
			p := memoryPairs(t, lapse.PairConfig{})
			s := p.session3(lapse.Grant{})
			before := p.contents()
			p.refused = says
			err := row.do(p, s)
			if !row.asked {
				lapsetest.WantIs(t, row.name, err, nil)
				continue
			}
			lapsetest.WantIs(t, row.name, err, says)
			lapsetest.WantDiff(t, row.name+": contents", before, p.contents())
			p.refused = nil
			lapsetest.WantIs(t, row.name+" once the subject may", row.do(p, s), nil)
		}
	}
}

// The cases here are what users of other projects reported of theirs, played with lapse.

// counted counts transactions, and the records that these go through.
type counted struct {
	storage.Store
	seen, updates int
}

func (c *counted) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	c.updates++
	return c.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(countedTx{tx, c}) })
}

type countedTx struct {
	storage.Tx
	c *counted
}

func (tx countedTx) Get(id storage.ID) (storage.Record, error) {
	tx.c.seen++
	return tx.Tx.Get(id)
}

func (tx countedTx) Records() iter.Seq2[storage.Record, error] { return tx.c.each(tx.Tx.Records()) }

func (tx countedTx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	return tx.c.each(tx.Tx.Living(now))
}

func (c *counted) each(records iter.Seq2[storage.Record, error]) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for r, err := range records {
			c.seen++
			if !yield(r, err) {
				return
			}
		}
	}
}

// TestARefreshPaysForNothingElse: a refresh goes through one record, after 2,000 others and
// beside dead sessions and plain tokens; so does the first replay, and a later one through
// none.
func TestARefreshPaysForNothingElse(t *testing.T) {
	s := &counted{Store: memory.New()}
	p := newPairs(t, s, lapse.PairConfig{
		Access:  lapse.Config{Policy: lapse.Policy{TTL: 5 * time.Minute}, Observe: func(context.Context, lapse.Event) {}},
		Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 5}},
	})
	for range 200 {
		p.first(lapse.Grant{}) // all but 5 are evicted
		p.issue(lapse.Grant{Subject: "ana"})
	}
	c0 := p.first(lapse.Grant{})
	c := c0
	for range 2_000 {
		p.clock.Add(5 * time.Minute)
		c = p.next(c)
	}
	cost := func(do func()) string {
		s.seen, s.updates = 0, 0
		do()
		return fmt.Sprint(s.updates, " over ", s.seen)
	}
	if got := cost(func() { c = p.next(c) }); got != "1 over 1" {
		t.Errorf("a refresh: %s; want 1 over 1", got)
	}
	if got := cost(func() { p.wantRefresh("the first replay", c0, lapse.ErrReused) }); got != "1 over 2" { // its end reads it once more
		t.Errorf("the first replay: %s; want 1 over 2", got)
	}
	if got := cost(func() { p.wantRefresh("a later replay", c0, lapse.ErrReused) }); got != "0 over 0" {
		t.Errorf("a later replay: %s; want 0 over 0", got)
	}
}

// TestReplayInTheSameInstant: a text that was replaced twice within one millisecond is
// spent, with a grace and without, and a dead session answers nothing as within a grace.
func TestReplayInTheSameInstant(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		for _, grace := range []time.Duration{lapse.NoGrace, 10 * time.Second} {
			p := newPairs(t, store, lapse.PairConfig{Grace: grace})
			s := p.session3(lapse.Grant{})
			p.wantRefresh("replaced twice", s.spent, lapse.ErrReused)
			p.wantNothingWorks(t, fmt.Sprint("grace ", grace), s)
		}
	})
}

// TestRefusedSubjectCannotRefresh: a refusal, or none that could be had, spends nothing;
// reuse ends the session all the same.
func TestRefusedSubjectCannotRefresh(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{})
		a := p.first(lapse.Grant{})
		p.clock.Add(time.Minute)
		for _, p.refused = range []error{lapse.ErrRefused, errDirectory} {
			p.wantRefresh("refused", a, p.refused)
		}
		p.refused = nil
		b := p.next(a)
		p.refused = lapse.ErrRefused
		p.wantRefresh("refused within the grace", a, lapse.ErrRefused)
		p.clock.Add(time.Minute)
		p.wantRefresh("reuse", a, lapse.ErrReused)
		p.refused = nil
		p.wantRefresh("let in again after the reuse", b, lapse.ErrRevoked)
	})
}

// TestLogOutOfTheOthersSparesWhoAsks, by any ID of its log-in that was noted before a
// refresh.
func TestLogOutOfTheOthersSparesWhoAsks(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{})
		mine, other := p.first(lapse.Grant{}), p.first(lapse.Grant{})
		noted := mine.Access.ID
		p.clock.Add(time.Minute)
		mine = p.next(mine) // in another window
		if ended, err := p.ExpireSubject(p.ctx, "ana", noted); ended != 1 || err != nil {
			t.Errorf("ended %d, %v", ended, err)
		}
		p.wantRefresh("the other session", other, lapse.ErrRevoked)
		p.wantAccess("the session that asked", mine, nil)
		p.next(mine)
	})
}

// TestAnAdministratorEndsASession by an ID of a list, though the client refreshes between
// the list and the end.
func TestAnAdministratorEndsASession(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{})
		c := p.first(lapse.Grant{})
		var listed []lapse.ID
		for tok, err := range p.List(p.ctx, lapse.Query{Subject: "ana"}) {
			lapsetest.WantIs(t, "Tokens", err, nil)
			listed = append(listed, tok.ID)
		}
		c = p.next(c)
		for _, id := range listed {
			ended, err := p.Manager.Expire(p.ctx, id)
			if !ended || err != nil {
				t.Errorf("Expire: %v, %v", ended, err)
			}
		}
		p.wantRefresh("the session", c, lapse.ErrRevoked)
		p.wantAccess("the session", c, lapse.ErrRevoked)
	})
}

// TestDelegatesLockNoOwnerOut: a helper without any scope can make delegates up to its
// limit, and the owner logs in beside them, with a plain token and with a session.
func TestDelegatesLockNoOwnerOut(t *testing.T) {
	for _, atLimit := range []lapse.AtLimit{lapse.LimitRefuse, lapse.LimitEndOldest, lapse.LimitEndIdlest} {
		lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
			policy := lapse.Policy{MaxTokens: 2, MaxDelegates: 3, AtLimit: atLimit}
			p := quiet(t, store, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{MaxDelegates: 3}}, Refresh: lapse.Config{Policy: policy}})
			m := p.manager(lapse.Config{Prefix: "plain", Policy: policy})
			phone := p.first(lapse.Grant{Scope: "all"})
			plain, err := m.Issue(p.ctx, lapse.Grant{Subject: "ana", Scope: "all"})
			lapsetest.WantIs(t, "Issue", err, nil)
			helper, err := m.Delegate(p.ctx, plain.Bearer, lapse.Grant{})
			lapsetest.WantIs(t, "Delegate", err, nil)
			for n := range 5 {
				_, err := m.Delegate(p.ctx, helper.Bearer, lapse.Grant{})
				lapsetest.WantIs(t, "Delegate by a helper", err, map[bool]error{true: lapse.ErrLimit}[n >= 3])
				_, err = p.Delegate(p.ctx, phone.Access.Bearer, lapse.Grant{})
				lapsetest.WantIs(t, "Delegate by a session", err, map[bool]error{true: lapse.ErrLimit}[n >= 3])
			}
			got, err := m.Issue(p.ctx, lapse.Grant{Subject: "ana"})
			if err != nil || len(got.Evicted) != 0 {
				t.Errorf("a plain token beside delegates: evicted %v, %v", got.Evicted, err)
			}
			if laptop := p.first(lapse.Grant{}); len(laptop.Refresh.Evicted) != 0 {
				t.Errorf("a session beside delegates: evicted %v", laptop.Refresh.Evicted)
			}
			p.wantAccess("the phone", phone, nil)
		})
	}
}

// TestARetryOfAnEndedSession within the grace gets no credentials that are dead.
func TestARetryOfAnEndedSession(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{})
		a := p.first(lapse.Grant{})
		b := p.next(a)
		ended, err := p.Manager.Expire(p.ctx, b.Access.ID)
		if !ended || err != nil {
			t.Errorf("Expire: %v, %v", ended, err)
		}
		p.wantRefresh("a retry", a, lapse.ErrRevoked)
	})
}

// TestOneDeviceMeansOneDevice: with room for one session the next log-in ends the device
// before, within its grace as well, and no refresh of it comes back.
func TestOneDeviceMeansOneDevice(t *testing.T) {
	for _, atLimit := range []lapse.AtLimit{lapse.LimitDefault, lapse.LimitEndOldest, lapse.LimitEndIdlest} {
		lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
			p := newPairs(t, store, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: atLimit}}})
			a := p.first(lapse.Grant{})
			p.clock.Add(time.Second)
			b := p.first(lapse.Grant{})
			p.wantAccess("the first device", a, lapse.ErrRevoked)
			p.wantRefresh("the first device", a, lapse.ErrRevoked)
			p.wantAccess("the second device", b, nil)
			b1 := p.next(b)
			c := p.first(lapse.Grant{})
			p.wantRefresh("evicted, by the previous text", b, lapse.ErrRevoked)
			p.wantRefresh("evicted, by the current text", b1, lapse.ErrRevoked)
			p.wantAccess("the third device", c, nil)
		})
	}
}

// TestTheBusyOneIsNotTheIdlest: of two sessions the one that is used all the time stays,
// if it logged in first, too.
func TestTheBusyOneIsNotTheIdlest(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{
			Access:  lapse.Config{Policy: lapse.Policy{TTL: 4 * time.Hour, RenewEvery: time.Minute}},
			Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 2}},
		})
		busy := p.first(lapse.Grant{Name: "busy"})
		p.clock.Add(time.Minute)
		idle := p.first(lapse.Grant{Name: "never used"})
		for range 57 {
			p.clock.Add(time.Minute)
			_, err := p.Authenticate(p.ctx, busy.Access.Bearer)
			lapsetest.WantIs(t, "Authenticate", err, nil)
		}
		p.first(lapse.Grant{})
		p.wantAccess("the busy one", busy, nil)
		p.wantAccess("the idle one", idle, lapse.ErrRevoked)
	})
}

// TestAccessTextsAreShortLived: no use takes an access text past what ExpiresIn said, and
// what is used without being refreshed ends with its session.
func TestAccessTextsAreShortLived(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour}}})
		c := p.first(lapse.Grant{})
		for at := time.Minute; at < time.Duration(c.ExpiresIn); at += time.Minute {
			p.use(c) // and a second passes
			p.clock.Set(lapsetest.Start.Add(at))
		}
		p.clock.Set(lapsetest.Start.Add(time.Duration(c.ExpiresIn)))
		p.wantAccess("as ExpiresIn said", c, lapse.ErrExpired)
		p.clock.Set(lapsetest.Start.Add(time.Hour))
		p.wantRefresh("an hour later", c, lapse.ErrExpired)
	})
}

// TestAnOverlapLocksNoClientOut: after a log-out by the new text the token is dead by the
// previous one too, takes no room, and Obtain gives another.
func TestAnOverlapLocksNoClientOut(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		f := newPairs(t, store, lapse.PairConfig{}).fixture
		f.Manager = f.manager(lapse.Config{Prefix: "key", Keys: []lapse.Key{lapse.NewKey(lapsetest.KeyOf(1))}, Policy: lapse.Policy{TTL: 48 * time.Hour, MaxTokens: 1}})
		a, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana"})
		lapsetest.WantIs(t, "Obtain", err, nil)
		b := rotate(t, f, a.Bearer, 24*time.Hour)
		again, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana"})
		if err != nil || again.Bearer != b.Bearer {
			t.Errorf("Obtain does not give the new text: %v", err)
		}
		_, err = f.ExpireBearer(f.ctx, b.Bearer)
		lapsetest.WantIs(t, "log-out", err, nil)
		f.wantPeek(t, "the previous text", a.Bearer, lapse.ErrRevoked)
		c, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana"})
		if err != nil || c.ID == a.ID {
			t.Errorf("log-in after a log-out: %+v, %v", c, err)
		}
	})
}

// TestHoldOutlivesSweeps: a connection that is open for longer than the retention, while
// its client refreshes or rotates and the program sweeps, is cut by the end of its token
// and by nothing before.
func TestHoldOutlivesSweeps(t *testing.T) {
	policy := lapse.Policy{TTL: 10 * time.Minute, Retention: time.Hour}
	for _, where := range holdStores {
		inBubble(t, where.name+", session", where.open, lapse.Config{}, func(h *holder) {
			p, err := lapse.NewPairs(h.store, lapse.PairConfig{Access: lapse.Config{Policy: policy}})
			lapsetest.WantIs(t, "NewPairs", err, nil)
			c, err := p.Issue(h.ctx, lapse.Grant{Subject: "ana"})
			lapsetest.WantIs(t, "Issue", err, nil)
			h.Manager = p.Access()
			held := h.hold(c.Access.Bearer)
			for n := range 40 {
				time.Sleep(5 * time.Minute)
				c, err = p.Refresh(h.ctx, c.Refresh.Bearer)
				lapsetest.WantIs(t, "Refresh", err, nil)
				_, err = h.Sweep(h.ctx)
				lapsetest.WantIs(t, "Sweep", err, nil)
				h.alive(fmt.Sprint("after ", n+1, " refreshes"), held)
			}
			lapsetest.WantIs(t, "log-out", lapsetest.LoggedOut(p.ExpireBearer(h.ctx, c.Refresh.Bearer)), nil)
			lapsetest.WantIs(t, "cause", h.cut("after the log-out", held, where.late), lapse.ErrRevoked)
		})
		inBubble(t, where.name+", rotated", where.open, lapse.Config{Policy: policy}, func(h *holder) {
			i := h.issue(lapse.Grant{TTL: 30 * time.Minute})
			held := h.hold(i.Bearer)
			for n := range 20 {
				next, err := h.Rotate(h.ctx, h.bearer, time.Minute)
				lapsetest.WantIs(t, "Rotate", err, nil)
				h.bearer = next.Bearer
				time.Sleep(10 * time.Minute)
				_, err = h.Authenticate(h.ctx, h.bearer)
				lapsetest.WantIs(t, "Authenticate", err, nil)
				_, err = h.Sweep(h.ctx)
				lapsetest.WantIs(t, "Sweep", err, nil)
				h.alive(fmt.Sprint("after ", n+1, " rotations"), held)
			}
			_, err := h.ExpireBearer(h.ctx, h.bearer)
			lapsetest.WantIs(t, "log-out", err, nil)
			lapsetest.WantIs(t, "cause", h.cut("after the log-out", held, where.late), lapse.ErrRevoked)
		})
	}
}

// TestHoldEndsWithTheAccessSecret: a connection opened by an access text ends when the
// session's current access secret runs out, and each refresh moves that end.
func TestHoldEndsWithTheAccessSecret(t *testing.T) {
	inBubble(t, "session", func(*testing.T) storage.Store { return memory.New() }, lapse.Config{}, func(h *holder) {
		p, err := lapse.NewPairs(h.store, lapse.PairConfig{})
		lapsetest.WantIs(t, "NewPairs", err, nil)
		c, err := p.Issue(h.ctx, lapse.Grant{Subject: "ana", TTL: time.Minute})
		lapsetest.WantIs(t, "Issue", err, nil)
		h.Manager = p.Access()
		held := h.hold(c.Access.Bearer)
		time.Sleep(50 * time.Second)
		c, err = p.Refresh(h.ctx, c.Refresh.Bearer)
		lapsetest.WantIs(t, "Refresh", err, nil)
		time.Sleep(time.Minute - time.Millisecond)
		h.alive("a millisecond before the new secret runs out", held)
		time.Sleep(time.Millisecond)
		cause := h.cut("as the new secret runs out", held, time.Second)
		lapsetest.WantIs(t, "cause", cause, lapse.ErrExpired)
		_, err = p.Refresh(h.ctx, c.Refresh.Bearer)
		lapsetest.WantIs(t, "the session", err, nil)
	})
}

// confirm fails the test if Confirm fails, or returns something else than what Peek sees then.
func (f *fixture) confirm(bearer string) lapse.Token {
	f.t.Helper()
	tok, err := f.Confirm(f.ctx, bearer)
	lapsetest.WantIs(f.t, "Confirm", err, nil)
	seen, err := f.Peek(f.ctx, bearer)
	lapsetest.WantIs(f.t, "Peek", err, nil)
	lapsetest.WantDiff(f.t, "confirmed and seen", seen, tok)
	return tok
}

// TestConfirmSetsNow: before, at and after the instant that is stored. A clock that goes back sets
// nothing back, and where nothing changes nothing is written.
func TestConfirmSetsNow(t *testing.T) {
	for _, row := range []struct {
		name  string
		first bool // Confirm was called ten minutes after the issue
		at    time.Duration
		want  time.Duration
		puts  int
	}{
		{"before the issue", false, -time.Millisecond, 0, 0},
		{"at the issue", false, 0, 0, 0},
		{"after the issue", false, time.Millisecond, time.Millisecond, 1},
		{"before the last Confirm", true, 10*time.Minute - time.Millisecond, 10 * time.Minute, 0},
		{"at the last Confirm", true, 10 * time.Minute, 10 * time.Minute, 0},
		{"after the last Confirm", true, 10*time.Minute + time.Millisecond, 10*time.Minute + time.Millisecond, 1},
		{"a part of a millisecond after the last Confirm", true, 10*time.Minute + 999*time.Microsecond, 10 * time.Minute, 0},
	} {
		f := newFixture(t, lapse.Config{ClockGuard: lapse.GuardOff})
		i := f.issue(lapse.Grant{Subject: "ana"})
		if row.first {
			f.clock.Set(lapsetest.StartMilli.Add(10 * time.Minute))
			f.confirm(i.Bearer)
		}
		before := f.record(i.ID)
		f.clock.Set(lapsetest.StartMilli.Add(row.at))
		tok := f.confirm(i.Bearer)
		want := lapsetest.StartMilli.Add(row.want)
		lapsetest.WantDiff(t, row.name+": AuthenticatedAt", want, tok.AuthenticatedAt)
		if row.puts > 0 {
			before.AuthenticatedAt = want
		}
		lapsetest.WantDiff(t, row.name+": the record", before, f.record(i.ID))
	}
}

// TestConfirmIsNoUse: it renews and spends nothing, records no use, and Observe is told once.
func TestConfirmIsNoUse(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	for _, g := range []lapse.Grant{{Subject: "ana"}, {Subject: "ana", MaxUses: 3}} {
		i := f.issue(g)
		f.clock.Add(10 * time.Minute)
		want := f.record(i.ID)
		f.events = nil
		f.confirm(i.Bearer)
		want.AuthenticatedAt = f.Now()
		lapsetest.WantDiff(t, "the record", want, f.record(i.ID))
		lapsetest.WantDiff(t, "events", []lapse.EventKind{lapse.EventConfirmed}, f.kinds())
	}
}

// confirmSurvivors change a token, which keeps its AuthenticatedAt.
var confirmSurvivors = map[string]func(f *fixture, i *lapse.Issued) error{
	"Authenticate": func(f *fixture, i *lapse.Issued) error { _, err := f.Authenticate(f.ctx, i.Bearer); return err },
	"Renew":        func(f *fixture, i *lapse.Issued) error { _, err := f.Renew(f.ctx, i.Bearer); return err },
	"Rotate": func(f *fixture, i *lapse.Issued) (err error) {
		*i, err = f.Rotate(f.ctx, i.Bearer, time.Minute)
		return err
	},
	"Rotate, 0": func(f *fixture, i *lapse.Issued) (err error) { *i, err = f.Rotate(f.ctx, i.Bearer, 0); return err },
	"RotateID": func(f *fixture, i *lapse.Issued) (err error) {
		*i, err = f.RotateID(f.ctx, i.ID, time.Minute)
		return err
	},
	"Obtain": func(f *fixture, i *lapse.Issued) (err error) { *i, err = f.Obtain(f.ctx, forAna); return err },
	"Obtain, which rotates": func(f *fixture, i *lapse.Issued) (err error) {
		g := forAna
		g.TTL, g.MinLeft = 4*time.Hour, 2*time.Hour
		*i, err = f.Obtain(f.ctx, g)
		return err
	},
	"Delegate": func(f *fixture, i *lapse.Issued) error {
		_, err := f.Delegate(f.ctx, i.Bearer, lapse.Grant{})
		return err
	},
}

// TestConfirmSurvives: what a user has confirmed stays, whatever is done to the token.
func TestConfirmSurvives(t *testing.T) {
	for name, do := range confirmSurvivors {
		f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
		i := obtain(t, f, f.Manager, forAna)
		f.clock.Add(time.Minute)
		want := f.confirm(i.Bearer).AuthenticatedAt
		id := i.ID
		f.clock.Add(time.Minute)
		lapsetest.WantIs(t, name, do(f, &i), nil)
		seen, err := f.Peek(f.ctx, i.Bearer)
		lapsetest.WantIs(t, name+", Peek", err, nil)
		if seen.ID != id || seen.AuthenticatedAt != want || !want.Equal(lapsetest.StartMilli.Add(time.Minute)) {
			t.Errorf("%s: %+v; want AuthenticatedAt %v", name, seen, want)
		}
	}
}

// TestConfirmOfASession: by each access text that works, and for both texts of each refresh after it.
func TestConfirmOfASession(t *testing.T) {
	for _, previous := range []bool{false, true} {
		p := memoryPairs(t, lapse.PairConfig{})
		first := p.first(lapse.Grant{Scope: "read"})
		c := p.next(first)
		by := c.Access.Bearer
		if previous {
			by = first.Access.Bearer
		}
		p.clock.Add(time.Second)
		want := p.Now()
		lapsetest.WantDiff(t, "before", lapsetest.StartMilli, c.Access.AuthenticatedAt)
		lapsetest.WantDiff(t, "AuthenticatedAt", want, p.confirm(by).AuthenticatedAt)
		p.clock.Add(time.Minute)
		c = p.next(c)
		lapsetest.WantDiff(t, "by the access text", want, c.Access.AuthenticatedAt)
		lapsetest.WantDiff(t, "by the refresh text", want, c.Refresh.AuthenticatedAt)
		_, err := p.Confirm(p.ctx, c.Refresh.Bearer)
		lapsetest.WantIs(t, "by a refresh text", err, lapse.ErrUnknown)
		_, err = p.Confirm(p.ctx, first.Access.Bearer)
		lapsetest.WantIs(t, "by a spent access text", err, lapse.ErrReplaced)
	}
}

// TestConfirmAndDelegates: a delegate has the AuthenticatedAt of its parent at Delegate, and neither
// changes with the other.
func TestConfirmAndDelegates(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.Add(time.Minute)
	unconfirmed := f.delegate(parent, lapse.Grant{})
	at := f.confirm(parent.Bearer).AuthenticatedAt
	f.clock.Add(time.Minute)
	child := f.delegate(parent, lapse.Grant{})
	grandchild := f.delegate(child, lapse.Grant{})
	f.clock.Add(time.Minute)
	later := f.confirm(parent.Bearer).AuthenticatedAt
	for name, row := range map[string]struct {
		i    lapse.Issued
		want time.Time
	}{
		"before Confirm": {unconfirmed, lapsetest.StartMilli}, "after Confirm": {child, at}, "of that one": {grandchild, at}, "the parent": {parent, later},
	} {
		lapsetest.WantDiff(t, name, row.want, f.seen(row.i).AuthenticatedAt)
	}
	f.clock.Add(time.Minute)
	own := f.confirm(child.Bearer).AuthenticatedAt
	lapsetest.WantDiff(t, "by the delegate", f.Now(), own)
	lapsetest.WantDiff(t, "the parent of it", later, f.seen(parent).AuthenticatedAt)
	lapsetest.WantDiff(t, "the delegate of it", at, f.seen(grandchild).AuthenticatedAt)
}

// TestConfirmSurvivesReopening of a file.
func TestConfirmSurvivesReopening(t *testing.T) {
	path, ctx, mock := filepath.Join(t.TempDir(), "tokens.db"), context.Background(), lapsetest.NewClock()
	open := func() (*lapse.Manager, storage.Store) {
		store, err := bolt.Open(path, nil)
		lapsetest.WantIs(t, "Open", err, nil)
		m, err := lapse.New(store, lapse.Config{Clock: mock})
		lapsetest.WantIs(t, "New", err, nil)
		return m, store
	}
	key := lapse.Thumbprint{1, 31: 2}
	ctx = lapse.WithProof(ctx, key)
	m, store := open()
	i, err := m.Issue(ctx, lapse.Grant{Subject: "ana", Thumbprint: key})
	lapsetest.WantIs(t, "Issue", err, nil)
	mock.Add(time.Minute)
	want, err := m.Confirm(ctx, i.Bearer)
	lapsetest.WantIs(t, "Confirm", err, nil)
	lapsetest.WantIs(t, "Close", store.Close(), nil)
	m, store = open()
	defer store.Close()
	got, err := m.Peek(ctx, i.Bearer)
	lapsetest.WantIs(t, "Peek", err, nil)
	lapsetest.WantDiff(t, "the token", want, got)
	if !got.AuthenticatedAt.Equal(lapsetest.StartMilli.Add(time.Minute)) || got.Thumbprint != key {
		t.Errorf("%+v", got)
	}
	_, err = m.Peek(context.Background(), i.Bearer)
	lapsetest.WantIs(t, "without the proof", err, lapse.ErrProof)
}

// TestConfirmAsksAdmit as Login does, with the present as AuthenticatedAt: an Admit that wants a recent
// one refuses every other verb, and Confirm never.
func TestConfirmAsksAdmit(t *testing.T) {
	type maxAge struct{}
	var f *fixture
	f = newFixture(t, lapse.Config{Admit: func(ctx context.Context, tok lapse.Token) error {
		if limit, ok := ctx.Value(maxAge{}).(time.Duration); ok && f.Now().Sub(tok.AuthenticatedAt) > limit {
			return fmt.Errorf("step up: %w", lapse.ErrRefused)
		}
		return nil
	}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	strict := context.WithValue(f.ctx, maxAge{}, 5*time.Minute)
	f.clock.Add(5 * time.Minute)
	_, err := f.Authenticate(strict, i.Bearer)
	lapsetest.WantIs(t, "at the limit", err, nil)
	f.clock.Add(time.Millisecond)
	for name, verb := range bearerVerbs(f.Manager) {
		if name != "ExpireBearer" && name != "Confirm" {
			lapsetest.WantIs(t, name+" after the limit", verb(strict, i.Bearer), lapse.ErrRefused)
		}
	}
	_, err = f.Confirm(strict, i.Bearer)
	lapsetest.WantIs(t, "Confirm", err, nil)
	_, err = f.Authenticate(strict, i.Bearer)
	lapsetest.WantIs(t, "confirmed", err, nil)
}

// TestConfirmNeverAsksAdmitAboutAnEarlierInstant than the token has: before, at and after that.
func TestConfirmNeverAsksAdmitAboutAnEarlierInstant(t *testing.T) {
	var asked []time.Time
	f := newFixture(t, lapse.Config{ClockGuard: lapse.GuardOff, Admit: func(_ context.Context, tok lapse.Token) error {
		asked = append(asked, tok.AuthenticatedAt)
		return nil
	}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	for _, confirmed := range []bool{false, true} {
		last := lapsetest.StartMilli
		if confirmed {
			f.clock.Set(lapsetest.StartMilli.Add(time.Minute))
			last = f.confirm(i.Bearer).AuthenticatedAt
		}
		for _, by := range []time.Duration{-time.Millisecond, 0, time.Millisecond} {
			asked = nil
			f.clock.Set(last.Add(by))
			_, err := f.Confirm(f.ctx, i.Bearer)
			lapsetest.WantIs(t, "Confirm", err, nil)
			lapsetest.WantDiff(t, fmt.Sprint("asked, confirmed before: ", confirmed, ", by ", by), []time.Time{last.Add(max(by, 0))}, asked)
		}
	}
}

// TestConfirmTogether: of callers that confirm, rotate and end one token at once, the end wins, and
// no Confirm sets the instant of another one back.
func TestConfirmTogether(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, mock := lapsetest.GateManager(t, store, lapse.Policy{})
		for range 10 {
			i, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
			lapsetest.WantIs(t, "Issue", err, nil)
			mock.Add(time.Minute)
			lapsetest.Arrivals(store, 6, storagetest.OpUpdate)
			errs := lapsetest.Together(6, func(n int) error {
				switch n {
				case 0:
					_, err := m.Expire(ctx, i.ID)
					return err
				case 1:
					_, err := m.RotateID(ctx, i.ID, time.Minute)
					return lapsetest.Ignore(err, lapse.ErrRevoked)
				default:
					_, err := m.Confirm(ctx, i.Bearer)
					return lapsetest.Ignore(err, lapse.ErrRevoked)
				}
			})
			store.Before(nil)
			lapsetest.WantIs(t, "together", errors.Join(errs...), nil)
			tok, err := m.Token(ctx, i.ID)
			lapsetest.WantIs(t, "Token", err, nil)
			if tok.EndReason != lapse.EndRevoked || tok.AuthenticatedAt.Before(tok.IssuedAt) || tok.AuthenticatedAt.After(tok.EndedAt) {
				t.Errorf("%+v", tok)
			}
		}
	})
}
