package lapse_test

import (
	"context"
	"errors"
	"flag"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

var manyHolds = flag.Int("holds", 20_000, "how often TestHoldAndRelease holds and releases")

// TestHoldAndRelease leaves no goroutine and no memory behind: released one by one, and
// while another one is held all the time.
func TestHoldAndRelease(t *testing.T) {
	for name, standing := range map[string]bool{"alone": false, "beside another": true} {
		onMemory(t, name, lapse.Config{}, func(h *holder) {
			other := h.issue(lapse.Grant{Subject: "bob", TTL: time.Hour})
			if standing {
				h.hold(other.Bearer)
			}
			i := h.issue(lapse.Grant{TTL: time.Hour})
			h.holdAndRelease(i.Bearer, 5_000) // maps have grown by then
			goroutines, bytes := serving(), heap()
			h.holdAndRelease(i.Bearer, *manyHolds)
			if n := serving(); n != goroutines || standing != (n > 0) {
				t.Errorf("%d goroutines serve holds; want %d as before", n, goroutines)
			}
			if more := heap() - bytes; more > 1<<20 {
				t.Errorf("%d bytes more than before", more)
			}
		})
	}
}

func (h *holder) holdAndRelease(bearer string, times int) {
	h.t.Helper()
	for n := range times {
		ctx, release := context.WithCancel(h.ctx)
		if _, _, err := opened(h.Hold(ctx, bearer)); err != nil {
			h.t.Fatal(err)
		}
		release()
		if n%1_000 == 0 {
			synctest.Wait()
		}
	}
	synctest.Wait()
}

// serving returns how many goroutines serve holds.
func serving() int {
	buf := make([]byte, 1<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "created by github.com/seed-55daa01a/lapse.")
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestHoldLeavesNothing, however it ends: the scheduler comes with the first hold and
// goes with the last.
func TestHoldLeavesNothing(t *testing.T) {
	for name, end := range map[string]func(h *holder, i lapse.Issued, release func()){
		"released":       func(_ *holder, _ lapse.Issued, release func()) { release() },
		"released twice": func(_ *holder, _ lapse.Issued, release func()) { release(); release() },
		"ended":          func(h *holder, i lapse.Issued, _ func()) { h.end(i.ID, lapse.EndRevoked) },
		"ended, then released": func(h *holder, i lapse.Issued, release func()) {
			h.end(i.ID, lapse.EndRevoked)
			synctest.Wait()
			release()
		},
		"released, then ended":  func(h *holder, i lapse.Issued, release func()) { release(); h.end(i.ID, lapse.EndRevoked) },
		"ran out":               func(*holder, lapse.Issued, func()) { time.Sleep(30 * time.Minute) },
		"ran out, released too": func(_ *holder, _ lapse.Issued, release func()) { time.Sleep(30 * time.Minute); release() },
		"closed":                func(h *holder, _ lapse.Issued, _ func()) { h.store.Close() },
	} {
		for _, on := range holdStores {
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{}, func(h *holder) {
				synctest.Wait()
				before := serving()
				i := h.issue(lapse.Grant{})
				ctx, release := context.WithCancel(context.Background())
				defer release()
				held, _, err := opened(h.Hold(ctx, i.Bearer))
				if err != nil || serving() == before {
					t.Fatal(err, serving())
				}
				end(h, i, release)
				h.cut(name, held, 5*time.Second)
				if n := serving(); n != before {
					t.Errorf("%d goroutines; want %d as before", n, before)
				}
			})
		}
	}
}

// TestHoldCallbacksBlock: what is called since somebody was cut keeps nobody else from
// it, however long it takes.
func TestHoldCallbacksBlock(t *testing.T) {
	onMemory(t, "blocked", lapse.Config{}, func(h *holder) {
		open := make(chan struct{})
		defer close(open)
		var held []context.Context
		for range 10 {
			held = append(held, h.hold(h.issue(lapse.Grant{}).Bearer))
			context.AfterFunc(held[len(held)-1], func() { <-open })
		}
		if _, err := h.ExpireSubject(h.ctx, "ana"); err != nil {
			t.Fatal(err)
		}
		for _, held := range held {
			h.cut("with its subject", held, 0)
		}
		i := h.issue(lapse.Grant{TTL: time.Minute})
		later := h.hold(i.Bearer)
		h.cut("ran out", later, time.Minute)
	})
}

// TestHoldEndsWithItsParent, and then says what its parent does.
func TestHoldEndsWithItsParent(t *testing.T) {
	onMemory(t, "parent", lapse.Config{}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		ctx, release := context.WithCancelCause(h.ctx)
		held, _, err := opened(h.Hold(ctx, i.Bearer))
		if err != nil {
			t.Fatal(err)
		}
		type key struct{}
		beneath, _, err := opened(h.Hold(context.WithValue(held, key{}, "value"), h.issue(lapse.Grant{Subject: "bob"}).Bearer))
		if err != nil || beneath.Value(key{}) != "value" {
			t.Fatalf("%v, %v", err, beneath.Value(key{}))
		}
		release(errDisk)
		for _, held := range []context.Context{held, beneath} {
			wantIs(t, "Err", held.Err(), context.Canceled)
			wantIs(t, "cause", context.Cause(held), errDisk)
		}
		_, err = h.Hold(ctx, i.Bearer)
		wantIs(t, "Hold with an ended context", err, context.Canceled)
		ctx, cancel := context.WithTimeout(h.ctx, time.Minute)
		defer cancel()
		held, _, err = opened(h.Hold(ctx, i.Bearer))
		if err != nil {
			t.Fatal(err)
		}
		if deadline, ok := held.Deadline(); !ok || !deadline.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("Deadline: %v, %v; want the caller's own", deadline, ok)
		}
		wantIs(t, "cause", h.cut("timed out", held, time.Minute), context.DeadlineExceeded)
	})
}

// TestHoldCancelledAnywhere: a caller may give up before and after each call that Hold
// makes; then it gets the context's error, or a context that has ended.
func TestHoldCancelledAnywhere(t *testing.T) {
	for _, grant := range []lapse.Grant{{}, {MaxUses: 5}} {
		for calls := range 5 {
			for _, deaf := range []bool{false, true} {
				store := &quitter{Faulty: storagetest.NewFaulty(memory.New()), deaf: deaf}
				inBubble(t, "", func(*testing.T) storage.Store { return store }, lapse.Config{}, func(h *holder) {
					i := h.issue(grant)
					ctx, release := context.WithCancel(h.ctx)
					store.release, store.left = release, calls
					if calls == 0 {
						release()
					}
					held, tok, err := opened(h.Hold(ctx, i.Bearer))
					store.left = 0
					release()
					synctest.Wait()
					wantIs(t, "Err", held.Err(), context.Canceled)
					if err != nil && (!errors.Is(err, context.Canceled) || tok != (lapse.Token{})) {
						t.Errorf("Hold: %+v, %v", tok, err)
					}
					if errors.Is(err, lapse.ErrUnauthenticated) {
						t.Errorf("%v reads as a bad token", err)
					}
				})
			}
		}
	}
}

// quitter has its caller give up at one of the calls, and may be deaf to that.
type quitter struct {
	*storagetest.Faulty
	release func()
	left    int
	deaf    bool
}

func (q *quitter) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	return q.Faulty.Get(q.count(ctx), id)
}

func (q *quitter) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	return q.Faulty.Touch(q.count(ctx), id, use)
}

func (q *quitter) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return q.Faulty.Update(q.count(ctx), subject, func(tx storage.Tx) error {
		q.count(ctx)
		return fn(tx)
	})
}

func (q *quitter) count(ctx context.Context) context.Context {
	if q.left--; q.left == 0 {
		q.release()
		if q.deaf {
			synctest.Wait() // until all have heard of it
		}
	}
	if q.deaf {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// TestHoldThroughPanics: one that passes through Hold leaves nothing registered.
func TestHoldThroughPanics(t *testing.T) {
	for name, cfg := range map[string]lapse.Config{
		"of the store":                       {},
		"of Admit":                           {Admit: func(_ context.Context, tok lapse.Token) error { panic(errDisk) }},
		"of Admit, which ends its goroutine": {Admit: func(context.Context, lapse.Token) error { runtime.Goexit(); return nil }},
	} {
		faulty := storagetest.NewFaulty(memory.New())
		inBubble(t, name, func(*testing.T) storage.Store { return faulty }, cfg, func(h *holder) {
			i := h.issue(lapse.Grant{})
			if cfg.Admit == nil {
				faulty.InjectOp(storagetest.OpGet, 1, storagetest.Panic, errDisk)
			}
			before := serving()
			left := make(chan any)
			go func() {
				defer func() {
					p := recover()
					left <- p
				}()
				h.Hold(context.Background(), i.Bearer)
			}()
			if p := <-left; p != errDisk && name != "of Admit, which ends its goroutine" {
				t.Errorf("it ended with %v", p)
			}
			synctest.Wait()
			if n := serving(); n != before {
				t.Errorf("%d goroutines; want %d as before", n, before)
			}
		})
	}
}
