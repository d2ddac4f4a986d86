package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// transcript runs the program as `quickstart -db db` does; "" is no flag.
func transcript(t *testing.T, db string) string {
	t.Helper()
	var out strings.Builder
	if err := run(&out, config{subject: "ana@example.com", db: db}); err != nil {
		t.Fatalf("run: %v\n%s", err, &out)
	}
	return out.String()
}

// facts are what the transcript must say, whatever it looks like: the instants at
// which tokens die, and for which reason.
var facts = []struct{ fact, pattern string }{
	{"a use at +25 minutes slides the expiry", `(?m)^09:25  good .* laptop .*until 09:55$`},
	{"Renew does so by request", `(?m)^09:50  renewed .*until 10:20`},
	{"Peek does not", `(?m)^10:19  peeked .*until 10:20`},
	{"30 idle minutes end it, at that very instant", `(?m)^10:20  refused 401 .* ran out at 10:20$`},
	{"uses reach the cap and no further", `(?m)^18:25  good .* 19 uses.* until 18:30$`},
	{"the cap ends a token that is used all day", `(?m)^18:30  refused 401 .* ran out at 18:30$`},
	{"log out everywhere but here ends two", `(?m)^18:50  logged out .* laptop .* 2 other tokens ended`},
	{"it keeps the one that asked", `(?m)^18:50  good .* laptop .* until 19:20$`},
	{"the phone is out", `(?m)^18:50  refused 401 .* phone .* ended at 18:50, reason "subject"$`},
	{"the tablet is out", `(?m)^18:50  refused 401 .* tablet .* ended at 18:50, reason "subject"$`},
	{"the list has the one that ran out", `(?m)^18:50   .* desk .*ran out at 18:30$`},
	{"the list has the live one", `(?m)^18:50   .* laptop .*live until 19:20$`},
	{"the list has the ended one", `(?m)^18:50   .* phone .*ended at 18:50: subject$`},
	{"a typo is malformed", `(?m)^18:55  refused 401 .* malformed: nothing was looked up$`},
	{"another installation's token is unknown", `(?m)^18:55  refused 401  lapse_.* unknown`},
	{"another manager's token is unknown", `(?m)^19:00  refused 401  key_.* unknown`},
	{"its own manager takes it", `(?m)^19:00  good  .*key_.* until 4 Feb 19:00$`},
	{"a suspended subject is refused", `(?m)^19:00  refused 401 .* refused: the account`},
	{"and let in again", `(?m)^19:00  good .* laptop .* until 19:30$`},
	{"a rotation keeps the token", `(?m)^19:00  rotated .*key_.* until 4 Feb 19:00, under the same ID$`},
	{"its old text works for a while", `(?m)^19:00  good .*key_.* with old text `},
	{"and no longer", `(?m)^19:05  refused 401  key_.* with old text .* replaced`},
	{"the new one does", `(?m)^19:05  good .*key_.* with new text .* until 4 Feb 19:00$`},
	{"a closed store could not tell", `(?m)^19:10  failed 503 .* storage: closed$`},
	{"the token outlives closing and reopening", `(?m)^19:15  good .* laptop .* until 19:45$`},
	{"no secret is in the file", `(?m)^19:15  found .* none of them; all 6 IDs`},
}

func TestFirstRun(t *testing.T) {
	out := transcript(t, "")
	for _, f := range facts {
		if !regexp.MustCompile(f.pattern).MatchString(out) {
			t.Errorf("not in the transcript: %s (%s)", f.fact, f.pattern)
		}
	}
	if strings.Contains(out, "earlier run") {
		t.Error("a fresh file has no earlier run")
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if n := len(lines); n < 45 || n > 60 {
		t.Errorf("%d lines, want 45 to 60: it stands in docs/quickstart.md", n)
	}
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > 96 {
			t.Errorf("%d columns, want 96 at most: %s", n, line)
		}
	}
	if t.Failed() {
		t.Log("\n" + out)
	}
}

func TestSecondRunFindsTheFirst(t *testing.T) {
	db := filepath.Join(t.TempDir(), "tokens.db")
	first, second := transcript(t, db), transcript(t, db)
	want := `An earlier run left 6 tokens in this file
09:00               lapse_********…  laptop         ran out at 5 Jan 10:20
09:00               lapse_********…  desk           ran out at 5 Jan 18:30
09:00               lapse_********…  laptop         ran out at 5 Jan 19:45
09:00               lapse_********…  phone          ended at 5 Jan 18:50: subject
09:00               lapse_********…  tablet         ended at 5 Jan 18:50: subject
09:00               key_********…    backup script  live until 4 Feb 19:00
09:00  swept        0 records, dead for over 24 hours
`
	if diff := cmp.Diff(want, section(mask(second, db), "An earlier run")); diff != "" {
		t.Errorf("what the second run says of the first (-want +got):\n%s", diff)
	}
	for _, id := range regexp.MustCompile(`(lapse|key)_\w{8}`).FindAllString(section(first, "The dead stay"), -1) {
		if !strings.Contains(section(second, "An earlier run"), id) {
			t.Errorf("the second run does not list %s…", id)
		}
	}
	if !strings.Contains(second, "Tue 6 Jan 2026, 09:00") {
		t.Error("the second run does not start on the next morning")
	}
	if third := transcript(t, db); !strings.Contains(third, "swept        5 records") {
		t.Errorf("the third run does not sweep the five that died on the first day:\n%s", section(third, "An earlier run"))
	}
}

// section returns the heading that starts with the given words, and the lines
// below it.
func section(out, heading string) string {
	_, rest, _ := strings.Cut(out, "\n\n"+heading)
	body, _, _ := strings.Cut(rest, "\n\n")
	return heading + body + "\n"
}

// Every form of a secret is a longer run of letters and digits than an ID.
func TestNoSecretInTheTranscript(t *testing.T) {
	db := filepath.Join(t.TempDir(), "db")
	for range 2 {
		out := strings.ReplaceAll(transcript(t, db), db, "")
		if long := regexp.MustCompile(`[0-9A-Za-z]{23,}`).FindString(out); long != "" {
			t.Errorf("%d letters and digits in a row", len(long))
		}
	}
}

func TestTemporaryFileIsRemoved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir) // Windows
	transcript(t, "")
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("%d entries are left in the temporary directory, %s among them", len(left), left[0].Name())
	}
}

func TestForeignFileIsLeftAlone(t *testing.T) {
	db := filepath.Join(t.TempDir(), "notes.txt")
	want := []byte("not a store")
	if err := os.WriteFile(db, want, 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(&out, config{subject: "ana@example.com", db: db}); err == nil {
		t.Error("run took a text file for a store")
	}
	got, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the file was changed (-want +got):\n%s", diff)
	}
}

// The search of the last step must find a secret in every form it names.
func TestSearchFindsEveryForm(t *testing.T) {
	m, err := lapse.New(memory.New(), lapse.Config{})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := m.Issue(context.Background(), lapse.Grant{Subject: "ana", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	page := func(held string) []byte { return []byte("before" + string(tok.ID[:]) + "\x00" + held + "after") }
	if err := search(page("a digest"), tok); err != nil {
		t.Errorf("search found something in a page without a secret: %v", err)
	}
	if err := search([]byte("a page without the ID"), tok); err == nil {
		t.Error("search is content with a page that lacks the ID")
	}
	raw := decode(tok.Bearer[len("lapse_")+22:][:44])
	for name, held := range map[string]string{
		"bearer":       tok.Bearer,
		"digits":       tok.Bearer[len("lapse_")+22:][:44],
		"raw":          string(raw),
		"hex":          hex.EncodeToString(raw),
		"capital hex":  strings.ToUpper(hex.EncodeToString(raw)),
		"base64":       base64.StdEncoding.EncodeToString(raw),
		"URL's base64": base64.URLEncoding.EncodeToString(raw),
	} {
		if err := search(page(held), tok); err == nil {
			t.Errorf("search overlooks a secret written as %s", name)
		}
	}
}
