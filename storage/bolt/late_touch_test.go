package bolt

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// isCapped lowers the expiry of r, and lets nothing raise it again.
func isCapped(r *storage.Record) *storage.Record {
	r.ExpiresAt = r.IssuedAt.Add(time.Minute)
	r.MaxExpiresAt = r.ExpiresAt
	return r
}

// TestLateTouch: a Touch that says more than the cap that an Update lowers, or is of a
// record that an Update deletes, leaves nothing of that behind, whenever it comes and
// whenever it is written: not in the table, not in what a crash leaves, not in the file.
func TestLateTouch(t *testing.T) {
	used := record(1).IssuedAt.Add(time.Second)
	capped := after([]troubled{isCapped})
	capped.LastUsedAt = used
	for name, row := range map[string]struct {
		change troubled
		want   *storage.Record
	}{"capped": {isCapped, capped}, "deleted": {isDeleted, nil}} {
		for _, when := range []string{"flushed before", "flush under way", "not flushed", "while it is written"} {
			t.Run(name+", "+when, func(t *testing.T) {
				lateTouch(t, when, row.change, row.want, storage.Use{At: used, ExpiresAt: record(1).MaxExpiresAt})
			})
		}
	}
}

func lateTouch(t *testing.T, when string, change troubled, want *storage.Record, use storage.Use) {
	path, _ := makeFile(t, 10)
	s := open(t, path, &lazy)
	touches := func() {
		if err := s.Touch(context.Background(), record(1).ID, use); err != nil {
			t.Error(err)
		}
	}
	if when != "while it is written" {
		touches()
	}
	if when == "flushed before" {
		if err := s.flush(); err != nil {
			t.Fatal(err)
		}
	}
	g := holdCommits(t, s)
	first := async(func() error { return putting(s, record(20)) })
	<-g.arrived
	var flushed chan error
	staged := 0
	if when == "flush under way" {
		flushed = async(s.flush)
		staged = 1
	}
	awaitWaiting(s, staged)
	changed := stages(s, []troubled{change})
	touches()
	letCommits(s)
	g.release <- nil
	if err := errors.Join(<-first, <-changed[0]); err != nil {
		t.Fatal(err)
	}
	if flushed != nil {
		if err := <-flushed; err != nil {
			t.Error(err)
		}
	}
	for _, again := range []string{"at once", "touched again"} {
		oneIs(t, again, s, want)
		c := openCrashed(t, path)
		if want != nil {
			if got := shown(t, c, want.ID); !got.ExpiresAt.Equal(want.ExpiresAt) {
				t.Errorf("%s, after a crash: expires %v; want %v", again, got.ExpiresAt, want.ExpiresAt)
			}
		} else {
			oneIs(t, again+", after a crash", c, nil)
		}
		touches()
		if err := s.flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	oneIs(t, "reopened", open(t, path, nil), want)
}
