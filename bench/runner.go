package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// experiments returns all experiments of a plan, in order: first those that need the memory
// for themselves, then the others by the size of their stores.
func experiments(p plan) []experiment {
	all := spaceExperiments(p)
	for i, size := range p.sizes {
		all = append(all, checkContests(p, size)...)
		switch {
		case i == 0:
			all = append(all, renewalContest(p, size), renewalWrites(p, size), issueContest(p, size))
			all = append(all, textExperiments(p, size)...)
			all = append(all, refreshExperiments(p, size)...)
		case size == p.medium():
			all = append(all, renewalContest(p, size), crowdedCheckContest(p, size))
			all = append(all, rewriteContests(p, size)...)
			if hasPostgres() {
				all = append(all, sharedExperiments(p, size)...)
				all = append(all, refusalExperiment(p, size))
			}
			all = append(all, subjectExperiments(p, size)...)
		case size == p.large():
			all = append(all, issueContest(p, size))
			all = append(all, durableIssueContests(p, size)...)
			all = append(all, sweepExperiments(p, size)...)
		}
	}
	all = append(all, deadExperiments(p)...)
	all = append(all, openIssueContest(p))
	all = append(all, settledContests(p, p.large())...)
	all = append(all, sweepIssues(p, p.large()), crashedOpens(p, p.large()))
	all = append(all, writtenExperiments(p, p.large())...)
	return append(all, churnExperiments(p)...)
}

// measureAll runs the experiments that have rows the options ask for, and prints
// each as soon as it is done.
func measureAll(ctx context.Context, p plan, o options, stdout, stderr io.Writer) (rec *record, err error) {
	w, err := newWorld(ctx, p, o.dir, stderr)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	rec = &record{Format: recordFormat, Command: o.command(), Quick: p.quick, Peers: modules()}
	if rec.Machine, err = thisMachine(w.dir); err != nil {
		return nil, err
	}
	if rec.Machine.Sync < 10_000 {
		w.say("warning: no disk is as fast as the one below %s claims to be; name a real one with -dir", w.dir)
	}
	t := table{w: stdout}
	t.head(rec)
	for _, e := range experiments(p) {
		rows := chosen(e.rows(), o.rows)
		if len(rows) == 0 {
			continue
		}
		g, err := w.measure(ctx, e, rows)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.about().ID, err)
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

// measure runs one experiment. Stores of another size are let go of before.
func (w *world) measure(ctx context.Context, e experiment, rows []row) (g group, err error) {
	g = e.about()
	if g.Tokens != w.tokens {
		if err := w.release(); err != nil {
			return g, err
		}
		w.tokens = g.Tokens
	}
	w.say("measuring %s", g.ID)
	g.Results, g.Sides, err = e.run(ctx, w, rows)
	if err == nil && len(g.Results) != len(rows) {
		err = fmt.Errorf("%d results for %d rows", len(g.Results), len(rows))
	}
	return g, err
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

// command returns the command that repeats the run, without the paths of its results.
func (o options) command() string {
	c := "go -C bench run ."
	if o.quick {
		c += " -quick"
	}
	if o.tokens != 0 {
		c += fmt.Sprint(" -tokens ", o.tokens)
	}
	if o.renew != 0 {
		c += fmt.Sprint(" -renewing ", o.renew)
	}
	if o.rows != nil && o.rows.String() != "" {
		c += fmt.Sprintf(" -rows %q", o.rows)
	}
	return c
}
