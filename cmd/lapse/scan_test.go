package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
)

// TestScan: a text is found without a store, and ends its own token and no other.
func TestScan(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		leaked := w.issue(lapse.Grant{Subject: "ana"})
		kept := w.issue(lapse.Grant{Subject: "ana"})
		pair, err := w.pairs.Issue(t.Context(), lapse.Grant{Subject: "bob"})
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for name, text := range map[string]string{
			"env":     "A=1\nTOKEN=" + leaked.Bearer + "\n",
			"again":   leaked.Bearer,
			"refresh": `{"refresh_token":"` + pair.Refresh.Bearer + `"}`,
			"unknown": replaceSecret(leaked.Bearer, kept.Bearer),
			"none":    "nothing",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(filepath.Join(dir, "env"), filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		found := lapseAt(t, w.clock, "", "scan", dir).wants(t, exitFound, fmt.Sprintf("env:2:7  lapse  %s", leaked.ID), "--expire")
		if n := strings.Count(found.stdout, "\n"); n != 3 {
			t.Errorf("%d lines, want 3:\n%s", n, found.stdout)
		}
		got := w.lapse("", "scan", dir, "--expire", "--note", "leaked").wants(t, 0, "  ended")
		for _, bearer := range []string{leaked.Bearer, pair.Refresh.Bearer} {
			if strings.Contains(found.stdout+found.stderr+got.stdout+got.stderr, bearer) {
				t.Errorf("a text is printed:\n%s", got.stdout)
			}
		}
		if tok := w.token(leaked.ID); tok.EndReason == 0 || tok.EndNote != "leaked" {
			t.Errorf("the leaked token: %v, %q", tok.EndReason, tok.EndNote)
		}
		if tok := w.token(pair.Refresh.ID); tok.EndReason == 0 {
			t.Error("the session lives")
		}
		if tok := w.token(kept.ID); tok.EndReason != 0 {
			t.Error("another token was ended")
		}
		w.lapse(leaked.Bearer+" ", "scan", "--expire", "--json").wants(t, 0, `"file":"-"`, `"outcome":"ended"`)
		w.lapse("", "scan", filepath.Join(dir, "absent"), filepath.Join(dir, "env"), "--expire").wants(t, exitNoFile, "ended", "absent")
	})
}

// TestScanNotServed: a token that the program cannot end is told of, and the others end.
func TestScanNotServed(t *testing.T) {
	w := inMemory(t)
	w.stop()
	l, err := admin.Listen(w.args[1])
	if err != nil {
		t.Fatal(err)
	}
	pair, err := w.pairs.Issue(t.Context(), lapse.Grant{Subject: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	w.pairs, err = lapse.NewPairs(w.store, lapse.PairConfig{Access: lapse.Config{Prefix: "other", Clock: w.clock}, Refresh: lapse.Config{Prefix: "other_refresh"}})
	if err != nil {
		t.Fatal(err)
	}
	w.stop = w.serveOn(l, nil)
	leaked := w.issue(lapse.Grant{Subject: "ana"})
	w.lapse(pair.Refresh.Bearer+"\n"+leaked.Bearer, "scan", "--expire").wants(t, exitFailed, "-:1:1", "failed: its prefix is not served", "-:2:1", "ended")
	if w.token(leaked.ID).EndReason == 0 {
		t.Error("the other token lives")
	}
}

// TestScanLink: a link to a folder is followed where it is named, as the link to a file is, and not below.
func TestScanLink(t *testing.T) {
	w := inMemory(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "real", "env"), []byte(w.issue(lapse.Grant{Subject: "ana"}).Bearer), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	w.lapse("", "scan", link).wants(t, exitFound, filepath.Join(link, "env")+":1:1")
	if got := w.lapse("", "scan", dir).wants(t, exitFound); strings.Count(got.stdout, "\n") != 1 {
		t.Errorf("printed:\n%s\nwant the file once", got.stdout)
	}
}

// TestScanForgery: the name of a file that cannot be read is told in one line, as the name of one with texts is.
func TestScanForgery(t *testing.T) {
	dir := t.TempDir()
	got := lapseAt(t, nil, "", "scan", filepath.Join(dir, "none\nlapse: nothing was found\x1b[2J"))
	if strings.Count(got.stderr, "\n") != 2 || strings.Contains(got.stderr, "\x1b") {
		t.Errorf("told %q, want two lines: one of the file, one of the scan", got.stderr)
	}
}

// replaceSecret returns a text that the checksum does not prove.
func replaceSecret(a, b string) string { return a[:40] + b[40:] }
