// Http is a server whose users log in, ask an API, follow a stream of events, refresh and log out, by
// the package lapsehttp, with a page that does all of that.
//
//	go run .    # from this folder; then open the page, or follow README.md with curl
//
// Read server.go first: it has the routes, and who may log in.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/seed-55daa01a/lapse/storage/bolt"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "serve on this `host:port`; port 0 takes a free one")
	db := flag.String("db", "tokens.db", "keep the tokens in this `file`")
	ttl := flag.Duration("ttl", time.Minute, "how long an access text lives")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *db, *ttl, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "http:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, and returns once the store is closed.
func run(ctx context.Context, addr, db string, ttl time.Duration, out io.Writer) (err error) {
	store, err := bolt.Open(db, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	handler, err := routes(store, ttl, nil)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "http://%s/\nLog in as ana, with the password a. Ctrl-C ends.\n", ln.Addr())
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }, // so that streams end with the server
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return server.Shutdown(wait)
}
