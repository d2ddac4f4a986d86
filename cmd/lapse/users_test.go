//go:build darwin || freebsd || linux

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
)

// nobody is the number of a user who has nothing.
const nobody = 65534

// as runs the compiled command as the user of uid and returns its answer.
func as(t *testing.T, uid uint32, path string, args ...string) answer {
	t.Helper()
	var out, errs bytes.Buffer
	c := exec.Command(path, args...)
	c.Dir, c.Env = "/", []string{"PATH=/usr/bin:/bin", "HOME=/"}
	c.Stdout, c.Stderr = &out, &errs
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	err := c.Run()
	if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return answer{out.String(), errs.String(), c.ProcessState.ExitCode()}
}

// TestOtherUser: another user of the machine reads no token of a file or of a program, unless the program
// lets that user, and writes none.
func TestOtherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only the superuser can act as another user")
	}
	path := built(t)
	w := fileInUse(t)
	id := w.issue(lapse.Grant{Subject: "ana"}).ID
	socket, err := admin.DefaultPath(w.file)
	if err != nil {
		t.Fatal(err)
	}
	as(t, 0, path, "--socket", socket, "ls", "ana").wants(t, 0, id.String())
	for _, place := range [][]string{{"--socket", socket}, {"--file", w.file}} {
		got := as(t, nobody, path, append(place, "ls")...).wants(t, exitRefused)
		if strings.Contains(got.stdout+got.stderr, id.String()) {
			t.Errorf("another user sees the token:\n%s", got.stdout)
		}
	}

	dir := privateDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(dir, "shared")
	w.share(shared, admin.Allow{{UID: nobody}})
	as(t, nobody, path, "--socket", shared, "ls", "ana").wants(t, 0, id.String())
	for _, args := range [][]string{
		{"revoke", id.String()}, {"suspend", id.String()}, {"logout", "ana", "--yes"}, {"issue", "ana"}, {"sweep"}, {"compact"},
		{"edit", id.String(), "--name", "x"}, {"rotate", id.String()}, {"backup", "-"},
	} {
		as(t, nobody, path, append([]string{"--socket", shared}, args...)...).wants(t, exitRefused, "read")
	}
	if tok := w.token(id); tok.EndReason != 0 || !tok.SuspendedAt.IsZero() || tok.Name != "" || tok.Generation != 0 {
		t.Errorf("a user who may only read has changed the token: %+v", tok)
	}
}

// TestOpenMask: what the command writes is for its user alone, also under a umask of 000.
func TestOpenMask(t *testing.T) {
	w := fileInUse(t)
	w.issue(lapse.Grant{Subject: "ana"})
	socket, err := admin.DefaultPath(w.file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	shell := exec.Command("sh", "-c", `umask 000; "$0" --socket "$1" backup "$2/copy" && "$0" --file "$2/new" restore "$2/copy" --yes`, built(t), socket, dir)
	if out, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"copy", "new"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", name, info, err)
		}
	}
}
