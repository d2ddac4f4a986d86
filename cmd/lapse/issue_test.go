package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

func TestIssue(t *testing.T) {
	programs(t, "", []string{"issue", "ana"}, func(t *testing.T, w *world) {
		data := filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(data, []byte("\xff\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		got := w.lapse("", "issue", "ana", "--name", "laptop", "--scope", "a b", "--ttl", "20m", "--uses", "3", "--data", data, "--note", "new").wants(t, 0)
		tok := w.peek(oneLine(t, got.stdout))
		if tok.Subject != "ana" || tok.Name != "laptop" || tok.Scope != "a b" || tok.Data != "\xff\n" || tok.MaxUses != 3 || !tok.ExpiresAt.Equal(start.Add(20*time.Minute)) {
			t.Errorf("issued %+v", tok)
		}
		if got.stderr != tok.ID.String()+" expires in 20 min\n" {
			t.Errorf("told %q", got.stderr)
		}
		got = w.lapse("data\n", "issue", "bob", "--data", "-").wants(t, 0)
		if tok := w.peek(oneLine(t, got.stdout)); tok.Data != "data\n" || tok.MaxUses != 0 || !tok.ExpiresAt.Equal(start.Add(time.Hour)) {
			t.Errorf("issued %+v", tok)
		}
	})
}

func TestIssueJSON(t *testing.T) {
	w := fileInUse(t)
	var i, none issuedJSON
	got := w.lapse("", "issue", "ana", "--json").wants(t, 0)
	if err := json.Unmarshal([]byte(oneLine(t, got.stdout)), &i); err != nil || i.Token.Token != w.peek(i.Bearer) || i.Token.State != "live" || got.stderr != "" {
		t.Errorf("%+v, %v, %q", i.Token, err, got.stderr)
	}
	var pair struct{ Access, Refresh issuedJSON }
	got = w.lapse("", "issue", "ana", "--pair", "--json").wants(t, 0)
	if err := json.Unmarshal([]byte(oneLine(t, got.stdout)), &pair); err != nil || got.stderr != "" || pair.Access.Bearer == none.Bearer {
		t.Fatalf("%v, %q", err, got.stderr)
	}
	for name, one := range map[string]issuedJSON{"access": pair.Access, "refresh": pair.Refresh} {
		if tok := w.peek(one.Bearer); tok != one.Token.Token {
			t.Errorf("%s: %+v, want %+v", name, one.Token, tok)
		}
	}
}

func TestIssuePair(t *testing.T) {
	programs(t, "", []string{"issue", "ana", "--pair"}, func(t *testing.T, w *world) {
		got := w.lapse("", "issue", "ana", "--pair", "--scope", "a").wants(t, 0)
		lines := strings.Split(strings.TrimSuffix(got.stdout, "\n"), "\n")
		if len(lines) != 2 || !strings.HasPrefix(lines[0], "web_") || !strings.HasPrefix(lines[1], "web_refresh_") {
			t.Fatalf("printed %d lines", len(lines))
		}
		if tok := w.peek(lines[1]); tok.ID != w.peek(lines[0]).ID || got.stderr != tok.ID.String()+" expires "+when(tok.ExpiresAt, start)+"\n" {
			t.Errorf("session %v, told %q", tok.ID, got.stderr)
		}
	})
}

func TestIssueRefuses(t *testing.T) {
	w := inMemory(t)
	for _, row := range []struct {
		want string
		args []string
	}{
		{"Subject", []string{""}},
		{"Subject", []string{strings.Repeat("a", 256)}},
		{"Name", []string{"ana", "--name", strings.Repeat("a", 256)}},
		{"Scope", []string{"ana", "--scope", "a  b"}},
		{"TTL", []string{"ana", "--ttl=-1s"}},
		{"TTL", []string{"ana", "--ttl", "999us"}},
		{"MaxUses", []string{"ana", "--uses=-1"}},
		{"MaxUses", []string{"ana", "--uses", "1", "--pair"}},
		{"RequestID", []string{"ana", "--request-id", "r", "--pair"}},
		{"--data", []string{"ana", "--data", filepath.Join(t.TempDir(), "none")}},
		{"Data", []string{"ana", "--data", "-"}},
		{"duration", []string{"ana", "--ttl", "soon"}},
	} {
		got := w.lapse(strings.Repeat("d", storage.MaxData+1), append([]string{"issue"}, row.args...)...).wants(t, exitUsage, row.want)
		if got.stdout != "" {
			t.Errorf("%v: printed %q", row.args, got.stdout)
		}
	}
	if n, err := w.users.Count(t.Context(), lapse.Query{}); n != 0 || err != nil {
		t.Errorf("%d tokens, %v", n, err)
	}
	w.lapse("", "issue", strings.Repeat("a", 255), "--ttl", "1ms").wants(t, 0)
	w.lapse(strings.Repeat("d", storage.MaxData), "issue", "ana", "--data", "-").wants(t, 0)
}

// TestIssueAgain: with a request ID a repetition makes no second token.
func TestIssueAgain(t *testing.T) {
	for name, keys := range map[string][]lapse.Key{"keys": {lapse.NewKey([]byte(strings.Repeat("k", 32)))}, "no keys": nil} {
		t.Run(name, func(t *testing.T) {
			w := inMemory(t)
			w.restart(w.store, lapse.Config{Clock: w.clock, Keys: keys})
			args := []string{"issue", "ana", "--request-id", "r1", "--ttl", "30m"}
			first := oneLine(t, w.lapse("", args...).wants(t, 0).stdout)
			if keys != nil {
				if again := w.lapse("", args...).wants(t, 0, "before"); again.stdout != first+"\n" {
					t.Error("another text for the same request")
				}
			} else if again := w.lapse("", args...).wants(t, exitFailed, w.peek(first).ID.String(), "rotate"); again.stdout != "" {
				t.Errorf("printed %q", again.stdout)
			}
			if n, err := w.users.Count(t.Context(), lapse.Query{}); n != 1 || err != nil {
				t.Errorf("%d tokens, %v", n, err)
			}
			w.lapse("", "issue", "ana", "--request-id", "r1", "--ttl", "31m").wants(t, exitUsage, "RequestID")
		})
	}
}

// TestIssueEvicts: the tokens that made room are told.
func TestIssueEvicts(t *testing.T) {
	w := inMemory(t)
	w.restart(w.store, lapse.Config{Clock: w.clock, Policy: lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitEndIdlest}})
	old := w.issue(lapse.Grant{Subject: "ana"})
	w.lapse("", "issue", "ana").wants(t, 0, "1 token ended to make room: ["+old.Token.ID.String()+"]")
	var i issuedJSON
	got := w.lapse("", "issue", "ana", "--json").wants(t, 0)
	if err := json.Unmarshal([]byte(got.stdout), &i); err != nil || len(i.Evicted) != 1 {
		t.Errorf("evicted %v, %v", i.Evicted, err)
	}
}

// uncertain is a store whose updates have an unknown outcome.
type uncertain struct{ storage.Store }

func (uncertain) Update(context.Context, string, func(storage.Tx) error) error {
	return storage.ErrOutcomeUnknown
}

func TestIssueOutcomeUnknown(t *testing.T) {
	w := inMemory(t)
	w.restart(uncertain{w.store}, lapse.Config{Clock: w.clock})
	w.lapse("", "issue", "ana").wants(t, exitUnknown, "lapse ls", "--request-id next time")
	w.lapse("", "issue", "ana", "--request-id", "r").wants(t, exitUnknown, "the same --request-id")
	w.lapse("", "issue", "ana", "--json").wants(t, exitUnknown, `"code":"outcome_unknown"`)
}

// restart serves the tokens of store by another Manager.
func (w *world) restart(store storage.Store, cfg lapse.Config) {
	w.t.Helper()
	w.stop()
	users, err := lapse.New(store, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.users = users
	w.serve(w.args[1])
}

// peek returns the token of bearer.
func (w *world) peek(bearer string) (tok lapse.Token) {
	w.t.Helper()
	peek := w.users.Peek
	switch {
	case strings.HasPrefix(bearer, w.pairs.RefreshPrefix()+"_"):
		peek = w.pairs.Peek
	case strings.HasPrefix(bearer, w.pairs.Access().Prefix()+"_"):
		peek = w.pairs.Access().Peek
	}
	tok, err := peek(w.t.Context(), bearer)
	if err != nil {
		w.t.Fatal(err)
	}
	return tok
}

// oneLine returns the only line of text.
func oneLine(t *testing.T, text string) string {
	t.Helper()
	line, rest, ok := strings.Cut(text, "\n")
	if !ok || rest != "" || line == "" {
		t.Fatalf("%d bytes with %d line feeds, want one line", len(text), strings.Count(text, "\n"))
	}
	return line
}

// TestNotUTF8: a text that is not valid UTF-8 is refused, and is not taken for another one. Names of files may
// be any bytes.
func TestNotUTF8(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		id := w.issue(lapse.Grant{Subject: "a\ufffd"}).Token.ID.String()
		bad := "a\xff"
		for _, args := range [][]string{
			{"logout", bad, "--yes"}, {"ls", bad}, {"sessions", bad}, {"issue", bad}, {"edit", id, "--name", bad},
			{"issue", "ana", "--scope", bad}, {"revoke", id, "--note", bad}, {"ls", "--prefix", bad},
		} {
			w.lapse("", args...).wants(t, exitUsage, "UTF-8")
		}
		w.lapse("", "show", id).wants(t, 0, "live")
		file := filepath.Join(t.TempDir(), bad)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Skip(err) // not every file system takes such a name
		}
		w.lapse("", "scan", file).wants(t, 0)
	})
}
