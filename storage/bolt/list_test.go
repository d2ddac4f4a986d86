package bolt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// putAnas puts the records from and below to, all of one subject. Those below dead
// died as they were issued.
func putAnas(t *testing.T, s *Store, from, to, dead int) {
	t.Helper()
	err := s.Update(context.Background(), "ana", func(tx storage.Tx) error {
		for n := from; n < to; n++ {
			r := record(n)
			r.Subject = "ana"
			if n < dead {
				r.ExpiresAt = r.IssuedAt
			}
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// many is more records than anything in List handles at once.
const many = 128

// TestListAtPageEnds lists as many records as fill pages of List, one less and one
// more.
func TestListAtPageEnds(t *testing.T) {
	path, _ := makeFile(t, 0)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	have := 0
	for _, n := range []int{1, many - 1, many, many + 1, 2*many - 1, 2 * many, 2*many + 1} {
		putAnas(t, s, have, n, 0)
		have = n
		for _, f := range []storage.Filter{{}, {Subject: "ana"}, {ExpiresBefore: record(n).ExpiresAt}} {
			got := 0
			for r, err := range s.List(context.Background(), f) {
				if err != nil || got < n && r.ID != record(got).ID {
					t.Fatalf("%d records, %+v: number %d is %v, %v", n, f, got, r.ID, err)
				}
				if got++; got > n {
					break
				}
			}
			if got != n {
				t.Errorf("%d records, %+v: listed %d", n, f, got)
			}
		}
	}
}

// TestListWhileTheFileMoves rewrites every record in the loop body, and more until
// bbolt maps the file anew: List remembers no place in the old one.
func TestListWhileTheFileMoves(t *testing.T) {
	const records = 3*many + 1
	path, _ := makeFile(t, records)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := 0
	for r, err := range s.List(context.Background(), storage.Filter{}) {
		if err != nil || r.ID != record(got).ID {
			t.Fatalf("number %d is %v, %v", got, r.ID, err)
		}
		if got++; got%many != 0 {
			continue
		}
		for round := range 4 {
			for n := range 7 {
				err := s.Update(context.Background(), record(n).Subject, func(tx storage.Tx) error {
					for i := n; i < records; i += 7 {
						r := record(i)
						r.Data = strings.Repeat(fmt.Sprint(round), storage.MaxData/4*(got/many))
						if err := tx.Put(r); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if got != records {
		t.Errorf("listed %d; want %d", got, records)
	}
}

// TestListWhileItsSubjectIsSwept: what is swept in the loop body does not push
// others out of the way.
func TestListWhileItsSubjectIsSwept(t *testing.T) {
	const dead, records = 10, 2 * many
	next := 0
	path, _ := makeFile(t, 0)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	putAnas(t, s, 0, records, dead)
	got := 0
	for r, err := range s.List(context.Background(), storage.Filter{Subject: "ana"}) {
		if err != nil || r.ID != record(next).ID {
			t.Fatalf("number %d is %v, %v", next, r.ID, err)
		}
		next++
		if got++; got == 1 {
			next = dead
			if n, err := s.Sweep(context.Background(), record(dead).IssuedAt, records); n != dead || err != nil {
				t.Fatalf("Sweep: %d, %v", n, err)
			}
		}
	}
	if want := records - dead + 1; got != want {
		t.Errorf("listed %d; want %d: the first, and what was not swept", got, want)
	}
}

// TestListErrorIsTheLastPair ends the context after the first of three pages.
func TestListErrorIsTheLastPair(t *testing.T) {
	path, _ := makeFile(t, 0)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	putAnas(t, s, 0, 3*many, 0)
	for _, f := range []storage.Filter{{}, {Subject: "ana"}, {ExpiresBefore: record(0).ExpiresAt.AddDate(1, 0, 0)}} {
		ctx, cancel := context.WithCancel(context.Background())
		var errs []error
		for _, err := range s.List(ctx, f) {
			cancel()
			if err != nil || len(errs) > 0 {
				errs = append(errs, err)
			}
		}
		cancel()
		if len(errs) != 1 || !errors.Is(errs[0], context.Canceled) {
			t.Errorf("%+v: %v; want one error, at the end", f, errs)
		}
	}
}
