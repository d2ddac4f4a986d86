package lapse

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

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
