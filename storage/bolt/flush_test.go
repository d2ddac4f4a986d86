package bolt

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// lazy are options under which nothing is flushed unless a test does it.
var lazy = Options{FlushEvery: 1000 * time.Hour}

// flush writes all that waits.
func (s *Store) flush() error { return s.flushNow(context.Background()) }

func by(r storage.Record, d time.Duration) storage.Use {
	return storage.Use{At: r.IssuedAt.Add(d), ExpiresAt: r.ExpiresAt.Add(d)}
}

func touch(t *testing.T, s *Store, r storage.Record, use storage.Use) storage.Record {
	t.Helper()
	if err := s.Touch(context.Background(), r.ID, use); err != nil {
		t.Fatalf("Touch: %v", err)
	}
	use.Raise(&r)
	return r
}

func shown(t *testing.T, s *Store, id storage.ID) storage.Record {
	t.Helper()
	r, err := s.Get(context.Background(), id)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return r
}

// TestTouchIsDeferred: this process sees it at once, the file after a flush, and a
// flush without anything to write writes nothing.
func TestTouchIsDeferred(t *testing.T) {
	s := openNew(t, &lazy)
	was := record(1)
	put(t, s, was)
	commits := s.Stats().Commits
	want := touch(t, s, was, by(was, time.Minute))
	if got := shown(t, s, was.ID); !got.Equal(want) {
		t.Errorf("shown: %+v; want %+v", got, want)
	}
	if got := inFile(t, s, was.ID); !got.Equal(was) {
		t.Errorf("in the file before the flush: %+v; want it as it was put", got)
	}
	if st := s.Stats(); st.Unsaved != 1 || st.Commits != commits {
		t.Errorf("Stats: %+v; want 1 unsaved and no commit", st)
	}
	for range 2 {
		if err := s.flush(); err != nil {
			t.Fatal(err)
		}
	}
	if got := inFile(t, s, was.ID); !got.Equal(want) {
		t.Errorf("in the file after the flush: %+v; want %+v", got, want)
	}
	if st := s.Stats(); st.Unsaved != 0 || st.Commits != commits+1 {
		t.Errorf("Stats: %+v; want one commit more", st)
	}
}

// TestTouchOfManyIsFlushedInSteps touches more records than one op of a flush holds.
func TestTouchOfManyIsFlushedInSteps(t *testing.T) {
	const n = 2*flushStep + 1
	s := openNew(t, &lazy)
	var all []storage.Record
	for i := range n {
		all = append(all, record(7*i))
	}
	if err := putting(s, all...); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i] = touch(t, s, all[i], by(all[i], time.Second))
	}
	commits := s.Stats().Commits
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats().Commits - commits; got != 3 {
		t.Errorf("%d commits; want 3", got)
	}
	for _, want := range all {
		if got := inFile(t, s, want.ID); !got.Equal(want) {
			t.Fatalf("in the file: %+v; want %+v", got, want)
		}
	}
}

func TestCloseFlushes(t *testing.T) {
	path, _ := makeFile(t, 3)
	s, err := Open(path, &lazy)
	if err != nil {
		t.Fatal(err)
	}
	want := touch(t, s, record(1), by(record(1), time.Minute))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := shown(t, s, want.ID); !got.Equal(want) {
		t.Errorf("after Close: %+v; want %+v", got, want)
	}
}

// TestFlushEvery waits for the flusher itself, which goes by real time: the test ends
// when it has come, however long that takes.
func TestFlushEvery(t *testing.T) {
	s := openNew(t, &Options{FlushEvery: time.Millisecond})
	put(t, s, record(1))
	for n := range 3 {
		want := touch(t, s, record(1), by(record(1), time.Duration(n+1)*time.Minute))
		for !inFile(t, s, want.ID).Equal(want) {
			runtime.Gosched()
		}
	}
}

// TestFlushAtOnce: neither the table nor the caller is told before it is in the file.
func TestFlushAtOnce(t *testing.T) {
	s := openNew(t, &Options{FlushEvery: FlushAtOnce})
	was := record(1)
	put(t, s, was)
	g := holdCommits(t, s)
	want := was
	by(was, time.Minute).Raise(&want)
	touched := async(func() error { return s.Touch(context.Background(), was.ID, by(was, time.Minute)) })
	<-g.arrived
	if got := shown(t, s, was.ID); !got.Equal(was) {
		t.Errorf("shown before it is durable: %+v", got)
	}
	g.release <- nil
	if err := <-touched; err != nil {
		t.Fatal(err)
	}
	if got := inFile(t, s, was.ID); !got.Equal(want) || !shown(t, s, was.ID).Equal(want) {
		t.Errorf("in the file: %+v; want %+v", got, want)
	}
	letCommits(s)
	commits := s.Stats().Commits
	touch(t, s, want, by(was, time.Minute)) // raises nothing
	touch(t, s, record(2), by(was, time.Minute))
	if got := s.Stats().Commits; got != commits {
		t.Errorf("%d commits for nothing", got-commits)
	}
}

// TestTouchMeetsAnEnd: a Touch that comes while an end is on its way to the disk
// changes nothing of it, in no order of flush and end, in memory or in the file.
func TestTouchMeetsAnEnd(t *testing.T) {
	for _, flushFirst := range []bool{false, true} {
		path, _ := makeFile(t, 2)
		s, err := Open(path, &lazy)
		if err != nil {
			t.Fatal(err)
		}
		was := record(1)
		g := holdCommits(t, s)
		var flushed chan error
		if flushFirst {
			touch(t, s, was, by(was, time.Second))
			flushed = async(s.flush)
			<-g.arrived
		}
		ends := async(func() error { return end(s, 1) })
		if flushFirst {
			awaitWaiting(s, 1)
			g.release <- nil
		}
		<-g.arrived
		touch(t, s, was, by(was, time.Minute)) // the end is not durable: it lives
		if got := shown(t, s, was.ID); !got.EndedAt.IsZero() || !got.ExpiresAt.Equal(was.ExpiresAt.Add(time.Minute)) {
			t.Errorf("meanwhile: %+v", got)
		}
		letsFlush := async(s.flush) // must not write the living record over the end
		g.release <- nil
		if err := <-ends; err != nil {
			t.Error(err)
		}
		go func() {
			for {
				select {
				case <-g.arrived:
					g.release <- nil
				case <-t.Context().Done():
					return
				}
			}
		}()
		if err := <-letsFlush; err != nil {
			t.Error(err)
		}
		if flushed != nil {
			if err := <-flushed; err != nil {
				t.Error(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(path, &lazy); err != nil {
			t.Fatal(err)
		}
		if got := shown(t, s, was.ID); got.EndReason != storage.EndRevoked || got.Live(was.IssuedAt) {
			t.Errorf("flushed first %v: after reopening it is %+v", flushFirst, got)
		}
		s.Close()
	}
}

// TestRenewalMeetsATouch: an explicit renewal that was staged before a Touch came
// does not lower what the Touch raised.
func TestRenewalMeetsATouch(t *testing.T) {
	s := openNew(t, &lazy)
	was := record(1)
	put(t, s, was)
	g := holdCommits(t, s)
	renewed := was
	renewed.Name = "renewed"
	by(was, time.Second).Raise(&renewed)
	renews := async(func() error { return putting(s, renewed) })
	<-g.arrived
	touch(t, s, was, by(was, time.Hour))
	g.release <- nil
	if err := <-renews; err != nil {
		t.Fatal(err)
	}
	want := renewed
	by(was, time.Hour).Raise(&want)
	if got := shown(t, s, was.ID); !got.Equal(want) {
		t.Errorf("shown: %+v; want %+v", got, want)
	}
	letCommits(s)
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	if got := inFile(t, s, was.ID); !got.Equal(want) {
		t.Errorf("in the file: %+v; want %+v", got, want)
	}
}

// TestFlushThatFails: the renewals stay in sight, and the next flush writes them.
func TestFlushThatFails(t *testing.T) {
	s := openNew(t, &lazy)
	put(t, s, record(1))
	want := touch(t, s, record(1), by(record(1), time.Minute))
	no := errors.New("no")
	onWrite(s, func(func() error) error { return no })
	if err := s.flush(); !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, no) {
		t.Errorf("flush: %v; want ErrUnavailable and what made it", err)
	}
	if st := s.Stats(); st.Unsaved != 1 || !errors.Is(st.Err, no) {
		t.Errorf("Stats: %+v; want 1 unsaved, and the cause", st)
	}
	letCommits(s)
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	if got := inFile(t, s, want.ID); !got.Equal(want) {
		t.Errorf("in the file: %+v; want %+v", got, want)
	}
}
