package recovery

import (
	"os"
	"time"

	"github.com/seed-55daa01a/lapse/internal/boltfile"
	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/log"
	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// Options are those of package bolt, which says what each one means.
type Options struct {
	LockTimeout time.Duration
	MaxTokens   int
	ReadOnly    bool
	NoLog       bool
	Repair      bool
	Progress    func(done, total int)
}

// Recovered is a file that is open and locked, with the records and the state that were read from
// the file and its log.
type Recovered struct {
	opts Options
	path string
	File *os.File
	Tree *tree.Tree // nil: read-only

	pages        int // how many walk has read
	nextProgress int // at how many it calls Progress next

	metas    boltfile.Metas
	Table    *table.Table
	Damaged  map[storage.ID]struct{} // the damaged records
	records  []storage.Record        // read from the tree, and not yet in the table
	epoch    uint32                  // the latest epoch of a record
	found    wire.Sum                // of all records in the tree, as they were found
	sealed   wire.Sum                // of the same records, each with a checksum that fits
	State    wire.State              // of the file, or of file and log once the log was applied
	Mark     storage.Mark            // of file and log; see Believable
	believed bool                    // Mark was found whole
	Repaired bool                    // Options.Repair has passed damage
	old      bool                    // the schema of the file is tree.LastOldSchema or an earlier one

	Log       *log.Log     // nil: there is no log that can be used
	Last      uint64       // the number of the last group of the log that counts
	Dirty     []storage.ID // records that the log, or an old journal, has changed
	removeLog func() error // removes the log, or renames a log that cannot be used; nil: there is no log
}

// Open opens and locks the file at path, or makes a file there. It reads the file and its log, and
// has bbolt open the file unless o.ReadOnly is set. After an error everything is closed.
func Open(path string, o Options) (*Recovered, error) {
	path, err := localfile.Resolve(path)
	if err == nil && !o.ReadOnly {
		err = ensure(path)
	}
	if err != nil {
		return nil, err
	}
	f, err := localfile.OpenLocked(path, o.ReadOnly, o.LockTimeout)
	if err != nil {
		return nil, err
	}
	return Load(tree.New(f, path), o)
}

// Load is Open for t, whose file is open and locked. The log is the one beside t.Path.
func Load(t *tree.Tree, o Options) (*Recovered, error) {
	rec := &Recovered{opts: o, path: t.Path, File: t.File, Tree: t}
	if err := rec.open(); err != nil {
		rec.close()
		return nil, err
	}
	return rec, nil
}

// open reads the file, and has bbolt open it unless the store is read-only. Where only bbolt can
// lock the file, bbolt opens it first, after readMetas has found the meta pages sound.
func (rec *Recovered) open() error {
	steps := []func() error{rec.read, rec.Tree.Open}
	switch {
	case rec.opts.ReadOnly:
		steps, rec.Tree = steps[:1], nil
	case !localfile.LocksEarly:
		steps = []func() error{rec.readMetas, rec.Tree.Open, rec.read}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	if rec.Tree == nil {
		return nil
	}
	rec.Tree.State = rec.State
	return rec.settle()
}

// close closes log, bbolt and file, and writes nothing.
func (rec *Recovered) close() {
	if rec.Log != nil {
		rec.Log.Close()
	}
	if rec.Tree != nil {
		rec.Tree.Release()
	}
	rec.File.Close() // bbolt may have closed it
}

// settle makes the file ready for use: it converts an old file, makes a repaired file whole, and
// removes a log that the tree does not need.
func (rec *Recovered) settle() error {
	switch {
	case rec.old, rec.Repaired, rec.logCounts() && rec.opts.NoLog:
		if err := rec.Rewrite(rec.Tree); err != nil {
			return err
		}
	case rec.logCounts():
		return nil
	}
	return rec.settleLog()
}

// logCounts reports whether there is a log that the tree needs, or that has groups which the tree
// does not have.
func (rec *Recovered) logCounts() bool {
	return rec.Log != nil && (rec.State.NeedsLog || rec.Last > rec.State.Merged)
}

// Rewrite writes into t the current schema, a state that fits the records, the changes of the log,
// and the mark that Believable returns. t has the records of the file already.
func (rec *Recovered) Rewrite(t *tree.Tree) error {
	rec.Mark, rec.believed = rec.Believable(), true
	changes, err := tree.EntriesOf(rec.Table, rec.Dirty)
	if err != nil {
		return err
	}
	st := rec.State
	st.Sum, st.NeedsLog, st.Merged = rec.found, false, max(rec.Last, st.Merged)
	if rec.Log == nil { // a log that appears later must not belong to the file
		st.Log, st.Merged = log.NewID(), 0
	}
	rec.Dirty = nil
	t.State = st
	return t.Write(changes, st, &rec.Mark)
}

// settleLog closes and removes the log, if there is one. It renames a log that cannot be used.
func (rec *Recovered) settleLog() error {
	remove := rec.removeLog
	if rec.Log, rec.removeLog = nil, nil; remove == nil {
		return nil
	}
	if err := rec.Tree.MakeNameDurable(); err != nil { // otherwise a crash may bring back a file that needs the log
		return err
	}
	return remove()
}

// Believable returns the mark with which the store begins. It is the mark that was found. If that
// is not whole, or a record is of a later epoch, it is the zero mark in a new epoch.
func (rec *Recovered) Believable() storage.Mark {
	if rec.believed && rec.epoch <= rec.Mark.Epoch {
		return rec.Mark
	}
	return storage.Mark{Epoch: max(rec.epoch, rec.Mark.Epoch) + 1}
}
