package lapse_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
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
				at := startMilli.Add(d.at)
				uses = append(uses, at)
				want = append(want, lapse.Step{At: at.Truncate(ms), Kind: d.kind, ExpiresAt: startMilli.Add(d.until)})
			}
			got, err := tt.policy.Timeline(start, uses...)
			if err != nil {
				t.Fatal(err)
			}
			wantDiff(t, "steps", want, got)
		})
	}
}

// TestTimelineIsPure: what it is given stays as it is, and it says the same again.
func TestTimelineIsPure(t *testing.T) {
	zone := time.FixedZone("elsewhere", 5*3600)
	p := lapse.Policy{TTL: time.Hour, RenewEvery: time.Minute}
	before := p
	uses := []time.Time{start.Add(time.Hour - 1).In(zone), start.In(zone), start.Add(90 * time.Minute)}
	given := append([]time.Time(nil), uses...)
	first, err := p.Timeline(start.In(zone), uses...)
	if err != nil {
		t.Fatal(err)
	}
	second, _ := p.Timeline(start, uses...)
	wantDiff(t, "the second time, in another zone", first, second)
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
		"the longest life": {lapse.Policy{TTL: math.MaxInt64 - 1, MaxTTL: lapse.NoLimit}, startMilli, startMilli.AddDate(200, 0, 0),
			lapse.Step{At: startMilli.AddDate(200, 0, 0), Kind: lapse.StepRenewed, ExpiresAt: startMilli.AddDate(200, 0, 0).Add(time.Duration(math.MaxInt64 - 1).Truncate(time.Millisecond))}},
	} {
		got, err := tt.policy.Timeline(tt.issued, tt.use)
		if err != nil {
			t.Fatal(err)
		}
		wantDiff(t, name, []lapse.Step{tt.want}, got)
	}
}

// TestTimelineOfAnInvalidPolicy is the error of New, and no steps.
func TestTimelineOfAnInvalidPolicy(t *testing.T) {
	for _, p := range []lapse.Policy{
		{TTL: -1}, {TTL: 1}, {TTL: lapse.NoLimit}, {TTL: time.Hour, MaxTTL: time.Minute}, {RenewEvery: -1},
		{Renewal: 4}, {MaxTokens: -1}, {MaxDelegates: -1}, {AtLimit: 4}, {Retention: -1},
	} {
		steps, err := p.Timeline(start, start)
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
