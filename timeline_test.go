package lapse_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestTimelineBoundaries: one millisecond before, at and after each limit.
func TestTimelineBoundaries(t *testing.T) {
	const ms, minute, hour = time.Millisecond, time.Minute, time.Hour
	type does struct {
		at    time.Duration // since issue
		kind  lapse.StepKind
		until time.Duration
	}
	renewed, capped, notDue, recorded := lapse.StepRenewed, lapse.StepCapped, lapse.StepNotDue, lapse.StepRecorded
	ranOut, capEnded := lapse.StepRanOut, lapse.StepCapEnded
	sliding := lapse.Policy{TTL: hour, MaxTTL: 3 * hour}
	slow := lapse.Policy{TTL: hour, MaxTTL: 3 * hour, RenewEvery: 10 * minute}
	endless := lapse.Policy{TTL: hour, MaxTTL: lapse.NoLimit}
	for _, tt := range []struct {
		name   string
		policy lapse.Policy
		steps  []does
	}{
		{"no use", sliding, []does{}},
		{"the zero Policy", lapse.Policy{}, []does{{29 * minute, renewed, 59 * minute}, {59 * minute, ranOut, 59 * minute}}},
		{"1 ms before it runs out", sliding, []does{{hour - ms, renewed, 2*hour - ms}}},
		{"as it runs out", sliding, []does{{hour, ranOut, hour}}},
		{"1 ms after it ran out", sliding, []does{{hour + ms, ranOut, hour}}},
		{"1 ns before it runs out", sliding, []does{{hour - 1, renewed, 2*hour - ms}}},
		{"1 ns after it ran out", sliding, []does{{hour + 1, ranOut, hour}}},
		{"in the instant of issue", sliding, []does{{0, renewed, hour}, {0, notDue, hour}}},
		{"within the millisecond of a use", sliding, []does{{minute, renewed, hour + minute}, {minute + ms - 1, notDue, hour + minute}, {minute + ms, renewed, hour + minute + ms}}},
		{"1 ms before RenewEvery", slow, []does{{10*minute - ms, notDue, hour}}},
		{"at RenewEvery", slow, []does{{10 * minute, renewed, hour + 10*minute}}},
		{"1 ms after RenewEvery", slow, []does{{10*minute + ms, renewed, hour + 10*minute + ms}}},
		{"RenewEvery counts from the last recorded use", slow, []does{
			{15 * minute, renewed, 75 * minute}, {25*minute - ms, notDue, 75 * minute}, {25 * minute, renewed, 85 * minute},
		}},
		{"a use that is not due postpones nothing", slow, []does{{9 * minute, notDue, hour}, {10 * minute, renewed, 70 * minute}}},
		{"1 ms short of the cap", sliding, []does{{55 * minute, renewed, 115 * minute}, {110 * minute, renewed, 170 * minute}, {2*hour - ms, renewed, 3*hour - ms}}},
		{"reaching the cap", sliding, []does{{55 * minute, renewed, 115 * minute}, {110 * minute, renewed, 170 * minute}, {2 * hour, renewed, 3 * hour}}},
		{"1 ms over the cap", sliding, []does{{55 * minute, renewed, 115 * minute}, {110 * minute, renewed, 170 * minute}, {2*hour + ms, capped, 3 * hour}}},
		{"around the cap", lapse.Policy{TTL: hour, MaxTTL: hour}, []does{{minute, capped, hour}, {hour - ms, capped, hour}, {hour, capEnded, hour}, {hour + ms, capEnded, hour}}},
		{"ran out under a cap", sliding, []does{{3 * hour, ranOut, hour}, {4 * hour, ranOut, hour}}},
		{"without a cap", endless, []does{{50 * minute, renewed, 110 * minute}, {110*minute - ms, renewed, 170*minute - ms}, {9999 * hour, ranOut, 170*minute - ms}}},
		{"RenewOnRequest", lapse.Policy{TTL: hour, Renewal: lapse.RenewOnRequest}, []does{{minute, recorded, hour}, {minute, notDue, hour}, {hour - ms, recorded, hour}, {hour, ranOut, hour}}},
		{"Never", lapse.Policy{TTL: hour, Renewal: lapse.RenewNever}, []does{{minute, recorded, hour}, {hour - ms, recorded, hour}, {hour, ranOut, hour}}},
		{"Never, as rarely as RenewEvery says", lapse.Policy{TTL: hour, Renewal: lapse.RenewNever, RenewEvery: 10 * minute}, []does{{10*minute - ms, notDue, hour}, {10 * minute, recorded, hour}}},
		{"Never, for as long as the cap", lapse.Policy{TTL: hour, MaxTTL: hour, Renewal: lapse.RenewNever}, []does{{hour - ms, recorded, hour}, {hour, capEnded, hour}}},
		{"RenewEvery of a whole life", lapse.Policy{TTL: hour, RenewEvery: hour}, []does{{hour - ms, notDue, hour}, {hour, ranOut, hour}}},
		{"the clock set back behind a use", sliding, []does{{30 * minute, renewed, 90 * minute}, {10 * minute, notDue, 90 * minute}, {30*minute + ms, renewed, 90*minute + ms}}},
		{"the clock set back behind issue", sliding, []does{{-hour, notDue, hour}, {minute, renewed, 61 * minute}}},
		{"the clock set back before it ran out", sliding, []does{{hour, ranOut, hour}, {hour - ms, renewed, 2*hour - ms}, {hour, renewed, 2 * hour}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			uses, want := []time.Time{}, []lapse.Step{}
			for _, d := range tt.steps {
				at := lapsetest.StartMilli.Add(d.at)
				uses = append(uses, at)
				want = append(want, lapse.Step{At: at.Truncate(ms), Kind: d.kind, ExpiresAt: lapsetest.StartMilli.Add(d.until)})
			}
			got, err := tt.policy.Timeline(lapsetest.Start, uses...)
			if err != nil {
				t.Fatal(err)
			}
			lapsetest.WantDiff(t, "steps", want, got)
		})
	}
}

// TestTimelineIsPure: what it is given stays as it is, and it says the same again.
func TestTimelineIsPure(t *testing.T) {
	zone := time.FixedZone("elsewhere", 5*3600)
	p := lapse.Policy{TTL: time.Hour, RenewEvery: time.Minute}
	before := p
	uses := []time.Time{lapsetest.Start.Add(time.Hour - 1).In(zone), lapsetest.Start.In(zone), lapsetest.Start.Add(90 * time.Minute)}
	given := append([]time.Time(nil), uses...)
	first, err := p.Timeline(lapsetest.Start.In(zone), uses...)
	if err != nil {
		t.Fatal(err)
	}
	second, _ := p.Timeline(lapsetest.Start, uses...)
	lapsetest.WantDiff(t, "the second time, in another zone", first, second)
	for i := range uses {
		if uses[i] != given[i] {
			t.Errorf("use %d became %v", i, uses[i])
		}
	}
	if p != before {
		t.Errorf("the policy became %+v", p)
	}
	for _, s := range first {
		if s.At.Location() != time.UTC || s.ExpiresAt.Location() != time.UTC {
			t.Errorf("%v is not in UTC", s)
		}
	}
}

// TestTimelineAtTheEnds of time: nothing wraps, and what would lie behind the last
// instant is held there.
func TestTimelineAtTheEnds(t *testing.T) {
	last := time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
	first := time.Date(1, 1, 1, 0, 0, 0, 1e6, time.UTC)
	for name, tt := range map[string]struct {
		policy      lapse.Policy
		issued, use time.Time
		want        lapse.Step
	}{
		"near the end":    {lapse.Policy{}, last.Add(-time.Minute), last.Add(-time.Second), lapse.Step{At: last.Add(-time.Second), Kind: lapse.StepRenewed, ExpiresAt: last}},
		"at the end":      {lapse.Policy{}, last.Add(-time.Minute), last, lapse.Step{At: last, Kind: lapse.StepCapEnded, ExpiresAt: last}},
		"behind the end":  {lapse.Policy{MaxTTL: lapse.NoLimit}, last.Add(-time.Minute), last.AddDate(5, 0, 0), lapse.Step{At: last, Kind: lapse.StepRanOut, ExpiresAt: last}},
		"the zero Time":   {lapse.Policy{}, time.Time{}, time.Time{}.Add(time.Minute), lapse.Step{At: time.Time{}.Add(time.Minute), Kind: lapse.StepRenewed, ExpiresAt: time.Time{}.Add(31 * time.Minute)}},
		"before the zero": {lapse.Policy{}, time.Time{}.AddDate(-9, 0, 0), time.Time{}, lapse.Step{At: first, Kind: lapse.StepRenewed, ExpiresAt: first.Add(30 * time.Minute)}},
		"the longest life": {lapse.Policy{TTL: math.MaxInt64 - 1, MaxTTL: lapse.NoLimit}, lapsetest.StartMilli, lapsetest.StartMilli.AddDate(200, 0, 0),
			lapse.Step{At: lapsetest.StartMilli.AddDate(200, 0, 0), Kind: lapse.StepRenewed, ExpiresAt: lapsetest.StartMilli.AddDate(200, 0, 0).Add(time.Duration(math.MaxInt64 - 1).Truncate(time.Millisecond))}},
	} {
		got, err := tt.policy.Timeline(tt.issued, tt.use)
		if err != nil {
			t.Fatal(err)
		}
		lapsetest.WantDiff(t, name, []lapse.Step{tt.want}, got)
	}
}

// TestTimelineOfAnInvalidPolicy is the error of New, and no steps.
func TestTimelineOfAnInvalidPolicy(t *testing.T) {
	for _, p := range []lapse.Policy{
		{TTL: -1}, {TTL: 1}, {TTL: lapse.NoLimit}, {TTL: time.Hour, MaxTTL: time.Minute}, {RenewEvery: -1},
		{Renewal: 4}, {MaxTokens: -1}, {MaxDelegates: -1}, {AtLimit: 4}, {Retention: -1},
	} {
		steps, err := p.Timeline(lapsetest.Start, lapsetest.Start)
		_, want := lapse.New(newFixture(t, lapse.Config{}).store, lapse.Config{Policy: p})
		if !errors.Is(err, lapse.ErrInvalidConfig) || steps != nil || err.Error() != want.Error() {
			t.Errorf("%+v: %v, %v; want %v", p, steps, err, want)
		}
	}
}

// TestStepPrints for people, and its kind in words.
func TestStepPrints(t *testing.T) {
	s := lapse.Step{At: nineOClock, Kind: lapse.StepRenewed, ExpiresAt: nineOClock.Add(30*time.Minute + 250*time.Millisecond)}
	if got, want := s.String(), "2026-01-05T09:00:00Z renewed until 2026-01-05T09:30:00.25Z"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	seen := map[string]bool{}
	for k := range lapse.StepKind(10) {
		text, err := k.MarshalText()
		if err != nil || string(text) != k.String() {
			t.Errorf("%d: %q, %v", k, text, err)
		}
		if known := k >= lapse.StepRenewed && k <= lapse.StepCapEnded; known == (k.String() == "unknown") || known && seen[k.String()] {
			t.Errorf("%d is %q", k, k)
		}
		if good := k >= lapse.StepRenewed && k < lapse.StepRanOut; k.Good() != good {
			t.Errorf("%d, %v: Good is %v", k, k, k.Good())
		}
		seen[fmt.Sprint(k)] = true
	}
}

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
	lapsetest.WantDiff(t, "tables of docs/timeline.md", want, got)
}

// use is what Authenticate really did at an instant.
type use struct {
	at      time.Time
	err     error
	token   lapse.Token // as the store has it afterwards
	written bool
}

// randomPolicy draws a policy whose limits lie a few units apart, so that uses fall
// on them often.
func randomPolicy(r *rand.Rand, unit time.Duration) lapse.Policy {
	p := lapse.Policy{
		TTL:     unit * time.Duration(1+r.IntN(12)),
		Renewal: lapse.Renewal((r.IntN(8) + 1) % 8 % 5 % 4), // RenewOnUse, given or by default, most of the time
	}
	switch p.MaxTTL = p.TTL + unit*time.Duration(r.IntN(30)); r.IntN(4) {
	case 0:
		p.MaxTTL = lapse.NoLimit
	case 1:
		p.MaxTTL = 0
	}
	if r.IntN(3) > 0 {
		p.RenewEvery = unit * time.Duration(r.IntN(6))
	}
	return p
}

// randomUse draws the instant of the next use: a few units on, or a few back, or
// just before, at or just after the token's expiry, which is the likeliest place for
// two opinions. A dead token is often brought back by a clock that is set back.
func randomUse(r *rand.Rand, unit time.Duration, now time.Time, tok lapse.Token) time.Time {
	near := time.Duration(r.IntN(3)-1) * time.Millisecond
	if !tok.Live(now) && r.IntN(2) == 0 {
		return tok.ExpiresAt.Add(-unit * time.Duration(1+r.IntN(3)))
	}
	switch r.IntN(8) {
	case 0:
		return tok.ExpiresAt.Add(near)
	case 1:
		return now.Add(-unit * time.Duration(r.IntN(15)))
	case 2:
		return now.Add(near + time.Duration(r.IntN(2_000_000)))
	case 3:
		return tok.IssuedAt.Add(unit*time.Duration(r.IntN(40)) + near)
	default:
		return now.Add(unit * time.Duration(r.IntN(5)))
	}
}

// live drives a real Manager under p, and returns what each use did.
func live(t *testing.T, r *rand.Rand, p lapse.Policy, unit time.Duration) []use {
	f := newFixture(t, lapse.Config{Policy: p, ClockGuard: lapse.GuardOff}) // uses may lie before each other
	tok := f.issue(lapse.Grant{Subject: "ana"})
	uses := make([]use, 1+r.IntN(15))
	for n := range uses {
		u := &uses[n]
		u.at = randomUse(r, unit, f.clock.Now(), f.token(tok.ID))
		f.clock.Set(u.at)
		calls := f.calls(func() { u.token, u.err = f.Authenticate(f.ctx, tok.Bearer) })
		u.written = slices.Contains(calls, storagetest.OpTouch)
		stored := f.token(tok.ID)
		if u.err == nil && stored != u.token {
			t.Fatalf("returned %+v, stored %+v", u.token, stored)
		}
		u.token = stored
	}
	return uses
}

// differs says what s and u disagree on, if anything. It does not ask lapse what a
// kind of step means.
func (u use) differs(s lapse.Step, p lapse.Policy) error {
	limit, at := u.token.MaxExpiresAt, u.at.UTC().Truncate(time.Millisecond)
	var want lapse.StepKind
	switch {
	case errors.Is(u.err, lapse.ErrExpired) && u.token.ExpiresAt.Equal(limit):
		want = lapse.StepCapEnded
	case errors.Is(u.err, lapse.ErrExpired):
		want = lapse.StepRanOut
	case u.err != nil:
		return u.err
	case !u.written:
		want = lapse.StepNotDue
	case p.Renewal == lapse.RenewOnRequest || p.Renewal == lapse.RenewNever:
		want = lapse.StepRecorded
	case u.token.ExpiresAt.Equal(at.Add(p.TTL)):
		want = lapse.StepRenewed
	case u.token.ExpiresAt.Equal(limit):
		want = lapse.StepCapped
	default:
		return fmt.Errorf("a use wrote and renewed to %v, not for a TTL and not to the cap", u.token.ExpiresAt)
	}
	if real := (lapse.Step{At: at, Kind: want, ExpiresAt: u.token.ExpiresAt}); s != real || s.Kind.Good() != (u.err == nil) {
		return fmt.Errorf("the timeline says %v; what Authenticate did is %v (%v)", s, real, u.err)
	}
	return nil
}

// teller says what each use of a token would do.
type teller func(p lapse.Policy, issued time.Time, uses ...time.Time) ([]lapse.Step, error)

// compareTimelines plays rounds games, and counts the kinds of steps in which tell
// was right. It stops at the first in which it was not.
func compareTimelines(t *testing.T, rounds int, tell teller) (right map[lapse.StepKind]int, wrong error) {
	right = map[lapse.StepKind]int{}
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 22))
		unit := []time.Duration{time.Millisecond, time.Second, time.Minute, 24 * time.Hour}[r.IntN(4)]
		p := randomPolicy(r, unit)
		uses := live(t, r, p, unit)
		var at []time.Time
		for _, u := range uses {
			at = append(at, u.at)
		}
		steps, err := tell(p, lapsetest.Start, at...)
		if err != nil || len(steps) != len(uses) {
			return right, fmt.Errorf("seed %d: %d steps for %d uses, %w", seed, len(steps), len(uses), err)
		}
		for n, u := range uses {
			if err := u.differs(steps[n], p); err != nil {
				return right, fmt.Errorf("seed %d, use %d of %d under %+v: %w", seed, n+1, len(uses), p, err)
			}
			right[steps[n].Kind]++
		}
	}
	return right, nil
}

// TestTimelineIsWhatAuthenticateDoes, under thousands of policies.
func TestTimelineIsWhatAuthenticateDoes(t *testing.T) {
	race.Alone(t)
	rounds := sample.Of(4_000, 800)
	right, wrong := compareTimelines(t, rounds, lapse.Policy.Timeline)
	if wrong != nil {
		t.Fatal(wrong)
	}
	for kind := lapse.StepRenewed; kind <= lapse.StepCapEnded; kind++ {
		if right[kind] < rounds/10 {
			t.Errorf("%q was compared %d times alone: the games are too tame", kind, right[kind])
		}
	}
	t.Log(right)
}

// TestTimelineComparisonFindsFaults: tellers that are off by a millisecond, or by one
// rule, are found out.
func TestTimelineComparisonFindsFaults(t *testing.T) {
	const ms = time.Millisecond
	for name, tell := range map[string]teller{
		"TTL": func(p lapse.Policy, issued time.Time, uses ...time.Time) ([]lapse.Step, error) {
			if p.TTL += ms; p.MaxTTL != 0 && p.MaxTTL < p.TTL {
				p.MaxTTL = p.TTL
			}
			return p.Timeline(issued, uses...)
		},
		"RenewEvery": func(p lapse.Policy, issued time.Time, uses ...time.Time) ([]lapse.Step, error) {
			p.RenewEvery += ms
			return p.Timeline(issued, uses...)
		},
		"MaxTTL": func(p lapse.Policy, issued time.Time, uses ...time.Time) ([]lapse.Step, error) {
			if p.MaxTTL != 0 && p.MaxTTL != lapse.NoLimit {
				p.MaxTTL += ms
			}
			return p.Timeline(issued, uses...)
		},
		"the instant of issue": func(p lapse.Policy, issued time.Time, uses ...time.Time) ([]lapse.Step, error) {
			return p.Timeline(issued.Add(ms), uses...)
		},
		"modes": func(p lapse.Policy, issued time.Time, uses ...time.Time) ([]lapse.Step, error) {
			p.Renewal = lapse.RenewOnUse
			return p.Timeline(issued, uses...)
		},
		"uses put in order": func(p lapse.Policy, issued time.Time, uses ...time.Time) ([]lapse.Step, error) {
			slices.SortFunc(uses, time.Time.Compare)
			return p.Timeline(issued, uses...)
		},
		"each use on its own": func(p lapse.Policy, issued time.Time, uses ...time.Time) (steps []lapse.Step, _ error) {
			for _, at := range uses {
				step, _ := p.Timeline(issued, at)
				steps = append(steps, step...)
			}
			return steps, nil
		},
	} {
		if _, wrong := compareTimelines(t, 200, tell); wrong == nil {
			t.Errorf("%s: 200 games found nothing", name)
		}
	}
}
