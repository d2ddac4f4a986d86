package bolt

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/recovery"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/storage"
)

// bboltTool runs the bbolt command, which the environment variable BBOLT names, or else PATH
// has.
func bboltTool(t *testing.T, args ...string) string {
	t.Helper()
	name := os.Getenv("BBOLT")
	if name == "" {
		name = "bbolt"
	}
	tool, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("LAPSE_REQUIRE_ALL") == "1" {
			t.Fatal(err)
		}
		t.Skipf("no bbolt command: go install go.etcd.io/bbolt/cmd/bbolt@v1.5.0, or name it in BBOLT: %v", err)
	}
	out, err := exec.Command(tool, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("bbolt %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// surgery has the command bring its output to path.
func surgery(t *testing.T, path string, args ...string) {
	t.Helper()
	bboltTool(t, slices.Concat([]string{"surgery"}, args, []string{path, "--output", path + ".out"})...)
	if err := os.Rename(path+".out", path); err != nil {
		t.Fatal(err)
	}
}

func compactByTool(t *testing.T, path string) {
	t.Helper()
	bboltTool(t, "compact", "-o", path+".out", path)
	if err := os.Rename(path+".out", path); err != nil {
		t.Fatal(err)
	}
}

// foreign has another program commit to the file at path, n times.
func foreign(t *testing.T, path string, opts *bbolt.Options, n int, change func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, opts)
	for range n {
		if err == nil {
			err = db.Update(change)
		}
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func idle(*bbolt.Tx) error { return nil }

func otherBucket(btx *bbolt.Tx) error {
	b, err := btx.CreateBucketIfNotExists([]byte("of another program"))
	if err != nil {
		return err
	}
	n, err := b.NextSequence()
	return errors.Join(err, b.Put(fmt.Append(nil, n), bytes.Repeat([]byte("x"), 3000)))
}

// changing returns what has another program change what tree.TokensBucket has of key.
func changing(change func(b *bbolt.Bucket, key []byte) error, key storage.ID) func(*bbolt.Tx) error {
	return func(btx *bbolt.Tx) error { return change(btx.Bucket([]byte(tree.TokensBucket)), key[:]) }
}

// TestOtherPrograms: a closed store that another program has used is what it was, or refused
// if its records are not the same.
func TestOtherPrograms(t *testing.T) {
	remove := func(b *bbolt.Bucket, key []byte) error { return b.Delete(key) }
	older := func(b *bbolt.Bucket, key []byte) error {
		r := record(7)
		r.Name = "as it was before"
		v, err := encode(&r)
		return errors.Join(err, b.Put(key, v))
	}
	added := record(5000)
	for _, row := range []struct {
		name    string
		use     func(t *testing.T, path string)
		changes bool
	}{
		{"check", func(t *testing.T, path string) { bboltTool(t, "check", path) }, false},
		{"compact", compactByTool, false},
		{"compact twice", func(t *testing.T, path string) { compactByTool(t, path); compactByTool(t, path) }, false},
		{"revert-meta-page", func(t *testing.T, path string) { surgery(t, path, "revert-meta-page") }, false},
		{"freelist abandon", func(t *testing.T, path string) { surgery(t, path, "freelist", "abandon") }, false},
		{"freelist rebuild", func(t *testing.T, path string) {
			surgery(t, path, "freelist", "abandon")
			surgery(t, path, "freelist", "rebuild")
		}, false},
		{"abandon and revert", func(t *testing.T, path string) {
			surgery(t, path, "freelist", "abandon")
			surgery(t, path, "revert-meta-page")
		}, false},
		{"abandon and compact", func(t *testing.T, path string) {
			surgery(t, path, "freelist", "abandon")
			compactByTool(t, path)
		}, false},
		{"a commit to another bucket", func(t *testing.T, path string) { foreign(t, path, nil, 1, otherBucket) }, false},
		{"two commits", func(t *testing.T, path string) { foreign(t, path, nil, 2, otherBucket) }, false},
		{"five commits", func(t *testing.T, path string) { foreign(t, path, nil, 5, otherBucket) }, false},
		{"an empty commit", func(t *testing.T, path string) { foreign(t, path, nil, 1, idle) }, false},
		{"two empty commits", func(t *testing.T, path string) { foreign(t, path, nil, 2, idle) }, false},
		{"NoFreelistSync", func(t *testing.T, path string) {
			foreign(t, path, &bbolt.Options{NoFreelistSync: true}, 1, otherBucket)
		}, false},
		{"NoFreelistSync, and revert", func(t *testing.T, path string) {
			foreign(t, path, &bbolt.Options{NoFreelistSync: true}, 2, otherBucket)
			surgery(t, path, "revert-meta-page")
		}, false},
		{"a copy by Tx.WriteTo", func(t *testing.T, path string) {
			db, err := bbolt.Open(path, 0o600, nil)
			if err == nil {
				err = db.View(func(btx *bbolt.Tx) error { return btx.CopyFile(path+".out", 0o600) })
			}
			if err := errors.Join(err, db.Close(), os.Rename(path+".out", path)); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"a record is removed", func(t *testing.T, path string) {
			foreign(t, path, nil, 1, changing(remove, record(7).ID))
		}, true},
		{"two records are removed, and others commit", func(t *testing.T, path string) {
			foreign(t, path, nil, 1, changing(remove, record(7).ID))
			foreign(t, path, nil, 3, changing(remove, record(8).ID))
		}, true},
		{"a record is changed", func(t *testing.T, path string) {
			foreign(t, path, nil, 1, changing(older, record(7).ID))
		}, true},
		{"a record is added", func(t *testing.T, path string) {
			foreign(t, path, nil, 2, func(btx *bbolt.Tx) error {
				v, err := encode(&added)
				return errors.Join(err, btx.Bucket([]byte(tree.TokensBucket)).Put(added.ID[:], v))
			})
		}, true},
		{"a record is removed, and the file compacted", func(t *testing.T, path string) {
			foreign(t, path, nil, 1, changing(remove, record(7).ID))
			compactByTool(t, path)
		}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			path, _ := makeFileIn(t, quickDir(t), 300)
			want := make(map[storage.ID]storage.Record)
			for n := range 300 {
				want[record(n).ID] = record(n)
			}
			row.use(t, path)
			opts := Options{logAtOnce: true}
			if row.changes {
				refusedAs(t, path, nil, recovery.ErrChanged)
				opts.Repair = true
				want = nil
			}
			for n := range 3 {
				s := open(t, path, &opts)
				got, damaged := contents(t, s)
				if want == nil {
					want = got
				}
				if !cmp.Equal(want, got) || len(damaged) > 0 || s.Stats().Repaired != opts.Repair {
					t.Fatalf("opened %d: repaired %v, %d damaged (-want +got):\n%s", n, s.Stats().Repaired, len(damaged), cmp.Diff(want, got))
				}
				opts.Repair = false
				put(t, s, record(1000+n))
				want[record(1000+n).ID] = record(1000 + n)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			bboltTool(t, "check", path)
		})
	}
}

// refusedAs is refused for one error of this package, with files that stay as they are.
func refusedAs(t *testing.T, path string, opts *Options, want error) {
	t.Helper()
	before := folder(t, filepath.Dir(path))
	s, err := Open(path, opts)
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, want) {
		t.Errorf("Open: %v; want %v", err, want)
	}
	if after := folder(t, filepath.Dir(path)); !maps.Equal(before, after) {
		t.Errorf("its folder was %d files and is %d, or they are not the same", len(before), len(after))
	}
}

// folder returns what each file of a directory holds.
func folder(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			files[e.Name()] = string(readFile(t, filepath.Join(dir, e.Name())))
		}
	}
	return files
}

// TestKeysByTool: the bbolt command shows every record of a closed store.
func TestKeysByTool(t *testing.T) {
	path, _ := makeFile(t, 50)
	keys := strings.Fields(bboltTool(t, "keys", "--format", "hex", path, tree.TokensBucket))
	var want []string
	for n := range 50 {
		id := record(n).ID
		want = append(want, hex.EncodeToString(id[:]))
	}
	if !slices.Equal(keys, want) {
		t.Errorf("%d keys; want %d: %v", len(keys), len(want), keys)
	}
}

// crashedStore returns the path of a store whose process is gone with a log left, and what was
// acknowledged: n records in the file and as many more in the log, where the first of those in the file is ended.
func crashedStore(t *testing.T, n int) (path string, want map[storage.ID]storage.Record) {
	t.Helper()
	from, _ := makeFileIn(t, quickDir(t), 0)
	s := open(t, from, &Options{logAtOnce: true})
	for i := range n {
		put(t, s, record(i))
	}
	if err := s.checkpoint(true); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		put(t, s, record(n+i))
	}
	put(t, s, ended0())
	path = filepath.Join(quickDir(t), "tokens.db")
	copyStoreTo(t, from, path)
	want, _ = contents(t, s)
	return path, want
}

// ended0 is record 0 as crashedStore has it in the log.
func ended0() storage.Record {
	r := record(0)
	r.EndedAt, r.EndReason = r.IssuedAt, storage.EndRevoked
	return r
}

// TestToolsOnACrashedStore: what the bbolt command does to the file of a process that crashed
// loses nothing of what is in the log, unless Open says so.
func TestToolsOnACrashedStore(t *testing.T) {
	for _, row := range []struct {
		name string
		use  func(t *testing.T, path string)
		want []error // nil: it opens
	}{
		{"nothing", func(*testing.T, string) {}, []error{nil}},
		{"check", func(t *testing.T, path string) { bboltTool(t, "check", path) }, []error{nil}},
		{"compact", compactByTool, []error{nil}},
		{"revert-meta-page", func(t *testing.T, path string) { surgery(t, path, "revert-meta-page") }, []error{nil, storage.ErrCorrupt}},
		{"freelist abandon", func(t *testing.T, path string) { surgery(t, path, "freelist", "abandon") }, []error{nil}},
		{"a commit of another program", func(t *testing.T, path string) { foreign(t, path, nil, 1, otherBucket) }, []error{nil}},
	} {
		t.Run(row.name, func(t *testing.T) {
			path, want := crashedStore(t, 20)
			row.use(t, path)
			s, err := Open(path, nil)
			if !slices.ContainsFunc(row.want, func(want error) bool { return errors.Is(err, want) }) {
				t.Fatalf("Open: %v; want one of %v", err, row.want)
			}
			if err != nil {
				return
			}
			defer s.Close()
			if got, _ := contents(t, s); !cmp.Equal(want, got) {
				t.Errorf("(-want +got):\n%s", cmp.Diff(want, got))
			}
		})
	}
}

// TestCheckPassesAlways: the file passes the command's check after every group and checkpoint
// of a store that is in use.
func TestCheckPassesAlways(t *testing.T) {
	for _, noLog := range []bool{false, true} {
		path, _ := makeFileIn(t, quickDir(t), 0)
		s := open(t, path, &Options{logAtOnce: true, NoLog: noLog})
		for n := range 8 {
			for i := range 10 {
				put(t, s, record(n*10+i))
			}
			if n%3 == 2 {
				if err := s.Compact(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			if !noLog {
				if err := s.checkpoint(true); err != nil {
					t.Fatal(err)
				}
			}
			copied := filepath.Join(filepath.Dir(path), "copy.db")
			copyFile(t, path, copied)
			bboltTool(t, "check", copied)
		}
	}
}
