package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// maxConnections is how many connections a Server serves at a time.
const maxConnections = 64

// Store is what a Server needs of a store besides its Managers: the Store of storage/bolt is one.
type Store interface {
	Backup(ctx context.Context, w io.Writer) error
	Compact(ctx context.Context) error
	Stats() storage.Stats
}

// Server answers Clients about the tokens of one store. Set its fields before Serve, and not after.
type Server struct {
	Managers []*lapse.Manager // over one store, of different prefixes; the first is that of a Client which Under did not return
	Pairs    []*lapse.Pairs   // over the same store; their access Managers are served, too, and need not be in Managers
	Store    Store            // nil: Backup, Compact and StoreStats are errors.ErrUnsupported
	Allow    Allow            // who may connect besides the own user, who may call every verb
}

// Serve accepts connections of l and answers them until ctx ends. Then it ends the verbs that run,
// closes l and every connection, and returns the cause of ctx. With any other error l can accept no
// more. Serve does not close the store.
//
// A connection of a user who is not allowed, or beyond the 64th, gets one line that says so, and is
// closed. A verb has the context of Serve, and as its actor the user: "uid 1000", with the note of the
// client's actor. A verb is given up when the connection ends; and after 30 seconds, with
// context.DeadlineExceeded, unless it is a loop over the store, Watch, Backup or Compact. A client that
// takes no answer for 30 seconds is cut.
//
// ErrInvalidConfig, of package lapse: there is no Manager, or two have one prefix; l is closed. Serve
// costs a Manager nothing while no verb runs.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	v, err := s.verbs()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	a := audience{Server: s, table: v.methods(), open: map[net.Conn]bool{}}
	defer a.running.Wait()
	defer cancel(net.ErrClosed)
	stop := context.AfterFunc(ctx, func() {
		l.Close()
		a.closeAll()
	})
	defer stop()
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return context.Cause(ctx)
		case err == nil:
			a.welcome(ctx, conn)
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("admin: the listener was closed: %w", err)
		default: // as too many open files, which passes
			pause(ctx, 50*time.Millisecond)
		}
	}
}

// verbs returns what the methods call.
func (s *Server) verbs() (*verbs, error) {
	v := &verbs{pairs: s.Pairs, store: s.Store}
	add := func(m *lapse.Manager) {
		if !slices.Contains(v.managers, m) {
			v.managers = append(v.managers, m)
		}
	}
	for _, m := range s.Managers {
		add(m)
	}
	for _, p := range s.Pairs {
		if p != nil {
			add(p.Access())
		}
	}
	prefixes := map[string]bool{}
	for _, m := range v.managers {
		if m == nil || prefixes[m.Prefix()] {
			return nil, fmt.Errorf("%w: Server.Managers: one is nil, or two have the same prefix; give each prefix once", lapse.ErrInvalidConfig)
		}
		prefixes[m.Prefix()] = true
	}
	if len(v.managers) == 0 || slices.Contains(s.Pairs, nil) {
		return nil, fmt.Errorf("%w: Server.Managers, Server.Pairs: there is none, or a nil; give at least one", lapse.ErrInvalidConfig)
	}
	return v, nil
}

// audience are the connections of one Serve.
type audience struct {
	*Server
	table   map[string]method
	running sync.WaitGroup
	mu      sync.Mutex
	open    map[net.Conn]bool // served; nil once closeAll has run
}

// welcome serves conn in a goroutine, or refuses it.
func (a *audience) welcome(ctx context.Context, conn net.Conn) {
	served, room := a.enter(conn)
	if !served {
		conn.Close()
		return
	}
	v := &visit{lines: newLines(conn, patience), table: a.table}
	a.running.Go(func() {
		defer a.leave(conn)
		if err := v.identify(a.Allow); err != nil {
			v.reply(nil, nil, err)
			return
		}
		if !room {
			v.reply(nil, nil, fmt.Errorf("admin: %w: %d connections are open; close one of them", lapse.ErrUnavailable, maxConnections))
			return
		}
		v.serve(ctx)
	})
}

// enter notes conn. served is false after closeAll. room is whether conn is within maxConnections.
func (a *audience) enter(conn net.Conn) (served, room bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == nil || len(a.open) >= 2*maxConnections { // as many again may be about to be refused
		return false, false
	}
	a.open[conn] = true
	return true, len(a.open) <= maxConnections
}

// leave closes conn.
func (a *audience) leave(conn net.Conn) {
	conn.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, conn)
}

// closeAll closes all connections, and those that enter later.
func (a *audience) closeAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for conn := range a.open {
		conn.Close()
	}
	a.open = nil
}
