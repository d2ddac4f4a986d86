package postgres

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/wire"
)

// subjectKey returns the number by which the tables know a subject. Subjects that share a number, which
// chance hardly ever makes, share a header: they wait for each other, and nothing else.
func subjectKey(subject string) int64 {
	sum := sha256.Sum256([]byte(subject))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

// tagOf returns the last two bytes of an ID.
func tagOf(id storage.ID) int16 { return int16(binary.BigEndian.Uint16(id[14:])) }

// uuid returns id as pgx sends it in every mode: without a description of the statement, pgx sends no [16]byte.
func uuid(id storage.ID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }

// row is a row of the table of tokens: a record, and what a Touch may have raised since it was put.
type row struct {
	rec           storage.Record
	used, expires int64 // as they are in the table, in Unix milliseconds
	err           error // the row is damaged, and rec has the ID alone
}

// scanned are the columns of a row as they are read. All are null where there is no row.
type scanned struct {
	id                              pgtype.UUID
	tag                             pgtype.Int2
	key, used, expires, live, ended pgtype.Int8
	body                            []byte
}

// rowColumns are the columns of a row, in the order of scanned.
const rowColumns = `t.id, t.tag, t.subject_key, t.used, t.expires, t.live, t.ended, t.body`

func (c *scanned) targets() []any {
	return []any{&c.id, &c.tag, &c.key, &c.used, &c.expires, &c.live, &c.ended, &c.body}
}

// errDisagree: the columns of a row and its body are not of one record.
var errDisagree = fmt.Errorf("%w: the columns of a token's row do not agree with its body; restore the row, or delete it and issue another token", storage.ErrCorrupt)

// decode makes a row of its columns.
func (r *row) decode(c *scanned) {
	r.used, r.expires = c.used.Int64, c.expires.Int64
	if r.rec, r.err = wire.Decode(c.id.Bytes, c.body); r.err != nil {
		return
	}
	if !c.agree(&r.rec) {
		r.rec, r.err = storage.Record{Token: storage.Token{ID: c.id.Bytes}}, errDisagree
		return
	}
	r.rec.LastUsedAt, r.rec.ExpiresAt = instant(r.used), instant(r.expires)
}

// agree reports whether the columns are those of rec, the record in the body, or have risen since as a
// Touch raises them. A record that an index by its columns would hide is so no good token either.
func (c *scanned) agree(rec *storage.Record) bool {
	used, expires := rec.LastUsedAt.UnixMilli(), rec.ExpiresAt.UnixMilli()
	switch {
	case c.tag.Int16 != tagOf(rec.ID), c.key.Int64 != subjectKey(rec.Subject), c.ended.Valid == rec.EndedAt.IsZero():
		return false
	case c.ended.Valid:
		return c.ended.Int64 == rec.EndedAt.UnixMilli() && c.live.Int64 == never && c.used.Int64 == used && c.expires.Int64 == expires
	case c.used.Int64 < used, c.expires.Int64 < expires, rec.Kind != storage.KindAlias && c.live.Int64 < c.expires.Int64:
		return false
	}
	return rec.MaxExpiresAt.IsZero() || c.expires.Int64 <= max(expires, rec.MaxExpiresAt.UnixMilli())
}

// scanRow reads rowColumns.
func scanRow(from pgx.Row) (r row, err error) {
	var c scanned
	if err = from.Scan(c.targets()...); err == nil {
		r.decode(&c)
	}
	return r, err
}

func instant(milli int64) time.Time { return time.UnixMilli(milli).UTC() }

// never is the live of a record that Living need not yield: one with an end, and an alias.
const never = math.MinInt64

// slackOf returns how far the live of a token is above its expiry, in milliseconds. live is in an index
// and expires is not, so that a renewal changes no index until it passes live. Until live a dead token
// is read in vain by each Update that asks for the living.
func slackOf(ttl time.Duration) int64 {
	return max(10*time.Minute, min(2*ttl, 24*time.Hour)).Milliseconds()
}

// columns are the columns of a record.
type columns struct {
	used, expires, live, sweep int64
	cap, ended                 *int64
	body                       []byte
}

// columnsOf returns the columns of r. The error is storage.ErrUnavailable if a field of r is out of its
// limits.
func columnsOf(r *storage.Record) (c columns, err error) {
	if c.body, err = wire.Encode(nil, r); err != nil {
		return c, err
	}
	c.used, c.expires, c.sweep = r.LastUsedAt.UnixMilli(), r.ExpiresAt.UnixMilli(), r.DeadFrom().UnixMilli()
	c.live = c.expires + slackOf(r.TTL)
	if !r.MaxExpiresAt.IsZero() {
		c.cap = milli(r.MaxExpiresAt)
	}
	if !r.EndedAt.IsZero() {
		c.ended = milli(r.EndedAt)
	}
	if c.ended != nil || r.Kind == storage.KindAlias {
		c.live = never
	}
	return c, nil
}

func milli(t time.Time) *int64 {
	n := t.UnixMilli()
	return &n
}
