package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/postgres"
)

const patience = 5 * time.Second // with a peer that neither reads nor hangs up

// serve is one server. It writes its address to out, and serves until in ends or ctx does.
func serve(ctx context.Context, dsn string, in io.Reader, out io.Writer) error {
	store, err := postgres.Open(ctx, dsn, nil) // alone it would be bolt.Open("tokens.db", nil)
	if err != nil {
		return err
	}
	defer store.Close()
	tokens, err := lapse.New(store, lapse.Config{Policy: lapse.Policy{TTL: time.Hour}})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	context.AfterFunc(ctx, func() { l.Close() })
	go func() {
		io.Copy(io.Discard, in) // the end of the program that started this server
		stop()
	}()
	fmt.Fprintln(out, l.Addr())
	return accept(ctx, l, tokens)
}

// accept serves each connection, until ctx ends. It returns the error of l if l fails before that.
func accept(ctx context.Context, l net.Listener, tokens *lapse.Manager) error {
	var connections sync.WaitGroup
	defer connections.Wait()
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

// attend serves one peer. Its first line is "login" and a name, and is answered with a token; or it is a
// token, by which the connection is held.
func attend(ctx context.Context, conn net.Conn, tokens *lapse.Manager) {
	lines := bufio.NewScanner(conn)
	conn.SetReadDeadline(time.Now().Add(patience))
	if !lines.Scan() {
		return
	}
	conn.SetReadDeadline(time.Time{})
	if name, ok := strings.CutPrefix(lines.Text(), "login "); ok { // a real server asks for a password
		issued, err := tokens.Issue(ctx, lapse.Grant{Subject: name})
		answer(conn, issued.Bearer, err)
		return
	}
	hold, err := tokens.Hold(ctx, lines.Text())
	if err != nil {
		answer(conn, "", err)
		return
	}
	defer hold.Release()
	defer context.AfterFunc(hold.Context(), func() {
		conn.SetDeadline(time.Now().Add(patience))
		answer(conn, "", context.Cause(hold.Context()))
		conn.Close()
	})()
	answer(conn, "hello "+hold.Token().Subject, nil)
	for lines.Scan() {
		switch lines.Text() {
		case "use":
			answer(conn, "ok", hold.Use(ctx))
		case "logout": // everywhere, here too
			if _, err := tokens.Expire(ctx, hold.Token().ID); err != nil {
				answer(conn, "", err)
			}
		}
	}
}

// answer writes one line: what, or why not. Of an error that is no verdict it says that the peer may try
// again, and keeps its token.
func answer(conn net.Conn, what string, err error) {
	switch {
	case err == nil:
		fmt.Fprintln(conn, what)
	case errors.Is(err, lapse.ErrUnauthenticated):
		fmt.Fprintln(conn, "bye:", lapse.Code(err))
	default:
		fmt.Fprintln(conn, "try again")
	}
}
