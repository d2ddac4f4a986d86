package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestCompactThatFails changes nothing, leaves nothing, and fails nobody else.
func TestCompactThatFails(t *testing.T) {
	ctx := context.Background()
	for _, row := range []struct {
		name  string
		spoil func(path string) (mend func() error, err error)
		want  error
	}{
		{"the file is gone", func(path string) (func() error, error) {
			return func() error { return os.Rename(path+".away", path) }, os.Rename(path, path+".away")
		}, ErrReplaced},
		{"another one is in its place", func(path string) (func() error, error) {
			err := errors.Join(os.Rename(path, path+".away"), os.WriteFile(path, []byte("another"), 0o600))
			return func() error { return os.Rename(path+".away", path) }, err
		}, ErrReplaced},
		{"the folder is gone", func(path string) (func() error, error) {
			dir := filepath.Dir(path)
			return func() error { return os.Rename(dir+".away", dir) }, os.Rename(dir, dir+".away")
		}, ErrReplaced},
	} {
		path, _ := makeFile(t, 100)
		s := open(t, path, nil)
		before := readFile(t, path)
		mend, err := row.spoil(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Compact(ctx); !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, row.want) {
			t.Errorf("%s: %v; want ErrUnavailable and %v", row.name, err, row.want)
		}
		if err := mend(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before, readFile(t, path)) {
			t.Errorf("%s: the file has changed", row.name)
		}
		nothingBeside(t, path)
		put(t, s, record(200))
		if err := s.Compact(ctx); err != nil {
			t.Errorf("%s: afterwards: %v", row.name, err)
		}
	}
}

// longName moves the file where no name is left for another one beside it.
func longName(t *testing.T, path string) string {
	t.Helper()
	long := filepath.Join(filepath.Dir(path), strings.Repeat("x", 250))
	if err := os.Rename(path, long); err != nil {
		t.Fatal(err)
	}
	return long
}

// TestUpdateBehindACompactThatFails is none of its business.
func TestUpdateBehindACompactThatFails(t *testing.T) {
	path, _ := makeFile(t, 100)
	path = longName(t, path)
	s := open(t, path, nil)
	before := readFile(t, path)
	s.turn.Take()
	r := record(200)
	tx := s.stage.Begin(r.Subject)
	if err := tx.Put(r); err != nil {
		t.Fatal(err)
	}
	o := new(op)
	if err := o.put(r.Subject, tx.Writes()); err != nil {
		t.Fatal(err)
	}
	compacts := s.enqueue(&op{alone: (*log).compact})
	puts := s.enqueue(o)
	s.turn.Give()
	<-compacts.done
	if err := compacts.ops[0].err; !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Compact: %v; want ErrUnavailable", err)
	}
	if err := s.await(puts, o, nil); err != nil {
		t.Errorf("Update: %v", err)
	}
	nothingBeside(t, path)
	if bytes.Equal(before, readFile(t, path)) {
		t.Error("the Update changed nothing")
	}
}
