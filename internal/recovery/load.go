package recovery

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/seed-55daa01a/lapse/internal/boltfile"
	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// readMetas reads the meta pages.
func (rec *Recovered) readMetas() error {
	info, err := rec.File.Stat()
	if err != nil {
		return err
	}
	if rec.metas, err = boltfile.ReadMetas(rec.File, info.Size()); err == nil && rec.metas.Lost != nil {
		err = rec.pass(fmt.Errorf("%w: %w", ErrMetaLost, rec.metas.Lost))
	}
	return err
}

// pass returns nil, and notes it in rec.Repaired, if err is damage and Options.Repair is set.
// Otherwise it returns err. An error of reading is no damage.
func (rec *Recovered) pass(err error) error {
	if rec.opts.Repair && errors.Is(fault.Classify(err), storage.ErrCorrupt) {
		rec.Repaired, err = true, nil
	}
	return err
}

// read reads file and log into the table, the log last. It writes nothing.
func (rec *Recovered) read() error {
	if err := rec.readMetas(); err != nil {
		return err
	}
	n, err := tree.ReadSchema(rec.File, rec.metas.Newest)
	if errors.Is(err, boltfile.ErrNoBucket) { // unless a page is damaged, the file is another program's
		err = cmp.Or(boltfile.Walk(rec.File, rec.metas.Newest, boltfile.Visitor{}), err)
	}
	if err != nil {
		return err
	}
	if err := rec.walk(); err != nil {
		return err
	}
	if n <= tree.LastOldSchema {
		err = rec.readOld()
	} else {
		err = rec.readNew()
	}
	if err == nil && rec.Table.Len() > rec.opts.MaxTokens {
		err = fault.ErrTooMany
	}
	return err
}

// readNew reads the state and the mark of the tree, judges it, and reads the log.
func (rec *Recovered) readNew() (err error) {
	rec.State, err = tree.ReadState(rec.File, rec.metas.Newest)
	if err = rec.pass(err); err == nil {
		err = rec.pass(rec.judge())
	}
	if err == nil {
		err = rec.readMark()
	}
	if err != nil {
		return err
	}
	failed := rec.readLog()
	if err := rec.pass(failed); err != nil || failed == nil || rec.Dirty == nil {
		return err
	}
	rec.Dirty = nil // the first groups of the log alone would undo what a checkpoint took from later ones
	return cmp.Or(rec.walk(), rec.readMark())
}

// readMark reads the mark that the tree has.
func (rec *Recovered) readMark() error {
	v, err := boltfile.Get(rec.File, rec.metas.Newest, tree.MetaBucket, tree.MarkKey)
	if err == nil {
		rec.Mark, rec.believed = wire.DecodeMark(v)
	}
	return err
}

// walk takes the records of the tree into a new table.
func (rec *Recovered) walk() error {
	rec.Table, rec.Damaged, rec.found, rec.sealed, rec.epoch = table.New(), nil, wire.Sum{}, wire.Sum{}, 0
	return boltfile.Walk(rec.File, rec.metas.Newest, boltfile.Visitor{Bucket: tree.TokensBucket, Pair: rec.pair, Progress: rec.progress})
}

// sample is after how many records the number of all is estimated, to make room for all of them
// in the table once.
const sample = 4096

// pair takes one record of the tree into the table.
func (rec *Recovered) pair(key, value []byte) error {
	if rec.Table.Len() == sample && rec.found.Records == sample {
		rec.Table.Reserve(sample * int(rec.metas.Newest.Pages) / (rec.pages + 1))
	}
	rec.found.Add(key, value)
	if !rec.put(key, value) {
		value = wire.Seal(key, value)
	}
	rec.sealed.Add(key, value)
	return nil
}

// quietPages is the length of a file, in pages, up to which Open does not call Progress.
const quietPages = 4096

// progress notes how many pages are read, and calls Progress once for every hundredth part of
// total.
func (rec *Recovered) progress(done, total int) {
	rec.pages = done
	if rec.opts.Progress != nil && total > quietPages && done >= rec.nextProgress {
		rec.nextProgress = done + total/100
		rec.opts.Progress(done, total)
	}
}

// put adds one record to the table, and reports whether it is whole. A damaged record is denied
// under its key from then on; it belongs to no subject and is never swept.
func (rec *Recovered) put(key, value []byte) (whole bool) {
	r, err := wire.Decode(key, value)
	if err != nil {
		if rec.Damaged == nil {
			rec.Damaged = make(map[storage.ID]struct{})
		}
		rec.Damaged[r.ID] = struct{}{}
		return false
	}
	rec.epoch = max(rec.epoch, r.Epoch)
	rec.Table.Put(&r, storage.Use{})
	return true
}

// judge says why the tree is not what lapse wrote last, or returns nil. The sum of the records
// must fit also where a record is damaged, or one more page, that is older than the others, would
// pass with it: either the checksums of the damaged records are sound, or nothing else in them is
// damaged.
//
// Each transaction of lapse writes its own number into the state. A number behind the newest
// meta page's means that another program has committed since, or that the page with the state
// is an older one: then the state that the older meta page leads to is the newer of the two. A
// number before the newest meta page's is that of a file that was copied record by record.
func (rec *Recovered) judge() error {
	switch {
	case rec.found != rec.State.Sum && rec.sealed != rec.State.Sum:
		return ErrChanged
	case rec.State.Tx >= rec.metas.Newest.Tx || rec.metas.Lost != nil:
		return nil
	}
	older, err := tree.ReadState(rec.File, rec.metas.Older)
	switch {
	case errors.Is(err, boltfile.ErrNoBucket):
		return nil
	case err != nil || older.Tx > rec.State.Tx:
		return ErrStale
	}
	return nil
}
