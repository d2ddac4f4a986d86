package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse"
)

// TestPlace: a command line that names no place, two, or a password is refused, and no password is printed.
func TestPlace(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tokens.db")
	if err := boltAt(t, file).Close(); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		env  map[string]string
		args []string
		code int
		says string
	}{
		"none":               {code: exitUsage, says: "LAPSE_FILE"},
		"a file":             {args: []string{"--file", file}},
		"a file by variable": {env: map[string]string{"LAPSE_FILE": file}},
		"two flags":          {args: []string{"--file", file, "--socket", "s"}, code: exitUsage, says: "one of"},
		"two variables":      {env: map[string]string{"LAPSE_FILE": file, "LAPSE_SOCKET": "s"}, code: exitUsage, says: "one of"},
		"a flag over a variable": {
			env: map[string]string{"LAPSE_FILE": file + "x", "LAPSE_SOCKET": "s"}, args: []string{"--file", file},
		},
		"a password in a URL": {args: []string{"--dsn", "postgres://ana:hunter2@localhost/x"}, code: exitUsage, says: "LAPSE_DSN"},
		"a password in pairs": {args: []string{"--dsn", "user=ana password=hunter2"}, code: exitUsage, says: "LAPSE_DSN"},
		"a query's password":  {args: []string{"--dsn", "postgres://localhost/x?password=hunter2"}, code: exitUsage, says: "LAPSE_DSN"},
		"a DSN of no form":    {args: []string{"--dsn", "postgres://%zz:hunter2@h"}, code: exitUsage, says: "LAPSE_DSN"},
		"no server":           {env: map[string]string{"LAPSE_DSN": "postgres://ana:hunter2@127.0.0.1:1/x"}, code: exitFailed, says: "no connection"},
		"no program":          {args: []string{"--socket", filepath.Join(dir, "s")}, code: exitNoProgram, says: "running"},
		"an unknown flag":     {args: []string{"--fiel", file}, code: exitUsage, says: "--help"},
		"a directory":         {args: []string{"--file", dir}, code: exitNoFile},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range row.env {
				t.Setenv(k, v)
			}
			got := lapseAt(t, nil, "", append(row.args, "ls")...).wants(t, row.code, row.says)
			if strings.Contains(got.stdout+got.stderr, "hunter2") {
				t.Errorf("the password is in:\n%s", got.stderr)
			}
		})
	}
}

// TestEmptyPlace: an empty flag, which a shell makes of a variable that is not set, is no leave to take the tokens of
// the environment.
func TestEmptyPlace(t *testing.T) {
	w := fileAlone(t)
	id := w.issue(lapse.Grant{Subject: "ana"}).ID
	w.store.Close()
	t.Setenv("LAPSE_FILE", w.file)
	for _, flag := range [][]string{{"--file="}, {"--file", ""}, {"--socket="}, {"--dsn="}} {
		lapseAt(t, w.clock, "", append(flag, "logout", "ana", "--yes")...).wants(t, exitUsage, "empty")
	}
	w.open(boltAt(t, w.file))
	if w.token(id).EndReason != 0 {
		t.Error("the token was ended")
	}
}
