package bolt

import (
	"github.com/seed-55daa01a/lapse/internal/boltfile"
	"github.com/seed-55daa01a/lapse/internal/log"
	"github.com/seed-55daa01a/lapse/internal/oldfile"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// readOld reads the mark of an old file, and applies what its journal has and its tree has not.
func (l *loaded) readOld() error {
	l.old = true
	if len(l.damaged) == 0 { // or the damage explains the difference
		if err := l.pass(oldfile.CheckRecords(l.file, l.metas)); err != nil {
			return err
		}
	}
	v, err := boltfile.Get(l.file, l.metas.Newest, tree.MetaBucket, tree.MarkKey)
	if err != nil {
		return err
	}
	if l.mark, l.believed = wire.DecodeMark(v); v == nil {
		marked, err := boltfile.Sequence(l.file, l.metas.Newest, tree.MetaBucket)
		if l.believed = marked == 0; err != nil {
			return err
		}
	}
	if err := l.pass(oldfile.Read(l.file, l.metas.Newest, l.applyOld)); err != nil {
		return err
	}
	l.state.Log = log.NewID() // a log that is there does not join on
	return l.pass(l.readLog())
}

func (l *loaded) applyOld(id [16]byte, value []byte) error {
	e := wire.Entry{Kind: wire.PutEntry, ID: id, Value: value}
	switch {
	case e.ID == (storage.ID{}):
		e.Kind = wire.MarkEntry
	case value == nil:
		e.Kind = wire.DeleteEntry
	}
	return l.applyEntry(&e)
}
