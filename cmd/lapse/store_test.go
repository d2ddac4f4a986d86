package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// TestBackupRestore: what was ended after the backup lives again, and what was issued after it is gone.
func TestBackupRestore(t *testing.T) {
	for _, name := range []string{"file", "in use"} {
		t.Run(name, func(t *testing.T) {
			w := worlds[name](t)
			kept := w.issue(lapse.Grant{Subject: "ana"}).Token.ID
			copied := filepath.Join(t.TempDir(), "copy.db")
			w.lapse("", "backup", copied).wants(t, 0, "1 token in "+copied)
			if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v; want mode 0600", info.Mode(), err)
			}
			w.lapse("", "backup", copied).wants(t, exitUsage, "--force")
			w.lapse("", "backup", copied, "--force").wants(t, 0)
			late := w.issue(lapse.Grant{Subject: "ana"}).Token.ID
			if _, err := w.users.Expire(t.Context(), kept); err != nil {
				t.Fatal(err)
			}
			if w.stop != nil {
				w.lapse("", "restore", copied, "--yes").wants(t, exitInUse, "stop it")
				w.stop()
				w.stop = nil
			}
			w.lapse("", "restore", copied).wants(t, exitUsage, "--yes")
			if w.token(kept).EndedAt.IsZero() {
				t.Fatal("the token lives again although nobody said yes")
			}
			w.lapse("", "restore", copied, "--yes").wants(t, 0, "1 token in "+w.file)
			if !w.token(kept).EndedAt.IsZero() {
				t.Error("the token is still ended")
			}
			w.lapse("", "show", late.String()).wants(t, exitNotFound)
		})
	}
}

// TestBackupRefused: a refused backup or restore leaves what was there, and nothing beside it.
func TestBackupRefused(t *testing.T) {
	w := fileAlone(t)
	id := w.issue(lapse.Grant{Subject: "ana"}).Token.ID
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("no store"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args []string
		code int
	}{
		{[]string{"backup", text}, exitUsage},
		{[]string{"backup", filepath.Join(dir, "no", "copy")}, exitNoFile},
		{[]string{"restore", text, "--yes"}, exitDamaged},
		{[]string{"restore", filepath.Join(dir, "absent"), "--yes"}, exitNoFile},
	} {
		w.lapse("", row.args...).wants(t, row.code)
	}
	w.token(id)
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v, %v; want text alone", files, err)
	}
	m := inMemory(t)
	m.lapse("", "backup", filepath.Join(dir, "copy")).wants(t, exitFailed, "Server.Store")
	m.lapse("", "restore", text, "--yes").wants(t, exitUsage, "--file")
}

// TestStoreJSON: the verbs of the store as a whole print an object each, and tell nothing besides.
func TestStoreJSON(t *testing.T) {
	w := fileAlone(t)
	w.issue(lapse.Grant{Subject: "ana"})
	copied := filepath.Join(t.TempDir(), "copy.db")
	for _, args := range [][]string{
		{"backup", copied}, {"restore", copied, "--yes"}, {"compact"}, {"check"}, {"sweep", "--retention", "1h"}, {"stats"}, {"logout", "ana", "--yes"},
	} {
		got := w.lapse("", append(args, "--json")...).wants(t, 0)
		var object map[string]any
		if err := json.Unmarshal([]byte(got.stdout), &object); err != nil || len(object) == 0 || strings.Count(got.stdout, "\n") != 1 || got.stderr != "" {
			t.Errorf("%v printed %q and told %q, want one object: %v", args, got.stdout, got.stderr, err)
		}
	}
}

func TestSweep(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		w.issue(lapse.Grant{Subject: "ana"}) // dead after an hour
		w.clock.Set(start.Add(2 * time.Hour))
		if !w.alone() {
			w.lapse("", "sweep", "--retention", "1h").wants(t, exitUsage, "policy")
			w.lapse("", "sweep").wants(t, 0, "0 dead tokens deleted")
			w.clock.Set(start.Add(26 * time.Hour))
			w.lapse("", "sweep").wants(t, 0, "1 dead token deleted")
			return
		}
		w.lapse("", "sweep").wants(t, exitUsage, "--retention")
		w.lapse("", "sweep", "--retention=-1s").wants(t, exitUsage, "negative")
		w.lapse("", "sweep", "--retention", "61m").wants(t, 0, "0 dead tokens deleted")
		w.lapse("", "sweep", "--retention", "59m").wants(t, 0, "1 dead token deleted")
	})
}

// TestCheck: a file with a damaged record is told apart from a good one, and repaired when asked for.
func TestCheck(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		w.issue(lapse.Grant{Subject: "ana"})
		w.lapse("", "check").wants(t, 0, "1 token good, 0 damaged")
		w.lapse("", "check", "--json").wants(t, 0, `{"damaged":0,"good":1}`)
	})
}

func TestCompactAndStats(t *testing.T) {
	for _, name := range []string{"file", "in use"} {
		t.Run(name, func(t *testing.T) {
			w := worlds[name](t)
			w.issue(lapse.Grant{Subject: "ana"})
			w.lapse("", "compact").wants(t, 0, "before")
			got := w.lapse("", "stats").wants(t, 0, "tokens  ")
			if name == "in use" {
				got.wants(t, 0, "file", "issue ok")
			}
		})
	}
	m := inMemory(t)
	m.lapse("", "compact").wants(t, exitFailed, "Server.Store")
	m.lapse("", "stats", "--json").wants(t, 0, `{"tokens":0,"live":0`)
}

// TestStatsOfPrefix: the tokens of a prefix are counted if one is given.
func TestStatsOfPrefix(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		w.issue(lapse.Grant{Subject: "ana"})
		if _, err := w.pairs.Issue(t.Context(), lapse.Grant{Subject: "ana"}); err != nil {
			t.Fatal(err)
		}
		w.lapse("", "stats", "--json").wants(t, 0, `{"tokens":2,"live":2`)
		w.lapse("", "stats", "--json", "--prefix", "web").wants(t, 0, `{"tokens":1,"live":1`)
	})
}

// TestNoFile: no verb makes a file where there is none.
func TestNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent.db")
	for _, verb := range [][]string{{"ls"}, {"check"}, {"compact"}, {"stats"}, {"sweep", "--retention", "1h"}, {"backup", path + ".copy"}, {"check", "--repair", "--yes"}} {
		lapseAt(t, nil, "", append([]string{"--file", path}, verb...)...).wants(t, exitNoFile)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("there is a file now")
	}
}

// TestInUse: a file that a program has open without a socket.
func TestInUse(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", privateDir(t))
	path := filepath.Join(t.TempDir(), "tokens.db")
	s, err := bolt.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := boltAt(t, copied).Close(); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		says string
		verb []string
	}{
		{"as the user of that process", []string{"ls"}}, {"admin.Serve", []string{"compact"}},
		{"stop it first", []string{"restore", copied, "--yes"}}, {"stop it first", []string{"check", "--repair", "--yes"}},
	} {
		lapseAt(t, nil, "", append([]string{"--file", path}, row.verb...)...).wants(t, exitInUse, "process", row.says)
	}
}

// TestBackupSpares: --force replaces no file that a store needs, and nothing but a regular file.
func TestBackupSpares(t *testing.T) {
	everyFile := func(t *testing.T, w *world) {
		dir := t.TempDir()
		link := filepath.Join(dir, "link")
		if err := os.Symlink(w.file, link); err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{w.file, w.file + "-lapse", link, dir, ""} {
			before, _ := os.Lstat(to)
			got := w.lapse("", "backup", to, "--force")
			if after, _ := os.Lstat(to); got.code == 0 || before != nil && !os.SameFile(before, after) {
				t.Errorf("%q: exit %d, it is replaced; printed %s", to, got.code, got.stderr)
			}
		}
		w.issue(lapse.Grant{Subject: "ana"})
	}
	for _, name := range []string{"file", "in use"} {
		t.Run(name, func(t *testing.T) { everyFile(t, worlds[name](t)) })
	}
	t.Run("by socket", func(t *testing.T) {
		if holder(boltOpen(t)) == "" {
			t.Skip("the system does not say who has a file open")
		}
		w := fileInUse(t)
		path, err := admin.DefaultPath(w.file)
		if err != nil {
			t.Fatal(err)
		}
		w.args = []string{"--socket", path}
		everyFile(t, w)
	})
}

// TestBackupAsLog: no backup gets the name of the log of another store, which would be refused then.
func TestBackupAsLog(t *testing.T) {
	w, other := fileAlone(t), fileAlone(t)
	id := other.issue(lapse.Grant{Subject: "ana"}).Token.ID.String()
	other.store.Close()
	w.lapse("", "backup", other.file+"-lapse").wants(t, exitUsage, "log")
	other.lapseOnly("show", id).wants(t, 0)
	w.lapse("", "backup", filepath.Join(t.TempDir(), "none-lapse")).wants(t, 0)
}

// TestRestoreSpares: restore replaces no database of another program.
func TestRestoreSpares(t *testing.T) {
	w := fileAlone(t)
	copied := filepath.Join(t.TempDir(), "copy.db")
	w.lapse("", "backup", copied).wants(t, 0)
	foreign := filepath.Join(t.TempDir(), "foreign.db")
	db, err := bbolt.Open(foreign, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("precious"))
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	lapseAt(t, nil, "", "--file", foreign, "restore", copied, "--yes").wants(t, exitNoFile, "not a lapse store")
	if after, err := os.ReadFile(foreign); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the database was changed, %v", err)
	}
}

// boltOpen returns the path of a store that is open.
func boltOpen(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "open.db")
	s := boltAt(t, path)
	t.Cleanup(func() { s.Close() })
	return path
}
