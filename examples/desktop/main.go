// Desktop is a program in the background that keeps tokens in one file, and the command to it:
//
//	go run ./examples/desktop daemon       # serves a clipboard to the devices of each subject
//	go run ./examples/desktop login ana    # makes this machine a device of ana
//	go run ./examples/desktop devices
//	go run ./examples/desktop logout --all # cuts the connections of all devices of ana
//
// The commands work whether or not the daemon runs. Read tokens.go first, which makes that so, then
// commands.go and daemon.go. clipboard.go is the protocol of the daemon's clients.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed-55daa01a/lapse"
)

var errUsage = errors.New("usage: desktop [flags] daemon | login NAME | whoami | devices | logout [--all]")

// desktop is what the flags say.
type desktop struct {
	dir, device, addr string
	all               bool
}

func main() {
	var d desktop
	if config, err := os.UserConfigDir(); err == nil {
		d.dir = filepath.Join(config, "lapse-desktop")
	}
	host, _ := os.Hostname()
	flags := flag.NewFlagSet("desktop", flag.ExitOnError) // with code 2, as for errUsage
	flags.Usage = func() { fmt.Fprintln(os.Stderr, errUsage); flags.PrintDefaults() }
	flags.StringVar(&d.dir, "dir", d.dir, "keep the files in this `directory`")
	flags.StringVar(&d.device, "device", host, "act as the device of this `name`")
	flags.StringVar(&d.addr, "addr", "127.0.0.1:7017", "daemon: serve clients at this `address`")
	flags.BoolVar(&d.all, "all", false, "logout: all devices of the subject")
	flags.Parse(os.Args[1:])
	command := flags.Arg(0)
	if flags.NArg() > 0 {
		flags.Parse(flags.Args()[1:]) // flags may follow the command, too
	}
	err := d.run(context.Background(), command, flags.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "desktop:", err)
	}
	os.Exit(exitCode(err))
}

func (d desktop) run(ctx context.Context, command string, args []string) error {
	if d.all && command != "logout" {
		return errUsage
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil { // no other user may enter it
		return fmt.Errorf("%w; name a directory with --dir", err)
	}
	switch command + strings.Repeat(" NAME", len(args)) {
	case "daemon":
		return d.daemon(ctx)
	case "login NAME":
		return d.with(ctx, func(ctx context.Context, t tokens) error { return d.login(ctx, t, args[0]) })
	case "whoami":
		return d.with(ctx, d.whoami)
	case "devices":
		return d.with(ctx, d.devices)
	case "logout":
		return d.with(ctx, d.logout)
	}
	return errUsage
}

// exitCode is 2 if the command was not understood, 4 if the user has to log in first, and 1 for any
// other error.
func exitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, lapse.ErrUnauthenticated):
		return 4
	}
	return 1
}
