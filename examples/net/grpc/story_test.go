package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

const ttl = 3 * time.Second

// audience keeps what it reads, and lets the time pass when the laptop says nothing.
type audience struct {
	bytes.Buffer
	clock *clock.Mock
}

func (a *audience) Write(line []byte) (int, error) {
	n, err := a.Buffer.Write(line)
	if bytes.HasPrefix(line, []byte("the laptop says nothing")) {
		a.clock.Add(ttl + time.Second)
	}
	return n, err
}

// The program tells the story that its README has.
func TestStory(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := strings.Cut(string(readme), "```text\n")
	want, _, _ = strings.Cut(want, "```")
	_, want, _ = strings.Cut(want, "; a token lives ") // the port is another one
	a := &audience{clock: clock.NewMock()}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := run(ctx, "127.0.0.1:0", ttl, a.clock, a); err != nil {
		t.Fatal(err)
	}
	if _, got, _ := strings.Cut(a.String(), "; a token lives "); got != want {
		t.Errorf("the program says\n%s\nand its README\n%s", got, want)
	}
}

// Each use moves the end of a stream, and an open stream is none. Before, at and after the end:
func TestStreamEnds(t *testing.T) {
	for _, row := range []struct {
		after time.Duration
		want  codes.Code
	}{{ttl - time.Millisecond, codes.OK}, {ttl, codes.Unauthenticated}, {ttl + time.Millisecond, codes.Unauthenticated}} {
		mock := clock.NewMock()
		tokens, err := lapse.New(memory.New(), lapse.Config{Policy: lapse.Policy{TTL: ttl, RenewEvery: time.Millisecond}, Clock: mock})
		if err != nil {
			t.Fatal(err)
		}
		issued, err := tokens.Issue(t.Context(), lapse.Grant{Subject: "ana@example.com", Name: "phone"})
		if err != nil {
			t.Fatal(err)
		}
		d := &device{conn: dial(t, tokens), bearer: issued.Bearer}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		stream, err := d.listen(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 { // longer than one life
			mock.Add(ttl / 2)
			if err := d.call(ctx, say, "hello"); err != nil {
				t.Fatal(err)
			}
			if said, err := hear(stream); said != "phone says: hello" {
				t.Fatal(said, err)
			}
		}
		mock.Add(row.after)
		if got := status.Code(d.call(ctx, say, "hello")); got != row.want {
			t.Errorf("%v after the last use: %v, want %v", row.after, got, row.want)
		}
		if row.want == codes.OK {
			continue
		}
		mock.Add(time.Second)
		if _, err := hear(stream); status.Code(err) != row.want {
			t.Errorf("%v after the last use the stream: %v, want %v", row.after, err, row.want)
		}
	}
}

// dial serves tokens, and returns a connection.
func dial(t *testing.T, tokens *lapse.Manager) *grpc.ClientConn {
	t.Helper()
	server, err := newServer(tokens)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
	})
	return conn
}

// What the README quotes stands in the code, line for line.
func TestReadme(t *testing.T) {
	var code strings.Builder
	for _, name := range []string{"server.go", "client.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(text)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	quotes := strings.Split(string(readme), "```go\n")[1:]
	for _, quote := range quotes {
		if quote, _, _ = strings.Cut(quote, "```"); !strings.Contains(code.String(), "\n"+quote) {
			t.Errorf("this is nowhere in the code:\n%s", quote)
		}
	}
	if len(quotes) != 2 {
		t.Errorf("the README quotes %d times, want 2", len(quotes))
	}
}
