package bolt

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestTroubleKeepsItsEnds: groups that waited behind the commit of unknown outcome fail, and do
// not make the store forget what it owes to the file.
func TestTroubleKeepsItsEnds(t *testing.T) {
	inBoth(t, lazy, func(t *testing.T, opts *Options) {
		path, _ := makeFile(t, 10)
		s := open(t, path, opts)
		g := holdCommits(t, s)
		doomed := record(1)
		first := async(func() error { return putting(s, ended(doomed)) })
		<-g.arrived
		behind := async(func() error { return putting(s, record(20)) })
		awaitWaiting(s, 1)
		onWrite(s, func(func() error) error { return errDisk })
		g.release <- errUnknown
		if err := <-first; !errors.Is(err, storage.ErrOutcomeUnknown) {
			t.Fatalf("Update: %v; want ErrOutcomeUnknown", err)
		}
		if err := <-behind; !errors.Is(err, errBefore) {
			t.Fatalf("the one behind: %v; want errBefore", err)
		}
		letCommits(s)
		if err := tryAgain(s); err != nil {
			t.Fatal(err)
		}
		if got := inFile(t, s, doomed.ID); !got.Equal(ended(doomed)) {
			t.Errorf("what was to be ended is %+v in the file", got)
		}
	})
}

// TestResumeOfUnknownOutcome: a record stays suspended where it is unknown whether the Put that clears
// SuspendedAt was written: while writing fails, afterwards, after a crash then, and when the file is
// opened again.
func TestResumeOfUnknownOutcome(t *testing.T) {
	for name, fails := range map[string]func(func() error) error{"not written": notWritten, "written": syncLost} {
		t.Run(name, func(t *testing.T) {
			inBoth(t, lazy, func(t *testing.T, opts *Options) {
				path, _ := makeFileIn(t, quickDir(t), 10)
				s := open(t, path, opts)
				r := record(1)
				want := isSuspended(&r)
				put(t, s, *want)
				onWrite(s, fails)
				again := *want
				if err := putting(s, *isResumed(&again)); !errors.Is(err, storage.ErrOutcomeUnknown) {
					t.Fatalf("%v; want ErrOutcomeUnknown", err)
				}
				onWrite(s, func(func() error) error { return errDisk })
				oneIs(t, "in trouble", s, want)
				letCommits(s)
				if err := tryAgain(s); err != nil {
					t.Fatal(err)
				}
				oneIs(t, "out of trouble", s, want)
				oneIs(t, "after a crash", openCrashed(t, path), want)
				put(t, s, record(21))
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				oneIs(t, "reopened", open(t, path, nil), want)
			})
		})
	}
}

// TestDeniedStaysDenied: an end of unknown outcome that did happen is never out of
// sight again, not even while the writes before it are shown; neither is a deletion, a suspension, nor
// a secret that has replaced another at once.
func TestDeniedStaysDenied(t *testing.T) {
	for name, row := range map[string]struct {
		before, last troubled
		denied       func(r *storage.Record, found bool) bool
	}{
		"ended":     {isRenamed, isEnded, func(r *storage.Record, found bool) bool { return !r.EndedAt.IsZero() }},
		"suspended": {isRenamed, isSuspended, func(r *storage.Record, found bool) bool { return !r.SuspendedAt.IsZero() }},
		"deleted":   {isRenamed, isDeleted, func(_ *storage.Record, found bool) bool { return !found }},
		"secret": {hasSecret(1, time.Minute), hasSecret(2, 0), func(r *storage.Record, found bool) bool {
			return r.Digest.Equal(after([]troubled{hasSecret(2, 0)}).Digest)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inBoth(t, Options{}, func(t *testing.T, opts *Options) { staysDenied(t, opts, row.before, row.last, row.denied) })
		})
	}
}

func staysDenied(t *testing.T, opts *Options, before, last troubled, denied func(r *storage.Record, found bool) bool) {
	const between = 900
	path, _ := makeFile(t, 10)
	s := open(t, path, opts)
	g := holdCommits(t, s)
	first := async(func() error { return putting(s, record(20)) })
	<-g.arrived
	all := stages(s, []troubled{before})
	for n := range between {
		all = append(all, async(func() error { return putting(s, record(100+n)) }))
	}
	awaitWaiting(s, between+1)
	all = append(all, stages(s, []troubled{last})...)
	awaitWaiting(s, between+2)
	failCommit(s, func(do func() error) error {
		g.arrived <- struct{}{}
		<-g.release
		return syncLost(do)
	})
	g.release <- nil
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	<-g.arrived
	var stop, revived atomic.Bool
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		for seen := false; !stop.Load(); {
			var r storage.Record
			if found := s.table.Get(record(1).ID, &r); denied(&r, found) {
				seen = true
			} else if seen {
				revived.Store(true)
				return
			}
		}
	}()
	g.release <- nil
	for _, done := range all {
		if err := <-done; !errors.Is(err, storage.ErrOutcomeUnknown) {
			t.Errorf("%v; want ErrOutcomeUnknown", err)
		}
	}
	stop.Store(true)
	<-looked
	if revived.Load() {
		t.Error("what was denied was seen again")
	}
}
