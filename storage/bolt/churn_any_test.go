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

// churnRounds is in how many rounds TestChurnOfAny replaces tokens: after ten of them the
// file is as large as it should ever be.
const churnRounds = 30

// TestChurnOfAny has one record in ten die in each round, wherever it lies, and puts as
// many new ones. What is free of the file is used again: after ten rounds it hardly grows.
// It takes -churned 400000 to tell what the type of the list of free pages is for: with
// bbolt.FreelistMapType such a file goes on growing.
func TestChurnOfAny(t *testing.T) {
	t.Parallel()
	n, random := *churned, rand.New(rand.NewPCG(7, 8))
	s := open(t, filepath.Join(quickDir(t), "tokens.db"), nil)
	if s.tree.DB.FreelistType != bbolt.FreelistArrayType {
		t.Errorf("free pages are kept as %q", s.tree.DB.FreelistType)
	}
	made, now := 0, record(0).IssuedAt
	issue := func(n int) {
		var records []storage.Record
		for range n {
			life := time.Duration(1+int(10*random.ExpFloat64()))*time.Hour - time.Minute
			records = append(records, token(made, now.Add(life)))
			made++
		}
		together(t, s, records, 50)
	}
	issue(n)
	var tenth int64
	for round := range churnRounds {
		now = now.Add(time.Hour)
		if dead, err := s.Sweep(context.Background(), now, 1<<30); err != nil || dead < n/12 || dead > n/8 {
			t.Fatalf("round %d: Sweep: %d, %v; want about a tenth of %d", round, dead, err, n)
		}
		issue(n - s.Stats().Tokens)
		merged(t, s, func(*bbolt.Tx) error { return nil })
		if round == 9 {
			tenth = s.Stats().FileSize
		}
	}
	last := s.Stats().FileSize
	t.Logf("%d tokens, %d of them live: %d bytes after 10 rounds, %d after %d", made, s.Stats().Tokens, tenth, last, churnRounds)
	if last > tenth+tenth/3 { // how much depends on where checkpoints fall
		t.Errorf("%d bytes after 10 rounds, %d after %d", tenth, last, churnRounds)
	}
}
