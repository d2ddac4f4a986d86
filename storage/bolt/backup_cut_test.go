package bolt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

// TestBackupOfAnOverwrittenFile says that the file was overwritten, with a log and without: what
// is in the file has nothing to do with the store.
func TestBackupOfAnOverwrittenFile(t *testing.T) {
	inBoth(t, lazy, func(t *testing.T, opts *Options) {
		path, _ := makeFileIn(t, quickDir(t), 3)
		_, other := makeFileIn(t, quickDir(t), 300)
		s := open(t, path, opts)
		put(t, s, record(5))
		write(t, path, other)
		if err := s.Backup(t.Context(), io.Discard); !errors.Is(err, ErrReplaced) {
			t.Errorf("Backup: %v; want ErrReplaced", err)
		}
	})
}

// TestBackupBehindOneThatWasGivenUp: what that had begun to flush, and the disk has not answered
// for, is in the next copy.
func TestBackupBehindOneThatWasGivenUp(t *testing.T) {
	for fate, thaws := range fates {
		t.Run(fate, func(t *testing.T) {
			inBoth(t, lazy, func(t *testing.T, opts *Options) { backupBehind(t, opts, thaws) })
		})
	}
}

func backupBehind(t *testing.T, opts *Options, thaws func(func() error) error) {
	path, _ := makeFileIn(t, quickDir(t), 3)
	s := open(t, path, opts)
	put(t, s, record(5))
	arrived, thaw := make(chan struct{}), make(chan struct{})
	failCommit(s, func(do func() error) error {
		close(arrived)
		<-thaw
		return thaws(do)
	})
	want := touch(t, s, record(1), by(record(1), time.Minute))
	ctx, cancel := context.WithCancel(t.Context())
	first := async(func() error { return s.Backup(ctx, io.Discard) })
	<-arrived
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Fatalf("the first: %v; want the error of its context", err)
	}
	var copied bytes.Buffer
	second := async(func() error { return s.Backup(t.Context(), &copied) })
	awaitNothing()
	close(thaw)
	if err := <-second; err != nil {
		t.Fatalf("the second: %v", err)
	}
	if got := shown(t, openCopy(t, copied.Bytes()), want.ID); !got.Equal(want) {
		t.Errorf("in the copy: %+v; want %+v", got, want)
	}
}
