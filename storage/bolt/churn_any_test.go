package bolt

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// churnRounds is in how many rounds TestChurnOfAny replaces tokens: in ten of them
// every page is as full as it will ever be, and from then on the file stays as it is.
const churnRounds = 30

// TestChurnOfAny has one record in ten die in each round, wherever it lies, and puts as
// many new ones. What is free of the file is used again: after ten rounds it hardly grows.
// It takes -churned 400000 to tell what the type of the list of free pages is for: with
// bbolt.FreelistMapType such a file ends four times as large as it was after ten rounds.
func TestChurnOfAny(t *testing.T) {
	n, random := *churned, rand.New(rand.NewPCG(7, 8))
	s := open(t, filepath.Join(t.TempDir(), "tokens.db"), nil)
	if s.log.tree.db.FreelistType != bbolt.FreelistArrayType {
		t.Errorf("free pages are kept as %q", s.log.tree.db.FreelistType)
	}
	made := 0
	issue := func(n int) {
		var records []storage.Record
		for range n {
			life := time.Duration(1+int(10*random.ExpFloat64())) * time.Hour
			records = append(records, token(made, record(0).IssuedAt.Add(life)))
			made++
		}
		together(t, s, records, 50)
	}
	issue(n)
	var tenth int64
	for round := range churnRounds {
		now := record(0).IssuedAt.Add(time.Duration(round+1) * time.Hour)
		if _, err := s.Sweep(context.Background(), now, 1<<30); err != nil {
			t.Fatal(err)
		}
		issue(n - s.Stats().Tokens)
		merged(t, s, func(*bbolt.Tx) error { return nil })
		if round == 9 {
			tenth = s.Stats().FileSize
		}
	}
	last := s.Stats().FileSize
	t.Logf("%d tokens, %d of them live: %d bytes after 10 rounds, %d after %d", made, s.Stats().Tokens, tenth, last, churnRounds)
	if last > tenth+tenth/8 {
		t.Errorf("%d bytes after 10 rounds, %d after %d", tenth, last, churnRounds)
	}
}
