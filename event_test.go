package lapse

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestEventKinds: each kind has words of its own and the number that it has always had.
func TestEventKinds(t *testing.T) {
	want := []string{"unknown", "issued", "renewed", "ended", "rejected", "renewal failed", "clock", "rotated", "spent", "ahead", "hook failed",
		"held", "cut", "swept", "repeated", "could not tell", "confirmed", "suspended", "resumed", "imported", "edited", "forgotten"}
	var got []string
	for kind := range EventKind(len(want)) {
		text, err := kind.MarshalText()
		if err != nil || string(text) != kind.String() {
			t.Errorf("%v: MarshalText returns %q, %v", kind, text, err)
		}
		got = append(got, kind.String())
	}
	if diff := cmp.Diff(want, got); diff != "" || EventKind(len(want)).String() != "unknown" || EventConfirmed != 16 || EventForgotten != 21 {
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
