package lapseotel_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/telemetry/lapseotel"
)

const subject = "ana@example.com"

// testClock is a clock that a test moves, and that measures how long verbs take: each look at Elapsed
// is a millisecond after the one before.
type testClock struct {
	now     atomic.Int64 // Unix nanoseconds
	elapsed atomic.Int64
}

func (c *testClock) Now() time.Time                       { return time.Unix(0, c.now.Load()) }
func (c *testClock) After(time.Duration) <-chan time.Time { return nil }
func (c *testClock) Elapsed() time.Duration {
	return time.Duration(c.elapsed.Add(int64(time.Millisecond)))
}
func (c *testClock) Add(d time.Duration) { c.now.Add(int64(d)); c.elapsed.Add(int64(d)) }

// scene is a Manager whose telemetry is read.
type scene struct {
	t      *testing.T
	ctx    context.Context // of a span
	tokens *lapse.Manager
	store  *memory.Store
	clock  *testClock
	tel    *lapseotel.Telemetry
	reader *metric.ManualReader
	spans  *tracetest.SpanRecorder
	end    func() // ends the span
}

func newScene(t *testing.T, cfg lapse.Config, o lapseotel.Options) *scene {
	t.Helper()
	s := &scene{t: t, store: memory.New(), clock: new(testClock), reader: metric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	s.clock.Add(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC).Sub(time.Unix(0, 0)))
	o.Meters = metric.NewMeterProvider(metric.WithReader(s.reader))
	s.tel = must(lapseotel.New(o))
	cfg.Clock, cfg.Observe = s.clock, s.tel.Observe
	s.tokens = must(lapse.New(s.store, cfg))
	if err := s.tel.Add(s.tokens); err != nil {
		t.Fatal(err)
	}
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s.spans)).Tracer("test")
	ctx, span := tracer.Start(t.Context(), "request")
	s.ctx, s.end = ctx, func() { span.End() }
	return s
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// point is a point of a metric: its attributes, and a number of it.
type point struct {
	attributes attribute.Set
	n          int64   // the value, or of a histogram the count
	sum        float64 // of a histogram
}

// read reads all metrics by name.
func (s *scene) read() map[string][]point {
	s.t.Helper()
	_, points := s.collect()
	return points
}

// collect reads all metrics, with their points by name.
func (s *scene) collect() (all []metricdata.Metrics, points map[string][]point) {
	s.t.Helper()
	var rm metricdata.ResourceMetrics
	if err := s.reader.Collect(s.t.Context(), &rm); err != nil {
		s.t.Fatal(err)
	}
	points = make(map[string][]point)
	for _, scope := range rm.ScopeMetrics {
		all = append(all, scope.Metrics...)
	}
	for _, m := range all {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				points[m.Name] = append(points[m.Name], point{p.Attributes, p.Value, 0})
			}
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				points[m.Name] = append(points[m.Name], point{p.Attributes, int64(p.Count), p.Sum})
			}
		default:
			s.t.Fatalf("%s is a %T", m.Name, data)
		}
	}
	return all, points
}

// find returns the point with these attributes, given as key, value, key, value.
func find(points []point, attributes ...string) (found point) {
next:
	for _, p := range points {
		for i := 0; i < len(attributes); i += 2 {
			if v, ok := p.attributes.Value(attribute.Key(attributes[i])); !ok || v.AsString() != attributes[i+1] {
				continue next
			}
		}
		return p
	}
	return point{}
}

// story calls many verbs, with good ends and bad ones, and returns all texts that no label may have.
func (s *scene) story() (secrets []string) {
	s.t.Helper()
	issue := func() lapse.Issued {
		tok := must(s.tokens.Issue(s.ctx, lapse.Grant{Subject: subject, Name: "laptop", Scope: "read"}))
		secrets = append(secrets, tok.ID.String(), tok.Bearer, tok.Subject, tok.Name)
		return tok
	}
	tok, other := issue(), issue()
	hold := must(s.tokens.Hold(s.ctx, tok.Bearer))
	s.clock.Add(time.Minute)
	must(s.tokens.Authenticate(s.ctx, tok.Bearer))
	_, _ = s.tokens.Authenticate(s.ctx, "nonsense")
	_, _ = s.tokens.Issue(s.ctx, lapse.Grant{})
	must(s.tokens.Delegate(s.ctx, other.Bearer, lapse.Grant{Name: "job", Scope: "read"}))
	rotated := must(s.tokens.Rotate(s.ctx, other.Bearer, 0))
	secrets = append(secrets, rotated.Bearer)
	_, _ = s.tokens.Authenticate(s.ctx, other.Bearer) // replaced
	must(s.tokens.Suspend(s.ctx, other.ID))
	_, _ = s.tokens.Peek(s.ctx, rotated.Bearer)
	must(s.tokens.Resume(s.ctx, other.ID))
	must(s.tokens.Edit(lapse.WithActor(s.ctx, lapse.Actor{Name: subject, Note: "laptop"}), other.ID, lapse.Changes{Name: new(string)}))
	released := must(s.tokens.Hold(s.ctx, rotated.Bearer))
	released.Release()
	must(s.tokens.ExpireSubject(lapse.WithActor(s.ctx, lapse.Actor{Name: subject}), subject))
	<-hold.Context().Done()
	_, _ = s.tokens.Authenticate(s.ctx, tok.Bearer)
	s.clock.Add(1000 * time.Hour)
	must(s.tokens.Sweep(s.ctx))
	return secrets
}

// waitFor returns the points of name once there are n in all: a cut is told after its context has ended.
func (s *scene) waitFor(name string, n int64) []point {
	s.t.Helper()
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(time.Millisecond) {
		sum := int64(0)
		points := s.read()[name]
		for _, p := range points {
			sum += p.n
		}
		if sum >= n {
			return points
		}
	}
	s.t.Fatalf("%s did not come to %d", name, n)
	return nil
}
