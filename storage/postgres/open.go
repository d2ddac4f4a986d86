package postgres

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/feed"
)

var (
	_ storage.Store       = (*Store)(nil)
	_ storage.Watcher     = (*Store)(nil)
	_ storage.BatchGetter = (*Store)(nil)
	_ storage.Pager       = (*Store)(nil)
	_ storage.IDUpdater   = (*Store)(nil)
	_ storage.MarkSharer  = (*Store)(nil)
	_ storage.Timekeeper  = (*Store)(nil)
)

// Store is a storage.Store in PostgreSQL. It is safe for concurrent use.
type Store struct {
	pool     *pgxpool.Pool
	ownPool  bool // made by Open
	options  Options
	patience patience
	sql      *statements
	self     uint64 // a random number by which the store knows its own notices
	feed     feed.Feed
	marks    *storage.Marks
	listen   *listener
	touches  *deferred
	doubts   doubts
	untold   atomic.Bool // other processes were not told of some change
	locks    subjectLocks
	copies   copies

	mu     sync.Mutex
	calls  sync.WaitGroup // the calls under way
	closed bool
	key    [32]byte // signs the places of Page
}

// patience is how long a Store waits for the server where no context of a caller's says so.
type patience struct {
	commit  time.Duration // for the answer to a commit, and for the row of a Touch
	resolve time.Duration // until it knows what became of a commit that was not answered
	close   time.Duration // until Close has written the renewals that wait
}

// Options are settings of a Store. The zero value of each field is usable.
type Options struct {
	// Schema is the schema of the tables, a name of 57 bytes at most; "" means "lapse".
	Schema string

	// Partitions is how many partitions Migrate gives a new table of tokens, by the last bytes of
	// their IDs; 0: the table is not partitioned. Later calls leave the table as it is.
	Partitions int

	// FlushEvery is how long a renewal by use may wait until it is written: a millisecond at least;
	// 0: a second.
	FlushEvery time.Duration

	// ProbeEvery is how often the store proves that it hears the notices of other processes: every
	// millisecond at most; 0: every quarter of a second. A proof that takes longer than eight times
	// as long ends all watches.
	ProbeEvery time.Duration

	// ListenDSN leads to the server itself, where the DSN leads to a pooler; "": the DSN.
	ListenDSN string
}

func (o *Options) withDefaults() Options {
	var all Options
	if o != nil {
		all = *o
	}
	all.Schema = cmp.Or(all.Schema, "lapse")
	all.FlushEvery = cmp.Or(all.FlushEvery, time.Second)
	all.ProbeEvery = cmp.Or(all.ProbeEvery, 250*time.Millisecond)
	return all
}

// connectPatience is how long an attempt to connect takes its place in the pool, unless connect_timeout in the
// DSN says otherwise.
const connectPatience = 10 * time.Second

// Open connects to the database that dsn names, in the form of a URL or of libpq's key=value pairs.
// Migrate must have made the tables. Open checks that, and that the store hears the notices of other
// processes. The caller closes the store.
//
// No error contains a password. Errors wrap storage.ErrUnavailable; one that a restart will not mend,
// such as missing tables, says what to do.
func Open(ctx context.Context, dsn string, o *Options) (*Store, error) {
	cfg, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	Configure(cfg)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, classify(err)
	}
	s, err := New(ctx, pool, o)
	if err != nil {
		go pool.Close() // it waits for connections that do not answer
		return nil, err
	}
	s.ownPool = true
	return s, nil
}

// Configure sets what a Store needs of each connection of its pool. Open calls it; call it before you make
// a pool for New. It replaces AfterConnect and OnNotice, and ValidateConnect unless the DSN has a
// target_session_attrs. With a pool that lacks it the store may read from a standby, and takes a commit
// whose wait for a standby was cancelled for one that the standby has.
func Configure(cfg *pgxpool.Config) {
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, planning+defaults)
		return err
	}
	cfg.ConnConfig.OnNotice = noteWarning
	cfg.ConnConfig.ConnectTimeout = cmp.Or(cfg.ConnConfig.ConnectTimeout, connectPatience)
	if cfg.ConnConfig.ValidateConnect == nil {
		cfg.ConnConfig.ValidateConnect = refuseStandby
	}
}

// planning has a connection keep the first plan of each statement: a plan of its own for each set of values
// costs more than the statements take. That plan may be made while the tables are empty, and so it must
// find each row by an index.
const planning = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"

// defaults are what the server, the database or the role may have otherwise: an Update that waits for another one
// goes on behind it, which fails in any higher isolation; bodies that come as text come in the one form that pgx
// reads; and the warning comes that noteWarning waits for.
const defaults = "; SET default_transaction_isolation = 'read committed'; SET bytea_output = hex; SET client_min_messages = warning"

// parse returns the configuration of a pool. An error of pgx may quote the text, and with it a
// password.
func parse(dsn string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("%w: the DSN cannot be read; its form is postgres://user:password@host:port/database?sslmode=verify-full", storage.ErrUnavailable)
	}
	return cfg, nil
}

// New is Open over a pool of the caller's, which Close leaves open. Make the pool of a configuration that
// Configure has seen. The store makes one more connection, to listen.
func New(ctx context.Context, pool *pgxpool.Pool, o *Options) (*Store, error) {
	s := &Store{
		pool: pool, options: o.withDefaults(), marks: storage.NewMarks(storage.Mark{}, nil),
		patience: patience{commit: 30 * time.Second, resolve: 8 * time.Second, close: 10 * time.Second},
	}
	if s.options.FlushEvery < time.Millisecond || s.options.ProbeEvery < time.Millisecond {
		return nil, fmt.Errorf("%w: Options.FlushEvery or ProbeEvery is under a millisecond; leave it at 0 for the default", storage.ErrUnavailable)
	}
	s.sql = newStatements(s.options.Schema)
	if err := drawRandom(&s.self, &s.key); err != nil {
		return nil, err
	}
	if err := s.checkSchema(ctx); err != nil {
		return nil, err
	}
	var listen *pgx.ConnConfig
	if s.options.ListenDSN != "" {
		direct, err := parse(s.options.ListenDSN)
		if err != nil {
			return nil, err
		}
		listen = direct.ConnConfig
	}
	l, err := startListener(ctx, s, listen)
	if err != nil {
		return nil, err
	}
	s.listen = l
	s.touches = newDeferred(s)
	return s, nil
}

// connConfig returns how pool would make its next connection.
func connConfig(ctx context.Context, pool *pgxpool.Pool) (*pgx.ConnConfig, error) {
	cfg := pool.Config()
	if cfg.BeforeConnect == nil {
		return cfg.ConnConfig, nil
	}
	return cfg.ConnConfig, cfg.BeforeConnect(ctx, cfg.ConnConfig)
}

// Format writes the name of the type and nothing of the content.
func (s *Store) Format(f fmt.State, _ rune) { io.WriteString(f, "postgres.Store") }

// begin counts a call that is under way, until the caller calls end. The error is storage.ErrClosed,
// or that of ctx.
func (s *Store) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return storage.ErrClosed
	}
	s.calls.Add(1)
	return nil
}

func (s *Store) end() { s.calls.Done() }

// Close implements storage.Store. It waits for the calls under way, and writes the renewals that wait. If
// the server does not answer, it gives the renewals up after ten seconds and returns the error. Then it
// waits for the connections of its pool, for another fifteen seconds at most.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	s.feed.Close()
	s.calls.Wait()
	err := s.touches.close()
	s.listen.close()
	if s.ownPool {
		s.pool.Close()
	}
	return err
}

// SharedMarks implements storage.MarkSharer.
func (s *Store) SharedMarks() *storage.Marks { return s.marks }

// Time implements storage.Timekeeper: the clock of the server, as the last probes found it.
func (s *Store) Time() (t time.Time, err time.Duration, ok bool) { return s.listen.time() }
