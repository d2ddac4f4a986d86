// Cli-login is a command that logs in from a terminal, without a password: its user approves the log-in
// on a page of the server, in a browser (RFC 8628). The server is here, too.
//
//	go run ./cli-login serve     # in examples/net; the server
//	go run ./cli-login login     # in another terminal; then whoami, and logout
//
// Read server.go and page.go for the server, and client.go for the command.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/seed-55daa01a/lapse/storage/memory"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cli-login:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("say serve, login, whoami or logout, and -h after it for its flags")

// run runs the command that args name.
func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	if args[0] == "serve" {
		addr := flags.String("addr", "127.0.0.1:8080", "listen on this `address`")
		ttl := flags.Duration("ttl", time.Minute, "how long an access text lives")
		flags.Parse(args[1:])
		return serve(ctx, *addr, *ttl)
	}
	file := flags.String("file", "", "keep the texts in this `file`; without it, in the folder for the user's settings")
	switch args[0] {
	case "login":
		server := flags.String("server", "http://127.0.0.1:8080", "log in at the server at this `URL`")
		scope := flags.String("scope", "files:read", "ask for these `words`")
		flags.Parse(args[1:])
		return withFile(*file, func(file string) error { return login(ctx, file, strings.TrimRight(*server, "/"), *scope) })
	case "whoami":
		flags.Parse(args[1:])
		return withFile(*file, func(file string) error { return whoami(ctx, file, os.Stdout) })
	case "logout":
		flags.Parse(args[1:])
		return withFile(*file, func(file string) error { return logout(ctx, file) })
	}
	return errUsage
}

// withFile calls do with file, or with the usual one if file is empty.
func withFile(file string, do func(file string) error) error {
	folder, err := os.UserConfigDir()
	if err != nil && file == "" {
		return err
	}
	return do(cmp.Or(file, filepath.Join(folder, "lapse-cli-login", "session.json")))
}

// serve serves until ctx ends. The tokens end with the process.
func serve(ctx context.Context, addr string, ttl time.Duration) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	url := "http://" + l.Addr().String()
	handler, err := routes(memory.New(), url, ttl, nil)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	fmt.Fprintf(os.Stderr, "%s/\nLog in as ana, with the password a. Ctrl-C ends.\n", url)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
