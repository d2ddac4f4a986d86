package main

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/transport/lapsegrpc"
)

// newServer returns a server whose methods need a token of tokens.
func newServer(tokens *lapse.Manager) (*grpc.Server, error) {
	guard, err := lapsegrpc.New(tokens, lapsegrpc.Options{Methods: map[string]lapsegrpc.Rule{
		signOut: {Scope: "manage"},
	}})
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(guard.Unary), grpc.ChainStreamInterceptor(guard.Stream))
	server.RegisterService(&boardService, &board{tokens: tokens, ears: make(map[chan string]string)})
	return server, guard.Check(server.GetServiceInfo())
}

// board is the service: what one device of a person says, all of them hear.
type board struct {
	tokens *lapse.Manager

	mu   sync.Mutex
	ears map[chan string]string // the person of each device that listens
}

// listen sends what is said until the token of the device ends. The client then gets Unauthenticated,
// whatever listen returns.
func (b *board) listen(_ *text, stream grpc.ServerStream) error {
	tok, _ := lapsegrpc.TokenFrom(stream.Context())
	heard := b.join(tok.Subject)
	defer b.leave(heard)
	if err := stream.SendHeader(nil); err != nil { // the client knows that it hears now
		return err
	}
	for {
		select {
		case said := <-heard:
			if err := stream.SendMsg(wrapperspb.String(said)); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// say is a use of the token, and so it moves the end of the stream of the same device.
func (b *board) say(ctx context.Context, in *text) (*text, error) {
	tok, _ := lapsegrpc.TokenFrom(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	for ear, person := range b.ears {
		if person != tok.Subject {
			continue
		}
		select {
		case ear <- tok.Name + " says: " + in.Value:
		default: // a device that does not read misses it
		}
	}
	return new(text), nil
}

// signOut ends the tokens of the caller's devices of that name.
func (b *board) signOut(ctx context.Context, in *text) (*text, error) {
	tok, _ := lapsegrpc.TokenFrom(ctx)
	for device, err := range b.tokens.List(ctx, lapse.Query{Subject: tok.Subject, Name: in.Value}) {
		if err == nil {
			_, err = b.tokens.Expire(ctx, device.ID)
		}
		if err != nil {
			return nil, status.Error(codes.Unavailable, "try again") // an error of lapse may name the token
		}
	}
	return new(text), nil
}

func (b *board) join(person string) chan string {
	ear := make(chan string, 16)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ears[ear] = person
	return ear
}

func (b *board) leave(ear chan string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.ears, ear)
}
