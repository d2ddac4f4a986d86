package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// What a lived store leaves out, or lifeSound.
const (
	lifeSound        = "sound"
	lifeNoSecond     = "no second commit"
	lifeNoStepSecond = "no second commit in the steps of a checkpoint"
)

type records map[storage.ID]storage.Record

// remains is what a process leaves that dies at one moment.
type remains struct {
	name      string
	file, log []byte    // log nil: there is none
	older     [2][]byte // each meta page before its last write; nil: not seen
	holds     []records // the store holds one of these
}

// lived takes one store through its life and keeps what a crash leaves at each transaction of
// its file, and behind some groups of its log.
type lived struct {
	t     *testing.T
	path  string
	plant string
	r     *rand.Rand
	left  []*remains

	s            *Store
	life         string
	last         wire.State
	step         bool // the last transaction has written the records of a step of a checkpoint
	metas, older [2][]byte
	holds, next  records // acknowledged; with the call that is under way
	serial       int
}

// liveThrough plays a whole life: groups in the file, groups in the log, checkpoints, slots of
// the log that are written again, Compact, and Close after each of them.
func liveThrough(t *testing.T, r *rand.Rand, plant string) []*remains {
	t.Helper()
	l := &lived{t: t, plant: plant, r: r, serial: 100}
	l.path, _ = makeFileIn(t, quickDir(t), 40)
	for _, life := range []struct {
		name string
		opts Options
		live func()
	}{
		{"in the file", Options{NoLog: true}, func() { l.act(10) }},
		{"in the file, then the log", Options{}, func() { l.act(12); l.checkpoint(); l.act(4) }},
		{"in the log", Options{logAtOnce: true}, func() {
			for range 8 {
				l.fill(9)
				l.act(3)
				l.checkpoint()
			}
		}},
		{"compacted", Options{logAtOnce: true}, func() {
			for range 8 { // the file has no free page, so a checkpoint soon needs those that it has just freed
				l.compact()
				l.act(4)
				l.checkpoint()
			}
		}},
		{"compacted in the file", Options{NoLog: true}, func() { l.act(2); l.compact(); l.act(2) }},
	} {
		l.life = life.name
		l.open(&life.opts)
		life.live()
		l.must(l.s.Close())
		l.keep("closed")
	}
	return l.left
}

func (l *lived) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("%s, %s: %v", l.plant, l.life, err)
	}
}

func (l *lived) open(opts *Options) {
	l.s = open(l.t, l.path, opts)
	l.holds, _ = contents(l.t, l.s)
	l.next = l.holds
	l.s.tree.Turn.Take()
	l.s.tree.CommitTx, l.last = l.commit, l.s.tree.State
	l.s.tree.Turn.Give()
	l.keep("opened")
}

// act makes n changes of all kinds, each a group, and keeps what is left behind some.
func (l *lived) act(n int) {
	l.t.Helper()
	for i := range n {
		l.serial++
		r := record(l.serial % 40)
		switch i % 4 {
		case 0:
			r = record(l.serial)
		case 1:
			r = ended(r)
		case 2:
			r.Name = fmt.Sprint("renamed ", l.serial)
		}
		l.next = maps.Clone(l.holds)
		if was, ok := l.holds[r.ID]; i%4 == 3 && ok {
			delete(l.next, r.ID)
			l.must(deleting(l.s, was))
		} else {
			r = l.unlessEnded(r)
			l.next[r.ID] = r
			l.must(putting(l.s, r))
		}
		l.holds = l.next
		if l.r.IntN(3) == 0 {
			l.keep("acknowledged")
		}
	}
}

// unlessEnded returns r, or the record as it is if it has ended.
func (l *lived) unlessEnded(r storage.Record) storage.Record {
	if was := l.holds[r.ID]; !was.EndedAt.IsZero() {
		return was
	}
	return r
}

// fill writes n groups that fill more than a block of the log.
func (l *lived) fill(n int) {
	l.t.Helper()
	for i := range n {
		l.serial++
		r := large(i)
		r.Name = fmt.Sprint("filled ", l.serial)
		l.next = maps.Clone(l.holds)
		l.next[r.ID] = r
		l.must(putting(l.s, r))
		l.holds = l.next
	}
}

func (l *lived) checkpoint() {
	l.t.Helper()
	l.must(l.s.checkpoint(true))
	l.keep("after a checkpoint")
}

func (l *lived) compact() {
	l.t.Helper()
	l.must(l.s.Compact(context.Background()))
	l.metas, l.older = [2][]byte{}, [2][]byte{} // it is another file
	l.keep("after Compact")
}

// commit commits btx as the plant has it, and keeps what is left in the middle and behind it.
func (l *lived) commit(btx *bbolt.Tx) error {
	st, _ := wire.DecodeState(btx.Bucket([]byte(tree.MetaBucket)).Get([]byte(stateKey)))
	second := st == l.last
	if second && (l.plant == lifeNoSecond || l.plant == lifeNoStepSecond && l.step) {
		return btx.Rollback()
	}
	same := st
	same.Tx, same.Sum = l.last.Tx, l.last.Sum
	l.step = !second && same == l.last
	before := readFile(l.t, l.path)
	if err := btx.Commit(); err != nil {
		return err
	}
	after := readFile(l.t, l.path)
	if !bytes.Equal(before, after) { // Compact's file has another name until it is whole
		l.keepFile("in a transaction", torn(l.r, before, after))
	}
	l.last = st
	l.keep("after a transaction")
	return nil
}

// torn returns a file between two versions: both meta pages of the first, and all or any of the
// other pages of the second.
func torn(r *rand.Rand, before, after []byte) []byte {
	file := bytes.Clone(after)
	copy(file[:2*pageSize], before)
	if r.IntN(2) == 0 {
		return file
	}
	for at := 2 * pageSize; at+pageSize <= len(before); at += pageSize {
		if r.IntN(2) == 0 {
			copy(file[at:at+pageSize], before[at:])
		}
	}
	return file
}

// keep notes what is left now.
func (l *lived) keep(name string) { l.keepFile(name, readFile(l.t, l.path)) }

func (l *lived) keepFile(name string, file []byte) {
	for slot := range l.metas {
		if meta := file[slot*pageSize : (slot+1)*pageSize]; !bytes.Equal(meta, l.metas[slot]) {
			l.metas[slot], l.older[slot] = meta, l.metas[slot]
		}
	}
	m := &remains{name: l.life + ", " + name, file: file, older: l.older, holds: []records{l.holds, l.next}}
	var err error
	if m.log, err = os.ReadFile(logPath(l.path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		l.t.Error(err)
	}
	l.left = append(l.left, m)
}

// place has the remains, with another file, at a path where nothing else is.
func (m *remains) place(path string, file []byte) error {
	left, err := filepath.Glob(path + "*")
	for _, other := range left {
		err = errors.Join(err, os.Remove(other))
	}
	if m.log != nil {
		err = errors.Join(err, os.WriteFile(logPath(path), m.log, 0o600))
	}
	return errors.Join(err, os.WriteFile(path, file, 0o600))
}
