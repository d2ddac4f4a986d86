package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage/memory"
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
