package pgtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echo is a server that answers each line with the same line, and says which lines have come. It ends the
// connection of a client that says bye.
func echo(t *testing.T) (dsn string, heard <-chan string) {
	lines := make(chan string, 100)
	dsn = serve(t, func(conn net.Conn) {
		for in := bufio.NewScanner(conn); in.Scan(); {
			lines <- in.Text()
			if in.Text() == "bye" {
				return
			}
			fmt.Fprintln(conn, in.Text())
		}
	})
	return dsn, lines
}

// serve returns the DSN of a server that calls handle for each connection, and then closes the connection.
func serve(t *testing.T, handle func(net.Conn)) (dsn string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return "postgres://" + l.Addr().String() + "/x"
}

// ask sends a line through p, and returns whether the same line comes back within patience.
func ask(conn net.Conn, line string, patience time.Duration) error {
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return err
	}
	conn.SetReadDeadline(time.Now().Add(patience))
	got, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && got != line+"\n" {
		err = fmt.Errorf("%q came back as %q", line, got)
	}
	return err
}

// TestProxy: each fault does what it says, to what the server gets and to what the client gets.
func TestProxy(t *testing.T) {
	const soon, never = 20 * time.Second, 50 * time.Millisecond
	for _, row := range []struct {
		name     string
		fault    func(p *Proxy)
		reaches  bool // the server
		answered bool // nil error at the client
		broken   bool // the client sees the end of the connection
		thawed   bool // the answer comes after Thaw
	}{
		{"none", func(*Proxy) {}, true, true, false, false},
		{"frozen", (*Proxy).Freeze, false, false, false, true},
		{"silent", (*Proxy).Silence, false, false, false, false},
		{"delayed", func(p *Proxy) { p.Delay(time.Millisecond) }, true, true, false, false},
		{"reset", (*Proxy).Reset, false, false, true, false},
		{"cut before", func(p *Proxy) { p.CutNext(CutBefore) }, false, false, true, false},
		{"cut between", func(p *Proxy) { p.CutNext(CutBetween) }, true, false, true, false},
		{"cut answered", func(p *Proxy) { p.CutNext(CutAnswered) }, true, false, true, false},
		{"closed", (*Proxy).Close, false, false, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			dsn, heard := echo(t)
			p, err := StartProxy(dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			conn, err := net.Dial("tcp", p.listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := ask(conn, "first", soon); err != nil {
				t.Fatal(err)
			}
			<-heard
			row.fault(p)
			patience := soon
			if !row.answered && !row.broken {
				patience = never
			}
			err = ask(conn, "second", patience)
			if timeout := errors.Is(err, os.ErrDeadlineExceeded); (err == nil) != row.answered || (err != nil && !timeout) != row.broken {
				t.Errorf("the client gets %v; want an answer: %t, a broken connection: %t", err, row.answered, row.broken)
			}
			reached := false
			wait := never
			if row.reaches {
				wait = soon
			}
			select {
			case <-heard:
				reached = true
			case <-time.After(wait):
			}
			if reached != row.reaches {
				t.Errorf("it reached the server: %t; want %t", reached, row.reaches)
			}
			if !row.broken && !row.answered {
				p.Thaw()
				wait := never
				if row.thawed {
					wait = soon
				}
				conn.SetReadDeadline(time.Now().Add(wait))
				if _, err := bufio.NewReader(conn).ReadString('\n'); (err == nil) != row.thawed {
					t.Errorf("after Thaw the client gets %v; want an answer: %t", err, row.thawed)
				}
			}
			if next, err := net.Dial("tcp", p.listener.Addr().String()); row.name != "closed" && (err != nil || ask(next, "third", soon) != nil) {
				t.Errorf("the next connection does not work: %v", err)
			}
		})
	}
}

// TestLead: a proxy that leads elsewhere breaks the connections before, and the next one goes to the new server.
func TestLead(t *testing.T) {
	const soon = 20 * time.Second
	old, _ := echo(t)
	next, heard := echo(t)
	p, err := StartProxy(old)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", p.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	conn := dial()
	if err := ask(conn, "before", soon); err != nil {
		t.Fatal(err)
	}
	if err := p.Lead(next); err != nil {
		t.Fatal(err)
	}
	if err := ask(conn, "on the old connection", soon); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the old connection: %v; want it broken", err)
	}
	if err := ask(dial(), "after", soon); err != nil {
		t.Error(err)
	}
	if line := <-heard; line != "after" {
		t.Errorf("the new server has heard %q", line)
	}
}

// TestCutWithoutAnswer: a cut at the answer has happened, too, when the server ends the connection instead.
func TestCutWithoutAnswer(t *testing.T) {
	dsn, _ := echo(t)
	p, err := StartProxy(dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fired := p.CutNext(CutAnswered)
	conn, err := net.Dial("tcp", p.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := ask(conn, "bye", 20*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the client gets %v; want a broken connection", err)
	}
	select {
	case <-fired:
	case <-time.After(20 * time.Second):
		t.Error("the cut has not happened")
	}
}

// TestCutOfAChattyServer: a cut between the two sides has happened, too, where the server sends all the time, so that
// the other direction resets both sides before the bytes have reached the server.
func TestCutOfAChattyServer(t *testing.T) {
	p, err := StartProxy(serve(t, func(conn net.Conn) {
		for err := error(nil); err == nil; {
			_, err = conn.Write([]byte("news\n"))
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 1000 {
		conn, err := net.Dial("tcp", p.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, conn)
		fired := p.CutNext(CutBetween)
		if _, err := conn.Write([]byte("a question\n")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-fired:
		case <-time.After(20 * time.Second):
			t.Fatal("the cut has not happened")
		}
		conn.Close()
	}
}
