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

// pass returns nil, and sets rec.Repaired, if err is damage and Options.Repair is set. Otherwise it
// returns err. An error of reading is no damage.
func (rec *Recovered) pass(err error) error {
	if rec.opts.Repair && errors.Is(fault.Classify(err), storage.ErrCorrupt) {
		rec.Repaired, err = true, nil
	}
	return err
}

// read reads the file into the table, and applies the log. It writes nothing.
func (rec *Recovered) read() error {
	if err := rec.readMetas(); err != nil {
		return err
	}
	n, err := tree.ReadSchema(rec.File, rec.metas.Newest)
	if errors.Is(err, boltfile.ErrNoBucket) { // the file is another program's, unless Walk finds damage
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

// readNew reads the state of the tree, judges the tree, reads the mark, and applies the log.
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
	// Repair has passed damage of the log, after some of its groups were applied. A checkpoint may have
	// merged later groups, and the applied ones would undo these. So the tree is read once more, without
	// the log.
	rec.Dirty = nil
	return cmp.Or(rec.walk(), rec.readMark())
}

// readMark reads the mark of the tree.
func (rec *Recovered) readMark() error {
	v, err := boltfile.Get(rec.File, rec.metas.Newest, tree.MetaBucket, tree.MarkKey)
	if err == nil {
		rec.Mark, rec.believed = wire.DecodeMark(v)
	}
	return err
}

// walk reads the records of the tree into a new table.
func (rec *Recovered) walk() error {
	rec.Table, rec.Damaged, rec.found, rec.sealed, rec.epoch = table.New(), nil, wire.Sum{}, wire.Sum{}, 0
	err := boltfile.Walk(rec.File, rec.metas.Newest, boltfile.Visitor{Bucket: tree.TokensBucket, Pair: rec.pair, Progress: rec.progress})
	rec.fill()
	return err
}

// sample is the number of records after which walk estimates the number of all records and makes
// room for them in the table.
const sample = 4096

// pair adds one record of the tree to the table and to both sums.
func (rec *Recovered) pair(key, value []byte) error {
	if rec.found.Records == sample {
		rec.Table.Reserve(sample * int(rec.metas.Newest.Pages) / (rec.pages + 1))
	}
	rec.found.Add(key, value)
	if r, whole := rec.decode(key, value); whole {
		if rec.records = append(rec.records, r); len(rec.records) == table.FillStep {
			rec.fill()
		}
	} else {
		value = wire.Seal(key, value)
	}
	rec.sealed.Add(key, value)
	return nil
}

// fill adds rec.records to the table.
func (rec *Recovered) fill() {
	rec.Table.Fill(rec.records)
	rec.records = rec.records[:0]
}

// quietPages is the length of a file, in pages, up to which Open does not call Progress.
const quietPages = 4096

// progress sets rec.pages, and calls Options.Progress once for every hundredth part of total.
func (rec *Recovered) progress(done, total int) {
	rec.pages = done
	if rec.opts.Progress != nil && total > quietPages && done >= rec.nextProgress {
		rec.nextProgress = done + total/100
		rec.opts.Progress(done, total)
	}
}

// decode decodes one record, and reports whether the record is whole. A damaged record is
// denied under its key from then on. It belongs to no subject and is never swept.
func (rec *Recovered) decode(key, value []byte) (r storage.Record, whole bool) {
	r, err := wire.Decode(key, value)
	if err != nil {
		if rec.Damaged == nil {
			rec.Damaged = make(map[storage.ID]struct{})
		}
		rec.Damaged[r.ID] = struct{}{}
		return r, false
	}
	rec.epoch = max(rec.epoch, r.Epoch)
	return r, true
}

// judge returns why the tree is not as lapse wrote it last, or nil.
//
// The sum of the records has to fit, also where records are damaged: otherwise an old page would
// pass together with a damaged record. The sum fits if only bytes outside of the checksums are
// damaged (found), or only checksums (sealed). It does not fit if an ID is damaged, or if both
// checksums and other bytes are: that looks the same as a page that is older than the others.
//
// The state has the number of the transaction after the one that wrote the state. If that is lower
// than the number of the newest meta page, another program has committed since, or the page with the
// state is an old one. A number above that of the newest meta page is that of a crash between the two
// transactions of a write, or of a file that was copied record by record.
//
// Where both meta pages lead to the same page with the state, the older meta page tells whether that
// page is an old one: lapse writes no list of free pages, each transaction of lapse without changes
// follows one that wrote the state, and equal meta pages are those of a tool. Otherwise the older meta
// page leads to a newer state than an old page has.
func (rec *Recovered) judge() error {
	newest, before := rec.metas.Newest, rec.metas.Older
	switch {
	case rec.found != rec.State.Sum && rec.sealed != rec.State.Sum:
		return ErrChanged
	case rec.State.Tx >= newest.Tx || rec.metas.Lost != nil:
		return nil
	case newest.Root == before.Root && newest.Tx > before.Tx && before.Tx > rec.State.Tx && !before.HasFreelist():
		return ErrStale
	}
	older, err := tree.ReadState(rec.File, before)
	switch {
	case errors.Is(err, boltfile.ErrNoBucket):
		return nil
	case err != nil || older.Tx > rec.State.Tx:
		return ErrStale
	}
	return nil
}
