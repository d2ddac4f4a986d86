package lapseotel

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/seed-55daa01a/lapse"
)

// Options are the options of New. The zero Options use the global MeterProvider of OpenTelemetry.
type Options struct {
	// Meters makes the meter of all instruments. nil: otel.GetMeterProvider, when New is called.
	Meters metric.MeterProvider

	// Subjects has the events of spans tell the subject of the token, which may be personal data.
	// Metrics never tell it.
	Subjects bool
}

// Telemetry has the instruments of any number of Managers. New makes one. It is safe for concurrent
// use.
type Telemetry struct {
	instruments
	meter    metric.Meter
	subjects bool

	mu    sync.Mutex
	added map[string]metric.Registration // by prefix; nil after Close
}

// New makes the instruments. Its error is that of the MeterProvider.
//
// Give Telemetry.Observe to the Config of a Manager, and the Manager to Telemetry.Add. Either works
// without the other.
func New(o Options) (*Telemetry, error) {
	if o.Meters == nil {
		o.Meters = otel.GetMeterProvider()
	}
	t := &Telemetry{
		meter:    o.Meters.Meter("github.com/seed-55daa01a/lapse/telemetry/lapseotel"),
		subjects: o.Subjects,
		added:    make(map[string]metric.Registration),
	}
	err := t.make(t.meter)
	if err != nil {
		return nil, fmt.Errorf("lapseotel: %w", err)
	}
	return t, nil
}

// Add has the counters of m read from now on, until Close. Of the two Managers of lapse.Pairs, which
// have the same counters, add one.
//
// lapse.ErrInvalidConfig says that m is nil, that a Manager of its prefix has been added, or that t is
// closed. Any other error is that of the MeterProvider.
func (t *Telemetry) Add(m *lapse.Manager) error {
	if m == nil {
		return fmt.Errorf("%w: lapseotel: the Manager is nil", lapse.ErrInvalidConfig)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch _, found := t.added[m.Prefix()]; {
	case t.added == nil:
		return fmt.Errorf("%w: lapseotel: the Telemetry is closed", lapse.ErrInvalidConfig)
	case found:
		return fmt.Errorf("%w: lapseotel: a Manager of the prefix %q has been added; give this one a Telemetry with another MeterProvider", lapse.ErrInvalidConfig, m.Prefix())
	}
	r, err := t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		t.read(o, m)
		return nil
	}, t.observables()...)
	if err != nil {
		return fmt.Errorf("lapseotel: %w", err)
	}
	t.added[m.Prefix()] = r
	return nil
}

// Close has no counters read any more. Further calls of Observe still fill the histograms.
func (t *Telemetry) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, r := range t.added {
		errs = append(errs, r.Unregister())
	}
	t.added = nil
	return errors.Join(errs...)
}

// Observe is for lapse.Config.Observe. To do something else with events, too, call it in an Observe
// of your own.
func (t *Telemetry) Observe(ctx context.Context, e lapse.Event) {
	span := trace.SpanFromContext(ctx)
	if e.Took == 0 && e.Kind != lapse.EventCut && !span.IsRecording() {
		return // as for most texts that are refused: nothing is built
	}
	prefix, verb, outcome := attrPrefix.String(e.Prefix), attrVerb.String(e.Verb.String()), attrOutcome.String(lapse.Code(e.Err))
	event := attrEvent.String(e.Kind.String())
	if e.Took > 0 {
		t.took.Record(ctx, e.Took.Seconds(), metric.WithAttributes(prefix, verb, outcome, event))
	}
	var r *lapse.Rejection
	if e.Kind == lapse.EventCut && errors.As(e.Err, &r) && !r.At.IsZero() {
		t.cutAfter.Record(ctx, max(0, e.At.Sub(r.At).Seconds()), metric.WithAttributes(prefix, outcome))
	}
	if !span.IsRecording() {
		return
	}
	attributes := []attribute.KeyValue{prefix, verb, outcome}
	if t.subjects && e.Token.Subject != "" {
		attributes = append(attributes, attrSubject.String(e.Token.Subject))
	}
	span.AddEvent("lapse."+e.Kind.String(), trace.WithAttributes(attributes...))
}

// The attributes. None has the ID of a token.
const (
	attrPrefix  attribute.Key = "lapse.prefix"
	attrVerb    attribute.Key = "lapse.verb"
	attrOutcome attribute.Key = "lapse.outcome"
	attrEvent   attribute.Key = "lapse.event"
	attrSubject attribute.Key = "lapse.subject" // of events of spans alone
)
