package pgtest

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Proxy passes TCP connections on to a server, and fails as networks do when a test says so. It is safe for
// concurrent use.
type Proxy struct {
	listener net.Listener

	mu     sync.Mutex
	dsn    *url.URL   // of the server
	moved  *sync.Cond // the state below has changed
	links  []*link
	frozen bool
	silent bool
	delay  time.Duration
	cut    Cut
	fired  chan struct{} // is closed once the cut has happened
	closed bool
}

// Cut says where a Proxy breaks a connection.
type Cut int

// The places of a cut, each about the next bytes that a client sends.
const (
	noCut       Cut = iota
	CutBefore       // the bytes do not reach the server
	CutBetween      // the bytes are passed on, and both sides are reset without waiting for the server
	CutAnswered     // the bytes are passed on, and both sides are reset once the server answers
)

// link is one connection, with its two sides.
type link struct {
	client, server *net.TCPConn
	answerless     chan struct{} // the answer does not reach the client, and this is closed then; nil: it does
}

// StartProxy returns a Proxy to the server of dsn, which is a URL with one host. Call Close at the end.
func StartProxy(dsn string) (*Proxy, error) {
	u, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{dsn: u, listener: l}
	p.moved = sync.NewCond(&p.mu)
	go p.accept()
	return p, nil
}

func parse(dsn string) (*url.URL, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Port() == "" {
		return nil, fmt.Errorf("pgtest: want the DSN as a URL with a port")
	}
	return u, nil
}

// server returns the DSN of the server.
func (p *Proxy) server() *url.URL {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dsn
}

// Lead leads to the server of dsn, as a name or an address does that has moved, and breaks all connections
// to the server before.
func (p *Proxy) Lead(dsn string) error {
	u, err := parse(dsn)
	if err != nil {
		return err
	}
	p.set(func() { p.dsn = u })
	p.Reset()
	return nil
}

// DSN returns the DSN of the server with the address of the proxy.
func (p *Proxy) DSN() string {
	through := *p.server()
	through.Host = p.listener.Addr().String()
	return through.String()
}

// set changes the state of p and wakes all that wait for it.
func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.moved.Broadcast()
}

// Freeze keeps all bytes of both directions until Thaw, which passes them on.
func (p *Proxy) Freeze() { p.set(func() { p.frozen = true }) }

// Thaw ends Freeze and Silence.
func (p *Proxy) Thaw() { p.set(func() { p.frozen, p.silent = false, false }) }

// Silence throws away all bytes of both directions until Thaw, as a firewall does that has forgotten the
// connection: each side goes on to believe that the other one is there.
func (p *Proxy) Silence() { p.set(func() { p.silent = true }) }

// Delay has each piece of bytes wait for d, in each direction.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

// Reset breaks all connections.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.reset()
	}
}

// CutNext breaks the connection of the next client that sends something, once. The channel is closed when
// that has happened.
func (p *Proxy) CutNext(where Cut) <-chan struct{} {
	fired := make(chan struct{})
	p.set(func() { p.cut, p.fired = where, fired })
	return fired
}

// Close breaks all connections, and accepts no others.
func (p *Proxy) Close() {
	p.listener.Close()
	p.Reset()
	p.set(func() { p.closed, p.frozen = true, false })
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		to := p.server()
		server, err := net.Dial("tcp", to.Host)
		if err != nil {
			client.(*net.TCPConn).SetLinger(0)
			client.Close()
			continue
		}
		l := &link{client: client.(*net.TCPConn), server: server.(*net.TCPConn)}
		p.set(func() {
			if p.links = append(p.links, l); p.dsn != to {
				l.reset() // Lead came meanwhile
			}
		})
		go p.relay(l, l.client, l.server, true)
		go p.relay(l, l.server, l.client, false)
	}
}

// relay passes bytes on in one direction, until one side ends.
func (p *Proxy) relay(l *link, from, to *net.TCPConn, sends bool) {
	defer p.forget(l)
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil || !p.pass(l, to, buf[:n], sends) {
			return
		}
	}
}

// pass passes bytes on as the state says. It returns false if the connection is broken.
func (p *Proxy) pass(l *link, to *net.TCPConn, b []byte, sends bool) bool {
	p.mu.Lock()
	for p.frozen && !p.closed {
		p.moved.Wait()
	}
	silent, delay, cut, fired := p.silent, p.delay, noCut, p.fired
	switch {
	case sends && !silent:
		cut, p.cut = p.cut, noCut
		if fired = p.fired; cut == CutAnswered {
			l.answerless = fired
		}
	case !sends && l.answerless != nil:
		cut, fired, l.answerless = CutBefore, l.answerless, nil
	}
	p.mu.Unlock()
	time.Sleep(delay)
	if cut == CutBefore {
		close(fired)
		return false
	}
	if cut == CutBetween { // before the server can answer
		l.client.SetLinger(0)
		l.client.Close()
	}
	if !silent {
		if _, err := to.Write(b); err != nil && cut != CutBetween { // the other direction may have reset both sides already
			return false
		}
	}
	if cut == CutBetween {
		close(fired)
		return false
	}
	return true
}

func (p *Proxy) forget(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.reset()
	if l.answerless != nil { // the server has ended the connection and answered nothing
		close(l.answerless)
		l.answerless = nil
	}
	p.links = slices.DeleteFunc(p.links, func(other *link) bool { return other == l })
}

// reset breaks both sides, without the bytes that are still to be sent.
func (l *link) reset() {
	for _, side := range []*net.TCPConn{l.client, l.server} {
		side.SetLinger(0)
		side.Close()
	}
}
