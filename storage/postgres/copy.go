package postgres

import (
	"context"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/wire"
)

const (
	// copySlots is how many copies a store keeps at most, and maxCopied how long the body of one is.
	copySlots = 1 << 12
	maxCopied = 1 << 10
)

// copied is a row as this store has written it, and the rev that the write has given the header.
type copied struct {
	id            storage.ID
	rev           int64
	used, expires int64
	cap           *int64
	body          []byte
}

// copies are the rows that this store has written last, one of a subject at most: the tokens of a subject
// have the same tag. UpdateID runs on a copy in place of a load. An issue and a log-out take 0.88 of the
// time so (go -C bench run . -rows ^logout-pg). A copy may be old: a commit proves that it is not.
type copies [copySlots]atomic.Pointer[copied]

func (c *copies) slot(tag [2]byte) *atomic.Pointer[copied] {
	return &c[(int(tag[0])<<8|int(tag[1]))%copySlots]
}

// keep keeps row, which was written last of the subjects with that tag. Nil keeps nothing.
func (c *copies) keep(tag [2]byte, row *copied) { c.slot(tag).Store(row) }

// take returns the copy of id, or nil, and keeps it no longer.
func (c *copies) take(id storage.ID) *copied {
	slot := c.slot(tagBytes(id))
	row := slot.Load()
	if row == nil || row.id != id || !slot.CompareAndSwap(row, nil) {
		return nil
	}
	return row
}

// raise notes a renewal of id that was written, as the statement touch does.
func (c *copies) raise(id storage.ID, use storage.Use) {
	slot := c.slot(tagBytes(id))
	old := slot.Load()
	if old == nil || old.id != id {
		return
	}
	row, expires := *old, use.ExpiresAt.UnixMilli()
	if row.cap != nil {
		expires = min(expires, *row.cap)
	}
	row.used, row.expires = max(row.used, use.At.UnixMilli()), max(row.expires, expires)
	slot.CompareAndSwap(old, &row)
}

// copyOf returns the row of col as c writes it, or nil if it is too long, or has ended and will hardly be
// written again.
func copyOf(id storage.ID, rev int64, col *columns) *copied {
	if col.ended != nil || len(col.body) > maxCopied {
		return nil
	}
	return &copied{id, rev, col.used, col.expires, col.cap, col.body}
}

// updateCopy is UpdateID on the copy of the record. It returns errOvertaken, and nothing is written, if
// there is no copy, if the copy is old, or if fn fails, writes nothing, or needs more than the record: then
// fn is to run on what a load reads.
func (s *Store) updateCopy(ctx context.Context, id storage.ID, fn func(storage.Tx) error) error {
	own := s.copies.take(id)
	if own == nil {
		return errOvertaken
	}
	r := &row{used: own.used, expires: own.expires}
	if r.rec, r.err = wire.Decode(id, own.body); r.err != nil {
		return errOvertaken
	}
	r.rec.LastUsedAt, r.rec.ExpiresAt = instant(r.used), instant(r.expires)
	s.touches.raise(&r.rec, storage.Use{})
	t := s.newTx(ctx, s.pool, r.rec.Subject)
	t.read, t.copied, t.head.rev, t.rows[id] = true, true, own.rev, r
	if t.run(fn) != nil || ctx.Err() != nil {
		return errOvertaken
	}
	if err := t.commit(); !again(err) {
		return err
	}
	return errOvertaken
}
