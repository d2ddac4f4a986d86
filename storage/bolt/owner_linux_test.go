package bolt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/storage"
)

func ownerOf(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprint(st.Uid, ":", st.Gid, " ", info.Mode())
}

// TestOwnerIsKept by Compact, Restore, and the log, which the program that owns the file must
// be able to open.
func TestOwnerIsKept(t *testing.T) {
	path, _ := makeFile(t, 5)
	if err := errors.Join(os.Chown(path, otherUser, 1234), os.Chmod(path, 0o640)); err != nil {
		t.Skip(err)
	}
	want := ownerOf(t, path)
	s := open(t, path, &Options{logAtOnce: true})
	put(t, s, record(5))
	if got := ownerOf(t, logPath(path)); got != want {
		t.Errorf("the log: %s; want %s", got, want)
	}
	if err := s.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := ownerOf(t, path); got != want {
		t.Errorf("compacted: %s; want %s", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	from, _ := makeFile(t, 1)
	if err := Restore(from, path); err != nil {
		t.Fatal(err)
	}
	if got := ownerOf(t, path); got != want {
		t.Errorf("restored: %s; want %s", got, want)
	}
}

const stranger = "stranger" // compacts a file of another user

func init() {
	children[stranger] = func(path string) {
		s, err := Open(path, &Options{NoLog: true})
		if err != nil {
			fmt.Print("Open: ", err)
			return
		}
		defer s.Close()
		if err := s.Compact(context.Background()); err != nil && !errors.Is(err, storage.ErrUnavailable) {
			fmt.Print("of another kind: ", err)
		} else if fmt.Print(err); err == nil {
			return
		}
		if err := putting(s, record(50)); err != nil {
			fmt.Print("; Update: ", err)
		}
	}
}

// TestOwnerThatCannotBeKept: Compact changes nothing and says which user can do it, and the
// store goes on.
func TestOwnerThatCannotBeKept(t *testing.T) {
	from, _ := makeFile(t, 5)
	dir := publicDir(t, 0o777)
	path := filepath.Join(dir, "tokens.db")
	copyFile(t, from, path)
	if err := errors.Join(os.Chown(path, 4321, otherUser), os.Chmod(path, 0o666)); err != nil {
		t.Skip(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if says := asNobody(t, stranger, path); !strings.Contains(says, "user 4321") || strings.Contains(says, "Update") {
		t.Errorf("it says %s; want user 4321 named, and nothing of another error", says)
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(info, now) {
		t.Errorf("the file was replaced, %v", err)
	}
	nothingBeside(t, path)
	if s := open(t, path, nil); s.Stats().Tokens != 6 {
		t.Errorf("%+v", s.Stats())
	}
}

// TestMountedFile: Compact and Restore say beforehand that a file which is a mount point cannot be
// replaced. They change nothing, a damaged log keeps its name, and the store goes on.
func TestMountedFile(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	from, _ := makeFile(t, 5)
	copyFile(t, from, from+"-copy")
	path := filepath.Join(t.TempDir(), "tokens.db")
	write(t, path, nil)
	if err := syscall.Mount(from, path, "", syscall.MS_BIND, ""); err != nil {
		unable(t, err)
	}
	defer syscall.Unmount(path, syscall.MNT_DETACH)
	s := open(t, path, &Options{logAtOnce: true})
	put(t, s, record(5))
	if err := s.Compact(context.Background()); !errors.Is(err, tree.ErrMounted) || !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("%v; want that it is a mount point", err)
	}
	put(t, s, record(6))
	before := folder(t, filepath.Dir(path))
	if len(before) != 2 {
		t.Errorf("%d files; want the file and its log", len(before))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, logPath(path), []byte("not a log"))
	err := Restore(from+"-copy", path)
	if !errors.Is(err, tree.ErrMounted) || !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("Restore: %v; want that it is a mount point", err)
	}
	if files := folder(t, filepath.Dir(path)); len(files) != 2 || string(readFile(t, logPath(path))) != "not a log" {
		t.Errorf("Restore: %d files; want the file and the log under its name", len(files))
	}
	if err := os.Remove(logPath(path)); err != nil {
		t.Fatal(err)
	}
	if s := open(t, path, nil); s.Stats().Tokens != 7 {
		t.Errorf("%+v", s.Stats())
	}
}

// TestCompactWithoutRoom changes nothing, and works when there is room.
func TestCompactWithoutRoom(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	dir := memoryDisk(t, "1m")
	path, _ := makeFileIn(t, dir, 100)
	s := open(t, path, &Options{logAtOnce: true})
	put(t, s, record(100))
	empty := fillUp(t, dir)
	before := folder(t, dir)
	if err := s.Compact(context.Background()); !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, ErrDiskFull) {
		t.Errorf("%v; want ErrUnavailable and ErrDiskFull", err)
	}
	if after := folder(t, dir); len(after) != len(before) {
		t.Errorf("%d files were %d", len(after), len(before))
	}
	empty()
	put(t, s, record(101))
	if err := errors.Join(s.Compact(context.Background()), s.Close()); err != nil {
		t.Fatal(err)
	}
	nothingBeside(t, path)
}

// TestDirectoryThatCannotBeSynced: Compact says that the outcome is unknown, and the store goes
// on with the new file.
func TestDirectoryThatCannotBeSynced(t *testing.T) {
	path, _ := makeFile(t, 5)
	s := open(t, path, &Options{logAtOnce: true})
	put(t, s, record(5))
	if err := s.checkpoint(true); err != nil {
		t.Fatal(err)
	}
	put(t, s, record(6))
	s.tree.Turn.Take()
	old := s.tree
	next, err := tree.Build(path, func(next *tree.Tree) error {
		return errors.Join(next.CopyFrom(old), os.Rename(next.Path, path))
	})
	if err != nil {
		t.Fatal(err)
	}
	old.Path = filepath.Join(t.TempDir(), "none", "tokens.db")
	err = old.Become(next)
	old.Path = path
	s.tree.Turn.Give()
	if !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("%v; want ErrOutcomeUnknown", err)
	}
	put(t, s, record(7))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s := open(t, path, nil); s.Stats().Tokens != 8 {
		t.Errorf("%+v", s.Stats())
	}
}

// TestCompactAtEachCrash: with the old file, or the new one, beside the log as it is then, all
// that was acknowledged is there; and what is left of the new one is removed.
func TestCompactAtEachCrash(t *testing.T) {
	path, _ := makeFile(t, 5)
	s := open(t, path, &Options{logAtOnce: true})
	put(t, s, record(5))
	var crashes []map[string]string
	s.tree.Turn.Take()
	s.tree.CommitTx = func(btx *bbolt.Tx) error {
		before := folder(t, filepath.Dir(path))
		err := btx.Commit()
		crashes = append(crashes, before, folder(t, filepath.Dir(path)))
		return err
	}
	s.tree.Turn.Give()
	if err := s.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	crashes = append(crashes, folder(t, filepath.Dir(path)))
	onOld := crashes[len(crashes)-2] // the log of now beside the file of before, which a crash of the machine may bring back
	put(t, s, record(6))
	now := folder(t, filepath.Dir(path))
	crashes = append(crashes, now)
	back := maps.Clone(now)
	back["tokens.db"] = onOld["tokens.db"]
	crashes = append(crashes, back)
	for n, files := range crashes {
		dir := t.TempDir()
		for name, file := range files {
			write(t, filepath.Join(dir, name), []byte(file))
		}
		s := open(t, filepath.Join(dir, "tokens.db"), nil)
		want := 6
		if n >= len(crashes)-2 {
			want = 7
		}
		if got := s.Stats(); got.Tokens != want || got.Repaired {
			t.Errorf("crash %d: %+v; want %d tokens", n, got, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		nothingBeside(t, filepath.Join(dir, "tokens.db"))
	}
	if len(crashes) < 8 {
		t.Errorf("%d crashes", len(crashes))
	}
}
