package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

func TestLs(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		laptop := w.issue(lapse.Grant{Subject: "ana", Name: "laptop", Scope: "read write"})
		phone := w.issue(lapse.Grant{Subject: "ana", Name: "phone", TTL: 20 * time.Minute})
		w.issue(lapse.Grant{Subject: "bob", Name: "laptop"})
		if _, err := w.users.Expire(lapse.WithActor(t.Context(), lapse.Actor{Name: "ops"}), phone.Token.ID); err != nil {
			t.Fatal(err)
		}
		w.clock.Set(start.Add(10 * time.Minute))
		got := w.lapse("", "ls", "ana", "--all").wants(t, 0)
		want := sorted("ID                      NAME    SCOPE       LAST USED  EXPIRES    STATE\n" +
			laptop.Token.ID.String() + "  laptop  read write  -          in 50 min  live\n" +
			phone.Token.ID.String() + "  phone   -           -          in 10 min  ended: revoked, by ops\n")
		if sorted(got.stdout) != want {
			t.Errorf("printed:\n%s\nwant:\n%s", got.stdout, want)
		}
		w.lapse("", "ls", "ana").wants(t, 0, "laptop")
		if got := w.lapse("", "ls", "ana"); strings.Contains(got.stdout, "phone") {
			t.Errorf("a dead token in:\n%s", got.stdout)
		}
		if got := w.lapse("", "ls"); strings.Count(got.stdout, "\n") != 3 || !strings.Contains(got.stdout, "bob") {
			t.Errorf("printed:\n%s\nwant a head, and two tokens with their subjects", got.stdout)
		}
		if got := w.lapse("", "ls", "eve"); got.code != 0 || got.stdout != "" {
			t.Errorf("of no tokens %d, %q", got.code, got.stdout)
		}
	})
}

func TestLsJSON(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		i := w.issue(lapse.Grant{Subject: "ana", Name: "<laptop>", Data: "\xff\n"})
		got := w.lapse("", "ls", "--json").wants(t, 0, "<laptop>")
		var tok struct {
			ID    lapse.ID
			State string
			Data  []byte
		}
		if err := json.Unmarshal([]byte(got.stdout), &tok); err != nil || tok.ID != i.Token.ID || tok.State != "live" || string(tok.Data) != "\xff\n" {
			t.Errorf("%s: %+v, %v", got.stdout, tok, err)
		}
	})
}

// TestSessions: the sessions of one subject are listed, and of one prefix if that is given.
func TestSessions(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		w.issue(lapse.Grant{Subject: "ana", Name: "plain"})
		for _, subject := range []string{"ana", "bob"} {
			if _, err := w.pairs.Issue(t.Context(), lapse.Grant{Subject: subject, Name: "of " + subject}); err != nil {
				t.Fatal(err)
			}
		}
		for _, args := range [][]string{{"sessions", "ana"}, {"sessions", "ana", "--prefix", "web"}} {
			got := w.lapse("", args...).wants(t, 0, "of ana")
			if strings.Contains(got.stdout, "of bob") || strings.Contains(got.stdout, "plain") {
				t.Errorf("%v: printed:\n%s", args, got.stdout)
			}
		}
		if got := w.lapse("", "sessions", "ana", "--prefix", "lapse"); got.stdout != "" {
			t.Errorf("of another prefix:\n%s", got.stdout)
		}
		if got := w.lapse("", "sessions", "").wants(t, exitUsage, "empty"); got.stdout != "" {
			t.Errorf("of no subject:\n%s", got.stdout)
		}
	})
}

// TestExpiringNothing: a duration of nothing selects no token, and so is refused like every one under a millisecond.
func TestExpiringNothing(t *testing.T) {
	w := inMemory(t)
	w.issue(lapse.Grant{Subject: "ana"})
	for _, span := range []string{"0s", "0d", "1us", "-1h"} {
		if got := w.lapse("", "ls", "--expiring="+span).wants(t, exitUsage); got.stdout != "" {
			t.Errorf("--expiring=%s printed:\n%s", span, got.stdout)
		}
	}
}

// sorted returns the lines of text in order: tokens are listed by their IDs, which are random.
func sorted(text string) string {
	lines := strings.SplitAfter(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}
