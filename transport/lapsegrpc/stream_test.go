package lapsegrpc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/transport/lapsegrpc"
)

// waits are the ways in which a handler can wait. None returns before its stream ends.
var waits = map[string]func(grpc.ServerStream) error{
	"RecvMsg": func(ss grpc.ServerStream) error { return ss.RecvMsg(new(text)) },
	"SendMsg": func(ss grpc.ServerStream) error { // the client reads nothing
		for m := wrapperspb.String(strings.Repeat("x", 1<<17)); ; {
			if err := ss.SendMsg(m); err != nil {
				return err
			}
		}
	},
	"Context": func(ss grpc.ServerStream) error { <-ss.Context().Done(); return nil },
	"both": func(ss grpc.ServerStream) error {
		received := make(chan error)
		go func() { received <- ss.RecvMsg(new(text)) }()
		<-ss.Context().Done()
		return errors.Join(ss.SendMsg(new(text)), <-received)
	},
}

// opened opens a stream, and returns once its handler runs.
func (s *scene) opened(bearer string) grpc.ClientStream {
	s.t.Helper()
	c := s.open(s.with("Bearer " + bearer))
	if _, err := c.Header(); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// last reads until c ends, and returns why.
func last(c grpc.ClientStream) error {
	for {
		if err := c.RecvMsg(new(text)); err != nil {
			return err
		}
	}
}

const refused = "rpc error: code = Unauthenticated desc = the token is no good"

// One logout cuts 200 streams, however their handlers wait, and none of another subject.
func TestLogout(t *testing.T) {
	const streams = 200
	s := newScene(t, lapse.Config{Policy: lapse.Policy{MaxTokens: streams}}, lapsegrpc.Options{})
	var returned atomic.Int32
	kinds := []string{"RecvMsg", "SendMsg", "Context", "both"}
	var begun atomic.Int32
	s.notes.talk = func(ss grpc.ServerStream) error {
		if tok, _ := lapsegrpc.TokenFrom(ss.Context()); tok.Subject == "bob" {
			return echo(ss)
		}
		defer returned.Add(1)
		if err := ss.SendHeader(nil); err != nil {
			return err
		}
		return waits[kinds[int(begun.Add(1))%len(kinds)]](ss)
	}
	bob := s.opened(s.issue(lapse.Grant{Subject: "bob"}).Bearer)
	var all []grpc.ClientStream
	for range streams {
		all = append(all, s.opened(s.issue(lapse.Grant{}).Bearer))
	}
	ended := must(s.tokens.ExpireSubject(t.Context(), "ana@example.com"))
	from := time.Now()
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() {
			if err := last(c); err == nil || err.Error() != refused {
				t.Errorf("stream %d: %v, want %s", i, err, refused)
			}
		})
	}
	wg.Wait()
	t.Logf("%d tokens ended, and %d streams told within %v", ended, streams, time.Since(from))
	if got := returned.Load(); got != streams {
		t.Errorf("%d handlers returned, want %d", got, streams)
	}
	if answer, err := say(bob, "still here"); err != nil || answer != "still here" {
		t.Errorf("the stream of bob: %q, %v", answer, err)
	}
}

// What ends a stream, and what the client gets, whatever the handler returns.
func TestEnds(t *testing.T) {
	for name, row := range map[string]struct {
		end  func(s *scene, tok lapse.Issued) error
		want codes.Code
	}{
		"ended":     {func(s *scene, tok lapse.Issued) error { _, err := s.tokens.Expire(t.Context(), tok.ID); return err }, codes.Unauthenticated},
		"suspended": {func(s *scene, tok lapse.Issued) error { _, err := s.tokens.Suspend(t.Context(), tok.ID); return err }, codes.Unauthenticated},
		"replaced": {func(s *scene, tok lapse.Issued) error {
			_, err := s.tokens.RotateID(t.Context(), tok.ID, 0)
			return err
		}, codes.Unauthenticated},
		"forgotten": {func(s *scene, tok lapse.Issued) error {
			_, err := s.tokens.ForgetSubject(t.Context(), tok.Subject)
			return err
		}, codes.Unauthenticated},
		"ran out": {func(s *scene, tok lapse.Issued) error { s.clock.Set(tok.ExpiresAt.Add(time.Second)); return nil }, codes.Unauthenticated},
		"closed":  {func(s *scene, _ lapse.Issued) error { return s.store.Close() }, codes.Unavailable},
	} {
		for what, returns := range map[string]error{"nil": nil, "an error": errors.New("own"), "a status": status.Error(codes.Aborted, "own")} {
			t.Run(name+" and "+what, func(t *testing.T) {
				s := newScene(t, lapse.Config{}, lapsegrpc.Options{})
				s.notes.talk = func(ss grpc.ServerStream) error {
					wantCode(t, "RecvMsg", echo(ss), row.want)
					wantCode(t, "RecvMsg once more", ss.RecvMsg(new(text)), row.want)
					wantCode(t, "SendMsg", ss.SendMsg(new(text)), row.want)
					return returns
				}
				tok := s.issue(lapse.Grant{})
				c := s.opened(tok.Bearer)
				if answer, err := say(c, "hello"); answer != "hello" {
					t.Fatal(answer, err)
				}
				if err := row.end(s, tok); err != nil {
					t.Fatal(err)
				}
				wantCode(t, "the client", c.RecvMsg(new(text)), row.want, tok.ID.String(), "own") // no message comes before
			})
		}
	}
}

// unwatched is a store that tells of no change: a dead token cuts its streams only after Config.PollHolds.
type unwatched struct{ storage.Store }

// A message that is refused ends the stream like its cut, which may come later, whatever the handler returns.
func TestRefusedMessage(t *testing.T) {
	for what, returns := range map[string]error{"nil": nil, "a status": status.Error(codes.Aborted, "own")} {
		tokens := must(lapse.New(unwatched{memory.New()}, lapse.Config{Clock: clock.NewMock()}))
		tok := must(tokens.Issue(t.Context(), lapse.Grant{Subject: "ana@example.com"}))
		guard := must(lapsegrpc.New(tokens, lapsegrpc.Options{Default: lapsegrpc.Rule{Messages: true}}))
		ss := &lasting{ctx: metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+tok.Bearer))}
		err := guard.Stream(nil, ss, &grpc.StreamServerInfo{FullMethod: talk}, func(_ any, held grpc.ServerStream) error {
			wantCode(t, "before", held.RecvMsg(nil), codes.OK)
			must(tokens.Expire(t.Context(), tok.ID))
			wantCode(t, "after", held.RecvMsg(nil), codes.Unauthenticated)
			return returns
		})
		wantCode(t, "the handler returns "+what, err, codes.Unauthenticated, "own")
	}
}

// A stream whose token lives ends as its handler says, and is held no longer.
func TestOwnEnds(t *testing.T) {
	for _, want := range []codes.Code{codes.OK, codes.Aborted, codes.Unauthenticated} {
		s := newScene(t, lapse.Config{}, lapsegrpc.Options{})
		s.notes.talk = func(grpc.ServerStream) error { return status.Error(want, "own") }
		err := last(s.open(s.with("Bearer " + s.issue(lapse.Grant{}).Bearer)))
		if want == codes.OK && err.Error() != "EOF" || want != codes.OK && (status.Code(err) != want || !strings.Contains(err.Error(), "own")) {
			t.Errorf("%v, want %v and the text of the handler", err, want)
		}
		if n := s.tokens.Stats().Get(lapse.StatKey{Verb: lapse.VerbRelease, Outcome: "ok"}); n != 1 {
			t.Errorf("%d connections were released, want 1", n)
		}
	}
}

// lasting is a stream whose context goes on when its handler has returned. It counts its messages.
type lasting struct {
	grpc.ServerStream
	ctx  context.Context
	sent atomic.Int32
}

func (l *lasting) Context() context.Context { return l.ctx }
func (l *lasting) SendMsg(any) error        { l.sent.Add(1); return nil }
func (l *lasting) RecvMsg(any) error        { return nil }

// After the end no message goes to gRPC.
func TestSilence(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapsegrpc.Options{})
	guard := must(lapsegrpc.New(s.tokens, lapsegrpc.Options{}))
	tok := s.issue(lapse.Grant{})
	ss := &lasting{ctx: metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+tok.Bearer))}
	_ = guard.Stream(nil, ss, &grpc.StreamServerInfo{FullMethod: talk}, func(_ any, held grpc.ServerStream) error {
		wantCode(t, "before", held.SendMsg(nil), codes.OK)
		must(s.tokens.Expire(t.Context(), tok.ID))
		<-held.Context().Done()
		for range 100 {
			wantCode(t, "after", held.SendMsg(nil), codes.Unauthenticated)
		}
		return nil
	})
	if n := ss.sent.Load(); n != 1 {
		t.Errorf("%d messages were sent, want 1", n)
	}
}

// What the interceptor holds, it releases when it returns, and not only with the stream.
func TestReleases(t *testing.T) {
	for scope, want := range map[string]codes.Code{"talk": codes.OK, "": codes.PermissionDenied} {
		s := newScene(t, lapse.Config{}, lapsegrpc.Options{})
		guard := must(lapsegrpc.New(s.tokens, lapsegrpc.Options{Default: lapsegrpc.Rule{Scope: "talk"}}))
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+s.issue(lapse.Grant{Scope: scope}).Bearer))
		err := guard.Stream(nil, &lasting{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: talk}, func(any, grpc.ServerStream) error { return nil })
		wantCode(t, "scope "+scope, err, want)
		if n := s.tokens.Stats().Get(lapse.StatKey{Verb: lapse.VerbRelease, Outcome: "ok"}); n != 1 {
			t.Errorf("scope %q: %d connections were released, want 1", scope, n)
		}
	}
}

// A stream that needs no token has none, and no end.
func TestNoToken(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapsegrpc.Options{Default: lapsegrpc.Rule{NoToken: true}})
	s.notes.talk = func(ss grpc.ServerStream) error {
		if _, ok := lapsegrpc.TokenFrom(ss.Context()); ok {
			return errors.New("there is a token")
		}
		return echo(ss)
	}
	for _, values := range [][]string{nil, {"Bearer x"}, {"Bearer " + s.issue(lapse.Grant{}).Bearer}} {
		if answer, err := say(s.open(s.with(values...)), "hello"); answer != "hello" {
			t.Errorf("%q: %v", values, err)
		}
	}
}

// A client that leaves ends its handler as without this package, and releases the hold.
func TestClientLeaves(t *testing.T) {
	for name, wait := range waits {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, lapse.Config{}, lapsegrpc.Options{})
			got := make(chan error, 1)
			s.notes.talk = func(ss grpc.ServerStream) error {
				err := errors.Join(ss.SendHeader(nil), wait(ss))
				got <- ss.RecvMsg(new(text))
				return err
			}
			ctx, leave := context.WithCancel(s.with("Bearer " + s.issue(lapse.Grant{}).Bearer))
			c := s.open(ctx)
			if _, err := c.Header(); err != nil {
				t.Fatal(err)
			}
			leave()
			wantCode(t, "the handler", <-got, codes.Canceled)
		})
	}
}

// With Messages, what an Edit takes from the scope, the next message lacks. Without, the stream goes on.
func TestLostScope(t *testing.T) {
	for messages, want := range map[bool]codes.Code{true: codes.PermissionDenied, false: codes.OK} {
		s := newScene(t, lapse.Config{}, lapsegrpc.Options{Default: lapsegrpc.Rule{Scope: "talk", Messages: messages}})
		tok := s.issue(lapse.Grant{Scope: "talk"})
		c := s.opened(tok.Bearer)
		if _, err := say(c, "before"); err != nil {
			t.Fatal(err)
		}
		must(s.tokens.Edit(t.Context(), tok.ID, lapse.Changes{Scope: new(string)}))
		_, err := say(c, "after")
		wantCode(t, fmt.Sprint("messages are uses: ", messages), err, want)
	}
}

// A budget is spent by opening streams, and not by their messages.
func TestBudget(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapsegrpc.Options{Default: lapsegrpc.Rule{Messages: true}})
	tok := s.issue(lapse.Grant{MaxUses: 2})
	c := s.opened(tok.Bearer)
	for range 5 {
		if _, err := say(c, "hello"); err != nil {
			t.Fatal(err)
		}
	}
	if left := must(s.tokens.Token(t.Context(), tok.ID)).UsesLeft; left != 1 {
		t.Errorf("%d uses are left, want 1", left)
	}
}

// What a codec panics with, the handler's goroutine panics with, where an interceptor can recover.
func TestPanic(t *testing.T) {
	recovering := grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
		defer func() { err = status.Error(codes.DataLoss, fmt.Sprint(recover())) }()
		return handler(srv, panicking{ss})
	})
	s := newScene(t, lapse.Config{}, lapsegrpc.Options{}, recovering)
	_, err := say(s.open(s.with("Bearer "+s.issue(lapse.Grant{}).Bearer)), "hello")
	if status.Code(err) != codes.DataLoss || !strings.Contains(err.Error(), "out of ink") {
		t.Errorf("%v, want the recovered panic", err)
	}
}

type panicking struct{ grpc.ServerStream }

func (panicking) RecvMsg(any) error { panic("out of ink") }

// BenchmarkMessage is a message and its echo, by the rule of the stream.
func BenchmarkMessage(b *testing.B) {
	for name, rule := range map[string]lapsegrpc.Rule{"no token": {NoToken: true}, "held": {}, "each a use": {Messages: true}} {
		b.Run(name, func(b *testing.B) {
			s := newScene(b, lapse.Config{}, lapsegrpc.Options{Default: rule})
			c := s.opened(s.issue(lapse.Grant{}).Bearer)
			b.ReportAllocs()
			for b.Loop() {
				must(say(c, "hello"))
			}
		})
	}
}
