package bolt

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// write puts, touches and ends records for ever, and says so after each is
// acknowledged: "n" once record n is there, "-n" once it is ended.
func write(path string) {
	s, err := Open(path, nil)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	ctx := context.Background()
	for n := 1; ; n++ {
		r := record(n)
		err := s.Update(ctx, r.Subject, func(tx storage.Tx) error { return tx.Put(r) })
		if err == nil {
			fmt.Println(n)
			err = s.Touch(ctx, r.ID, storage.Use{At: r.IssuedAt, ExpiresAt: r.ExpiresAt.AddDate(0, 0, 1)})
		}
		if err == nil && n%3 == 0 {
			err = s.Update(ctx, r.Subject, func(tx storage.Tx) error {
				r, err := tx.Get(r.ID)
				if err != nil {
					return err
				}
				r.EndedAt, r.EndReason = r.IssuedAt, storage.EndExpired
				return tx.Put(r)
			})
			fmt.Println(-n)
		}
		if err != nil {
			fmt.Println("error", err)
			return
		}
	}
}

// TestKilledWriter kills a process that writes, again and again: the file opens,
// and everything that was acknowledged is there. (The operating system goes on
// here, so this says nothing of a sync that is missing.)
func TestKilledWriter(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for round := range 12 {
		path := filepath.Join(t.TempDir(), "tokens.db")
		acknowledged := killAfter(t, path, 20+r.IntN(400))
		s, err := Open(path, nil)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, n := range acknowledged {
			got, err := s.Get(context.Background(), record(max(n, -n)).ID)
			if err != nil || n < 0 && got.EndReason != storage.EndExpired {
				t.Errorf("round %d: %d was acknowledged; it is %+v, %v", round, n, got, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killAfter returns what the writer acknowledged until it was killed, which is once
// it had acknowledged lines of them.
func killAfter(t *testing.T, path string, lines int) (acknowledged []int) {
	t.Helper()
	cmd := childCommand(writer, path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := bufio.NewReader(out)
	for {
		var n int
		line, err := read.ReadString('\n')
		if err == io.EOF {
			break
		}
		if _, err := fmt.Sscan(line, &n); err != nil {
			t.Fatalf("the writer says %q", line)
		}
		if acknowledged = append(acknowledged, n); len(acknowledged) == lines {
			cmd.Process.Kill() // and read on: it goes on until it is dead
		}
	}
	cmd.Wait()
	if len(acknowledged) < lines {
		t.Fatalf("the writer stopped by itself after %d of %d", len(acknowledged), lines)
	}
	return acknowledged
}
