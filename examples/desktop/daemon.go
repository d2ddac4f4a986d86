package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
)

// daemon serves clients and commands until it is interrupted.
func (d desktop) daemon(ctx context.Context) (err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	store, manager, err := d.open(time.Second)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	path, err := admin.DefaultPath(d.file())
	if err != nil {
		return err
	}
	commands, err := admin.Listen(path)
	if err != nil {
		return err
	}
	clients, err := net.Listen("tcp", d.addr)
	if err != nil {
		return errors.Join(err, commands.Close())
	}
	fmt.Fprintln(os.Stderr, "desktop: serving clients at", clients.Addr())

	running, fail := context.WithCancelCause(ctx)
	server := admin.Server{Managers: []*lapse.Manager{manager}, Store: store}
	board := clipboard{manager: manager, texts: map[string]string{}}
	var parts sync.WaitGroup
	parts.Go(func() { fail(server.Serve(running, commands)) })
	parts.Go(func() { fail(board.serve(running, clients)) })
	parts.Go(func() { sweepHourly(running, manager) })
	parts.Wait()
	if ctx.Err() != nil {
		return nil // interrupted
	}
	return context.Cause(running)
}

func sweepHourly(ctx context.Context, manager *lapse.Manager) {
	for hour := time.NewTicker(time.Hour); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-hour.C:
			if _, err := manager.Sweep(ctx); err != nil {
				fmt.Fprintln(os.Stderr, "desktop:", err)
			}
		}
	}
}
