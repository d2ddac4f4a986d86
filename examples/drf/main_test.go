package main

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
)

func transcript(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	if err := run(&out); err != nil {
		t.Fatalf("run: %v\n%s", err, &out)
	}
	return out.String()
}

// facts are what each part must say: what was done, what Django answers, what lapse
// answers, and where they differ.
var facts = []struct {
	part  string
	steps [][]string
}{
	{"django-rest-framework-temporary-tokens: ", [][]string{
		{"Mon 09:00", "log in, wrong password", "400", "400  ErrBadCredentials"},
		{"Mon 09:00", "log in, no such user", "400", "400  ErrBadCredentials"},
		{"Mon 09:00", "log in by e-mail", "400", "400  ErrBadCredentials"},
		{"Mon 09:00", "the same, with backends for it", "200  token 1, until Mon 09:30", "200  token 1, until Mon 09:30"},
		{"Mon 09:10", "a request", "200  token 1, until Mon 09:40", "200  token 1, until Mon 09:40"},
		{"Mon 09:20", "log in again: the same token", "200  token 1, until Mon 09:40", "200  token 1, until Mon 09:50", "it renews"},
		{"Mon 09:25", "a request", "200  token 1, until Mon 09:55", "200  token 1, until Mon 09:55"},
		{"Mon 09:54", "1 ms before it runs out", "200  token 1, until Mon 10:24", "200  token 1, until Mon 10:24"},
		{"Mon 10:24", "at the instant it runs out", "401  token has expired", "401  ErrExpired, ran out at 10:24"},
		{"Mon 10:24", "log in: another token", "200  token 2, until Mon 10:54", "200  token 2, until Mon 10:54"},
		{"Mon 10:24", "with the old one", "401  invalid token", "401  ErrExpired, ran out at 10:24"},
		{"Mon 10:30", "log out: expire()", "204", "204"},
		{"Mon 10:30", "in the same instant", "401  token has expired", "401  ErrRevoked, ended at 10:30: revoked"},
		{"Mon 10:30", "log in: another token", "200  token 3, until Mon 11:00", "200  token 3, until Mon 11:00"},
		{"Mon 10:30", `header "Token"`, "401  no credentials", "401  ErrMalformed"},
		{"Mon 10:30", `header "Token a b"`, "401  token string should not contain spaces", "401  ErrMalformed"},
		{"Mon 10:30", "header that is not UTF-8", "401  token string contains invalid characters", "401  ErrMalformed"},
		{"Mon 10:30", "a key that no user has", "401  invalid token", "401  ErrMalformed"},
		{"Mon 10:40", "a request of an inactive user", "401  user inactive or deleted", "401  ErrRefused"},
		{"Mon 10:40", "log in as an inactive user", "400", "400  ErrRefused"},
		{"Mon 10:55", "active again, before it ran out", "200  token 3, until Mon 11:25", "200  token 3, until Mon 11:25"},
		{"Mon 11:00", "create one for bob in a shell", "200  token 4, until Mon 09:30", "200  token 4, until Mon 11:30", "born dead"},
		{"Mon 11:00", "create a second one", "500  IntegrityError", "409  ErrLimit", "MaxTokens"},
		{"Mon 11:00", "a request of bob", "401  token has expired", "200  token 4, until Mon 11:30", "born dead"},
	}},
	{"The same, where no use renews", [][]string{
		{"Mon 09:00", "log in", "200  token 1, until Mon 09:30", "200  token 1, until Mon 09:30"},
		{"Mon 09:20", "a request", "200  token 1, until Mon 09:30", "200  token 1, until Mon 09:30"},
		{"Mon 09:20", "log in again: the same token", "200  token 1, until Mon 09:30", "200  token 1, until Mon 09:30"},
		{"Mon 09:30", "at the instant it runs out", "401", "401  ErrExpired, ran out at 09:30"},
		{"Mon 09:30", "log in: another token", "200  token 2, until Mon 10:00", "200  token 2, until Mon 10:00"},
	}},
	{"First recipe", [][]string{
		{"Mon 09:00", "log in", "200  token 1, until Tue 09:00", "200  token 1, until Tue 09:00"},
		{"Mon 14:00", "a request renews nothing", "200  token 1, until Tue 09:00", "200  token 1, until Tue 09:00"},
		{"Mon 14:00", "log in again: the same token", "200  token 1, until Tue 09:00", "200  token 1, until Tue 09:00"},
		{"Mon 14:00", "a request of an inactive user", "401  user inactive or deleted", "401  ErrRefused"},
		{"Tue 08:59", "1 ms before 24 hours have passed", "200  token 1, until Tue 09:00", "200  token 1, until Tue 09:00"},
		{"Tue 09:00", "after 24 hours", "200  token 1, until Tue 09:00", "401  ErrExpired, ran out at 09:00", "the instant of expiry is dead"},
		{"Tue 09:00", "1 ms later", "401  token has expired", "401  ErrExpired, ran out at 09:00"},
		{"Tue 09:00", "log in: another token", "200  token 2, until Wed 09:00", "200  token 2, until Wed 09:00"},
		{"Tue 09:00", "with the old one", "401  invalid token", "401  ErrExpired, ran out at 09:00"},
	}},
	{"Second recipe", [][]string{
		{"Mon 09:00", "log in", "200  token 1, until Tue 09:00", "200  token 1, until Tue 09:00"},
		{"Mon 20:00", "a request renews nothing", "200  token 1, until Tue 09:00", "200  token 1, until Tue 09:00"},
		{"Mon 20:00", "log in again refreshes it", "200  token 1, until Tue 20:00", "200  token 1, until Tue 20:00"},
		{"Tue 10:00", "25 hours after the first log-in", "200  token 1, until Tue 20:00", "200  token 1, until Tue 20:00"},
		{"Tue 20:00", "24 hours after the second", "401  token has expired", "401  ErrExpired, ran out at 20:00"},
		{"Tue 20:00", "log in", "200  token 1, until Wed 20:00", "200  token 2, until Wed 20:00", "stays dead"},
	}},
}

// stepAt is a step as it is printed.
var stepAt = regexp.MustCompile(`(?m)^(\w{3} \d\d:\d\d)  (.{32})  django  (.*)\n {45}lapse   (.*)\n(?: {45}differ: (.*)\n)?`)

func TestSteps(t *testing.T) {
	out := transcript(t)
	for _, f := range facts {
		_, rest, found := strings.Cut(out, "\n\n"+f.part)
		body, _, _ := strings.Cut(rest, "\n\n")
		steps := stepAt.FindAllStringSubmatch(body+"\n", -1)
		if !found || len(steps) != len(f.steps) {
			t.Errorf("%s has %d steps, want %d", f.part, len(steps), len(f.steps))
			continue
		}
		for i, want := range f.steps {
			got := steps[i][1:]
			want = append(want, "")[:5]
			if got[0] != want[0] || strings.TrimSpace(got[1]) != want[1] || !strings.HasPrefix(got[2], want[2]) || !strings.HasPrefix(got[3], want[3]) ||
				!strings.Contains(got[4], want[4]) || (got[4] == "") != (want[4] == "") {
				t.Errorf("%s: step %d is\n\t%q\nwant\n\t%q", f.part, i+1, got, want)
			}
		}
	}
	if t.Failed() {
		t.Log("\n" + out)
	}
}

// alone are the lines of what Django has no counterpart of.
var alone = []string{
	`Mon 09:10  log in on a phone                 lapse   200  token 3, until Mon 10:10`,
	`Mon 09:50  a request                         lapse   200  token 1, until Mon 10:00`,
	`Mon 09:50  logged in on                      lapse   laptop: since Mon 09:00, refreshed Mon 09:50, until 4 Feb 09:50`,
	`Mon 09:50  logged in on                      lapse   phone: since Mon 09:10, never refreshed, until 4 Feb 09:10`,
	`Mon 09:50  log out all but the laptop        lapse   200  1 ended`,
	`Mon 09:50  the phone                         lapse   401  ErrRevoked, ended at 09:50: subject`,
	`Mon 10:40  with the new access token         lapse   200  token 4, until Mon 10:50`,
	`Mon 10:40  a scope that it lacks             lapse   400  invalid_scope`,
	`Mon 10:40  the old refresh token again       lapse   400  invalid_grant: ErrReused`,
	`Mon 10:40  after which the session is dead   lapse   401  ErrRevoked, ended at 10:40: reused`,
	`Mon 09:00  sent                              lapse   200  token 1, until Wed 09:00`,
	`Tue 09:00  the link is opened                lapse   200  token 1, until Wed 09:00`,
	`Tue 09:00  and opened again                  lapse   401  ErrExhausted`,
}

func TestWhatHasNoCounterpart(t *testing.T) {
	out := transcript(t)
	for _, line := range alone {
		if !strings.Contains(out, "\n"+line+"\n") {
			t.Errorf("not in the transcript: %s", line)
		}
	}
}

// TestOAuthShape is RFC 6749 section 5.1, by whatever order of fields.
func TestOAuthShape(t *testing.T) {
	var answers []map[string]any
	for line := range strings.Lines(transcript(t)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "{") {
			var answer map[string]any
			if err := json.Unmarshal([]byte(line), &answer); err != nil {
				t.Fatal(err)
			}
			answers = append(answers, answer)
		}
	}
	of := func(access, refresh string) map[string]any {
		return map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3600.0, "refresh_token": refresh, "scope": "read write"}
	}
	want := []map[string]any{of("token 1", "token 2"), of("token 4", "token 5")}
	if diff := cmp.Diff(want, answers); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

// TestTranscript: it is the same each time, fits on a page, and holds no secret, each
// form of which is a long run of letters and digits.
func TestTranscript(t *testing.T) {
	out := transcript(t)
	if diff := cmp.Diff(strings.Split(out, "\n"), strings.Split(transcript(t), "\n")); diff != "" {
		t.Errorf("the second time (-first +second):\n%s", diff)
	}
	if long := regexp.MustCompile(`[0-9A-Za-z]{20,}`).FindString(out); long != "" {
		t.Errorf("%d letters and digits in a row", len(long))
	}
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(line); n > 121 {
			t.Errorf("%d columns, want 120 at most: %s", n-1, line)
		}
	}
}

// TestStepsAreChecked: a step that goes otherwise than it says ends the walk.
func TestStepsAreChecked(t *testing.T) {
	good, later, no := answer{status: 200, token: 1, until: opening}, answer{status: 200, token: 1, until: opening.Add(time.Millisecond)}, answer{status: 401}
	for _, tt := range []struct {
		django, lapse answer
		differ        string
		wrong         bool
	}{
		{good, good, "", false},
		{no, answer{status: 401, says: "in other words"}, "", false},
		{good, later, "", true},
		{good, no, "", true},
		{good, answer{status: 200, token: 2, until: opening}, "", true},
		{good, later, "by a millisecond", false},
		{good, good, "not at all", true},
	} {
		tour, err := newTour(io.Discard, lapse.Policy{}, django{})
		if err != nil {
			t.Fatal(err)
		}
		tour.step("a step", tt.django, tt.lapse, tt.differ)
		if (tour.err != nil) != tt.wrong {
			t.Errorf("django %v, lapse %v, differ %q: %v", tt.django, tt.lapse, tt.differ, tour.err)
		}
		tour.step("a good step", good, good, "")
		if (tour.err != nil) != tt.wrong {
			t.Errorf("after a good step: %v", tour.err)
		}
	}
}

// TestOAuthErrors: each is the code of RFC 6749 section 5.2, or could not be told.
func TestOAuthErrors(t *testing.T) {
	for err, want := range map[error]string{
		lapse.ErrScope: "400  invalid_scope", &lapse.GrantError{Field: "Scope"}: "400  invalid_scope", &lapse.GrantError{Field: "TTL"}: "400  invalid_request: TTL",
		lapse.ErrReused: "400  invalid_grant: ErrReused", lapse.ErrLimit: "409  ErrLimit: the subject has as many as it may", lapse.ErrClosed: "503  " + lapse.ErrClosed.Error(),
	} {
		if got := oauthError(err).String(); got != want {
			t.Errorf("%v: %s; want %s", err, got, want)
		}
	}
}

// TestCouldNotTell: what is no refusal is answered with 503, whatever the handler is.
func TestCouldNotTell(t *testing.T) {
	for err, want := range map[error]int{
		lapse.ErrUnavailable: 503, fmt.Errorf("users: %w", io.ErrUnexpectedEOF): 503, lapse.ErrInvalidGrant: 503, lapse.ErrNoKeys: 503,
		lapse.ErrUnknown: 401, lapse.ErrExpired: 401, lapse.ErrReused: 401, lapse.ErrLimit: 409,
	} {
		if got := refusal(401, err); got.status != want {
			t.Errorf("%v: %v, want %d", err, got, want)
		}
	}
}
