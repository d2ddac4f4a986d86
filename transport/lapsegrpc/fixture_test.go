package lapsegrpc_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/transport/lapsegrpc"
)

type text = wrapperspb.StringValue

const (
	get    = "/test.Notes/Get"    // unary
	talk   = "/test.Notes/Talk"   // a stream both ways
	public = "/test.Notes/Public" // unary, needs no token
)

// notes is a service whose handlers a test chooses.
type notes struct {
	get  func(context.Context) (string, error)
	talk func(grpc.ServerStream) error
}

func unary(name string) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, dec func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		in := new(text)
		if err := dec(in); err != nil {
			return nil, err
		}
		info := &grpc.UnaryServerInfo{Server: srv, FullMethod: "/test.Notes/" + name}
		return intercept(ctx, in, info, func(ctx context.Context, _ any) (any, error) {
			out, err := srv.(*notes).get(ctx)
			return wrapperspb.String(out), err
		})
	}}
}

var service = grpc.ServiceDesc{
	ServiceName: "test.Notes",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{unary("Get"), unary("Public")},
	Streams: []grpc.StreamDesc{{StreamName: "Talk", ServerStreams: true, ClientStreams: true,
		Handler: func(srv any, ss grpc.ServerStream) error { return srv.(*notes).talk(ss) }}},
}

// scene is a real server with a real client. Its time stands still unless a test moves it.
type scene struct {
	t      testing.TB
	tokens *lapse.Manager
	store  *memory.Store
	clock  *clock.Mock
	conn   *grpc.ClientConn
	notes  *notes
}

// who answers with the subject of the token.
func who(ctx context.Context) (string, error) {
	tok, ok := lapsegrpc.TokenFrom(ctx)
	if !ok {
		return "no token", nil
	}
	return tok.Subject, nil
}

// echo sends a header, by which the client knows that the stream is held, and then back all that it
// receives.
func echo(ss grpc.ServerStream) error {
	if err := ss.SendHeader(nil); err != nil {
		return err
	}
	for {
		m := new(text)
		if err := ss.RecvMsg(m); err != nil {
			return err
		}
		if err := ss.SendMsg(m); err != nil {
			return err
		}
	}
}

func newScene(t testing.TB, cfg lapse.Config, o lapsegrpc.Options, more ...grpc.ServerOption) *scene {
	t.Helper()
	s := &scene{t: t, clock: clock.NewMock(), store: memory.New(), notes: &notes{get: who, talk: echo}}
	s.clock.Set(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC))
	cfg.Clock = s.clock
	s.tokens = must(lapse.New(s.store, cfg))
	guard := must(lapsegrpc.New(s.tokens, o))
	server := grpc.NewServer(append(more, grpc.ChainUnaryInterceptor(guard.Unary), grpc.ChainStreamInterceptor(guard.Stream))...)
	server.RegisterService(&service, s.notes)
	if err := guard.Check(server.GetServiceInfo()); err != nil {
		t.Fatal(err)
	}
	l := bufconn.Listen(1 << 16)
	go server.Serve(l)
	s.conn = must(grpc.NewClient("passthrough:notes", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(1<<16), // or the window grows, and SendMsg seldom waits
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) })))
	t.Cleanup(func() {
		s.conn.Close()
		server.Stop() // waits for all handlers
	})
	return s
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (s *scene) issue(g lapse.Grant) lapse.Issued {
	s.t.Helper()
	if g.Subject == "" {
		g.Subject = "ana@example.com"
	}
	return must(s.tokens.Issue(s.t.Context(), g))
}

// with returns a context that sends values of the metadata "authorization".
func (s *scene) with(values ...string) context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute) // for a test that hangs
	s.t.Cleanup(cancel)
	return metadata.NewOutgoingContext(ctx, metadata.MD{"authorization": values})
}

func (s *scene) call(ctx context.Context, method string) (string, error) {
	out := new(text)
	err := s.conn.Invoke(ctx, method, wrapperspb.String(""), out)
	return out.Value, err
}

func (s *scene) open(ctx context.Context) grpc.ClientStream {
	s.t.Helper()
	return must(s.conn.NewStream(ctx, &service.Streams[0], talk))
}

// say sends a message, and returns the answer.
func say(c grpc.ClientStream, message string) (string, error) {
	_ = c.SendMsg(wrapperspb.String(message)) // what is wrong, RecvMsg says
	m := new(text)
	err := c.RecvMsg(m)
	return m.Value, err
}
