// Mcp is an MCP server over HTTP behind bearer tokens, and a client of it. The tools are whoami and clock,
// which runs until the token ends.
//
//	go run ./mcp                                             # in examples/net; prints a token
//	TOKEN=... go run ./mcp -connect http://127.0.0.1:8081/   # the client
//
// Read protect.go: it is all that lies between lapse and the SDK.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8081", "listen on this `address`")
	ttl := flag.Duration("ttl", time.Minute, "how long a token lives from its last use")
	url := flag.String("connect", "", "be a client of the server at this `URL`, with the token in TOKEN")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *url != "" {
		err = call(ctx, os.Stdout, *url, os.Getenv("TOKEN"))
	} else {
		err = run(ctx, *addr, *ttl)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mcp:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr string, ttl time.Duration) error {
	tokens, err := lapse.New(memory.New(), lapse.Config{Policy: lapse.Policy{TTL: ttl}})
	if err != nil {
		return err
	}
	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana", Name: "agent", Scope: scope})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("This token of %s lives for %v from its last use:\n%s\n", issued.Subject, ttl, issued.Bearer)
	fmt.Printf("Call the tools: TOKEN=... go run ./mcp -connect http://%s/\n", l.Addr())
	server := &http.Server{
		Handler:           routes(tokens, time.After),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx }, // the end of ctx ends every stream
	}
	context.AfterFunc(ctx, func() { server.Shutdown(context.Background()) })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
