package recovery

import (
	"github.com/seed-55daa01a/lapse/internal/boltfile"
	"github.com/seed-55daa01a/lapse/internal/log"
	"github.com/seed-55daa01a/lapse/internal/oldfile"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// readOld reads the mark of an old file, and applies the frames of its journal that its tree does
// not have.
func (rec *Recovered) readOld() error {
	rec.old = true
	if len(rec.Damaged) == 0 { // otherwise the damage explains a difference
		if err := rec.pass(oldfile.CheckRecords(rec.File, rec.metas)); err != nil {
			return err
		}
	}
	v, err := boltfile.Get(rec.File, rec.metas.Newest, tree.MetaBucket, tree.MarkKey)
	if err != nil {
		return err
	}
	if rec.Mark, rec.believed = wire.DecodeMark(v); v == nil {
		sequence, err := boltfile.Sequence(rec.File, rec.metas.Newest, tree.MetaBucket)
		if rec.believed = sequence == 0; err != nil {
			return err
		}
	}
	if err := rec.pass(oldfile.Read(rec.File, rec.metas.Newest, rec.applyOld)); err != nil {
		return err
	}
	rec.State.Log = log.NewID() // so that a log beside the file does not belong to it
	return rec.pass(rec.readLog())
}

// applyOld applies one entry of the journal of an old file: a put, a delete if value is nil, or the
// mark under the zero ID.
func (rec *Recovered) applyOld(id [16]byte, value []byte) error {
	e := wire.Entry{Kind: wire.PutEntry, ID: id, Value: value}
	switch {
	case e.ID == (storage.ID{}):
		e.Kind = wire.MarkEntry
	case value == nil:
		e.Kind = wire.DeleteEntry
	}
	return rec.applyEntry(&e)
}
