package bolt

import (
	"context"
	"encoding/binary"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// token returns record n as a Manager makes them: its ID begins with the instant of
// issue, one millisecond after the other, and ends in what looks like chance.
func token(n int, expires time.Time) storage.Record {
	r := record(n)
	at := r.IssuedAt.UnixMilli()
	binary.BigEndian.PutUint64(r.ID[:], uint64(at)<<16|0x7000)
	binary.BigEndian.PutUint64(r.ID[8:], uint64(n)*0x9E3779B97F4A7C15|1<<63)
	r.ExpiresAt = expires
	return r
}

// together has eight callers put records, of a few in one Update, at once.
func together(t *testing.T, s *Store, records []storage.Record, few int) {
	t.Helper()
	work := make(chan []storage.Record)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for some := range work {
				err := s.Update(context.Background(), some[0].Subject, func(tx storage.Tx) error {
					for _, r := range some {
						r.Subject = some[0].Subject
						if err := tx.Put(r); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for len(records) > 0 {
		n := min(few, len(records))
		work <- records[:n]
		records = records[n:]
	}
	close(work)
	all.Wait()
}

// fileOf returns the size of a new file that is given the records.
func fileOf(t *testing.T, records []storage.Record) int64 {
	t.Helper()
	s := open(t, filepath.Join(quickDir(t), "fresh.db"), nil)
	together(t, s, records, 10)
	return fileSize(t, s)
}

// fileSize returns the size of the file of s once the log is in it.
func fileSize(t *testing.T, s *Store) int64 {
	t.Helper()
	merged(t, s, func(*bbolt.Tx) error { return nil })
	return s.Stats().FileSize
}

// TestSizeOfATokenOnDisk: a file of 20,000 is at most half as large
// again as what is encoded, however many are written at once.
func TestSizeOfATokenOnDisk(t *testing.T) {
	t.Parallel()
	var records []storage.Record
	encoded := 0
	for n := range sample.Of(20_000, 8_000) {
		r := token(n, record(n).ExpiresAt)
		v, err := encode(&r)
		if err != nil {
			t.Fatal(err)
		}
		records, encoded = append(records, r), encoded+len(r.ID)+len(v)
	}
	for _, few := range []int{10, 1000} {
		s := open(t, filepath.Join(quickDir(t), "tokens.db"), nil)
		together(t, s, records, few)
		size := fileSize(t, s)
		t.Logf("%d at once: %d bytes, %.2f of what is encoded", few, size, float64(size)/float64(encoded))
		if size > int64(encoded)*3/2 {
			t.Errorf("%d at once: %d bytes for %d", few, size, encoded)
		}
	}
}

// TestChurn issues thousands, lets them run out and sweeps them, ten times: the file
// stays near what the first round made it, or near a new one that holds what was there before
// each Sweep, or at most twice that; and, where that is a tenth more than the live, it is at most
// twice as large as a new one of those. A checkpoint needs room for the pages that it replaces
// beside these pages, and how many it replaces depends on when it runs.
func TestChurn(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ live, churn int }{
		{sample.Of(5000, 1250), sample.Of(3000, 750)}, {sample.Of(20_000, 5000), sample.Of(2000, 500)}, {0, sample.Of(3000, 750)},
	} {
		s := open(t, filepath.Join(quickDir(t), "tokens.db"), nil)
		made := 0
		issue := func(count int, life time.Duration) (records []storage.Record) {
			for range count {
				records = append(records, token(made, record(made).IssuedAt.Add(life)))
				made++
			}
			together(t, s, records, 10)
			return records
		}
		live := issue(row.live, 24*time.Hour)
		var first, full int64
		for round := range 10 {
			dead := issue(row.churn, time.Minute)
			if round == 0 {
				full = fileOf(t, append(live[:row.live:row.live], dead...))
			}
			if n, err := s.Sweep(context.Background(), record(made).IssuedAt.Add(time.Minute), 1<<30); n != row.churn || err != nil {
				t.Fatalf("Sweep: %d, %v; want %d", n, err, row.churn)
			}
			if round == 0 {
				first = fileSize(t, s)
			}
		}
		size, fresh := fileSize(t, s), fileOf(t, live)
		t.Logf("%d live, %d swept each time: %d bytes, %.2f of a new file of the live, %.2f of one of all",
			row.live, row.churn, size, float64(size)/float64(fresh), float64(size)/float64(full))
		if row.churn*10 <= row.live && size > 2*fresh {
			t.Errorf("%d live, %d swept each time: %d bytes; a new file of the live has %d", row.live, row.churn, size, fresh)
		}
		if size > max(first, full)*2 {
			t.Errorf("%d live, %d swept each time: %d bytes after ten rounds, %d after the first; a new file of all has %d",
				row.live, row.churn, size, first, full)
		}
	}
}
