package bolt

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestFullDisk lets the file grow no further, as a full disk does: writes fail with
// an error that says which kind it is, reads go on, and so do writes once there is
// room.
func TestFullDisk(t *testing.T) {
	ctx := context.Background()
	path, _ := makeFile(t, 20)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	allow := limitFileSize(t, uint64(info.Size()))
	big := record(1000)
	big.Data = strings.Repeat("x", storage.MaxData)
	for n := 0; err == nil && n < 100; n++ {
		big.ID[15] = byte(n)
		err = s.Update(ctx, big.Subject, func(tx storage.Tx) error { return tx.Put(big) })
	}
	if !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("Update on a full disk: %v; want ErrOutcomeUnknown", err)
	}
	for n := range 20 {
		if got, err := s.Get(ctx, record(n).ID); err != nil || got != record(n) {
			t.Errorf("Get meanwhile: %+v, %v", got, err)
		}
	}
	allow()
	put(t, s, big)
	if got, err := s.Get(ctx, big.ID); err != nil || got != big {
		t.Errorf("once there is room: %+v, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// limitFileSize keeps this process from writing behind the n-th byte of any file,
// until the function that it returns is called, or the test ends.
func limitFileSize(t *testing.T, n uint64) (allow func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ) // the write fails then, and nothing else happens
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	limit := before
	limit.Cur = n
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	allow = func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			t.Fatal(err)
		}
		signal.Reset(syscall.SIGXFSZ)
	}
	t.Cleanup(allow)
	return allow
}
