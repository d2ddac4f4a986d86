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

// Recovered is a file that is open and locked, and what was read from it and its log.
type Recovered struct {
	opts Options
	path string
	File *os.File
	Tree *tree.Tree // nil: read-only

	pages int // how many walk has read
	nextProgress int // at how many it calls Progress next

	metas    boltfile.Metas
	Table    *table.Table
	Damaged  map[storage.ID]struct{} // records that cannot be read
	epoch    uint32                  // the latest of a record
	found    wire.Sum                // of all records that were found in the tree
	sealed   wire.Sum                // of the same, each with the checksum that fits it
	State    wire.State              // of the file, and of the log once that joins on
	Mark     storage.Mark            // that file and log have; see Believable
	believed bool                    // the mark was found whole
	Repaired bool                    // Options.Repair has passed something
	old      bool                    // the schema of the file is tree.LastOldSchema or an earlier one

	Log   *log.Log     // nil: there is none that can be used
	Last  uint64       // the number of the last group of the log that counts
	Dirty []storage.ID // records that the log, or an old journal, has changed
	removeLog func() error // removes the log, or gives one that cannot be used another name; nil: there is none
}

// Open opens the file at path, with its lock, or makes one, reads the file and its log, and has
// bbolt open the file unless o.ReadOnly is set. After an error everything is closed.
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

// Load is Open for t, whose file is open, with its lock. The log is the one beside t.Path.
func Load(t *tree.Tree, o Options) (*Recovered, error) {
	rec := &Recovered{opts: o, path: t.Path, File: t.File, Tree: t}
	if err := rec.open(); err != nil {
		rec.close()
		return nil, err
	}
	return rec, nil
}

// open reads the file, and has bbolt open it unless the store is read-only. Where only bbolt can
// take the lock, bbolt opens the file first, after readMetas has found the meta pages sound.
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

// settle makes the file ready for use: it brings an old file over, makes a repaired one whole,
// and removes a log that the tree does not need.
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

// logCounts reports whether there is a log that the tree asks for, or that has what the tree does
// not have.
func (rec *Recovered) logCounts() bool {
	return rec.Log != nil && (rec.State.NeedsLog || rec.Last > rec.State.Merged)
}

// Rewrite makes t, which has the records that were found in the file, a tree of today's schema that
// says what it holds, together with what the log had. The mark says so if the one that was found
// cannot be believed.
func (rec *Recovered) Rewrite(t *tree.Tree) error {
	rec.Mark, rec.believed = rec.Believable(), true
	changes, err := tree.EntriesOf(rec.Table, rec.Dirty)
	if err != nil {
		return err
	}
	st := rec.State
	st.Sum, st.NeedsLog, st.Merged = rec.found, false, max(rec.Last, st.Merged)
	if rec.Log == nil { // one that turns up later must not join on
		st.Log, st.Merged = log.NewID(), 0
	}
	rec.Dirty = nil
	t.State = st
	return t.Write(changes, st, &rec.Mark)
}

// settleLog closes and removes the log, if there is one. A log that cannot be used gets another
// name.
func (rec *Recovered) settleLog() error {
	remove := rec.removeLog
	if rec.Log, rec.removeLog = nil, nil; remove == nil {
		return nil
	}
	if err := rec.Tree.MakeNameDurable(); err != nil { // or a crash may bring a file back which that log belongs to
		return err
	}
	return remove()
}

// Believable returns the mark with which a store begins: the one that was found, or one of a new
// epoch where that was not whole, or a record is of a later epoch.
func (rec *Recovered) Believable() storage.Mark {
	if rec.believed && rec.epoch <= rec.Mark.Epoch {
		return rec.Mark
	}
	return storage.Mark{Epoch: max(rec.epoch, rec.Mark.Epoch) + 1}
}
