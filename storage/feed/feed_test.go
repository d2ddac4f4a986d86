package feed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
)

// listener is somebody in a bubble who watches, and what they have heard.
type listener struct {
	mu    sync.Mutex
	heard []string
	stop  context.CancelFunc
	awake chan struct{} // received from in each turn, if it is not nil
}

func listen(f *Feed, awake chan struct{}) *listener {
	ctx, stop := context.WithCancel(context.Background())
	l := &listener{stop: stop, awake: awake}
	go func() {
		for c, err := range f.Watch(ctx) {
			l.note(c, err)
			if l.awake != nil {
				<-l.awake
			}
		}
		l.note(storage.Change{Subject: "the end"}, nil)
	}()
	synctest.Wait()
	return l
}

func (l *listener) note(c storage.Change, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.heard = append(l.heard, err.Error())
	case c.Gap:
		l.heard = append(l.heard, "gap")
	case c.AsOf != 0:
		l.heard = append(l.heard, c.AsOf.String())
	default:
		l.heard = append(l.heard, c.Subject)
	}
}

func (l *listener) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if diff := cmp.Diff(want, l.heard); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
	l.heard = nil
}

func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(Feed)
		f.Tell(storage.ID{}, "nobody hears it")
		a := listen(f, nil)
		a.want(t, "gap")
		f.Tell(storage.ID{1}, "ana")
		b := listen(f, nil)
		f.Tell(storage.ID{2}, "bob")
		a.want(t, "ana", "bob")
		b.want(t, "gap", "bob")
		f.Gap()
		a.stop()
		synctest.Wait()
		f.Tell(storage.ID{3}, "eve")
		a.want(t, "gap", context.Canceled.Error(), "the end")
		b.want(t, "gap", "eve")
		f.Close()
		b.want(t, storage.ErrClosed.Error(), "the end")
		listen(f, nil).want(t, storage.ErrClosed.Error(), "the end")
		if f.watched.Load() || len(f.all) > 0 {
			t.Errorf("%d watchers are left", len(f.all))
		}
	})
}

// TestSlowWatcher: what is not taken is kept up to a limit. One change more, and all of
// it is a Gap; then it goes on as ever.
func TestSlowWatcher(t *testing.T) {
	for _, row := range []struct {
		name  string
		tell  int
		gap   bool // in between
		heard int
	}{
		{"one below the limit", maxPending - 1, false, maxPending - 1},
		{"the limit", maxPending, false, maxPending},
		{"one above", maxPending + 1, false, 1},
		{"twice that", 2*maxPending + 2, false, 1},
		{"a gap in between", 10, true, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, awake := new(Feed), make(chan struct{})
				l := listen(f, awake)
				l.want(t, "gap")
				for n := range row.tell {
					f.Tell(storage.ID{}, "ana")
					if row.gap && n == row.tell/2 {
						f.Gap()
					}
				}
				for range row.heard {
					awake <- struct{}{}
				}
				synctest.Wait()
				l.mu.Lock()
				got, first := len(l.heard), l.heard[0]
				l.heard = nil
				l.mu.Unlock()
				if got != row.heard || (first == "gap") != (row.heard == 1) {
					t.Errorf("heard %d, %q first; want %d", got, first, row.heard)
				}
				f.Tell(storage.ID{}, "bob")
				close(awake)
				l.want(t, "bob")
				l.stop()
			})
		})
	}
}

// TestClosedWithSomethingLeft: what was told before is told, and then that it is over.
func TestClosedWithSomethingLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, awake := new(Feed), make(chan struct{})
		l := listen(f, awake)
		f.Tell(storage.ID{}, "ana")
		f.Close()
		f.Close()
		close(awake)
		l.want(t, "gap", "ana", storage.ErrClosed.Error(), "the end")
	})
}

// TestAsOf: a watcher that was slow gets one AsOf, the latest, behind what was told before it. A
// Gap takes no AsOf away.
func TestAsOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, awake := new(Feed), make(chan struct{})
		f.AsOf(time.Second) // without a watcher
		l := listen(f, awake)
		l.want(t, "gap")
		f.AsOf(2 * time.Second)
		f.Tell(storage.ID{}, "ana")
		f.AsOf(4 * time.Second)
		f.AsOf(3 * time.Second)
		awake <- struct{}{}
		awake <- struct{}{}
		l.want(t, "ana", "4s")
		f.Tell(storage.ID{}, "bob")
		f.Gap()
		f.AsOf(5 * time.Second)
		close(awake)
		l.want(t, "gap", "5s")
		f.AsOf(6 * time.Second)
		l.want(t, "6s")
		l.stop()
		l.want(t, context.Canceled.Error(), "the end")
	})
}

// TestFail: a watch ends with the reason, after what was told before, even if the feed has recovered
// meanwhile. A new watch hears the reason alone, and a Gap once the feed has recovered.
func TestFail(t *testing.T) {
	down := fmt.Errorf("%w: the listener is gone", storage.ErrUnavailable)
	synctest.Test(t, func(t *testing.T) {
		f, awake := new(Feed), make(chan struct{})
		slow := listen(f, awake)
		f.Tell(storage.ID{}, "ana")
		f.Fail(down)
		listen(f, nil).want(t, down.Error(), "the end")
		f.Fail(errors.New("another reason"))
		f.Restore()
		next := listen(f, nil)
		f.Tell(storage.ID{}, "bob")
		next.want(t, "gap", "bob")
		close(awake)
		slow.want(t, "gap", "ana", down.Error(), "the end")
		f.Close()
		f.Fail(down)
		f.Restore()
		next.want(t, storage.ErrClosed.Error(), "the end")
		listen(f, nil).want(t, storage.ErrClosed.Error(), "the end")
		if f.watched.Load() || len(f.all) > 0 {
			t.Errorf("%d watchers are left", len(f.all))
		}
	})
}

// TestBodyStops, and even panics: nobody watches any more.
func TestBodyStops(t *testing.T) {
	f := new(Feed)
	for name, stop := range map[string]func(){"break": func() {}, "panic": func() { panic("no way") }} {
		func() {
			defer func() { recover() }()
			for range f.Watch(t.Context()) {
				stop()
				break
			}
		}()
		if f.watched.Load() || len(f.all) > 0 {
			t.Errorf("after a %s %d watchers are left", name, len(f.all))
		}
	}
}

// TestComingAndGoing: watchers come and go while many tell, and each hears all that was
// told after its Gap, of each teller in order, or another Gap.
func TestComingAndGoing(t *testing.T) {
	const tellers, watchers, rounds = 2, 8, 100
	f := new(Feed)
	var telling, watching sync.WaitGroup
	done := make(chan struct{})
	for i := range tellers {
		telling.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				f.Tell(storage.ID{byte(i), byte(n >> 16), byte(n >> 8), byte(n)}, fmt.Sprint(i))
				if n%1_000 == 0 {
					f.Gap()
				}
				runtime.Gosched()
			}
		})
	}
	for range watchers {
		watching.Go(func() {
			for range rounds {
				if err := hear(f, 1+rand.IntN(50)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	watching.Wait()
	close(done)
	telling.Wait()
	if f.watched.Load() || len(f.all) > 0 {
		t.Errorf("%d watchers are left", len(f.all))
	}
}

// hear takes n changes and checks that none was left out.
func hear(f *Feed, n int) error {
	last := make(map[byte]int)
	for c, err := range f.Watch(context.Background()) {
		if n--; n < 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if c.Gap {
			clear(last)
			continue
		}
		number := int(c.ID[1])<<16 | int(c.ID[2])<<8 | int(c.ID[3])
		if before, ok := last[c.ID[0]]; ok && number != before+1 {
			return fmt.Errorf("teller %d: %d after %d", c.ID[0], number, before)
		}
		last[c.ID[0]] = number
	}
	return errors.New("the watch ended")
}
