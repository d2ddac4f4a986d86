package table

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestBytesPerRecord holds the promise of 160 bytes for a record, everything
// included, at the size where growth has left the most room unused.
func TestBytesPerRecord(t *testing.T) {
	const n = 50_000
	records := typicals(n)
	before := heap()
	table := filled(records)
	per := float64(heap()-before) / n
	runtime.KeepAlive(records)
	if table.Len() != n || per > 160 {
		t.Errorf("%.1f bytes for each of %d records", per, table.Len())
	}
	t.Logf("%.1f bytes", per)
}

// TestManyAtOnce goes through growth and back, with IDs that were chosen, and with one
// subject that has them all or one each.
func TestManyAtOnce(t *testing.T) {
	n := sample.Of(20_000, 5_000)
	for _, subjects := range []int{1, 100, n} {
		for _, how := range []string{"counted at the front", "equal halves"} {
			table := New()
			order := rand.New(rand.NewPCG(3, 4)).Perm(n)
			for _, i := range order {
				r := storage.Record{Token: storage.Token{ID: choosers[how](uint64(i)), Subject: fmt.Sprint("s", i%subjects), ExpiresAt: epoch}}
				table.Put(&r, storage.Use{})
			}
			checkTable(t, table)
			for s := range 3 {
				got := table.Subject(nil, fmt.Sprint("s", s))
				want := n / subjects
				if s >= subjects {
					want = 0
				}
				if len(got) != want || !slices.IsSortedFunc(got, storage.ID.Compare) {
					t.Errorf("%d subjects, %s: %d of %d, or out of order", subjects, how, len(got), want)
				}
			}
			if len(table.All()) != n || len(table.Before(epoch.Add(1))) != n || len(table.Before(epoch)) != 0 {
				t.Errorf("%d subjects, %s: not all are listed", subjects, how)
			}
			for _, i := range order[n/100:] {
				if !table.Delete(choosers[how](uint64(i))) {
					t.Fatal("one is missing")
				}
			}
			if left := table.All(); len(left) != n/100 {
				t.Errorf("%d left", len(left))
			}
			checkTable(t, table)
		}
	}
}

// TestChurn replaces and renames for ever, in ways that leave texts dead here and
// there, and expects memory to stay near what is alive.
func TestChurn(t *testing.T) {
	long := strings.Repeat("x", storage.MaxData)
	for name, text := range map[string]func(n int) string{
		"short texts":             func(n int) string { return fmt.Sprintf("%030d", n) },
		"long and short ones":     func(n int) string { return long[:1+n%17*200] },
		"some that stay":          func(n int) string { return fmt.Sprintf("%0*d", 10+n%9*100, n) },
		"longer than their limit": func(n int) string { return long + long[:n%100] + fmt.Sprint(n) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const records = 3000
			rng := rand.New(rand.NewPCG(8, 8))
			table := New()
			most := 0
			for n := range sample.Of(20, 6) * records {
				id := numbered(rng.IntN(records))
				if name == "some that stay" && n > records && id[7]%8 == 0 {
					continue
				}
				if rng.IntN(10) == 0 {
					table.Delete(id)
					continue
				}
				r := storage.Record{Token: storage.Token{ID: id, Subject: fmt.Sprint(n), Data: text(n), ExpiresAt: epoch}}
				table.Put(&r, storage.Use{})
				x := &table.texts
				// Half of what lives starts a move, which leaves what it moves
				// behind until it ends, and lets some by.
				if n > records {
					most = max(most, x.garbage()-x.live*3/2-compactSlack-records*compactBytes)
				}
			}
			if most > 0 {
				t.Errorf("%d bytes of dead texts too many", most)
			}
			checkTable(t, table)
			for n := range records {
				table.Delete(numbered(n))
			}
			if x := &table.texts; x.live != 0 || x.size > chunkSize {
				t.Errorf("%d bytes for %d of texts", x.size, x.live)
			}
		})
	}
}

// TestIDsComeAndGo deletes and puts for ever and expects the index not to grow.
func TestIDsComeAndGo(t *testing.T) {
	table := New()
	for n := range sample.Of(200_000, 60_000) {
		r := storage.Record{Token: storage.Token{ID: numbered(n), Subject: fmt.Sprint(n), ExpiresAt: ms(int64(n) * 1000)}}
		table.Put(&r, storage.Use{})
		if n >= 1000 {
			table.Delete(numbered(n - 1000))
		}
		if n%50_000 == 0 {
			checkTable(t, table)
		}
	}
	checkTable(t, table)
	words := 0
	for i := range table.ids {
		words += len(*table.ids[i].words.Load())
	}
	if words > 12_000 || table.slabs.top.Load() > 1001 || len(table.expiries.nodes) > 100 {
		t.Errorf("%d words, %d cells, %d nodes", words, table.slabs.top.Load(), len(table.expiries.nodes))
	}
}
