// Quickstart takes one subject's tokens through a day of mock time on
// a real bbolt file, in a second, and prints what happens as it happens.
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -db tokens.db   # twice: the second run finds the first one's tokens
//
// Read tour.go first, then steps.go, which holds the calls of an ordinary server;
// refusals.go tells "no good" from "could not tell", and file.go shows that the file
// holds no secret.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

type config struct {
	subject string
	db      string // "" means a temporary file
}

func main() {
	var cfg config
	flag.StringVar(&cfg.subject, "subject", "ana@example.com", "whose tokens they are")
	flag.StringVar(&cfg.db, "db", "", "keep the tokens in this `file` (default: a temporary one)")
	flag.Usage = func() {
		fmt.Fprint(os.Stderr, "usage: quickstart [-subject NAME] [-db FILE]\n\nA day in the life of some tokens, on a real file.\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "quickstart: unexpected argument %q\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	if err := run(os.Stdout, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run takes the tour and writes its transcript to w. It stops at the first step that
// fails.
func run(w io.Writer, cfg config) (err error) {
	t, err := newTour(w, cfg)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := t.close(); err == nil {
			err = closeErr
		}
	}()
	for _, step := range []func() error{
		t.welcome,
		t.lookBack,
		t.slide,
		t.reachCap,
		t.logOutElsewhere,
		t.list,
		t.refusals,
		t.rotate,
		t.reopen,
		t.searchFile,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
