package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/seed-55daa01a/lapse/internal/boltfile"
	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/oldfile"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// Write is Update, and also the second meta page is on the disk when Write returns.
func (t *Tree) Write(changes []wire.Entry, next wire.State, mark *storage.Mark) error {
	err := t.Update(changes, next, mark)
	if err != nil {
		return err
	}
	if err = t.SyncDB(t.DB); err != nil {
		t.Suspect = err
		err = fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, err)
	}
	return err
}

// Update makes changes, the state next and the mark durable in one transaction. A nil mark is not
// written. A transaction without changes follows: then both meta pages lead to all changes. The second
// one reaches the disk with the next sync, or when the system writes it back. After an error nothing
// was written, unless the error is ErrOutcomeUnknown.
//
// If bbolt's map is too small for the file, the commit fails and t is suspect. Update then doubles
// t.space and tries once more: bbolt opens the file again, with a map of that length.
func (t *Tree) Update(changes []wire.Entry, next wire.State, mark *storage.Mark) error {
	err := t.tryUpdate(changes, next, mark)
	if errors.Is(err, berrors.ErrMaxSizeReached) {
		t.space *= 2
		err = t.tryUpdate(changes, next, mark)
	}
	return err
}

// tryUpdate is Update with the map that bbolt has.
func (t *Tree) tryUpdate(changes []wire.Entry, next wire.State, mark *storage.Mark) error {
	if err := t.ready(); err != nil {
		return err
	}
	if err := t.MakeNameDurable(); err != nil {
		return err
	}
	next.Named = !t.temp
	if err := t.transact(changes, next, mark); err != nil {
		return err
	}
	if err := t.repeatMeta(); err != nil {
		t.Suspect = err
		return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, err)
	}
	t.Suspect = t.noteHead() // all is durable, also after an error
	return nil
}

// repeatMeta makes a transaction without changes, which writes a meta page and nothing else. The
// transaction is not synced: it has no pages that bbolt must sync before the meta page, and until the
// meta page is on the disk, the other one leads to the same tree. With the two syncs of a transaction a
// store that is opened for one group takes 1.3 times as long (row open-issue-close of bench).
func (t *Tree) repeatMeta() error {
	btx, err := t.begin(true)
	if err != nil {
		return err
	}
	t.DB.NoSync = true
	err = t.guardTx(func() error { return t.CommitTx(btx) })
	t.DB.NoSync = false
	if err != nil {
		err = errors.Join(err, t.rollback(btx))
	}
	return err
}

// MakeNameDurable makes the name of the file durable: the process that gave the file its name may
// have crashed before.
func (t *Tree) MakeNameDurable() (err error) {
	if !t.temp && !t.State.Named {
		err = localfile.SyncDir(filepath.Dir(t.Path))
		t.State.Named = err == nil
	}
	return err
}

// transact makes one transaction of bbolt, and sets t.State to next once next is on the disk. It
// sets t.Suspect where bbolt has to open the file again.
func (t *Tree) transact(changes []wire.Entry, next wire.State, mark *storage.Mark) error {
	btx, err := t.begin(true)
	if err != nil {
		return err
	}
	next.Tx, next.Sum = uint64(btx.ID())+1, t.State.Sum
	t.tried = next.Tx
	err = guard(func() error {
		return errors.Join(apply(btx, changes, &next.Sum), putMeta(btx, &next, mark))
	})
	if err != nil {
		return errors.Join(err, t.rollback(btx))
	}
	size := btx.Size()
	t.DB.AllocSize = allocSize(size)
	if err := t.guardTx(func() error { return t.CommitTx(btx) }); err != nil {
		return t.commitFailed(errors.Join(err, t.rollback(btx)))
	}
	t.State, t.size = next, max(t.size, size)
	return nil
}

// commitFailed returns the error of a commit that failed with err. Where neither meta page has
// changed, no page leads to the pages of the commit, and none ever will: then the error is err, and
// otherwise ErrOutcomeUnknown.
func (t *Tree) commitFailed(err error) error {
	t.Suspect = err
	head, headErr := boltfile.ReadHead(t.File, uint64(t.DB.Info().PageSize))
	if headErr != nil || head != t.head {
		return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, fault.Because(err))
	}
	return err
}

// putMeta writes the state, and the mark unless it is nil. From an old file it removes the journal.
func putMeta(btx *bbolt.Tx, st *wire.State, mark *storage.Mark) error {
	var err error
	if btx.Bucket([]byte(oldfile.Bucket)) != nil {
		err = removeJournal(btx)
	}
	bucket := btx.Bucket([]byte(MetaBucket))
	if err == nil && mark != nil {
		err = bucket.Put([]byte(MarkKey), wire.EncodeMark(*mark))
	}
	return errors.Join(err, bucket.Put([]byte(stateKey), st.Encode()))
}

// removeJournal removes the journal from the file of btx and writes the current schema.
func removeJournal(btx *bbolt.Tx) error {
	bucket := btx.Bucket([]byte(MetaBucket))
	return errors.Join(
		btx.DeleteBucket([]byte(oldfile.Bucket)),
		bucket.Delete([]byte(oldfile.SeqKey)),
		bucket.Put([]byte(schemaKey), []byte(strconv.Itoa(schema))),
	)
}

// applyStep is how many changes apply makes before it lets other goroutines run. Without that,
// readers on one processor have a p99 1.3 times as long while many callers issue or renew.
const applyStep = 32

// apply makes changes, each of another record, and updates all, the sum of all records. If one of
// the replaced records is damaged, apply adds up all records again.
func apply(btx *bbolt.Tx, changes []wire.Entry, all *wire.Sum) error {
	tokens := btx.Bucket([]byte(TokensBucket))
	tokens.FillPercent = 1 // full pages: new keys come after all others, and few records become longer
	damaged := false
	for i := range changes {
		if i%applyStep == applyStep-1 {
			runtime.Gosched()
		}
		whole, err := change(tokens, &changes[i], all)
		if err != nil {
			return err
		}
		damaged = damaged || !whole
	}
	if !damaged {
		return nil
	}
	*all = wire.Sum{}
	return tokens.ForEach(func(key, value []byte) error {
		all.Add(key, value)
		return nil
	})
}

// change makes one change of tokens and of all, and reports whether the record that c replaces was
// whole, or there was none.
func change(tokens *bbolt.Bucket, c *wire.Entry, all *wire.Sum) (whole bool, err error) {
	old := tokens.Get(c.ID[:])
	if whole = old == nil || wire.Whole(c.ID[:], old); old != nil {
		all.Remove(c.ID[:], old)
	}
	if c.Kind == wire.DeleteEntry {
		return whole, tokens.Delete(c.ID[:])
	}
	all.Add(c.ID[:], c.Value)
	return whole, tokens.Put(c.ID[:], c.Value)
}

// Durable returns the state of the tree on the disk, for the parent of a log, and the FileInfo of
// the file. After a commit of unknown outcome it first writes the state again. Durable takes t.Turn
// itself.
func (t *Tree) Durable() (st wire.State, info os.FileInfo, err error) {
	t.Turn.Take()
	defer t.Turn.Give()
	if t.Suspect != nil {
		err = t.Write(nil, t.State, nil)
	}
	return t.State, t.Info, err
}
