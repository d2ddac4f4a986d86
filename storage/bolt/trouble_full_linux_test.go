package bolt

import (
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

const troubledOnFull = "troubled-on-full"

func init() { children[troubledOnFull] = func(path string) { fmt.Print(troubleOnFull(path)) } }

// TestTroubleOnAFullDisk: a write has an unknown outcome, and then there is no room to make up
// for it. Once there is room the store goes on, and the file opens again with every end.
func TestTroubleOnAFullDisk(t *testing.T) {
	path, _ := makeFile(t, 20)
	if says := childSays(t, troubledOnFull, path); says != "<nil>" {
		t.Error("the process:", says)
	}
	s := open(t, path, nil)
	for _, n := range []int{3, 4} {
		if got := shown(t, s, record(n).ID); got.EndedAt.IsZero() {
			t.Errorf("record %d, which was ended, lives", n)
		}
	}
}

func troubleOnFull(path string) error {
	s, err := Open(path, &Options{logAtOnce: true, FlushEvery: lazy.FlushEvery})
	if err != nil {
		return err
	}
	for i := range 60 {
		if err := putting(s, large(i)); err != nil {
			return err
		}
	}
	if err := putting(s, ended(record(3))); err != nil {
		return err
	}
	failCommit(s, syncLost)
	if err := putting(s, ended(record(4))); !errors.Is(err, storage.ErrOutcomeUnknown) {
		return fmt.Errorf("the first one: %w", err)
	}
	makeRoom, err := noRoomAtAll()
	if err != nil {
		return err
	}
	if err := putting(s, large(1000)); !errors.Is(err, ErrDiskFull) {
		return fmt.Errorf("on a full disk: %w", err)
	}
	if err := makeRoom(); err != nil {
		return err
	}
	for i := range 200 {
		if err := putting(s, large(2000+i)); err != nil {
			return fmt.Errorf("once there is room: %w", errors.Join(err, s.Close()))
		}
	}
	return s.Close()
}

// noRoomAtAll lets no file of this process be written behind its first bytes.
func noRoomAtAll() (makeRoom func() error, err error) {
	signal.Ignore(syscall.SIGXFSZ)
	var room syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &room); err != nil {
		return nil, err
	}
	none := room
	none.Cur = 1
	return func() error { return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &room) }, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &none)
}
