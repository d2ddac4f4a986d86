package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// run serves on addr, and has two devices of Ana live their story.
func run(ctx context.Context, addr string, ttl time.Duration, clock lapse.Clock, out io.Writer) error {
	tokens, err := lapse.New(memory.New(), lapse.Config{Policy: lapse.Policy{TTL: ttl, RenewEvery: ttl / 100}, Clock: clock})
	if err != nil {
		return err
	}
	server, err := newServer(tokens)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	go server.Serve(l) // until Stop
	defer server.Stop()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())) // a program has TLS
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(out, "serving on %s; a token lives %v from its last use\n", l.Addr(), ttl)
	s := &story{ctx: ctx, out: out, tokens: tokens, conn: conn}
	s.tell(ttl)
	return s.err
}

// story is what happens. After the first error nothing more does.
type story struct {
	ctx    context.Context
	out    io.Writer
	tokens *lapse.Manager
	conn   *grpc.ClientConn
	err    error
}

func (s *story) tell(ttl time.Duration) {
	laptop, phone := s.signIn("laptop", "manage"), s.signIn("phone", "")
	laptopHears, phoneHears := s.listen(laptop), s.listen(phone)
	if s.err != nil {
		return
	}
	s.call(laptop, say, "hello")
	s.line("the phone hears", phoneHears)
	s.line("the laptop hears", laptopHears)

	s.note("the phone signs the laptop out: %s", answer(phone.call(s.ctx, signOut, "laptop")))
	s.note("the laptop signs the phone out")
	s.call(laptop, signOut, "phone")
	s.line("the phone hears", phoneHears)
	s.note("the phone says something: %s", answer(phone.call(s.ctx, say, "hello?")))

	s.call(laptop, say, "the phone is gone")
	s.line("the laptop hears", laptopHears)
	s.note("the laptop says nothing for %v", ttl)
	s.line("the laptop hears", laptopHears)
}

// signIn issues the token of a device. A program verifies a password before.
func (s *story) signIn(name, scope string) *device {
	issued, err := s.tokens.Issue(s.ctx, lapse.Grant{Subject: "ana@example.com", Name: name, Scope: scope})
	s.fail(err)
	return &device{conn: s.conn, bearer: issued.Bearer}
}

func (s *story) listen(d *device) grpc.ClientStream {
	stream, err := d.listen(s.ctx)
	s.fail(err)
	return stream
}

func (s *story) call(d *device, method, in string) { s.fail(d.call(s.ctx, method, in)) }

// line writes what comes next on a stream.
func (s *story) line(who string, stream grpc.ClientStream) {
	said, err := hear(stream)
	if err != nil {
		said = "the stream has ended: " + answer(err)
	}
	s.note("%s: %s", who, said)
}

func (s *story) note(format string, values ...any) {
	if s.err == nil {
		s.err = s.ctx.Err()
	}
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.out, format+"\n", values...)
	}
}

func (s *story) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// answer is what a client sees of err.
func answer(err error) string {
	return fmt.Sprintf("%v (%s)", status.Code(err), status.Convert(err).Message())
}
