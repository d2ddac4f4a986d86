package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// crashedOpens opens a store whose process was killed, and the same one as it was closed.
// The changes in its log may take a second for each 500,000.
func crashedOpens(p plan, size int) experiment {
	id := "open-crashed/" + count(size)
	return &measurement{
		group: group{ID: id, Kind: "open-crashed", Tokens: size, Callers: 1,
			Title: fmt.Sprintf("Open %s tokens after the process was killed; allowed is the time of a file that was closed, and a second for 500,000 changes in the log", grouped(size))},
		lines: []row{{id: id + "/bolt/allowed", lapse: "bolt", peer: "allowed", must: atMost(1), allocs: uncounted}},
		measure: func(ctx context.Context, w *world, rows []row) ([]result, error) {
			return w.openCrashed(ctx, size, rows[0])
		},
	}
}

func (w *world) openCrashed(ctx context.Context, size int, r row) ([]result, error) {
	s, err := w.shelf(size)
	if err != nil {
		return nil, err
	}
	crashed, err := w.copied(s.path)
	if err != nil {
		return nil, err
	}
	a, err := job{Kind: "change and die", Path: crashed, Count: w.plan.changes, Seed: 5}.run(ctx)
	if err != nil {
		return nil, err
	}
	inLog, err := w.unmerged(crashed)
	if err != nil {
		return nil, err
	}
	w.say("%s changes were durable when the process was killed, %s of them not in the tree", grouped(a.Done), grouped(inLog))
	clean, dead, err := w.timeOpens(ctx, s.path, crashed)
	if err != nil {
		return nil, err
	}
	allowed := make([]float64, len(clean))
	for i := range clean {
		allowed[i] = clean[i] + float64(time.Second)*float64(inLog)/500_000
	}
	res := r.compare("ns", dead, allowed)
	res.Note = fmt.Sprintf("closed %s, %s changes in the log", humane(float64(spreadOf(clean).Median), "ns"), grouped(inLog))
	return []result{r.judge(res)}, nil
}

// timeOpens opens a copy of the store that was closed and one of the store whose process
// was killed, in turns. Both are in the system's memory, and on disk.
func (w *world) timeOpens(ctx context.Context, closed, killed string) (clean, dead []float64, err error) {
	to := w.file("opened.db")
	times := [2][]float64{}
	for round := range 1 + w.plan.costlyRounds {
		for turn := range 2 {
			which := (round + turn) % 2
			if err := errors.Join(ctx.Err(), copyStore([]string{closed, killed}[which], to)); err != nil {
				return nil, nil, err
			}
			took, err := openTime(to)
			if err != nil {
				return nil, nil, err
			}
			if round > 0 { // the first warms
				times[which] = append(times[which], float64(took))
			}
		}
	}
	return times[0], times[1], nil
}

// openTime opens the store at path and closes it; only the former is timed.
func openTime(path string) (time.Duration, error) {
	begin := time.Now()
	store, err := bolt.Open(path, nil)
	if err != nil {
		return 0, err
	}
	return time.Since(begin), store.Close()
}

// unmerged returns how many records of a store that no process has open are only in its log,
// or differ there. It reads the file with bbolt, and a copy that lapse has opened and closed.
func (w *world) unmerged(path string) (int, error) {
	to, err := w.copied(path)
	if err != nil {
		return 0, err
	}
	seed := maphash.MakeSeed()
	before, err := recordSums(to, seed)
	if err != nil {
		return 0, err
	}
	if _, err := openTime(to); err != nil {
		return 0, err
	}
	after, err := recordSums(to, seed)
	return differing(before, after), err
}

// differing counts the records that are changed, new or gone.
func differing(before, after map[storage.ID]uint64) int {
	changed := 0
	for id, sum := range after {
		if was, ok := before[id]; !ok || was != sum {
			changed++
		}
	}
	for id := range before {
		if _, ok := after[id]; !ok {
			changed++
		}
	}
	return changed
}

// recordSums reads a file with bbolt and returns a sum of each record in it.
func recordSums(path string, seed maphash.Seed) (map[storage.ID]uint64, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	sums := map[storage.ID]uint64{}
	return sums, db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				if len(k) == len(storage.ID{}) && v != nil {
					sums[storage.ID(k)] = maphash.Bytes(seed, v)
				}
				return nil
			})
		})
	})
}

// changesAtOnce is how many changes become durable together.
const changesAtOnce = 10_000

// changeAndDie raises the expiry of as many tokens as the job says, each once, answers as
// soon as all of that is durable, and kills its process.
func changeAndDie(j job) (answer, error) {
	ctx := context.Background()
	store, err := bolt.Open(j.Path, &bolt.Options{FlushEvery: 10 * time.Millisecond})
	if err != nil {
		return answer{}, err
	}
	ids, err := allIDs(ctx, store)
	if err != nil {
		return answer{}, errors.Join(err, store.Close())
	}
	rand.New(rand.NewPCG(j.Seed, 0)).Shuffle(len(ids), func(a, b int) { ids[a], ids[b] = ids[b], ids[a] })
	a := answer{Done: min(j.Count, len(ids))}
	for i, id := range ids[:a.Done] {
		err := store.Touch(ctx, id, storage.Use{At: time.Now(), ExpiresAt: time.Now().Add(2 * longLife)})
		if err == nil && (i+1 == a.Done || (i+1)%changesAtOnce == 0) {
			err = flushed(store)
		}
		if err != nil {
			return answer{}, errors.Join(err, store.Close())
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
		return a, err
	}
	return a, die()
}

// flushed returns once every renewal is durable.
func flushed(store *bolt.Store) error {
	for range 60_000 {
		st := store.Stats()
		if st.Err != nil || st.Unsaved == 0 {
			return st.Err
		}
		time.Sleep(time.Millisecond)
	}
	return errors.New("renewals are not durable after a minute")
}

// allIDs returns the IDs of a store, in order.
func allIDs(ctx context.Context, store storage.Store) ([]storage.ID, error) {
	var ids []storage.ID
	for r, err := range store.List(ctx, storage.Filter{}) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, r.ID)
	}
	return ids, nil
}
