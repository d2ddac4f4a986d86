package postgres

import (
	"math"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/seed-55daa01a/lapse/storage"
)

// change is what a commit does, and how the store finds out whether it has happened.
type change struct {
	key       int64
	tag       [2]byte         // of the IDs of its subject
	old, rev  int64           // of the header
	put       *storage.Record // of a fit; nil otherwise
	sql       string
	args      []any
	told      []storage.Change // what other processes are told
	grave     []storage.ID     // the records that act as changed while the outcome is unknown (S28)
	fence     []any            // of a fit: the columns of the record with an end
	copied    *copied          // of the only row that is written; nil: there is none to keep
	untouched bool             // there is nothing to write
}

// change returns what the run wants to be written.
func (t *tx) change() (*change, error) {
	if t.fit != nil {
		return t.fitChange()
	}
	c := &change{key: t.key, tag: t.tag, old: t.head.rev, sql: t.s.sql.commit}
	var w written
	for _, id := range t.sortedWrites() {
		if err := w.add(t, id, c); err != nil {
			return nil, err
		}
	}
	one := t.head.rev > 0 && w.rows == 1 && len(w.wasUsed) == 1 && w.wasUsed[0] != nil
	switch {
	case t.copied && !one:
		return nil, errOvertaken
	case w.rows == 0:
		c.untouched = true
		return c, nil
	}
	rev, err := newRev()
	if err != nil {
		return nil, err
	}
	c.rev = rev
	counted, tokens := t.head.counted, t.head.tokens+w.created
	switch {
	case !t.read || t.head.rev == 0:
		counted = never
	case t.living <= t.now && t.now != math.MinInt64 && t.living != math.MinInt64:
		counted, tokens = t.now, t.livingRows()+w.created
	}
	if c.old == 0 {
		c.old = -1 // no header has that rev
	}
	c.args = []any{t.key, rev, c.old, counted, tokens}
	if t.copied {
		c.args[3], c.args[4] = nil, nil // the header's stay
	}
	if w.rows == 1 && w.last != nil {
		c.copied = copyOf(w.ids[0].Bytes, rev, w.last)
	}
	if one {
		c.sql = t.s.sql.commitOne
		c.args = append(c.args, w.ids[0], w.tags[0], w.used[0], w.expires[0], w.live[0], w.sweep[0], w.cap[0], w.ended[0], w.bodies[0], w.wasUsed[0], w.wasExpires[0], t.copied)
		return c, nil
	}
	c.args = append(c.args, w.ids, w.tags, w.used, w.expires, w.live, w.sweep, w.cap, w.ended, w.bodies, w.wasUsed, w.wasExpires,
		w.deletedIDs, w.deletedTags, w.rows)
	return c, nil
}

// livingRows returns how many rows that were read as living there are. That is at least as many as
// there are living tokens, those of other subjects that share the header included.
func (t *tx) livingRows() (n int64) {
	for _, r := range t.rows {
		if r != nil && (r.err != nil || r.rec.EndedAt.IsZero()) {
			n++
		}
	}
	return n
}

func (t *tx) sortedWrites() []storage.ID {
	var ids []storage.ID
	for id := range t.writes {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, storage.ID.Compare)
	return ids
}

// written are the columns of all rows that a commit writes.
type written struct {
	ids                 []pgtype.UUID
	tags                []int16
	used, expires       []int64
	live, sweep         []int64
	cap, ended          []*int64
	bodies              [][]byte
	wasUsed, wasExpires []*int64
	deletedIDs          []pgtype.UUID
	deletedTags         []int16
	rows, created       int64
	last                *columns // of the row that was added last
}

// add adds the write of id.
func (w *written) add(t *tx, id storage.ID, c *change) error {
	want, was := t.writes[id], t.rows[id]
	switch {
	case want.deleted && was == nil: // made and deleted by this run
		return nil
	case want.deleted:
		w.deletedIDs, w.deletedTags = append(w.deletedIDs, uuid(id)), append(w.deletedTags, tagOf(id))
		c.told = append(c.told, storage.Change{ID: id, Subject: t.subject})
		c.grave = append(c.grave, id)
		w.rows++
		return nil
	}
	col, err := columnsOf(&want.rec)
	if err != nil {
		return err
	}
	w.last = &col
	w.ids, w.tags = append(w.ids, uuid(id)), append(w.tags, tagOf(id))
	w.used, w.expires = append(w.used, col.used), append(w.expires, col.expires)
	w.live, w.sweep = append(w.live, col.live), append(w.sweep, col.sweep)
	w.cap, w.ended, w.bodies = append(w.cap, col.cap), append(w.ended, col.ended), append(w.bodies, col.body)
	w.rows++
	if was == nil {
		w.wasUsed, w.wasExpires = append(w.wasUsed, nil), append(w.wasExpires, nil)
		w.created++
		return nil
	}
	w.wasUsed, w.wasExpires = append(w.wasUsed, &was.used), append(w.wasExpires, &was.expires)
	if !storage.MustTell(&was.rec, want.rec) {
		return nil
	}
	c.told = append(c.told, storage.Change{ID: id, Subject: t.subject})
	c.grave = append(c.grave, id)
	return nil
}

// fitChange returns the change that puts a record unread.
func (t *tx) fitChange() (*change, error) {
	rec := &t.fit.rec
	col, err := columnsOf(rec)
	if err != nil {
		return nil, err
	}
	dead := *rec
	dead.EndedAt, dead.EndReason = dead.IssuedAt, storage.EndRevoked
	deadCol, err := columnsOf(&dead)
	if err != nil {
		return nil, err
	}
	rev, err := newRev()
	if err != nil {
		return nil, err
	}
	id, tag := uuid(rec.ID), tagOf(rec.ID)
	return &change{
		key: t.key, tag: t.tag, rev: rev, put: rec, copied: copyOf(rec.ID, rev, &col), sql: t.s.sql.insertFit,
		args:  []any{t.key, rev, int64(t.fit.n), t.fit.now.UnixMilli(), col.used, col.expires, col.live, col.sweep, col.cap, id, tag, col.body},
		fence: []any{t.key, deadCol.used, deadCol.expires, deadCol.live, deadCol.sweep, deadCol.cap, deadCol.ended, id, tag, deadCol.body},
	}, nil
}
