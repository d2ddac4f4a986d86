package postgres

import (
	"context"
	"errors"
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-55daa01a/lapse/storage"
)

// runner runs a statement: the pool, or the transaction of an Update that has locked its subject.
type runner interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// tx is one run of the function of an Update: the rows that it has read, and the writes that it wants.
// All that it reads is of one state of the subject: each statement reads the header as well, and a
// header that has changed meanwhile ends the run.
type tx struct {
	s       *Store
	ctx     context.Context
	on      runner
	subject string
	key     int64
	tag     [2]byte // of its IDs
	locked  bool    // the header is locked
	copied  bool    // of the subject nothing is known but a copy of one row, and rev

	read   bool // the header was read
	head   header
	rows   map[storage.ID]*row        // what was read; nil: there is no such row
	living int64                      // the rows with a live after this instant were read; math.MaxInt64: none were
	now    int64                      // the instant at which they were asked for
	before map[storage.ID]storage.Use // the renewals that waited when the server was asked last

	writes  map[storage.ID]*write
	created int64
	fit     *fit // a record that is put without anything read
	mayFit  bool // nothing was tried yet: PutIfFits may answer without having read
	done    bool // fn has returned
	failed  error
}

// header is the row of a subject: rev is 0 if there is none.
type header struct{ rev, counted, tokens int64 }

// write is what a run wants to become of a row.
type write struct {
	rec     storage.Record
	deleted bool
}

// fit is a record that is to be put if at most n tokens of its subject live at now.
type fit struct {
	rec storage.Record
	n   int
	now time.Time
}

var errEnded = errors.New("postgres: a Tx was used after its function had returned")

func (s *Store) newTx(ctx context.Context, on runner, subject string) *tx {
	return &tx{
		s: s, ctx: ctx, on: on, subject: subject, key: subjectKey(subject), tag: storage.ShardTag(subject),
		rows: map[storage.ID]*row{}, writes: map[storage.ID]*write{}, living: math.MaxInt64, now: math.MinInt64,
	}
}

// load runs a statement that reads the header and rows, and remembers both.
func (t *tx) load(sql string, args ...any) error {
	if t.done {
		return errEnded
	}
	if t.fit != nil || t.copied {
		t.failed = errOvertaken // what was put unread, or is copied, must be read now: fn runs again
	}
	if t.failed != nil {
		return t.failed
	}
	t.before = t.s.touches.ofTag(t.tag)
	rows, err := t.on.Query(t.ctx, sql, args...)
	if err == nil {
		err = t.take(rows)
	}
	if err != nil {
		t.failed = err
		return classify(err)
	}
	return nil
}

// take reads the rows of a statement that loads. Its caller has asked for them.
func (t *tx) take(rows pgx.Rows) error {
	defer rows.Close()
	for rows.Next() {
		var rev, counted, tokens *int64
		var c scanned
		if err := rows.Scan(append([]any{&rev, &counted, &tokens}, c.targets()...)...); err != nil {
			return err
		}
		var head header
		if rev != nil {
			head = header{*rev, *counted, *tokens}
		}
		if t.read && head != t.head {
			return errOvertaken
		}
		t.head, t.read = head, true
		if id := storage.ID(c.id.Bytes); c.id.Valid && t.rows[id] == nil {
			r := new(row)
			r.decode(&c)
			t.s.touches.raise(&r.rec, t.before[id])
			t.rows[id] = r
		}
	}
	return rows.Err()
}

// find returns the record of id as the run sees it, of whatever subject. The error is
// storage.ErrNotFound if there is none.
func (t *tx) find(id storage.ID) (storage.Record, error) {
	if w := t.writes[id]; w != nil {
		if w.deleted {
			return storage.Record{}, storage.ErrNotFound
		}
		return w.rec, nil
	}
	r, known := t.rows[id]
	if !known {
		if err := t.load(t.s.sql.loadOne, t.key, uuid(id), tagOf(id)); err != nil {
			return storage.Record{}, err
		}
		if r = t.rows[id]; r == nil {
			t.rows[id] = nil
		}
	}
	if r == nil {
		return storage.Record{}, storage.ErrNotFound
	}
	return r.rec, r.err
}

// Get implements storage.Tx.
func (t *tx) Get(id storage.ID) (storage.Record, error) {
	rec, err := t.find(id)
	if err == nil && rec.Subject != t.subject {
		return storage.Record{}, storage.ErrNotFound
	}
	return rec, err
}

// Records implements storage.Tx.
func (t *tx) Records() iter.Seq2[storage.Record, error] {
	return t.walk(math.MinInt64, func(*storage.Record) bool { return true })
}

// Living implements storage.Tx.
func (t *tx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	return t.walk(now.UnixMilli(), func(r *storage.Record) bool { return r.Live(now) && r.Kind != storage.KindAlias })
}

// walk yields the records with a live after an instant, or all of them, that are wanted.
func (t *tx) walk(after int64, wanted func(*storage.Record) bool) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		if err := t.loadLiving(after); err != nil {
			yield(storage.Record{}, err)
			return
		}
		for _, id := range t.ids() {
			rec, err := t.find(id)
			switch {
			case err == nil && (rec.Subject != t.subject || !wanted(&rec)), errors.Is(err, storage.ErrNotFound):
				continue
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// ids returns the IDs of all that the run has read or written, in order.
func (t *tx) ids() []storage.ID {
	known := make(map[storage.ID]bool, len(t.rows)+len(t.writes))
	for id := range t.rows {
		known[id] = true
	}
	for id := range t.writes {
		known[id] = true
	}
	return slices.SortedFunc(maps.Keys(known), storage.ID.Compare)
}

// loadLiving reads the rows with a live after an instant. math.MinInt64 stands for all rows, those that
// Living leaves out included.
func (t *tx) loadLiving(after int64) error {
	if t.read && t.living <= after && (after != math.MinInt64 || t.living == math.MinInt64) {
		return nil
	}
	return t.loadFor(after)
}

// loadFor reads the rows with a live after an instant, those with a renewal that waits, and those of
// ids.
func (t *tx) loadFor(after int64, ids ...storage.ID) error {
	ids = slices.AppendSeq(ids, maps.Keys(t.s.touches.ofTag(t.tag)))
	var err error
	switch {
	case after == math.MinInt64: // never is this very number, so the comparison is with what is below no row
		err = t.load(t.s.sql.loadAll, t.key)
	case len(ids) == 0:
		err = t.load(t.s.sql.loadLiving, t.key, after)
	default:
		all, tags := idColumns(ids)
		err = t.load(t.s.sql.loadFor, t.key, after, all, tags)
	}
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, known := t.rows[id]; !known && after != math.MinInt64 {
			t.rows[id] = nil
		}
	}
	t.living, t.now = after, max(t.now, after)
	return nil
}

// Put implements storage.Tx.
func (t *tx) Put(r storage.Record) error {
	if t.done {
		return errEnded
	}
	if w := t.writes[r.ID]; w != nil && w.deleted {
		return storage.ErrConflict
	}
	old, err := t.find(r.ID)
	there := &old
	switch {
	case errors.Is(err, storage.ErrNotFound):
		there = nil
	case err != nil:
		return err
	}
	if err := storage.CheckPut(t.subject, there, r); err != nil {
		return err
	}
	if _, err := columnsOf(&r); err != nil {
		return err
	}
	if t.writes[r.ID] == nil && t.rows[r.ID] == nil {
		t.created++
	}
	t.writes[r.ID] = &write{rec: r}
	return nil
}

// Delete implements storage.Tx.
func (t *tx) Delete(id storage.ID) error {
	if t.done {
		return errEnded
	}
	if _, err := t.Get(id); err != nil {
		return err
	}
	t.writes[id] = &write{deleted: true}
	return nil
}

// PutIfFits implements storage.Fitter. In the first run of an Update, before anything was read, it
// leaves the answer to the commit.
func (t *tx) PutIfFits(r *storage.Record, n int, now time.Time) bool {
	if t.done || t.failed != nil || t.fit != nil || r.Subject != t.subject || n < 0 || !r.EndedAt.IsZero() || storage.CheckPut(t.subject, nil, *r) != nil {
		return false
	}
	if t.mayFit && !t.read && len(t.writes) == 0 {
		t.fit = &fit{*r, n, now}
		return true
	}
	after := now.UnixMilli()
	if _, known := t.rows[r.ID]; !known || t.living > after {
		if t.loadFor(after, r.ID) != nil {
			return false
		}
	}
	if _, err := t.find(r.ID); !errors.Is(err, storage.ErrNotFound) || t.writes[r.ID] != nil {
		return false
	}
	for range t.Living(now) { // and what cannot be read counts as living
		n--
	}
	return n >= 0 && t.Put(*r) == nil
}
