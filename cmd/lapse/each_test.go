package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

func TestRevoke(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		a, b, c := w.issue(lapse.Grant{Subject: "ana"}).Token.ID, w.issue(lapse.Grant{Subject: "bob"}).Token.ID, w.issue(lapse.Grant{Subject: "eve"}).Token.ID
		got := w.lapse("", "revoke", a.String(), b.String(), "--note", "laptop stolen").wants(t, 0)
		if want := fmt.Sprintf("%v revoked\n%v revoked\n", a, b); got.stdout != "" || got.stderr != want {
			t.Errorf("printed %q and %q, want %q", got.stdout, got.stderr, want)
		}
		for _, id := range []lapse.ID{a, b} {
			if tok := w.token(id); tok.EndReason != lapse.EndRevoked || tok.EndedBy != w.operator() || tok.EndNote != "laptop stolen" {
				t.Errorf("ended %+v", tok)
			}
		}
		missing := lapse.ID{1}
		got = w.lapse("", "revoke", missing.String(), a.String(), c.String()).wants(t, exitNotFound, missing.String()+": ", "no such token", c.String()+" revoked")
		if !strings.Contains(got.stderr, a.String()+" not changed: it is ended: revoked, by "+w.operator()) {
			t.Errorf("told %q", got.stderr)
		}
		if tok := w.token(c); tok.EndReason != lapse.EndRevoked {
			t.Error("a token after one that is missing was not ended")
		}
	})
}

// operator is who ended a token, as the record says.
func (w *world) operator() string {
	if w.alone() {
		return operator()
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

func TestRevokeJSON(t *testing.T) {
	w := fileInUse(t)
	live, dead, missing := w.issue(lapse.Grant{Subject: "ana"}).Token.ID, w.issue(lapse.Grant{Subject: "ana", TTL: time.Minute}).Token.ID, lapse.ID{1}
	w.clock.Set(start.Add(time.Minute))
	got := w.lapse("", "revoke", missing.String(), dead.String(), live.String(), "--json").wants(t, exitNotFound, `"exit":3`)
	want := []changedJSON{{missing, false, "", "not_found"}, {dead, false, "expired", "ok"}, {live, true, "", "ok"}}
	for i, line := range strings.Split(strings.TrimSpace(got.stdout), "\n") {
		var one changedJSON
		if err := json.Unmarshal([]byte(line), &one); err != nil || one != want[i] {
			t.Errorf("line %d: %+v, %v; want %+v", i, one, err, want[i])
		}
	}
	if n := strings.Count(got.stdout, "\n"); n != len(want) {
		t.Errorf("%d lines, want %d", n, len(want))
	}
}

func TestSuspendAndResume(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		i, dead := w.issue(lapse.Grant{Subject: "ana"}), w.issue(lapse.Grant{Subject: "ana", TTL: time.Minute}).Token.ID.String()
		id := i.Token.ID.String()
		w.clock.Set(start.Add(time.Minute))
		w.lapse("", "resume", id).wants(t, 0, id+" not changed: it is live")
		w.lapse("", "suspend", id, "--note", "why").wants(t, 0, id+" suspended")
		if w.token(i.Token.ID).SuspendedAt.IsZero() {
			t.Error("the token is not suspended")
		}
		w.lapse("", "suspend", id, dead).wants(t, 0, id+" not changed: it is suspended", dead+" not changed: it is expired")
		w.lapse("", "resume", id).wants(t, 0, id+" resumed")
		if _, err := w.users.Peek(t.Context(), i.Bearer); err != nil {
			t.Errorf("after resume: %v", err)
		}
		w.lapse("", "resume", dead, id).wants(t, exitNoGood, dead+": ", "expired", id+" not changed")
		for _, verb := range []string{"suspend", "resume"} {
			w.lapse("", verb, lapse.ID{1}.String(), id).wants(t, exitNotFound, "no such token", id)
			w.lapse("", verb).wants(t, exitUsage, "<id>")
		}
	})
}

// TestEachStops: an error that every token would meet is told once.
func TestEachStops(t *testing.T) {
	w := inMemory(t)
	w.restart(uncertain{w.store}, lapse.Config{Clock: w.clock})
	a, b := w.issueBefore("ana"), w.issueBefore("bob")
	got := w.lapse("", "revoke", a.String(), b.String()).wants(t, exitUnknown, a.String())
	if strings.Contains(got.stderr, b.String()) {
		t.Errorf("told %q", got.stderr)
	}
}

// issueBefore issues a token by the pairs of w, whose store never fails.
func (w *world) issueBefore(subject string) lapse.ID {
	w.t.Helper()
	p, err := w.pairs.Issue(w.t.Context(), lapse.Grant{Subject: subject})
	if err != nil {
		w.t.Fatal(err)
	}
	return p.Access.Token.ID
}
