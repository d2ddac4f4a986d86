package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

func TestEdit(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		id := w.issue(lapse.Grant{Subject: "ana", Name: "laptop", Scope: "a b", MaxUses: 2}).Token.ID
		w.lapse("", "edit", id.String(), "--name", "phone", "--scope", "a", "--uses", "5", "--note", "why").wants(t, 0, "phone", "5 of 5")
		if tok := w.token(id); tok.Name != "phone" || tok.Scope != "a" || tok.MaxUses != 5 {
			t.Errorf("edited to %+v", tok)
		}
		got := w.lapse("", "edit", id.String(), "--name", "", "--scope=", "--uses", "0", "--json").wants(t, 0)
		var tok tokenJSON
		if err := json.Unmarshal([]byte(oneLine(t, got.stdout)), &tok); err != nil || tok.Token != w.token(id) || tok.Name+tok.Scope != "" || tok.MaxUses != 0 || got.stderr != "" {
			t.Errorf("%+v, %v, %q", tok, err, got.stderr)
		}
		for _, row := range []struct {
			expires string
			want    time.Duration
		}{{"50m", 50 * time.Minute}, {"2026-01-05T10:40:00+01:00", 40 * time.Minute}, {"0.01d", 864 * time.Second}, {"1ms", time.Millisecond}} {
			w.lapse("", "edit", id.String(), "--expires", row.expires).wants(t, 0)
			if tok := w.token(id); !tok.ExpiresAt.Equal(start.Add(row.want)) {
				t.Errorf("--expires %s: %v", row.expires, tok.ExpiresAt)
			}
		}
	})
}

func TestEditRefuses(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		before, dead := w.issue(lapse.Grant{Subject: "ana", Name: "laptop"}).Token, w.issue(lapse.Grant{Subject: "ana"}).Token.ID.String()
		w.lapse("", "revoke", dead).wants(t, 0)
		id := before.ID.String()
		for _, row := range []struct {
			code int
			want string
			args []string
		}{
			{exitUsage, "nothing to change", []string{id}},
			{exitUsage, "nothing to change", []string{id, "--note", "why"}},
			{exitUsage, "<id>", []string{"x", "--name", "y"}},
			{exitUsage, "ExpiresAt", []string{id, "--expires", "0s"}},
			{exitUsage, "ExpiresAt", []string{id, "--expires=-1ms"}},
			{exitUsage, "ExpiresAt", []string{id, "--expires", "2026-01-05T09:00:00Z"}},
			{exitUsage, "ExpiresAt", []string{id, "--expires", "9999-12-31T23:59:59Z"}},
			{exitUsage, "not an instant", []string{id, "--expires", "2026-01-05"}},
			{exitUsage, "Scope", []string{id, "--scope", " "}},
			{exitUsage, "Name", []string{id, "--name", "a\nb"}},
			{exitUsage, "MaxUses", []string{id, "--uses=-1"}},
			{exitNoGood, "revoked", []string{dead, "--name", "x"}},
			{exitNotFound, "no such token", []string{lapse.ID{1}.String(), "--name", "x"}},
		} {
			got := w.lapse("", append([]string{"edit"}, row.args...)...).wants(t, row.code, row.want)
			if got.stdout != "" {
				t.Errorf("%v: printed %q", row.args, got.stdout)
			}
		}
		if after := w.token(before.ID); after != before {
			t.Errorf("changed to %+v", after)
		}
	})
}

// TestAloneHasNoPolicy: the command does not know the program's MaxTTL, and its own ends no token.
func TestAloneHasNoPolicy(t *testing.T) {
	w := fileAlone(t)
	users, err := lapse.New(w.store, lapse.Config{Clock: w.clock, Policy: lapse.Policy{TTL: 90 * 24 * time.Hour, MaxTTL: lapse.NoLimit}})
	if err != nil {
		t.Fatal(err)
	}
	i, err := users.Issue(t.Context(), lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Set(start.Add(60 * 24 * time.Hour))
	w.lapse("", "ls", "ana").wants(t, 0, i.Token.ID.String())
	w.lapse("", "edit", i.Token.ID.String(), "--expires", "365d").wants(t, 0, "live", "2027-03-06T09:00:00.000Z")
	w.lapse("", "logout", "ana", "--yes").wants(t, 0, "1 token ended")
}
