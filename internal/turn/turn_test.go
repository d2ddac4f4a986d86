package turn

import (
	"context"
	"runtime"
	"sync"
	"testing"
)

// TestOneAtATime: one goroutine at a time writes what the turn guards, which -race sees too, and
// no goroutine is left waiting.
func TestOneAtATime(t *testing.T) {
	const callers, times = 64, 500
	turn, n := New(), 0
	gate := make(chan struct{})
	var done sync.WaitGroup
	for range callers {
		done.Go(func() {
			<-gate
			for range times {
				turn.Take()
				n++
				if n%7 == 0 {
					runtime.Gosched() // the others lose the turn meanwhile
				}
				turn.Give()
			}
		})
	}
	close(gate)
	done.Wait()
	if n != callers*times {
		t.Errorf("%d turns were taken, want %d", n, callers*times)
	}
}

// TestGiveUp: a wait ends with its context, or when the channel is closed, and then the caller does
// not have the turn. A turn that is free is taken all the same.
func TestGiveUp(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	closed := make(chan struct{})
	close(closed)
	for _, tt := range []struct {
		name       string
		ctx        context.Context
		closed     chan struct{}
		held, want bool
	}{
		{"free", t.Context(), nil, false, true},
		{"free, the context ended", ended, nil, false, true},
		{"free, the channel closed", t.Context(), closed, false, true},
		{"held, the context ended", ended, nil, true, false},
		{"held, the channel closed", t.Context(), closed, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			turn := New()
			if tt.held {
				turn.Take()
			}
			if got := turn.TakeUnless(tt.ctx, tt.closed); got != tt.want {
				t.Fatalf("TakeUnless = %v, want %v", got, tt.want)
			}
			turn.Give()
			turn.Take() // a wait that was given up has left nothing behind
		})
	}
}

// TestFreeTurnAllocatesNothing: not even the channel of the context, which a context makes when it
// is first asked for one.
func TestFreeTurnAllocatesNothing(t *testing.T) {
	turn := New()
	with := func(do func(context.Context)) func() {
		return func() {
			ctx, end := context.WithCancel(context.Background())
			do(ctx)
			end()
		}
	}
	contexts := testing.AllocsPerRun(100, with(func(context.Context) {}))
	if got := testing.AllocsPerRun(100, with(func(ctx context.Context) {
		turn.TakeUnless(ctx, nil)
		turn.Give()
	})); got > contexts {
		t.Errorf("%v allocations, of which %v are the context's", got, contexts)
	}
}

// TestHandedOver: a goroutine that has lost the turn often enough is handed it. On one processor a
// goroutine that gives the turn back and takes it again is ahead of all that wait, unless the system
// interrupts it between the two. So there are several tries.
func TestHandedOver(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	most := 0
	for range 5 {
		most = max(most, lostTurns(t))
	}
	if most < 1 || most > 2*patience {
		t.Errorf("the turn was handed over after %d lost turns, want about %d", most, patience)
	}
}

// lostTurns returns how often a goroutine that waits for a turn loses it before it has the turn.
func lostTurns(t *testing.T) int {
	turn, has := New(), make(chan struct{})
	turn.Take()
	go func() {
		turn.Take()
		close(has)
	}()
	runtime.Gosched() // the other goroutine waits
	lost := 0
	for ; lost < 100*patience; lost++ {
		turn.Give()
		if !turn.Try() {
			break
		}
		runtime.Gosched() // the other goroutine tries, and loses
	}
	if lost == 100*patience {
		turn.Give()
	}
	<-has
	if n := turn.hungry.Load(); n != 0 {
		t.Errorf("%d are still to be handed the turn, want 0", n)
	}
	return lost
}

// TestHungryGivesUp: a goroutine that is to be handed the turn and gives up leaves it to others.
func TestHungryGivesUp(t *testing.T) {
	turn, left := New(), make(chan bool)
	ctx, end := context.WithCancel(t.Context())
	turn.Take()
	go func() { left <- turn.TakeUnless(ctx, nil) }()
	for turn.hungry.Load() == 0 {
		select {
		case turn.free <- struct{}{}: // though the turn is not free
		default:
		}
		runtime.Gosched()
	}
	end()
	if <-left {
		t.Fatal("TakeUnless took a turn that was held")
	}
	turn.Give()
	turn.Take()
}
