package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-55daa01a/lapse/storage"
)

// numbered returns a record of ana whose ID has n and the tag of ana.
func numbered(n byte) storage.Record {
	issued := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	id := storage.ID{1, 6: 0x70, 8: 0x80, 13: n}
	tag := storage.ShardTag("ana")
	copy(id[14:], tag[:])
	return storage.Record{
		Token:  storage.Token{ID: id, Prefix: "lapse", Subject: "ana", IssuedAt: issued, ExpiresAt: issued.Add(time.Hour)},
		TTL:    time.Hour,
		Digest: storage.NewDigest(storage.SHA256, [32]byte{n}),
	}
}

func revoked(r storage.Record) storage.Record {
	r.EndedAt, r.EndReason = r.IssuedAt.Add(time.Second), storage.EndRevoked
	return r
}

func puts(rs ...storage.Record) func(storage.Tx) error {
	return func(tx storage.Tx) error {
		for _, r := range rs {
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	}
}

// issues puts r as Issue does.
func issues(r storage.Record) func(storage.Tx) error {
	return func(tx storage.Tx) error {
		if tx.(storage.Fitter).PutIfFits(&r, 10, r.IssuedAt) {
			return nil
		}
		return tx.Put(r)
	}
}

// doubtful are the kinds of writes whose connection may break. old says that there is a record before.
var doubtful = []struct {
	name string
	old  bool
	fn   func(storage.Tx) error
}{
	{"first put", false, puts(numbered(2))},
	{"first issue", false, issues(numbered(2))},
	{"issue", true, issues(numbered(2))},
	{"end", true, puts(revoked(numbered(1)))},
	{"deletion", true, func(tx storage.Tx) error { return tx.Delete(numbered(1).ID) }},
}

// resolving returns an empty store, with a record if old is set.
func resolving(t *testing.T, old bool) *Store {
	t.Helper()
	o := &Options{Schema: "resolve"}
	emptied(t, o)
	s := opened(t, o)
	if old {
		if err := s.Update(t.Context(), "ana", puts(numbered(1))); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// prepare returns a run of fn, and what it would commit.
func prepare(t *testing.T, s *Store, fn func(storage.Tx) error) (*tx, *change) {
	t.Helper()
	x := s.newTx(t.Context(), s.pool, "ana")
	x.mayFit = true
	if err := x.run(fn); err != nil {
		t.Fatal(err)
	}
	c, err := x.change()
	if err != nil {
		t.Fatal(err)
	}
	return x, c
}

// send commits c, and returns the server's answer.
func send(t *testing.T, s *Store, x *tx, c *change) error {
	t.Helper()
	conn, err := s.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	return s.commitAlone(t.Context(), x, c, conn)
}

// living describes all living records of s.
func living(t *testing.T, s *Store) (text string) {
	t.Helper()
	for r, err := range s.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.EndedAt.IsZero() {
			text += r.ID.String() + " "
		}
	}
	return text
}

// TestLostAnswer resolves a commit that has landed.
func TestLostAnswer(t *testing.T) {
	for _, row := range doubtful {
		t.Run(row.name, func(t *testing.T) {
			s := resolving(t, row.old)
			x, c := prepare(t, s, row.fn)
			if err := send(t, s, x, c); err != nil {
				t.Fatal(err)
			}
			before := living(t, s)
			if err := s.resolve(t.Context(), c); err != nil {
				t.Errorf("the commit landed, and resolve = %v", err)
			}
			if after := living(t, s); after != before {
				t.Errorf("resolve changed what lives from %s to %s", before, after)
			}
		})
	}
}

// TestFencedCommitNeverLands sends a commit behind its resolution, as a slow network would.
func TestFencedCommitNeverLands(t *testing.T) {
	for _, row := range doubtful {
		t.Run(row.name, func(t *testing.T) {
			s := resolving(t, row.old)
			before := living(t, s)
			x, c := prepare(t, s, row.fn)
			if err := s.resolve(t.Context(), c); !errors.Is(err, errNeverWritten) {
				t.Fatalf("resolve of a commit that was not sent = %v", err)
			}
			if err := send(t, s, x, c); err == nil {
				t.Error("the commit landed behind its fence")
			}
			if after := living(t, s); after != before {
				t.Errorf("lives %s, want %s", after, before)
			}
		})
	}
}

// TestFencedTwice resolves a commit again that was made impossible: the first answer about that was lost.
func TestFencedTwice(t *testing.T) {
	for _, row := range doubtful {
		t.Run(row.name, func(t *testing.T) {
			s := resolving(t, row.old)
			_, c := prepare(t, s, row.fn)
			for range 2 {
				if err := s.resolve(t.Context(), c); !errors.Is(err, errNeverWritten) {
					t.Errorf("resolve of a commit that was not sent = %v", err)
				}
			}
		})
	}
}

// TestCutCommit ends the connection of a commit that waits for a lock.
func TestCutCommit(t *testing.T) {
	for _, row := range doubtful {
		t.Run(row.name, func(t *testing.T) {
			s := resolving(t, row.old)
			before := living(t, s)
			err := cutWhileHeld(t, s, row.fn)
			if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Errorf("Update = %v, want ErrUnavailable alone", err)
			}
			if after := living(t, s); after != before {
				t.Errorf("lives %s, want %s", after, before)
			}
		})
	}
}

// cutWhileHeld has another transaction lock the table of the subjects, so that the commit waits, and ends
// the connection of the commit.
func cutWhileHeld(t *testing.T, s *Store, fn func(storage.Tx) error) error {
	t.Helper()
	ctx, admin, table := t.Context(), adminPool(t), newNames(s.options.Schema).subject
	hold, err := admin.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Rollback(context.WithoutCancel(ctx))
	if _, err := hold.Exec(ctx, "LOCK TABLE "+table+" IN SHARE ROW EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Update(ctx, "ana", fn) }()
	for cut := false; !cut; {
		err := admin.QueryRow(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE wait_event_type = 'Lock' AND strpos(query, $1) > 0 AND pid <> pg_backend_pid()`, table).Scan(&cut)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			t.Fatal(err)
		}
		if cut { // and so the Update may be back
			break
		}
		select {
		case err := <-done:
			t.Fatalf("the Update did not wait: %v", err)
		default:
		}
	}
	if err := hold.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	return <-done
}

// TestOvertakenDoubt resolves a commit whose subject has changed since.
func TestOvertakenDoubt(t *testing.T) {
	for _, row := range []struct {
		landed bool
		later  int
		want   error
	}{
		{true, 0, nil}, {true, 1, nil}, {true, 2, storage.ErrOutcomeUnknown},
		{false, 0, errNeverWritten}, {false, 1, errNeverWritten}, {false, 2, storage.ErrOutcomeUnknown},
	} {
		t.Run(fmt.Sprintf("landed=%v/later=%d", row.landed, row.later), func(t *testing.T) {
			s := resolving(t, true)
			x, c := prepare(t, s, puts(revoked(numbered(1))))
			if row.landed {
				if err := send(t, s, x, c); err != nil {
					t.Fatal(err)
				}
			}
			for i := range row.later {
				if err := s.Update(t.Context(), "ana", puts(numbered(byte(2+i)))); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.resolve(t.Context(), c); !errors.Is(err, row.want) {
				t.Errorf("resolve = %v, want %v", err, row.want)
			}
		})
	}
}

// TestUpdateIDBehindADoubt: an Update by ID that begins while an end is in doubt, and that writes nothing, sees what
// became of the end.
func TestUpdateIDBehindADoubt(t *testing.T) {
	o := resolving(t, true).options
	s := opened(t, &o) // which has no copy of the record
	end := locked(t, "SELECT FROM "+newNames("resolve").subject+" FOR UPDATE")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Update(ctx, "ana", puts(revoked(numbered(1)))) }()
	waits := says(t, dsn(t), "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
	eventually(t, "the end waits for the lock", waits)
	cancel()
	if err := <-ended; !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	var rec storage.Record
	done := make(chan error, 1)
	go func() {
		done <- s.UpdateID(t.Context(), numbered(1).ID, func(tx storage.Tx) (err error) {
			rec, err = tx.Get(numbered(1).ID)
			return err
		})
	}()
	eventually(t, "the Update waits for the same lock", says(t, dsn(t), "SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
	end()
	if err := <-done; err != nil || rec.EndedAt.IsZero() {
		t.Errorf("UpdateID = %v, and the record has the end %v; want the end that was in doubt", err, rec.EndedAt)
	}
}
