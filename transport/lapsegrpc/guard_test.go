package lapsegrpc_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/transport/lapsegrpc"
)

// wantCode checks the code of err, and that its text has nothing of a token.
func wantCode(t *testing.T, what string, err error, want codes.Code, secrets ...string) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
	for _, secret := range append(secrets, "ana@", "lapse_", "2026") {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the answer tells %q: %v", what, secret, err)
		}
	}
}

// The bearer as it comes: one value, of one scheme, of a length that a server reads.
func TestMetadata(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapsegrpc.Options{})
	bearer := s.issue(lapse.Grant{}).Bearer
	for _, row := range []struct {
		name   string
		values []string
		want   codes.Code
	}{
		{"one value", []string{"Bearer " + bearer}, codes.OK},
		{"lower case", []string{"bearer " + bearer}, codes.OK},
		{"upper case", []string{"BEARER " + bearer}, codes.OK},
		{"several spaces", []string{"Bearer   " + bearer}, codes.OK},
		{"none", nil, codes.Unauthenticated},
		{"empty", []string{""}, codes.Unauthenticated},
		{"the scheme alone", []string{"Bearer"}, codes.Unauthenticated},
		{"no text", []string{"Bearer "}, codes.Unauthenticated},
		{"no scheme", []string{bearer}, codes.Unauthenticated},
		{"another scheme", []string{"Basic " + bearer}, codes.Unauthenticated},
		{"a longer scheme", []string{"Bearerx " + bearer}, codes.Unauthenticated},
		{"two values", []string{"Bearer " + bearer, "Bearer " + bearer}, codes.Unauthenticated},
		{"a good one and another scheme", []string{"Bearer " + bearer, "Basic x"}, codes.Unauthenticated},
		{"two in one value", []string{"Bearer " + bearer + ", Bearer " + bearer}, codes.Unauthenticated},
		{"more behind", []string{"Bearer " + bearer + " x"}, codes.Unauthenticated},
		{"another case of letters", []string{"Bearer " + strings.ToUpper(bearer)}, codes.Unauthenticated},
		{"one character less", []string{"Bearer " + bearer[:len(bearer)-1]}, codes.Unauthenticated},
		{"a megabyte", []string{"Bearer " + strings.Repeat("a", 1<<20)}, codes.Unauthenticated},
		{"a good one in a megabyte", []string{"Bearer " + strings.Repeat(" ", 1<<20) + bearer}, codes.Unauthenticated},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := s.call(s.with(row.values...), get)
			wantCode(t, "unary", err, row.want, bearer)
			_, err = say(s.open(s.with(row.values...)), "hello")
			wantCode(t, "stream", err, row.want, bearer)
		})
	}
}

// A huge value does not reach Config.Foreign.
func TestLongestText(t *testing.T) {
	longest := 0
	foreign := func(text string) (string, []byte, bool) {
		longest = max(longest, len(text))
		return "", nil, false
	}
	s := newScene(t, lapse.Config{Foreign: foreign}, lapsegrpc.Options{})
	const most = 8<<10 - len("Bearer ")
	for _, n := range []int{most - 1, most, most + 1} {
		_, err := s.call(s.with("Bearer "+strings.Repeat("x", n)), get)
		wantCode(t, fmt.Sprint(n), err, codes.Unauthenticated)
	}
	if longest != most {
		t.Errorf("Foreign was asked about %d bytes, want %d at most", longest, most)
	}
}

// Each thing that can happen to a token has its code, and no answer tells more.
func TestAnswers(t *testing.T) {
	admit := func(_ context.Context, tok lapse.Token) error {
		switch tok.Name {
		case "refused":
			return fmt.Errorf("%w: ana@example.com is 2026 too late", lapse.ErrRefused)
		case "unsure":
			return errors.New("the database at ana@example.com is away")
		}
		return nil
	}
	o := lapsegrpc.Options{Methods: map[string]lapsegrpc.Rule{
		get: {Scope: "notes:read  notes:list"}, talk: {Scope: "notes:read"}, public: {NoToken: true},
	}}
	for _, row := range []struct {
		name  string
		grant lapse.Grant
		then  func(s *scene, tok lapse.Issued) error
		want  codes.Code
	}{
		{"good", lapse.Grant{}, nil, codes.OK},
		{"ended", lapse.Grant{}, func(s *scene, tok lapse.Issued) error { _, err := s.tokens.Expire(t.Context(), tok.ID); return err }, codes.Unauthenticated},
		{"suspended", lapse.Grant{}, func(s *scene, tok lapse.Issued) error { _, err := s.tokens.Suspend(t.Context(), tok.ID); return err }, codes.Unauthenticated},
		{"replaced", lapse.Grant{}, func(s *scene, tok lapse.Issued) error {
			_, err := s.tokens.RotateID(t.Context(), tok.ID, 0)
			return err
		}, codes.Unauthenticated},
		{"ran out", lapse.Grant{}, func(s *scene, tok lapse.Issued) error { s.clock.Set(tok.ExpiresAt); return nil }, codes.Unauthenticated},
		{"about to run out", lapse.Grant{}, func(s *scene, tok lapse.Issued) error { s.clock.Set(tok.ExpiresAt.Add(-time.Millisecond)); return nil }, codes.OK},
		{"bound", lapse.Grant{Thumbprint: sha256.Sum256([]byte("key"))}, nil, codes.Unauthenticated},
		{"refused", lapse.Grant{Name: "refused"}, nil, codes.Unauthenticated},
		{"unsure", lapse.Grant{Name: "unsure"}, nil, codes.Unavailable},
		{"no scope", lapse.Grant{Scope: "notes:write"}, nil, codes.PermissionDenied},
		{"closed", lapse.Grant{}, func(s *scene, _ lapse.Issued) error { return s.store.Close() }, codes.Unavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newScene(t, lapse.Config{Admit: admit}, o)
			if row.grant.Scope == "" {
				row.grant.Scope = "notes:list notes:read"
			}
			tok := s.issue(row.grant)
			if row.then != nil {
				if err := row.then(s, tok); err != nil {
					t.Fatal(err)
				}
			}
			ctx := s.with("Bearer " + tok.Bearer)
			_, err := s.call(ctx, get)
			wantCode(t, "unary", err, row.want, tok.ID.String(), tok.Bearer)
			_, err = say(s.open(ctx), "hello")
			wantCode(t, "stream", err, row.want, tok.ID.String(), tok.Bearer)
			subject, err := s.call(ctx, public)
			if wantCode(t, "without a token", err, codes.OK); subject != "no token" {
				t.Errorf("a method without a token was given that of %q", subject)
			}
		})
	}
}

// The handler sees the token, and only where one is asked for.
func TestTokenFrom(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapsegrpc.Options{})
	s.notes.talk = func(ss grpc.ServerStream) error {
		subject, err := who(ss.Context())
		hold, ok := lapsegrpc.HoldFrom(ss.Context())
		if !ok || hold.Token().Subject != subject {
			return errors.New("there is no Hold")
		}
		return status.Error(codes.Aborted, errors.Join(errors.New(subject), err).Error())
	}
	ctx := s.with("Bearer " + s.issue(lapse.Grant{Subject: "bob"}).Bearer)
	if subject, err := s.call(ctx, get); err != nil || subject != "bob" {
		t.Errorf("unary: %q, %v; want bob", subject, err)
	}
	if _, err := say(s.open(ctx), ""); status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "bob") {
		t.Errorf("stream: %v; want bob", err)
	}
	if _, ok := lapsegrpc.TokenFrom(t.Context()); ok {
		t.Error("a context of no call has a token")
	}
	if _, ok := lapsegrpc.HoldFrom(t.Context()); ok {
		t.Error("a context of no call has a Hold")
	}
}

// What the doc of the package says renews a token, and what does not.
func TestUses(t *testing.T) {
	const ttl = 10 * time.Minute
	for _, row := range []struct {
		name string
		rule lapsegrpc.Rule
		call func(s *scene, ctx context.Context) error
		want int // minutes after which the token runs out, if the call was at 2 and the message at 5
	}{
		{"unary", lapsegrpc.Rule{}, func(s *scene, ctx context.Context) error { _, err := s.call(ctx, get); return err }, 12},
		{"unary that peeks", lapsegrpc.Rule{Peek: true}, func(s *scene, ctx context.Context) error { _, err := s.call(ctx, get); return err }, 10},
		{"stream", lapsegrpc.Rule{}, talkLater, 12},
		{"stream by Peek", lapsegrpc.Rule{Peek: true}, talkLater, 12},
		{"stream with messages", lapsegrpc.Rule{Messages: true}, talkLater, 15},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newScene(t, lapse.Config{Policy: lapse.Policy{TTL: ttl, RenewEvery: time.Minute}}, lapsegrpc.Options{Default: row.rule})
			tok := s.issue(lapse.Grant{})
			s.clock.Add(2 * time.Minute)
			if err := row.call(s, s.with("Bearer "+tok.Bearer)); err != nil {
				t.Fatal(err)
			}
			now := must(s.tokens.Token(t.Context(), tok.ID))
			if got := now.ExpiresAt.Sub(tok.IssuedAt); got != time.Duration(row.want)*time.Minute {
				t.Errorf("the token runs out after %v, want %d min", got, row.want)
			}
		})
	}
}

// talkLater opens a stream, and says something three minutes later.
func talkLater(s *scene, ctx context.Context) error {
	c := s.open(ctx)
	if _, err := c.Header(); err != nil {
		return err
	}
	s.clock.Add(3 * time.Minute)
	_, err := say(c, "hello")
	return err
}

// A rule that protects nothing is found.
func TestRules(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapsegrpc.Options{})
	for method, good := range map[string]bool{
		get: true, "/test.Notes/Missing": true, "": false, "/": false, "test.Notes/Get": false, "/test.Notes": false,
		"/test.Notes/": false, "//Get": false, "/test.Notes/Get/": false,
	} {
		g, err := lapsegrpc.New(s.tokens, lapsegrpc.Options{Methods: map[string]lapsegrpc.Rule{method: {}}})
		if good != (err == nil) || !good && (!errors.Is(err, lapse.ErrInvalidConfig) || g != nil) {
			t.Errorf("%q: %v, %v; want an error: %v", method, g, err, !good)
		}
	}
	if _, err := lapsegrpc.New(nil, lapsegrpc.Options{}); !errors.Is(err, lapse.ErrInvalidConfig) {
		t.Errorf("without a Manager: %v", err)
	}
	for _, open := range []lapsegrpc.Rule{{NoToken: true, Scope: "notes:read"}, {NoToken: true, Peek: true}, {NoToken: true, Messages: true}} {
		for _, o := range []lapsegrpc.Options{{Default: open}, {Methods: map[string]lapsegrpc.Rule{get: open}}} {
			if g, err := lapsegrpc.New(s.tokens, o); !errors.Is(err, lapse.ErrInvalidConfig) || g != nil {
				t.Errorf("%+v: %v, %v; want ErrInvalidConfig", o, g, err)
			}
		}
	}
	server := grpc.NewServer()
	server.RegisterService(&service, &notes{})
	for method, good := range map[string]bool{get: true, talk: true, "/test.Notes/get": false, "/Notes/Get": false} {
		g := must(lapsegrpc.New(s.tokens, lapsegrpc.Options{Methods: map[string]lapsegrpc.Rule{method: {}}}))
		if err := g.Check(server.GetServiceInfo()); good != (err == nil) || !good && !errors.Is(err, lapse.ErrInvalidConfig) {
			t.Errorf("Check of %q: %v; want an error: %v", method, err, !good)
		}
	}
}
