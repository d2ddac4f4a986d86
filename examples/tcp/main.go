// Tcp serves a line protocol to clients that hold a token. The first line that a client
// sends is the token. From then on the connection lives as long as the token does, also
// when a rotation gives the token another text.
//
//	go run ./examples/tcp            # prints a token, and how to use it
//
// Read serve.go: a server of any protocol does what its function attend does, and tells
// the client why it hangs up, as farewell does.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:7007", "listen on this `address`")
	ttl := flag.Duration("ttl", time.Minute, "how long a token lives from its last use")
	flag.Parse()
	if err := run(*addr, *ttl); err != nil {
		fmt.Fprintln(os.Stderr, "tcp:", err)
		os.Exit(1)
	}
}

// run serves until it is interrupted.
func run(addr string, ttl time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	tokens, err := lapse.New(memory.New(), lapse.Config{Policy: lapse.Policy{TTL: ttl}})
	if err != nil {
		return err
	}
	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana@example.com", Name: "terminal"})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("Connect twice: nc %s\nThe first line is this token of %s:\n%s\n", l.Addr(), issued.Subject, issued.Bearer)
	fmt.Printf("Then say anything, or who, rotate, or logout. %v of silence, and the token runs out.\n", ttl)
	return serve(ctx, l, tokens)
}
