package bolt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/storage"
)

func TestCompactAfterClose(t *testing.T) {
	path, before := makeFile(t, 3)
	s := open(t, path, nil)
	s.Close()
	if err := s.Compact(context.Background()); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("%v; want ErrClosed", err)
	}
	if !bytes.Equal(before, readFile(t, path)) {
		t.Error("the file has changed")
	}
}

func TestCompactGivenUp(t *testing.T) {
	path, before := makeFile(t, 3)
	s := open(t, path, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Compact(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v; want the context's", err)
	}
	if !bytes.Equal(before, readFile(t, path)) {
		t.Error("the file has changed")
	}
}

// listener is a context that says when somebody begins to listen to its end.
type listener struct {
	context.Context
	once  sync.Once
	asked chan struct{}
}

func (l *listener) Done() <-chan struct{} {
	l.once.Do(func() { close(l.asked) })
	return l.Context.Done()
}

// TestCompactWaitsForBackup, until its context ends.
func TestCompactWaitsForBackup(t *testing.T) {
	path, _ := makeFile(t, 300)
	s := open(t, path, nil)
	read, write := io.Pipe()
	copying, compacting := make(chan error, 1), make(chan error, 2)
	go func() { copying <- s.Backup(context.Background(), write); write.Close() }()
	begin := make([]byte, 1)
	if _, err := io.ReadFull(read, begin); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	listens := &listener{Context: ctx, asked: make(chan struct{})}
	go func() { compacting <- s.Compact(listens) }()
	<-listens.asked // a hang: it waits for nothing but the copy
	cancel()
	if err := <-compacting; !errors.Is(err, context.Canceled) {
		t.Errorf("%v; want the context's", err)
	}
	for range 2 {
		go func() { compacting <- s.Compact(context.Background()) }()
	}
	rest, err := io.ReadAll(read)
	if err := errors.Join(err, <-copying, <-compacting, <-compacting); err != nil {
		t.Fatal(err)
	}
	if records, _ := contents(t, openCopy(t, append(begin, rest...))); len(records) != 300 {
		t.Errorf("the copy has %d records; want 300", len(records))
	}
}

// TestCompactAndBackupAtOnce, many of both, and Close in the end.
func TestCompactAndBackupAtOnce(t *testing.T) {
	path, _ := makeFile(t, 300)
	s := open(t, path, nil)
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 5 {
				if err := s.Compact(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
		running.Go(func() {
			for range 5 {
				if err := s.Backup(context.Background(), io.Discard); err != nil {
					t.Error(err)
				}
			}
		})
		running.Go(func() {
			for n := range 20 {
				if err := putPair(s, 0, n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	nothingBeside(t, path)
}

// TestCompactBehindALink: the file is replaced, and not the link that leads to it.
func TestCompactBehindALink(t *testing.T) {
	path, _ := makeFile(t, 100)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	s := open(t, link, nil)
	put(t, s, record(200))
	if err := s.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
	if says := childSays(t, opener, path); says != "locked" {
		t.Errorf("the file behind the link: another process says %s; want locked", says)
	}
	put(t, s, record(201))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	nothingBeside(t, path)
	nothingBeside(t, link)
	if records, _ := contents(t, open(t, path, nil)); len(records) != 102 {
		t.Errorf("behind the link are %d records; want 102", len(records))
	}
}

// TestOpenWaitsWhileCompacting: who waits for the lock of a file that is replaced
// meanwhile does not get the old one.
func TestOpenWaitsWhileCompacting(t *testing.T) {
	ctx := context.Background()
	path, _ := makeFile(t, 100)
	s := open(t, path, nil)
	opening := make(chan error, 1)
	var second *Store
	tried := untilClosed(t, path)
	go func() {
		var err error
		second, err = Open(path, &Options{LockTimeout: time.Minute})
		opening <- err
	}()
	tried()
	if err := s.Compact(ctx); err != nil {
		t.Fatal(err)
	}
	put(t, s, record(200))
	select {
	case err := <-opening:
		t.Errorf("opened while the first store has it: %v", err)
		second.Close()
	default:
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-opening; err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if _, err := second.Get(ctx, record(200).ID); err != nil {
		t.Errorf("what the first wrote in the end: %v", err)
	}
}

// TestCompactRemovesStale: what a crash in the middle of an earlier one has left goes
// with the next.
func TestCompactRemovesStale(t *testing.T) {
	path, good := makeFile(t, 3)
	stale := filepath.Join(filepath.Dir(path), localfile.TempPrefix(path)+"123")
	if err := os.WriteFile(stale, good, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, nil)
	if err := s.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	nothingBeside(t, path)
}

// TestChangedFolder: a store opened by a relative path stays where it is when the
// program goes elsewhere.
func TestChangedFolder(t *testing.T) {
	path, _ := makeFile(t, 3)
	t.Chdir(filepath.Dir(path))
	s := open(t, "tokens.db", nil)
	t.Chdir(t.TempDir())
	put(t, s, record(3))
	if err := s.Compact(context.Background()); err != nil {
		t.Error(err)
	}
	put(t, s, record(4))
	if st := s.Stats(); st.FileSize == 0 {
		t.Error("Stats does not find the file")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if records, _ := contents(t, open(t, path, nil)); len(records) != 5 {
		t.Errorf("the file has %d records; want 5", len(records))
	}
	nothingBeside(t, path)
}
