package near

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// proving is a store in memory whose watches prove at their beginning that they are current for an hour.
type proving struct {
	*memory.Store
	settings map[string]string
	fails    chan error   // ends a watch
	heard    atomic.Int64 // how many changes were acted on
}

func newProving() *proving {
	return &proving{Store: memory.New(), settings: map[string]string{}, fails: make(chan error, 1)}
}

func (p *proving) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	return func(yield func(storage.Change, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var failed error
		go func() {
			select {
			case failed = <-p.fails:
				cancel()
			case <-ctx.Done():
			}
		}()
		for c, err := range p.Store.Watch(ctx) {
			if err != nil && failed != nil {
				err = failed
			}
			if !yield(c, err) || err != nil {
				return
			}
			p.heard.Add(1)
			if c.Gap && !yield(storage.Change{AsOf: storage.Elapsed() + time.Hour}, nil) {
				return
			}
		}
	}
}

func (p *proving) Setting(_ context.Context, name, value string) (string, error) {
	if _, there := p.settings[name]; !there {
		p.settings[name] = value
	}
	return p.settings[name], nil
}

// open returns a Store over a new store in memory.
func open(tb testing.TB, o Options) (*Store, *proving) {
	tb.Helper()
	p := newProving()
	s, err := New(tb.Context(), p, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s, p
}

func TestContract(t *testing.T) {
	storagetest.Run(t, storagetest.Backend{Open: func(tb testing.TB) storage.Store {
		s, _ := open(tb, Options{})
		return s
	}})
}

// TestContractOfWaitingEnds runs the contract where ends wait.
func TestContractOfWaitingEnds(t *testing.T) {
	storagetest.Run(t, storagetest.Backend{Open: func(tb testing.TB) storage.Store {
		s, _ := open(tb, Options{EndsWait: true, Lease: minLease})
		var passed atomic.Int64
		s.elapsed = func() time.Duration { return storage.Elapsed() + time.Duration(passed.Load()) }
		s.after = func(d time.Duration) (<-chan time.Time, func() bool) { // as if the lease were over
			passed.Add(int64(d))
			fires := make(chan time.Time)
			close(fires)
			return fires, func() bool { return true }
		}
		return s
	}})
}

func TestOptions(t *testing.T) {
	agreed := newProving()
	first, err := New(t.Context(), agreed, Options{Lease: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for name, row := range map[string]struct {
		store storage.Store
		o     Options
		says  string
	}{
		"below the least lease":      {newProving(), Options{Lease: minLease - 1}, "Lease"},
		"above the longest":          {newProving(), Options{Lease: maxLease + 1}, "Lease"},
		"another lease":              {agreed, Options{Lease: 2 * time.Second}, "near.lease"},
		"ends that wait here alone":  {agreed, Options{Lease: time.Second, EndsWait: true}, "EndsWait"},
		"fewer than no copies":       {newProving(), Options{MaxTokens: -1}, "MaxTokens"},
		"no watcher":                 {struct{ storage.Store }{memory.New()}, Options{}, "storage.Watcher"},
		"EndsWait without an accord": {memory.New(), Options{EndsWait: true}, "storage.Settings"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(t.Context(), row.store, row.o); !errors.Is(err, ErrInvalidOptions) || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v, want ErrInvalidOptions that names %s", err, row.says)
			}
		})
	}
	closed := newProving()
	closed.Close()
	if s, err := New(t.Context(), closed, Options{}); s != nil || !errors.Is(err, storage.ErrClosed) {
		t.Errorf("over a closed store: %v, %v", s, err)
	}
	for _, lease := range []time.Duration{minLease, maxLease} {
		s, err := New(t.Context(), newProving(), Options{Lease: lease})
		if err != nil {
			t.Fatalf("%v: %v", lease, err)
		}
		s.Close()
	}
}

// put stores a token of ana, and has a copy of it. It returns once the notice of the store was acted on,
// unless s does not listen: what comes later drops no copy.
func put(t *testing.T, s *Store) storage.Record {
	t.Helper()
	p, listens := s.store.(*proving), true
	select {
	case <-s.stopped:
		listens = false
	default:
	}
	r := storage.Record{Token: storage.Token{ID: storage.ID{1, 13: 5}, Subject: "ana", Prefix: "lapse",
		IssuedAt: time.Unix(1e9, 0).UTC(), ExpiresAt: time.Unix(2e9, 0).UTC()}}
	before := p.heard.Load()
	if err := s.Update(t.Context(), "ana", func(tx storage.Tx) error {
		if _, err := tx.Get(r.ID); !errors.Is(err, storage.ErrNotFound) { // a Put of what was not read may take something away
			return err
		}
		return tx.Put(r)
	}); err != nil {
		t.Fatal(err)
	}
	for listens && p.heard.Load() == before {
		runtime.Gosched()
	}
	copied(t, s, r.ID)
	return r
}

// copied has s read the record of id, and so keep a copy.
func copied(t *testing.T, s *Store, id storage.ID) {
	t.Helper()
	if _, err := s.Get(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Cached(id); !ok {
		t.Fatal("there is no copy of what was read")
	}
}

// TestLease: a copy is used before the end of the lease and of MaxAge, and not at it. The clock is read
// after the copy: a process that was stopped in between finds the lease over.
func TestLease(t *testing.T) {
	for name, row := range map[string]struct {
		now  time.Duration // since the proof and the read
		age  time.Duration // how much older than the proof the copy is
		want bool
	}{
		"before the end of the lease":   {defaultLease - 1, 0, true},
		"at the end of the lease":       {defaultLease, 0, false},
		"after it":                      {time.Hour, 0, false},
		"a copy of just under MaxAge":   {time.Second, MaxAge - time.Second - 1, true},
		"a copy of MaxAge":              {time.Second, MaxAge - time.Second, false},
		"a lease that a pause has used": {time.Minute, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := open(t, Options{})
			s.halt()
			const proof = time.Hour
			s.elapsed = func() time.Duration { return proof - row.age }
			r := func() storage.Record { s.until.Store(int64(time.Hour * 2)); return put(t, s) }()
			s.hear(storage.Change{AsOf: proof}, func() {})
			s.elapsed = func() time.Duration { return proof + row.now } // Cached asks once, at its end
			if _, ok := s.Cached(r.ID); ok != row.want {
				t.Errorf("used: %t, want %t", ok, row.want)
			}
		})
	}
}

// TestDrops: what drops a copy, and what does not.
func TestDrops(t *testing.T) {
	change := func(f func(r *storage.Record)) func(*Store, *proving, storage.Record) error {
		return func(s *Store, _ *proving, r storage.Record) error {
			return s.Update(context.Background(), r.Subject, func(tx storage.Tx) error {
				rec, err := tx.Get(r.ID)
				if err != nil {
					return err
				}
				f(&rec)
				return tx.Put(rec)
			})
		}
	}
	for name, row := range map[string]struct {
		do   func(s *Store, p *proving, r storage.Record) error
		want bool // there is a copy afterwards
	}{
		"an end":       {change(func(r *storage.Record) { r.EndedAt, r.EndReason = time.Unix(15e8, 0).UTC(), storage.EndRevoked }), false},
		"another name": {change(func(r *storage.Record) { r.Name = "phone" }), false},
		"a deletion": {func(s *Store, _ *proving, r storage.Record) error {
			return s.Update(context.Background(), r.Subject, func(tx storage.Tx) error { return tx.Delete(r.ID) })
		}, false},
		"a failed update": {func(s *Store, _ *proving, r storage.Record) error {
			_ = s.Update(context.Background(), r.Subject, func(tx storage.Tx) error { return errors.New("no") })
			return nil
		}, true},
		"a touch": {func(s *Store, _ *proving, r storage.Record) error {
			return s.Touch(context.Background(), r.ID, storage.Use{ExpiresAt: r.ExpiresAt.Add(time.Hour)})
		}, true},
		"an update elsewhere": {func(s *Store, p *proving, r storage.Record) error {
			err := p.Update(context.Background(), r.Subject, func(tx storage.Tx) error { r.Name = "elsewhere"; return tx.Put(r) })
			for err == nil {
				if _, ok := s.Cached(r.ID); !ok {
					break
				}
			}
			return err
		}, false},
		"a watch that fails": {func(s *Store, p *proving, r storage.Record) error {
			p.fails <- storage.ErrUnavailable
			for {
				if _, ok := s.Cached(r.ID); !ok {
					return nil
				}
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, p := open(t, Options{})
			r := put(t, s)
			if err := row.do(s, p, r); err != nil {
				t.Fatal(err)
			}
			got, ok := s.Cached(r.ID)
			if ok != row.want {
				t.Fatalf("a copy: %t, want %t", ok, row.want)
			}
			if want, err := s.Get(t.Context(), r.ID); ok && (err != nil || !got.Equal(want)) {
				t.Errorf("the copy is %v, and the record %v, %v", got, want, err)
			}
		})
	}
}

// TestReadDuringAChange: what was read before a change is not kept after it.
func TestReadDuringAChange(t *testing.T) {
	s, _ := open(t, Options{})
	r := put(t, s)
	s.copies.drop(r.ID)
	f := s.copies.begin(r.ID)
	old, err := s.store.Get(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), "ana", func(tx storage.Tx) error { r.Name = "new"; return tx.Put(r) }); err != nil {
		t.Fatal(err)
	}
	s.copies.finish(f, &old, 0, true)
	if got, ok := s.Cached(r.ID); ok {
		t.Errorf("kept %v", got)
	}
}

// TestMaxTokens: there are never more copies than MaxTokens.
func TestMaxTokens(t *testing.T) {
	const most = shards
	var c copies
	c.init(most)
	for i := range 10 * most {
		id := storage.ID{byte(i), byte(i >> 8), 13: byte(i)}
		c.finish(c.begin(id), &storage.Record{}, 0, true)
	}
	n := 0
	for i := range c.all {
		n += len(c.all[i].of)
		if len(c.all[i].fills) != 0 {
			t.Error("reads that have ended are kept")
		}
	}
	if n != most {
		t.Errorf("%d copies, want %d", n, most)
	}
}

// TestWaits: with EndsWait a call that takes something away returns Lease later, and no other does.
func TestWaits(t *testing.T) {
	for name, row := range map[string]struct {
		change func(r *storage.Record)
		want   bool
	}{
		"an end":         {func(r *storage.Record) { r.EndedAt, r.EndReason = time.Unix(15e8, 0).UTC(), storage.EndRevoked }, true},
		"a suspension":   {func(r *storage.Record) { r.SuspendedAt = time.Unix(15e8, 0).UTC() }, true},
		"another secret": {func(r *storage.Record) { r.Digest = storage.NewDigest(storage.SHA256, [32]byte{9}) }, true},
		"another, and a grace": {func(r *storage.Record) {
			r.Digest, r.PreviousUntil = storage.NewDigest(storage.SHA256, [32]byte{9}), r.IssuedAt.Add(time.Hour)
		}, true},
		"an earlier expiry": {func(r *storage.Record) { r.ExpiresAt = r.ExpiresAt.Add(-1e9); r.MaxExpiresAt = r.ExpiresAt }, true},
		"a cap":             {func(r *storage.Record) { r.MaxExpiresAt = r.ExpiresAt }, true},
		"another scope":     {func(r *storage.Record) { r.Scope = "read" }, true},
		"a renewal":         {func(r *storage.Record) { r.ExpiresAt = r.ExpiresAt.Add(1e9) }, false},
		"the presence":      {func(r *storage.Record) { r.AuthenticatedAt = time.Unix(15e8, 0).UTC() }, false},
		"nothing":           {func(r *storage.Record) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := open(t, Options{EndsWait: true, Lease: time.Second})
			r := put(t, s)
			now, waited := storage.Elapsed(), time.Duration(0)
			s.elapsed = func() time.Duration { return now + waited }
			s.after = func(d time.Duration) (<-chan time.Time, func() bool) {
				waited += d
				fires := make(chan time.Time)
				close(fires)
				return fires, func() bool { return true }
			}
			err := s.Update(t.Context(), "ana", func(tx storage.Tx) error {
				rec, err := tx.Get(r.ID)
				if err != nil {
					return err
				}
				row.change(&rec)
				return tx.Put(rec)
			})
			if want := map[bool]time.Duration{true: time.Second + time.Second/500}[row.want]; err != nil || waited != want {
				t.Errorf("waited %v, %v; want %v", waited, err, want)
			}
		})
	}
}

// TestNewRecordsDoNotWait: with EndsWait no call waits for a record that it has made itself, which no process has a
// copy of, however often the call puts it.
func TestNewRecordsDoNotWait(t *testing.T) {
	for name, first := range map[string]func(tx storage.Tx, r storage.Record) bool{
		"found absent": func(tx storage.Tx, r storage.Record) bool {
			_, err := tx.Get(r.ID)
			return err != nil && tx.Put(r) == nil
		},
		"put if it fits": func(tx storage.Tx, r storage.Record) bool { return tx.(storage.Fitter).PutIfFits(&r, 9, r.IssuedAt) },
	} {
		s, _ := open(t, Options{EndsWait: true, Lease: time.Second})
		r := put(t, s)
		r.ID[0]++
		now, waited := storage.Elapsed(), time.Duration(0)
		s.elapsed = func() time.Duration { return now + waited }
		s.after = func(d time.Duration) (<-chan time.Time, func() bool) {
			waited += d
			fires := make(chan time.Time)
			close(fires)
			return fires, func() bool { return true }
		}
		err := s.Update(t.Context(), "ana", func(tx storage.Tx) error {
			if !first(tx, r) {
				t.Errorf("%s: the record is not put", name)
			}
			r.MaxExpiresAt = r.ExpiresAt
			return tx.Put(r)
		})
		if err != nil || waited != 0 {
			t.Errorf("%s: waited %v, %v; want no wait", name, waited, err)
		}
	}
}

// TestWaitIsCutShort: a caller whose context ends while the call waits is told that the write is done.
func TestWaitIsCutShort(t *testing.T) {
	s, _ := open(t, Options{EndsWait: true, Lease: time.Hour})
	r := put(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	s.after = func(time.Duration) (<-chan time.Time, func() bool) {
		cancel()
		return nil, func() bool { return true }
	}
	err := s.Update(ctx, "ana", func(tx storage.Tx) error { return tx.Delete(r.ID) })
	if !errors.Is(err, storage.ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Get(t.Context(), r.ID); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the record after the deletion: %v", err)
	}
}

func ExampleNew() {
	ctx := context.Background()
	store := newProving() // in a program: postgres.Open

	copies, err := New(ctx, store, Options{Lease: 2 * time.Second})
	if err != nil {
		panic(err)
	}
	defer copies.Close()
	tokens, err := lapse.New(copies, lapse.Config{})
	if err != nil {
		panic(err)
	}
	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		panic(err)
	}
	for range 2 { // the second check needs no other machine
		if _, err := tokens.Authenticate(ctx, issued.Bearer); err != nil {
			panic(err)
		}
	}
	// Output:
}

// BenchmarkAuthenticate checks tokens by copies at hand and in memory, by turns, and reports the ratio.
func BenchmarkAuthenticate(b *testing.B) {
	s, _ := open(b, Options{})
	plain := memory.New()
	defer plain.Close()
	var check [2]func(i int)
	const tokens = 1000
	for side, store := range []storage.Store{s, plain} {
		m, err := lapse.New(store, lapse.Config{Policy: lapse.Policy{RenewEvery: 29 * time.Minute}})
		if err != nil {
			b.Fatal(err)
		}
		texts := make([]string, tokens)
		for i := range texts {
			issued, err := m.Issue(b.Context(), lapse.Grant{Subject: fmt.Sprint("subject ", i), TTL: 30 * time.Minute})
			if err != nil {
				b.Fatal(err)
			}
			texts[i] = issued.Bearer
		}
		check[side] = func(i int) {
			if _, err := m.Authenticate(context.Background(), texts[i%tokens]); err != nil {
				b.Fatal(err)
			}
		}
		for i := range tokens {
			check[side](i)
		}
	}
	b.ReportAllocs()
	var took [2]time.Duration
	for i := 0; b.Loop(); i++ {
		for side := range check {
			begin := time.Now()
			for k := range tokens {
				check[side](k)
			}
			took[side] += time.Since(begin)
		}
	}
	b.ReportMetric(float64(took[0])/float64(took[1]), "near/memory")
}
