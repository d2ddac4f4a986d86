package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

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
		put(t, s, record(200))
		if err := s.Compact(ctx); err != nil {
			t.Errorf("%s: afterwards: %v", row.name, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: Close: %v", row.name, err)
		}
		os.Remove(path + ".away")
		nothingBeside(t, path)
	}
}

// TestCompactThatFailsByItself changes nothing, and what others write meanwhile goes on.
func TestCompactThatFailsByItself(t *testing.T) {
	for _, logged := range []bool{false, true} {
		path, _ := makeFile(t, 100)
		s := open(t, path, &Options{logAtOnce: logged, NoLog: !logged})
		put(t, s, record(100))
		commits := 0
		for fails := 0; ; fails++ {
			s.tree.Turn.Take()
			commits = 0
			s.tree.CommitTx = func(btx *bbolt.Tx) error {
				if btx.DB().Path() != s.tree.Path {
					if commits++; commits == fails+1 {
						return errDisk
					}
				}
				return btx.Commit()
			}
			s.tree.Turn.Give()
			put(t, s, record(200+fails))
			err := s.Compact(context.Background())
			if commits <= fails {
				if err != nil {
					t.Errorf("with a disk in order: %v", err)
				}
				s.tree.Turn.Take()
				s.tree.CommitTx = (*bbolt.Tx).Commit
				s.tree.Turn.Give()
				break
			}
			if !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, errDisk) {
				t.Errorf("commit %d of the new file fails: %v; want ErrUnavailable", fails, err)
			}
			if st := s.Stats(); st.Err != nil {
				t.Errorf("afterwards: %v", st.Err)
			}
		}
		if commits < 2 {
			t.Errorf("the new file had %d commits", commits)
		}
		put(t, s, record(300))
		records, _ := contents(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		nothingBeside(t, path)
		if again, _ := contents(t, open(t, path, nil)); !cmp.Equal(records, again) {
			t.Errorf("opened again (-before +after):\n%s", cmp.Diff(records, again))
		}
	}
}
