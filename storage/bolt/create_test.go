package bolt

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/storage"
)

const maker = "maker" // makes a store, or opens one, and puts the record of its process ID

func init() { children[maker] = makeStore }

func makeStore(path string) {
	s, err := Open(path, &Options{LockTimeout: time.Minute})
	if err == nil {
		r := record(os.Getpid())
		err = s.Update(context.Background(), r.Subject, func(tx storage.Tx) error { return tx.Put(r) })
	}
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		fmt.Print(err)
		return
	}
	fmt.Print(os.Getpid())
}

// TestStaleFiles: Open removes what a crash has left of new files that were to be at its
// path, and nothing else.
func TestStaleFiles(t *testing.T) {
	if !localfile.LocksEarly {
		t.Skip("who is alive is told by a lock that cannot be taken here, so nothing is removed")
	}
	dir := t.TempDir()
	_, whole := makeFile(t, 3)
	ours := localfile.TempPrefix("tokens.db")
	rows := []struct {
		name          string
		file          []byte
		locked, stays bool
	}{
		{ours + "1", nil, false, false},
		{ours + "2", whole, false, false},
		{ours + "3", whole[:5000], false, false},
		{ours + "4", whole, true, true},
		{ours + "5", nil, true, true},
		{strings.TrimSuffix(ours, "-"), whole, false, true},
		{strings.TrimPrefix(ours, "."), whole, false, true},
		{".lapse-config", nil, false, true},
		{".lapse-1", nil, false, true},
		{localfile.TempPrefix("other.db") + "1", whole, false, true},
		{".tokens.db.lock", nil, false, true},
		{"another.db", whole, false, true},
	}
	for _, row := range rows {
		if err := os.WriteFile(filepath.Join(dir, row.name), row.file, 0o600); err != nil {
			t.Fatal(err)
		}
		if !row.locked {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, row.name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if locked, err := localfile.TryLock(f, false); err != nil || !locked {
			t.Fatalf("TryLock: %v, %v", locked, err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ours+"folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	open(t, filepath.Join(dir, "another.db"), nil).Close()
	open(t, filepath.Join(dir, "third.db"), nil).Close()
	for _, row := range rows {
		if _, err := os.Stat(filepath.Join(dir, row.name)); err != nil {
			t.Errorf("%s, after other stores were opened and made: %v", row.name, err)
		}
	}
	open(t, filepath.Join(dir, "tokens.db"), nil).Close()
	for _, row := range rows {
		now, err := os.ReadFile(filepath.Join(dir, row.name))
		if row.stays != (err == nil) || row.stays && string(now) != string(row.file) {
			t.Errorf("%s: %d bytes, %v; want it to stay %v", row.name, len(now), err, row.stays)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, ours+"folder")); err != nil {
		t.Errorf("a folder: %v", err)
	}
}

// TestProcessesCreate has processes make a store at one path at once: all write into
// the same one, and nothing is left beside it.
func TestProcessesCreate(t *testing.T) {
	t.Parallel()
	for range 3 {
		path := filepath.Join(t.TempDir(), "tokens.db")
		said := make(chan string, 6)
		for range cap(said) {
			go func(cmd *exec.Cmd) {
				out, err := cmd.Output()
				if err != nil {
					out = []byte(err.Error())
				}
				said <- string(out)
			}(childCommand(maker, path))
		}
		var numbers []int
		for range cap(said) {
			says := <-said
			n, err := strconv.Atoi(says)
			if err != nil {
				t.Errorf("a process says %s", says)
			}
			numbers = append(numbers, n)
		}
		records, _ := contents(t, open(t, path, nil))
		for _, n := range numbers {
			if !records[record(n).ID].Equal(record(n)) {
				t.Errorf("what process %d put is %+v", n, records[record(n).ID])
			}
		}
		nothingBeside(t, path)
	}
}

// TestSizeOfAnEmptyStore: a store without tokens is a file of 40 KB.
func TestSizeOfAnEmptyStore(t *testing.T) {
	path := filepath.Join(quickDir(t), "tokens.db")
	s, err := Open(path, nil)
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(40 << 10); info.Size() != want {
		t.Errorf("%d bytes, want %d", info.Size(), want)
	}
}
