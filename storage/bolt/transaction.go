package bolt

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"

	"github.com/seed-55daa01a/lapse/internal/boltfile"
	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/oldfile"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// write is update, followed by a transaction that writes the state once more: then both meta
// pages lead to all changes. An error means that nothing was written, unless it is
// ErrOutcomeUnknown.
func (t *tree) write(changes []wire.Entry, next wire.State, mark *storage.Mark) error {
	if err := t.update(changes, next, mark); err != nil {
		return err
	}
	if err := t.update(nil, next, nil); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, err)
	}
	return nil
}

// update makes changes, the state next and the mark, unless that is nil, durable in one
// transaction. An error means that nothing was written, unless it is ErrOutcomeUnknown. If bbolt's
// map is too small for the file, update has bbolt open the file again with a map of twice the
// length.
func (t *tree) update(changes []wire.Entry, next wire.State, mark *storage.Mark) error {
	err := t.tryUpdate(changes, next, mark)
	if errors.Is(err, berrors.ErrMaxSizeReached) { // the map is too small
		t.space *= 2
		err = t.tryUpdate(changes, next, mark)
	}
	return err
}

// tryUpdate is update with the map that there is. It holds a read transaction, the pin, on the
// state before the commit until the next commit: bbolt does not write over the pages of that
// state, to which the older meta page leads.
func (t *tree) tryUpdate(changes []wire.Entry, next wire.State, mark *storage.Mark) error {
	if err := t.ready(); err != nil {
		return err
	}
	if err := t.keepName(); err != nil {
		return err
	}
	next.Named = !t.temp
	pin, err := t.begin(false)
	if err != nil {
		return err
	}
	if err = t.commit(changes, next, mark); err != nil {
		return errors.Join(err, t.rollback(pin))
	}
	t.rollback(t.pin) // which sets t.lost if it fails
	t.pin = pin
	return nil
}

// keepName makes the name of the file durable: what gave the file its name may have crashed before.
func (t *tree) keepName() (err error) {
	if !t.temp && !t.state.Named {
		err = localfile.SyncDir(filepath.Dir(t.path))
		t.state.Named = err == nil
	}
	return err
}

// commit makes one transaction of bbolt, and sets t.state to next if that is on the disk. It sets
// t.lost where bbolt has to be opened again.
func (t *tree) commit(changes []wire.Entry, next wire.State, mark *storage.Mark) error {
	btx, err := t.begin(true)
	if err != nil {
		return err
	}
	next.Tx, next.Sum = uint64(btx.ID()), t.state.Sum
	t.db.NoFreelistSync = len(changes) > 0 // a transaction without changes follows, and writes the list of free pages
	err = guard(func() error {
		return errors.Join(apply(btx, changes, &next.Sum), putMeta(btx, &next, mark))
	})
	if err != nil {
		return errors.Join(err, t.rollback(btx))
	}
	size := btx.Size()
	t.db.AllocSize = allocSize(size)
	if err := t.edge(func() error { return t.commitTx(btx) }); err != nil {
		return t.fate(errors.Join(err, t.rollback(btx)))
	}
	t.state, t.size = next, max(t.size, size)
	if err := t.look(); err != nil { // the commit is durable all the same
		t.lost = err
	}
	return nil
}

// fate returns the error of a commit that failed with err. Where neither meta page has changed,
// nothing leads to what the commit wrote, and nothing will.
func (t *tree) fate(err error) error {
	t.lost = err
	head, headErr := boltfile.ReadHead(t.file, uint64(t.db.Info().PageSize))
	if headErr != nil || head != t.head {
		return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, because(err))
	}
	return err
}

// putMeta writes the state, and the mark unless that is nil. An old file has no journal then.
func putMeta(btx *bbolt.Tx, st *wire.State, mark *storage.Mark) error {
	var err error
	if btx.Bucket([]byte(oldfile.Bucket)) != nil {
		err = dropJournal(btx)
	}
	bucket := btx.Bucket([]byte(metaBucket))
	if err == nil && mark != nil {
		err = bucket.Put([]byte(markKey), wire.EncodeMark(*mark))
	}
	return errors.Join(err, bucket.Put([]byte(stateKey), st.Encode()))
}

// applyStep is how many changes apply makes before it lets other goroutines run.
const applyStep = 32

// apply makes changes, each of another record, and brings all, the sum of the records, up to
// date. Where a record is damaged that is replaced, apply adds up all records again.
func apply(btx *bbolt.Tx, changes []wire.Entry, all *wire.Sum) error {
	tokens := btx.Bucket([]byte(tokensBucket))
	tokens.FillPercent = 1 // full pages: new keys come after all others, and records hardly ever become longer
	rotten := false
	for i := range changes {
		if i%applyStep == applyStep-1 {
			runtime.Gosched() // without it readers on one processor have a p99 1.3 times as long while many issue or renew
		}
		c := &changes[i]
		if old := tokens.Get(c.ID[:]); old != nil {
			rotten = rotten || !wire.Whole(c.ID[:], old)
			all.Remove(c.ID[:], old)
		}
		var err error
		if c.Kind == wire.DeleteEntry {
			err = tokens.Delete(c.ID[:])
		} else {
			all.Add(c.ID[:], c.Value)
			err = tokens.Put(c.ID[:], c.Value)
		}
		if err != nil {
			return err
		}
	}
	if !rotten {
		return nil
	}
	*all = wire.Sum{}
	return tokens.ForEach(func(key, value []byte) error {
		all.Add(key, value)
		return nil
	})
}
