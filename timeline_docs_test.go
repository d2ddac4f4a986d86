package lapse_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// timelines are the tables of docs/timeline.md, each of a token issued at 09:00. The
// first is also in the comment of Policy.Timeline.
var timelines = []struct {
	policy lapse.Policy
	uses   string // times of day
}{
	{lapse.Policy{TTL: 30 * time.Minute, MaxTTL: time.Hour, RenewEvery: 10 * time.Minute}, "09:06 09:10 09:19 09:20 09:35 09:59 10:00"},
	{lapse.Policy{}, "09:00 09:29 09:59"},
	{lapse.Policy{TTL: 8 * time.Hour, Renewal: lapse.RenewNever}, "09:30 16:59 17:00"},
	{lapse.Policy{TTL: time.Hour, MaxTTL: 12 * time.Hour, Renewal: lapse.RenewOnRequest}, "09:30 09:59 10:00"},
	{lapse.Policy{TTL: time.Hour, MaxTTL: 90 * time.Minute}, "09:20 09:50 10:15 10:30"},
	{lapse.Policy{TTL: time.Hour, MaxTTL: lapse.NoLimit, RenewEvery: 5 * time.Minute}, "09:04 09:08 10:07 11:06 12:06"},
	{lapse.Policy{TTL: 30 * time.Minute}, "09:20 09:10 09:50 09:45"},
}

// told returns the times of day of a timeline, and what the uses do then.
func told(t *testing.T, p lapse.Policy, clock string) (lines [][2]string) {
	t.Helper()
	var uses []time.Time
	for _, at := range strings.Fields(clock) {
		hour, err := time.Parse("15:04", at)
		if err != nil {
			t.Fatal(err)
		}
		uses = append(uses, nineOClock.Truncate(24*time.Hour).Add(time.Duration(hour.Hour())*time.Hour+time.Duration(hour.Minute())*time.Minute))
	}
	steps, err := p.Timeline(nineOClock, uses...)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		lines = append(lines, [2]string{s.At.Format("15:04"), s.Kind.String() + " " + s.ExpiresAt.Format("15:04")})
	}
	return lines
}

// TestTimelinesOfTheDocuments: the tables there are what Timeline says.
func TestTimelinesOfTheDocuments(t *testing.T) {
	page, err := os.ReadFile("docs/timeline.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for i, tl := range timelines {
		want = append(want, "| used at | does |", "|---|---|")
		comment := "//\tused at   does\n"
		for _, line := range told(t, tl.policy, tl.uses) {
			want = append(want, fmt.Sprintf("| %s | %s |", line[0], line[1]))
			comment += fmt.Sprintf("//\t%-9s %s\n", line[0], line[1])
		}
		if i > 0 {
			continue
		}
		source, err := os.ReadFile("timeline.go")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(source), comment) {
			t.Errorf("timeline.go does not hold the table\n%s", comment)
		}
	}
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "|") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	wantDiff(t, "tables of docs/timeline.md", want, got)
}
