// Websocket is a page "Your devices" on WebSockets that end with their tokens: each
// browser tab signs in as a device, sees the others live, and can sign them out.
//
//	go run .                  # from this folder; then open the page in two tabs
//	go run . -ttl 20s         # to watch a countdown end
//
// Read socket.go first: it holds a connection for as long as its token lives.
// server.go has the routes, bearer.go and ticket.go the three ways in which a token
// travels, devices.go the view that every page shows. The page is in page/.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/seed-55daa01a/lapse"
)

type config struct {
	addr   string
	db     string
	ttl    time.Duration
	maxTTL time.Duration
	most   int         // devices of one person
	clock  lapse.Clock // nil: the system's
	log    *slog.Logger
}

func main() {
	cfg := config{log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flag.StringVar(&cfg.addr, "addr", "127.0.0.1:8080", "serve on this `host:port`; port 0 takes a free one")
	flag.StringVar(&cfg.db, "db", "devices.db", "keep the tokens in this `file`")
	flag.DurationVar(&cfg.ttl, "ttl", 2*time.Minute, "how long a device stays signed in after its last use")
	flag.DurationVar(&cfg.maxTTL, "max-ttl", 30*time.Minute, "how long it stays signed in at most, however much it is used")
	flag.IntVar(&cfg.most, "devices", 5, "how many `devices` a person may have; one more signs the idlest out, of those that are not connected if there are any")
	flag.Usage = func() {
		fmt.Fprint(os.Stderr, "usage: websocket [flags]\n\nA page of devices whose connections end with their tokens.\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "websocket: unexpected argument %q\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, cfg, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "websocket:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, and returns once every socket and the store are closed.
func run(ctx context.Context, cfg config, out io.Writer) error {
	a, err := open(cfg)
	if err != nil {
		return err
	}
	path, err := filepath.Abs(cfg.db)
	if err != nil {
		path = cfg.db
	}
	fmt.Fprintf(out, "Your devices: %s\nOpen it in two tabs. The tokens are in %s; Ctrl-C ends.\n", a.url, path)
	if !a.local {
		fmt.Fprintln(out, "Not only this machine can reach it: any name is let in, and nothing is encrypted.")
	}
	return a.serve(ctx)
}
