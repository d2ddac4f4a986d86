package bolt

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// What another process does with a file: this test binary, run again with the name
// of one of these and a path in its environment.
const (
	opener = "opener" // opens it and closes it
	writer = "writer" // writes into it until it is killed
	filler = "filler" // writes into it on a disk that is full
)

var children = map[string]func(path string){opener: tryOpen, writer: write}

const childEnv, pathEnv = "LAPSE_TEST_CHILD", "LAPSE_TEST_PATH"

func TestMain(m *testing.M) {
	if child := children[os.Getenv(childEnv)]; child != nil {
		child(os.Getenv(pathEnv))
		return
	}
	os.Exit(m.Run())
}

func childCommand(name, path string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestMain$")
	cmd.Env = append(os.Environ(), childEnv+"="+name, pathEnv+"="+path)
	return cmd
}

// childSays returns what the child prints until it ends.
func childSays(t *testing.T, name, path string) string {
	t.Helper()
	out, err := childCommand(name, path).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out)
}

func tryOpen(path string) {
	switch s, err := Open(path, nil); {
	case err == nil:
		s.Close()
		fmt.Print("opened")
	case errors.Is(err, storage.ErrLocked):
		fmt.Print("locked")
	default:
		fmt.Print(err)
	}
}
