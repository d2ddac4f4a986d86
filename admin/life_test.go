package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// stuck has Observe wait within Issue until its context ends. The channel is closed when Issue is there.
func (p *program) stuck() (entered chan struct{}) {
	entered = make(chan struct{})
	p.observe = func(ctx context.Context, e lapse.Event) {
		if e.Kind == lapse.EventIssued {
			close(entered)
			<-ctx.Done()
		}
	}
	return entered
}

// TestKilledServer ends Serve while a verb runs, and serves again at the same path.
func TestKilledServer(t *testing.T) {
	p := newProgram(t)
	entered, release := p.stuck(), make(chan struct{})
	waits := p.observe
	p.observe = func(ctx context.Context, e lapse.Event) {
		waits(ctx, e)
		<-release
	}
	p.serve()
	ctx, c := t.Context(), p.dial()
	failed := make(chan error)
	go func() {
		_, err := c.Issue(ctx, lapse.Grant{Subject: "ana"})
		failed <- err
	}()
	<-entered
	stopped := make(chan struct{})
	go func() {
		p.stop()
		close(stopped)
	}()
	if err := <-failed; !errors.Is(err, lapse.ErrOutcomeUnknown) || lapse.Code(err) != "outcome_unknown" {
		t.Error("a write without an answer:", err)
	}
	close(release)
	<-stopped
	if _, err := c.Count(ctx, lapse.Query{}); !errors.Is(err, lapse.ErrUnavailable) {
		t.Error("a read without a server:", err)
	}
	if _, err := c.Issue(ctx, lapse.Grant{Subject: "ana"}); !errors.Is(err, lapse.ErrUnavailable) || errors.Is(err, lapse.ErrOutcomeUnknown) {
		t.Error("a write without a server:", err)
	}
	if _, err := Dial(ctx, p.path); !errors.Is(err, lapse.ErrUnavailable) {
		t.Error("Dial without a server:", err)
	}
	p.observe = nil
	p.serve()
	if n, err := c.Count(ctx, lapse.Query{}); n != 1 || err != nil {
		t.Errorf("after a restart: %d, %v", n, err)
	}
	p.stop()
	p.serve() // the Client has an idle connection to the server before
	if _, err := c.Issue(ctx, lapse.Grant{Subject: "ana"}); err != nil {
		t.Error("over an idle connection that the server has closed:", err)
	}
}

// TestGivenUp ends the context of a call. The call returns, and the verb of the server ends, too.
func TestGivenUp(t *testing.T) {
	p := newProgram(t)
	entered := p.stuck()
	ended := make(chan error, 1)
	stuck := p.observe
	p.observe = func(ctx context.Context, e lapse.Event) {
		stuck(ctx, e)
		ended <- ctx.Err()
	}
	p.serve()
	c := p.dial()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-entered
		cancel()
	}()
	if _, err := c.Issue(ctx, lapse.Grant{Subject: "ana"}); !errors.Is(err, context.Canceled) || !errors.Is(err, lapse.ErrOutcomeUnknown) {
		t.Error("a write that was given up:", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error("the verb of the server ended with", err)
	}
	if _, err := c.Count(ctx, lapse.Query{}); !errors.Is(err, context.Canceled) || errors.Is(err, lapse.ErrOutcomeUnknown) {
		t.Error("a context that has ended:", err)
	}
	if _, err := c.Count(t.Context(), lapse.Query{}); err != nil {
		t.Error("another call:", err)
	}
}

// TestEndedContext calls verbs with a context that has ended. The server gets none of them.
func TestEndedContext(t *testing.T) {
	p := newProgram(t).serve()
	c := p.dial()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		i := must(p.users.Issue(t.Context(), lapse.Grant{Subject: "ana"}))
		must(c.Now(t.Context())) // a connection is idle
		if _, err := c.Expire(ended, i.ID); !errors.Is(err, context.Canceled) || !errors.Is(err, lapse.ErrUnavailable) || errors.Is(err, lapse.ErrOutcomeUnknown) {
			t.Fatal(err)
		}
	}
	p.stop()
	if n := must(p.users.Count(t.Context(), lapse.Query{Subject: "ana", Live: true})); n != 100 {
		t.Errorf("%d tokens live, want 100", n)
	}
}

// TestIdle has a Client make many calls at once. It keeps few connections after that, so that there is room for others.
func TestIdle(t *testing.T) {
	p := newProgram(t).serve()
	c := p.dial()
	var calls []*link
	for range maxConnections {
		calls = append(calls, must(c.take(t.Context())))
	}
	for _, l := range calls {
		c.give(l)
	}
	if len(c.all) != maxIdle || len(c.idle) != maxIdle {
		t.Errorf("%d connections, of which %d are idle, want %d", len(c.all), len(c.idle), maxIdle)
	}
	if _, err := c.Now(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestDeadline has a verb run for longer than the patience of the server.
func TestDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, p *program) {
		var given time.Duration
		p.admit = func(ctx context.Context, _ lapse.Token) error {
			begin := time.Now()
			<-ctx.Done()
			given = time.Since(begin)
			return ctx.Err()
		}
		c := p.dialPipe(Caller{Full: true})
		ana := must(p.users.Issue(t.Context(), lapse.Grant{Subject: "ana"}))
		if _, err := c.Peek(t.Context(), ana.Bearer); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, lapse.ErrUnauthenticated) || given != patience {
			t.Errorf("a verb that does not end: %v after %v", err, given)
		}
		p.admit = func(context.Context, lapse.Token) error { return fmt.Errorf("vpn only: %w", lapse.ErrRefused) }
		if _, err := c.Peek(t.Context(), ana.Bearer); !errors.Is(err, lapse.ErrRefused) || !strings.Contains(err.Error(), "vpn only") {
			t.Error("the next call:", err)
		}
	})
}

// endless is a store whose backup has no end.
type endless struct{ Store }

func (endless) Backup(_ context.Context, w io.Writer) error {
	for {
		if _, err := w.Write(make([]byte, 4096)); err != nil {
			return err
		}
	}
}

// TestSlowReader asks for a backup and reads nothing: it is cut, and a Client with a slow body is not.
func TestSlowReader(t *testing.T) {
	inBubble(t, func(t *testing.T, p *program) {
		p.server.Store = endless{}
		ctx := t.Context()
		const tokens = 2*pageLimit + 10
		for i := range tokens {
			must(p.users.Issue(ctx, lapse.Grant{Subject: fmt.Sprint("u", i%40)}))
		}
		conn, left := p.pipe(Caller{Full: true})
		newLine(t, conn, true).say(`{"jsonrpc":"2.0","id":1,"method":"backup"}`)
		wantCut(t, left)
		c := p.dialPipe(Caller{Full: true})
		if n, err := c.Count(ctx, lapse.Query{}); n != tokens || err != nil {
			t.Error("another client:", n, err)
		}
		seen := 0
		for _, err := range c.List(ctx, lapse.Query{}) {
			if seen++; err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * patience)
		}
		if seen != tokens {
			t.Errorf("a slow body saw %d tokens, want %d", seen, tokens)
		}
	})
}

// TestClosedStore closes the store under the server.
func TestClosedStore(t *testing.T) {
	p := newProgram(t).serve()
	ctx, c := t.Context(), p.dial()
	next := make(chan error)
	go func() {
		for _, err := range c.Watch(ctx, lapse.Query{}) {
			next <- err
		}
		close(next)
	}()
	if err := <-next; err != nil {
		t.Fatal(err)
	}
	p.store.Close()
	if err := <-next; !errors.Is(err, lapse.ErrClosed) {
		t.Error("Watch:", err)
	}
	if _, more := <-next; more {
		t.Error("Watch goes on")
	}
	_, listed := collect(c.List(ctx, lapse.Query{}))
	_, count := c.Count(ctx, lapse.Query{})
	_, issue := c.Issue(ctx, lapse.Grant{Subject: "ana"})
	_, sweep := c.Sweep(ctx)
	for what, err := range map[string]error{
		"List": errors.Join(listed...), "Count": count, "Issue": issue, "Sweep": sweep, "Backup": c.Backup(ctx, failing{}), "Compact": c.Compact(ctx),
	} {
		if !errors.Is(err, lapse.ErrClosed) {
			t.Error(what, err)
		}
	}
	if _, err := c.StoreStats(ctx); err != nil {
		t.Error("StoreStats:", err)
	}
}

// TestPanic has a hook of the program panic.
func TestPanic(t *testing.T) {
	p := newProgram(t)
	p.observe = func(_ context.Context, e lapse.Event) {
		if e.Kind == lapse.EventIssued {
			panic("secret")
		}
	}
	p.serve()
	l := p.raw(true)
	l.say(`{"jsonrpc":"2.0","id":1,"method":"issue","params":{"grant":{"subject":"ana"}}}`)
	if a := l.hear(); a.Error == nil || lapse.Code(a.Error.err()) != "internal" || strings.Contains(a.Error.Message, "secret") {
		t.Errorf("answered by %+v", a.Error)
	}
	l.say(`{"jsonrpc":"2.0","id":2,"method":"count"}`)
	if a := l.hear(); string(a.Result) != `{"n":1}` {
		t.Errorf("answered by %s", a.Result)
	}
}

// TestServeRefuses gives Serve what it cannot serve.
func TestServeRefuses(t *testing.T) {
	p := newProgram(t)
	twin := must(lapse.New(p.store, lapse.Config{}))
	for what, s := range map[string]*Server{
		"no Manager":  {},
		"a nil":       {Managers: []*lapse.Manager{nil}},
		"nil Pairs":   {Managers: []*lapse.Manager{twin}, Pairs: []*lapse.Pairs{nil}},
		"two of name": {Managers: []*lapse.Manager{p.users, twin}},
	} {
		l := must(net.Listen("unix", p.path))
		if err := s.Serve(t.Context(), l); !errors.Is(err, lapse.ErrInvalidConfig) {
			t.Error(what, err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(what, "the listener is open")
		}
	}
	l := must(net.Listen("unix", p.path))
	l.Close()
	if err := p.server.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Error("a listener that was closed:", err)
	}
	why := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := p.server.Serve(ctx, must(net.Listen("unix", p.path))); err != why {
		t.Error("a context that has ended:", err)
	}
	m := must(lapse.New(memory.New(), lapse.Config{}))
	p.server = Server{Managers: []*lapse.Manager{m}}
	c := p.serve().dial()
	_, stats := c.StoreStats(t.Context())
	for what, err := range map[string]error{"Backup": c.Backup(t.Context(), failing{}), "Compact": c.Compact(t.Context()), "StoreStats": stats} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Error(what, "without a Store:", err)
		}
	}
	if _, errs := collect(c.Sessions(t.Context(), "ana")); len(errs) != 1 || !errors.Is(errs[0], errors.ErrUnsupported) {
		t.Error("Sessions without Pairs:", errs)
	}
}

// TestClose closes a Client while calls run, and calls it after that.
func TestClose(t *testing.T) {
	p := newProgram(t)
	entered := p.stuck()
	p.serve()
	ctx, c := t.Context(), p.dial()
	failed := make(chan error)
	go func() {
		_, err := c.Issue(ctx, lapse.Grant{Subject: "ana"})
		failed <- err
	}()
	<-entered
	c.Under("key").Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) || !errors.Is(err, lapse.ErrOutcomeUnknown) {
		t.Error("a call that ran:", err)
	}
	if _, err := c.Count(ctx, lapse.Query{}); !errors.Is(err, net.ErrClosed) {
		t.Error("a call after Close:", err)
	}
	if err := c.Close(); err != nil {
		t.Error("a second Close:", err)
	}
}

// TestConcurrent calls one Client from many goroutines, some of which give up.
func TestConcurrent(t *testing.T) {
	p := newProgram(t).serve()
	c := p.dial()
	var calling sync.WaitGroup
	for i := range 8 {
		calling.Go(func() {
			for range 20 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%2 == 0 {
					go cancel()
				}
				i, err := c.Under("web").Issue(ctx, lapse.Grant{Subject: "ana"})
				cancel()
				if errors.Is(err, lapse.ErrUnavailable) && !errors.Is(err, context.Canceled) {
					continue // of bolt: a write beside one that was given up
				}
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					continue
				}
				if tok, err := c.Peek(t.Context(), i.Bearer); err != nil || tok.ID != i.ID {
					t.Error("the answer of another call:", tok, err)
				}
			}
		})
	}
	calling.Wait()
}

// TestKilledProcess kills the process of a server while a Client waits for an answer.
func TestKilledProcess(t *testing.T) {
	if path := os.Getenv("LAPSE_ADMIN_SOCKET"); path != "" {
		p := newProgram(t)
		p.path = path
		p.admit = func(context.Context, lapse.Token) error { select {} }
		p.serve()
		select {}
	}
	p := newProgram(t)
	child := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$", "-test.timeout=60s")
	child.Env = append(os.Environ(), "LAPSE_ADMIN_SOCKET="+p.path)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	ctx := t.Context()
	c, err := Dial(ctx, p.path)
	for ; err != nil; c, err = Dial(ctx, p.path) {
		time.Sleep(5 * time.Millisecond)
	}
	defer c.Close()
	issued := must(c.Issue(ctx, lapse.Grant{Subject: "ana"}))
	var last error
	for _, err := range c.Watch(ctx, lapse.Query{}) {
		if last = err; err == nil {
			failed := make(chan error)
			go func() {
				_, err := c.Peek(ctx, issued.Bearer)
				failed <- err
			}()
			child.Process.Kill()
			if err := <-failed; !errors.Is(err, lapse.ErrUnavailable) || errors.Is(err, lapse.ErrUnauthenticated) {
				t.Error("a call that waited:", err)
			}
		}
	}
	if !errors.Is(last, lapse.ErrUnavailable) {
		t.Error("a watch ended with", last)
	}
	if _, err := c.Issue(ctx, lapse.Grant{Subject: "ana"}); !errors.Is(err, lapse.ErrUnavailable) || errors.Is(err, lapse.ErrOutcomeUnknown) {
		t.Error("a write after that:", err)
	}
}
