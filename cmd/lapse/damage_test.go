package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse"
)

// TestDamagedRecord: a record of which a bit has flipped on the disk is told, and the others are listed.
func TestDamagedRecord(t *testing.T) {
	w := fileAlone(t)
	w.issue(lapse.Grant{Subject: "ana", Name: "good"})
	w.issue(lapse.Grant{Subject: "ana", Name: "damaged"})
	w.damage("damaged")
	for _, verb := range [][]string{{"check"}, {"ls"}, {"check", "--json"}, {"ls", "--json"}} {
		got := w.lapseOnly(verb...).wants(t, exitDamaged, "good", "damaged")
		if strings.Contains(verb[0], "ls") && strings.Count(got.stdout, "good") != 1 {
			t.Errorf("%s\nwant the good token", got.stdout)
		}
	}
}

// TestDamagedFile: a file whose first meta page is lost is refused, and repaired when asked for.
func TestDamagedFile(t *testing.T) {
	w := fileAlone(t)
	id := w.issue(lapse.Grant{Subject: "ana"}).Token.ID
	w.store.Close()
	b, err := os.ReadFile(w.file)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	clear(b[:page])
	if err := os.WriteFile(w.file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	w.lapseOnly("check").wants(t, exitDamaged, "check --repair")
	w.lapseOnly("check", "--repair").wants(t, exitUsage, "--yes")
	w.lapseOnly("check", "--repair", "--yes").wants(t, 0, "repaired", "1 token good")
	w.lapseOnly("show", id.String()).wants(t, 0)
	w.lapseOnly("check", "--repair", "--yes").wants(t, 0, "no damage")
}

// TestDamagedStats: the figures are printed all the same, and say how many records are damaged.
func TestDamagedStats(t *testing.T) {
	w := fileAlone(t)
	w.issue(lapse.Grant{Subject: "ana", Name: "good"})
	w.issue(lapse.Grant{Subject: "ana", Name: "damaged"})
	w.damage("damaged")
	w.lapseOnly("stats").wants(t, exitDamaged, "tokens   1\n", "live     1\n", "damaged  1\n")
	w.lapseOnly("stats", "--json").wants(t, exitDamaged, `{"tokens":1,"live":1,"file":{"Tokens":1,"Damaged":1`)
}

// TestDamagedScan: a token that cannot be ended keeps no other one from being ended.
func TestDamagedScan(t *testing.T) {
	w := fileAlone(t)
	damaged := w.issue(lapse.Grant{Subject: "ana", Name: "damaged"})
	leaked := w.issue(lapse.Grant{Subject: "ana", Name: "good"})
	w.damage("damaged")
	text := damaged.Bearer + "\n" + leaked.Bearer + "\n" + damaged.Bearer + "\n"
	got := lapseAt(t, w.clock, text, append(w.args[:2:2], "scan", "--expire")...).wants(t, exitDamaged, "-:1:1", "failed: corrupt", "-:2:1", "ended", "-:3:1")
	if strings.Count(got.stdout, "\n") != 3 {
		t.Errorf("printed:\n%s\nwant three lines", got.stdout)
	}
	w.lapseOnly("show", leaked.ID.String()).wants(t, 0, "ended: revoked")
}

// TestDamagedCopy: a backup of a store with a damaged record is made, and restored when asked for, and both say
// what is damaged.
func TestDamagedCopy(t *testing.T) {
	w := fileAlone(t)
	w.issue(lapse.Grant{Subject: "ana", Name: "good"})
	w.issue(lapse.Grant{Subject: "ana", Name: "damaged"})
	w.damage("damaged")
	copied := filepath.Join(t.TempDir(), "copy.db")
	w.lapseOnly("backup", copied).wants(t, exitDamaged, "1 token and 1 damaged record in "+copied, "check")
	w.lapseOnly("restore", copied, "--yes").wants(t, exitDamaged, "1 token and 1 damaged record in "+w.file)
	w.lapseOnly("check").wants(t, exitDamaged, "1 token good, 1 damaged")
}

// TestDamagedJSON: all that is told of damage is objects, too, and for people it says once who tells it.
func TestDamagedJSON(t *testing.T) {
	w := fileAlone(t)
	w.issue(lapse.Grant{Subject: "ana", Name: "damaged"})
	w.damage("damaged")
	for _, verb := range []string{"ls", "check", "stats"} {
		got := w.lapseOnly(verb, "--json").wants(t, exitDamaged, `"code":"corrupt"`)
		for line := range strings.Lines(got.stderr) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s --json told %s", verb, line)
			}
		}
		if got := w.lapseOnly(verb); strings.Contains(got.stderr, "lapse: lapse:") {
			t.Errorf("%s told %s", verb, got.stderr)
		}
	}
	got := w.lapseOnly("scan", "--json", filepath.Join(t.TempDir(), "absent"))
	for line := range strings.Lines(got.stderr) {
		if !json.Valid([]byte(line)) {
			t.Errorf("scan --json told %s", line)
		}
	}
}

// damage flips a bit of text in the file of w, and leaves the store closed.
func (w *world) damage(text string) {
	w.t.Helper()
	w.store.Close()
	b, err := os.ReadFile(w.file)
	if err != nil {
		w.t.Fatal(err)
	}
	found := 0
	for at := 0; ; found++ { // the record, and copies of it in free pages
		i := bytes.Index(b[at:], []byte(text))
		if i < 0 {
			break
		}
		at += i + 1
		b[at] ^= 1
	}
	if err := os.WriteFile(w.file, b, 0o600); err != nil || found == 0 {
		w.t.Fatal(err, found)
	}
}

// lapseOnly runs the command on the file of w, which no test has open.
func (w *world) lapseOnly(args ...string) answer {
	w.t.Helper()
	return lapseAt(w.t, w.clock, "", append(w.args[:len(w.args):len(w.args)], args...)...)
}
