package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

const compacter = "compacter" // puts records, and compacts the file all the time

func init() { children[compacter] = putAndCompact }

func putAndCompact(path string) {
	s, err := Open(path, nil)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	go func() {
		for {
			if err := s.Compact(context.Background()); err != nil {
				fmt.Println("error", err)
			}
		}
	}()
	for n := 1; ; n++ {
		r := record(n)
		if err := s.Update(context.Background(), r.Subject, func(tx storage.Tx) error { return tx.Put(r) }); err != nil {
			fmt.Println("error", err)
			return
		}
		fmt.Println(n)
	}
}

// TestKilledWhileCompacting: the file at the path is a whole one, with everything that
// was acknowledged, and the next Compact clears up.
func TestKilledWhileCompacting(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	for round := range sample.Of(12, 4) {
		path, _ := makeFileIn(t, quickDir(t), 0)
		acknowledged := killAfter(t, compacter, path, 5+r.IntN(60))
		s := open(t, path, nil)
		for _, n := range acknowledged {
			if got, err := s.Get(context.Background(), record(n).ID); err != nil || !got.Equal(record(n)) {
				t.Errorf("round %d: %d was acknowledged; it is %+v, %v", round, n, got, err)
			}
		}
		if err := s.Compact(context.Background()); err != nil {
			t.Error(err)
		}
		s.Close()
		nothingBeside(t, path)
	}
}

// killAfter returns what a child acknowledged until it was killed, which is once it
// had acknowledged lines of them.
func killAfter(t *testing.T, name, path string, lines int) (acknowledged []int) {
	t.Helper()
	c, err := startChild(name, path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.kill()
	for {
		var n int
		switch line, err := c.line(30 * time.Second); {
		case errors.Is(err, io.EOF) && len(acknowledged) >= lines:
			return acknowledged
		case err != nil:
			t.Fatalf("after %d of %d: %v", len(acknowledged), lines, err)
		default:
			if _, err := fmt.Sscan(line, &n); err != nil {
				t.Fatalf("the child says %q", line)
			}
		}
		if acknowledged = append(acknowledged, n); len(acknowledged) == lines {
			c.cmd.Process.Kill() // and read on: it goes on until it is dead
		}
	}
}
