package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// copying returns two stores on the same tables. The first one has put a record of "ana", and keeps a copy.
func copying(t *testing.T) (s, other *Store, id storage.ID) {
	t.Helper()
	o := &Options{Schema: "copying", FlushEvery: time.Hour}
	emptied(t, o)
	s, other = opened(t, o), opened(t, o)
	r := numbered(1)
	if err := s.Update(t.Context(), r.Subject, issues(r)); err != nil {
		t.Fatal(err)
	}
	if !s.hasCopy(r.ID) {
		t.Fatal("there is no copy of a record that was just put")
	}
	return s, other, r.ID
}

func (s *Store) hasCopy(id storage.ID) bool {
	row := s.copies.slot(tagBytes(id)).Load()
	return row != nil && row.id == id
}

// edits changes the record of id by f.
func edits(id storage.ID, f func(*storage.Record)) func(storage.Tx) error {
	return func(tx storage.Tx) error {
		r, err := tx.Get(id)
		if err != nil {
			return err
		}
		f(&r)
		return tx.Put(r)
	}
}

func named(name string) func(*storage.Record) {
	return func(r *storage.Record) { r.Name += name }
}

// TestOldCopyIsFound changes the store behind a copy. An UpdateID then sees what is stored, and keeps it. The
// row "planted" gives the old copy the rev of the header: the test finds that the other's change is lost.
func TestOldCopyIsFound(t *testing.T) {
	use := storage.Use{At: numbered(1).IssuedAt.Add(time.Minute), ExpiresAt: numbered(1).ExpiresAt.Add(time.Minute)}
	used := storage.Record{Token: storage.Token{Name: "+", LastUsedAt: use.At, ExpiresAt: use.ExpiresAt}}
	as := func(name string) storage.Record {
		r := numbered(1)
		r.Name = name
		return r
	}
	for _, row := range []struct {
		name      string
		meanwhile func(ctx context.Context, s, other *Store, id storage.ID) error
		runs      int            // of the function of UpdateID
		want      storage.Record // its name, its last use and its expiry
		err       error
	}{
		{"nothing", func(context.Context, *Store, *Store, storage.ID) error { return nil }, 1, as("+"), nil},
		{"another edits", func(ctx context.Context, _, other *Store, id storage.ID) error {
			return other.Update(ctx, "ana", edits(id, named("other")))
		}, 2, as("other+"), nil},
		{"planted", func(ctx context.Context, s, other *Store, id storage.ID) error {
			own := *s.copies.slot(tagBytes(id)).Load()
			if err := other.Update(ctx, "ana", edits(id, named("other"))); err != nil {
				return err
			}
			err := s.pool.QueryRow(ctx, s.sql.header, subjectKey("ana")).Scan(&own.rev, nil)
			s.copies.keep(tagBytes(id), &own)
			return err
		}, 1, as("+"), nil},
		{"another issues", func(ctx context.Context, _, other *Store, _ storage.ID) error {
			return other.Update(ctx, "ana", issues(numbered(2)))
		}, 2, as("+"), nil},
		{"another touches", func(ctx context.Context, _, other *Store, id storage.ID) error {
			return other.Touch(ctx, id, use)
		}, 2, used, nil},
		{"another deletes", func(ctx context.Context, _, other *Store, id storage.ID) error {
			return other.Update(ctx, "ana", func(tx storage.Tx) error { return tx.Delete(id) })
		}, 1, storage.Record{}, storage.ErrNotFound},
		{"another sweeps, and the header stays", func(ctx context.Context, s, other *Store, id storage.ID) error {
			long := numbered(2)
			long.ExpiresAt = use.ExpiresAt.Add(time.Hour)
			if err := s.Update(ctx, "ana", issues(long)); err != nil {
				return err
			}
			if err := s.UpdateID(ctx, id, edits(id, named(""))); err != nil {
				return err
			}
			n, err := other.Sweep(ctx, use.ExpiresAt, 10)
			if n != 1 || !s.hasCopy(id) {
				return fmt.Errorf("%d rows are swept, %v, and a copy is kept: %t", n, err, s.hasCopy(id))
			}
			return nil
		}, 1, storage.Record{}, storage.ErrNotFound},
		{"the tables are emptied", func(_ context.Context, s, _ *Store, _ storage.ID) error {
			emptied(t, &s.options)
			return nil
		}, 1, storage.Record{}, storage.ErrNotFound},
		{"this store touches", func(ctx context.Context, s, _ *Store, id storage.ID) error { return s.Touch(ctx, id, use) }, 1, used, nil},
		{"this store defers a touch", func(ctx context.Context, s, _ *Store, id storage.ID) error {
			s.touches.seen(id, numbered(1).ExpiresAt.Add(24*time.Hour).UnixMilli())
			return s.Touch(ctx, id, use)
		}, 1, used, nil},
		{"this store edits", func(ctx context.Context, s, _ *Store, id storage.ID) error {
			return s.UpdateID(ctx, id, edits(id, named("own")))
		}, 1, as("own+"), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, other, id := copying(t)
			if err := row.meanwhile(t.Context(), s, other, id); err != nil {
				t.Fatal(err)
			}
			runs := 0
			err := s.UpdateID(t.Context(), id, func(tx storage.Tx) error {
				runs++
				return edits(id, named("+"))(tx)
			})
			if !errors.Is(err, row.err) || runs != row.runs {
				t.Errorf("UpdateID = %v in %d runs, want %v in %d", err, runs, row.err, row.runs)
			}
			r, err := other.Get(t.Context(), id)
			if !errors.Is(err, row.err) || r.Name != row.want.Name || !r.LastUsedAt.Equal(row.want.LastUsedAt) || !r.ExpiresAt.Equal(row.want.ExpiresAt) {
				t.Errorf("there is %v, %v; want %v, %v", r, err, row.want, row.err)
			}
		})
	}
}

// TestRunOnOldCopy: whatever fn does on an old copy, it does in the end on what is stored.
func TestRunOnOldCopy(t *testing.T) {
	errMine := errors.New("mine")
	second := numbered(2)
	for name, fn := range map[string]func(tx storage.Tx, r storage.Record) error{
		"fails":          func(storage.Tx, storage.Record) error { return errMine },
		"writes nothing": func(storage.Tx, storage.Record) error { return nil },
		"reads another":  func(tx storage.Tx, _ storage.Record) error { _, err := tx.Get(second.ID); return err },
		"reads all": func(tx storage.Tx, _ storage.Record) error {
			for r, err := range tx.Records() {
				if err != nil || r.Name == "" && r.ID != second.ID {
					return fmt.Errorf("Records yields %v, %v", r, err)
				}
			}
			return nil
		},
		"deletes":          func(tx storage.Tx, r storage.Record) error { return tx.Delete(r.ID) },
		"puts another":     func(tx storage.Tx, r storage.Record) error { return errors.Join(tx.Put(r), tx.Put(numbered(3))) },
		"ignores an error": func(tx storage.Tx, r storage.Record) error { _, _ = tx.Get(second.ID); return tx.Put(r) },
	} {
		t.Run(name, func(t *testing.T) {
			s, other, id := copying(t)
			if err := other.Update(t.Context(), "ana", func(tx storage.Tx) error {
				return errors.Join(edits(id, named("other"))(tx), tx.Put(second))
			}); err != nil {
				t.Fatal(err)
			}
			var last string
			err := s.UpdateID(t.Context(), id, func(tx storage.Tx) error {
				r, err := tx.Get(id)
				last = r.Name
				return errors.Join(err, fn(tx, r))
			})
			if last != "other" {
				t.Errorf("the last run has read %q, want what is stored", last)
			}
			if name == "fails" != errors.Is(err, errMine) || name != "fails" && err != nil {
				t.Errorf("UpdateID = %v", err)
			}
			if r, err := other.Get(t.Context(), id); name == "deletes" != errors.Is(err, storage.ErrNotFound) || err == nil && r.Name != "other" {
				t.Errorf("there is %q, %v", r.Name, err)
			}
		})
	}
}

// TestCopiesThatAreKept: a store keeps a copy of one row that it has certainly written, if that is short and
// has no end.
func TestCopiesThatAreKept(t *testing.T) {
	s, _, id := copying(t)
	long := func(n int) func(*storage.Record) {
		return func(r *storage.Record) { r.Data = string(make([]byte, n)) }
	}
	r, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	room := maxCopied
	for ; ; room-- {
		long(room)(&r)
		if col, err := columnsOf(&r); err != nil || len(col.body) <= maxCopied {
			break
		}
	}
	for _, row := range []struct {
		name string
		fn   func(storage.Tx) error
		err  error // that the commit is told with
		want bool
	}{
		{"one row", edits(id, named("")), nil, true},
		{"as long as may be", edits(id, long(room)), nil, true},
		{"longer", edits(id, long(room+1)), nil, false},
		{"of unknown outcome", edits(id, named("")), storage.ErrOutcomeUnknown, false},
		{"overtaken", edits(id, named("")), errOvertaken, false},
		{"refused", edits(id, named("")), storage.ErrUnavailable, false},
		{"two rows", puts(numbered(1), numbered(2)), nil, false},
		{"an end", puts(revoked(numbered(1))), nil, false},
		{"a deletion", func(tx storage.Tx) error { return tx.Delete(id) }, nil, false},
	} {
		_, c := prepare(t, s, row.fn)
		s.copies.keep(c.tag, &copied{id: id})
		_ = s.tell(c, row.err)
		if got := s.hasCopy(id); got != row.want {
			t.Errorf("%s: a copy is kept: %t, want %t", row.name, got, row.want)
		}
	}
}

// TestCountByCopies: of many edits by the copies of two stores, and renewals amid them, none is lost.
func TestCountByCopies(t *testing.T) {
	s, other, id := copying(t)
	const each, callers = 10, 3
	gate := make(chan struct{})
	var all sync.WaitGroup
	for i := range 2 * callers {
		of := []*Store{s, other}[i%2]
		all.Go(func() {
			<-gate
			for n := range each {
				if err := of.UpdateID(t.Context(), id, edits(id, named("+"))); err != nil {
					t.Error(err)
				}
				at := numbered(1).IssuedAt.Add(time.Duration(each*i+n) * time.Second)
				if err := of.Touch(t.Context(), id, storage.Use{At: at, ExpiresAt: numbered(1).ExpiresAt}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	close(gate)
	all.Wait()
	r, err := s.Get(t.Context(), id)
	last := numbered(1).IssuedAt.Add((2*callers*each - 1) * time.Second)
	if err != nil || len(r.Name) != 2*callers*each || !r.LastUsedAt.Equal(last) {
		t.Errorf("%d edits and the last use %v, %v; want %d and %v", len(r.Name), r.LastUsedAt, err, 2*callers*each, last)
	}
}
