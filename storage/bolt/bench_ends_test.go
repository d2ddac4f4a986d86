package bolt

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// BenchmarkEndMany ends all tokens of one subject in one Update, and tells for how long
// that held up the slowest of those who issued to other subjects meanwhile, one after the
// other.
func BenchmarkEndMany(b *testing.B) {
	const tokens = 100_000
	for name, newStore := range map[string]func(b *testing.B) storage.Store{
		"memory": func(*testing.B) storage.Store { return memory.New() },
		"bolt":   func(b *testing.B) storage.Store { return benchStore(b) },
	} {
		b.Run(fmt.Sprintf("tokens=%d/store=%s", tokens, name), func(b *testing.B) {
			var took, wait time.Duration
			for range b.N {
				s := newStore(b)
				fillAna(b, s, tokens)
				t, w := endAna(b, s)
				took, wait = took+t, max(wait, w)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms/update")
			b.ReportMetric(float64(wait.Milliseconds()), "ms-longest-wait")
		})
	}
}

// anas returns the records from and below to, of one subject.
func anas(from, to int) (records []storage.Record) {
	for n := from; n < to; n++ {
		r := record(n)
		r.Subject = "ana"
		records = append(records, r)
	}
	return records
}

// fillAna puts as many records of ana as given.
func fillAna(b *testing.B, s storage.Store, tokens int) {
	const step = 1000
	for at := 0; at < tokens; at += step {
		err := s.Update(context.Background(), "ana", func(tx storage.Tx) error {
			for _, r := range anas(at, at+step) {
				if err := tx.Put(r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// endAna ends all of ana's, and returns how long that took, and the longest of the
// Updates of others that were under way meanwhile.
func endAna(b *testing.B, s storage.Store) (took, wait time.Duration) {
	var over atomic.Bool
	under, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 1_000_000; !over.Load(); n++ {
			r, begin := record(n), time.Now()
			if err := s.Update(context.Background(), r.Subject, func(tx storage.Tx) error { return tx.Put(r) }); err != nil {
				b.Error(err)
			}
			if wait = max(wait, time.Since(begin)); n == 1_000_000 {
				close(under)
			}
		}
	}()
	<-under
	begin := time.Now()
	err := s.Update(context.Background(), "ana", func(tx storage.Tx) error {
		for r, err := range tx.Records() {
			if endsIt(&r); err == nil {
				err = tx.Put(r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	took = time.Since(begin)
	over.Store(true)
	<-done
	if err != nil {
		b.Fatal(err)
	}
	return took, wait
}
