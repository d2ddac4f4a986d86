package postgres

import (
	"encoding/binary"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-55daa01a/lapse/storage"
)

var spaceRows = flag.Int("rows", 60_000, "how many tokens TestBytesOfAToken stores")

// TestBytesOfAToken: a token takes at most 450 bytes, with its indexes and its share of the row of its
// subject, of whom each has three tokens.
func TestBytesOfAToken(t *testing.T) {
	o := &Options{Schema: "space"}
	emptied(t, o)
	pool, n := adminPool(t), newNames(o.Schema)
	issued := time.UnixMilli(1_800_000_000_000).UTC()
	token := func(i int) ([]any, error) {
		subject := fmt.Sprintf("someone-%06d@example", i/3)
		at := issued.Add(time.Duration(i) * time.Millisecond)
		id := storage.ID{6: 0x70, 8: 0x80}
		binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16)
		binary.BigEndian.PutUint32(id[9:], uint32(i)*2654435761)
		tag := storage.ShardTag(subject)
		copy(id[14:], tag[:])
		r := storage.Record{TTL: 30 * time.Minute, Digest: storage.NewDigest(storage.SHA256, [32]byte{byte(i), 1})}
		r.ID, r.Prefix, r.Subject, r.IssuedAt = id, "lapse", subject, at
		r.ExpiresAt, r.MaxExpiresAt = at.Add(30*time.Minute), at.Add(720*time.Hour)
		c, err := columnsOf(&r)
		return []any{subjectKey(subject), c.used, c.expires, c.live, c.sweep, c.cap, c.ended, [16]byte(id), tagOf(id), c.body}, err
	}
	_, err := pool.CopyFrom(t.Context(), pgx.Identifier{o.Schema, "token"},
		[]string{"subject_key", "used", "expires", "live", "sweep", "cap", "ended", "id", "tag", "body"}, pgx.CopyFromSlice(*spaceRows, token))
	if err != nil {
		t.Fatal(err)
	}
	_, err = pool.CopyFrom(t.Context(), pgx.Identifier{o.Schema, "subject"}, []string{"subject_key", "rev", "prev", "counted", "tokens"},
		pgx.CopyFromSlice(*spaceRows/3, func(i int) ([]any, error) {
			return []any{subjectKey(fmt.Sprintf("someone-%06d@example", i)), int64(i), int64(i), int64(1_800_000_000_000), int64(3)}, nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	var heap, indexes, subjects float64
	err = pool.QueryRow(t.Context(), "SELECT pg_table_size($1), pg_indexes_size($1), pg_total_relation_size($2)", n.token, n.subject).Scan(&heap, &indexes, &subjects)
	if err != nil {
		t.Fatal(err)
	}
	rows := float64(*spaceRows)
	t.Logf("%d tokens: %.0f bytes of rows, %.0f of indexes, %.0f of subjects; %.0f in all", *spaceRows, heap/rows, indexes/rows, subjects/rows, (heap+indexes+subjects)/rows)
	if all := (heap + indexes + subjects) / rows; all > 450 {
		t.Errorf("%.0f bytes a token, want 450 at most", all)
	}
}
