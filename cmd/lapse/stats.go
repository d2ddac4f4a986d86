package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
	"github.com/seed-55daa01a/lapse/storage"
)

// statsCommand is `lapse stats`.
type statsCommand struct{}

// figures are what stats prints. The file and the counters are missing where there are none.
type figures struct {
	Tokens   int       `json:"tokens"`
	Live     int       `json:"live"`
	File     *file     `json:"file,omitempty"`
	Counters []counter `json:"counters,omitempty"`
}

// file are the storage.Stats of a file, with its errors as texts.
type file struct {
	storage.Stats
	Err           string `json:",omitempty"`
	NoLog         string `json:",omitempty"`
	CheckpointErr string `json:",omitempty"`
}

// counter is how often a verb of the program had an outcome since the program began.
type counter struct {
	lapse.StatKey
	N uint64 `json:"n"`
}

func (c *statsCommand) Run(a *app) error {
	return a.with(toRead, func(ctx context.Context, t tokens) error {
		f, err := figuresOf(ctx, t, a.place.Prefix)
		if err != nil && !errors.Is(err, lapse.ErrCorrupt) {
			return err
		}
		return errors.Join(a.printFigures(f), err)
	})
}

// printFigures prints f.
func (a *app) printFigures(f figures) error {
	if a.json {
		return a.print(f)
	}
	rows := &table{out: a.stdout}
	for _, line := range f.lines() {
		if err := rows.add(row{cells: line}); err != nil {
			return err
		}
	}
	return rows.flush()
}

// figuresOf returns the figures of t, with the tokens of prefix, or of any if prefix is "". With an error that wraps
// ErrCorrupt, they are those of what can be read.
func figuresOf(ctx context.Context, t tokens, prefix string) (f figures, damaged error) {
	var err error
	if f.Tokens, damaged = t.Count(ctx, lapse.Query{Prefix: prefix}); damaged != nil && !errors.Is(damaged, lapse.ErrCorrupt) {
		return f, damaged
	}
	if f.Live, err = t.Count(ctx, lapse.Query{Prefix: prefix, Live: true}); err != nil && !errors.Is(err, lapse.ErrCorrupt) {
		return f, err
	}
	s, err := t.StoreStats(ctx)
	switch {
	case err == nil:
		f.File = &file{s, text(s.Err), text(s.NoLog), text(s.CheckpointErr)}
	case !errors.Is(err, errors.ErrUnsupported):
		return f, err
	}
	program, is := t.(*admin.Client)
	if !is {
		return f, damaged
	}
	counters, err := program.Stats(ctx)
	if err != nil {
		return f, err
	}
	for key, n := range counters {
		f.Counters = append(f.Counters, counter{key, n})
	}
	slices.SortFunc(f.Counters, func(a, b counter) int {
		return strings.Compare(a.Verb.String()+" "+a.Outcome, b.Verb.String()+" "+b.Outcome)
	})
	return f, damaged
}

// lines returns f as the cells of a table.
func (f *figures) lines() [][]string {
	lines := [][]string{{"tokens", fmt.Sprint(f.Tokens)}, {"live", fmt.Sprint(f.Live)}}
	if f.File != nil {
		lines = append(lines, f.File.lines()...)
	}
	for _, c := range f.Counters {
		lines = append(lines, []string{c.Verb.String() + " " + c.Outcome, fmt.Sprint(c.N)})
	}
	return lines
}

// lines returns the figures of a file, without those that are zero.
func (f *file) lines() (lines [][]string) {
	for _, line := range [][]string{
		{"damaged", nonzero(f.Damaged)},
		{"file", size(f.FileSize)},
		{"log", size(f.LogSize)},
		{"not flushed", nonzero(f.Unsaved)},
		{"commits", nonzero(f.Commits)},
		{"writes", nonzero(f.Writes)},
		{"failed writes", nonzero(f.Failed)},
		{"cannot write", f.Err},
		{"has no log", f.NoLog},
		{"cannot merge", f.CheckpointErr},
	} {
		if line[1] != "" && line[1] != "0 bytes" {
			lines = append(lines, line)
		}
	}
	return lines
}

// nonzero returns n as text, "" for 0.
func nonzero(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// text returns the text of err, "" for nil.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
