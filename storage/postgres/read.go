package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/seed-55daa01a/lapse/storage"
)

// Get implements storage.Store: one round trip.
func (s *Store) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	if err := s.begin(ctx); err != nil {
		return storage.Record{}, err
	}
	defer s.end()
	if err := s.settleDoubts(ctx); err != nil {
		return storage.Record{}, err
	}
	before := s.touches.of(id)
	r, err := scanRow(s.pool.QueryRow(ctx, s.sql.get, uuid(id), tagOf(id)))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return storage.Record{}, storage.ErrNotFound
	case err != nil:
		return storage.Record{}, classify(err)
	}
	s.touches.seen(id, r.expires)
	s.touches.raise(&r.rec, before)
	return r.rec, r.err
}

// Gets implements storage.BatchGetter: one round trip for each thousand IDs.
func (s *Store) Gets(ctx context.Context, ids []storage.ID) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for chunk := range slices.Chunk(ids, pageSize) {
			all, tags := idColumns(chunk)
			rows, err := s.rows(ctx, s.sql.gets, all, tags)
			if !yieldRows(rows, err, yield) {
				return
			}
		}
	}
}

// GetsFor implements storage.BatchGetter.
func (s *Store) GetsFor(store storage.Store) bool { return store == storage.Store(s) }

func idColumns(ids []storage.ID) (all []pgtype.UUID, tags []int16) {
	for _, id := range ids {
		all, tags = append(all, uuid(id)), append(tags, tagOf(id))
	}
	return all, tags
}

// pageSize is how many rows one statement reads.
const pageSize = 1000

// rows returns the rows of a statement, with the renewals that wait.
func (s *Store) rows(ctx context.Context, sql string, args ...any) ([]row, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.end()
	if err := s.settleDoubts(ctx); err != nil {
		return nil, err
	}
	before := s.touches.all()
	found, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, classify(err)
	}
	all, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (row, error) { return scanRow(r) })
	for i := range all {
		s.touches.raise(&all[i].rec, before[all[i].rec.ID])
	}
	return all, classify(err)
}

// yieldRows yields the records of rows, or err, and returns false if that was the last pair.
func yieldRows(rows []row, err error, yield func(storage.Record, error) bool) bool {
	if err != nil {
		yield(storage.Record{}, err)
		return false
	}
	for i := range rows {
		if !yield(rows[i].rec, rows[i].err) {
			return false
		}
	}
	return true
}

// List implements storage.Store, in the order of the IDs. No connection is in use while the loop body
// runs.
func (s *Store) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for after := (storage.ID{}); ; {
			rows, err := s.pageAfter(ctx, after, pageSize, f.Subject)
			last := len(rows) < pageSize
			if len(rows) > 0 {
				after = rows[len(rows)-1].rec.ID
			}
			rows = slices.DeleteFunc(rows, func(r row) bool { return r.err == nil && !f.Match(r.rec) })
			if !yieldRows(rows, err, yield) || last {
				return
			}
		}
	}
}

// pageAfter returns the n rows behind an ID, of one subject unless that is "".
func (s *Store) pageAfter(ctx context.Context, after storage.ID, n int, subject string) ([]row, error) {
	if subject == "" {
		return s.rows(ctx, s.sql.page, uuid(after), n)
	}
	return s.rows(ctx, s.sql.subjectPage, uuid(after), n, subjectKey(subject))
}

// Page implements storage.Pager, in the order of the IDs. A place is good in this store until it is
// closed.
func (s *Store) Page(ctx context.Context, after string, n int) (recs []storage.Record, next string, err error) {
	id, ok := s.placed(after)
	switch {
	case !ok:
		return nil, "", storage.ErrInvalidAfter
	case n < 1:
		return nil, after, nil
	}
	rows, err := s.pageAfter(ctx, id, n, "")
	if err != nil {
		return nil, "", err
	}
	if len(rows) == n {
		next = s.place(rows[n-1].rec.ID)
	}
	for i := range rows {
		recs = append(recs, rows[i].rec)
		if rows[i].err != nil {
			return recs, s.place(rows[i].rec.ID), rows[i].err
		}
	}
	return recs, next, nil
}

// PageFor implements storage.Pager.
func (s *Store) PageFor(store storage.Store) bool { return store == storage.Store(s) }

// place returns the text of a place behind an ID, which is the ID and a proof that this store has made
// it.
func (s *Store) place(id storage.ID) string {
	h := hmac.New(sha256.New, s.key[:])
	h.Write(id[:])
	return base64.RawURLEncoding.EncodeToString(append(id[:], h.Sum(nil)[:8]...))
}

// placed returns the ID in the text of a place, or the zero ID for "".
func (s *Store) placed(text string) (id storage.ID, ok bool) {
	if text == "" {
		return id, true
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != len(id)+8 {
		return id, false
	}
	id = storage.ID(b[:len(id)])
	return id, hmac.Equal([]byte(text), []byte(s.place(id)))
}
