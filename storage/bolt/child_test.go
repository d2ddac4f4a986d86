package bolt

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// What another process does with a file: this test binary, run again with the name
// of one of these and a path in its environment.
const (
	opener    = "opener"   // opens it and closes it
	worker    = "worker"   // a workload: writes into it until it is killed
	examiners = "examiner" // opens and uses damaged copies of it
	filler    = "filler"   // writes into it on a disk that is full
)

var children = map[string]func(path string){opener: tryOpen, worker: work, examiners: examine}

const childEnv, pathEnv = "LAPSE_TEST_CHILD", "LAPSE_TEST_PATH"

func TestMain(m *testing.M) {
	if child := children[os.Getenv(childEnv)]; child != nil {
		child(os.Getenv(pathEnv))
		return
	}
	sample.Garbage()
	flag.Parse()
	if folder := folderInMemory(); folder != "" && !*onDisk && os.Getenv(mountsEnv) == "" {
		os.Setenv("TMPDIR", folder)
	}
	os.Exit(m.Run())
}

func childCommand(name, path string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestMain$")
	cmd.Env = slices.Concat(os.Environ(), []string{childEnv + "=" + name, pathEnv + "=" + path}, env)
	return cmd
}

// child is such a process while it runs.
type child struct {
	cmd    *exec.Cmd
	lines  chan string // what it says, closed when it is dead
	stderr bytes.Buffer
	status error // of its end; after lines was closed
}

// patience is how long any one call in a child may take.
const patience = 5 * time.Second

var errHangs = errors.New("the child hangs")

func startChild(name, path string, env ...string) (*child, error) {
	c := &child{cmd: childCommand(name, path, env...), lines: make(chan string)}
	c.cmd.Stderr = &c.stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.lines)
		for read := bufio.NewReader(out); ; {
			line, err := read.ReadString('\n')
			if err != nil { // and half a line is none
				break
			}
			c.lines <- line[:len(line)-1]
		}
		c.status = c.cmd.Wait()
	}()
	return c, nil
}

// line returns the next line that the child says, io.EOF once it is dead, and
// errHangs if neither comes.
func (c *child) line(patience time.Duration) (string, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case line, ok := <-c.lines:
		if !ok {
			return "", io.EOF
		}
		return line, nil
	case <-timer.C:
		return "", errHangs
	}
}

// kill sees to it that the child is dead.
func (c *child) kill() {
	c.cmd.Process.Kill()
	for range c.lines {
	}
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
