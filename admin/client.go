package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/seed-55daa01a/lapse"
)

// Client calls the verbs of the Managers of a Server. Its methods have the names and the types of those of
// lapse.Manager and lapse.Pairs, and do what the comments there say. They return the same errors, for
// errors.Is and errors.As with *lapse.Rejection, *lapse.GrantError and *lapse.ScopeError. A Client is
// safe for concurrent use: each call has a connection for itself, which the next call takes over.
//
// These errors come besides:
//   - ErrNotAllowed: the program does not let this user connect, or write.
//   - ErrProtocol: the program has another version of lapse.
//   - lapse.ErrUnavailable: the program did not answer, and nothing was written.
//   - lapse.ErrOutcomeUnknown: the connection broke, or ctx ended, before the answer to a verb that writes.
//   - net.ErrClosed: the Client was closed.
//   - errors.ErrUnsupported: the program has no Pairs, no Server.Store, or no Manager of that prefix.
//
// When the ctx of a call ends, the call returns at once, and the server gives the verb up. The error wraps
// that of ctx, too. Of the lapse.Actor of ctx the Note is sent; who calls, the server knows by itself.
type Client struct {
	*links
	prefix string
}

// Dial connects to the Server that listens at path, and says hello. ctx is for Dial alone. Close the Client
// after use.
func Dial(ctx context.Context, path string) (*Client, error) {
	return connect(ctx, func(ctx context.Context) (net.Conn, error) { return dial(ctx, path) })
}

// connect is Dial with another dialer.
func connect(ctx context.Context, dialer func(context.Context) (net.Conn, error)) (*Client, error) {
	c := &Client{links: &links{dial: dialer, all: map[*link]bool{}}}
	l, err := c.take(ctx)
	if err != nil {
		return nil, err
	}
	c.hello = l.hello
	c.give(l)
	return c, nil
}

// Under returns a Client for the Manager, or the Pairs, with that prefix of access texts. That is the
// Manager of Issue, IssuePair, Stats and Sweep, and of texts in Peek and ExpireBearer that are not of
// lapse; Sessions and Holds are its alone. Both Clients share their connections, and one Close closes
// both. With a prefix that the server does not have, these verbs are errors.ErrUnsupported.
func (c *Client) Under(prefix string) *Client { return &Client{c.links, prefix} }

// Hello returns what the server said when Dial connected.
func (c *Client) Hello() Hello { return c.hello }

// links are the connections of a Client.
type links struct {
	dial   func(context.Context) (net.Conn, error)
	hello  Hello // of the first connection
	mu     sync.Mutex
	idle   []*link
	all    map[*link]bool
	closed bool
}

// link is a connection that answers one request after the other.
type link struct {
	*lines
	hello Hello
	calls int  // so far
	used  bool // it was idle before this call
}

// maxIdle is how many idle links a Client keeps: half of what a server has, so that others find room.
const maxIdle = maxConnections / 2

var errClosed = fmt.Errorf("admin: the Client was closed: %w", net.ErrClosed)

// Close closes all connections, also those of a Client that Under returned. Calls that run end with an
// error. The error of Close is always nil.
func (c *Client) Close() error {
	s := c.links
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.all {
		l.Close()
	}
	s.closed, s.idle = true, nil
	return nil
}

// take returns an idle link, or a new one.
func (s *links) take(ctx context.Context) (*link, error) {
	if l, err := s.takeIdle(); l != nil || err != nil {
		return l, err
	}
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, &failure{text: err.Error(), wraps: []error{lapse.ErrUnavailable, err}}
	}
	l := &link{lines: newLines(conn, 0)}
	if !s.enter(l) {
		conn.Close()
		return nil, errClosed
	}
	err = l.greet(ctx)
	if err != nil {
		s.drop(l)
		return nil, err
	}
	return l, nil
}

// takeIdle returns an idle link, or nil if there is none.
func (s *links) takeIdle() (*link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	last := len(s.idle) - 1
	if last < 0 {
		return nil, nil
	}
	l := s.idle[last]
	s.idle = s.idle[:last]
	l.used = true
	return l, nil
}

// enter notes l, unless the Client is closed.
func (s *links) enter(l *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.all[l] = true
	}
	return !s.closed
}

// give makes l idle, or closes l if there are enough.
func (s *links) give(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
	case len(s.idle) < maxIdle:
		s.idle = append(s.idle, l)
	default:
		l.Close()
		delete(s.all, l)
	}
}

// drop closes l.
func (s *links) drop(l *link) {
	l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, l)
}

// isClosed reports whether Close was called.
func (s *links) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// greet says hello.
func (l *link) greet(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	_, err := l.ask("hello", &params{Version: version}, &l.hello, nil)
	switch {
	case err == nil && l.hello.Version != version:
		return fmt.Errorf("%w: the server speaks version %d of the protocol; use the same version of lapse", ErrProtocol, l.hello.Version)
	case errors.As(err, new(broken)):
		return unreached(ctx, err)
	}
	return err
}

// broken is the error of a connection that is no good any more.
type broken struct{ error }

// Unwrap returns the error.
func (b broken) Unwrap() error { return b.error }

// ask sends a request and reads its answer. It calls each with the parts, and sets result, unless that is
// nil. begun is whether the server may have got the request. After a broken, the link is no good.
func (l *link) ask(name string, p *params, result any, each func(*part) error) (begun bool, err error) {
	l.calls++
	id := json.RawMessage(strconv.Itoa(l.calls))
	if err := l.send(request{JSONRPC: "2.0", ID: id, Method: name, Params: p}); errors.Is(err, errLongLine) || errors.Is(err, errNoJSON) {
		return false, fmt.Errorf("%w: %w", lapse.ErrInvalidGrant, err)
	} else if err != nil {
		if _, said := l.answer(id); errors.As(said, new(*failure)) {
			err = said // why the server has closed the connection
		}
		return false, broken{err} // a line without its end is no request
	}
	for {
		a, err := l.answer(id)
		switch {
		case err != nil:
			return true, broken{err}
		case a.Error != nil:
			return true, a.Error.err()
		case a.Params == nil:
			return true, l.result(a.Result, result)
		case each == nil:
			return true, broken{fmt.Errorf("%w: a part of no list", ErrProtocol)}
		}
		if err := each(a.Params); err != nil {
			return true, broken{err}
		}
	}
}

// answer reads a line of the answer to the request of id. A line without an id is about the connection.
func (l *link) answer(id json.RawMessage) (a answer, err error) {
	line, err := l.next()
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("%w: a line is no answer", ErrProtocol)
	}
	got := a.ID
	if a.Params != nil {
		got = a.Params.ID
	}
	switch {
	case a.Error != nil && (got == nil || string(got) == "null"):
		return a, a.Error.err()
	case string(got) != string(id):
		return a, fmt.Errorf("%w: an answer to another request", ErrProtocol)
	}
	return a, nil
}

// result decodes text into v.
func (l *link) result(text json.RawMessage, v any) error {
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(text, v); err != nil {
		return broken{fmt.Errorf("%w: the result has another form", ErrProtocol)}
	}
	return nil
}

// unreached returns the error of a call that the server has not got.
func unreached(ctx context.Context, err error) error {
	return lost(ctx, lapse.ErrUnavailable, err)
}

// lost returns the error of a call that was not answered: err if the server has said why, or else an
// error of kind, which wraps that of ctx as well if ctx has ended.
func lost(ctx context.Context, kind, err error) error {
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.As(err, new(*failure)), errors.Is(err, ErrProtocol):
		return err
	}
	text := "admin: no answer: "
	if kind == lapse.ErrOutcomeUnknown {
		text = "admin: no answer, and the outcome of the write is unknown; read before trying again: "
	}
	return &failure{text: text + err.Error(), wraps: []error{kind, err}}
}
