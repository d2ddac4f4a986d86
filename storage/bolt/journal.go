package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/log"
	"github.com/seed-55daa01a/lapse/internal/recovery"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// journal is the log, and the dirty records that the next checkpoint writes. Only the committer
// uses direct and buf.
type journal struct {
	direct int         // groups that went straight into the tree since Open
	buf    []byte      // of the last group in the log; the next one uses its memory
	bound  atomic.Bool // the state of the tree names the log and says that it is needed

	mu     sync.Mutex   // guards what follows
	log    *log.Log     // nil: there is none
	known  storage.Mark // the mark that the disk has
	number uint64       // of the last group of the log that the table shows
	dirty  []storage.ID // records that the table shows and the tree does not have
	noLog  error        // why no log can be made, or nil
	failed error        // why the last checkpoint failed, or nil
}

// directGroups is how many groups go straight into the tree before the store makes a log, or
// tries again to make one: a program that opens a store for a few writes makes no log.
const directGroups = 8

// write makes g durable, in the log or in the tree. After an error nothing of g is or will be on
// the disk, unless the error is ErrOutcomeUnknown.
func (s *Store) write(g *group) error {
	if s.tree.Turn.Try() {
		err := s.tree.Check()
		s.tree.Turn.Give()
		if err != nil {
			return fault.Classify(err)
		}
	}
	l := s.journal.log
	if l == nil && s.wantsLog() {
		if err := s.beginLog(); err != nil {
			return fault.NotBegun(err)
		}
		l = s.journal.log
	}
	if l == nil {
		s.journal.direct++
		return s.writeTree(g)
	}
	if err := s.bind(); err != nil {
		return fault.NotBegun(err)
	}
	return s.writeLog(l, g)
}

// wantsLog reports whether it is time to make a log.
func (s *Store) wantsLog() bool {
	n := s.journal.direct
	return !s.opts.NoLog && (s.opts.logAtOnce || n > 0 && n%directGroups == 0)
}

// writeTree makes g durable in the tree, and changes the entries of g.
func (s *Store) writeTree(g *group) error {
	err := g.encode(s.table, false)
	if err != nil {
		return err
	}
	changes, err := tree.Combine(s.table, g.entries)
	if err != nil {
		return err
	}
	t := s.tree
	t.Turn.Take()
	defer t.Turn.Give()
	next := t.State
	next.Merged++ // an older copy of the file is then no parent of a log that is made after this write
	return fault.Classify(t.Update(changes, next, &g.mark))
}

// beginLog makes a log. If no log can be made, Stats.NoLog says why, and groups go into the tree.
// An error means that the tree cannot be written, or that another process has made a log.
func (s *Store) beginLog() error {
	st, info, err := s.tree.Durable()
	if err != nil {
		return err
	}
	l, err := log.Create(recovery.LogPath(s.tree.Path), log.Parent{Log: st.Log, Merged: st.Merged}, info)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s has appeared: another process uses the file", ErrReplaced, recovery.LogPath(s.tree.Path))
	}
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	s.journal.log, s.journal.noLog, s.journal.number = l, err, 0
	return nil
}

// bind has the tree name the log, and say that the log is needed, before the first write to the
// log since Open. Where locks do not work, another process that has the file open sees that the
// tree has changed.
func (s *Store) bind() error {
	if s.journal.bound.Load() {
		return nil
	}
	t := s.tree
	t.Turn.Take()
	defer t.Turn.Give()
	st := t.State
	if id := s.journal.log.ID(); st.Log != id {
		st.Log, st.Merged = id, 0
	}
	st.NeedsLog = true
	if err := t.Write(nil, st, nil); err != nil {
		return err
	}
	s.journal.bound.Store(true)
	return nil
}

// keptBuf is the largest capacity, in bytes, of a buffer that is kept for the next group.
const keptBuf = 64 << 10

// writeLog makes g durable in l, after a checkpoint where l is full. After an error nothing of g
// is or will be in l, unless the error is ErrOutcomeUnknown.
func (s *Store) writeLog(l *log.Log, g *group) (err error) {
	if err := g.encode(s.table, true); err != nil {
		return err
	}
	b := s.journal.buf[:0]
	for i := range g.entries {
		b = g.entries[i].AppendTo(b)
	}
	if g.mark != s.journal.known || slices.ContainsFunc(g.ops, func(o *op) bool { return o.forceMark }) {
		mark := wire.Entry{Kind: wire.MarkEntry, Value: wire.EncodeMark(g.mark)}
		b = mark.AppendTo(b)
	}
	if s.journal.buf = nil; cap(b) <= keptBuf {
		s.journal.buf = b
	}
	if err := l.Check(localfile.Look); err != nil {
		return fault.Classify(err)
	}
	limit := s.logLimit()
	g.number, err = l.Append(b, limit)
	for range 2 { // a checkpoint that was under way may free too little
		if !errors.Is(err, log.ErrFull) {
			break
		}
		if err := s.checkpoint(true); err != nil {
			return fault.NotBegun(err)
		}
		g.number, err = l.Append(b, limit)
	}
	if err == nil && l.Used() > limit/2 {
		wake(s.full)
	}
	return fault.Classify(err)
}

// add notes the number, the mark and the dirty records of g, which the table shows now.
func (j *journal) add(g *group) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.known = g.mark
	if g.number != 0 {
		j.number = g.number
		for i := range g.entries {
			j.dirty = append(j.dirty, g.entries[i].ID)
		}
	}
}

// takeDirty returns the number of the last group that the table shows, the dirty records, and the
// mark that the disk has. The records are not dirty any more.
func (j *journal) takeDirty() (number uint64, ids []storage.ID, mark storage.Mark) {
	j.mu.Lock()
	defer j.mu.Unlock()
	ids, j.dirty = j.dirty, nil
	return j.number, ids, j.known
}

// endCheckpoint notes the error, or nil, of a checkpoint of ids, which takeDirty returned. After an
// error these records are dirty again.
func (j *journal) endCheckpoint(ids []storage.ID, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed = fault.Classify(err); err != nil {
		j.dirty = append(ids, j.dirty...)
	}
}

// mark returns the mark that the disk has.
func (j *journal) mark() storage.Mark {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.known
}

// current returns the log, or nil if there is none.
func (j *journal) current() *log.Log {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.log
}
