package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

func init() { children[filler] = func(path string) { fmt.Print(fill(path)) } }

// TestFullDisk lets the file grow no further, as a full disk does: writes fail with
// an error that says which kind it is, reads go on, and so do writes once there is
// room. The limit is one of the whole process, so it is another one's.
func TestFullDisk(t *testing.T) {
	path, _ := makeFile(t, 20)
	if says := childSays(t, filler, path); says != "<nil>" {
		t.Fatal(says)
	}
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := s.Get(context.Background(), large(0).ID); err != nil || !got.Equal(large(0)) {
		t.Errorf("what was written in the end: %+v, %v", got, err)
	}
}

// fill says what went otherwise than it should.
func fill(path string) error {
	ctx := context.Background()
	s, err := Open(path, nil)
	if err != nil {
		return err
	}
	makeRoom, err := noRoom(path)
	if err != nil {
		return err
	}
	write := func(r storage.Record) error {
		return s.Update(ctx, r.Subject, func(tx storage.Tx) error { return tx.Put(r) })
	}
	for n := 1; err == nil && n < 100; n++ {
		err = write(large(n))
	}
	if !(errors.Is(err, storage.ErrUnavailable) && errors.Is(err, ErrDiskFull)) {
		return fmt.Errorf("Update on a full disk: %w; want ErrUnavailable and ErrDiskFull", err)
	}
	for n := range 20 {
		if got, err := s.Get(ctx, record(n).ID); err != nil || !got.Equal(record(n)) {
			return fmt.Errorf("Get meanwhile: %+v, %w", got, err)
		}
	}
	if err := makeRoom(); err != nil {
		return err
	}
	return errors.Join(write(large(0)), s.Close())
}

// noRoom lets no file of this process grow beyond that at path, until the function that
// it returns is called.
func noRoom(path string) (makeRoom func() error, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	signal.Ignore(syscall.SIGXFSZ) // the write fails then, and nothing else happens
	var room syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &room); err != nil {
		return nil, err
	}
	none := room
	none.Cur = uint64(info.Size())
	return func() error { return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &room) }, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &none)
}
