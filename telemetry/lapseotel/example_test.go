package lapseotel_test

import (
	"context"
	"fmt"
	"log"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/telemetry/lapseotel"
)

// The counters of a Manager, as a reader of metrics sees them.
func Example() {
	ctx := context.Background()
	reader := metric.NewManualReader() // a program has a periodic one, with an exporter
	tel, err := lapseotel.New(lapseotel.Options{Meters: metric.NewMeterProvider(metric.WithReader(reader))})
	check(err)
	defer tel.Close()
	tokens, err := lapse.New(memory.New(), lapse.Config{Observe: tel.Observe})
	check(err)
	check(tel.Add(tokens))

	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana@example.com"})
	check(err)
	_, err = tokens.Peek(ctx, issued.Bearer)
	check(err)

	var all metricdata.ResourceMetrics
	check(reader.Collect(ctx, &all))
	for _, m := range all.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "lapse.verb.calls" {
			for _, p := range sum.DataPoints {
				fmt.Println(m.Name, p.Attributes.Encoded(attribute.DefaultEncoder()), p.Value)
			}
		}
	}
	// Unordered output:
	// lapse.verb.calls lapse.outcome=ok,lapse.prefix=lapse,lapse.verb=issue 1
	// lapse.verb.calls lapse.outcome=ok,lapse.prefix=lapse,lapse.verb=peek 1
}

// The events of a request are in its span.
func ExampleTelemetry_Observe() {
	recorder := tracetest.NewSpanRecorder() // a program has an exporter
	tracer := trace.NewTracerProvider(trace.WithSpanProcessor(recorder)).Tracer("example")
	tel, err := lapseotel.New(lapseotel.Options{})
	check(err)
	tokens, err := lapse.New(memory.New(), lapse.Config{Observe: tel.Observe})
	check(err)

	ctx, span := tracer.Start(context.Background(), "GET /files")
	_, err = tokens.Authenticate(ctx, "not a token")
	span.End()
	fmt.Println(err)
	for _, e := range recorder.Ended()[0].Events() {
		fmt.Print(e.Name)
		for _, a := range e.Attributes {
			fmt.Print(" ", a.Key, "=", a.Value.AsString())
		}
	}
	// Output:
	// lapse: unauthenticated: malformed token
	// lapse.rejected lapse.prefix=lapse lapse.verb=authenticate lapse.outcome=malformed
}

// Logs and telemetry together.
func ExampleTelemetry_Observe_andLogs() {
	tel, err := lapseotel.New(lapseotel.Options{})
	check(err)
	logs := lapse.LogEvents(nil, nil)
	tokens, err := lapse.New(memory.New(), lapse.Config{Observe: func(ctx context.Context, e lapse.Event) {
		tel.Observe(ctx, e)
		logs(ctx, e)
	}})
	check(err)
	check(tel.Add(tokens))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
