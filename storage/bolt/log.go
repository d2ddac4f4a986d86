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

// log is the file behind the table. One goroutine at a time writes to it.
type log struct {
	path     string // absolute
	db       *bbolt.DB
	file     *os.File    // bbolt's own
	info     os.FileInfo // of file, to know it by
	least    int64       // the file is this long, or somebody has cut it
	tx       uint64      // the last transaction that is known to be in the file
	sum      sum         // of the records that are known to be in the file
	lost     uint64      // the one whose fate is unknown, if there is one
	lostSum  sum         // of the records as that one would have left them
	damaged  bool        // some record was, when the file was looked at
	cause    error       // why it is, or why bbolt is broken
	repaired bool        // a meta page was lost
	broken   bool        // bbolt has panicked and may hold its locks for ever
	notes    notes       // of what transactions end

	marked   storage.Mark   // in the file
	believed bool           // it was found whole, or had never been written
	marks    *storage.Marks // to be written; nil until somebody may use the store

	commitTx func(*bbolt.Tx) error // Commit; tests put a disk that fails in its place
}

func newLog(path string) *log { return &log{path: path, commitTx: (*bbolt.Tx).Commit} }

// commit makes ops durable in one transaction, all or none. An error means none,
// unless it is ErrOutcomeUnknown. If a single op cannot be written, the error is an
// *opError.
func (l *log) commit(ops []*op) error {
	if err := l.check(); err != nil {
		return err
	}
	btx, err := l.begin(true)
	if err != nil {
		return err
	}
	defer l.guardEdge(btx.Rollback) // nothing to do after a commit
	bucket, err := tokensOf(btx)
	if err != nil {
		return err
	}
	w := newWriter(bucket, l.sum)
	at := 0
	err = guard(func() error {
		for i, o := range ops {
			at = i
			if err := o.apply(w); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return &opError{at, classify(err)}
	}
	mark := l.marked
	err = guard(func() error {
		if l.marks != nil {
			if mark = l.marks.Mark(); mark != (storage.Mark{}) {
				if err := writeMark(btx, mark); err != nil {
					return err
				}
			}
		}
		return w.finish()
	})
	if err != nil {
		return classify(err)
	}
	if err := l.end(btx, ops); err != nil {
		l.lostSum = w.all
		return err
	}
	l.sum = w.all
	l.saved(mark)
	return nil
}

func (l *log) saved(m storage.Mark) {
	l.marked = m
	if l.marks != nil {
		l.marks.Saved(m)
	}
}

// opError says which op could not be written.
type opError struct {
	index int
	err   error
}

func (e *opError) Error() string { return e.err.Error() }
func (e *opError) Unwrap() error { return e.err }

// end commits btx, which holds ops. What it ends survives the loss of either meta page:
// it is noted before, or, where that cannot be, both of them know of it afterwards.
func (l *log) end(btx *bbolt.Tx, ops []*op) error {
	tx, size, ends, noted := uint64(btx.ID()), btx.Size(), slices.ContainsFunc(ops, endsSome), false
	if ends {
		var err error
		if noted, err = l.notes.write(tx, ops); err != nil {
			return l.undo(tx, err, noted)
		}
	}
	if err := l.guardEdge(func() error { return l.commitTx(btx) }); err != nil {
		return l.fate(tx, err, noted)
	}
	if ends && !noted {
		if err := mirror(l.file, l.db.Info().PageSize, tx); err != nil {
			return l.unknown(tx, err)
		}
	}
	l.tx, l.least = tx, size
	return nil
}

func endsSome(o *op) bool { return o.ends }

// fate says what became of transaction tx, whose commit failed with err. If neither
// meta page is of tx, nothing leads to what it wrote, and nothing will. If one is,
// it may reach the disk or not.
func (l *log) fate(tx uint64, err error, noted bool) error {
	m, metaErr := checkMetas(l.file)
	if metaErr != nil || m.tx >= tx {
		return l.unknown(tx, err)
	}
	return l.undo(tx, err, noted)
}

// undo takes back what was noted of tx, which err has kept from being committed: as
// long as that may be in the file, whoever opens it ends those tokens.
func (l *log) undo(tx uint64, err error, noted bool) error {
	if noted {
		if eraseErr := l.notes.erase(tx); eraseErr != nil {
			return l.unknown(tx, errors.Join(err, eraseErr))
		}
	}
	return classify(err)
}

func (l *log) unknown(tx uint64, err error) error {
	l.lost, l.cause = tx, because(err)
	return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, l.cause)
}

// uncertain reports whether the file must be looked at anew before it is written.
func (l *log) uncertain() bool { return l.broken || l.lost != 0 }

// check says why nothing should be written to the file, if so: what goes into a
// file that is no longer at its path is gone, and what was cut off it is.
func (l *log) check() error {
	if l.broken {
		return errBroken
	}
	same, size, err := lookAt(l.path, l.info)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !same:
		err = ErrReplaced
	case err == nil && size < l.least:
		err = errCut
	}
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

func (l *log) begin(writable bool) (btx *bbolt.Tx, err error) {
	err = l.guardEdge(func() error {
		btx, err = l.db.Begin(writable)
		return err
	})
	return btx, classify(err)
}

func tokensOf(btx *bbolt.Tx) (bucket *bbolt.Bucket, err error) {
	err = guard(func() error {
		if bucket = btx.Bucket(tokensBucket); bucket == nil {
			return fmt.Errorf("%w: its bucket is gone", storage.ErrCorrupt)
		}
		return nil
	})
	return bucket, err
}

// settle makes what the file holds durable under both meta pages, and ops with it.
// For that something has to be written. What was noted before matters no more then.
func (l *log) settle(ops []*op) error {
	err := l.commit(append(ops, &op{mark: true, ends: true}))
	if err == nil {
		l.notes.clear() // or they are looked at again
	}
	return err
}

// close lets go of the file, through bbolt if that can still be asked.
func (l *log) close() error {
	if l.db == nil {
		return nil
	}
	db := l.db
	l.db = nil
	if l.broken {
		return errors.Join(unlock(l.file), l.file.Close())
	}
	return classify(l.guardEdge(db.Close))
}

// reopen lets go of the file and opens it again, after looking at every page. It
// reports whether the commit of unknown outcome is in it. Others may have written to it
// while nobody had its lock: then the sum of its records fits neither. begin is told as
// by openLog.
func (l *log) reopen(opts Options, begin func() visitor) (happened bool, err error) {
	l.close() // whatever it says, the file is opened anew
	opts.Repair = false
	again, err := openLog(l.path, opts, begin)
	if err != nil {
		return false, err
	}
	happened = l.lost != 0 && again.tx >= l.lost && (again.damaged || again.sum == l.lostSum)
	switch {
	case !os.SameFile(again.info, l.info):
		err = fmt.Errorf("%w: %w", storage.ErrUnavailable, ErrReplaced)
	case again.tx < l.tx:
		err = fmt.Errorf("%w: it has gone back to an older state", storage.ErrCorrupt)
	case !happened && !again.damaged && again.sum != l.sum:
		err = errElsewhere
	}
	if err != nil {
		return false, errors.Join(err, again.close())
	}
	again.repaired, again.commitTx, again.marks = l.repaired, l.commitTx, l.marks
	*l = *again
	return happened, nil
}
