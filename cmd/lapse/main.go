package main

import (
	"context"
	"os"
	"os/signal"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/posener/complete"
	"github.com/willabides/kongplete"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() { // a signal after that second ends the process at once
		time.Sleep(time.Second) // timeout and others send two signals together
		stop()
	})
	a := &app{ctx: ctx, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(a.run(os.Args[1:]))
}

// done is what run panics with where kong would exit the process, after --help for instance.
type done int

// run does what args say and returns the exit code.
func (a *app) run(args []string) (status int) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case done:
			status = int(p)
		default:
			panic(p)
		}
	}()
	a.json = asksJSON(args)
	var c cli
	parser, err := kong.New(&c,
		kong.Name("lapse"),
		kong.Description(description),
		kong.Writers(a.stdout, a.stderr),
		kong.Exit(func(code int) { panic(done(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Vars{"version": version()},
		kong.TypeMapper(kindOfSpan, spans),
		kong.KindMapper(reflect.String, words),
		kong.ExplicitGroups(groups),
	)
	if err != nil {
		panic(err) // the grammar itself is wrong
	}
	kongplete.Complete(parser, kongplete.WithPredictor("file", complete.PredictFiles("*")))
	if err := refuseSecrets(args); err != nil {
		return a.fail(err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return a.fail(&usageError{withoutArgument(err)})
	}
	a.place, a.json = c.place, c.JSON
	a.place.clock = a.clock
	if err := parsed.Run(a); err != nil {
		return a.fail(err)
	}
	return 0
}

// asksJSON reports whether args, or else LAPSE_JSON, ask for JSON. It tells how an error of args is printed, of
// which the grammar fills in no flag.
func asksJSON(args []string) bool {
	yes := []string{"true", "1", "yes"} // as the grammar has them
	asks := slices.Contains(yes, strings.ToLower(os.Getenv("LAPSE_JSON")))
	for _, arg := range args {
		name, value, given := strings.Cut(arg, "=")
		switch {
		case arg == "--":
			return asks
		case name == "--json":
			asks = !given || slices.Contains(yes, strings.ToLower(value))
		}
	}
	return asks
}

// version returns the version of the module, as go install knows it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "lapse (unknown version)"
	}
	return "lapse " + info.Main.Version
}
