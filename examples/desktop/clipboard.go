package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// clipboard has a text for each subject: what one device of the subject copies, the others can paste.
//
// A client sends HELLO and its bearer, and then lines of COPY and a text, or PASTE. It gets a line for each,
// which begins with OK or ERR, and the line BYE when its token ends.
type clipboard struct {
	manager *lapse.Manager
	mu      sync.Mutex
	texts   map[string]string // by subject
}

// serve accepts clients until ctx ends or l fails, and then waits for them to be served.
func (c *clipboard) serve(ctx context.Context, l net.Listener) error {
	var clients sync.WaitGroup
	defer clients.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		clients.Go(func() { c.attend(ctx, conn) })
	}
}

// patience is how long a client may take to say HELLO, and to take its last line.
const patience = 2 * time.Second

// attend serves a client for as long as its token lives.
func (c *clipboard) attend(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	conn.SetReadDeadline(time.Now().Add(patience))
	lines.Scan()
	bearer, _ := strings.CutPrefix(lines.Text(), "HELLO ")
	hold, err := c.manager.Hold(ctx, bearer)
	if err != nil {
		bye(conn, err)
		return
	}
	defer hold.Release()
	conn.SetReadDeadline(time.Time{})
	held, subject := hold.Context(), hold.Token().Subject
	defer context.AfterFunc(held, func() { bye(conn, context.Cause(held)) })()
	fmt.Fprintln(conn, "OK", subject)
	for lines.Scan() {
		switch err := hold.Use(ctx); { // each line renews the token
		case err == nil:
			fmt.Fprintln(conn, c.answer(subject, lines.Text()))
		case !errors.Is(err, lapse.ErrUnauthenticated): // otherwise bye comes next
			fmt.Fprintln(conn, "ERR try again later")
		}
	}
}

// answer returns the answer to a line of a device of the subject.
func (c *clipboard) answer(subject, line string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch word, text, _ := strings.Cut(line, " "); word {
	case "COPY":
		c.texts[subject] = text
		return "OK"
	case "PASTE":
		return "OK " + c.texts[subject]
	}
	return "ERR say COPY and a text, or PASTE"
}

// bye tells the client what to do and closes the connection. Where lines of the client may still be
// on their way, do as examples/tcp does.
func bye(conn net.Conn, cause error) {
	conn.SetWriteDeadline(time.Now().Add(patience))
	if errors.Is(cause, lapse.ErrUnauthenticated) {
		fmt.Fprintln(conn, "BYE log in again")
	} else {
		fmt.Fprintln(conn, "BYE try again later")
	}
	conn.Close()
}
