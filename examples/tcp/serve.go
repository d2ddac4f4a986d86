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

const (
	// patience is how long a peer may take to say who it is, and to hang up once it
	// was told why.
	patience = 5 * time.Second

	longestLine = 4096

	// overlap is for how long a token's previous text works: the other connections that
	// have it are told so when they use it after that.
	overlap = time.Minute
)

// serve attends to whoever connects until ctx ends, and then says goodbye to all.
func serve(ctx context.Context, l net.Listener, tokens *lapse.Manager) error {
	ctx, goDown := context.WithCancel(ctx)
	var connections sync.WaitGroup
	defer connections.Wait()
	defer goDown()
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		connections.Go(func() {
			defer conn.Close()
			attend(ctx, conn, tokens)
		})
	}
}

// attend serves one peer for as long as its token lives.
func attend(ctx context.Context, conn net.Conn, tokens *lapse.Manager) {
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, longestLine)
	conn.SetReadDeadline(time.Now().Add(patience))
	if !lines.Scan() {
		return
	}
	conn.SetReadDeadline(time.Time{})
	bearer := lines.Text()

	ctx, hangUp := context.WithCancelCause(ctx)
	defer hangUp(nil) // the hold ends with the connection
	hold, err := tokens.Hold(ctx, bearer)
	if err != nil {
		farewell(conn, err)
		drain(lines)
		return
	}
	held := hold.Context()
	said := make(chan struct{})
	stop := context.AfterFunc(held, func() {
		farewell(conn, context.Cause(held))
		close(said)
	})
	defer func() {
		if !stop() { // it is being said
			<-said
		}
	}()

	fmt.Fprintf(conn, "hello %s\n", hold.Token().Subject)
	for lines.Scan() && held.Err() == nil {
		// What a peer says is a use of its token: it renews that, and so the connection.
		tok, err := tokens.Authenticate(held, bearer)
		switch {
		case err == nil && lines.Text() == "rotate":
			bearer = rotate(held, conn, tokens, bearer)
		case err == nil:
			answer(held, conn, tokens, tok, lines.Text())
		case errors.Is(err, lapse.ErrReplaced): // another connection has the new text
			hangUp(err)
		case !errors.Is(err, lapse.ErrUnauthenticated):
			fmt.Fprintln(conn, "that did not work; try again")
		} // what has ended the token is on its way to the connection
	}
	drain(lines)
}

// rotate tells the peer the new text of its token, and returns that. The token stays the
// same one, and so every connection of it stays open.
func rotate(ctx context.Context, conn net.Conn, tokens *lapse.Manager, bearer string) string {
	issued, err := tokens.Rotate(ctx, bearer, overlap)
	if err != nil {
		fmt.Fprintln(conn, "that did not work; try again")
		return bearer
	}
	fmt.Fprintf(conn, "your token is now %s\n", issued.Bearer)
	return issued.Bearer
}

// answer serves one line.
func answer(ctx context.Context, conn net.Conn, tokens *lapse.Manager, tok lapse.Token, line string) {
	switch line {
	case "who":
		fmt.Fprintf(conn, "%s, until %s\n", tok.Subject, tok.ExpiresAt.Format(time.RFC3339))
	case "logout":
		if _, err := tokens.ExpireSubject(ctx, tok.Subject); err != nil { // everywhere, here too
			fmt.Fprintln(conn, "that did not work; try again")
		}
	default:
		fmt.Fprintf(conn, "you said %q\n", line)
	}
}

// farewell says why and sends no more. It does not close the connection: what the peer
// has sent by then would make that a reset, which may overtake the last line.
func farewell(conn net.Conn, cause error) {
	conn.SetDeadline(time.Now().Add(patience)) // whoever neither reads nor hangs up
	fmt.Fprintf(conn, "bye: %s\n", why(cause))
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

// drain reads until the peer hangs up.
func drain(lines *bufio.Scanner) {
	for lines.Scan() {
	}
}

// why is for the peer: it should sign in again after the first kind, and connect again
// after the second.
func why(cause error) string {
	var r *lapse.Rejection
	switch {
	case !errors.As(cause, &r):
		return "try again later" // the store could not tell, or the server is going down
	case errors.Is(cause, lapse.ErrRefused):
		return "sign in again: your account is suspended"
	case errors.Is(cause, lapse.ErrExpired):
		return "sign in again: your token ran out"
	case errors.Is(cause, lapse.ErrRevoked):
		return "sign in again: your token was ended: " + r.Reason.String()
	}
	return "sign in again: " + strings.TrimPrefix(r.Err.Error(), lapse.ErrUnauthenticated.Error()+": ")
}
