package postgres

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/seed-55daa01a/lapse/storage"
)

// A notice is the payload of a NOTIFY: the number of the store that sends it in 16 hexadecimal digits,
// and then "gap", "probe " and a number, or "tell " and the changes in base64. A change is the ID, the
// length of the subject in one byte, and the subject.
const (
	// notifySQL sends a notice, without waiting for the disk.
	notifySQL = `SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)`

	// probeSQL sends a probe to the very connection that it is sent on, and asks the server's clock.
	probeSQL = `SELECT set_config('synchronous_commit', 'off', true), extract(epoch FROM clock_timestamp()) * 1000, pg_notify($1, $2)`

	// maxPayload is how many bytes a notice has at most; the server takes fewer than 8,000. maxNotices is
	// how many notices one Update sends at most. One that needs more sends a gap.
	maxPayload = 7000
	maxNotices = 4
)

// channel returns the name of the channel of the tables.
func (s *Store) channel() string { return channelPrefix + s.options.Schema }

const channelPrefix = "lapse."

// notices returns the notices of changes.
func (s *Store) notices(changes []storage.Change) (all []string) {
	if len(changes) == 0 {
		return nil
	}
	self := fmt.Sprintf("%016x ", s.self)
	var b []byte
	pack := func() {
		all = append(all, self+"tell "+base64.RawStdEncoding.EncodeToString(b))
		b = b[:0]
	}
	for _, c := range changes {
		if size := len(c.ID) + 1 + len(c.Subject); (len(b)+size)*4/3 > maxPayload {
			pack()
		}
		b = append(append(append(b, c.ID[:]...), byte(len(c.Subject))), c.Subject...)
		if len(all) >= maxNotices {
			return []string{self + "gap"}
		}
	}
	pack()
	return all
}

// listener hears the notices of other processes on a connection of its own, and proves again and again
// that it does.
type listener struct {
	s    *Store
	cfg  *pgx.ConnConfig // nil: that of the pool
	stop context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	offset  time.Duration // the server's clock, since 1970, less the time elapsed here
	within  time.Duration // how far that may be from the truth
	foundAt time.Duration // when it was found; 0: never
}

// startListener makes the connection, and returns once the first probe has been heard.
func startListener(ctx context.Context, s *Store, cfg *pgx.ConnConfig) (*listener, error) {
	l := &listener{s: s, cfg: cfg, done: make(chan struct{})}
	conn, err := l.connect(ctx, false)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.Background())
	l.stop = stop
	go l.loop(running, conn)
	return l, nil
}

func (l *listener) close() {
	l.stop()
	<-l.done
}

// patience is how long the answer to a probe may take.
func (l *listener) patience() time.Duration { return 8 * l.s.options.ProbeEvery }

var errSwallowed = fmt.Errorf("%w: the connection does not hear its own NOTIFY; a pooler in the mode of transactions swallows it: give Options.ListenDSN, the address of the server itself", storage.ErrUnavailable)

// connect returns a connection that listens, and has heard itself. With again it gives up an attempt that the
// network has forgotten.
func (l *listener) connect(ctx context.Context, again bool) (*pgx.Conn, error) {
	cfg, err := l.cfg, error(nil)
	if cfg == nil {
		cfg, err = connConfig(ctx, l.s.pool)
	}
	if err != nil {
		return nil, classify(err)
	}
	cfg = cfg.Copy()
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	limit := max(2*time.Second, l.patience())
	if again { // the first one may take as long as the caller wants
		cfg.ConnectTimeout = cmp.Or(cfg.ConnectTimeout, 2*limit)
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, classify(err)
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err = conn.Exec(limited, "LISTEN "+pgx.Identifier{l.s.channel()}.Sanitize())
	silence := errSwallowed
	if err == nil {
		err = l.probe(limited, conn)
	}
	if err == nil && l.cfg != nil {
		err, silence = l.meet(limited, conn), errElsewhere
	}
	if err != nil {
		conn.Close(context.WithoutCancel(ctx))
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = silence
		}
		return nil, classify(err)
	}
	return conn, nil
}

// loop listens on conn, and on a new connection whenever one has failed. While none listens, watches end
// with an error.
func (l *listener) loop(ctx context.Context, conn *pgx.Conn) {
	defer close(l.done)
	for tries := 0; ; {
		if conn != nil {
			tries = 0
			l.listen(ctx, conn)
			conn.Close(context.Background())
			l.s.feed.Fail(errDeaf)
		}
		tries++
		if pause(ctx, tries) != nil {
			return
		}
		if conn, _ = l.connect(ctx, true); conn != nil {
			l.s.feed.Restore()
		}
	}
}

var errDeaf = fmt.Errorf("%w: the connection that hears of changes is lost; another one is being made", storage.ErrUnavailable)

// listen passes notices on and probes, until the connection fails or a probe is not answered.
func (l *listener) listen(ctx context.Context, conn *pgx.Conn) {
	for ctx.Err() == nil {
		waiting, cancel := context.WithTimeout(ctx, l.s.options.ProbeEvery)
		err := l.hearAll(waiting, conn)
		cancel()
		if !pgconn.Timeout(err) || conn.IsClosed() {
			return
		}
		limited, cancel := context.WithTimeout(ctx, l.patience())
		err = l.probe(limited, conn)
		cancel()
		if err != nil {
			return
		}
	}
}

// hearAll passes notices on until ctx ends or the connection fails.
func (l *listener) hearAll(ctx context.Context, conn *pgx.Conn) error {
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		l.hear(n)
	}
}

// probe sends a notice to the connection itself, and passes on all that comes before it. The server keeps
// notices in the order in which their transactions were committed. So whatever was notified before the
// probe was sent has been passed on when the probe is heard.
func (l *listener) probe(ctx context.Context, conn *pgx.Conn) error {
	var nonce uint64
	if err := drawRandom(&nonce); err != nil {
		return err
	}
	payload := fmt.Sprintf("%016x probe %016x", l.s.self, nonce)
	sent := storage.Elapsed()
	var at float64
	if err := conn.QueryRow(ctx, probeSQL, l.s.channel(), payload).Scan(nil, &at, nil); err != nil {
		return err
	}
	l.setClock(at, sent, storage.Elapsed())
	if err := l.await(ctx, conn, payload); err != nil {
		return err
	}
	l.s.feed.AsOf(sent)
	return nil
}

// await passes notices on until payload is heard.
func (l *listener) await(ctx context.Context, conn *pgx.Conn, payload string) error {
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil || n.Payload == payload {
			return err
		}
		l.hear(n)
	}
}

// meet returns once conn hears what the pool notifies. ListenDSN may lead to another database.
func (l *listener) meet(ctx context.Context, conn *pgx.Conn) error {
	payload := fmt.Sprintf("%016x probe", l.s.self)
	if _, err := l.s.pool.Exec(ctx, notifySQL, l.s.channel(), payload); err != nil {
		return err
	}
	return l.await(ctx, conn, payload)
}

var errElsewhere = fmt.Errorf("%w: what the store notifies is not heard at Options.ListenDSN; it must lead to the same database of the same server as the DSN", storage.ErrUnavailable)

// hear passes a notice on, unless it is one of this store.
func (l *listener) hear(n *pgconn.Notification) {
	from, rest, _ := strings.Cut(n.Payload, " ")
	if sender, err := strconv.ParseUint(from, 16, 64); err == nil && sender == l.s.self {
		return
	}
	kind, body, _ := strings.Cut(rest, " ")
	if kind == "probe" {
		return
	}
	changes, ok := parseChanges(kind, body)
	if !ok {
		l.s.feed.Gap()
		return
	}
	for _, c := range changes {
		l.s.feed.Tell(c.ID, c.Subject)
	}
}

// parseChanges returns the changes of a notice. Anything else than whole changes is not ok.
func parseChanges(kind, body string) (changes []storage.Change, ok bool) {
	b, err := base64.RawStdEncoding.DecodeString(body)
	if kind != "tell" || err != nil {
		return nil, false
	}
	for len(b) > 0 {
		if len(b) < 17 || len(b) < 17+int(b[16]) {
			return nil, false
		}
		end := 17 + int(b[16])
		changes = append(changes, storage.Change{ID: storage.ID(b[:16]), Subject: string(b[17:end])})
		b = b[end:]
	}
	return changes, true
}

// setClock notes that the server's clock said milli, in Unix milliseconds, between two instants of
// storage.Elapsed. A note that is nearer to the truth stays for ten seconds.
func (l *listener) setClock(milli float64, sent, received time.Duration) {
	within := (received - sent) / 2
	offset := time.Duration(milli*float64(time.Millisecond)) - (sent + within)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.foundAt == 0 || within <= l.within || received-l.foundAt > 10*time.Second || (offset-l.offset).Abs() > within+l.within {
		l.offset, l.within, l.foundAt = offset, within, received
	}
}

// time returns the server's clock, carried on.
func (l *listener) time() (t time.Time, err time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Unix(0, int64(l.offset+storage.Elapsed())).UTC(), l.within, l.foundAt != 0
}

// Watch implements storage.Watcher. It tells of the changes of this process before their Updates return,
// and of those of others once their notices arrive: one that replaces or deletes a record. A renewal is
// not told. Every Options.ProbeEvery it proves what it is current to. It ends with an error that wraps
// storage.ErrUnavailable when the connection fails that hears notices; a watch that begins later has its
// Gap once another one hears.
func (s *Store) Watch(ctx context.Context) iter.Seq2[storage.Change, error] { return s.feed.Watch(ctx) }
