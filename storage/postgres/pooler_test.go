package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-55daa01a/lapse/storage"
)

// sharing stands before the server as a pooler does that resets no session: a connection to the server
// whose client has left serves the next client as it is.
type sharing struct {
	host string
	mu   sync.Mutex
	free []*shared
	busy int        // clients that have not left
	left *sync.Cond // told when busy falls
}

// shared is a connection to the server, and what the server has said when it began.
type shared struct {
	net.Conn
	greeting []byte
	mu       sync.Mutex
	client   io.Writer
}

// startSharing returns the DSN of a pooler that shares sessions, and what waits until all of its clients have left.
func startSharing(t *testing.T) (dsn string, alone func()) {
	to, err := url.Parse(server.dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &sharing{host: to.Host}
	p.left = sync.NewCond(&p.mu)
	t.Cleanup(func() { l.Close(); p.close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.count(1)
			go p.serve(client)
		}
	}()
	through := *to
	through.Host = l.Addr().String()
	return through.String(), p.alone
}

func (p *sharing) count(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy += n
	p.left.Broadcast()
}

// alone waits until all clients have left, so that the next client gets the session of one of them.
func (p *sharing) alone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.busy > 0 {
		p.left.Wait()
	}
}

func (p *sharing) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.free {
		conn.Close()
	}
}

// serve passes the messages of a client on until the client leaves.
func (p *sharing) serve(client net.Conn) {
	defer p.count(-1)
	defer client.Close()
	begin, err := message(client, 0)
	if err != nil {
		return
	}
	conn, err := p.take(begin, client)
	if err != nil {
		return
	}
	for {
		b, err := message(client, 1)
		if err != nil || b[0] == 'X' { // Terminate
			break
		}
		conn.Write(b)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, conn)
}

// take returns a connection to the server, and has it answer to client.
func (p *sharing) take(begin []byte, client io.Writer) (*shared, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		conn := p.free[n-1]
		p.free = p.free[:n-1]
		conn.mu.Lock()
		defer conn.mu.Unlock()
		conn.client = client
		_, err := client.Write(conn.greeting)
		return conn, err
	}
	to, err := net.Dial("tcp", p.host)
	if err != nil {
		return nil, err
	}
	conn := &shared{Conn: to, client: client}
	if _, err := conn.Write(begin); err != nil {
		return nil, err
	}
	for done := false; !done; {
		b, err := message(conn, 1)
		if err != nil {
			return nil, err
		}
		conn.greeting, done = append(conn.greeting, b...), b[0] == 'Z' // ReadyForQuery
	}
	go conn.answer()
	_, err = client.Write(conn.greeting)
	return conn, err
}

// answer passes the answers of the server on.
func (c *shared) answer() {
	for {
		b, err := message(c, 1)
		if err != nil {
			return
		}
		c.mu.Lock()
		c.client.Write(b)
		c.mu.Unlock()
	}
}

// message reads a message of the protocol, whose length stands behind the first head bytes.
func message(from io.Reader, head int) ([]byte, error) {
	b := make([]byte, head+4)
	if _, err := io.ReadFull(from, b); err != nil {
		return nil, err
	}
	b = append(b, make([]byte, binary.BigEndian.Uint32(b[head:])-4)...)
	_, err := io.ReadFull(from, b[head+4:])
	return b, err
}

// TestSettlingLeavesNoSetting: finding out what became of a commit changes no setting of the session. The
// next client of a pooler would go on with it, and would not wait for the standby.
func TestSettlingLeavesNoSetting(t *testing.T) {
	o := &Options{Schema: "settling", ListenDSN: dsn(t)}
	emptied(t, o)
	through, _ := startSharing(t)
	through += "&default_query_exec_mode=exec"
	s := openedAt(t, through, o)
	for _, row := range doubtful {
		if row.old {
			if err := s.Update(t.Context(), "ana", puts(numbered(1))); err != nil {
				t.Fatal(err)
			}
		}
		_, c := prepare(t, s, row.fn)
		if err := s.settle(t.Context(), c, false); err != errNeverWritten {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	conn, err := pgx.Connect(t.Context(), through)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var setting string
	if err := conn.QueryRow(t.Context(), "SHOW synchronous_commit").Scan(&setting); err != nil || setting != "on" {
		t.Errorf("synchronous_commit = %q, %v; want on", setting, err)
	}
}

// TestPreparedByAnotherClient: where a pooler mixes up what its clients have prepared, the error says which mode does
// without, and the store works in that mode.
func TestPreparedByAnotherClient(t *testing.T) {
	o := &Options{Schema: "mixed up", ListenDSN: dsn(t)}
	emptied(t, o)
	through, alone := startSharing(t)
	var err error
	for range 2 { // the second client gets the session of the first one
		var s *Store
		if s, err = Open(t.Context(), through, o); err == nil {
			err = s.Close()
		}
		alone()
	}
	if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "default_query_exec_mode=exec") {
		t.Errorf("Open = %v; want ErrUnavailable that names the mode", err)
	}
	openedAt(t, through+"&default_query_exec_mode=exec", o)
}

// TestSettleWithoutAFreePlace: where the role may make no more connections, what is in doubt is settled on one of
// the pool. The store answers again.
func TestSettleWithoutAFreePlace(t *testing.T) {
	o := &Options{Schema: "crowded"}
	emptied(t, o)
	_, err := adminPool(t).Exec(t.Context(), `DROP OWNED BY crowded; DROP ROLE crowded`)
	if err != nil && code(err) != "42704" { // undefined_object
		t.Fatal(err)
	}
	_, err = adminPool(t).Exec(t.Context(), `CREATE ROLE crowded LOGIN CONNECTION LIMIT 2; GRANT USAGE ON SCHEMA crowded TO crowded; GRANT ALL ON ALL TABLES IN SCHEMA crowded TO crowded`)
	if err != nil {
		t.Fatal(err)
	}
	s := openedAt(t, strings.Replace(dsn(t), "lapse@", "crowded@", 1)+"&pool_max_conns=1", o) // and one to listen
	for _, row := range doubtful {
		if row.old {
			if err := s.Update(t.Context(), "ana", puts(numbered(1))); err != nil {
				t.Fatal(err)
			}
		}
		_, c := prepare(t, s, row.fn)
		if err := s.settle(t.Context(), c, true); err != errNeverWritten {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

// TestBeforeConnect: what a pool does before it connects, such as to give a new password, holds for the connections
// that the store makes beside the pool, too. What the pool does behind it holds for those that settle.
func TestBeforeConnect(t *testing.T) {
	o := &Options{Schema: "before"}
	emptied(t, o)
	cfg, err := pgxpool.ParseConfig(dsn(t))
	if err != nil {
		t.Fatal(err)
	}
	user := cfg.ConnConfig.User
	cfg.ConnConfig.User = "not the user"
	cfg.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error { c.User = user; return nil }
	var made atomic.Int64
	cfg.AfterConnect = func(context.Context, *pgx.Conn) error { made.Add(1); return nil }
	s := openedOn(t, cfg, o)
	_, c := prepare(t, s, issues(numbered(1)))
	made.Store(0)
	if err := s.settle(t.Context(), c, false); err != errNeverWritten || made.Load() != 1 {
		t.Errorf("settle = %v, with %d calls of AfterConnect; want one", err, made.Load())
	}
}
