package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// directory is a Admit: what it says of whom, and how often it was asked.
type directory struct {
	mu    sync.Mutex
	asked map[string]int
	says  map[string]func(ctx context.Context) error
}

func (d *directory) check(ctx context.Context, tok lapse.Token) error {
	subject := tok.Subject
	d.mu.Lock()
	if d.asked == nil {
		d.asked = make(map[string]int)
	}
	d.asked[subject]++
	says := d.says[subject]
	d.mu.Unlock()
	if says == nil {
		return nil
	}
	return says(ctx)
}

// say has d answer for subject as f does from now on, and forget how often it was asked.
func (d *directory) say(subject string, f func(ctx context.Context) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.asked)
	if d.says == nil {
		d.says = make(map[string]func(ctx context.Context) error)
	}
	d.says[subject] = f
}

func (d *directory) count(subject string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[subject]
}

var errHoliday = fmt.Errorf("%w: on holiday", lapse.ErrRefused)

// TestRecheck: a refused connection is cut within the interval, by what was said, and no other
// one is. Admit is asked about each connection once.
func TestRecheck(t *testing.T) {
	for _, on := range holdStores {
		dir := new(directory)
		inBubble(t, on.name, on.open, lapse.Config{Admit: dir.check, Recheck: time.Minute}, func(h *holder) {
			i, j := h.issue(lapse.Grant{TTL: time.Hour}), h.issue(lapse.Grant{TTL: time.Hour})
			held := []context.Context{h.hold(i.Bearer), h.hold(j.Bearer), h.hold(j.Bearer)}
			bob := h.hold(h.issue(lapse.Grant{Subject: "bob", TTL: time.Hour}).Bearer)
			time.Sleep(90 * time.Second)
			dir.say("ana", func(context.Context) error { return errHoliday })
			time.Sleep(30*time.Second - time.Millisecond)
			for _, held := range held {
				h.alive("until she is asked about", held)
			}
			for n, id := range []lapse.ID{i.ID, j.ID, j.ID} {
				cause := h.cut("asked", held[n], time.Millisecond)
				h.wantRejection(cause, errHoliday, id, time.Time{}, 0)
			}
			if n := dir.count("ana"); n != len(held) {
				t.Errorf("asked %d times about %d connections; want once about each", n, len(held))
			}
			time.Sleep(10 * time.Minute)
			h.alive("somebody else", bob)
		})
	}
}

// TestRecheckIsOff by default: only uses ask.
func TestRecheckIsOff(t *testing.T) {
	dir := new(directory)
	onMemory(t, "off", lapse.Config{Admit: dir.check}, func(h *holder) {
		held := h.hold(h.issue(lapse.Grant{TTL: time.Hour}).Bearer)
		dir.say("ana", func(context.Context) error { return errHoliday })
		time.Sleep(time.Hour - time.Millisecond)
		h.alive("all the time", held)
		if n := dir.count("ana"); n != 0 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestRecheckThatCannotTell cuts no connection and delays no other end: what runs out
// or is ended meanwhile is cut as ever.
func TestRecheckThatCannotTell(t *testing.T) {
	for name, says := range map[string]func(ctx context.Context) error{
		"fails":             func(context.Context) error { return errDisk },
		"is refused itself": func(context.Context) error { return lapse.ErrExpired },
		"hangs":             func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"is slow": func(ctx context.Context) error {
			select {
			case <-time.After(3 * time.Minute):
			case <-ctx.Done():
			}
			return nil
		},
	} {
		dir := new(directory)
		onMemory(t, name, lapse.Config{Admit: dir.check, Recheck: time.Minute}, func(h *holder) {
			stays := h.issue(lapse.Grant{TTL: 2 * time.Hour})
			ends, runsOut := h.issue(lapse.Grant{Subject: "bob"}), h.issue(lapse.Grant{})
			held := []context.Context{h.hold(stays.Bearer), h.hold(ends.Bearer), h.hold(runsOut.Bearer)}
			dir.say("ana", says)
			dir.say("bob", says)
			time.Sleep(10 * time.Minute)
			for _, held := range held {
				h.alive(name, held)
			}
			if _, err := h.Expire(h.ctx, ends.ID); err != nil {
				t.Fatal(err)
			}
			h.cut("ended", held[1], 0)
			time.Sleep(20*time.Minute - time.Millisecond)
			h.alive("until then", held[2])
			h.cut("ran out", held[2], time.Millisecond)
			time.Sleep(time.Hour)
			h.alive(name, held[0])
		})
	}
}

// TestRecheckThatNeverReturns: although the connection that Admit was asked about is gone,
// Admit is asked about those that came later.
func TestRecheckThatNeverReturns(t *testing.T) {
	dir := new(directory)
	onMemory(t, "deaf", lapse.Config{Admit: dir.check, Recheck: time.Minute}, func(h *holder) {
		back := make(chan struct{})
		defer close(back)
		first, second := h.issue(lapse.Grant{}), h.issue(lapse.Grant{Subject: "bob"})
		held := h.hold(first.Bearer)
		dir.say("ana", func(context.Context) error { <-back; return errHoliday })
		time.Sleep(time.Minute)
		h.end(first.ID, lapse.EndRevoked)
		h.cut("ended", held, 0)
		held = h.hold(second.Bearer)
		dir.say("bob", func(context.Context) error { return errHoliday })
		lapsetest.WantIs(t, "cause", h.cut("refused", held, time.Minute), lapse.ErrRefused)
	})
}

// TestRecheckAfterTheClockWasSetBack is as often as before.
func TestRecheckAfterTheClockWasSetBack(t *testing.T) {
	dir, bent := new(directory), new(bentClock)
	cfg := lapse.Config{Clock: bent, ClockGuard: lapse.GuardOff, Admit: dir.check, Recheck: time.Minute}
	onMemory(t, "back", cfg, func(h *holder) {
		held := h.hold(h.issue(lapse.Grant{}).Bearer)
		time.Sleep(10 * time.Minute)
		bent.step(-1000 * time.Hour)
		dir.say("ana", func(context.Context) error { return errHoliday })
		lapsetest.WantIs(t, "cause", h.cut("refused", held, time.Minute+15*time.Second), lapse.ErrRefused)
	})
}

// TestPollAfterTheClockWasSetBack is as often as before, too.
func TestPollAfterTheClockWasSetBack(t *testing.T) {
	bent := new(bentClock)
	inBubble(t, "polled", holdStores[2].open, lapse.Config{Clock: bent, ClockGuard: lapse.GuardOff}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		held := h.hold(i.Bearer)
		time.Sleep(10 * time.Minute)
		bent.step(-1000 * time.Hour)
		h.change(i.ID, func(r *storage.Record) {
			r.EndedAt, r.EndReason = bent.Now().Truncate(time.Millisecond), lapse.EndRevoked
		})
		h.cut("ended", held, 20*time.Second)
	})
}

// TestHoldFromWithin: whatever lapse calls may call Hold.
func TestHoldFromWithin(t *testing.T) {
	dir := new(directory)
	var h *holder
	var within sync.Once
	also := func() {
		within.Do(func() {
			if held, _, err := lapsetest.Opened(h.Hold(h.ctx, h.bearer)); err != nil || held.Err() != nil {
				h.t.Errorf("Hold from within: %v, %v", err, context.Cause(held))
			}
		})
	}
	cfg := lapse.Config{Admit: dir.check, Recheck: time.Minute}
	for _, from := range []string{"Admit", "Admit, asked again", "Observe", "AfterFunc"} {
		within = sync.Once{}
		dir.say("ana", nil)
		cfg.Observe = nil
		if from == "Observe" {
			cfg.Observe = func(_ context.Context, e lapse.Event) {
				if e.Kind == lapse.EventRejected {
					also()
				}
			}
		}
		onMemory(t, from, cfg, func(inside *holder) {
			h = inside
			i := h.issue(lapse.Grant{Subject: "bob"})
			held := h.hold(i.Bearer)
			h.issue(lapse.Grant{})
			asked := func(context.Context) error { also(); return nil }
			switch from {
			case "Admit":
				dir.say("bob", asked)
				h.hold(i.Bearer)
			case "Admit, asked again":
				dir.say("bob", asked)
				time.Sleep(time.Minute)
			case "Observe":
				if _, _, err := lapsetest.Opened(h.Hold(h.ctx, "nonsense")); !errors.Is(err, lapse.ErrMalformed) {
					t.Error(err)
				}
			case "AfterFunc":
				context.AfterFunc(held, also)
			}
			dir.say("bob", nil)
			synctest.Wait()
			if _, err := h.Expire(h.ctx, i.ID); err != nil {
				t.Fatal(err)
			}
			h.cut("ended", held, 0)
		})
	}
}

// TestHoldIntervals: what a hold cannot keep to is refused.
func TestHoldIntervals(t *testing.T) {
	dir := new(directory)
	for name, row := range map[string]struct {
		cfg lapse.Config
		bad bool
	}{
		"defaults":              {lapse.Config{}, false},
		"the least":             {lapse.Config{Recheck: time.Millisecond, PollHolds: time.Millisecond, Admit: dir.check}, false},
		"recheck negative":      {lapse.Config{Recheck: -1, Admit: dir.check}, true},
		"recheck too short":     {lapse.Config{Recheck: time.Millisecond - 1, Admit: dir.check}, true},
		"recheck without end":   {lapse.Config{Recheck: lapse.NoLimit, Admit: dir.check}, true},
		"recheck without Admit": {lapse.Config{Recheck: time.Minute}, true},
		"polling negative":      {lapse.Config{PollHolds: -1}, true},
		"polling too often":     {lapse.Config{PollHolds: time.Millisecond - 1}, true},
		"polling without end":   {lapse.Config{PollHolds: lapse.NoLimit}, true},
		"polling once a year":   {lapse.Config{PollHolds: 365 * 24 * time.Hour}, false},
		"recheck once a year":   {lapse.Config{Recheck: 365 * 24 * time.Hour, Admit: dir.check}, false},
		"checking but not yet":  {lapse.Config{Admit: dir.check}, false},
	} {
		_, err := lapse.New(mute{}, row.cfg)
		if errors.Is(err, lapse.ErrInvalidConfig) != row.bad || err != nil && !row.bad {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// hookLog collects events from more than one goroutine.
type hookLog struct {
	mu     sync.Mutex
	events []lapse.Event
}

func (o *hookLog) observe(_ context.Context, e lapse.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
}

// of returns the events of a kind that were told of.
func (o *hookLog) of(kind lapse.EventKind) (all []lapse.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if e.Kind == kind {
			all = append(all, e)
		}
	}
	return all
}

// TestFault17AdmitThatHangsOrPanics: an Admit that hangs, panics or ends its goroutine
// about one connection cuts none, is told, and all others are asked about as ever.
func TestFault17AdmitThatHangsOrPanics(t *testing.T) {
	var back chan struct{}
	for name, row := range map[string]struct {
		says func(ctx context.Context) error
		told int // how often Observe is told of that within two minutes
	}{
		"hangs for ever":         {func(context.Context) error { <-back; return nil }, 1},
		"hangs until given up":   {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 2},
		"panics":                 {func(context.Context) error { panic("lapse_" + fmt.Sprint(time.Now())) }, 2},
		"ends its goroutine":     {func(context.Context) error { runtime.Goexit(); return nil }, 2},
		"fails":                  {func(context.Context) error { return errDisk }, 2},
		"is refused by another":  {func(context.Context) error { return lapse.ErrExpired }, 2},
		"lets pass, as it ought": {func(context.Context) error { return nil }, 0},
	} {
		dir, out := new(directory), new(hookLog)
		cfg := lapse.Config{Admit: dir.check, Recheck: time.Minute, Observe: out.observe}
		onMemory(t, name, cfg, func(h *holder) {
			back = make(chan struct{}) // of this bubble
			defer close(back)
			held := h.hold(h.issue(lapse.Grant{TTL: time.Hour}).Bearer)
			others := make([]context.Context, 20)
			for i := range others {
				others[i] = h.hold(h.issue(lapse.Grant{Subject: "bob", TTL: time.Hour}).Bearer)
			}
			dir.say("ana", row.says)
			dir.say("bob", func(context.Context) error { return nil })
			time.Sleep(2*time.Minute + 10*time.Second)
			synctest.Wait()
			h.alive(name, held)
			if n := dir.count("bob"); n != 2*len(others) {
				t.Errorf("asked %d times about the %d others; want twice about each", n, len(others))
			}
			failed := out.of(lapse.EventHookFailed)
			if len(failed) != row.told {
				t.Errorf("told %d times: %v; want %d", len(failed), failed, row.told)
			}
			for _, e := range failed {
				if e.Err == nil || errors.Is(e.Err, lapse.ErrUnauthenticated) || e.Token.Subject != "ana" {
					t.Errorf("told of %+v", e)
				}
			}
			dir.say("bob", func(context.Context) error { return errHoliday })
			time.Sleep(time.Minute)
			synctest.Wait()
			for _, held := range others {
				lapsetest.WantIs(t, "cause", context.Cause(held), lapse.ErrRefused)
			}
		})
	}
}

// TestFault17AdmitIsBounded: of very many connections no more than 8 are asked about at a
// time, with 32 besides that have taken longer than 10 seconds; and when those return, the
// others get their turn.
func TestFault17AdmitIsBounded(t *testing.T) {
	dir, running, most := new(directory), atomic.Int32{}, atomic.Int32{}
	cfg := lapse.Config{Admit: dir.check, Recheck: time.Minute}
	onMemory(t, "many", cfg, func(h *holder) {
		back := make(chan struct{})
		for range 100 {
			h.hold(h.issue(lapse.Grant{Subject: "bob", TTL: time.Hour}).Bearer)
		}
		dir.say("bob", func(context.Context) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			<-back
			return nil
		})
		for _, row := range []struct {
			after time.Duration
			want  int32
		}{{time.Minute, 8}, {10*time.Second - time.Millisecond, 8}, {time.Millisecond, 16}, {10 * time.Second, 24}, {10 * time.Second, 32}, {10 * time.Minute, 32}} {
			time.Sleep(row.after)
			synctest.Wait()
			if n := running.Load(); n != row.want {
				t.Errorf("after %v: %d at a time; want %d", row.after, n, row.want)
			}
		}
		close(back)
		synctest.Wait()
		if n := dir.count("bob"); n < 100 || running.Load() != 0 {
			t.Errorf("asked about %d of 100, %d still run", n, running.Load())
		}
	})
}

// TestFault17BoundOverRuns: calls of Admit that hang count although the connections that
// they were about are gone, and all others, too.
func TestFault17BoundOverRuns(t *testing.T) {
	dir, running := new(directory), atomic.Int32{}
	onMemory(t, "one at a time", lapse.Config{Admit: dir.check, Recheck: time.Minute}, func(h *holder) {
		i, back := h.issue(lapse.Grant{TTL: 10 * time.Hour}), make(chan struct{})
		dir.say("ana", nil)
		for range 50 {
			hold, err := h.Hold(h.ctx, i.Bearer)
			lapsetest.WantIs(t, "Hold", err, nil)
			dir.say("ana", func(context.Context) error {
				running.Add(1)
				defer running.Add(-1)
				<-back
				return nil
			})
			time.Sleep(time.Minute)
			synctest.Wait()
			dir.say("ana", nil)
			hold.Release()
		}
		if n := running.Load(); n != 32 {
			t.Errorf("%d calls hang; want 32", n)
		}
		close(back)
		synctest.Wait()
		if n := running.Load(); n != 0 {
			t.Errorf("%d calls have not returned", n)
		}
		held := h.hold(i.Bearer)
		dir.say("ana", func(context.Context) error { return errHoliday })
		lapsetest.WantIs(t, "cause", h.cut("asked again", held, time.Minute), lapse.ErrRefused)
	})
}

// TestFault17HoldWhileAsked: that the token of a connection which Admit is asked about is
// held once more at that instant disturbs neither.
func TestFault17HoldWhileAsked(t *testing.T) {
	dir, out := new(directory), new(hookLog)
	onMemory(t, "again", lapse.Config{Admit: dir.check, Recheck: time.Millisecond, Observe: out.observe}, func(h *holder) {
		i := h.issue(lapse.Grant{TTL: time.Hour})
		h.hold(i.Bearer)
		dir.say("ana", func(ctx context.Context) error {
			if ctx.Value(callersKey{}) == nil {
				return errDisk // it is asked again
			}
			return nil
		})
		for range 200 {
			hold, err := h.Hold(context.WithValue(h.ctx, callersKey{}, "mine"), i.Bearer)
			lapsetest.WantIs(t, "Hold", err, nil)
			time.Sleep(time.Millisecond)
			hold.Release()
		}
		if len(out.of(lapse.EventHookFailed)) == 0 {
			t.Error("Admit was never asked again")
		}
	})
}

// TestFault17StoreThatPanics: a store that panics while it is read for a connection, or as
// a spent token is ended at Release, ends neither the process nor the connection.
func TestFault17StoreThatPanics(t *testing.T) {
	var store *storagetest.Faulty
	open := func(*testing.T) storage.Store {
		store = storagetest.NewFaulty(memory.New())
		return store
	}
	inBubble(t, "read", open, lapse.Config{}, func(h *holder) {
		i := h.issue(lapse.Grant{TTL: time.Hour})
		held := h.hold(i.Bearer)
		synctest.Wait()
		store.Reset()
		store.InjectOp(opGet, 1, storagetest.Panic, errDisk)
		time.Sleep(6 * time.Second) // a Faulty is polled
		synctest.Wait()
		if !store.Fired() {
			t.Error("the store did not panic")
		}
		h.alive("while the store panics", held)
		time.Sleep(time.Minute)
		h.end(i.ID, lapse.EndRevoked)
		lapsetest.WantIs(t, "cause", h.cut("ended", held, 5*time.Second), lapse.ErrRevoked)
	})
	inBubble(t, "end", open, lapse.Config{}, func(h *holder) {
		hold, err := h.Hold(h.ctx, h.issue(lapse.Grant{MaxUses: 1}).Bearer)
		lapsetest.WantIs(t, "Hold", err, nil)
		synctest.Wait()
		store.Reset()
		store.Inject(1, storagetest.Panic, errDisk)
		hold.Release()
		synctest.Wait()
		if !store.Fired() {
			t.Error("the store did not panic")
		}
	})
}

// TestHeldByAnExhaustedToken: a connection can be ended, whichever call spent the last use of its
// token: it ends with the token, or with what ends that.
func TestHeldByAnExhaustedToken(t *testing.T) {
	for _, on := range holdStores {
		for name, row := range map[string]struct {
			spend func(h *holder, bearer string) error
			want  error
		}{
			"by Authenticate": {func(h *holder, bearer string) error { _, err := h.Authenticate(h.ctx, bearer); return err }, lapse.ErrRevoked},
			"by another Manager": {func(h *holder, bearer string) error {
				_, err := h.manager(lapse.Config{}).Authenticate(h.ctx, bearer)
				return err
			}, lapse.ErrExhausted},
		} {
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{}, func(h *holder) {
				i := h.issue(lapse.Grant{MaxUses: 2})
				held := h.hold(i.Bearer)
				lapsetest.WantIs(t, "the last use", row.spend(h, i.Bearer), nil)
				_, err := h.Authenticate(h.ctx, i.Bearer)
				lapsetest.WantIs(t, "one more", err, lapse.ErrExhausted)
				_, err = h.ExpireSubject(h.ctx, "ana")
				lapsetest.WantIs(t, "ExpireSubject", err, nil)
				lapsetest.WantIs(t, "cause", h.cut("logged out everywhere", held, on.late), row.want)
			})
		}
	}
}

// TestFault17ObserveThatPanics, or hangs, while connections are held ends no process and
// keeps no connection: those are cut as ever, and a panic is told.
func TestFault17ObserveThatPanics(t *testing.T) {
	var back chan struct{}
	for name, does := range map[string]func(){
		"panics": func() { panic(errDisk) },
		"hangs":  func() { <-back },
	} {
		var failed atomic.Int32
		cfg := lapse.Config{Observe: func(_ context.Context, e lapse.Event) {
			switch e.Kind {
			case lapse.EventEnded:
				does()
			case lapse.EventHookFailed:
				failed.Add(1)
			}
		}}
		onMemory(t, name, cfg, func(h *holder) {
			back = make(chan struct{}) // of this bubble
			defer close(back)
			for range 3 { // each is the last use of a token, which ends with its connection
				hold, err := h.Hold(h.ctx, h.issue(lapse.Grant{MaxUses: 1}).Bearer)
				lapsetest.WantIs(t, "Hold", err, nil)
				hold.Release()
				synctest.Wait()
			}
			if want := map[string]int32{"panics": 3}[name]; failed.Load() != want {
				t.Errorf("told of %d panics; want %d", failed.Load(), want)
			}
			held := h.hold(h.issue(lapse.Grant{TTL: time.Minute}).Bearer)
			time.Sleep(time.Minute - time.Millisecond)
			h.alive("until its end", held)
			lapsetest.WantIs(t, "cause", h.cut("at its end", held, time.Millisecond), lapse.ErrExpired)
		})
	}
}

// admissions is an Admit that remembers what it was asked about.
type admissions struct {
	mu   sync.Mutex
	seen []lapse.Token
}

func (a *admissions) admit(_ context.Context, tok lapse.Token) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, tok)
	return nil
}

// take returns what was asked about since take was called last.
func (a *admissions) take() []lapse.Token {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := a.seen
	a.seen = nil
	return seen
}

// TestFault21AdmitSeesTheToken: whatever asks, Admit sees the whole token, and of a
// log-in what is known of it.
func TestFault21AdmitSeesTheToken(t *testing.T) {
	var asked admissions
	onMemory(t, "all", lapse.Config{Admit: asked.admit, Recheck: time.Minute}, func(h *holder) {
		i := h.issue(lapse.Grant{Name: "laptop", Scope: "read", Data: "x", TTL: time.Hour})
		h.hold(i.Bearer)
		time.Sleep(time.Minute)
		synctest.Wait()
		seen := asked.take()
		if len(seen) != 2 {
			t.Fatalf("asked %d times; want by Hold and again", len(seen))
		}
		for _, tok := range seen {
			if tok.ID != i.ID || tok.Name != "laptop" || tok.Scope != "read" || tok.Data != "x" || tok.ExpiresAt.Before(i.ExpiresAt) {
				t.Errorf("asked about %+v; want %+v", tok, i.Token)
			}
		}
		_, err := lapse.Login(h.ctx, h.Manager, "secret", lapse.Grant{Name: "laptop", Scope: "read", Thumbprint: lapse.Thumbprint{7}}, lapse.Verifier[string](lapse.VerifierFunc[string](func(context.Context, string) (string, error) { return "ana", nil })))
		lapsetest.WantIs(t, "Login", err, nil)
		seen = asked.take()
		if want := []lapse.Token{{Prefix: "lapse", Subject: "ana", Name: "laptop", Scope: "read", Thumbprint: lapse.Thumbprint{7}, AuthenticatedAt: h.Now()}}; len(seen) != 1 || seen[0] != want[0] {
			t.Errorf("Login asks about %+v; want %+v", seen, want)
		}
	})
}

// TestFault21RecheckOfASession: of a connection that an access text opened Admit sees the
// scope and the end of the access text, as when it was opened.
func TestFault21RecheckOfASession(t *testing.T) {
	var asked admissions
	synctest.Test(t, func(t *testing.T) {
		p := lapsetest.Must(lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Admit: asked.admit, Recheck: time.Minute}}))
		first := lapsetest.Must(p.Issue(t.Context(), lapse.Grant{Subject: "ana", Scope: "read write"}))
		c := lapsetest.Must(p.Refresh(t.Context(), first.Refresh.Bearer, "read"))
		hold := lapsetest.Must(p.Access().Hold(t.Context(), c.Access.Bearer))
		asked.take()
		time.Sleep(time.Minute)
		synctest.Wait()
		seen := asked.take()
		if len(seen) != 1 || seen[0].Scope != "read" || !seen[0].ExpiresAt.Equal(c.Access.ExpiresAt) {
			t.Errorf("asked about %+v; want %+v", seen, c.Access.Token)
		}
		hold.Release()
		synctest.Wait()
	})
}

// TestFault21Release ends the context, once and for all, and lets go of what ended the
// token's budget.
func TestFault21Release(t *testing.T) {
	onMemory(t, "release", lapse.Config{}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		hold, err := h.Hold(h.ctx, i.Bearer)
		lapsetest.WantIs(t, "Hold", err, nil)
		if hold.Token().ID != i.ID || hold.Context().Err() != nil {
			t.Errorf("%+v, %v", hold.Token(), hold.Context().Err())
		}
		for range 2 {
			hold.Release()
			lapsetest.WantIs(t, "cause", context.Cause(hold.Context()), context.Canceled)
		}
		cut, err := h.Hold(h.ctx, i.Bearer)
		lapsetest.WantIs(t, "Hold", err, nil)
		h.end(i.ID, lapse.EndRevoked)
		h.cut("ended", cut.Context(), 0)
		cut.Release()
		lapsetest.WantIs(t, "cause after a late Release", context.Cause(cut.Context()), lapse.ErrRevoked)
	})
}

// sessions is a holder whose Manager is that of the access texts of Pairs.
type sessions struct {
	*holder
	pairs *lapse.Pairs
}

// inSession is inBubble for Pairs.
func inSession(t *testing.T, name string, open func(t *testing.T) storage.Store, cfg lapse.PairConfig, test func(s *sessions)) {
	t.Helper()
	inBubble(t, name, open, lapse.Config{}, func(h *holder) {
		p, err := lapse.NewPairs(h.store, cfg)
		if err != nil {
			t.Fatal(err)
		}
		h.Manager = p.Access()
		test(&sessions{h, p})
	})
}

func (s *sessions) logIn() lapse.TokenPair {
	s.t.Helper()
	c, err := s.pairs.Issue(s.ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *sessions) refresh(c lapse.TokenPair) lapse.TokenPair {
	s.t.Helper()
	next, err := s.pairs.Refresh(s.ctx, c.Refresh.Bearer)
	if err != nil {
		s.t.Fatalf("Refresh: %v", err)
	}
	return next
}

// TestHoldOfASession: a connection by an access text ends when the current access secret
// of its session runs out, to the millisecond, and each refresh moves that end.
func TestHoldOfASession(t *testing.T) {
	const m = time.Minute
	for _, row := range []struct {
		name      string
		ttl       time.Duration   // of the session, 0 for 30 days
		refreshes []time.Duration // after the log-in
		end       time.Duration
	}{
		{"never refreshed", 0, nil, 15 * m},
		{"refreshed once", 0, []time.Duration{10 * m}, 25 * m},
		{"refreshed a millisecond before its end", 0, []time.Duration{15*m - time.Millisecond}, 30*m - time.Millisecond},
		{"refreshed at once", 0, []time.Duration{0}, 15 * m},
		{"refreshed every five minutes", 0, []time.Duration{5 * m, 10 * m, 15 * m, 20 * m, 25 * m}, 40 * m},
		{"the session runs out first", 10 * m, nil, 10 * m},
		{"the refreshed session does", 10 * m, []time.Duration{9 * m}, 19 * m},
	} {
		for _, on := range holdStores {
			cfg := lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: row.ttl}}}
			inSession(t, on.name+"/"+row.name, on.open, cfg, func(s *sessions) {
				begin, c := now(), s.logIn()
				held := []context.Context{s.hold(c.Access.Bearer)}
				for _, after := range row.refreshes {
					time.Sleep(time.Until(begin.Add(after)))
					c = s.refresh(c)
					held = append(held, s.hold(c.Access.Bearer))
				}
				end := begin.Add(row.end)
				time.Sleep(time.Until(end) - time.Millisecond)
				for _, held := range held {
					s.alive("1 ms before", held)
				}
				time.Sleep(time.Millisecond)
				for _, held := range held {
					s.wantRejection(s.cut("at its end", held, 0), lapse.ErrExpired, c.Access.ID, end, 0)
				}
			})
		}
	}
}

// TestHoldOfASessionOnAMock: the same on a clock that the test moves.
func TestHoldOfASessionOnAMock(t *testing.T) {
	for _, row := range []struct {
		name  string
		after time.Duration // since the refresh
		cut   bool
	}{
		{"1 ms before", 15*time.Minute - time.Millisecond, false},
		{"at", 15 * time.Minute, true},
		{"1 ms after", 15*time.Minute + time.Millisecond, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			mock := clock.NewMock()
			mock.Set(lapsetest.StartMilli)
			p, err := lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: mock, PollHolds: time.Hour}})
			if err != nil {
				t.Fatal(err)
			}
			c, err := p.Issue(t.Context(), lapse.Grant{Subject: "ana"})
			if err != nil {
				t.Fatal(err)
			}
			mock.Add(10 * time.Minute)
			if c, err = p.Refresh(t.Context(), c.Refresh.Bearer); err != nil {
				t.Fatal(err)
			}
			ctx, release := context.WithCancel(t.Context())
			defer release()
			held, _, err := lapsetest.Opened(p.Access().Hold(ctx, c.Access.Bearer))
			if err != nil {
				t.Fatal(err)
			}
			mock.Add(row.after)
			if row.cut {
				<-held.Done()
				lapsetest.WantIs(t, "cause", context.Cause(held), lapse.ErrExpired)
			} else if held.Err() != nil {
				t.Errorf("cut by %v", context.Cause(held))
			}
		})
	}
}

// TestHoldOfASessionIsCutByItsEnd, by whichever text or verb, and whichever of its texts
// opened the connection.
func TestHoldOfASessionIsCutByItsEnd(t *testing.T) {
	for name, row := range map[string]struct {
		end    func(s *sessions, first, current lapse.TokenPair) error
		reason lapse.EndReason
	}{
		"the current refresh text": {func(s *sessions, _, c lapse.TokenPair) error {
			return lapsetest.LoggedOut(s.pairs.ExpireBearer(s.ctx, c.Refresh.Bearer))
		}, lapse.EndRevoked},
		"the current access text": {func(s *sessions, _, c lapse.TokenPair) error {
			return lapsetest.LoggedOut(s.pairs.ExpireBearer(s.ctx, c.Access.Bearer))
		}, lapse.EndRevoked},
		"a spent access text": {func(s *sessions, c, _ lapse.TokenPair) error {
			return lapsetest.LoggedOut(s.pairs.ExpireBearer(s.ctx, c.Access.Bearer))
		}, lapse.EndRevoked},
		"a spent refresh text": {func(s *sessions, c, _ lapse.TokenPair) error {
			return lapsetest.LoggedOut(s.pairs.ExpireBearer(s.ctx, c.Refresh.Bearer))
		}, lapse.EndReused},
		"reuse": {func(s *sessions, c, _ lapse.TokenPair) error {
			_, err := s.pairs.Refresh(s.ctx, c.Refresh.Bearer)
			return lapsetest.Ignore(err, lapse.ErrReused)
		}, lapse.EndReused},
		"its ID": {func(s *sessions, c, _ lapse.TokenPair) error { _, err := s.Expire(s.ctx, c.Access.ID); return err }, lapse.EndRevoked},
		"its subject, by another Manager": {func(s *sessions, _, _ lapse.TokenPair) error {
			_, err := s.manager(lapse.Config{Prefix: "admin"}).ExpireSubject(s.ctx, "ana")
			return err
		}, lapse.EndSubject},
		"another log-in": {func(s *sessions, _, _ lapse.TokenPair) error {
			_, err := s.pairs.Issue(s.ctx, lapse.Grant{Subject: "ana"})
			return err
		}, lapse.EndEvicted},
	} {
		for _, on := range holdStores {
			cfg := lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 1}}}
			inSession(t, on.name+"/"+name, on.open, cfg, func(s *sessions) {
				first := s.logIn()
				held := []context.Context{s.hold(first.Access.Bearer)}
				second := s.refresh(first)
				held = append(held, s.hold(second.Access.Bearer))
				current := s.refresh(second)
				held = append(held, s.hold(current.Access.Bearer))
				time.Sleep(time.Minute)
				for _, held := range held {
					s.alive("refreshed", held)
				}
				ended := now()
				if err := row.end(s, first, current); err != nil {
					t.Fatal(err)
				}
				for _, held := range held {
					s.wantRejection(s.cut(name, held, on.late), lapse.ErrRevoked, first.Access.ID, ended, row.reason)
				}
			})
		}
	}
}

// TestHoldOutlivesTheGrace: the previous access text opens a connection within the grace,
// and says that it works until the grace ends; the connection lasts as long as one by the
// current text. So does one of a Manager that knows of no Pairs.
func TestHoldOutlivesTheGrace(t *testing.T) {
	for _, on := range holdStores {
		inSession(t, on.name, on.open, lapse.PairConfig{}, func(s *sessions) {
			first := s.logIn()
			current := s.refresh(first)
			end := now().Add(15 * time.Minute)
			held, tok, err := lapsetest.Opened(s.Hold(s.ctx, first.Access.Bearer))
			if err != nil || !tok.ExpiresAt.Equal(now().Add(10*time.Second)) {
				t.Fatalf("Hold by the previous text: until %v, %v; want the end of the grace", tok.ExpiresAt, err)
			}
			plain, _, err := lapsetest.Opened(s.manager(lapse.Config{}).Hold(s.ctx, first.Access.Bearer))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			_, _, err = lapsetest.Opened(s.Hold(s.ctx, first.Access.Bearer))
			lapsetest.WantIs(t, "Hold after the grace", err, lapse.ErrReplaced)
			time.Sleep(time.Until(end) - time.Millisecond)
			s.alive("1 ms before", held)
			s.alive("1 ms before, by a plain Manager", plain)
			time.Sleep(time.Millisecond)
			s.wantRejection(s.cut("at its end", held, 0), lapse.ErrExpired, current.Access.ID, end, 0)
			s.wantRejection(s.cut("at its end", plain, 0), lapse.ErrExpired, current.Access.ID, end, 0)
		})
	}
}

// TestHoldByAPreviousTextWhileTheStoreIsSilent: the end that is known of a connection is
// that of the current access secret, also if the previous one opened it.
func TestHoldByAPreviousTextWhileTheStoreIsSilent(t *testing.T) {
	onMoody(t, "silent", lapse.Config{}, func(h *holder, store *moody) {
		p, err := lapse.NewPairs(store, lapse.PairConfig{})
		if err != nil {
			t.Fatal(err)
		}
		s := &sessions{h, p}
		s.Manager = p.Access()
		s.hold(s.issue(lapse.Grant{Subject: "bob", TTL: time.Hour}).Bearer) // so that the watch has begun
		synctest.Wait()
		first := s.logIn()
		s.refresh(first)
		synctest.Wait() // until that has been heard of
		end := now().Add(15 * time.Minute)
		held := s.hold(first.Access.Bearer)
		synctest.Wait()
		silence := silences["unavailable"]
		store.get.Store(&silence)
		time.Sleep(time.Until(end) - time.Millisecond)
		s.alive("until the end that is known", held)
		lapsetest.WantIs(t, "cause", s.cut("then", held, time.Second+strikeSlack), lapse.ErrExpired)
	})
}

// TestHoldOfASessionThroughSweeps: a connection that is open for longer than the
// retention, while its client refreshes and the program sweeps.
func TestHoldOfASessionThroughSweeps(t *testing.T) {
	for _, on := range holdStores {
		cfg := lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{Retention: time.Hour}}}
		inSession(t, on.name, on.open, cfg, func(s *sessions) {
			c := s.logIn()
			held := s.hold(c.Access.Bearer)
			for range 40 {
				time.Sleep(5 * time.Minute)
				c = s.refresh(c)
				if n, err := s.Sweep(s.ctx); n != 0 || err != nil {
					t.Fatalf("Sweep: %d, %v; want nothing, for nothing is dead", n, err)
				}
			}
			s.alive("for more than three hours", held)
			time.Sleep(15 * time.Minute)
			lapsetest.WantIs(t, "cause", s.cut("once it is not refreshed", held, 0), lapse.ErrExpired)
		})
	}
}

// TestHoldReadsOncePerRefresh: the thousandth refresh of a session costs its connections
// the one read that the first did, however many they are.
func TestHoldReadsOncePerRefresh(t *testing.T) {
	onMoody(t, "refreshed", lapse.Config{}, func(h *holder, store *moody) {
		p, err := lapse.NewPairs(store, lapse.PairConfig{})
		if err != nil {
			t.Fatal(err)
		}
		s := &sessions{h, p}
		s.Manager = p.Access()
		c := s.logIn()
		held := []context.Context{s.hold(c.Access.Bearer), s.hold(c.Access.Bearer)}
		synctest.Wait()
		var reads atomic.Int32
		count := func(context.Context) error { reads.Add(1); return nil }
		store.get.Store(&count)
		for n := range 1_000 {
			reads.Store(0)
			time.Sleep(time.Minute)
			c = s.refresh(c)
			synctest.Wait()
			if got := reads.Load(); got != 2 {
				t.Fatalf("refresh %d: %d reads; want that of Refresh, and one", n+1, got)
			}
		}
		for _, held := range held {
			s.alive("a thousand refreshes", held)
		}
	})
}

// moody is a store in memory that does not always answer, and whose Watch is what a
// test makes of it.
type moody struct {
	*memory.Store
	get     atomic.Pointer[func(ctx context.Context) error] // before each Get
	watch   atomic.Pointer[watchFunc]                       // instead of Watch
	watched atomic.Int32                                    // how often Watch was ranged over
}

type watchFunc func(ctx context.Context, yield func(storage.Change, error) bool)

func (m *moody) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	if before := m.get.Load(); before != nil {
		if err := (*before)(ctx); err != nil {
			return storage.Record{}, err
		}
	}
	return m.Store.Get(ctx, id)
}

func (m *moody) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	return func(yield func(storage.Change, error) bool) {
		m.watched.Add(1)
		if watch := m.watch.Load(); watch != nil {
			(*watch)(ctx, yield)
			return
		}
		m.Store.Watch(ctx)(yield)
	}
}

// onMoody is inBubble on a moody store.
func onMoody(t *testing.T, name string, cfg lapse.Config, test func(h *holder, store *moody)) {
	t.Helper()
	store := &moody{Store: nil}
	open := func(*testing.T) storage.Store {
		store.Store = memory.New()
		return store
	}
	inBubble(t, name, open, cfg, func(h *holder) { test(h, store) })
}

// silences are the ways in which a store does not answer.
var silences = map[string]func(ctx context.Context) error{
	"unavailable": func(context.Context) error { return storage.ErrUnavailable },
	"corrupt":     func(context.Context) error { return storage.ErrCorrupt },
	"odd":         func(context.Context) error { return errDisk },
	"hangs": func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	},
}

// TestHoldWhileTheStoreIsSilent: until the end that is known, and a second at most.
func TestHoldWhileTheStoreIsSilent(t *testing.T) {
	for name, silence := range silences {
		onMoody(t, name, lapse.Config{}, func(h *holder, store *moody) {
			i := h.issue(lapse.Grant{})
			held := h.hold(i.Bearer)
			time.Sleep(20 * time.Minute)
			store.get.Store(&silence)
			h.end(i.ID, lapse.EndRevoked) // which cannot be read
			time.Sleep(10*time.Minute - time.Millisecond)
			h.alive("until then", held)
			h.wantRejection(h.cut("then", held, time.Second+strikeSlack), lapse.ErrExpired, i.ID, i.ExpiresAt, 0)
		})
	}
}

// strikeSlack is for what begins to be noted a moment after a token is due.
const strikeSlack = 110 * time.Millisecond

// giveUp is how long a read that hangs may take, if no connection is due meanwhile: the scheduler
// notices it when the goroutine that waits wakes.
const giveUp = 15*time.Second + time.Second + strikeSlack

// TestHoldOfADeafStore: no held connection waits for a store that hangs although the context has ended.
func TestHoldOfADeafStore(t *testing.T) {
	onMoody(t, "deaf", lapse.Config{}, func(h *holder, store *moody) {
		awake := make(chan struct{})
		defer close(awake)
		deaf := func(context.Context) error { <-awake; return nil }
		first, second := h.issue(lapse.Grant{}), h.issue(lapse.Grant{TTL: time.Hour})
		held := []context.Context{h.hold(first.Bearer), h.hold(second.Bearer)}
		time.Sleep(time.Second)
		store.get.Store(&deaf)
		time.Sleep(30*time.Minute - time.Second - time.Millisecond)
		h.alive("the first", held[0])
		h.cut("the first", held[0], time.Second+strikeSlack)
		time.Sleep(time.Until(second.ExpiresAt) - time.Millisecond)
		h.alive("the second", held[1])
		h.cut("the second", held[1], time.Second+strikeSlack)
	})
}

// TestHoldAfterSilence: what was told while the store could not be read is read once
// it can be, and one token that cannot be read keeps no other from it.
func TestHoldAfterSilence(t *testing.T) {
	for name, silence := range silences {
		onMoody(t, name, lapse.Config{}, func(h *holder, store *moody) {
			i, j := h.issue(lapse.Grant{}), h.issue(lapse.Grant{})
			ended, other := h.hold(i.Bearer), h.hold(j.Bearer)
			time.Sleep(time.Minute)
			store.get.Store(&silence)
			h.end(i.ID, lapse.EndRevoked)
			time.Sleep(time.Minute)
			h.alive("nobody could tell", ended)
			store.get.Store(nil)
			lapsetest.WantIs(t, "cause", h.cut("told before", ended, giveUp+5*time.Second), lapse.ErrRevoked)
			h.end(j.ID, lapse.EndRevoked)
			h.cut("told after", other, 0)
		})
	}
}

// TestHoldBesideOneThatHangs: ends of the others are late by what it takes to give up.
func TestHoldBesideOneThatHangs(t *testing.T) {
	onMoody(t, "one", lapse.Config{}, func(h *holder, store *moody) {
		i, j := h.issue(lapse.Grant{}), h.issue(lapse.Grant{})
		stuck, other := h.hold(i.Bearer), h.hold(j.Bearer)
		time.Sleep(time.Minute)
		var once atomic.Bool
		hang := func(ctx context.Context) error {
			if once.CompareAndSwap(false, true) {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		store.get.Store(&hang)
		h.change(i.ID, func(r *storage.Record) { r.Name = "renamed" })
		synctest.Wait()
		h.end(j.ID, lapse.EndRevoked)
		h.cut("the other", other, giveUp)
		h.alive("the one that hung", stuck)
	})
}

// watches are ways in which a Watch tells nothing.
var watches = map[string]watchFunc{
	"fails": func(_ context.Context, yield func(storage.Change, error) bool) {
		yield(storage.Change{}, storage.ErrUnavailable)
	},
	"ends":         func(context.Context, func(storage.Change, error) bool) {},
	"never yields": func(ctx context.Context, _ func(storage.Change, error) bool) { <-ctx.Done() },
	"fails after its gap": func(_ context.Context, yield func(storage.Change, error) bool) {
		if yield(storage.Change{Gap: true}, nil) {
			yield(storage.Change{}, errDisk)
		}
	},
}

// TestHoldWithoutWatch: a store that could tell and does not is polled, never later
// than the interval, and asked to tell again.
func TestHoldWithoutWatch(t *testing.T) {
	for name, watch := range watches {
		onMoody(t, name, lapse.Config{PollHolds: 3 * time.Second}, func(h *holder, store *moody) {
			store.watch.Store(&watch)
			i, j := h.issue(lapse.Grant{}), h.issue(lapse.Grant{})
			polled, heard := h.hold(i.Bearer), h.hold(j.Bearer)
			time.Sleep(time.Minute + time.Millisecond)
			h.end(i.ID, lapse.EndRevoked)
			h.cut("polled", polled, 3*time.Second)
			if name == "never yields" {
				return
			}
			store.watch.Store(nil)
			time.Sleep(3 * time.Second)
			h.end(j.ID, lapse.EndRevoked)
			h.cut("heard again", heard, 0)
		})
	}
}

// TestHoldWatchBreaks: what was put between two watches is found by the Gap.
func TestHoldWatchBreaks(t *testing.T) {
	onMoody(t, "breaks", lapse.Config{}, func(h *holder, store *moody) {
		broken := make(chan struct{})
		watch := watchFunc(func(_ context.Context, yield func(storage.Change, error) bool) {
			if yield(storage.Change{Gap: true}, nil) {
				<-broken
				yield(storage.Change{}, storage.ErrUnavailable)
			}
		})
		store.watch.Store(&watch)
		i := h.issue(lapse.Grant{})
		held := h.hold(i.Bearer)
		synctest.Wait()
		store.watch.Store(nil)
		h.end(i.ID, lapse.EndRevoked)
		h.alive("nothing was told", held)
		close(broken)
		h.cut("broken", held, 5*time.Second)
	})
}

// TestHoldPollsNobody where the store tells: it is read when there is something new.
func TestHoldPollsNobody(t *testing.T) {
	onMoody(t, "idle", lapse.Config{}, func(h *holder, store *moody) {
		held := h.hold(h.issue(lapse.Grant{TTL: 5 * time.Hour}).Bearer)
		synctest.Wait()
		var reads atomic.Int32
		count := func(context.Context) error { reads.Add(1); return nil }
		store.get.Store(&count)
		time.Sleep(4 * time.Hour)
		h.alive("idle", held)
		if n := reads.Load(); n != 0 || store.watched.Load() != 1 {
			t.Errorf("%d reads and %d watches in four hours; want none, and one", n, store.watched.Load())
		}
	})
}

// TestHoldOfAWrongRecord: another token's record ends nothing.
func TestHoldOfAWrongRecord(t *testing.T) {
	store := &lapsetest.Wrong{Store: memory.New()}
	var mixed atomic.Pointer[lapse.ID] // whose record is given for any other
	store.OnGet = func(r storage.Record) storage.Record {
		if id := mixed.Load(); id != nil {
			r, _ = store.Store.Get(context.Background(), *id)
		}
		return r
	}
	inBubble(t, "wrong", func(*testing.T) storage.Store { return store }, lapse.Config{}, func(h *holder) {
		held, other := h.hold(h.issue(lapse.Grant{}).Bearer), h.issue(lapse.Grant{})
		h.end(other.ID, lapse.EndRevoked)
		mixed.Store(&other.ID)
		time.Sleep(30*time.Minute - time.Millisecond)
		h.alive("by another's record", held)
		cause := h.cut("at its time", held, time.Millisecond)
		if errors.Is(cause, lapse.ErrUnknown) || !errors.Is(cause, lapse.ErrExpired) {
			t.Errorf("cut by %v", cause)
		}
	})
}
