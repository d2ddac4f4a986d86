package bolt

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asNobody returns what a child says that runs as a user who owns nothing: root may read and
// write everything.
func asNobody(t *testing.T, name, path string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir, err := os.MkdirTemp("", "lapse-other-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cmd := childCommand(name, path)
	cmd.Path, cmd.Dir = filepath.Join(dir, "test"), "/"
	if err := os.Link(os.Args[0], cmd.Path); err != nil {
		err = os.WriteFile(cmd.Path, readFile(t, os.Args[0]), 0o755)
		if err != nil {
			t.Fatal(err)
		}
	}
	for path := dir; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		os.Chmod(path, 0o755)
	}
	os.Chmod(cmd.Path, 0o755)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: otherUser, Gid: otherUser}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

const otherUser = 65534

// publicDir returns a folder that every user can come to, with the mode.
func publicDir(t *testing.T, mode os.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lapse-public-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

// give gives files to the user of that number.
func give(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.Chown(path, otherUser, otherUser); err != nil {
			t.Skip(err)
		}
	}
}

// TestReadOnlyFolder: a user who may write neither the folder nor the file, nor the log of a
// crash, reads the store.
func TestReadOnlyFolder(t *testing.T) {
	from, want := crashedStore(t, 10)
	path := filepath.Join(publicDir(t, 0o755), "tokens.db")
	copyStoreTo(t, from, path)
	give(t, path, logPath(path))
	for _, path := range []string{path, logPath(path)} {
		if err := os.Chmod(path, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	if says := asNobody(t, reader, path); says != "20 tokens" || len(want) != 20 {
		t.Errorf("it says %s; want %d tokens", says, len(want))
	}
}

// TestFolderThatCannotBeListed: a store is made, used and opened again in it.
func TestFolderThatCannotBeListed(t *testing.T) {
	dir := publicDir(t, 0o300)
	give(t, dir)
	path := filepath.Join(dir, "tokens.db")
	for range 2 {
		if says := asNobody(t, maker, path); strings.Trim(says, "0123456789") != "" {
			t.Errorf("it says %s", says)
		}
	}
	if s := open(t, path, nil); s.Stats().Tokens != 2 {
		t.Errorf("%+v", s.Stats())
	}
}
