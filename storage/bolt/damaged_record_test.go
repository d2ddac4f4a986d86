package bolt

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestDamagedRecordIsDenied damages one stored record of three and expects every
// method to deny it and to go on with the others.
func TestDamagedRecordIsDenied(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "tokens.db")
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := record(0), record(7), record(14) // of one subject
	put(t, s, a, b, c)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damage(t, path, b)
	if s, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	if _, err := s.Get(ctx, b.ID); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("Get: %v; want ErrCorrupt", err)
	}
	if err := s.Touch(ctx, b.ID, storage.Use{At: a.ExpiresAt}); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("Touch: %v; want ErrCorrupt", err)
	}
	err = s.Update(ctx, b.Subject, func(tx storage.Tx) error { return tx.Put(b) })
	if !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("Put over it: %v; want ErrCorrupt", err)
	}
	var listed []storage.ID
	for r, err := range s.List(ctx, storage.Filter{}) {
		if errors.Is(err, storage.ErrCorrupt) != (r.ID == b.ID) {
			t.Errorf("List: %v with %v", r.ID, err)
		}
		listed = append(listed, r.ID)
	}
	if diff := cmp.Diff([]storage.ID{a.ID, b.ID, c.ID}, listed); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	var paged []storage.ID
	for after := ""; ; {
		page, next, err := s.Page(ctx, after, 2)
		for i, r := range page {
			if errors.Is(err, storage.ErrCorrupt) != (r.ID == b.ID) || r.ID == b.ID && i != len(page)-1 {
				t.Errorf("Page: %v with %v", r.ID, err)
			}
			paged = append(paged, r.ID)
		}
		if after = next; after == "" {
			break
		}
	}
	slices.SortFunc(paged, storage.ID.Compare)
	if diff := cmp.Diff([]storage.ID{a.ID, b.ID, c.ID}, paged); diff != "" {
		t.Errorf("Page (-want +got):\n%s", diff)
	}
	n, err := s.Sweep(ctx, c.ExpiresAt.Add(time.Hour), 10)
	if n != 2 || err != nil {
		t.Errorf("Sweep: %d, %v; want the 2 sound ones", n, err)
	}
	if _, err := s.Get(ctx, b.ID); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("Get after Sweep: %v; want it kept, and ErrCorrupt", err)
	}
}

// damage flips one bit of the record of id in the file at path, and in all that is left there
// of it. No program may have the file open to write.
func damage(t *testing.T, path string, r storage.Record) {
	t.Helper()
	if err := os.WriteFile(path, damageValue(t, readFile(t, path), r), 0); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedWhileOpen: the table answers, so that a record which is damaged in the
// file while the store is open harms no caller until the file is opened again; and then it is
// denied, and belongs to no subject.
func TestDamagedWhileOpen(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "tokens.db")
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := record(0), record(7), record(14) // of one subject
	put(t, s, a, b, c)
	damage(t, path, b)
	if got, err := s.Get(ctx, b.ID); err != nil || !got.Equal(b) {
		t.Errorf("while it is open: %+v, %v; want it as it was", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if st := s.Stats(); st.Damaged != 1 || st.Tokens != 2 {
		t.Errorf("Stats: %+v; want 1 damaged and 2 that are not", st)
	}
	err = s.Update(ctx, b.Subject, func(tx storage.Tx) error {
		var got []storage.ID
		for r, err := range tx.Records() {
			if err != nil {
				t.Errorf("Records: %v", err)
			}
			got = append(got, r.ID)
		}
		if diff := cmp.Diff([]storage.ID{a.ID, c.ID}, got); diff != "" {
			t.Errorf("Records (-want +got):\n%s", diff)
		}
		if _, err := tx.Get(b.ID); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("Tx.Get: %v; want ErrCorrupt", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
