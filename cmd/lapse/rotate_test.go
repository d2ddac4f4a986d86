package main

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

func TestRotate(t *testing.T) {
	programs(t, "", []string{"rotate", lapse.ID{1}.String()}, func(t *testing.T, w *world) {
		for _, row := range []struct {
			args []string
			at   time.Duration
			err  error // of the old text
		}{
			{[]string{"--overlap", "10m"}, 10*time.Minute - 1e6, nil},
			{[]string{"--overlap", "10m"}, 10 * time.Minute, lapse.ErrReplaced},
			{[]string{"--overlap", "0s", "--note", "leaked"}, 0, lapse.ErrReplaced},
			{nil, 59 * time.Minute, nil},
		} {
			old, begin := w.issue(lapse.Grant{Subject: "ana"}), w.clock.Now()
			got := w.lapse("", append([]string{"rotate", old.Token.ID.String()}, row.args...)...).wants(t, 0, old.Token.ID.String()+" expires in 1 h")
			if tok := w.peek(oneLine(t, got.stdout)); tok.ID != old.Token.ID || tok.Generation != 1 {
				t.Errorf("rotated to %v, generation %d", tok.ID, tok.Generation)
			}
			w.clock.Set(begin.Add(row.at))
			if _, err := w.users.Peek(t.Context(), old.Bearer); !errors.Is(err, row.err) {
				t.Errorf("the old text after %v, %v: %v, want %v", row.args, row.at, err, row.err)
			}
		}
		got := w.lapse("", "rotate", w.issue(lapse.Grant{Subject: "ana"}).Token.ID.String(), "--json").wants(t, 0)
		var i issuedJSON
		if err := json.Unmarshal([]byte(oneLine(t, got.stdout)), &i); err != nil || w.peek(i.Bearer) != i.Token.Token || got.stderr != "" {
			t.Errorf("%+v, %v, %q", i.Token, err, got.stderr)
		}
	})
}

func TestRotateRefuses(t *testing.T) {
	w := inMemory(t)
	live, dead := w.issue(lapse.Grant{Subject: "ana"}).Token.ID.String(), w.issue(lapse.Grant{Subject: "ana"}).Token.ID
	if _, err := w.users.Expire(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		code int
		want string
		args []string
	}{
		{exitNotFound, "no such token", []string{lapse.ID{1}.String()}},
		{exitNoGood, "revoked", []string{dead.String()}},
		{exitUsage, "22 characters", []string{"x"}},
		{exitUsage, "overlap", []string{live, "--overlap=-1s"}},
		{exitUsage, "overlap", []string{live, "--overlap", "999us"}},
		{exitUsage, "duration", []string{live, "--overlap", "1"}},
	} {
		got := w.lapse("", append([]string{"rotate"}, row.args...)...).wants(t, row.code, row.want)
		if got.stdout != "" {
			t.Errorf("%v: printed %q", row.args, got.stdout)
		}
	}
}
