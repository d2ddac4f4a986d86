package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// app is what runs: a store, a server on it, and a listener.
type app struct {
	url   string
	local bool // no other machine can reach it
	store *bolt.Store
	ln    net.Listener
	srv   *server
}

// open opens the file and the port. Nothing is served yet.
func open(cfg config) (*app, error) {
	store, err := bolt.Open(cfg.db, nil)
	if err != nil {
		return nil, err
	}
	a := &app{store: store}
	if a.srv, err = newServer(store, cfg); err == nil {
		a.ln, err = net.Listen("tcp", cfg.addr)
	}
	if err != nil {
		var taken *net.OpError
		if errors.As(err, &taken) {
			err = fmt.Errorf("%w; give another -addr, 127.0.0.1:0 for any free port", err)
		}
		return nil, errors.Join(err, store.Close())
	}
	addr := a.ln.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "localhost"
	}
	a.local = addr.IP.IsLoopback()
	a.url = "http://" + net.JoinHostPort(host, fmt.Sprint(addr.Port)) + "/"
	return a, nil
}

// patience is how long serve waits for the requests that are under way.
const patience = 5 * time.Second

// serve serves until ctx ends. Then it accepts no more connections and closes every socket
// with 1001, so that the page connects again when there is a server. Last it closes the
// store, which writes the renewals that it has deferred.
func (a *app) serve(ctx context.Context) error {
	hs := &http.Server{Handler: a.srv.routes(), ReadHeaderTimeout: 10 * time.Second}
	ctx, failed := context.WithCancelCause(ctx)
	defer failed(nil)
	go func() { failed(hs.Serve(a.ln)) }()
	go a.srv.sweep(ctx)
	<-ctx.Done()
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil // we were asked to stop
	}

	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err = errors.Join(err, hs.Shutdown(wait))
	a.srv.closeSockets()
	return errors.Join(err, a.store.Close())
}
