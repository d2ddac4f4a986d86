package postgres

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/seed-55daa01a/lapse/storage"
)

// asMany returns the arguments of the statement for any number of rows that do what those of the statement
// for one row do.
func asMany(args []any) []any {
	many := append([]any{}, args[:5]...)
	for _, arg := range args[5:] {
		switch v := arg.(type) {
		case pgtype.UUID:
			many = append(many, []pgtype.UUID{v})
		case int16:
			many = append(many, []int16{v})
		case int64:
			many = append(many, []int64{v})
		case *int64:
			many = append(many, []*int64{v})
		case []byte:
			many = append(many, [][]byte{v})
		}
	}
	return append(many, []pgtype.UUID{}, []int16{}, int64(1))
}

// BenchmarkCommit changes a record by the statement for one row and by that for any number, in turns, and
// reports the ratio of their times.
func BenchmarkCommit(b *testing.B) {
	o := &Options{Schema: "bench of commits"}
	emptied(b, o)
	s := opened(b, o)
	conn, err := s.pool.Acquire(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Release()
	now := time.Now().UTC().Truncate(time.Millisecond)
	rec := storage.Record{Token: storage.Token{ID: storage.ID{1}, Subject: "ana", IssuedAt: now, LastUsedAt: now, ExpiresAt: now.Add(time.Hour)}}
	if err := s.Update(b.Context(), "ana", func(tx storage.Tx) error { return tx.Put(rec) }); err != nil {
		b.Fatal(err)
	}
	var took [2]time.Duration
	for n := range 2 * b.N {
		t := s.newTx(b.Context(), conn, "ana")
		rec.Data = fmt.Sprint(n)
		if err := t.Put(rec); err != nil {
			b.Fatal(err)
		}
		c, err := t.change()
		if err != nil {
			b.Fatal(err)
		}
		sql, args := c.sql, c.args
		if n%2 == 1 {
			sql, args = s.sql.commit, asMany(c.args)
		}
		begin := time.Now()
		if err := headed(conn.QueryRow(b.Context(), sql, args...)); err != nil {
			b.Fatal(err)
		}
		took[n%2] += time.Since(begin)
	}
	b.ReportMetric(took[0].Seconds()/took[1].Seconds(), "one/many")
}

// BenchmarkFlush writes 500 renewals by use, deferred ones in one flush and each by an UPDATE of its own, in
// turns, and reports the ratio of their times.
func BenchmarkFlush(b *testing.B) {
	o := &Options{Schema: "bench of flushes", FlushEvery: time.Hour}
	emptied(b, o)
	s := opened(b, o)
	now := time.Now().UTC().Truncate(time.Millisecond)
	var ids []storage.ID
	for n := range touchBatch {
		rec := storage.Record{Token: storage.Token{ID: storage.ID{1, byte(n >> 8), byte(n)}, Subject: fmt.Sprint(n), IssuedAt: now, LastUsedAt: now, ExpiresAt: now.Add(24 * time.Hour)}}
		tag := storage.ShardTag(rec.Subject)
		rec.ID[14], rec.ID[15] = tag[0], tag[1]
		if err := s.Update(b.Context(), rec.Subject, func(tx storage.Tx) error { return tx.Put(rec) }); err != nil {
			b.Fatal(err)
		}
		ids = append(ids, rec.ID)
	}
	one := "UPDATE " + newNames(o.Schema).token + " SET used = greatest(used, $3), expires = greatest(expires, least($4, cap)) WHERE id = $1 AND tag = $2"
	var flush, updates time.Duration
	for n := range b.N {
		use := storage.Use{At: now.Add(time.Duration(2*n+1) * time.Second), ExpiresAt: now.Add(time.Duration(2*n+1)*time.Second + 24*time.Hour)}
		for _, id := range ids {
			s.touches.add(id, use)
		}
		begin := time.Now()
		if err := s.touches.flush(b.Context()); err != nil {
			b.Fatal(err)
		}
		flush += time.Since(begin)
		begin = time.Now()
		for _, id := range ids {
			if _, err := s.pool.Exec(b.Context(), one, uuid(id), tagOf(id), use.At.Add(time.Second).UnixMilli(), use.ExpiresAt.Add(time.Second).UnixMilli()); err != nil {
				b.Fatal(err)
			}
		}
		updates += time.Since(begin)
	}
	b.ReportMetric(flush.Seconds()/updates.Seconds(), "flush/updates")
}
