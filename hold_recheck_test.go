package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

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
				wantIs(t, "cause", context.Cause(held), lapse.ErrRefused)
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
			wantIs(t, "Hold", err, nil)
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
		wantIs(t, "cause", h.cut("asked again", held, time.Minute), lapse.ErrRefused)
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
			wantIs(t, "Hold", err, nil)
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
		wantIs(t, "cause", h.cut("ended", held, 5*time.Second), lapse.ErrRevoked)
	})
	inBubble(t, "end", open, lapse.Config{}, func(h *holder) {
		hold, err := h.Hold(h.ctx, h.issue(lapse.Grant{MaxUses: 1}).Bearer)
		wantIs(t, "Hold", err, nil)
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
				wantIs(t, "the last use", row.spend(h, i.Bearer), nil)
				_, err := h.Authenticate(h.ctx, i.Bearer)
				wantIs(t, "one more", err, lapse.ErrExhausted)
				_, err = h.ExpireSubject(h.ctx, "ana")
				wantIs(t, "ExpireSubject", err, nil)
				wantIs(t, "cause", h.cut("logged out everywhere", held, on.late), row.want)
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
				wantIs(t, "Hold", err, nil)
				hold.Release()
				synctest.Wait()
			}
			if want := map[string]int32{"panics": 3}[name]; failed.Load() != want {
				t.Errorf("told of %d panics; want %d", failed.Load(), want)
			}
			held := h.hold(h.issue(lapse.Grant{TTL: time.Minute}).Bearer)
			time.Sleep(time.Minute - time.Millisecond)
			h.alive("until its end", held)
			wantIs(t, "cause", h.cut("at its end", held, time.Millisecond), lapse.ErrExpired)
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
		_, err := lapse.Login(h.ctx, h.Manager, "secret", lapse.Grant{Name: "laptop", Scope: "read"}, lapse.Verifier[string](lapse.VerifierFunc[string](func(context.Context, string) (string, error) { return "ana", nil })))
		wantIs(t, "Login", err, nil)
		seen = asked.take()
		if want := []lapse.Token{{Prefix: "lapse", Subject: "ana", Name: "laptop", Scope: "read"}}; len(seen) != 1 || seen[0] != want[0] {
			t.Errorf("Login asks about %+v; want %+v", seen, want)
		}
	})
}

// TestFault21RecheckOfASession: of a connection that an access text opened Admit sees the
// scope and the end of the access text, as when it was opened.
func TestFault21RecheckOfASession(t *testing.T) {
	var asked admissions
	synctest.Test(t, func(t *testing.T) {
		p := made(lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Admit: asked.admit, Recheck: time.Minute}}))
		first := made(p.Issue(t.Context(), lapse.Grant{Subject: "ana", Scope: "read write"}))
		c := made(p.Refresh(t.Context(), first.Refresh.Bearer, "read"))
		hold := made(p.Access().Hold(t.Context(), c.Access.Bearer))
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
		wantIs(t, "Hold", err, nil)
		if hold.Token().ID != i.ID || hold.Context().Err() != nil {
			t.Errorf("%+v, %v", hold.Token(), hold.Context().Err())
		}
		for range 2 {
			hold.Release()
			wantIs(t, "cause", context.Cause(hold.Context()), context.Canceled)
		}
		cut, err := h.Hold(h.ctx, i.Bearer)
		wantIs(t, "Hold", err, nil)
		h.end(i.ID, lapse.EndRevoked)
		h.cut("ended", cut.Context(), 0)
		cut.Release()
		wantIs(t, "cause after a late Release", context.Cause(cut.Context()), lapse.ErrRevoked)
	})
}
