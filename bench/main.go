// Bench measures lapse against what its users would otherwise use, and against the
// bare parts that no such operation can do without, and prints one table of ratios.
//
//	go -C bench run .                                 # everything: half an hour, 5 GB of memory
//	go -C bench run . -quick                          # a smoke run: its figures mean nothing
//	go -C bench run . -rows check/1e3                 # some rows; -list names them all
//	go -C bench run . -out ../docs/bench/NAME.json -charts ../docs/img
//	go -C bench run . -from ../docs/bench/NAME.json -charts ../docs/img
//
// Read plan.go first, which says how much is measured, then measure.go, which says
// how. The rows stand in files by subject: check.go, issue.go, durable.go, settled.go,
// openissue.go, crashed.go, written.go, subject.go, sessions.go, texts.go, dead.go, sweep.go,
// sweepissue.go, space.go, disk.go. Each peer has a file of its own, peer_NAME.go.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	rows   *regexp.Regexp
	list   bool
	quick  bool
	tokens int
	renew  time.Duration
	dir    string
	out    string
	charts string
	from   string
}

func main() {
	if isChild(os.Args) {
		os.Exit(child(os.Args, os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	opts, err := parse(os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(2)
	}
	if err := run(ctx, opts, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parse reads the flags. What is wrong with them has been written to stderr.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	rows := flags.String("rows", "", "measure only the rows whose name this `regexp` matches")
	flags.BoolVar(&o.list, "list", false, "print the names of the rows and measure nothing")
	flags.BoolVar(&o.quick, "quick", false, "small stores and few turns: a smoke run, whose figures mean nothing")
	flags.IntVar(&o.tokens, "tokens", 0, "live tokens in the largest stores, at least 100,000 (default 1,000,000)")
	flags.DurationVar(&o.renew, "renewing", 0, "how long renewals go on whose bytes on disk are counted (default 3m)")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "put the files that are measured below this `directory`: it decides which disk")
	flags.StringVar(&o.out, "out", "", "write the record of the run to this `file`, as JSON")
	flags.StringVar(&o.charts, "charts", "", "draw the charts into this `directory`, as SVG")
	flags.StringVar(&o.from, "from", "", "measure nothing: take the record in this `file`")
	err := flags.Parse(args)
	switch {
	case err != nil:
		return o, err
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.tokens != 0 && (o.tokens < 100_000 || o.quick):
		err = fmt.Errorf("-tokens takes at least 100000, and not with -quick")
	case o.renew < 0:
		err = fmt.Errorf("-renewing takes a duration above 0")
	default:
		o.rows, err = regexp.Compile(*rows)
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
	}
	return o, err
}

// run does what the flags say. The table goes to stdout, progress to stderr.
func run(ctx context.Context, o options, stdout, stderr io.Writer) error {
	p := o.plan()
	if o.list {
		for _, e := range experiments(p) {
			for _, r := range e.rows() {
				fmt.Fprintln(stdout, r.id)
			}
		}
		return nil
	}
	rec, err := o.record(ctx, p, stdout, stderr)
	if err != nil {
		return err
	}
	if o.out != "" {
		if err := rec.write(o.out); err != nil {
			return err
		}
	}
	if o.charts != "" {
		return drawCharts(rec, o.charts)
	}
	return nil
}

// plan chooses how much is measured.
func (o options) plan() plan {
	p := fullPlan(1_000_000)
	switch {
	case o.quick:
		p = quickPlan()
	case o.tokens != 0:
		p = fullPlan(o.tokens)
	}
	if o.renew != 0 {
		p.renewing = o.renew
	}
	return p
}

// record measures, or reads what was measured before, and prints the table.
func (o options) record(ctx context.Context, p plan, stdout, stderr io.Writer) (*record, error) {
	if o.from != "" {
		rec, err := readRecord(o.from)
		if err != nil {
			return nil, err
		}
		return rec, rec.print(stdout)
	}
	return measureAll(ctx, p, o, stdout, stderr)
}
