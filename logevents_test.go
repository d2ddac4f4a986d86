package lapse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/loglimit"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// logged is a slog.Handler that keeps each line as its level, its message and its attributes.
type logged struct {
	mu    sync.Mutex
	least slog.Level
	lines []string
}

func (l *logged) Enabled(_ context.Context, level slog.Level) bool { return level >= l.least }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

func (l *logged) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *logged) WithGroup(string) slog.Handler      { return l }

// take returns the lines since the last call.
func (l *logged) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

// TestLogLevels: every kind has the level that LogEvents documents, and Options.Level replaces it.
func TestLogLevels(t *testing.T) {
	for kind := range EventKind(len(eventKinds)) {
		want := map[EventKind]slog.Level{
			EventRenewed: slog.LevelDebug, EventHeld: slog.LevelDebug, EventRepeated: slog.LevelDebug,
			EventRenewalFailed: slog.LevelWarn, EventClock: slog.LevelWarn, EventSpent: slog.LevelWarn,
			EventAhead: slog.LevelError, EventHookFailed: slog.LevelError, EventCouldNotTell: slog.LevelError,
		}[kind]
		for level := slog.LevelDebug; level <= slog.LevelError+4; level += 4 {
			h := &logged{least: level}
			LogEvents(slog.New(h), nil)(t.Context(), Event{Kind: kind, At: testInstant})
			if got := len(h.take()) == 1; got != (level <= want) {
				t.Errorf("%v: logged at %v: %v; its level is %v", kind, level, got, want)
			}
		}
		h := &logged{least: slog.LevelError}
		LogEvents(slog.New(h), &LogOptions{Level: func(Event) slog.Level { return slog.LevelError }})(t.Context(), Event{Kind: kind})
		if len(h.take()) != 1 {
			t.Errorf("%v: Options.Level has no effect", kind)
		}
	}
	h := &logged{least: slog.LevelDebug}
	observe := LogEvents(slog.New(h), nil)
	for err, want := range map[error]string{context.Canceled: "DEBUG", context.DeadlineExceeded: "ERROR", ErrUnavailable: "ERROR"} {
		observe(t.Context(), Event{Kind: EventCouldNotTell, Err: err})
		if lines := h.take(); len(lines) != 1 || !strings.HasPrefix(lines[0], want) {
			t.Errorf("%v: %q; want %s", err, lines, want)
		}
	}
}

// TestLogLine: a line has the instant of the event and what the event says, and nothing that is zero.
func TestLogLine(t *testing.T) {
	var out bytes.Buffer
	observe := LogEvents(slog.New(slog.NewJSONHandler(&out, nil)), nil)
	id := credentialOf(3).ID()
	observe(t.Context(), Event{
		Kind: EventEnded, At: testInstant, Verb: VerbExpire, Prefix: "lapse", Actor: Actor{"ana", "lost"}, Took: time.Millisecond,
		Token: Token{ID: id, Generation: 2, Subject: "bob\n", EndReason: EndRevoked}, N: 7, Err: ErrUnavailable,
	})
	observe(t.Context(), Event{Kind: EventIssued, At: testInstant})
	want := []map[string]any{
		{"time": testInstant.Format(time.RFC3339Nano), "level": "INFO", "msg": "lapse: ended", "kind": "ended", "verb": "expire", "prefix": "lapse", "id": id.String() + "#2",
			"subject": "bob\n", "reason": "revoked", "actor": "ana", "note": "lost", "took": 1e6, "n": 7.0, "code": "unavailable", "error": ErrUnavailable.Error()},
		{"time": testInstant.Format(time.RFC3339Nano), "level": "INFO", "msg": "lapse: issued", "kind": "issued"},
	}
	var got []map[string]any
	for line := range bytes.Lines(out.Bytes()) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatal(err)
		}
		got = append(got, fields)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// TestLogLimit: of each limited kind and prefix as many are logged in a minute as the limit says, and
// then, with the first event after the minute, how many were dropped.
func TestLogLimit(t *testing.T) {
	minute := time.Minute
	for name, row := range map[string]struct {
		limit  int // PerMinute
		events int // rejections at once
		after  time.Duration
		next   EventKind
		logged int  // of the rejections
		then   bool // the next event is logged
		lost   int  // what the summary before that says
	}{
		"one below":               {0, 9, 0, EventRejected, 9, true, 0},
		"as many":                 {0, 10, 0, EventRejected, 10, false, 0},
		"one over":                {0, 11, 0, EventRejected, 10, false, 0},
		"before the minute":       {0, 11, minute - time.Millisecond, EventRejected, 10, false, 0},
		"at the minute":           {0, 11, minute, EventRejected, 10, true, 1},
		"after it":                {0, 11, minute + time.Millisecond, EventRejected, 10, true, 1},
		"as many, at the minute":  {0, 10, minute, EventRejected, 10, true, 0},
		"another kind, before":    {0, 12, minute - time.Millisecond, EventIssued, 10, true, 0},
		"another kind, at":        {0, 12, minute, EventIssued, 10, true, 2},
		"another limited kind":    {0, 12, 0, EventSpent, 10, true, 0},
		"a little earlier":        {0, 12, -time.Minute, EventRejected, 10, false, 0},
		"a clock that went back":  {0, 12, -time.Minute - time.Millisecond, EventRejected, 10, false, 0},
		"a limit of two":          {2, 5, minute, EventRejected, 2, true, 3},
		"no limit":                {-1, 100, minute, EventRejected, 100, true, 0},
		"no limit, in the minute": {-1, 100, 0, EventRejected, 100, true, 0},
	} {
		h := &logged{}
		observe := LogEvents(slog.New(h), &LogOptions{PerMinute: row.limit})
		for range row.events {
			observe(t.Context(), Event{Kind: EventRejected, At: testInstant, Prefix: "lapse"})
		}
		if got := len(h.take()); got != row.logged {
			t.Errorf("%s: %d lines; want %d", name, got, row.logged)
		}
		observe(t.Context(), Event{Kind: row.next, At: testInstant.Add(row.after), Prefix: "lapse"})
		var want []string
		if row.lost > 0 {
			want = append(want, fmt.Sprintf("INFO lapse: rejected: more than are logged kind=rejected prefix=lapse dropped=%d since=%v", row.lost, testInstant))
		}
		if row.then {
			want = append(want, fmt.Sprintf("%v lapse: %v kind=%v prefix=lapse", levelOf(Event{Kind: row.next}), row.next, row.next))
		}
		if diff := cmp.Diff(want, h.take()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestLogLimitOfPrefixes: each prefix has a limit of its own, the 65th and what is no prefix share one,
// and what is kept is bounded.
func TestLogLimitOfPrefixes(t *testing.T) {
	h := &logged{}
	log := eventLog{logger: slog.New(h), level: levelOf, limit: loglimit.Limit{PerMinute: 1}}
	send := func(prefix string, at time.Duration) {
		log.observe(t.Context(), Event{Kind: EventRejected, At: testInstant.Add(at), Prefix: prefix})
	}
	for n := range 1000 {
		send(fmt.Sprint("p", n), 0)
		send(strings.Repeat("long", 1000+n), 0)
		send(fmt.Sprint("p", n), 0)
	}
	if got := len(h.take()); got != loglimit.MaxPrefixes+1 {
		t.Errorf("%d lines; want one of each of %d prefixes, and one of the others", got, loglimit.MaxPrefixes)
	}
	send("p0", time.Minute)
	others := 1000 + 2*(1000-loglimit.MaxPrefixes) - 1
	for prefix, dropped := range map[string]string{"p1": "prefix=p1 dropped=1 ", "p999": fmt.Sprintf("prefix=(others) dropped=%d ", others)} {
		h.take()
		send(prefix, time.Minute)
		if lines := h.take(); len(lines) != 2 || !strings.Contains(lines[0], dropped) {
			t.Errorf("%s a minute later: %q; want %q, and the event", prefix, lines, dropped)
		}
	}
}

// TestLogLimitOfManagersApart: a LogEvents that Managers share limits each prefix by the time of that,
// however far the times are apart. A clock that is set back ends no minute, and begins none.
func TestLogLimitOfManagersApart(t *testing.T) {
	for name, apart := range map[string]time.Duration{"a minute": time.Minute, "two minutes": 2 * time.Minute, "an hour": time.Hour} {
		h := &logged{}
		observe := LogEvents(slog.New(h), nil)
		for range 500 {
			observe(t.Context(), Event{Kind: EventRejected, At: testInstant, Prefix: "a"})
			observe(t.Context(), Event{Kind: EventRejected, At: testInstant.Add(apart), Prefix: "b"})
		}
		if got := len(h.take()); got != 20 {
			t.Errorf("%s apart: %d lines; want 10 of each prefix", name, got)
		}
	}
	h := &logged{}
	observe := LogEvents(slog.New(h), nil)
	for _, row := range []struct {
		at   time.Duration
		want int // lines of 15 events
		lost int
	}{{0, 10, 0}, {-time.Hour, 0, 0}, {-time.Hour + time.Minute - 1, 0, 0}, {-time.Hour + time.Minute, 11, 35}} {
		for range 15 {
			observe(t.Context(), Event{Kind: EventSpent, At: testInstant.Add(row.at), Prefix: "a"})
		}
		lines := h.take()
		if len(lines) != row.want || row.lost > 0 && !strings.Contains(lines[0], fmt.Sprintf("dropped=%d ", row.lost)) {
			t.Errorf("at %v: %q; want %d lines, and that %d were dropped", row.at, lines, row.want, row.lost)
		}
	}
}

// TestLogLevelOfWhatWasDropped: Options.Level sees the error of the last event that was dropped, so
// that a Level that reads it needs no case for the line that counts them.
func TestLogLevelOfWhatWasDropped(t *testing.T) {
	h := &logged{}
	var seen []string
	observe := LogEvents(slog.New(h), &LogOptions{PerMinute: 1, Level: func(e Event) slog.Level {
		seen = append(seen, fmt.Sprint(e.Kind, " ", e.Prefix, " ", e.N, " ", e.Err.Error()))
		return slog.LevelInfo
	}})
	for n, err := range []error{ErrUnknown, ErrRevoked, ErrExpired, ErrUnknown} {
		observe(t.Context(), Event{Kind: EventRejected, At: testInstant.Add(time.Duration(n/3) * time.Minute), Prefix: "a", Err: err})
	}
	if want := "rejected a 2 " + ErrExpired.Error(); len(seen) != 5 || seen[4] != want || len(h.take()) != 3 {
		t.Errorf("Level was asked about %q; want the last to be %q", seen, want)
	}
}

// TestLogOfRefusedProofs: spent texts without a proof are rejections, and share their limit. With the
// proof they are spent texts, which have another one.
func TestLogOfRefusedProofs(t *testing.T) {
	h := &logged{least: slog.LevelInfo}
	m, _ := managerOver(t, memory.New(), Config{Observe: LogEvents(slog.New(h), nil)})
	i := issueTo(t, m, Grant{Subject: "ana", Thumbprint: proofKeys[0]})
	made(m.RotateID(t.Context(), i.ID, 0))
	h.take()
	for range 12 {
		_, _ = m.Authenticate(t.Context(), i.Bearer)
	}
	lines := h.take()
	if len(lines) != 10 || !strings.HasPrefix(lines[0], "INFO lapse: rejected ") || !strings.Contains(lines[9], " code=proof ") {
		t.Errorf("without a proof: %d lines: %q", len(lines), lines)
	}
	_, _ = m.Authenticate(WithProof(t.Context(), proofKeys[0]), i.Bearer)
	if lines := h.take(); len(lines) != 1 || !strings.HasPrefix(lines[0], "WARN lapse: spent ") || !strings.Contains(lines[0], " code=replaced ") {
		t.Errorf("with the proof: %q", lines)
	}
}

// TestLogAtOnce: of events that many goroutines tell at once the limit is logged, and the others are
// counted.
func TestLogAtOnce(t *testing.T) {
	h := &logged{}
	observe := LogEvents(slog.New(h), nil)
	var tellers sync.WaitGroup
	var told atomic.Int64
	for range 8 {
		tellers.Go(func() {
			for range 100 {
				observe(t.Context(), Event{Kind: EventRejected, At: testInstant, Prefix: "lapse"})
				told.Add(1)
			}
		})
	}
	tellers.Wait()
	if got := len(h.take()); got != 10 {
		t.Errorf("%d lines of %d events; want 10", got, told.Load())
	}
	observe(t.Context(), Event{Kind: EventIssued, At: testInstant.Add(time.Minute), Prefix: "lapse"})
	if lines := h.take(); len(lines) != 2 || !strings.Contains(lines[0], "dropped=790 ") {
		t.Errorf("%q; want that 790 were dropped", lines)
	}
}

// TestLogHandlerMayCallBack: a handler that has an event told deadlocks nothing.
func TestLogHandlerMayCallBack(t *testing.T) {
	var observe func(context.Context, Event)
	calls := 0
	observe = LogEvents(slog.New(calling{func() {
		if calls++; calls < 3 {
			observe(t.Context(), Event{Kind: EventRejected, At: testInstant.Add(time.Minute)})
		}
	}}), nil)
	observe(t.Context(), Event{Kind: EventRejected, At: testInstant})
	if calls != 3 {
		t.Errorf("%d calls", calls)
	}
}

// calling is a slog.Handler that calls f and fails.
type calling struct{ f func() }

func (c calling) Enabled(context.Context, slog.Level) bool { return true }
func (c calling) Handle(context.Context, slog.Record) error {
	c.f()
	return errors.New("a full disk")
}
func (c calling) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c calling) WithGroup(string) slog.Handler      { return c }

// TestLogToTheDefault: a nil Logger is the default one when the event is told.
func TestLogToTheDefault(t *testing.T) {
	observe := LogEvents(nil, nil)
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	h := &logged{}
	slog.SetDefault(slog.New(h))
	observe(t.Context(), Event{Kind: EventIssued})
	if len(h.take()) != 1 {
		t.Error("the default Logger was not asked")
	}
}

// TestEventsDocument: the tables of docs/events.md have the kinds with their levels and limits, and the
// verbs with the outcomes that TestOutcomes finds.
func TestEventsDocument(t *testing.T) {
	text := string(made(os.ReadFile("docs/events.md")))
	var kinds, counters []string
	for line := range strings.Lines(text) {
		switch cells := strings.Split(strings.Trim(line, "|\n"), " | "); {
		case !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| kind") || strings.HasPrefix(line, "| verb"):
		case len(cells) == 4:
			kinds = append(kinds, strings.TrimSpace(strings.Join(cells[:3], "|")))
		case len(cells) == 2:
			counters = append(counters, strings.TrimSpace(cells[0])+": "+strings.TrimSpace(cells[1]))
		}
	}
	var want []string
	for kind := EventIssued; int(kind) < len(eventKinds); kind++ {
		level := eventLevels[kind].String()
		limited := map[bool]string{true: "yes", false: "no"}[limitedKind(kind)]
		want = append(want, fmt.Sprintf("%v|%s|%s", kind, level[:1]+strings.ToLower(level[1:]), limited))
	}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("the kinds (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(outcomesOf), "\n"), counters); diff != "" {
		t.Errorf("the counters (-want +got):\n%s", diff)
	}
}
