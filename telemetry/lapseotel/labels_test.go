package lapseotel_test

import (
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/telemetry/lapseotel"
)

// label is one attribute of a point of a metric, or of an event of a span.
type label struct {
	of string // the metric or the event
	attribute.KeyValue
}

// labels returns every label that the telemetry of s has.
func (s *scene) labels() (metrics, spans []label) {
	s.t.Helper()
	for name, points := range s.read() {
		for _, p := range points {
			for _, kv := range p.attributes.ToSlice() {
				metrics = append(metrics, label{name, kv})
			}
		}
	}
	s.end()
	for _, span := range s.spans.Ended() {
		for _, e := range span.Events() {
			for _, kv := range e.Attributes {
				spans = append(spans, label{e.Name, kv})
			}
		}
	}
	return metrics, spans
}

// leaks returns the labels of all that have one of secrets in them, or a key that is not in keys.
func leaks(all []label, secrets []string, keys ...attribute.Key) (found []label) {
	for _, l := range all {
		text := l.of + " " + string(l.Key) + " " + l.Value.String()
		if !slices.Contains(keys, l.Key) || slices.ContainsFunc(secrets, func(secret string) bool { return strings.Contains(text, secret) }) {
			found = append(found, l)
		}
	}
	return found
}

// No label is the ID, the text, the name or, unless asked for, the subject of a token.
func TestLabels(t *testing.T) {
	for _, subjects := range []bool{false, true} {
		s := newScene(t, lapse.Config{}, lapseotel.Options{Subjects: subjects})
		secrets := s.story()
		s.waitFor("lapse.hold.cut.duration", 1)
		metrics, spans := s.labels()
		if len(metrics) < 50 || len(spans) < 30 {
			t.Fatalf("%d labels of metrics and %d of spans: the story is too short", len(metrics), len(spans))
		}
		if found := leaks(metrics, secrets, "lapse.prefix", "lapse.verb", "lapse.outcome", "lapse.event"); found != nil {
			t.Errorf("these labels of metrics tell too much: %v", found)
		}
		found := leaks(spans, secrets, "lapse.prefix", "lapse.verb", "lapse.outcome")
		asked := func(l label) bool { return l.Key == "lapse.subject" && l.Value.AsString() == subject }
		if other := slices.DeleteFunc(slices.Clone(found), asked); len(other) > 0 || subjects != (len(found) > 0) {
			t.Errorf("these labels of spans tell too much, with Subjects %v: %v of %v", subjects, other, found)
		}
	}
	id := lapse.ID{1, 2, 3}.String()
	planted := []label{{"m", attribute.String("lapse.verb", "issue "+id)}, {"m", attribute.String("other", "x")}, {"m", attribute.String("lapse.verb", "issue")}}
	if got := leaks(planted, []string{id}, "lapse.verb"); len(got) != 2 {
		t.Errorf("of the labels planted %v are found, want the first two", got)
	}
}

// The events of a verb are in the span of its caller, and in no other one.
func TestSpans(t *testing.T) {
	s := newScene(t, lapse.Config{}, lapseotel.Options{})
	tok := must(s.tokens.Issue(s.ctx, lapse.Grant{Subject: subject}))
	_, _ = s.tokens.Authenticate(s.ctx, "nonsense")
	must(s.tokens.Expire(t.Context(), tok.ID)) // no span
	_, _ = s.tokens.Authenticate(s.ctx, tok.Bearer)
	s.end()
	_, _ = s.tokens.Authenticate(s.ctx, tok.Bearer) // the span has ended
	var got []string
	for _, e := range s.spans.Ended()[0].Events() {
		attributes := attribute.NewSet(e.Attributes...)
		outcome, _ := attributes.Value("lapse.outcome")
		verb, _ := attributes.Value("lapse.verb")
		got = append(got, e.Name+"/"+verb.AsString()+"/"+outcome.AsString())
	}
	want := []string{"lapse.issued/issue/ok", "lapse.rejected/authenticate/malformed", "lapse.rejected/authenticate/revoked"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
