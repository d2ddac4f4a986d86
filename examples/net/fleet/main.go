// Fleet is three servers and one PostgreSQL, on this machine, and a story that they play: users log in
// at any server and hold connections to all of them, a log-out at one server cuts the connections at the
// others, and a server is killed, whose users go on elsewhere with the tokens that they have.
//
//	go run ./fleet                  # in examples/net; it needs the programs of PostgreSQL
//	go run ./fleet -chart cuts.svg  # draws how soon connections were cut
//
// Read server.go first: it is a server of a fleet, and differs from one that is alone in one line.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	var o options
	server := flag.Bool("server", false, "be a server on the database that FLEET_DSN names, until the standard input ends")
	flag.IntVar(&o.users, "users", 60, "how many `users` log in")
	flag.DurationVar(&o.load, "load", time.Second, "how long all connections use their tokens")
	flag.StringVar(&o.chart, "chart", "", "draw how soon connections were cut into this `file`, an SVG")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *server {
		err = serve(ctx, os.Getenv("FLEET_DSN"), os.Stdin, os.Stdout)
	} else {
		err = play(ctx, os.Stdout, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}
