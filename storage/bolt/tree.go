package bolt

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// tree is what bbolt keeps in the file: all that was merged from the journal. One
// goroutine at a time uses it.
type tree struct {
	db   *bbolt.DB
	file *os.File // bbolt's own
	tx   uint64   // its last transaction
	sum  sum      // of its records
	seq  uint64   // of the last frame that it has
	size int64    // the file is this long, or somebody has cut it

	behind bool // the older meta page does not lead to what the newest one leads to

	broken bool  // bbolt has panicked and may hold its locks for ever
	lost   bool  // it is not known what became of a transaction
	cause  error // of either

	commitTx func(*bbolt.Tx) error // Commit; tests put a disk that fails in its place
}

// seqKey leads to the number of the last frame that the tree has, in 8 bytes, and the
// CRC-32 (Castagnoli) of the key and that.
var seqKey = []byte("merged")

const seqLen = 8 + sumLen

// mergeStep is how many records one transaction of a merge writes. The pages that it
// changes wait in memory for its end, and the file grows by as many.
const mergeStep = 512

// mergeMost is about how many changes are put in order at once, which takes some
// milliseconds and lets nobody else run.
const mergeMost = 16 << 10

// merge writes what frames say, which follow the last one that the tree has. Whenever a
// crash comes, they can be merged again. When it returns nil both meta pages lead to
// what they say, and they are needed no more.
func (t *tree) merge(frames []frame) error {
	for {
		n, err := t.mergeSome(frames)
		if err != nil || n == len(frames) {
			return err
		}
		frames = frames[n:]
	}
}

// mergeSome is merge for the first n of frames.
func (t *tree) mergeSome(frames []frame) (n int, err error) {
	all, mark, n, err := changesOf(frames, mergeMost)
	if err != nil {
		return 0, err
	}
	seq, last := t.seq+uint64(n), lastOfEach(all)
	for ; len(last) > mergeStep; last = last[mergeStep:] {
		err := t.update(func(w *writer) error { return w.apply(last[:mergeStep]) })
		if err != nil {
			return 0, err
		}
	}
	err = t.update(func(w *writer) error {
		return errors.Join(w.apply(last), putMark(w.tx, mark), putSeq(w.tx, seq))
	})
	if err != nil {
		return 0, err
	}
	t.seq = seq
	return n, t.mirror()
}

// lastOfEach returns the last change of each record of all, which are as they came: first
// the deletes, so that there are never more records on the way than before or after, and
// then the others, both in the order of their keys, in which bbolt writes them fastest.
func lastOfEach(all []change) []change {
	type rank struct {
		head uint64 // of the key: it nearly always decides, and is moved for less
		at   int
	}
	ranks := make([]rank, len(all))
	for i := range all {
		ranks[i] = rank{binary.BigEndian.Uint64(all[i].id[:]), i}
	}
	slices.SortFunc(ranks, func(a, b rank) int {
		if a.head != b.head {
			return cmp.Compare(a.head, b.head)
		}
		return cmp.Or(all[a.at].id.Compare(all[b.at].id), a.at-b.at)
	})
	last := make([]change, 0, len(all))
	for _, deletes := range []bool{true, false} {
		for i, r := range ranks {
			c := &all[r.at]
			if (c.value == nil) == deletes && (i+1 == len(ranks) || all[ranks[i+1].at].id != c.id) {
				last = append(last, *c)
			}
		}
	}
	return last
}

// update makes what fn does durable in one transaction, or nothing of it; where nobody
// can tell, t is lost.
func (t *tree) update(fn func(*writer) error) error {
	switch {
	case t.broken:
		return errBroken
	case t.lost:
		return refusal(t.cause)
	}
	if t.behind { // or what that page leads to might be written over, and it alone be left
		if err := t.mirror(); err != nil {
			return err
		}
	}
	btx, err := t.begin(true)
	if err != nil {
		return err
	}
	defer t.guardEdge(btx.Rollback) // nothing to do after a commit
	var w *writer
	err = guard(func() (err error) {
		if w, err = newWriter(btx, t.sum); err == nil {
			err = errors.Join(fn(w), w.finish())
		}
		return err
	})
	if err != nil {
		return classify(err)
	}
	tx, size := uint64(btx.ID()), btx.Size()
	if err := t.guardEdge(func() error { return t.commitTx(btx) }); err != nil {
		return t.fate(tx, err)
	}
	t.tx, t.size, t.sum, t.behind = tx, size, w.all, true
	return nil
}

// fate says what became of transaction tx, whose commit failed with err. If neither
// meta page is of tx, nothing leads to what it wrote, and nothing will. If one is,
// it may reach the disk or not.
func (t *tree) fate(tx uint64, err error) error {
	m, metaErr := checkMetas(t.file)
	if metaErr != nil || m.tx >= tx {
		t.lost, t.cause = true, because(err)
	}
	return classify(err)
}

// mirror has the older meta page lead to what the newest one leads to.
func (t *tree) mirror() error {
	err := mirror(t.file, t.db.Info().PageSize, t.tx)
	if err != nil {
		t.lost, t.cause = true, because(err)
		return classify(err)
	}
	t.behind = false
	return nil
}

func (t *tree) begin(writable bool) (btx *bbolt.Tx, err error) {
	err = t.guardEdge(func() error {
		btx, err = t.db.Begin(writable)
		return err
	})
	return btx, classify(err)
}

// view runs fn on what is in the file.
func (t *tree) view(fn func(*bbolt.Tx) error) error {
	return t.guardEdge(func() error { return t.db.View(fn) })
}

// close lets go of the file, through bbolt if that can still be asked.
func (t *tree) close() error {
	if t.db == nil {
		return nil
	}
	db := t.db
	t.db = nil
	if t.broken {
		return errors.Join(unlock(t.file), t.file.Close())
	}
	return classify(t.guardEdge(db.Close))
}

func putSeq(btx *bbolt.Tx, seq uint64) error {
	b := binary.BigEndian.AppendUint64(nil, seq)
	return btx.Bucket(metaBucket).Put(seqKey, binary.BigEndian.AppendUint32(b, checksum(seqKey, b)))
}

// readSeq returns the number of the last frame that the tree of btx has.
func readSeq(btx *bbolt.Tx) (uint64, error) {
	v := btx.Bucket(metaBucket).Get(seqKey)
	if len(v) != seqLen || checksum(seqKey, v[:8]) != binary.BigEndian.Uint32(v[8:]) {
		return 0, fmt.Errorf("%w: it does not say how much of its journal it has", storage.ErrCorrupt)
	}
	return binary.BigEndian.Uint64(v), nil
}
