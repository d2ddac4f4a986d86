// Grpc is a server and its clients in one program: each device of a person listens on a stream, and
// the stream ends with the token of the device.
//
//	go run ./grpc             # from examples/net; a story of some 20 seconds
//	go run ./grpc -ttl 3s     # the same, faster
//
// Read server.go first: it puts lapsegrpc before a service. service.go has what protoc would
// generate, client.go a device, and story.go what the devices do.
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
	addr := flag.String("addr", "127.0.0.1:0", "serve on this `host:port`; port 0 takes a free one")
	ttl := flag.Duration("ttl", 20*time.Second, "how long a token lives from its last use")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *addr, *ttl, systemClock{}, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "grpc:", err)
		os.Exit(1)
	}
}

type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
