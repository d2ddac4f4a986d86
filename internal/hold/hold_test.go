package hold_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse/internal/hold"
	"github.com/seed-55daa01a/lapse/storage"
)

var (
	errDead     = errors.New("dead")
	errRanOut   = errors.New("ran out")
	errReplaced = errors.New("replaced")
	errRefused  = errors.New("refused")
	errUnknown  = errors.New("could not tell")
)

var (
	held   = storage.ID{1}
	parent = storage.ID{2}
)

// world is what a Scheduler sees of its caller: the state of one token, a store that tells
// changes, and what Admit says.
type world struct {
	mu        sync.Mutex
	state     hold.State
	panics    bool
	refused   error
	failed    error
	told      []error
	cut       []error
	exhausted []storage.ID
	changes   chan storage.Change
	closed    chan struct{}
}

// set changes w as do says, and waits until every goroutine rests.
func (w *world) set(do func()) {
	w.mu.Lock()
	do()
	w.mu.Unlock()
	synctest.Wait()
}

func (w *world) read(context.Context, storage.ID) hold.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.panics {
		panic("of a store")
	}
	return w.state
}

func (w *world) watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	return func(yield func(storage.Change, error) bool) {
		for change := (storage.Change{Gap: true}); yield(change, nil); {
			select {
			case change = <-w.changes:
			case <-w.closed:
				yield(storage.Change{}, storage.ErrClosed)
				return
			case <-ctx.Done():
				yield(storage.Change{}, ctx.Err())
				return
			}
		}
	}
}

// scheduler returns a Scheduler over w, and w, whose token lives for an hour.
func scheduler(recheck time.Duration) (*hold.Scheduler, *world) {
	w := &world{
		state:   hold.State{ExpiresAt: time.Now().Add(time.Hour), Ancestors: []storage.ID{parent}},
		changes: make(chan storage.Change),
		closed:  make(chan struct{}),
	}
	return hold.New(configOf(w, recheck)), w
}

// configOf returns the Config of a Scheduler over w.
func configOf(w *world, recheck time.Duration) hold.Config {
	return hold.Config{
		Recheck:     recheck,
		Poll:        time.Second,
		Marks:       storage.NewMarks(storage.Mark{}, nil),
		Now:         func() time.Time { return time.Now().UTC().Truncate(time.Millisecond) },
		After:       time.After,
		FollowClock: func() {},
		Read:        w.read,
		Check: func(context.Context, storage.ID, string) (refused, failed error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.refused, w.failed
		},
		CheckFailed: func(_ storage.ID, _ string, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, err)
		},
		Watch: w.watch,
		Exhaust: func(id storage.ID, _ string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.exhausted = append(w.exhausted, id)
		},
		RanOut:   func(storage.ID, string, time.Time) error { return errRanOut },
		Replaced: func(storage.ID, string, uint32) error { return errReplaced },
		Cut: func(causes []error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.cut = append(w.cut, causes...)
		},
		ByGeneration: func(cause error, _ uint32) error { return cause },
	}
}

// open holds a connection by a secret of generation.
func open(t *testing.T, s *hold.Scheduler, w *world, generation uint32, spent bool) (*hold.Conn, context.Context) {
	t.Helper()
	c := new(hold.Conn)
	ctx := c.Open(context.Background(), func() { s.Drop(c) })
	s.Add(c, held)
	tok := storage.Token{ID: held, Subject: "ana", ExpiresAt: w.state.ExpiresAt, Parent: parent, Generation: 2}
	if over, cause := s.Arm(c, &tok, generation, spent); over || cause != nil {
		t.Fatalf("Arm returned %v, %v", over, cause)
	}
	synctest.Wait()
	return c, ctx
}

// TestCauses: each way to die cuts the connections that it concerns, with its cause.
func TestCauses(t *testing.T) {
	dead := func(w *world) func() { return func() { w.state = hold.State{Cause: errDead} } }
	for name, row := range map[string]struct {
		do       func(w *world)
		previous error // the cause of a connection by generation 1
		current  error // and by generation 2
	}{
		"nothing":     {func(w *world) { time.Sleep(30 * time.Minute) }, nil, nil},
		"a change":    {func(w *world) { w.set(dead(w)); w.changes <- storage.Change{ID: held} }, errDead, errDead},
		"an ancestor": {func(w *world) { w.set(dead(w)); w.changes <- storage.Change{ID: parent} }, errDead, errDead},
		"a gap":       {func(w *world) { w.set(dead(w)); w.changes <- storage.Change{Gap: true} }, errDead, errDead},
		"another":     {func(w *world) { w.set(dead(w)); w.changes <- storage.Change{ID: storage.ID{3}} }, nil, nil},
		"a floor":     {func(w *world) { w.set(func() { w.state.Floor = 2 }); w.changes <- storage.Change{ID: held} }, errReplaced, nil},
		"expiry":      {func(w *world) { w.set(dead(w)); time.Sleep(time.Hour) }, errDead, errDead},
		"a renewal": {func(w *world) {
			w.set(func() { w.state.ExpiresAt = w.state.ExpiresAt.Add(time.Hour) })
			time.Sleep(119 * time.Minute)
		}, nil, nil},
		"unreadable":    {func(w *world) { w.set(func() { w.state.Unreadable = true }); time.Sleep(time.Hour) }, errRanOut, errRanOut},
		"a panic":       {func(w *world) { w.set(func() { w.panics = true }); time.Sleep(time.Hour) }, errRanOut, errRanOut},
		"a closed one":  {func(w *world) { close(w.closed) }, storage.ErrClosed, storage.ErrClosed},
		"a refusal":     {func(w *world) { w.set(func() { w.refused = errRefused }); time.Sleep(time.Minute) }, errRefused, errRefused},
		"a failed look": {func(w *world) { w.set(func() { w.failed = errUnknown }); time.Sleep(time.Minute) }, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, w := scheduler(time.Minute)
				a, previous := open(t, s, w, 1, false)
				b, current := open(t, s, w, 2, false)
				row.do(w)
				synctest.Wait()
				if got := context.Cause(previous); !errors.Is(got, row.previous) {
					t.Errorf("the previous secret: cut by %v, want %v", got, row.previous)
				}
				if got := context.Cause(current); !errors.Is(got, row.current) {
					t.Errorf("the current secret: cut by %v, want %v", got, row.current)
				}
				if told := len(w.told) > 0; told != (w.failed != nil) {
					t.Errorf("told %v of checks that failed by %v", w.told, w.failed)
				}
				if holding := s.Holding(held); holding != (row.current == nil) {
					t.Errorf("Holding is %v", holding)
				}
				var cut []error
				for _, want := range []error{row.previous, row.current} {
					if want != nil {
						cut = append(cut, want)
					}
				}
				if len(w.cut) != len(cut) || len(cut) > 0 && (!errors.Is(w.cut[0], cut[0]) || !errors.Is(w.cut[len(cut)-1], cut[len(cut)-1])) {
					t.Errorf("told of cuts by %v, want %v", w.cut, cut)
				}
				for c, cause := range map[*hold.Conn]error{a: row.previous, b: row.current} {
					if first, second := s.Drop(c), s.Drop(c); first != (cause == nil) || second {
						t.Errorf("Drop after a cut by %v: %v, then %v", cause, first, second)
					}
					c.End(context.Canceled)
				}
			})
		})
	}
}

// TestCutAfterTheClientLeft: of a connection whose context has ended, and that the Scheduler has not
// been told of yet, no cut is told: the cause in its place is nil.
func TestCutAfterTheClientLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := scheduler(time.Minute)
		parent, leave := context.WithCancel(context.Background())
		left := new(hold.Conn)
		ctx := left.Open(parent, func() {}) // the Drop of the client comes too late
		s.Add(left, held)
		tok := storage.Token{ID: held, Subject: "ana", ExpiresAt: w.state.ExpiresAt, Generation: 2}
		if over, cause := s.Arm(left, &tok, 2, false); over || cause != nil {
			t.Fatalf("Arm returned %v, %v", over, cause)
		}
		_, stays := open(t, s, w, 2, false)
		leave()
		w.set(func() { w.state = hold.State{Cause: errDead} })
		w.changes <- storage.Change{ID: held}
		synctest.Wait()
		if got := context.Cause(ctx); !errors.Is(got, context.Canceled) {
			t.Errorf("the client that left: %v", got)
		}
		if got := context.Cause(stays); !errors.Is(got, errDead) {
			t.Errorf("the client that stayed: %v", got)
		}
		if !slices.Contains(w.cut, error(nil)) || !slices.Contains(w.cut, errDead) || len(w.cut) != 2 || s.Drop(left) {
			t.Errorf("told of cuts by %v; want nil and %v", w.cut, errDead)
		}
	})
}

// TestSpentTokenEndsWithItsLastConnection: a spent token is ended once, after the last of
// its connections has ended.
func TestSpentTokenEndsWithItsLastConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := scheduler(0)
		a, _ := open(t, s, w, 2, true)
		b, _ := open(t, s, w, 2, false)
		for i, c := range []*hold.Conn{a, a, b, b} {
			s.Drop(c)
			c.End(context.Canceled)
			synctest.Wait()
			if want := i / 2; len(w.exhausted) != want {
				t.Fatalf("ended %d times after %d drops, want %d", len(w.exhausted), i+1, want)
			}
		}
		if s.EndLater(held, "ana") {
			t.Error("EndLater of a token without connections returned true")
		}
	})
}

// TestArmAfterTheEnd: a token that dies between Add and Arm is not armed.
func TestArmAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := scheduler(0)
		w.state = hold.State{Cause: errDead}
		c := new(hold.Conn)
		c.Open(context.Background(), func() {})
		s.Add(c, held)
		synctest.Wait() // the first gap has it read
		if over, cause := s.Arm(c, &storage.Token{ID: held}, 0, false); !over || cause != errDead {
			t.Errorf("Arm returned %v, %v; want true, %v", over, cause, errDead)
		}
		c.End(errDead)
	})
}
