package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// A row whose process is killed, or whose bytes are counted by process, runs this program
// once more with a job. The child writes its answer to stdout.

// childFlag is the first argument of a child; the second one is its job as JSON.
const childFlag = "-child"

// job is what a child does.
type job struct {
	Kind   string // a key of works
	Path   string // of the file
	Count  int    // of changes, or of renewals
	Rate   int    // of renewals, a second
	Seed   uint64 // which records are changed
	Values int    // bytes of a value, for a peer
}

// answer is the result of a job.
type answer struct {
	Done   int   // changes that are durable
	Took   int64 // nanoseconds from Open to the end of Close
	Bytes  int64 // passed to calls that write, meanwhile
	Log    int64 // the log, when it was largest for the size of its file
	Limit  int64 // how large it may have been then
	Commit int   // transactions of the peer
}

// works are the kinds of jobs.
var works = map[string]func(job) (answer, error){
	"change and die":   changeAndDie,
	"renew with lapse": renewWithLapse,
	"renew with bbolt": renewWithBbolt,
}

// isChild reports whether these arguments are those of a child.
func isChild(args []string) bool { return len(args) == 3 && args[1] == childFlag }

// child does the job in the arguments of a child and returns its exit code. A job that
// dies never returns.
func child(args []string, stdout, stderr io.Writer) int {
	var j job
	err := json.Unmarshal([]byte(args[2]), &j)
	if err == nil && works[j.Kind] == nil {
		err = fmt.Errorf("no job is called %q", j.Kind)
	}
	var a answer
	if err == nil {
		a, err = works[j.Kind](j)
	}
	if err == nil {
		err = json.NewEncoder(stdout).Encode(a)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// run has a child do j and returns its answer. It returns an error if the child gave none;
// a child that was killed after its answer has done its job.
func (j job) run(ctx context.Context) (answer, error) {
	var a answer
	self, err := os.Executable()
	if err != nil {
		return a, err
	}
	text, err := json.Marshal(j)
	if err != nil {
		return a, err
	}
	c := exec.CommandContext(ctx, self, childFlag, string(text))
	c.Stderr = os.Stderr
	out, err := c.Output()
	if json.Unmarshal(out, &a) == nil {
		return a, ctx.Err()
	}
	return a, fmt.Errorf("child %q gave no answer: %w", j.Kind, errors.Join(err, ctx.Err()))
}

// die kills this process, as a crash would.
func die() error {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err == nil {
		time.Sleep(time.Minute) // the signal is on its way
	}
	return err
}

// ioPath is the file in which Linux tells what a process has written.
const ioPath = "/proc/self/io"

// writtenSoFar returns how many bytes this process has passed to calls that write. The bytes reach
// the disk, since both sides sync what they write. The number write_bytes in the same file is no
// substitute: where one page becomes dirty, Linux adds all pages of its folio.
func writtenSoFar() (int64, error) {
	n, err := strconv.ParseInt(field(ioPath, "wchar"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", ioPath, err)
	}
	return n, nil
}
