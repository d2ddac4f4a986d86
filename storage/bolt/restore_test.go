package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/recovery"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestRestore over whatever is at the path: all of the source is there then, and nothing else.
func TestRestore(t *testing.T) {
	over := map[string]func(t *testing.T, path string){
		"nothing": func(*testing.T, string) {},
		"closed": func(t *testing.T, path string) {
			other, _ := makeFile(t, 3)
			copyFile(t, other, path)
		},
		"crashed": func(t *testing.T, path string) {
			other, _ := crashedStore(t, 30)
			copyStoreTo(t, other, path)
		},
		"crashed, with a damaged log": func(t *testing.T, path string) {
			other, _ := crashedStore(t, 30)
			copyFile(t, other, path)
			write(t, logPath(path), []byte("not a log"))
		},
		"a log alone": func(t *testing.T, path string) {
			other, _ := crashedStore(t, 30)
			copyFile(t, logPath(other), logPath(path))
		},
		"a damaged file": func(t *testing.T, path string) { write(t, path, []byte("not a store")) },
		"an empty file":  func(t *testing.T, path string) { write(t, path, nil) },
		"what a crash has left": func(t *testing.T, path string) {
			write(t, filepath.Join(filepath.Dir(path), localfile.TempPrefix(path)+"1"), nil)
		},
		"another program's file":  func(t *testing.T, path string) { write(t, path, otherProgram(t, true)) },
		"an old store":            func(t *testing.T, path string) { old, _ := oldFile(t); copyFile(t, old, path) },
		"a file of another store": func(t *testing.T, path string) { other, _ := makeFile(t, 300); copyFile(t, other, path) },
	}
	for source, make := range readOnlyStores(t) {
		for name, place := range over {
			t.Run(source+" over "+name, func(t *testing.T) {
				from, want := make()
				before := folder(t, filepath.Dir(from))
				path := filepath.Join(t.TempDir(), "tokens.db")
				place(t, path)
				if err := Restore(from, path); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					s := open(t, path, nil)
					if got, _ := contents(t, s); !cmp.Equal(want, got, opaque) || s.Stats().Repaired {
						t.Fatalf("(-want +got):\n%s", cmp.Diff(want, got, opaque))
					}
					put(t, s, record(700))
					want[record(700).ID] = record(700)
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					for beside := range folder(t, filepath.Dir(path)) {
						if beside != "tokens.db" && beside != "tokens.db-lapse.damaged-1" {
							t.Errorf("beside it is %s", beside)
						}
					}
				}
				if after := folder(t, filepath.Dir(from)); !maps.Equal(before, after) {
					t.Error("the source has changed")
				}
			})
		}
	}
}

// TestRestoreRefuses: after an error everything is as it was.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		from func(t *testing.T, path string) string
		want error
	}{
		{"damaged", func(t *testing.T, _ string) string {
			path, good := makeFile(t, 300)
			write(t, path, hollow(good))
			return path
		}, storage.ErrCorrupt},
		{"without its log", func(t *testing.T, _ string) string {
			path, _ := crashedStore(t, 3)
			return errorless(t, path, os.Remove(logPath(path)))
		}, recovery.ErrLogMissing},
		{"empty", func(t *testing.T, path string) string {
			from := filepath.Join(t.TempDir(), "empty")
			write(t, from, nil)
			return from
		}, storage.ErrCorrupt},
		{"missing", func(t *testing.T, _ string) string { return filepath.Join(t.TempDir(), "none") }, fs.ErrNotExist},
		{"a folder", func(t *testing.T, _ string) string { return t.TempDir() }, ErrNotStore},
		{"a pipe", func(t *testing.T, _ string) string {
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := mkfifo(fifo); err != nil {
				t.Skip(err)
			}
			return fifo
		}, ErrNotStore},
		{"another program's", func(t *testing.T, _ string) string {
			from := filepath.Join(t.TempDir(), "other.db")
			write(t, from, otherProgram(t, true))
			return from
		}, ErrNotStore},
		{"itself", func(_ *testing.T, path string) string { return path }, storage.ErrUnavailable},
		{"itself by a link", func(t *testing.T, path string) string {
			link := filepath.Join(t.TempDir(), "link")
			return errorless(t, link, os.Symlink(path, link))
		}, storage.ErrUnavailable},
		{"itself by another name", func(t *testing.T, path string) string {
			link := filepath.Join(t.TempDir(), "link")
			return errorless(t, link, os.Link(path, link))
		}, storage.ErrLocked},
		{"open", func(t *testing.T, _ string) string {
			from, _ := makeFile(t, 1)
			open(t, from, nil)
			return from
		}, storage.ErrLocked},
	} {
		for _, log := range []string{"", "of its own", "damaged"} {
			t.Run(row.name+", log "+log, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "tokens.db")
				whole, _ := crashedStore(t, 3)
				copyStoreTo(t, whole, path)
				switch log {
				case "":
					open(t, path, nil).Close()
				case "damaged":
					write(t, logPath(path), []byte("not a log"))
				}
				from := row.from(t, path)
				before := folder(t, dir)
				if err := Restore(from, path); !errors.Is(err, row.want) {
					t.Errorf("%v; want %v", err, row.want)
				}
				if after := folder(t, dir); !maps.Equal(before, after) {
					t.Errorf("the folder has changed: %d files were %d", len(after), len(before))
				}
			})
		}
	}
}

func errorless(t *testing.T, path string, err error) string {
	t.Helper()
	if err != nil {
		t.Skip(err)
	}
	return path
}

// TestRestoreOverAnOpenStore is refused, and the store goes on.
func TestRestoreOverAnOpenStore(t *testing.T) {
	from, _ := makeFile(t, 1)
	path, _ := makeFile(t, 3)
	s := open(t, path, &Options{logAtOnce: true})
	put(t, s, record(3))
	if err := Restore(from, path); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("%v; want ErrLocked", err)
	}
	put(t, s, record(4))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	nothingBeside(t, path)
}

// TestRestoreKeepsModeAndLinks: the file has the mode of the one before, and links stay links.
func TestRestoreKeepsModeAndLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	from, _ := makeFile(t, 5)
	path, _ := makeFile(t, 3)
	link, new := filepath.Join(t.TempDir(), "link.db"), filepath.Join(t.TempDir(), "new.db")
	if err := errors.Join(os.Chmod(path, 0o640), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Restore(from, link), Restore(from, new)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{path: 0o640, new: 0o600} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
	if s := open(t, path, nil); s.Stats().Tokens != 5 {
		t.Errorf("%+v", s.Stats())
	}
}

// TestRestoreOfALostMark: a mark that cannot be believed in the source is not believed in the
// copy, nor behind a repair.
func TestRestoreOfALostMark(t *testing.T) {
	for _, damage := range []func(b *bbolt.Bucket) error{
		func(b *bbolt.Bucket) error { return b.Delete([]byte(tree.MarkKey)) },
		func(b *bbolt.Bucket) error { return b.Put([]byte(tree.MarkKey), []byte("?")) },
	} {
		from, _ := makeFile(t, 3)
		foreign(t, from, nil, 1, func(btx *bbolt.Tx) error { return damage(btx.Bucket([]byte(tree.MetaBucket))) })
		path := filepath.Join(t.TempDir(), "tokens.db")
		if err := Restore(from, path); err != nil {
			t.Fatal(err)
		}
		repaired := filepath.Join(t.TempDir(), "repaired.db")
		copyFile(t, from, repaired)
		foreign(t, repaired, nil, 1, changing((*bbolt.Bucket).Delete, record(1).ID))
		s := open(t, repaired, &Options{Repair: true})
		crash := filepath.Join(t.TempDir(), "crash.db")
		copyFile(t, repaired, crash)
		s.Close()
		for name, path := range map[string]string{"source": from, "copy": path, "repaired": crash} {
			if m := open(t, path, nil).Marks().Mark(); m.Epoch == 0 {
				t.Errorf("%s: the mark is believed: %+v", name, m)
			}
		}
	}
}

// TestNewFileBesideTheOldLog: a crash right behind the step in which the new file takes the
// place of the old one leaves the log of that, which does not come back.
func TestNewFileBesideTheOldLog(t *testing.T) {
	from, _ := makeFile(t, 2)
	path, _ := crashedStore(t, 10)
	beside := readFile(t, logPath(path))
	if err := Restore(from, path); err != nil {
		t.Fatal(err)
	}
	write(t, logPath(path), beside)
	for _, opts := range []Options{{ReadOnly: true}, {}} {
		s := open(t, path, &opts)
		if s.Stats().Tokens != 2 || s.Stats().Repaired {
			t.Errorf("%+v", s.Stats())
		}
		s.Close()
	}
	nothingBeside(t, path)
}

const restorer = "restorer" // restores one store and another over a third one all the time

func init() { children[restorer] = restoreAll }

func restoreAll(path string) {
	for {
		for _, from := range []string{"first", "second"} {
			if err := Restore(filepath.Join(filepath.Dir(path), "from", from), path); err != nil {
				fmt.Println("error", err)
				return
			}
			fmt.Println(1)
		}
	}
}

// TestKilledWhileRestoring: the store is one of the two, whole, and what is left is cleared up.
func TestKilledWhileRestoring(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(drawn(t), 9))
	for range sample.Of(12, 4) {
		dir := quickDir(t)
		path := filepath.Join(dir, "tokens.db")
		if err := os.Mkdir(filepath.Join(dir, "from"), 0o700); err != nil {
			t.Fatal(err)
		}
		first, want := crashedStore(t, 40)
		copyStoreTo(t, first, filepath.Join(dir, "from", "first"))
		second, _ := makeFile(t, 7)
		copyFile(t, second, filepath.Join(dir, "from", "second"))
		copyStoreTo(t, first, path)
		c, err := startChild(restorer, path)
		if err != nil {
			t.Fatal(err)
		}
		for range r.IntN(6) {
			if line, err := c.line(30 * time.Second); err != nil || line != "1" {
				t.Fatalf("%q, %v", line, err)
			}
		}
		for range r.IntN(3000) {
			os.Getppid()
		}
		c.kill()
		s := open(t, path, nil)
		if got, _ := contents(t, s); len(got) != 7 && !cmp.Equal(want, got) || s.Stats().Repaired {
			t.Errorf("%d records", len(got))
		}
		s.Close()
		os.RemoveAll(filepath.Join(dir, "from"))
		nothingBeside(t, path)
	}
}

// TestRestoreABackup of a store in use.
func TestRestoreABackup(t *testing.T) {
	s := open(t, func() string { p, _ := makeFile(t, 5); return p }(), &Options{logAtOnce: true})
	put(t, s, record(5))
	from := filepath.Join(t.TempDir(), "backup")
	write(t, from, bytes.Clone(backup(t, s)))
	want, _ := contents(t, s)
	path, _ := makeFile(t, 1)
	if err := Restore(from, path); err != nil {
		t.Fatal(err)
	}
	if got, _ := contents(t, open(t, path, nil)); !cmp.Equal(want, got) {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, got))
	}
}
