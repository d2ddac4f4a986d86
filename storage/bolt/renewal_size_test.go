package bolt

import (
	"testing"
	"time"
)

// TestRenewalIsShort: an Update that only renews adds 60 bytes of log at most for each token, is there
// after a crash, and after Close.
func TestRenewalIsShort(t *testing.T) {
	const tokens = 10_000
	path, _ := makeFileIn(t, quickDir(t), 0)
	s := open(t, path, &Options{logAtOnce: true, FlushEvery: lazy.FlushEvery})
	if err := putting(s, anas(0, tokens)...); err != nil {
		t.Fatal(err)
	}
	inFile(t, s, record(0).ID) // takes the log into the tree
	logged := s.Stats().LogSize
	renewed := anas(0, tokens)
	for i := range renewed {
		renewed[i].LastUsedAt = renewed[i].IssuedAt.Add(time.Minute)
		renewed[i].ExpiresAt = renewed[i].ExpiresAt.Add(time.Minute)
	}
	if err := putting(s, renewed...); err != nil {
		t.Fatal(err)
	}
	if added := s.Stats().LogSize - logged; added > 60*tokens {
		t.Errorf("the log is %d bytes longer; want at most 60 for each of %d", added, tokens)
	}
	check := func(when string, s *Store) {
		t.Helper()
		for _, want := range []int{0, tokens / 2, tokens - 1} {
			if got := shown(t, s, renewed[want].ID); !got.Equal(renewed[want]) {
				t.Errorf("%s: %+v; want %+v", when, got, renewed[want])
			}
		}
	}
	check("open", s)
	check("after a crash", openCrashed(t, path))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check("closed and opened", open(t, path, nil))
}

// TestRenewalInEveryOrder: renewals by Update and by Touch of one record, in one group with a put of
// it, are in the file as the table shows them, in the log and in the tree alike.
func TestRenewalInEveryOrder(t *testing.T) {
	inBoth(t, lazy, func(t *testing.T, opts *Options) {
		path, _ := makeFileIn(t, quickDir(t), 3)
		s := open(t, path, opts)
		g := holdCommits(t, s)
		all := []chan error{async(func() error { return putting(s, record(9)) })}
		<-g.arrived
		waits := func(do func() error) {
			all = append(all, async(do))
			awaitWaiting(s, len(all)-1)
		}
		r := record(1)
		r.ExpiresAt = r.ExpiresAt.Add(time.Minute)
		waits(func() error { return putting(s, r) })
		r.Name += ", renamed"
		waits(func() error { return putting(s, r) })
		r.ExpiresAt = r.ExpiresAt.Add(time.Minute)
		waits(func() error { return putting(s, r) })
		touch(t, s, record(1), by(record(1), time.Second))
		waits(s.flush)
		g.release <- nil
		<-g.arrived
		g.release <- nil
		letCommits(s)
		for _, done := range all {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		want := shown(t, s, r.ID)
		if !want.ExpiresAt.Equal(r.ExpiresAt) || want.Name != r.Name {
			t.Errorf("shown: %+v; want %+v", want, r)
		}
		if got := shown(t, openCrashed(t, path), r.ID); !got.Equal(want) {
			t.Errorf("after a crash: %+v; want %+v", got, want)
		}
	})
}
