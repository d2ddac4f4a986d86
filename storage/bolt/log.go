package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// log is the file behind the table: a tree, and a journal of what is not in it yet. One
// goroutine at a time writes to it, and another one merges.
type log struct {
	path    string      // absolute
	info    os.FileInfo // of the file, to know it by
	tree    tree        // of whoever merges, while somebody does
	journal journal
	merging *merging // of the half that is not being filled; nil: there is nothing in it that is needed
	merges  chan *merging
	schema  int // of the file

	size     int64  // of the file, when it was looked at
	least    int64  // the file is this long, or somebody has cut it
	damaged  bool   // some record was, when the file was opened
	repaired bool   // a meta page was lost
	found    uint64 // the last frame that was in the file when it was opened

	lost    uint64 // the frame whose fate is unknown, if there is one
	lostSum uint32 // its checksum
	unsure  bool   // the tree must be looked at anew
	cause   error  // of either

	marked   storage.Mark   // in the file
	believed bool           // it was found whole, or had never been written
	marks    *storage.Marks // to be written; nil until somebody may use the store
}

func newLog(path string) *log {
	return &log{path: path, tree: tree{commitTx: (*bbolt.Tx).Commit}, merges: make(chan *merging, 1)}
}

// commit makes ops durable, all or none. An error means none, unless it is
// ErrOutcomeUnknown.
func (l *log) commit(ops []*op) error {
	if err := l.check(); err != nil {
		return err
	}
	now, mark := l.nextMark()
	if mark == nil && !slices.ContainsFunc(ops, func(o *op) bool { return o.size() > 0 }) {
		return nil
	}
	if err := l.raiseSchema(ops); err != nil {
		return err
	}
	if err := l.room(frameLen(ops)); err != nil {
		return err
	}
	happened, err := l.journal.add(ops, mark)
	switch {
	case happened:
		return l.unknown(err)
	case err != nil:
		return classify(err)
	}
	l.saved(now)
	return nil
}

// nextMark returns how far time has come, and as it is stored if the file says otherwise.
func (l *log) nextMark() (storage.Mark, []byte) {
	if l.marks == nil {
		return l.marked, nil
	}
	now := l.marks.Mark()
	if now == l.marked {
		return now, nil
	}
	return now, encodeMark(now)
}

func (l *log) saved(m storage.Mark) {
	l.marked = m
	if l.marks != nil {
		l.marks.Saved(m)
	}
}

// unknown says that nobody knows whether the frame that the journal has just refused is
// in it.
func (l *log) unknown(err error) error {
	l.lost, l.lostSum, l.cause = l.journal.seq+1, l.journal.sum, because(err)
	return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, l.cause)
}

// uncertain reports whether the file must be looked at anew before it is written.
func (l *log) uncertain() bool { return l.unsure || l.lost != 0 }

// check says why nothing should be written to the file, if so: what goes into a
// file that is no longer at its path is gone, and what was cut off it is.
func (l *log) check() error {
	if l.uncertain() {
		return refusal(l.cause)
	}
	same, size, err := lookAt(l.path, l.info)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !same:
		err = ErrReplaced
	case err == nil && size < l.least:
		err = errCut
	}
	l.size = size
	return classify(err)
}

// lookAtAll is lookAt by way of all that a file system says of a file.
func lookAtAll(path string, info os.FileInfo) (same bool, size int64, err error) {
	at, err := os.Stat(path)
	if err != nil {
		return false, 0, err
	}
	return os.SameFile(at, info), at.Size(), nil
}

var (
	errBroken    = fmt.Errorf("%w: %w over a damaged file", storage.ErrUnavailable, errPanicked)
	errElsewhere = fmt.Errorf("%w: another process has written to the file meanwhile; close the store and open it again", storage.ErrUnavailable)

	errCut = errors.New("bolt: the file was cut short; close the store and restore it from a backup")
)

// close lets go of the file. Whoever merges is done with it by then.
func (l *log) close() error {
	if l.merging != nil {
		l.merging.do()
		l.merging = nil
	}
	err := l.tree.close()
	if l.journal.file != nil {
		err = errors.Join(err, l.journal.file.Close())
		l.journal.file = nil
	}
	return err
}

// reopen lets go of the file and opens it again, after looking at every page, and merges
// everything. It reports whether the frame of unknown outcome is in it. Others may have
// written to it while nobody had its lock: then its last frame is another one. begin is
// told as by openLog.
func (l *log) reopen(opts Options, begin func() visitor) (happened bool, err error) {
	l.close() // whatever it says, the file is opened anew
	opts.Repair = false
	again, err := openLog(l.path, opts, begin)
	if err != nil {
		return false, err
	}
	happened = l.lost != 0 && again.found == l.lost && again.journal.has(l.lost, l.lostSum)
	switch {
	case !os.SameFile(again.info, l.info):
		err = fmt.Errorf("%w: %w", storage.ErrUnavailable, ErrReplaced)
	case again.found < l.journal.seq:
		err = fmt.Errorf("%w: it has gone back to an older state", storage.ErrCorrupt)
	case !happened && again.found != l.journal.seq:
		err = errElsewhere
	}
	if err != nil {
		return false, errors.Join(err, again.close())
	}
	again.repaired, again.tree.commitTx, again.journal.write = l.repaired, l.tree.commitTx, l.journal.write
	again.marks, again.merges = l.marks, l.merges
	*l = *again
	return happened, nil
}
