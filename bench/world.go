package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// world has the stores on which rows are measured. Stores that several rows need are made once
// and live until release.
type world struct {
	ctx   context.Context // of the run: what takes long gives up with it
	plan  plan
	dir   string // on the disk that is measured
	log   io.Writer
	begin time.Time

	ticks  *tickClock // of all managers that renew: no use is before one that is recorded
	tokens int        // live in the stores that are made
	made   map[string]any
	closes []func() error
	files  int
}

func newWorld(ctx context.Context, p plan, dir string, log io.Writer) (*world, error) {
	dir, err := os.MkdirTemp(dir, "lapse-bench-")
	if err != nil {
		return nil, err
	}
	return &world{ctx: ctx, plan: p, dir: dir, log: log, begin: time.Now(), ticks: new(tickClock), made: map[string]any{}}, nil
}

// close ends everything and deletes the files.
func (w *world) close() error {
	return errors.Join(w.release(), os.RemoveAll(w.dir))
}

// release lets go of all stores, so that the next ones have the memory and the
// collector for themselves.
func (w *world) release() error {
	var errs []error
	for i := len(w.closes) - 1; i >= 0; i-- {
		errs = append(errs, w.closes[i]())
	}
	w.made, w.closes = map[string]any{}, nil
	return errors.Join(errs...)
}

// atRelease has f called when the stores are let go of.
func (w *world) atRelease(f func() error) { w.closes = append(w.closes, f) }

// once returns the result of make from the first call with that name.
func once[T any](w *world, name string, make func() (T, error)) (T, error) {
	if v, ok := w.made[name]; ok {
		return v.(T), nil
	}
	begin := time.Now()
	v, err := make()
	if err != nil {
		return v, fmt.Errorf("%s: %w", name, err)
	}
	if took := time.Since(begin); took > 100*time.Millisecond {
		w.say("made %s in %s", name, humane(float64(took), "ns"))
	}
	w.made[name] = v
	return v, nil
}

// say tells how far the run is.
func (w *world) say(format string, args ...any) {
	fmt.Fprintf(w.log, "%6.1f s  %s\n", time.Since(w.begin).Seconds(), fmt.Sprintf(format, args...))
}

// file returns the path of a file that does not exist yet.
func (w *world) file(name string) string {
	w.files++
	return filepath.Join(w.dir, fmt.Sprintf("%02d-%s", w.files, name))
}

// subject returns the name of the i-th subject.
func subject(i int) string { return fmt.Sprintf("subject-%06d", i) }

// subjects returns as many names as the largest store has tokens, ready for a loop
// that is timed.
func (w *world) subjects() texts {
	names, _ := once(w, "names of subjects", func() (texts, error) {
		return makeTexts(max(w.plan.large(), 10_000), subject), nil
	})
	return names
}

// texts is many strings of one length in one piece of memory: a million of them
// cost the collector nothing, and to read them in order costs no cache miss, as
// the text of a request would not.
type texts struct {
	all   string
	width int
}

// makeTexts calls text for each i below n. All must have the length of the first.
func makeTexts(n int, text func(i int) string) texts {
	first := text(0)
	t := texts{width: len(first)}
	all := make([]byte, 0, n*t.width)
	all = append(all, first...)
	for i := 1; i < n; i++ {
		all = append(all, text(i)...)
	}
	t.all = string(all)
	return t
}

func (t texts) len() int { return len(t.all) / t.width }

// at returns the text of i modulo the number of texts.
func (t texts) at(i int) string {
	i = i % t.len() * t.width
	return t.all[i : i+t.width]
}

// first returns the first n of t.
func (t texts) first(n int) texts { return texts{t.all[:n*t.width], t.width} }
