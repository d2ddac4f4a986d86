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
	// patience is how long a peer may take to send its token, and to hang up after the
	// farewell.
	patience = 5 * time.Second

	longestLine = 4096

	// overlap is how long a token's previous text works. A connection that uses the
	// previous text later is told to sign in again.
	overlap = time.Minute
)

// serve accepts connections until ctx ends, then says goodbye to every peer and returns
// nil. It returns the error of l if l fails before that.
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
	defer farewellAfter(hold.Context(), conn)()
	fmt.Fprintf(conn, "hello %s\n", hold.Token().Subject)
	converse(hold.Context(), hangUp, conn, lines, tokens, bearer)
	drain(lines)
}

// farewellAfter has the peer told why held ends, once it ends. The function that it returns
// ends that, and waits for a farewell that has begun.
func farewellAfter(held context.Context, conn net.Conn) (end func()) {
	said := make(chan struct{})
	stop := context.AfterFunc(held, func() {
		farewell(conn, context.Cause(held))
		close(said)
	})
	return func() {
		if !stop() { // the farewell has begun
			<-said
		}
	}
}

// converse answers line after line until held ends or the peer hangs up. It calls hangUp
// when another connection has given the token a new text.
func converse(held context.Context, hangUp context.CancelCauseFunc, conn net.Conn, lines *bufio.Scanner, tokens *lapse.Manager, bearer string) {
	for lines.Scan() && held.Err() == nil {
		// Each line is a use of the token: it renews the token, and so the connection.
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
		} // the token has ended: held ends next
	}
}

// rotate tells the peer the new text of its token and returns the text. If that fails,
// rotate returns bearer. The ID of the token does not change, so all its connections stay
// open.
func rotate(ctx context.Context, conn net.Conn, tokens *lapse.Manager, bearer string) string {
	issued, err := tokens.Rotate(ctx, bearer, overlap)
	if err != nil {
		fmt.Fprintln(conn, "that did not work; try again")
		return bearer
	}
	fmt.Fprintf(conn, "your token is now %s\n", issued.Bearer)
	return issued.Bearer
}

// answer serves one line of the peer that holds tok.
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

// farewell tells the peer why the connection ends and sends no more. It does not close the
// connection: where the peer has sent bytes that were not read, a close is a reset, and the
// reset may overtake the last line.
func farewell(conn net.Conn, cause error) {
	conn.SetDeadline(time.Now().Add(patience)) // for a peer that neither reads nor hangs up
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

// why returns what the peer is told: to sign in again if its token is refused, and
// otherwise to try again later.
func why(cause error) string {
	var r *lapse.Rejection
	switch {
	case !errors.As(cause, &r):
		return "try again later" // the store could not tell, or the server stops
	case errors.Is(cause, lapse.ErrRefused):
		return "sign in again: your account is suspended"
	case errors.Is(cause, lapse.ErrExpired):
		return "sign in again: your token ran out"
	case errors.Is(cause, lapse.ErrRevoked):
		return "sign in again: your token was ended: " + r.Reason.String()
	}
	return "sign in again: " + strings.TrimPrefix(r.Err.Error(), lapse.ErrUnauthenticated.Error()+": ")
}
