package bolt

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"github.com/seed-55daa01a/lapse/internal/boltfile"
	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/log"
	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// loaded is a file that is open and locked, and what was read from it and its log.
type loaded struct {
	opts Options
	path string
	file *os.File
	tree *tree.Tree // nil: read-only

	pages int // how many walk has read
	tell  int // at how many it calls Progress next

	metas    boltfile.Metas
	table    *table.Table
	damaged  map[storage.ID]struct{} // records that cannot be read
	epoch    uint32                  // the latest of a record
	found    wire.Sum                // of all records that were found in the tree
	sealed   wire.Sum                // of the same, each with the checksum that fits it
	state    wire.State
	mark     storage.Mark
	believed bool // the mark was found whole
	repaired bool // Options.Repair has passed something
	old      bool // the schema of the file is tree.LastOldSchema or an earlier one

	log   *log.Log     // nil: there is none that can be used
	last  uint64       // the number of the last group of the log that counts
	dirty []storage.ID // records that the log, or an old journal, has changed
	drop  func() error // removes the log, or gives one that cannot be used another name; nil: there is none
}

// readMetas reads the meta pages.
func (l *loaded) readMetas() error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if l.metas, err = boltfile.ReadMetas(l.file, info.Size()); err == nil && l.metas.Lost != nil {
		err = l.pass(fmt.Errorf("%w: %w", errMetaLost, l.metas.Lost))
	}
	return err
}

// pass returns nil, and notes it in l.repaired, if err is damage and Options.Repair is set.
// Otherwise it returns err. An error of reading is no damage.
func (l *loaded) pass(err error) error {
	if l.opts.Repair && errors.Is(fault.Classify(err), storage.ErrCorrupt) {
		l.repaired, err = true, nil
	}
	return err
}

// read reads file and log into the table, the log last. It writes nothing.
func (l *loaded) read() error {
	if err := l.readMetas(); err != nil {
		return err
	}
	n, err := tree.ReadSchema(l.file, l.metas.Newest)
	if errors.Is(err, boltfile.ErrNoBucket) { // unless a page is damaged, the file is another program's
		err = cmp.Or(boltfile.Walk(l.file, l.metas.Newest, boltfile.Visitor{}), err)
	}
	if err != nil {
		return err
	}
	if err := l.walk(); err != nil {
		return err
	}
	if n <= tree.LastOldSchema {
		err = l.readOld()
	} else {
		err = l.readNew()
	}
	if err == nil && l.table.Len() > l.opts.MaxTokens {
		err = ErrTooMany
	}
	return err
}

// readNew reads the state and the mark of the tree, judges it, and reads the log.
func (l *loaded) readNew() (err error) {
	l.state, err = tree.ReadState(l.file, l.metas.Newest)
	if err = l.pass(err); err == nil {
		err = l.pass(l.judge())
	}
	if err == nil {
		err = l.readMark()
	}
	if err != nil {
		return err
	}
	failed := l.readLog()
	if err := l.pass(failed); err != nil || failed == nil || l.dirty == nil {
		return err
	}
	l.dirty = nil // the first groups of the log alone would undo what a checkpoint took from later ones
	return cmp.Or(l.walk(), l.readMark())
}

// readMark reads the mark that the tree has.
func (l *loaded) readMark() error {
	v, err := boltfile.Get(l.file, l.metas.Newest, tree.MetaBucket, tree.MarkKey)
	if err == nil {
		l.mark, l.believed = wire.DecodeMark(v)
	}
	return err
}

// walk takes the records of the tree into a new table.
func (l *loaded) walk() error {
	l.table, l.damaged, l.found, l.sealed, l.epoch = table.New(), nil, wire.Sum{}, wire.Sum{}, 0
	return boltfile.Walk(l.file, l.metas.Newest, boltfile.Visitor{Bucket: tree.TokensBucket, Pair: l.pair, Progress: l.progress})
}

// sample is after how many records the number of all is estimated, to make room for all of them
// in the table once.
const sample = 4096

// pair takes one record of the tree into the table.
func (l *loaded) pair(key, value []byte) error {
	if l.table.Len() == sample && l.found.Records == sample {
		l.table.Reserve(sample * int(l.metas.Newest.Pages) / (l.pages + 1))
	}
	l.found.Add(key, value)
	if !l.put(key, value) {
		value = wire.Seal(key, value)
	}
	l.sealed.Add(key, value)
	return nil
}

// quietPages is the length of a file, in pages, up to which Open does not call Progress.
const quietPages = 4096

// progress notes how many pages are read, and calls Progress once for every hundredth part of
// total.
func (l *loaded) progress(done, total int) {
	l.pages = done
	if l.opts.Progress != nil && total > quietPages && done >= l.tell {
		l.tell = done + total/100
		l.opts.Progress(done, total)
	}
}

// put adds one record to the table, and reports whether it is whole. A damaged record is denied
// under its key from then on; it belongs to no subject and is never swept.
func (l *loaded) put(key, value []byte) (whole bool) {
	r, err := wire.Decode(key, value)
	if err != nil {
		if l.damaged == nil {
			l.damaged = make(map[storage.ID]struct{})
		}
		l.damaged[r.ID] = struct{}{}
		return false
	}
	l.epoch = max(l.epoch, r.Epoch)
	l.table.Put(&r, storage.Use{})
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
func (l *loaded) judge() error {
	switch {
	case l.found != l.state.Sum && l.sealed != l.state.Sum:
		return errChanged
	case l.state.Tx >= l.metas.Newest.Tx || l.metas.Lost != nil:
		return nil
	}
	older, err := tree.ReadState(l.file, l.metas.Older)
	switch {
	case errors.Is(err, boltfile.ErrNoBucket):
		return nil
	case err != nil || older.Tx > l.state.Tx:
		return errStale
	}
	return nil
}
