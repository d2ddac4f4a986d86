package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/storage"
)

// useAt opens, uses, crashes, compacts and restores a store at path, which leads to real.
func useAt(t *testing.T, path, real string) {
	t.Helper()
	s := open(t, path, &Options{logAtOnce: true})
	put(t, s, record(1))
	if err := s.Compact(context.Background()); err != nil {
		t.Errorf("Compact: %v", err)
	}
	put(t, s, record(2))
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	nothingBeside(t, real)
	if info, err := os.Lstat(real); err != nil || !info.Mode().IsRegular() {
		t.Errorf("at %s: %v, %v; want the file", real, info, err)
	}
	from, _ := makeFile(t, 5)
	if err := Restore(from, path); err != nil {
		t.Errorf("Restore: %v", err)
	}
	s = open(t, real, nil)
	defer s.Close()
	if s.Stats().Tokens != 5 {
		t.Errorf("%+v", s.Stats())
	}
}

// TestLinks: a store is made where links lead to, also to nothing yet, and the links stay.
func TestLinks(t *testing.T) {
	for name, links := range map[string]func(dir string) (path string, err error){
		"to nothing": func(dir string) (string, error) {
			return filepath.Join(dir, "a"), os.Symlink(filepath.Join(dir, "data", "tokens.db"), filepath.Join(dir, "a"))
		},
		"relative": func(dir string) (string, error) {
			return filepath.Join(dir, "a"), os.Symlink(filepath.Join("data", "tokens.db"), filepath.Join(dir, "a"))
		},
		"a chain": func(dir string) (string, error) {
			err := os.Symlink(filepath.Join("data", "tokens.db"), filepath.Join(dir, "link-0"))
			for n := range 30 {
				err = errors.Join(err, os.Symlink(fmt.Sprint("link-", n), filepath.Join(dir, fmt.Sprint("link-", n+1))))
			}
			return filepath.Join(dir, "link-30"), err
		},
		"a folder": func(dir string) (string, error) {
			return filepath.Join(dir, "a", "tokens.db"), os.Symlink("data", filepath.Join(dir, "a"))
		},
		"upwards": func(dir string) (string, error) {
			err := errors.Join(os.Mkdir(filepath.Join(dir, "b"), 0o700), os.Symlink("../data/tokens.db", filepath.Join(dir, "b", "a")))
			return filepath.Join(dir, "b", "a"), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
				t.Fatal(err)
			}
			path, err := links(dir)
			if err != nil {
				t.Skip(err)
			}
			useAt(t, path, filepath.Join(dir, "data", "tokens.db"))
			if info, err := os.Lstat(path); err != nil || name != "a folder" && info.Mode()&os.ModeSymlink == 0 {
				t.Errorf("the link is %v, %v", info, err)
			}
		})
	}
}

// TestLinksThatLeadNowhere: nothing is made.
func TestLinksThatLeadNowhere(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.Symlink("b", at("a")), os.Symlink("a", at("b")), os.Symlink("none/tokens.db", at("c"))); err != nil {
		t.Skip(err)
	}
	for name, want := range map[string]error{"a": storage.ErrUnavailable, "c": fs.ErrNotExist} {
		refused(t, at(name), want)
		if err := Restore(at(name), at("x")); err == nil {
			t.Errorf("Restore from %s: nil", name)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("%v, %v; want the links alone", entries, err)
	}
}

// TestLongNames: a store with a name of any length works, without a log where that would have
// too long a name.
func TestLongNames(t *testing.T) {
	for _, n := range []int{1, 240, 249, 250, 255} {
		path := filepath.Join(t.TempDir(), strings.Repeat("x", n))
		useAt(t, path, path)
		s := open(t, path, &Options{logAtOnce: true})
		put(t, s, record(9))
		if st := s.Stats(); (st.NoLog != nil) != (n > 249) || (st.LogSize == 0) != (n > 249) {
			t.Errorf("%d bytes: %+v", n, st)
		}
	}
	refused(t, filepath.Join(t.TempDir(), strings.Repeat("x", 256)), storage.ErrUnavailable)
}

// TestEmptyFile: the error says what to do, also where a crash has left more beside it, and
// then that helps.
func TestEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	write(t, path, nil)
	write(t, filepath.Join(filepath.Dir(path), localfile.TempPrefix(path)+"1"), nil)
	_, err := Open(path, nil)
	if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("%v; want ErrCorrupt, and to remove it", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	open(t, path, nil).Close()
	nothingBeside(t, path)
}

// TestLockedByWhom: the error names the process that has the file, if it is another one and the
// system tells.
func TestLockedByWhom(t *testing.T) {
	path, _ := makeFile(t, 1)
	c, err := startChild(holder, path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.kill()
	if line, err := c.line(startPatience); line != saidOpened || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	want := ""
	if _, err := os.Stat("/proc/locks"); err == nil {
		want = fmt.Sprint("process ", c.cmd.Process.Pid, " ")
	}
	for _, err := range []error{
		func() error { _, err := Open(path, nil); return err }(),
		func() error { _, err := Open(path, &Options{ReadOnly: true}); return err }(),
		Restore(path+"-none", path),
	} {
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if !errors.Is(err, storage.ErrLocked) || !strings.Contains(err.Error()+" ", want) {
			t.Errorf("%v; want ErrLocked, and %q", err, want)
		}
	}
}

const holder = "holder" // holds it until it is killed

func init() {
	children[holder] = func(path string) {
		s, err := Open(path, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(saidOpened)
		defer s.Close()
		select {}
	}
}

// TestSizes: a new file is small, and one that grows is hardly larger than what it holds.
func TestSizes(t *testing.T) {
	path, file := makeFile(t, 0)
	if size := binary.NativeEndian.Uint32(file[pageHeader+8:]); len(file) > 64<<10 || size != pageSize {
		t.Errorf("a new file has %d bytes, pages of %d", len(file), size)
	}
	grown := make(map[string]int64)
	for name, opts := range map[string]Options{"log": {}, "no log": {NoLog: true}} {
		path := filepath.Join(quickDir(t), "tokens.db")
		s := open(t, path, &opts)
		used := 0
		for n := range 1000 {
			r := record(n)
			put(t, s, r)
			v, err := encode(&r)
			if err != nil {
				t.Fatal(err)
			}
			used += len(v) + 16 + 16
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		grown[name] = int64(len(readFile(t, path)))
		if most := int64(used)*5/4 + 64<<10; grown[name] > most {
			t.Errorf("%s: 1000 tokens of %d bytes take %d; want %d at most", name, used, grown[name], most)
		}
	}
	t.Log(path, grown)
}
