package lapseotel

import (
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/seed-55daa01a/lapse"
)

// instruments are the instruments, as the doc of the package lists them.
type instruments struct {
	calls     metric.Int64ObservableCounter
	holds     metric.Int64ObservableUpDownCounter
	releases  metric.Int64ObservableCounter
	cuts      metric.Int64ObservableCounter
	swept     metric.Int64ObservableCounter
	disagreed metric.Int64ObservableCounter
	took      metric.Float64Histogram
	cutAfter  metric.Float64Histogram
}

// bounds are those of the histograms, in seconds: a write in memory takes some microseconds, one with
// a sync some milliseconds.
var bounds = []float64{0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10}

// make makes the instruments by meter.
func (i *instruments) make(meter metric.Meter) error {
	var errs []error
	counter := func(name, unit, what string) metric.Int64ObservableCounter {
		c, err := meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(what))
		errs = append(errs, err)
		return c
	}
	histogram := func(name, what string) metric.Float64Histogram {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(what), metric.WithExplicitBucketBoundaries(bounds...))
		errs = append(errs, err)
		return h
	}
	i.calls = counter("lapse.verb.calls", "{call}", "Calls of each verb.")
	i.releases = counter("lapse.hold.releases", "{connection}", "Held connections that their clients or handlers ended.")
	i.cuts = counter("lapse.hold.cuts", "{connection}", "Held connections that were cut, by the cause.")
	i.swept = counter("lapse.sweep.records", "{record}", "Records that Sweep deleted.")
	i.disagreed = counter("lapse.clock.disagreements", "{disagreement}", "How often the clock and that of the store began to disagree.")
	i.took = histogram("lapse.verb.duration", "Time from the call of a verb to its effect, of verbs that may write durably.")
	i.cutAfter = histogram("lapse.hold.cut.duration", "Time from the death of a token to the cut of a connection.")
	holds, err := meter.Int64ObservableUpDownCounter("lapse.holds", metric.WithUnit("{connection}"), metric.WithDescription("Connections that are held now."))
	i.holds = holds
	return errors.Join(append(errs, err)...)
}

// observables returns those that are read from Stats.
func (i *instruments) observables() []metric.Observable {
	return []metric.Observable{i.calls, i.holds, i.releases, i.cuts, i.swept, i.disagreed}
}

// read has o observe the Stats of m. A verb and an outcome that were never counted have no point.
func (i *instruments) read(o metric.Observer, m *lapse.Manager) {
	prefix := attrPrefix.String(m.Prefix())
	with := func(more ...attribute.KeyValue) metric.ObserveOption {
		return metric.WithAttributes(append(more, prefix)...)
	}
	held := int64(0)
	for key, count := range m.Stats().All() {
		n, outcome := int64(count), attrOutcome.String(key.Outcome)
		switch key.Verb {
		case lapse.VerbRelease:
			held -= n
			o.ObserveInt64(i.releases, n, with())
		case lapse.VerbCut:
			held -= n
			o.ObserveInt64(i.cuts, n, with(outcome))
		case lapse.VerbSwept:
			o.ObserveInt64(i.swept, n, with())
		case lapse.VerbClocks:
			o.ObserveInt64(i.disagreed, n, with())
		default:
			if key.Verb == lapse.VerbHold && (key.Outcome == "ok" || key.Outcome == "renewed") {
				held += n
			}
			o.ObserveInt64(i.calls, n, with(attrVerb.String(key.Verb.String()), outcome))
		}
	}
	o.ObserveInt64(i.holds, max(0, held), with()) // a cut may be counted before its hold
}
