package main

import (
	"testing"

	"github.com/seed-55daa01a/lapse"
)

func TestLogout(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		kept, ended, other := w.issue(lapse.Grant{Subject: "ana"}).Token.ID, w.issueBefore("ana"), w.issue(lapse.Grant{Subject: "bob"}).Token.ID
		got := w.lapse("", "logout", "ana", "--keep", kept.String(), "--yes", "--note", "ticket 1").wants(t, 0)
		if got.stdout != "" || got.stderr != "1 token ended\n" {
			t.Errorf("printed %q and %q", got.stdout, got.stderr)
		}
		if tok := w.token(ended); tok.EndReason != lapse.EndSubject || tok.EndedBy != w.operator() || tok.EndNote != "ticket 1" {
			t.Errorf("ended %+v", tok)
		}
		for _, id := range []lapse.ID{kept, other} {
			if tok := w.token(id); tok.EndReason != 0 {
				t.Errorf("%v was ended: %v", id, tok.EndReason)
			}
		}
		if got := w.lapse("", "logout", "ana", "-y", "--json").wants(t, 0); got.stdout != `{"ended":1}`+"\n" || got.stderr != "" {
			t.Errorf("printed %q and %q", got.stdout, got.stderr)
		}
		w.lapse("", "logout", "ana", "--yes").wants(t, 0, "0 tokens ended")
	})
}

func TestLogoutRefuses(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		id, bobs := w.issue(lapse.Grant{Subject: "ana"}).Token.ID, w.issue(lapse.Grant{Subject: "bob"}).Token.ID
		for _, row := range []struct {
			code int
			want string
			args []string
		}{
			{exitUsage, "--yes", []string{"ana"}},
			{exitUsage, "--yes", []string{"ana", "--json"}},
			{exitUsage, "empty", []string{"", "--yes"}},
			{exitUsage, "<subject>", []string{"--yes"}},
			{exitUsage, "--keep", []string{"ana", "--yes", "--keep", "x"}},
			{exitUsage, "another subject", []string{"ana", "--yes", "--keep", bobs.String()}},
			{exitNotFound, "--keep " + lapse.ID{1}.String(), []string{"ana", "--yes", "--keep", id.String(), "--keep", lapse.ID{1}.String()}},
		} {
			w.lapse("yes\n", append([]string{"logout"}, row.args...)...).wants(t, row.code, row.want)
		}
		if tok := w.token(id); tok.EndReason != 0 {
			t.Errorf("ended: %v", tok.EndReason)
		}
	})
}
