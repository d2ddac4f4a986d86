package postgres

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/near"
	"github.com/seed-55daa01a/lapse/storage/postgres/pgtest"
)

var histories = flag.Int("histories", 1, "how many histories of three processes TestHistories checks for each kind of store")

// known is what the callers know of a token.
type known struct {
	id    lapse.ID
	texts []text
}

// text is a text of a token, and its generation.
type text struct {
	text       string
	generation uint32
}

// crowd is callers in one process who share what they know of a few tokens, and use them by three others.
type crowd struct {
	history
	t      *testing.T
	config workerConfig
	proxy  *pgtest.Proxy // of the last worker

	tokens  [4]known
	workers [3]*worker
	started int
}

// newCrowd starts three workers on empty tables, the last of which goes through a proxy.
func newCrowd(t *testing.T, schema string, o *near.Options) *crowd {
	t.Helper()
	c := &crowd{t: t, history: history{begin: time.Now()}, proxy: proxied(t)}
	c.config = workerConfig{DSN: dsn(t), Options: Options{Schema: schema, ProbeEvery: 20 * time.Millisecond}, Near: o}
	emptied(t, &c.config.Options)
	for i := range c.workers {
		c.start(i)
	}
	for i := range c.tokens {
		c.issue(c.workers[0], i)
	}
	return c
}

// start starts the worker i. A cut of the proxy that waits for the next bytes may break the first connection
// of a worker: then another one is started.
func (c *crowd) start(i int) {
	config := c.config
	if i == len(c.workers)-1 {
		config.DSN = c.proxy.DSN()
	}
	w, said := launch(c.t, config)
	for tries := 1; said.Outcome != "ok"; tries++ {
		if tries == 5 {
			panic("no worker starts: " + said.Error) // the callers would wait for one without end
		}
		w, said = launch(c.t, config)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.workers[i] = w
	c.started++
}

// place returns the worker i, and the token j. It waits for a worker that is being started.
func (c *crowd) place(i, j int) (*worker, known) {
	for {
		c.mu.Lock()
		w, tok := c.workers[i], c.tokens[j]
		c.mu.Unlock()
		select {
		case <-w.ended:
			time.Sleep(time.Millisecond)
		default:
			return w, tok
		}
	}
}

// issue has w issue a token in the place i.
func (c *crowd) issue(w *worker, i int) {
	a := c.do(w, command{Verb: "issue", Subject: fmt.Sprint("subject ", i%2)}, lapse.ID{}, 0)
	if a.Outcome == "ok" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.tokens[i] = known{a.ID, []text{{a.Text, 0}}}
	}
}

// verbs are what callers do to a token, as often as a verb stands here.
var verbs = []string{
	"authenticate", "authenticate", "authenticate", "authenticate", "authenticate", "authenticate", "authenticate", "authenticate",
	"suspend", "resume", "resume", "rotate", "expire", "issue",
}

// use does n calls by one worker.
func (c *crowd) use(r *rand.Rand, worker, n int) {
	for range n {
		i, verb := r.IntN(len(c.tokens)), verbs[r.IntN(len(verbs))]
		w, tok := c.place(worker, i)
		if verb == "issue" {
			c.issue(w, i)
			continue
		}
		of := tok.texts[max(0, len(tok.texts)-1-r.IntN(4)/3)] // the last, or in one of four cases the one before
		call := command{Verb: verb, ID: tok.id, Text: of.text}
		if verb != "authenticate" && r.IntN(8) == 0 {
			call.Timeout = time.Millisecond + rand.N(4*time.Millisecond)
		}
		a := c.do(w, call, tok.id, of.generation)
		if verb == "rotate" && a.Outcome == "ok" {
			c.mu.Lock()
			if c.tokens[i].id == tok.id {
				c.tokens[i].texts = append(c.tokens[i].texts[:len(c.tokens[i].texts):len(c.tokens[i].texts)], text{a.Text, a.Generation})
			}
			c.mu.Unlock()
		}
	}
}

// disturb stops one process at times, breaks the connections of another one, kills that once and goes on
// with a new one. Each time it waits for a few calls first.
func (c *crowd) disturb(r *rand.Rand, done <-chan struct{}) {
	for n := range 12 {
		if !c.goOn(5+r.IntN(20), done) {
			return
		}
		switch last := len(c.workers) - 1; n % 4 {
		case 0:
			c.workers[1].signal(c.t, syscall.SIGSTOP)
			c.goOn(r.IntN(20), done)
			c.workers[1].signal(c.t, syscall.SIGCONT)
		case 1:
			c.proxy.CutNext([]pgtest.Cut{pgtest.CutBefore, pgtest.CutBetween, pgtest.CutAnswered}[r.IntN(3)])
		case 2:
			c.proxy.Reset()
		case 3:
			if n == 3 {
				c.workers[last].signal(c.t, syscall.SIGKILL)
				c.start(last)
			}
		}
	}
}

// goOn returns true once n more calls have returned, and false once done is closed.
func (c *crowd) goOn(n int, done <-chan struct{}) bool {
	count := func() int { c.mu.Lock(); defer c.mu.Unlock(); return c.calls }
	for begin := count(); count() < begin+n; {
		select {
		case <-done:
			return false
		case <-time.After(time.Millisecond):
		}
	}
	return true
}

// run has three callers use each worker, and disturbs the workers meanwhile.
func (c *crowd) run(seed uint64, calls int) {
	var users, disturbing sync.WaitGroup
	done := make(chan struct{})
	disturbing.Go(func() { c.disturb(rand.New(rand.NewPCG(seed, 0)), done) })
	for i := range 9 {
		users.Go(func() { c.use(rand.New(rand.NewPCG(seed, uint64(i)+1)), i%3, calls) })
	}
	users.Wait()
	close(done)
	disturbing.Wait()
}

// TestHistories has nine callers use a few tokens by three processes, one of which is stopped at times, and
// one of which loses its connections and is killed. Without copies all calls of a history take effect one
// after the other, each between its call and its return. With copies and EndsWait, a call that takes something
// away has also been seen by every process when it returns.
func TestHistories(t *testing.T) {
	for _, row := range []struct {
		name  string
		near  *near.Options
		calls int
	}{
		{"without copies", nil, 60},
		{"with copies", &near.Options{Lease: 100 * time.Millisecond, EndsWait: true}, 40},
	} {
		t.Run(row.name, func(t *testing.T) {
			for n := range *histories {
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					c := newCrowd(t, "histories "+row.name, row.near)
					c.run(uint64(n), row.calls)
					if !c.check(t, row.near != nil) {
						t.Errorf("history %d is not one of the model:\n%s", n, c.says)
					}
					t.Logf("%d calls in %v by %d processes, %d of unknown outcome, %d that could not tell", c.calls, time.Since(c.begin).Round(time.Millisecond), c.started, c.unknown, c.nothing)
				})
			}
		})
	}
}

// TestStaleCopyIsFound plants the fault that EndsWait is there against: a process that does not hear of an
// end, and goes on by its copy. The checker finds it without EndsWait, and not with it.
func TestStaleCopyIsFound(t *testing.T) {
	for _, row := range []struct {
		name string
		o    near.Options
		says string // the deaf process, once the end has returned
		is   bool   // a history of the model
	}{
		{"planted", near.Options{Lease: time.Minute}, "ok", false},
		{"ends wait", near.Options{Lease: 400 * time.Millisecond, EndsWait: true}, "revoked", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			proxy, h := proxied(t), history{begin: time.Now()}
			config := workerConfig{DSN: dsn(t), Options: Options{Schema: "stale " + row.name, ProbeEvery: time.Second}, Near: &row.o}
			if row.o.EndsWait {
				config.Options.ProbeEvery = 50 * time.Millisecond
			}
			emptied(t, &config.Options)
			ends := startedWorker(t, config)
			config.Options.ListenDSN = proxy.DSN()
			deaf := startedWorker(t, config)
			i := h.do(ends, command{Verb: "issue", Subject: "ana"}, lapse.ID{}, 0)
			check := func() string { return h.do(deaf, command{Verb: "authenticate", Text: i.Text}, i.ID, 0).Outcome }
			if said := check(); said != "ok" {
				t.Fatal(said)
			}
			proxy.Freeze()
			if a := h.do(ends, command{Verb: "expire", ID: i.ID}, i.ID, 0); a.Outcome != "ok" {
				t.Fatal(a)
			}
			if said := check(); said != row.says {
				t.Errorf("the process that has not heard of the end says %s, want %s", said, row.says)
			}
			if is := h.check(t, true); is != row.is {
				t.Errorf("the checker says %t, want %t", is, row.is)
			}
		})
	}
}
