package storagetest

import (
	"errors"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

func TestMemory(t *testing.T) {
	Run(t, Backend{Open: func(testing.TB) storage.Store { return memory.New() }})
}

// clauses is how many the contract has.
const clauses = 40

func TestCasesCoverTheContract(t *testing.T) {
	pattern := regexp.MustCompile(`^S[0-9]+_[a-z0-9_]+$`)
	names, covered := make(map[string]bool), map[int]bool{}
	for _, c := range cases() {
		if !pattern.MatchString(c.name) || names[c.name] {
			t.Errorf("name %q is malformed or taken", c.name)
		}
		if !strings.HasSuffix(c.rule, ".") {
			t.Errorf("%s: %q is not a sentence", c.name, c.rule)
		}
		clause, _, _ := strings.Cut(c.name, "_")
		names[c.name], covered[clauseNumber(clause)] = true, true
	}
	for n := 1; n <= clauses; n++ {
		if !covered[n] {
			t.Errorf("no case for S%d", n)
		}
	}
	if len(covered) != clauses {
		t.Errorf("cases for %d clauses, want %d", len(covered), clauses)
	}
}

func TestWatch(t *testing.T) {
	forever := make(chan error)
	for _, c := range []struct {
		name     string
		patience time.Duration
		f        func() error
		want     string
	}{
		{"error", patience, func() error { return errNo }, errNo.Error()},
		{"panic", patience, func() error { panic("no way") }, "panic: no way"},
		{"goexit", patience, func() error { runtime.Goexit(); return nil }, errGoexit.Error()},
		{"hang", time.Millisecond, func() error { return <-forever }, errHung.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := runGuarded(c.patience, c.f)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if err := runGuarded(patience, func() error { return nil }); err != nil {
		t.Error(err)
	}
}

// The cases put one subject's ID under another one, so both must have one tag.
func TestRivalSharesTheTag(t *testing.T) {
	if storage.ShardTag(rival) != storage.ShardTag("ana") {
		t.Errorf("the tags of %q and %q differ", rival, "ana")
	}
}

func TestCasesThatNeedReopenSaySo(t *testing.T) {
	b := Backend{Open: func(testing.TB) storage.Store { return memory.New() }}
	skipped := 0
	for _, c := range cases() {
		switch err := c.run(t, b, patience); {
		case err == errNoReopen:
			skipped++
		case errors.Is(err, errNoReopen):
			t.Errorf("%s fails for want of Reopen: %v", c.name, err)
		}
	}
	if skipped == 0 {
		t.Error("no case was skipped")
	}
}

// TestMute: a store without abilities takes every case except those of a Watcher, a BatchGetter and a Pager.
func TestMute(t *testing.T) {
	b := Backend{Open: func(testing.TB) storage.Store { return struct{ storage.Store }{memory.New()} }}
	for _, c := range cases() {
		clause, _, _ := strings.Cut(c.name, "_")
		err := c.run(t, b, patience)
		var want error
		switch clause {
		case "S23", "S24", "S25", "S26":
			want = errNoWatch
		case "S32":
			want = errNoGets
		case "S34":
			want = errNoPages
		case "S35":
			want = errNoByID
		case "S37":
			want = errNoCopies
		}
		if err == errNoShare {
			continue
		}
		if err != want && (want != nil || err != errNoReopen) {
			t.Errorf("%s: %v, want %v", c.name, err, want)
		}
	}
}
