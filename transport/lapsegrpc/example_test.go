package lapsegrpc_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/transport/lapsegrpc"
)

// A server with the health service of gRPC: a stream of it ends with a log-out.
func Example() {
	ctx := context.Background()
	tokens, err := lapse.New(memory.New(), lapse.Config{})
	check(err)
	guard, err := lapsegrpc.New(tokens, lapsegrpc.Options{Methods: map[string]lapsegrpc.Rule{
		"/grpc.health.v1.Health/Check": {NoToken: true},
		"/grpc.health.v1.Health/Watch": {Scope: "watch"},
	}})
	check(err)
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(guard.Unary), grpc.ChainStreamInterceptor(guard.Stream))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	check(guard.Check(server.GetServiceInfo()))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go server.Serve(l)
	defer server.Stop()

	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())) // TLS, elsewhere
	check(err)
	defer conn.Close()
	client := grpc_health_v1.NewHealthClient(conn)

	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana@example.com", Scope: "watch"})
	check(err)
	stream, err := client.Watch(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+issued.Bearer), &grpc_health_v1.HealthCheckRequest{})
	check(err)
	answer, err := stream.Recv()
	check(err)
	fmt.Println(answer.Status)

	_, err = tokens.ExpireSubject(ctx, "ana@example.com")
	check(err)
	_, err = stream.Recv()
	fmt.Println(status.Code(err), "-", status.Convert(err).Message())
	// Output:
	// SERVING
	// Unauthenticated - the token is no good
}

// A spelling mistake in a rule ends the program before it serves.
func ExampleGuard_Check() {
	tokens, err := lapse.New(memory.New(), lapse.Config{})
	check(err)
	guard, err := lapsegrpc.New(tokens, lapsegrpc.Options{Methods: map[string]lapsegrpc.Rule{
		"/grpc.health.v1.Health/watch": {Scope: "watch"},
	}})
	check(err)
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(guard.Unary), grpc.ChainStreamInterceptor(guard.Stream))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	err = guard.Check(server.GetServiceInfo())
	fmt.Println(errors.Is(err, lapse.ErrInvalidConfig))
	// Output: true
}

// A handler of a unary method.
func ExampleTokenFrom() {
	handler := func(ctx context.Context, _ any) (any, error) {
		tok, _ := lapsegrpc.TokenFrom(ctx)
		return "hello " + tok.Subject, nil
	}
	tokens, err := lapse.New(memory.New(), lapse.Config{})
	check(err)
	guard, err := lapsegrpc.New(tokens, lapsegrpc.Options{})
	check(err)
	issued, err := tokens.Issue(context.Background(), lapse.Grant{Subject: "ana@example.com"})
	check(err)

	ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs("authorization", "Bearer "+issued.Bearer)) // as gRPC does
	fmt.Println(guard.Unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/hello.Greeter/Greet"}, handler))
	// Output: hello ana@example.com <nil>
}

// A handler that tells its client a minute before the stream ends.
func ExampleHoldFrom() {
	handler := func(_ any, stream grpc.ServerStream) error {
		soon := make(chan struct{}, 1)
		warn := func() { // once more after each renewal
			select {
			case soon <- struct{}{}:
			default:
			}
		}
		if hold, ok := lapsegrpc.HoldFrom(stream.Context()); ok {
			defer hold.WarnFunc(time.Minute, warn)()
		}
		for {
			select {
			case <-soon: // send a message that says so
			case <-stream.Context().Done():
				return nil
			}
		}
	}
	_ = handler
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
