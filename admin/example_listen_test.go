//go:build darwin || freebsd || linux

package admin_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/seed-55daa01a/lapse/admin"
)

// A program listens where its administrators look for it: at the socket of its file.
func ExampleListen() {
	dir, err := os.MkdirTemp("", "lapse-*")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	path := filepath.Join(dir, "run", "app.sock") // or admin.DefaultPath("tokens.db")
	l, err := admin.Listen(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()

	_, err = admin.Listen(path)
	fmt.Println(errors.Is(err, admin.ErrRunning))
	// Output: true
}

// The socket depends on the file, not on the path by which it is named.
func ExampleDefaultPath() {
	dir, err := os.MkdirTemp("", "lapse-*")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	program, err := admin.DefaultPath(filepath.Join(dir, "tokens.db"))
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := admin.DefaultPath(filepath.Join(dir, "..", filepath.Base(dir), "tokens.db"))
	fmt.Println(program == client, err)
	// Output: true <nil>
}
