package lapse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-55daa01a/lapse/internal/loglimit"
	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestEventKinds: each kind has words of its own and the number that it has always had.
func TestEventKinds(t *testing.T) {
	want := []string{"unknown", "issued", "renewed", "ended", "rejected", "renewal failed", "clock", "rotated", "spent", "ahead", "hook failed",
		"held", "cut", "swept", "repeated", "could not tell", "confirmed", "suspended", "resumed", "imported", "edited", "forgotten", "clocks disagree", "redeemed"}
	var got []string
	for kind := range EventKind(len(want)) {
		text, err := kind.MarshalText()
		if err != nil || string(text) != kind.String() {
			t.Errorf("%v: MarshalText returns %q, %v", kind, text, err)
		}
		got = append(got, kind.String())
	}
	if diff := cmp.Diff(want, got); diff != "" || EventKind(len(want)).String() != "unknown" || EventConfirmed != 16 || EventForgotten != 21 || EventClockDisagreement != 22 || EventRedeemed != 23 {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

// TestVerbs: each Verb has a word of its own, and none has that of another.
func TestVerbs(t *testing.T) {
	seen := map[string]bool{}
	for verb := range Verb(verbCount) {
		text, err := verb.MarshalText()
		if err != nil || string(text) != verb.String() || verb.String() == "" || seen[verb.String()] {
			t.Errorf("%d: %q, %q, %v", verb, verb, text, err)
		}
		seen[verb.String()] = true
	}
	if got := Verb(verbCount).String(); got != "none" {
		t.Errorf("after the last verb: %q", got)
	}
}

// TestEventsTellOfTheCall: an event has the verb, the prefix and the Actor of the call, and Before of a
// renewal is the token as it was.
func TestEventsTellOfTheCall(t *testing.T) {
	s := newActorScene(t)
	rotated := made(s.m.Rotate(t.Context(), s.issue(Grant{}).Bearer, time.Minute))
	obtaining := made(New(s.m.store, Config{Clock: s.m.clock, Observe: s.m.observe, Keys: hushKeys([][]byte{[]byte(strings.Repeat("k", keyLen))})}))
	obtained := made(obtaining.Obtain(t.Context(), Grant{Subject: "carl"}))
	s.pass(time.Minute)
	budget := made(s.m.Issue(t.Context(), Grant{Subject: "dora", MaxUses: 3, TTL: time.Hour}))
	pair := made(s.p.Issue(t.Context(), Grant{Subject: "dora"}))
	next := made(s.p.Refresh(t.Context(), pair.Refresh.Bearer))
	held := made(s.m.Hold(t.Context(), rotated.Bearer))
	s.pass(time.Second)
	for _, row := range []struct {
		verb   Verb
		kind   EventKind
		prefix string
		id     ID
		do     func() error
	}{
		{VerbAuthenticate, EventRenewed, "lapse", rotated.ID, func() error { _, err := s.m.Authenticate(s.ctx, rotated.Bearer); return err }},
		{VerbRenew, EventRenewed, "lapse", rotated.ID, func() error { s.pass(time.Second); _, err := s.m.Renew(s.ctx, rotated.Bearer); return err }},
		{VerbAuthenticate, EventRenewed, "lapse", rotated.ID, func() error { s.pass(time.Hour / 3); _, err := s.m.Authenticate(s.ctx, rotated.Bearer); return err }},
		{VerbAuthenticate, EventRenewed, "lapse", budget.ID, func() error { _, err := s.m.Authenticate(s.ctx, budget.Bearer); return err }},
		{VerbConfirm, EventConfirmed, "lapse", rotated.ID, func() error { s.pass(time.Second); _, err := s.m.Confirm(s.ctx, rotated.Bearer); return err }},
		{VerbSuspend, EventSuspended, "lapse", obtained.ID, func() error { _, err := s.m.Suspend(s.ctx, obtained.ID); return err }},
		{VerbResume, EventResumed, "lapse", obtained.ID, func() error { s.pass(time.Second); _, err := s.m.Resume(s.ctx, obtained.ID); return err }},
		{VerbEdit, EventEdited, "lapse", rotated.ID, func() error {
			s.pass(time.Second)
			name := "edited"
			_, err := s.m.Edit(s.ctx, rotated.ID, Changes{Name: &name})
			return err
		}},
		{VerbUse, EventRenewed, "lapse", rotated.ID, func() error {
			defer held.Release()
			return held.Use(s.ctx)
		}},
		{VerbObtain, EventRenewed, "lapse", obtained.ID, func() error { _, err := obtaining.Obtain(s.ctx, Grant{Subject: "carl"}); return err }},
		{VerbPeek, EventRejected, "lapse", ID{}, func() error { _, err := s.m.Peek(s.ctx, "x"); return ignore(err, ErrMalformed) }},
		{VerbRotate, EventRotated, "lapse", rotated.ID, func() error { i, err := s.m.Rotate(s.ctx, rotated.Bearer, time.Minute); rotated = i; return err }},
		{VerbHold, EventHeld, "lapse", budget.ID, func() error {
			h, err := s.m.Hold(s.ctx, budget.Bearer)
			h.Release()
			return err
		}},
		{VerbRefresh, EventRotated, "ref", pair.Refresh.ID, func() error { _, err := s.p.Refresh(s.ctx, next.Refresh.Bearer); return err }},
		{VerbRefresh, EventRepeated, "ref", pair.Refresh.ID, func() error { _, err := s.p.Refresh(s.ctx, next.Refresh.Bearer); return err }},
		{VerbExpireBearer, EventEnded, "acc", pair.Refresh.ID, func() error { _, err := s.p.ExpireBearer(s.ctx, next.Access.Bearer); return err }},
		{VerbIssuePair, EventIssued, "ref", ID{}, func() error { _, err := s.p.Issue(s.ctx, Grant{Subject: "emil"}); return err }},
		{VerbForgetSubject, EventForgotten, "lapse", ID{}, func() error { _, err := s.m.ForgetSubject(s.ctx, "emil"); return err }},
		{VerbSweep, EventSwept, "lapse", ID{}, func() error { s.pass(300 * day); _, err := s.m.Sweep(s.ctx); return err }},
	} {
		was, _ := s.m.Token(t.Context(), row.id)
		s.told = nil
		if err := row.do(); err != nil || len(s.told) == 0 {
			t.Fatalf("%v: %v, told %v", row.verb, err, s.told)
		}
		e := s.told[len(s.told)-1]
		if e.Verb != row.verb || e.Kind != row.kind || e.Prefix != row.prefix || e.Actor != (Actor{"ana", "ticket 7"}) || row.id != (ID{}) && e.Token.ID != row.id {
			t.Errorf("%v: told %+v", row.verb, e)
		}
		suspension := e.Kind == EventSuspended || e.Kind == EventResumed
		if (e.Before != nil) != (e.Kind == EventRenewed || e.Kind == EventConfirmed || e.Kind == EventEdited || suspension) || (e.N != 0) != (e.Kind == EventSwept || e.Kind == EventForgotten) {
			t.Errorf("%v: Before %v, N %d", row.verb, e.Before, e.N)
		}
		if e.Before != nil && (e.Token.ExpiresAt.After(e.Before.ExpiresAt) != (e.Kind == EventRenewed) || e.Token.AuthenticatedAt.After(e.Before.AuthenticatedAt) != (e.Kind == EventConfirmed) || (e.Token.Name != e.Before.Name) != (e.Kind == EventEdited) || (e.Token.SuspendedAt != e.Before.SuspendedAt) != suspension || !e.Before.ExpiresAt.Equal(was.ExpiresAt) || e.Before.ID != was.ID || e.Before.UsesLeft != was.UsesLeft) {
			t.Errorf("%v: before %+v, after %+v; was %+v", row.verb, *e.Before, e.Token, was)
		}
	}
}

// ignore returns nil for an error that is wanted.
func ignore(err, wanted error) error {
	if errors.Is(err, wanted) {
		return nil
	}
	return err
}

// slow is a store whose Update takes as long as its machine lets pass.
type slow struct {
	*disk
	machine *machine
	takes   time.Duration
}

func (s *slow) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	s.machine.pass(s.takes)
	return s.disk.Update(ctx, subject, fn)
}

// TestTook: an event of a verb that writes durably says how long the verb took until then, by Elapsed of
// the Clock. A clock that is set meanwhile changes nothing, and without Elapsed nothing is measured.
func TestTook(t *testing.T) {
	for name, row := range map[string]struct {
		tells bool // the Clock has Elapsed
		set   time.Duration
		want  time.Duration
	}{
		"Elapsed":                {true, 0, 3 * time.Millisecond},
		"a clock that is set":    {true, -time.Minute, 3 * time.Millisecond},
		"a clock without it":     {false, 0, 0},
		"a clock ahead, without": {false, time.Minute, 0},
	} {
		var told []Event
		store := &slow{disk: newDisk(), machine: newMachine(), takes: 3 * time.Millisecond}
		cfg := Config{Clock: store.machine, Observe: func(_ context.Context, e Event) { told = append(told, e) }}
		if !row.tells {
			cfg.Clock = struct{ Clock }{store.machine}
		}
		m := made(New(store, cfg))
		store.machine.pass(time.Second)
		i := issueTo(t, m, Grant{Subject: "ana"})
		store.machine.off += row.set
		made(m.Expire(t.Context(), i.ID))
		_, err := m.Authenticate(t.Context(), i.Bearer)
		if len(told) != 3 || !errors.Is(err, ErrRevoked) {
			t.Fatalf("%s: told %v, %v", name, told, err)
		}
		if told[0].Took != row.want || told[1].Took != row.want || told[2].Took != 0 {
			t.Errorf("%s: took %v, %v and %v; want %v twice, and nothing of a rejection", name, told[0].Took, told[1].Took, told[2].Took, row.want)
		}
	}
}

// TestWhatCouldNotTellIsTold: a verb that fails by the store, the context, the clock, Admit or a Verifier tells
// Observe once, with the error that it returns. A verdict, and a mistake of the caller, is none.
func TestWhatCouldNotTellIsTold(t *testing.T) {
	race.Alone(t)
	for situation, prepare := range outcomeSituations {
		if situation == "panics" {
			continue
		}
		for verb := range outcomeVerbs {
			s := newCountScene(t, verb)
			prepare(s)
			var told []Event
			observe := func(_ context.Context, e Event) {
				if e.Kind == EventCouldNotTell {
					told = append(told, e)
				}
			}
			s.m.observe, s.p.access.observe, s.p.refresh.observe = observe, observe, observe
			_, _, err := outcomeVerbs[verb](s)
			if !outcomeOf(err).couldNotTell() {
				if len(told) != 0 || err != nil && slices.Contains([]string{"internal", "unavailable", "closed", "clock"}, Code(err)) {
					t.Errorf("%v, %s: %v, and told %v", verb, situation, err, told)
				}
				continue
			}
			if errors.Is(err, ErrUnauthenticated) || len(told) != 1 || told[0].Verb != verb || Code(told[0].Err) != Code(err) || told[0].At.IsZero() {
				t.Errorf("%v, %s: %v, told %+v", verb, situation, err, told)
			}
		}
	}
}

// TestVerifierErrorIsNotTold: the error of a Verifier may quote the credentials, so Observe is told its
// Code alone.
func TestVerifierErrorIsNotTold(t *testing.T) {
	for _, cause := range []error{errors.New("password hunter2"), context.Canceled, context.DeadlineExceeded, ErrUnavailable, ErrClosed} {
		var told []Event
		m, _ := managerOver(t, memory.New(), Config{Observe: func(_ context.Context, e Event) { told = append(told, e) }})
		fails := VerifierFunc[string](func(_ context.Context, password string) (string, error) {
			return "", errors.Join(errors.New("no "+password), cause)
		})
		_, err := Login(t.Context(), m, "hunter2", Grant{}, Verifier[string](fails))
		if !errors.Is(err, cause) && cause != ErrClosed || !strings.Contains(err.Error(), "hunter2") || len(told) != 1 {
			t.Fatalf("%v: %v, told %v", cause, err, told)
		}
		text, jsonErr := json.Marshal(told[0])
		if jsonErr != nil || strings.Contains(string(text), "hunter2") || strings.Contains(told[0].Err.Error(), "hunter2") || Code(told[0].Err) != Code(err) {
			t.Errorf("%v: told %s", cause, text)
		}
	}
}

// TestCutIsTold: each connection that is cut is told once, with the cause of its context; a connection
// that is released is not.
func TestCutIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []Event
		m := made(New(memory.New(), Config{Observe: func(_ context.Context, e Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == EventCut {
				told = append(told, e)
			}
		}}))
		i := issueTo(t, m, Grant{Subject: "ana"})
		made(m.Hold(t.Context(), i.Bearer)).Release()
		first, second := made(m.Hold(t.Context(), i.Bearer)), made(m.Hold(t.Context(), i.Bearer))
		made(m.Expire(WithActor(t.Context(), Actor{Name: "bob"}), i.ID))
		<-first.Context().Done()
		<-second.Context().Done()
		synctest.Wait()
		if len(told) != 2 {
			t.Fatalf("told %+v", told)
		}
		for _, e := range told {
			var r *Rejection
			if e.Verb != VerbHold || e.Prefix != "lapse" || e.Token.ID != i.ID || e.Token.Subject != "ana" || !errors.As(e.Err, &r) || r.Reason != EndRevoked || r.EndedBy != "bob" {
				t.Errorf("told %+v", e)
			}
		}
	})
}

// TestObserveThatHangs: an Observe that hangs in the events of cuts delays no cut, every cut is
// counted, and Observe is told of each once it goes on.
func TestObserveThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs, told := make(chan struct{}), atomic.Int64{}
		m := made(New(memory.New(), Config{Policy: Policy{MaxTokens: NoTokenLimit}, Observe: func(_ context.Context, e Event) {
			if e.Kind == EventCut {
				told.Add(1)
				<-hangs
			}
		}}))
		var held []*Hold
		for range 1000 {
			held = append(held, made(m.Hold(t.Context(), issueTo(t, m, Grant{Subject: "ana"}).Bearer)))
		}
		made(m.ExpireSubject(t.Context(), "ana"))
		for _, h := range held {
			<-h.Context().Done()
		}
		synctest.Wait()
		if n := told.Load(); n != 1 {
			t.Errorf("%d events were told; want 1", n)
		}
		close(hangs)
		synctest.Wait()
		if n := told.Load(); n != int64(len(held)) {
			t.Errorf("%d events were told; want %d", n, len(held))
		}
		if n := m.Stats().Get(StatKey{VerbCut, "revoked"}); n != uint64(len(held)) {
			t.Errorf("%d cuts are counted; want %d", n, len(held))
		}
	})
}

// TestObserveThatMisbehaves: an Observe that panics in an event of a verb ends that verb, with its effect
// in place, and leaves nothing held; one that calls the Manager back gets its answers.
func TestObserveThatMisbehaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var misbehave func(e Event)
		var kinds []EventKind
		var mu sync.Mutex
		m := made(New(memory.New(), Config{Observe: func(_ context.Context, e Event) {
			mu.Lock()
			kinds = append(kinds, e.Kind)
			mu.Unlock()
			misbehave(e)
		}}))
		misbehave = func(Event) {}
		i := issueTo(t, m, Grant{Subject: "ana"})
		panicking := func(kind EventKind, do func()) {
			t.Helper()
			misbehave = func(e Event) {
				if e.Kind == kind {
					panic(errOfAHook)
				}
			}
			defer func() {
				if p := recover(); p != errOfAHook {
					t.Errorf("%v: the panic of Observe became %v", kind, p)
				}
				misbehave = func(Event) {}
			}()
			do()
		}
		panicking(EventHeld, func() { _, _ = m.Hold(t.Context(), i.Bearer) })
		if m.holds.Holding(i.ID) {
			t.Error("a hold that no caller got is held")
		}
		panicking(EventCouldNotTell, func() {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, _ = m.Expire(ctx, i.ID)
		})
		held := made(m.Hold(t.Context(), i.Bearer))
		kinds = nil
		misbehave = func(e Event) {
			if e.Kind == EventCut {
				panic(errOfAHook)
			}
			if e.Kind == EventEnded {
				if _, err := m.Peek(t.Context(), i.Bearer); !errors.Is(err, ErrRevoked) {
					t.Errorf("Peek by Observe: %v", err)
				}
			}
		}
		made(m.Expire(t.Context(), i.ID))
		<-held.Context().Done()
		synctest.Wait()
		slices.Sort(kinds)
		if diff := cmp.Diff([]EventKind{EventEnded, EventRejected, EventHookFailed, EventCut}, kinds); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		if got := m.Stats().Get(StatKey{VerbCut, "revoked"}); got != 1 {
			t.Errorf("%d cuts are counted", got)
		}
		misbehave = func(Event) {}
	})
}

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
			EventAhead: slog.LevelError, EventHookFailed: slog.LevelError, EventCouldNotTell: slog.LevelError, EventClockDisagreement: slog.LevelError,
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

// TestActorFrom: what WithActor was given comes back as it is told and stored.
func TestActorFrom(t *testing.T) {
	for name, row := range map[string]struct{ given, want string }{
		"nothing":                {"", ""},
		"a name":                 {"ana@example.com", "ana@example.com"},
		"254 bytes":              {strings.Repeat("x", 254), strings.Repeat("x", 254)},
		"255 bytes":              {strings.Repeat("x", 255), strings.Repeat("x", 255)},
		"256 bytes":              {strings.Repeat("x", 256), strings.Repeat("x", 255)},
		"a character at the end": {strings.Repeat("x", 253) + "éé", strings.Repeat("x", 253) + "é"},
		"a character over it":    {strings.Repeat("x", 254) + "é", strings.Repeat("x", 254)},
		"a line":                 {"ana\nlevel=ERROR", "ana level=ERROR"},
		"a terminal":             {"\x1b[31mana\x00", "[31mana"},
		"another direction":      {"ana\u202e\u2028bob", "ana bob"},
		"no UTF-8":               {"a\xff", "a\ufffd"},
	} {
		a, ok := ActorFrom(WithActor(t.Context(), Actor{row.given, row.given}))
		if !ok || a != (Actor{row.want, row.want}) {
			t.Errorf("%s: %q, %v; want %q", name, a, ok, row.want)
		}
		if len(a.Note) > storage.MaxEndNote || !utf8.ValidString(a.Name) || strings.ContainsFunc(a.Name, unicode.IsControl) {
			t.Errorf("%s: %q breaks a log", name, a.Name)
		}
	}
	if a, ok := ActorFrom(context.Background()); ok || a != (Actor{}) {
		t.Errorf("a context without an Actor: %v, %v", a, ok)
	}
	inner := WithActor(WithActor(t.Context(), Actor{Name: "ana"}), Actor{Note: "by bob"})
	if a, ok := ActorFrom(inner); !ok || a != (Actor{Note: "by bob"}) {
		t.Errorf("the inner Actor: %v, %v", a, ok)
	}
}

// actorScene is a Manager and Pairs, and what they told.
type actorScene struct {
	t    *testing.T
	ctx  context.Context // with the Actor
	m    *Manager
	p    *Pairs
	pass func(time.Duration)
	told []Event
}

func newActorScene(t *testing.T) *actorScene {
	s := &actorScene{t: t, ctx: WithActor(t.Context(), Actor{"ana", "ticket 7"})}
	store := memory.New()
	observe := func(_ context.Context, e Event) { s.told = append(s.told, e) }
	m, mock := managerOver(t, store, Config{Observe: observe, Policy: Policy{MaxTokens: 2, AtLimit: LimitEndOldest}})
	s.m, s.pass = m, mock.Add
	s.p = made(NewPairs(store, PairConfig{Access: Config{Clock: mock, Prefix: "acc", Observe: observe}, Refresh: Config{Prefix: "ref", Policy: Policy{MaxTokens: 1}}}))
	return s
}

func (s *actorScene) issue(g Grant) Issued {
	s.t.Helper()
	g.Subject = "bob"
	return made(s.m.Issue(context.Background(), g))
}

// TestEndsTellTheirActor: an end has the Actor of the context of the verb that caused it, whatever its
// reason: in the event, in the record, and in the Rejection of a later text, whose text names neither.
func TestEndsTellTheirActor(t *testing.T) {
	for name, row := range map[string]struct {
		why EndReason
		end func(s *actorScene) string // returns a text of the token that it ended
	}{
		"Expire": {EndRevoked, func(s *actorScene) string {
			i := s.issue(Grant{})
			made(s.m.Expire(s.ctx, i.ID))
			return i.Bearer
		}},
		"ExpireBearer": {EndRevoked, func(s *actorScene) string {
			i := s.issue(Grant{})
			made(s.m.ExpireBearer(s.ctx, i.Bearer))
			return i.Bearer
		}},
		"ExpireSubject": {EndSubject, func(s *actorScene) string {
			i := s.issue(Grant{})
			made(s.m.ExpireSubject(s.ctx, "bob"))
			return i.Bearer
		}},
		"a limit": {EndEvicted, func(s *actorScene) string {
			i := s.issue(Grant{})
			s.pass(time.Second)
			s.issue(Grant{})
			made(s.m.Issue(s.ctx, Grant{Subject: "bob"}))
			return i.Bearer
		}},
		"the limit of sessions": {EndEvicted, func(s *actorScene) string {
			c := made(s.p.Issue(context.Background(), Grant{Subject: "bob"}))
			made(s.p.Issue(s.ctx, Grant{Subject: "bob"}))
			return c.Access.Bearer
		}},
		"reuse": {EndReused, func(s *actorScene) string {
			c := made(s.p.Issue(context.Background(), Grant{Subject: "bob"}))
			next := made(s.p.Refresh(context.Background(), c.Refresh.Bearer))
			s.pass(time.Minute)
			_, err := s.p.Refresh(s.ctx, c.Refresh.Bearer)
			if !errors.Is(err, ErrReused) {
				s.t.Errorf("Refresh: %v", err)
			}
			return next.Access.Bearer
		}},
		"a last use": {EndExhausted, func(s *actorScene) string {
			i := s.issue(Grant{MaxUses: 1})
			made(s.m.Authenticate(s.ctx, i.Bearer))
			return i.Bearer
		}},
		"a parent": {EndParent, func(s *actorScene) string {
			i := s.issue(Grant{})
			d := made(s.m.Delegate(context.Background(), i.Bearer, Grant{}))
			made(s.m.Expire(s.ctx, i.ID))
			return d.Bearer
		}},
		"a rotation at once": {EndRotated, func(s *actorScene) string {
			i := s.issue(Grant{})
			d := made(s.m.Delegate(context.Background(), i.Bearer, Grant{}))
			made(s.m.RotateID(s.ctx, i.ID, 0))
			return d.Bearer
		}},
	} {
		s := newActorScene(t)
		text := row.end(s)
		on := s.m
		if strings.HasPrefix(text, "acc") {
			on = s.p.access
		}
		_, err := on.Peek(t.Context(), text)
		var r *Rejection
		if !errors.As(err, &r) || r.Reason != row.why || r.EndedBy != "ana" || r.EndNote != "ticket 7" {
			t.Fatalf("%s: %+v", name, r)
		}
		if strings.Contains(r.Error(), "ticket") || strings.Contains(r.Error(), "ana") {
			t.Errorf("%s: the text is %q", name, r.Error())
		}
		if b, err := json.Marshal(r); err != nil || !strings.Contains(string(b), `"ended_by":"ana","end_note":"ticket 7"`) {
			t.Errorf("%s: JSON is %s, %v", name, b, err)
		}
		if tok := made(s.m.Token(t.Context(), r.ID)); tok.EndedBy != "ana" || tok.EndNote != "ticket 7" {
			t.Errorf("%s: stored %q, %q", name, tok.EndedBy, tok.EndNote)
		}
		ended := 0
		for _, e := range s.told {
			if e.Kind != EventEnded {
				continue
			}
			if ended++; e.Actor != (Actor{"ana", "ticket 7"}) || e.Token.EndedBy != "ana" {
				t.Errorf("%s: told %+v", name, e)
			}
		}
		if ended == 0 {
			t.Errorf("%s: no end was told", name)
		}
	}
}

// TestEndsKeepTheirActor: a second end changes nothing, and an end without an Actor has none.
func TestEndsKeepTheirActor(t *testing.T) {
	s := newActorScene(t)
	i := s.issue(Grant{})
	made(s.m.Expire(t.Context(), i.ID))
	made(s.m.Expire(s.ctx, i.ID))
	made(s.m.ExpireBearer(s.ctx, i.Bearer))
	if tok := made(s.m.Token(t.Context(), i.ID)); tok.EndedBy != "" || tok.EndNote != "" {
		t.Errorf("ended by %q, %q", tok.EndedBy, tok.EndNote)
	}
}

// TestEndWithTheLastConnection has no Actor, although Hold, which spent the last use, had one.
func TestEndWithTheLastConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []Event
		m := made(New(memory.New(), Config{Observe: func(_ context.Context, e Event) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, e)
		}}))
		ctx := WithActor(t.Context(), Actor{"ana", "ticket 7"})
		i := made(m.Issue(ctx, Grant{Subject: "bob", MaxUses: 1}))
		held := made(m.Hold(ctx, i.Bearer))
		synctest.Wait()
		held.Release()
		synctest.Wait()
		e := told[len(told)-1]
		if e.Kind != EventEnded || e.Verb != VerbHold || e.Token.EndReason != EndExhausted || e.Actor != (Actor{}) || e.Token.EndedBy != "" {
			t.Errorf("told %+v", e)
		}
		if e := told[1]; e.Kind != EventHeld || e.Actor.Name != "ana" || len(told) != 3 {
			t.Errorf("told %v", told)
		}
	})
}

// TestEndsByTheClockHaveNoActor: the end of an earlier epoch says nothing of who called, before a Sweep
// stores it and after that.
func TestEndsByTheClockHaveNoActor(t *testing.T) {
	g := newGuarded(t, Config{Policy: Policy{TTL: 30 * day, MaxTTL: NoLimit, Retention: 100 * day}})
	i := issueTo(t, g.Manager, Grant{Subject: "ana"})
	g.machine.off -= 2 * time.Hour
	made(0, g.AcceptClock(WithActor(t.Context(), Actor{Name: "admin"})))
	wantNone := func(when string) {
		t.Helper()
		if tok := made(g.Token(t.Context(), i.ID)); tok.EndReason != EndClock || tok.EndedBy != "" || tok.EndNote != "" {
			t.Errorf("%s: %v by %q, %q", when, tok.EndReason, tok.EndedBy, tok.EndNote)
		}
	}
	wantNone("before the Sweep")
	g.machine.pass(2 * day)
	made(g.Sweep(WithActor(t.Context(), Actor{"janitor", "nightly"})))
	wantNone("after the Sweep")
	if rec := made(g.Manager.store.Get(t.Context(), i.ID)); rec.EndReason != EndClock || rec.EndedBy != "" {
		t.Errorf("stored: %v by %q", rec.EndReason, rec.EndedBy)
	}
}
