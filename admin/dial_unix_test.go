//go:build darwin || freebsd || linux

package admin

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDialNothing: where no program can be reached, the error says why.
func TestDialNothing(t *testing.T) {
	dir := publicDir(t, 0o700)
	at := func(name string) string { return filepath.Join(dir, name) }
	leaveStale(t, at("stale"))
	listenHere(t, at("live"))
	if err := errors.Join(os.WriteFile(at("file"), nil, 0o600), os.Symlink(at("live"), at("link"))); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		at   string
		err  error
		text string
	}{
		{"missing", ErrNotRunning, "does it call admin.Serve?"},
		{"stale", ErrNotRunning, "does it call admin.Serve?"},
		{"missing/s", ErrNotRunning, "is it running"},
		{"file", nil, "is not a socket"},
		{"link", nil, "is not a socket"},
		{".", nil, ""},
	} {
		conn, err := dial(context.Background(), at(row.at))
		if err == nil || row.err != nil && !errors.Is(err, row.err) || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%s: %v", row.at, err)
		}
		if row.err == nil && errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: %v", row.at, err)
		}
		if conn != nil {
			t.Errorf("%s: a connection", row.at)
		}
	}
	if _, err := dial(context.Background(), ""); !errors.Is(err, errNoPath) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := dial(ctx, at("live")); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestDialDirectory: dial trusts a directory to which only its owner can write.
func TestDialDirectory(t *testing.T) {
	for _, row := range []struct {
		mode os.FileMode
		ok   bool
	}{
		{0o700, true}, {0o711, true}, {0o755, true}, {0o750, true},
		{0o720, false}, {0o702, false}, {0o775, false}, {0o777, false}, {0o777 | os.ModeSticky, false},
	} {
		dir := publicDir(t, 0o700)
		path := filepath.Join(dir, "s")
		listenHere(t, path)
		if err := os.Chmod(dir, row.mode); err != nil {
			t.Fatal(err)
		}
		conn, err := dial(context.Background(), path)
		if row.ok != (err == nil) || err != nil && (!errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), dir)) {
			t.Errorf("%v: %v", row.mode, err)
		}
		if conn != nil {
			conn.Close()
		}
	}
}

// TestDialThroughLink: a directory may be reached by a symbolic link, as /var/run is; what counts is
// the directory.
func TestDialThroughLink(t *testing.T) {
	dir, links := publicDir(t, 0o700), publicDir(t, 0o700)
	listenHere(t, filepath.Join(dir, "s"))
	link := filepath.Join(links, "run")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	mustAnswer(t, filepath.Join(link, "s"))
	os.Chmod(dir, 0o777)
	if _, err := dial(context.Background(), filepath.Join(link, "s")); !errors.Is(err, ErrUnsafe) {
		t.Error(err)
	}
}

// TestDialDirectoryOfAnother: a socket that another user could have made is not dialled.
func TestDialDirectoryOfAnother(t *testing.T) {
	dir := publicDir(t, 0o700)
	path := filepath.Join(dir, "s")
	accepted := make(chan net.Conn, 1)
	l := listenHere(t, path)
	go func() {
		if conn, err := l.Accept(); err == nil {
			accepted <- conn
		}
	}()
	giveToOther(t, dir)
	_, err := dial(context.Background(), path)
	if !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), "user 65534; run this as that user") {
		t.Error(err)
	}
	select {
	case <-accepted:
		t.Error("dial connected")
	default:
	}
}

// TestDialProgramOfAnother: a program of another user is refused, whatever the directory says.
func TestDialProgramOfAnother(t *testing.T) {
	needRoot(t)
	dir := publicDir(t, 0o777)
	path := filepath.Join(dir, "s")
	p := newProcessOfOther(t, "unbound", path)
	p.begin()
	if said := p.says(); said != "listening" {
		t.Fatal(said)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := dial(context.Background(), path)
	if !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), "the program there runs as user 65534") {
		t.Error(err)
	}
}

// TestDialAsOther: what another user is told, by mode of directory and socket.
func TestDialAsOther(t *testing.T) {
	needRoot(t)
	for _, row := range []struct {
		name        string
		dir, socket os.FileMode
		allow       Allow
		want        string
	}{
		{"as Listen leaves it", 0o700, 0o600, nil, "permission denied; run this as the user of the program"},
		{"open directory", 0o755, 0o600, nil, "permission denied; run this as the user of the program"},
		{"open socket", 0o700, 0o666, nil, "permission denied; run this as the user of the program"},
		{"both open", 0o755, 0o666, nil, "EOF"},
		{"another is allowed", 0o755, 0o666, Allow{{UID: otherUser - 1, Full: true}}, "EOF"},
		{"allowed to read", 0o755, 0o666, Allow{{UID: otherUser}}, "user 65534, full false"},
		{"allowed in full", 0o755, 0o666, Allow{{UID: otherUser, Full: true}}, "user 65534, full true"},
		{"all can write", 0o777, 0o666, Allow{{UID: otherUser, Full: true}}, ErrUnsafe.Error()},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := publicDir(t, 0o700)
			path := filepath.Join(dir, "s")
			l := listenHere(t, path)
			go greetAll(l, row.allow)
			if err := errors.Join(os.Chmod(path, row.socket), os.Chmod(dir, row.dir)); err != nil {
				t.Fatal(err)
			}
			if said := runAsOther(t, "dial", path); !strings.Contains(said, row.want) {
				t.Errorf("%q, want %q", said, row.want)
			}
		})
	}
}

// TestListenAsOther: another user cannot take the path of a program, in no directory of ours.
func TestListenAsOther(t *testing.T) {
	needRoot(t)
	for mode, want := range map[os.FileMode]string{
		0o700:                 "it belongs to user 0", // a directory that cannot even be opened
		0o755:                 "it belongs to user 0",
		0o777:                 "it belongs to user 0",
		0o777 | os.ModeSticky: "it belongs to user 0",
	} {
		dir := publicDir(t, mode)
		path := filepath.Join(dir, "s")
		said := runAsOther(t, "listen", path)
		if !strings.Contains(said, ErrUnsafe.Error()) || !strings.Contains(said, want) {
			t.Errorf("%v: %q, want %q", mode, said, want)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: a socket was made: %v", mode, err)
		}
	}
}

// TestListenInDirectoryOfAnother: also the superuser makes no socket in a directory of another.
func TestListenInDirectoryOfAnother(t *testing.T) {
	dir := publicDir(t, 0o700)
	giveToOther(t, dir)
	_, err := Listen(filepath.Join(dir, "s"))
	if !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), "it belongs to user 65534") {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	sticky := publicDir(t, 0o777|os.ModeSticky) // as /tmp: a link that another user has put in place
	link := filepath.Join(sticky, "lapse-0")
	if err := os.Symlink(publicDir(t, 0o700), link); err != nil {
		t.Fatal(err)
	}
	giveToOther(t, link)
	if _, err := Listen(filepath.Join(link, "s")); !errors.Is(err, ErrUnsafe) {
		t.Error(err)
	}
}

// TestOtherWithUmask: with the umask 000 in the program, another user gets "permission denied" at
// the socket of Listen.
func TestOtherWithUmask(t *testing.T) {
	needRoot(t)
	path := filepath.Join(publicDir(t, 0o755), "run", "s")
	if said := runProcess(t, "listen", path, processUmask+"=000"); said != "listening" {
		t.Fatal(said)
	}
	for _, how := range []string{"connect", "dial"} {
		if said := runAsOther(t, how, path); !strings.Contains(said, "permission denied") {
			t.Errorf("%s: %q", how, said)
		}
	}
}
