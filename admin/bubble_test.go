package admin

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// inBubble runs test in a bubble of testing/synctest, with a program whose store is in memory. The connections to it
// are those of pipe, for the bubble has no sockets. The patience of the server passes where all wait, and never
// because a machine is slow.
func inBubble(t *testing.T, test func(t *testing.T, p *program)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 365 * 24 * time.Hour) // the bubble begins in 2000, which is not plausible
		p := &program{t: t}
		p.users = must(lapse.New(memory.New(), lapse.Config{Admit: func(ctx context.Context, tok lapse.Token) error {
			if p.admit != nil {
				return p.admit(ctx, tok)
			}
			return nil
		}}))
		p.server.Managers = []*lapse.Manager{p.users}
		test(t, p)
	})
}

// pipe returns a connection of the caller that is no socket. left is closed when the server has closed it.
func (p *program) pipe(caller Caller) (conn net.Conn, left chan struct{}) {
	p.t.Helper()
	v, err := p.server.verbs()
	if err != nil {
		p.t.Fatal(err)
	}
	here, there := net.Pipe()
	left = make(chan struct{})
	go func() {
		defer close(left)
		(&visit{lines: newLines(there, patience), table: v.methods(), caller: caller}).serve(p.t.Context())
	}()
	return here, left
}

// dialPipe returns a Client of the caller whose connections are no sockets.
func (p *program) dialPipe(caller Caller) *Client {
	p.t.Helper()
	c, err := connect(p.t.Context(), func(context.Context) (net.Conn, error) {
		conn, _ := p.pipe(caller)
		return conn, nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	return c
}

// wantCut checks that the server closes a connection once its patience has passed, and no earlier.
func wantCut(t *testing.T, left chan struct{}) {
	t.Helper()
	time.Sleep(patience - time.Millisecond)
	synctest.Wait()
	select {
	case <-left:
		t.Error("the server has cut the connection too early")
	default:
	}
	time.Sleep(time.Millisecond)
	synctest.Wait()
	select {
	case <-left:
	default:
		t.Error("the server does not cut the connection")
	}
}
