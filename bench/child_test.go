package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// TestMain lets the test binary be a child, with jobs that are planted.
func TestMain(m *testing.M) {
	works["fail"] = func(job) (answer, error) { return answer{}, errors.New("planted") }
	works["die at once"] = func(job) (answer, error) { return answer{}, die() }
	works["answer and die"] = func(j job) (answer, error) {
		err := json.NewEncoder(os.Stdout).Encode(answer{Done: j.Count})
		return answer{}, errors.Join(err, die())
	}
	works["answer"] = func(j job) (answer, error) { return answer{Done: j.Count}, nil }
	if isChild(os.Args) {
		os.Exit(child(os.Args, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// TestChild wants an answer from a child that gave one, dead or alive, and an error from
// any other.
func TestChild(t *testing.T) {
	for kind, good := range map[string]bool{
		"answer": true, "answer and die": true, "fail": false, "die at once": false, "no such job": false,
	} {
		a, err := job{Kind: kind, Count: 7}.run(t.Context())
		if (err == nil) != good || good && a.Done != 7 {
			t.Errorf("%s: %+v, %v", kind, a, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (job{Kind: "answer"}).run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that was interrupted: %v", err)
	}
	var out, complaint bytes.Buffer
	if code := child([]string{"bench", childFlag, "{"}, &out, &complaint); code != 1 || out.Len() > 0 || complaint.Len() == 0 {
		t.Errorf("a job that is no JSON: code %d, %q, %q", code, &out, &complaint)
	}
	for _, args := range [][]string{{"bench"}, {"bench", childFlag}, {"bench", "-quick", "{}"}, {"bench", childFlag, "{}", "-quick"}} {
		if isChild(args) {
			t.Errorf("%q are the arguments of a child", strings.Join(args, " "))
		}
	}
}

// TestChangeAndDie wants every change that a killed child has answered for in the store.
func TestChangeAndDie(t *testing.T) {
	const tokens, changes = 50, 7
	w := quickWorld(t)
	s, err := w.shelf(tokens)
	if err != nil {
		t.Fatal(err)
	}
	before := expiries(t, s.path)
	path, err := w.copied(s.path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := job{Kind: "change and die", Path: path, Count: changes, Seed: 1}.run(t.Context())
	if err != nil || a.Done != changes {
		t.Fatalf("%+v, %v", a, err)
	}
	inLog, err := w.unmerged(path)
	if err != nil || inLog > changes {
		t.Errorf("%d changes are not in the tree, %v", inLog, err)
	}
	raised := 0
	for id, at := range expiries(t, path) {
		if at > before[id] {
			raised++
		}
	}
	if raised != changes {
		t.Errorf("%d tokens were renewed, want %d", raised, changes)
	}
	if n, err := w.unmerged(s.path); n != 0 || err != nil {
		t.Errorf("of a store that was closed %d changes are not in the tree, %v", n, err)
	}
}

// expiries opens the store at path and returns when each token runs out.
func expiries(t *testing.T, path string) map[storage.ID]int64 {
	t.Helper()
	store, err := bolt.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	all := map[storage.ID]int64{}
	for r, err := range store.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all[r.ID] = r.ExpiresAt.UnixMilli()
	}
	return all
}

// TestDiffering plants records that were changed, put and deleted.
func TestDiffering(t *testing.T) {
	type sums = map[storage.ID]uint64
	a, b, c := storage.ID{1}, storage.ID{2}, storage.ID{3}
	for _, x := range []struct {
		before, after sums
		want          int
	}{
		{nil, nil, 0},
		{sums{a: 1}, sums{a: 1}, 0},
		{sums{a: 1}, sums{a: 2}, 1},
		{nil, sums{a: 1}, 1},
		{nil, sums{a: 0}, 1},
		{sums{a: 1}, nil, 1},
		{sums{a: 1, b: 2}, sums{b: 3, c: 1}, 3},
	} {
		if got := differing(x.before, x.after); got != x.want {
			t.Errorf("%v and %v: %d, want %d", x.before, x.after, got, x.want)
		}
	}
}
