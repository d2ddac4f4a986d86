package lapseotel_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/telemetry/lapseotel"
)

// Every counter of Stats is a point, and no other one.
func TestCounters(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapseotel.Options{})
	s.story()
	s.waitFor("lapse.hold.cuts", 1)
	points := s.read()
	calls := 0
	for key, n := range s.tokens.Stats().All() {
		var p point
		switch key.Verb {
		case lapse.VerbRelease:
			p = find(points["lapse.hold.releases"])
		case lapse.VerbCut:
			p = find(points["lapse.hold.cuts"], "lapse.outcome", key.Outcome)
		case lapse.VerbSwept:
			p = find(points["lapse.sweep.records"])
		default:
			calls++
			p = find(points["lapse.verb.calls"], "lapse.verb", key.Verb.String(), "lapse.outcome", key.Outcome)
		}
		if prefix, _ := p.attributes.Value("lapse.prefix"); p.n != int64(n) || prefix.AsString() != "lapse" {
			t.Errorf("%v: %d of prefix %q, want %d", key, p.n, prefix.AsString(), n)
		}
	}
	if got := len(points["lapse.verb.calls"]); got != calls || calls < 15 {
		t.Errorf("%d points of calls for %d counters, want as many, and 15 or more", got, calls)
	}
}

// wrongEngine is a store whose engine has another clock.
type wrongEngine struct {
	storage.Store
	clock *testClock
}

func (w wrongEngine) Time() (time.Time, time.Duration, bool) {
	return w.clock.Now().Add(-time.Hour), 0, true
}

// A clock that disagrees with that of the store is counted.
func TestDisagreements(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapseotel.Options{})
	m := must(lapse.New(wrongEngine{memory.New(), s.clock}, lapse.Config{Prefix: "engine", Clock: s.clock}))
	if err := s.tel.Add(m); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, _ = m.Authenticate(s.ctx, "nonsense")
		must(m.Issue(s.ctx, lapse.Grant{Subject: subject}))
		s.clock.Add(time.Millisecond)
	}
	want := m.Stats().Get(lapse.StatKey{Verb: lapse.VerbClocks, Outcome: "ok"})
	if p := find(s.read()["lapse.clock.disagreements"], "lapse.prefix", "engine"); p.n != int64(want) || want != 1 {
		t.Errorf("%d disagreements, want %d, and 1", p.n, want)
	}
}

// lapse.holds goes up and down.
func TestHolds(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapseotel.Options{})
	tok := must(s.tokens.Issue(s.ctx, lapse.Grant{Subject: subject}))
	want := func(n int64, when string) {
		t.Helper()
		if points := s.read()["lapse.holds"]; len(points) != 1 || points[0].n != n {
			t.Errorf("%s: %v, want %d", when, points, n)
		}
	}
	want(0, "before")
	var holds []*lapse.Hold
	for range 3 {
		holds = append(holds, must(s.tokens.Hold(s.ctx, tok.Bearer)))
	}
	s.clock.Add(time.Minute) // the next use renews
	holds = append(holds, must(s.tokens.Hold(s.ctx, tok.Bearer)))
	want(4, "held")
	holds[0].Release()
	want(3, "one released")
	must(s.tokens.Expire(s.ctx, tok.ID))
	s.waitFor("lapse.hold.cuts", 3)
	want(0, "cut")
}

// Durable verbs have durations, one for each effect. Checks have none.
func TestDurations(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapseotel.Options{})
	s.story()
	points := s.read()["lapse.verb.duration"]
	for _, row := range []struct {
		verb, event string
		want        int64
	}{
		{"issue", "issued", 2}, {"delegate", "issued", 1}, {"rotate", "rotated", 1}, {"rotate", "ended", 1}, {"suspend", "suspended", 1}, {"resume", "resumed", 1},
		{"edit", "edited", 1}, {"expire subject", "ended", 2}, {"sweep", "swept", 1}, {"authenticate", "rejected", 0}, {"hold", "held", 0},
	} {
		p := find(points, "lapse.verb", row.verb, "lapse.event", row.event)
		if p.n != row.want || row.want > 0 && (p.sum < 0.001*float64(row.want) || p.sum > 0.1) {
			t.Errorf("%s, %s: %d in %f s, want %d of a millisecond or more", row.verb, row.event, p.n, p.sum, row.want)
		}
	}
}

// The counters of Pairs have the prefix of the Manager that was added, and the durations of their verbs that of the
// refresh texts.
func TestPairs(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapseotel.Options{})
	pairs := must(lapse.NewPairs(memory.New(), lapse.PairConfig{
		Access: lapse.Config{Prefix: "web", Clock: s.clock, Observe: s.tel.Observe}, Refresh: lapse.Config{Prefix: "web_refresh"},
	}))
	if err := s.tel.Add(pairs.Access()); err != nil {
		t.Fatal(err)
	}
	must(pairs.Refresh(s.ctx, must(pairs.Issue(s.ctx, lapse.Grant{Subject: subject})).Refresh.Bearer))
	points := s.read()
	for _, verb := range []string{"issue pair", "refresh"} {
		if p := find(points["lapse.verb.calls"], "lapse.verb", verb, "lapse.prefix", "web"); p.n != 1 {
			t.Errorf("%s: %d calls, want 1", verb, p.n)
		}
		if p := find(points["lapse.verb.duration"], "lapse.verb", verb, "lapse.prefix", "web_refresh"); p.n != 1 {
			t.Errorf("%s: %d durations, want 1", verb, p.n)
		}
	}
}

// A failed write has a duration, with its outcome.
func TestFailures(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapseotel.Options{})
	s.store.Close()
	_, err := s.tokens.Issue(s.ctx, lapse.Grant{Subject: subject})
	if p := find(s.read()["lapse.verb.duration"], "lapse.verb", "issue", "lapse.event", "could not tell", "lapse.outcome", "closed"); p.n != 1 {
		t.Errorf("%v: %d durations, want 1", err, p.n)
	}
}

// The duration of a cut begins when the token died.
func TestCuts(t *testing.T) {
	s := newScene(t, lapse.Config{Policy: lapse.Policy{TTL: time.Minute}}, lapseotel.Options{})
	tel := s.tel
	at := s.clock.Now()
	for after, want := range map[time.Duration]float64{0: 0, 40 * time.Millisecond: 0.04, 2 * time.Second: 2, -time.Second: 0} {
		before := find(s.read()["lapse.hold.cut.duration"])
		tel.Observe(s.ctx, lapse.Event{Kind: lapse.EventCut, At: at.Add(after), Verb: lapse.VerbHold, Err: &lapse.Rejection{Err: lapse.ErrRevoked, At: at}})
		now := find(s.read()["lapse.hold.cut.duration"], "lapse.outcome", "revoked")
		if got := now.sum - before.sum; got < want-1e-9 || got > want+1e-9 || now.n != before.n+1 {
			t.Errorf("%v after the end: %f s, want %f", after, got, want)
		}
	}
	n := find(s.read()["lapse.hold.cut.duration"]).n
	tel.Observe(s.ctx, lapse.Event{Kind: lapse.EventCut, At: at, Err: &lapse.Rejection{Err: lapse.ErrReplaced}}) // has no instant
	tel.Observe(s.ctx, lapse.Event{Kind: lapse.EventCut, At: at, Err: lapse.ErrClosed})
	tel.Observe(s.ctx, lapse.Event{Kind: lapse.EventRejected, At: at, Err: &lapse.Rejection{Err: lapse.ErrRevoked, At: at}})
	if got := find(s.read()["lapse.hold.cut.duration"]).n; got != n {
		t.Errorf("%d cuts, want %d", got, n)
	}
	tok := must(s.tokens.Issue(s.ctx, lapse.Grant{Subject: subject}))
	must(s.tokens.Hold(s.ctx, tok.Bearer))
	must(s.tokens.Expire(s.ctx, tok.ID))
	s.waitFor("lapse.hold.cut.duration", n+1)
}

// The doc of the package names every metric with its unit, and no other one.
func TestNames(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapseotel.Options{})
	s.story()
	s.waitFor("lapse.hold.cut.duration", 1)
	s.tel.Observe(s.ctx, lapse.Event{}) // nothing to record
	doc := string(must(os.ReadFile("doc.go")))
	var rows [][]string
	for line := range strings.Lines(doc) {
		if fields := strings.Fields(strings.TrimPrefix(line, "//")); len(fields) > 2 && strings.HasPrefix(line, "//\tlapse.") {
			rows = append(rows, fields[:2])
		}
	}
	metrics, _ := s.collect()
	for _, m := range metrics {
		if !slices.ContainsFunc(rows, func(row []string) bool { return row[0] == m.Name && row[1] == m.Unit }) {
			t.Errorf("the doc lacks %s in %s", m.Name, m.Unit)
		}
		if m.Description == "" {
			t.Errorf("%s has no description", m.Name)
		}
	}
	if len(metrics) != len(rows)-1 { // no clock disagreed
		t.Errorf("there are %d metrics, and %d in the doc", len(metrics)+1, len(rows))
	}
}

// What may not be added, and what is over after Close.
func TestAdd(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapseotel.Options{})
	second := must(lapse.New(memory.New(), lapse.Config{Prefix: "second"}))
	for what, row := range map[string]struct {
		m   *lapse.Manager
		bad bool
	}{"nil": {nil, true}, "the same": {s.tokens, true}, "another prefix": {second, false}} {
		if err := s.tel.Add(row.m); row.bad != errors.Is(err, lapse.ErrInvalidConfig) || !row.bad && err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, _ = second.Authenticate(s.ctx, "nonsense")
	if p := find(s.read()["lapse.verb.calls"], "lapse.prefix", "second"); p.n != 1 {
		t.Errorf("%d calls of the second Manager, want 1", p.n)
	}
	for range 2 {
		if err := s.tel.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := len(s.read()); got != 0 {
		t.Errorf("%d metrics after Close, want none", got)
	}
	third := must(lapse.New(memory.New(), lapse.Config{Prefix: "third"}))
	if err := s.tel.Add(third); !errors.Is(err, lapse.ErrInvalidConfig) {
		t.Errorf("Add after Close: %v", err)
	}
}

// badMeters fails to make what is asked for.
type badMeters struct {
	noop.MeterProvider
	err error
}

func (b badMeters) Meter(string, ...metric.MeterOption) metric.Meter { return badMeter{err: b.err} }

type badMeter struct {
	noop.Meter
	err error
}

func (b badMeter) Int64ObservableCounter(string, ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return noop.Int64ObservableCounter{}, b.err
}

func TestMeterFails(t *testing.T) {
	want := errors.New("out of meters")
	if tel, err := lapseotel.New(lapseotel.Options{Meters: badMeters{err: want}}); !errors.Is(err, want) || tel != nil {
		t.Errorf("%v, %v; want the error of the meter", tel, err)
	}
	if _, err := lapseotel.New(lapseotel.Options{}); err != nil { // the global one does nothing
		t.Error(err)
	}
}

// A check pays nothing: it allocates as without telemetry.
func TestCheckAllocates(t *testing.T) {
	check := func(cfg lapse.Config, tel *lapseotel.Telemetry) float64 {
		m := must(lapse.New(memory.New(), cfg))
		if tel != nil {
			if err := tel.Add(m); err != nil {
				t.Fatal(err)
			}
		}
		tok := must(m.Issue(t.Context(), lapse.Grant{Subject: subject}))
		return testing.AllocsPerRun(1000, func() { must(m.Authenticate(t.Context(), tok.Bearer)) })
	}
	s := newScene(t, lapse.Config{}, lapseotel.Options{})
	without, with := check(lapse.Config{}, nil), check(lapse.Config{Prefix: "other", Observe: s.tel.Observe}, s.tel)
	s.read()
	if with != without {
		t.Errorf("a check with telemetry allocates %v times, without %v", with, without)
	}
}

// Metrics are read while verbs run.
func TestTogether(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapseotel.Options{})
	tok := must(s.tokens.Issue(s.ctx, lapse.Grant{Subject: subject}))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				must(s.tokens.Authenticate(s.ctx, tok.Bearer))
				_, _ = s.tokens.Edit(s.ctx, tok.ID, lapse.Changes{Data: new(string)})
			}
		})
	}
	for range 20 {
		s.read()
	}
	wg.Wait()
	sum := int64(0)
	for _, p := range s.read()["lapse.verb.calls"] {
		if verb, _ := p.attributes.Value(attribute.Key("lapse.verb")); verb.AsString() == "authenticate" {
			sum += p.n
		}
	}
	if sum != 800 {
		t.Errorf("%d checks, want 800", sum)
	}
}
