package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// experiments returns everything there is to measure under a plan, in order: what
// needs the memory for itself comes first, then the stores by size.
func experiments(p plan) []experiment {
	all := spaceExperiments(p)
	for i, size := range p.sizes {
		all = append(all, checkContests(p, size)...)
		switch {
		case i == 0:
			all = append(all, renewalContest(p, size), renewalWrites(p, size), issueContest(p, size))
		case size == p.medium():
			all = append(all, renewalContest(p, size), crowdedCheckContest(p, size))
			all = append(all, rewriteContests(p, size)...)
			all = append(all, subjectExperiments(p, size)...)
		case size == p.large():
			all = append(all, issueContest(p, size))
			all = append(all, durableIssueContests(p, size)...)
			all = append(all, sweepExperiments(p, size)...)
		}
	}
	return append(all, churnExperiments(p)...)
}

// measureAll runs the experiments that have rows the options ask for, and prints
// each as soon as it is done.
func measureAll(ctx context.Context, p plan, o options, stdout, stderr io.Writer) (rec *record, err error) {
	w, err := newWorld(p, o.dir, stderr)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	rec = &record{Format: recordFormat, Command: o.command(), Quick: p.quick, Peers: modules()}
	if rec.Machine, err = thisMachine(w.dir); err != nil {
		return nil, err
	}
	if rec.Machine.Sync < 10_000 {
		w.say("warning: nothing is as fast as the disk below %s claims to be; name a directory on a real one with -dir", w.dir)
	}
	t := table{w: stdout}
	t.head(rec)
	size := -1
	for _, e := range experiments(p) {
		rows := chosen(e.rows(), o.rows)
		if len(rows) == 0 {
			continue
		}
		g := e.about()
		if g.Tokens != size {
			if err := w.release(); err != nil {
				return nil, err
			}
			size = g.Tokens
		}
		w.say("measuring %s", g.ID)
		if g.Results, g.Sides, err = e.run(ctx, w, rows); err != nil {
			return nil, fmt.Errorf("%s: %w", g.ID, err)
		}
		if len(g.Results) != len(rows) {
			return nil, fmt.Errorf("%s: %d results for %d rows", g.ID, len(g.Results), len(rows))
		}
		t.group(g)
		rec.Groups = append(rec.Groups, g)
	}
	if len(rec.Groups) == 0 {
		return nil, fmt.Errorf("no row is named so; -list names them all")
	}
	t.foot(rec)
	w.say("done; at most %s of memory in use", field("/proc/self/status", "VmHWM"))
	return rec, t.err
}

func chosen(rows []row, by *regexp.Regexp) []row {
	var some []row
	for _, r := range rows {
		if by == nil || by.MatchString(r.id) {
			some = append(some, r)
		}
	}
	return some
}

// command is what repeats the run, but for where its results go.
func (o options) command() string {
	c := "go -C bench run ."
	if o.quick {
		c += " -quick"
	}
	if o.tokens != 0 {
		c += fmt.Sprint(" -tokens ", o.tokens)
	}
	if o.rows != nil && o.rows.String() != "" {
		c += fmt.Sprintf(" -rows %q", o.rows)
	}
	return c
}
