package storage

import (
	"sync"
	"testing"
	"time"
)

var origin = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

func after(d time.Duration) int64 { return origin.Add(d).UnixMilli() }

// TestMarksAskOnce: due is called at a minute ahead of what is written, once until
// something is, and at once for what must not wait.
func TestMarksAskOnce(t *testing.T) {
	asked := 0
	m := NewMarks(Mark{At: origin}, func() { asked++ })
	for _, step := range []struct {
		name string
		do   func()
		want int
	}{
		{"a minute less a millisecond", func() { m.Raise(after(time.Minute-time.Millisecond), 0) }, 0},
		{"a minute", func() { m.Follow(m.At(), after(time.Minute)) }, 1},
		{"an hour, and nothing written", func() { m.Raise(after(time.Hour), 0) }, 1},
		{"written", func() { m.Saved(m.Mark()) }, 1},
		{"a second more", func() { m.Raise(after(time.Hour+time.Second), 0) }, 1},
		{"a minute more", func() { m.Raise(after(time.Hour+time.Minute), 0) }, 2},
		{"written", func() { m.Saved(m.Mark()) }, 2},
		{"a quiet time", func() { m.Hush(origin.Add(time.Hour)) }, 3},
		{"a shorter one", func() { m.Hush(origin) }, 3},
		{"a new epoch", func() { m.Restart(origin, origin, 0) }, 4},
		{"that somebody else has begun", func() { m.Restart(origin, origin, 0) }, 4},
		{"that a clock is behind", func() { m.Lag(origin, time.Hour, time.Minute) }, 4},
	} {
		if step.do(); asked != step.want {
			t.Errorf("%s: asked %d times; want %d", step.name, asked, step.want)
		}
	}
}

// TestMarksChangedWhileWritten: what came between is still to be written.
func TestMarksChangedWhileWritten(t *testing.T) {
	for name, change := range map[string]func(*Marks){
		"an epoch":   func(m *Marks) { m.Restart(origin, time.Time{}, 0) },
		"quiet":      func(m *Marks) { m.Hush(origin) },
		"an hour":    func(m *Marks) { m.Raise(after(time.Hour), 0) },
		"a second: ": func(m *Marks) { m.Raise(after(time.Second), 0) },
	} {
		m := NewMarks(Mark{At: origin}, nil)
		m.Hush(origin.Add(-time.Hour))
		written := m.Mark()
		change(m)
		m.Saved(written)
		if want := name != "a second: "; m.Unsaved() != want {
			t.Errorf("%s: waiting %v; want %v", name, m.Unsaved(), want)
		}
	}
}

// TestRaiseIsOfItsEpoch: a time from before a new epoch does not get into it.
func TestRaiseIsOfItsEpoch(t *testing.T) {
	m := NewMarks(Mark{At: origin}, nil)
	m.Raise(after(time.Hour), 0)
	if !m.Restart(origin, origin, 0) {
		t.Fatal("no new epoch")
	}
	if got := m.Raise(after(2*time.Hour), 0); got != after(0) || m.At() != after(0) {
		t.Errorf("Raise for epoch 0 = %d, At = %d; want %d", got, m.At(), after(0))
	}
	if m.Follow(after(time.Hour), after(2*time.Hour)) {
		t.Error("Follow from an instant that is past")
	}
	if got := m.Raise(after(time.Minute), 1); got != after(time.Minute) {
		t.Errorf("Raise for epoch 1 = %d", got)
	}
}

// TestMarksAmongGoroutines: At is the latest that anybody has said, and Mark is never of
// two epochs.
func TestMarksAmongGoroutines(t *testing.T) {
	m := NewMarks(Mark{At: origin}, nil)
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for i := range 2_000 {
				switch mark := m.Mark(); {
				case n == 0 && i%100 == 99:
					m.Restart(origin.Add(-time.Duration(mark.Epoch+1)*time.Hour), origin, mark.Epoch)
				default:
					if since := origin.Add(-time.Duration(mark.Epoch) * time.Hour); mark.Epoch > 0 && (!mark.Since.Equal(since) || mark.At.Before(since)) {
						t.Errorf("a mark of two epochs: %+v", mark)
						return
					}
					if at := mark.At.Add(time.Millisecond).UnixMilli(); m.Raise(at, mark.Epoch) < at && m.Epoch() == mark.Epoch {
						t.Errorf("At is before what was raised to")
						return
					}
				}
			}
		})
	}
	all.Wait()
}

// TestFault7TheStrictestDecides: Behind is what a clock said when it was first behind by
// more than the least tolerance so far, until it is behind by that at most.
func TestFault7TheStrictestDecides(t *testing.T) {
	const strict, lenient = 5 * time.Minute, 3 * time.Hour
	m := NewMarks(Mark{At: origin}, nil)
	for n, step := range []struct {
		wall      time.Duration // after origin
		by        time.Duration
		tolerance time.Duration
		want      time.Duration // Behind after origin; 0: not set
	}{
		{-time.Hour, time.Hour, lenient, 0},
		{-time.Hour, time.Hour, strict, -time.Hour},
		{-59 * time.Minute, time.Hour, strict, -time.Hour},
		{-58 * time.Minute, time.Hour, lenient, -time.Hour},
		{-2 * time.Hour, 2 * time.Hour, lenient, -2 * time.Hour},
		{-119 * time.Minute, strict + time.Millisecond, lenient, -2 * time.Hour},
		{-118 * time.Minute, strict, lenient, 0},
		{-117 * time.Minute, lenient + time.Millisecond, lenient, -117 * time.Minute},
		{-117 * time.Minute, 0, strict, 0},
	} {
		before := m.Mark().Behind
		if got := m.Lag(origin.Add(step.wall), step.by, step.tolerance); !got.Equal(before) {
			t.Errorf("step %d: Lag returns %v; want %v", n, got, before)
		}
		var want time.Time
		if step.want != 0 {
			want = origin.Add(step.want)
		}
		if got := m.Mark().Behind; !got.Equal(want) || m.Lagging() == want.IsZero() {
			t.Errorf("step %d: Behind %v, lagging %v; want %v", n, got, m.Lagging(), want)
		}
	}
	if m := NewMarks(Mark{At: origin, Behind: origin}, nil); !m.Lagging() {
		t.Error("what was written of Behind does not count")
	}
	m.Lag(origin, time.Hour, strict)
	if m.Restart(origin, origin, 0); m.Lagging() {
		t.Error("a clock that is followed lags")
	}
}

// TestFault7RestartsAreTold: to all who listen, of each new epoch, until they stop.
func TestFault7RestartsAreTold(t *testing.T) {
	m := NewMarks(Mark{At: origin}, nil)
	var first, second int
	stopFirst := m.OnRestart(func() { first++ })
	stopSecond := m.OnRestart(func() { second++ })
	m.Restart(origin, origin, 0)
	m.Restart(origin, origin, 0) // which has ended already
	stopFirst()
	stopFirst()
	m.Restart(origin, origin, 1)
	stopSecond()
	m.Restart(origin, origin, 2)
	if first != 1 || second != 2 {
		t.Errorf("told %d and %d times; want 1 and 2", first, second)
	}
}
