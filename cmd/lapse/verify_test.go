package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// programs runs test in the worlds that have a program, and checks that a store alone refuses args.
func programs(t *testing.T, input string, args []string, test func(*testing.T, *world)) {
	everywhere(t, func(t *testing.T, w *world) {
		if !w.alone() {
			test(t, w)
			return
		}
		got := w.lapse(input, args...).wants(t, exitNoProgram, "this needs the program")
		if got.stdout != "" {
			t.Errorf("printed %q", got.stdout)
		}
	})
}

func TestVerify(t *testing.T) {
	programs(t, "text\n", []string{"verify"}, func(t *testing.T, w *world) {
		i := w.issue(lapse.Grant{Subject: "ana", Name: "laptop", MaxUses: 1})
		for _, input := range []string{i.Bearer, i.Bearer + "\n", "\n  " + i.Bearer + "\r\n\r\n"} {
			got := w.lapse(input, "verify").wants(t, 0, "ana", i.Token.ID.String(), "1 of 1")
			if got.stderr != "" {
				t.Errorf("on stderr: %q", got.stderr)
			}
		}
		got := w.lapse(i.Bearer, "verify", "--json").wants(t, 0)
		var tok struct {
			ID    lapse.ID
			State string
		}
		if err := json.Unmarshal([]byte(got.stdout), &tok); err != nil || tok.ID != i.Token.ID || tok.State != "live" {
			t.Errorf("%s: %+v, %v", got.stdout, tok, err)
		}
		pair, err := w.pairs.Issue(t.Context(), lapse.Grant{Subject: "ana"})
		if err != nil {
			t.Fatal(err)
		}
		w.lapse(pair.Access.Bearer, "verify").wants(t, 0, "session")
		w.lapse(pair.Refresh.Bearer, "verify").wants(t, 0, "session")
	})
}

func TestVerifyRefuses(t *testing.T) {
	programs(t, "text", []string{"verify", "--json"}, func(t *testing.T, w *world) {
		i, other := w.issue(lapse.Grant{Subject: "ana"}), w.issue(lapse.Grant{Subject: "bob"})
		if _, err := w.users.Expire(t.Context(), other.Token.ID); err != nil {
			t.Fatal(err)
		}
		for _, row := range []struct {
			word, bearer string
			at           time.Duration
		}{
			{"malformed", "text", 0},
			{"malformed", mistyped(i.Bearer), 0},
			{"unknown", foreign(t), 0},
			{"revoked", other.Bearer, 0},
			{"expired", i.Bearer, time.Hour},
		} {
			w.clock.Set(start.Add(row.at))
			got := w.lapse(row.bearer+"\n", "verify").wants(t, exitNoGood)
			if got.stdout != "" || !strings.HasPrefix(got.stderr, "lapse: "+row.word+": ") || strings.Contains(got.stderr, "unauthenticated") {
				t.Errorf("of a token that is %s: %q, %q", row.word, got.stdout, got.stderr)
			}
			w.lapse(row.bearer, "verify", "--json").wants(t, exitNoGood, `"code":"`+row.word+`"`, `"exit":4`)
		}
	})
}

func TestVerifyWantsOneText(t *testing.T) {
	w := inMemory(t)
	a, b := w.issue(lapse.Grant{Subject: "ana"}).Bearer, w.issue(lapse.Grant{Subject: "bob"}).Bearer
	for name, row := range map[string]struct{ input, want string }{
		"nothing":        {"", "is empty"},
		"line feeds":     {"\r\n\n", "is empty"},
		"two texts":      {a + "\n" + b, "several lines"},
		"a second line":  {a + "\nx", "several lines"},
		"the most bytes": {strings.Repeat("a\n", maxInput/2), "several lines"},
		"too many bytes": {strings.Repeat("a", maxInput+1), "bytes of input"},
	} {
		got := w.lapse(row.input, "verify").wants(t, exitUsage, row.want)
		if got.stdout != "" || strings.Contains(got.stderr, a[len(a)-50:]) {
			t.Errorf("%s: %q, %q", name, got.stdout, got.stderr)
		}
	}
}

// TestVerifyTakesNoArgument: a text that does not look like one of lapse is not repeated either.
func TestVerifyTakesNoArgument(t *testing.T) {
	w := inMemory(t)
	for _, args := range [][]string{{"verify", "hunter2"}, {"verify", "--json", "hunter2"}, {"show", "hunter2"}, {"revoke", "hunter2"}} {
		if got := w.lapse("", args...).wants(t, exitUsage); strings.Contains(got.stderr, "hunter2") || got.stdout != "" {
			t.Errorf("%v: %q, %q", args, got.stdout, got.stderr)
		}
	}
	w.lapse("", "verfy").wants(t, exitUsage, `did you mean "verify"`)
}

// foreign returns a good text of a Manager that no world has.
func foreign(t *testing.T) string {
	w := inMemory(t)
	return w.issue(lapse.Grant{Subject: "ana"}).Bearer
}

// mistyped returns bearer with another last character.
func mistyped(bearer string) string {
	if strings.HasSuffix(bearer, "x") {
		return bearer[:len(bearer)-1] + "y"
	}
	return bearer[:len(bearer)-1] + "x"
}
