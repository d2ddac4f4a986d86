package turn

import (
	"runtime"
	"sync"
	"testing"
)

// TestOneAtATime: what is guarded is written by one at a time, which -race sees too,
// and nobody is left waiting.
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
					runtime.Gosched() // and others lose it
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

// TestGiveUp: a wait ends when a channel is closed, without the turn, and a turn that is
// free is taken all the same.
func TestGiveUp(t *testing.T) {
	closed := make(chan struct{})
	close(closed)
	for _, tt := range []struct {
		name         string
		done, closed <-chan struct{}
		held, want   bool
	}{
		{"free, nothing closed", nil, nil, false, true},
		{"free, the first closed", closed, nil, false, true},
		{"free, the second closed", nil, closed, false, true},
		{"held, the first closed", closed, nil, true, false},
		{"held, the second closed", nil, closed, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			turn := New()
			if tt.held {
				turn.Take()
			}
			if got := turn.TakeUnless(tt.done, tt.closed); got != tt.want {
				t.Fatalf("TakeUnless = %v, want %v", got, tt.want)
			}
			turn.Give()
			turn.Take() // who gave up has left nothing behind
		})
	}
}

// TestHandedOver: who has lost the turn often enough is handed it. On one processor
// whoever gives it back and takes it again passes everybody who waits.
func TestHandedOver(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	turn := New()
	turn.Take()
	waited := make(chan struct{})
	go func() {
		turn.Take()
		close(waited)
		turn.Give()
	}()
	runtime.Gosched() // it waits
	rounds := 0
	for ; rounds < 100*patience; rounds++ {
		turn.Give()
		if !turn.try() {
			break
		}
		runtime.Gosched() // it tries, and loses
	}
	if rounds < 1 || rounds > 2*patience {
		t.Errorf("it was handed over after %d lost turns, want about %d", rounds, patience)
	}
	<-waited
	turn.Take()
	if n := turn.hungry.Load(); n != 0 {
		t.Errorf("%d are still to be handed the turn, want 0", n)
	}
}

// TestHungryGivesUp: one that is to be handed the turn and gives up leaves it to others.
func TestHungryGivesUp(t *testing.T) {
	turn, done, left := New(), make(chan struct{}), make(chan bool)
	turn.Take()
	go func() { left <- turn.TakeUnless(done, nil) }()
	for turn.hungry.Load() == 0 {
		select {
		case turn.free <- struct{}{}: // though it is not
		default:
			runtime.Gosched()
		}
	}
	close(done)
	if <-left {
		t.Fatal("it took a turn that was held")
	}
	turn.Give()
	turn.Take()
}
