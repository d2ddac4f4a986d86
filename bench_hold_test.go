package lapse

import (
	"context"
	"fmt"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

const (
	benchHolds = 100_000
	benchCrowd = 10_000 // of them are one subject's
)

// haltedClock stands still until it is told to go.
type haltedClock struct {
	from    time.Time
	started atomic.Pointer[time.Time]
	timers  sync.Map // of its channels
}

func (c *haltedClock) Now() time.Time {
	if started := c.started.Load(); started != nil {
		return c.from.Add(time.Since(*started))
	}
	return c.from
}

// After returns a channel that fires after d, and as the clock starts.
func (c *haltedClock) After(d time.Duration) <-chan time.Time {
	fires := make(chan time.Time, 1)
	time.AfterFunc(d, func() { fire(fires) })
	c.timers.Store(fires, nil)
	return fires
}

func fire(c chan time.Time) {
	select {
	case c <- time.Now():
	default:
	}
}

func (c *haltedClock) start() {
	now := time.Now()
	c.started.Store(&now)
	for fires := range c.timers.Range {
		fire(fires.(chan time.Time))
	}
}

// readings counts how often a store in memory is read.
type readings struct {
	*memory.Store
	n atomic.Int64
}

func (r *readings) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	r.n.Add(1)
	return r.Store.Get(ctx, id)
}

// crowd is many tokens and the connections that are held by them.
type crowd struct {
	b       *testing.B
	m       *Manager
	store   *readings
	clock   *haltedClock
	bearers []string
	held    []context.Context
	release context.CancelFunc
}

// newCrowd issues tokens of which the first belong to one subject. All run out at once.
func newCrowd(b *testing.B, ttl time.Duration) *crowd {
	b.Helper()
	c := &crowd{b: b, clock: &haltedClock{from: time.Now()}, store: &readings{Store: memory.New()}}
	c.bearers, c.held = make([]string, benchHolds), make([]context.Context, benchHolds)
	var err error
	c.m, err = New(c.store, Config{Policy: Policy{TTL: ttl, Renewal: RenewNever, RenewEvery: day, MaxTokens: NoTokenLimit}, Clock: c.clock})
	if err != nil {
		b.Fatal(err)
	}
	for i := range c.bearers {
		subject := "ana"
		if i >= benchCrowd {
			subject = fmt.Sprint("subject ", i)
		}
		c.bearers[i] = benchIssue(b, c.m, subject).Bearer
	}
	return c
}

// callers returns a context for each connection.
func (c *crowd) callers() []context.Context {
	ctxs, releases := make([]context.Context, benchHolds), make([]context.CancelFunc, benchHolds)
	for i := range ctxs {
		ctxs[i], releases[i] = context.WithCancel(context.Background())
	}
	c.release = func() {
		for _, release := range releases {
			release()
		}
	}
	return ctxs
}

func (c *crowd) hold(ctxs []context.Context) {
	for i, ctx := range ctxs {
		var err error
		if c.held[i], _, err = opened(c.m.Hold(ctx, c.bearers[i])); err != nil {
			c.b.Fatal(err)
		}
	}
}

// awaitAll begins with the last, so as not to be woken by each.
func awaitAll(held []context.Context) {
	for _, ctx := range slices.Backward(held) {
		<-ctx.Done()
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// BenchmarkHold sets up 100,000 holds and has them all run out at one instant.
func BenchmarkHold(b *testing.B) {
	const ttl = time.Second
	var setUp, cut time.Duration
	for b.Loop() {
		c := newCrowd(b, ttl)
		ctxs := c.callers()
		begin := time.Now()
		c.hold(ctxs)
		setUp += time.Since(begin)
		c.clock.start()
		awaitAll(c.held)
		cut += c.clock.Now().Sub(c.clock.from.Add(ttl))
		c.release()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(setUp)/float64(b.N), "setup-ms")
	b.ReportMetric(milliseconds(cut)/float64(b.N), "cut-ms")
}

// BenchmarkHoldSubject ends the 10,000 tokens of one subject among 100,000 that are
// held, and authenticates somebody else meanwhile.
func BenchmarkHoldSubject(b *testing.B) {
	var cut time.Duration
	var ratios, idles []float64
	for b.Loop() {
		c := newCrowd(b, day)
		c.hold(c.callers())
		idle := c.p99(nil)
		busy := c.p99(func() {
			if n, err := c.m.ExpireSubject(context.Background(), "ana"); n != benchCrowd || err != nil {
				b.Errorf("ended %d, %v", n, err)
			}
			begin := time.Now()
			awaitAll(c.held[:benchCrowd])
			cut += time.Since(begin)
		})
		ratios, idles = append(ratios, float64(busy)/float64(idle)), append(idles, float64(idle))
		c.release()
	}
	slices.Sort(ratios)
	slices.Sort(idles)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(cut)/float64(b.N), "cut-ms")
	b.ReportMetric(idles[len(idles)/2], "idle-p99-ns")
	b.ReportMetric(ratios[len(ratios)/2], "p99-ratio")
}

// p99 returns what one in a hundred calls of Authenticate takes at least, while do runs,
// or of 50,000 calls.
func (c *crowd) p99(do func()) time.Duration {
	var stop atomic.Bool
	var doing sync.WaitGroup
	if do != nil {
		doing.Go(func() {
			do()
			stop.Store(true)
		})
	}
	var took []time.Duration
	for n := 0; !stop.Load() && (do != nil || n < 50_000); n++ {
		begin := time.Now()
		if _, err := c.m.Authenticate(context.Background(), c.bearers[benchCrowd+n%(benchHolds-benchCrowd)]); err != nil {
			c.b.Error(err)
			break
		}
		took = append(took, time.Since(begin))
	}
	doing.Wait()
	slices.Sort(took)
	return took[len(took)*99/100]
}

// BenchmarkHoldPeer compares with what people do today: a deadline for each connection,
// and a goroutine for each that asks again every five seconds.
func BenchmarkHoldPeer(b *testing.B) {
	for name, hold := range map[string]func(c *crowd, ctxs []context.Context){
		"hold":             (*crowd).hold,
		"deadline+recheck": (*crowd).recheck,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c := newCrowd(b, day)
				ctxs := c.callers()
				before := inUse()
				hold(c, ctxs)
				b.ReportMetric(float64(inUse()-before)/benchHolds, "bytes/conn")
				reads, busy, begin := c.store.n.Load(), cpu(), time.Now()
				time.Sleep(2 * recheckEvery)
				seconds := time.Since(begin).Seconds()
				b.ReportMetric(float64(c.store.n.Load()-reads)/seconds, "reads/s")
				b.ReportMetric((cpu()-busy)*1000/seconds, "cpu-ms/s")
				if _, err := c.m.ExpireSubject(context.Background(), "ana"); err != nil {
					b.Fatal(err)
				}
				begin = time.Now()
				awaitAll(c.held[:benchCrowd])
				b.ReportMetric(milliseconds(time.Since(begin)), "cut-ms")
				c.release()
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

const recheckEvery = 5 * time.Second

func (c *crowd) recheck(ctxs []context.Context) {
	for i, ctx := range ctxs {
		tok, err := c.m.Authenticate(ctx, c.bearers[i])
		if err != nil {
			c.b.Fatal(err)
		}
		ctx, cancel := context.WithDeadline(ctx, tok.ExpiresAt)
		c.held[i] = ctx
		bearer := c.bearers[i]
		go func() {
			defer cancel()
			ticker := time.NewTicker(recheckEvery)
			defer ticker.Stop()
			for {
				select {
				case <-ticker.C:
				case <-ctx.Done():
					return
				}
				if _, err := c.m.Peek(ctx, bearer); err != nil {
					return
				}
			}
		}()
	}
}

// cpu returns how many seconds of processor time this process has used but for the
// garbage collector, which is what brings the figure up to date.
func cpu() float64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/cpu/classes/user:cpu-seconds"}}
	metrics.Read(sample)
	return sample[0].Value.Float64()
}
