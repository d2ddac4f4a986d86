//go:build darwin || freebsd || linux

package admin

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// inRuntimeDir gives this process a private XDG_RUNTIME_DIR and returns the directory of sockets.
func inRuntimeDir(t *testing.T) string {
	dir := publicDir(t, 0o700)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	return filepath.Join(dir, "lapse")
}

func defaultPath(t *testing.T, file string) string {
	t.Helper()
	path, err := DefaultPath(file)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestDefaultPathOfFile: every path that leads to a file has the same socket, whether the file
// exists or not, and other files have others.
func TestDefaultPathOfFile(t *testing.T) {
	sockets := inRuntimeDir(t)
	dir := publicDir(t, 0o700)
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.MkdirAll(at("data/deep"), 0o700), os.Symlink("data", at("way")), os.Symlink(at("data/tokens.db"), at("link")),
		os.Symlink("../link", at("data/chain")), os.Mkdir(at("other"), 0o700)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(at("data"))
	same := []string{at("data/tokens.db"), "tokens.db", "./tokens.db", "deep/../tokens.db", "../data/tokens.db", at("way/tokens.db"), "../way/tokens.db", at("link"), "chain", at("way/chain")}
	others := []string{"Tokens.db", "tokens.DB", "tokens.db2", "tokens.db ", "deep/tokens.db", at("other/tokens.db"), at("way/deep/tokens.db2")}
	for _, exists := range []bool{false, true} {
		if exists {
			if err := os.WriteFile(at("data/tokens.db"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want := defaultPath(t, same[0])
		if filepath.Dir(want) != sockets || len(filepath.Base(want)) != len("0123456789abcdef0123.sock") {
			t.Errorf("path %q", want)
		}
		for _, file := range same {
			if got := defaultPath(t, file); got != want {
				t.Errorf("exists=%v: %q has %q, want %q", exists, file, got, want)
			}
		}
		seen := map[string]string{want: same[0]}
		for _, file := range others {
			got := defaultPath(t, file)
			if seen[got] != "" {
				t.Errorf("%q has the socket of %q", file, seen[got])
			}
			seen[got] = file
		}
		if said := runProcess(t, "path", "tokens.db"); said != want {
			t.Errorf("another process: %q, want %q", said, want)
		}
	}
	if err := os.Rename(at("data/tokens.db"), at("data/old.db")); err != nil { // as Compact replaces a file
		t.Fatal(err)
	}
	if err := os.WriteFile(at("data/tokens.db"), nil, 0o600); err != nil || defaultPath(t, at("link")) != defaultPath(t, same[0]) {
		t.Errorf("the file was replaced: %v", err)
	}
	if _, err := os.Lstat(sockets); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("DefaultPath made the directory: %v", err)
	}
}

// TestDefaultPathOfNoFile: what cannot be a file has no socket.
func TestDefaultPathOfNoFile(t *testing.T) {
	inRuntimeDir(t)
	dir := publicDir(t, 0o700)
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"", filepath.Join(dir, "missing", "tokens.db"), filepath.Join(dir, "loop")} {
		if path, err := DefaultPath(file); err == nil || path != "" || !strings.Contains(err.Error(), "name the file") {
			t.Errorf("%q: %q, %v", file, path, err)
		}
	}
}

// TestDefaultPathDirectory: the directory is that of XDG_RUNTIME_DIR only if that is private and
// this user's.
func TestDefaultPathDirectory(t *testing.T) {
	file, temp := filepath.Join(publicDir(t, 0o700), "tokens.db"), publicDir(t, 0o777)
	t.Setenv("TMPDIR", temp)
	uid := strconv.Itoa(os.Geteuid())
	without := filepath.Join(temp, "lapse-"+uid)
	if info, err := os.Stat("/run/user/" + uid); err == nil && isPrivate(info) == nil {
		without = "/run/user/" + uid + "/lapse"
	}
	private, link := publicDir(t, 0o700), filepath.Join(publicDir(t, 0o700), "link")
	if err := os.Symlink(private, link); err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{
		"":                             without,
		".":                            without,
		"run":                          without,
		filepath.Join(temp, "missing"): without,
		os.Args[0]:                     without,
		publicDir(t, 0o755):            without,
		publicDir(t, 0o777):            without,
		private:                        filepath.Join(private, "lapse"),
		link:                           filepath.Join(link, "lapse"),
	}
	if os.Geteuid() == 0 {
		of := publicDir(t, 0o700)
		giveToOther(t, of) // as after su, which keeps the environment
		rows[of] = without
	}
	for dir, want := range rows {
		t.Setenv("XDG_RUNTIME_DIR", dir)
		if got := defaultPath(t, file); filepath.Dir(got) != want {
			t.Errorf("%q: %q, want it in %q", dir, got, want)
		}
	}
	os.Unsetenv("XDG_RUNTIME_DIR")
	if got := defaultPath(t, file); filepath.Dir(got) != without {
		t.Errorf("unset: %q, want it in %q", got, without)
	}
}

// TestDefaultPathMeets: a program and its client meet by the file alone, whichever path each of them
// knows. The directory for a user without XDG_RUNTIME_DIR is checked as any other.
func TestDefaultPathMeets(t *testing.T) {
	dir := publicDir(t, 0o700)
	file, link := filepath.Join(dir, "tokens.db"), filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	temp := publicDir(t, 0o777|os.ModeSticky)
	t.Setenv("TMPDIR", temp)
	t.Setenv("XDG_RUNTIME_DIR", "")
	for _, runtime := range []string{"", publicDir(t, 0o700)} {
		t.Setenv("XDG_RUNTIME_DIR", runtime)
		listenHere(t, defaultPath(t, file))
		mustAnswer(t, defaultPath(t, link))
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	path := defaultPath(t, file)
	if filepath.Dir(filepath.Dir(path)) != temp {
		return // this user has a /run/user
	}
	if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(defaultPath(t, dir)); !errors.Is(err, ErrUnsafe) {
		t.Errorf("an open directory in %s: %v", temp, err)
	}
}
