package lapse

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// guarded is a Manager on a machine and a disk.
type guarded struct {
	*Manager
	t       *testing.T
	machine *machine
	disk    *disk
	cfg     Config
	events  []Event
}

func newGuarded(t *testing.T, cfg Config) *guarded {
	g := &guarded{t: t, machine: newMachine(), disk: newDisk(), cfg: cfg}
	g.Manager = g.open()
	return g
}

func (g *guarded) open() *Manager {
	g.t.Helper()
	cfg := g.cfg
	cfg.Clock, cfg.Observe = g.machine, func(_ context.Context, e Event) { g.events = append(g.events, e) }
	m, err := New(g.disk, cfg)
	if err != nil {
		g.t.Fatal(err)
	}
	return m
}

func (g *guarded) logIn() string { return issueTo(g.t, g.Manager, Grant{Subject: "ana"}).Bearer }

// tells checks what Peek says of a bearer.
func (g *guarded) tells(when, bearer string, want error) {
	g.t.Helper()
	if _, err := g.Peek(g.t.Context(), bearer); !errors.Is(err, want) {
		g.t.Errorf("%s: %v; want %v", when, err, want)
	}
}

// settle is so long that a clock that is behind counts as right.
func (g *guarded) settle() {
	g.Peek(g.t.Context(), credentialOf(1).Text("lapse")) // somebody looks
	g.machine.pass(defaultSettle + time.Millisecond)
	g.now()
}

func (g *guarded) discontinuities() (n int) {
	for _, e := range g.events {
		if e.Kind == EventClock {
			n++
		}
	}
	return n
}

// TestDiscontinuity: tokens of before end, in every verb and list, an event says so, a
// new one is good, and a sweep after a day writes the ends down.
func TestDiscontinuity(t *testing.T) {
	g := newGuarded(t, Config{Policy: Policy{TTL: 30 * day, MaxTTL: NoLimit}})
	old := issueTo(t, g.Manager, Grant{Subject: "ana"})
	g.machine.off -= 2 * time.Hour
	g.tells("before it has settled", old.Bearer, nil)
	g.settle()
	at := steady.Normalise(g.machine.Now())
	_, err := g.Authenticate(t.Context(), old.Bearer)
	var why *Rejection
	if !errors.As(err, &why) || why.Reason != EndClock || !errors.Is(err, ErrRevoked) {
		t.Fatalf("Authenticate of a token from before: %v", err)
	}
	if n := g.discontinuities(); n != 1 {
		t.Errorf("%d events; want 1", n)
	}
	tok, err := g.Token(t.Context(), old.ID)
	if err != nil || tok.EndReason != EndClock || tok.EndedAt.Before(at) {
		t.Errorf("Token: %+v, %v", tok, err)
	}
	if ended, err := g.Expire(t.Context(), old.ID); ended || err != nil {
		t.Errorf("Expire: %v, %v; it has been ended already", ended, err)
	}
	if n, err := g.ExpireSubject(t.Context(), "ana"); n != 0 || err != nil {
		t.Errorf("ExpireSubject ended %d, %v", n, err)
	}
	if _, err := g.Renew(t.Context(), old.Bearer); !errors.Is(err, ErrRevoked) {
		t.Errorf("Renew: %v", err)
	}
	if _, err := g.Delegate(t.Context(), old.Bearer, Grant{}); !errors.Is(err, ErrRevoked) {
		t.Errorf("Delegate: %v", err)
	}
	g.tells("a new token", g.logIn(), nil)
	g.machine.pass(steady.Quiet - time.Minute)
	if n, err := g.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("Sweep within a day deleted %d, %v", n, err)
	}
	g.machine.pass(2 * time.Minute)
	if n, err := g.Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("Sweep after a day deleted %d, %v; want the token that was ended", n, err)
	}
}

// TestStrict: once a clock that is behind has settled, every verb says so, in no words
// that log anybody out, until it is right or accepted.
func TestStrict(t *testing.T) {
	g := newGuarded(t, Config{ClockGuard: GuardStrict, Policy: Policy{TTL: 30 * day, MaxTTL: NoLimit}, Keys: []Key{NewKey(bytes.Repeat([]byte{1}, keyLen))}})
	i := issueTo(t, g.Manager, Grant{Subject: "ana"})
	g.machine.off -= 2 * time.Hour
	g.settle()
	ctx := t.Context()
	verbs := map[string]func() error{
		"Issue":         func() error { _, err := g.Issue(ctx, Grant{Subject: "ana"}); return err },
		"Authenticate":  func() error { _, err := g.Authenticate(ctx, i.Bearer); return err },
		"Peek":          func() error { _, err := g.Peek(ctx, i.Bearer); return err },
		"Renew":         func() error { _, err := g.Renew(ctx, i.Bearer); return err },
		"Delegate":      func() error { _, err := g.Delegate(ctx, i.Bearer, Grant{}); return err },
		"Expire":        func() error { _, err := g.Expire(ctx, i.ID); return err },
		"ExpireBearer":  func() error { _, err := g.ExpireBearer(ctx, i.Bearer); return err },
		"ExpireSubject": func() error { _, err := g.ExpireSubject(ctx, "ana"); return err },
		"Token":         func() error { _, err := g.Token(ctx, i.ID); return err },
		"Tokens": func() (err error) {
			for _, err = range g.Tokens(ctx, "ana") {
			}
			return err
		},
		"Sweep":    func() error { _, err := g.Sweep(ctx); return err },
		"Obtain":   func() error { _, err := g.Obtain(ctx, Grant{Subject: "ana"}); return err },
		"Rotate":   func() error { _, err := g.Rotate(ctx, i.Bearer, 0); return err },
		"RotateID": func() error { _, err := g.RotateID(ctx, i.ID, 0); return err },
		"Expiring": func() (err error) {
			for _, err = range g.Expiring(ctx, time.Hour) {
			}
			return err
		},
	}
	for name, verb := range verbs {
		if err := verb(); !errors.Is(err, ErrClock) || errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%s: %v; want ErrClock", name, err)
		}
	}
	for n := range reflect.TypeFor[*Manager]().NumMethod() {
		if name := reflect.TypeFor[*Manager]().Method(n).Name; verbs[name] == nil && name != "AcceptClock" && name != "Hold" && name != "Now" {
			t.Errorf("%s: nobody has looked whether it asks about the clock first", name)
		}
	}
	g.machine.off = 0
	g.tells("once the clock is right", i.Bearer, nil)
	g.machine.off -= 2 * time.Hour
	g.settle()
	g.tells("behind again", i.Bearer, ErrClock)
	if err := g.AcceptClock(ctx); err != nil {
		t.Fatal(err)
	}
	g.tells("once it is accepted", i.Bearer, ErrRevoked)
	g.tells("a new token", g.logIn(), nil)
	if n := g.discontinuities(); n != 1 {
		t.Errorf("%d events; want 1", n)
	}
}

// TestStrictPairs is that for the verbs of Pairs.
func TestStrictPairs(t *testing.T) {
	machine, ctx := newMachine(), t.Context()
	p, err := NewPairs(newDisk(), PairConfig{Access: Config{Clock: machine, ClockGuard: GuardStrict}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Issue(ctx, Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	machine.off -= 2 * time.Hour
	for range 2 { // verbs look at the clock, and it settles
		p.Peek(ctx, c.Refresh.Bearer)
		p.Access().Peek(ctx, c.Access.Bearer)
		machine.pass(defaultSettle + time.Millisecond)
	}
	verbs := map[string]func() error{
		"Issue":        func() error { _, err := p.Issue(ctx, Grant{Subject: "ana"}); return err },
		"Refresh":      func() error { _, err := p.Refresh(ctx, c.Refresh.Bearer); return err },
		"Peek":         func() error { _, err := p.Peek(ctx, c.Refresh.Bearer); return err },
		"ExpireBearer": func() error { return loggedOut(p.ExpireBearer(ctx, c.Refresh.Bearer)) },
		"Sessions": func() (err error) {
			for _, err = range p.Sessions(ctx, "ana") {
			}
			return err
		},
	}
	for name, verb := range verbs {
		if err := verb(); !errors.Is(err, ErrClock) || errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%s: %v; want ErrClock", name, err)
		}
	}
	for n := range reflect.TypeFor[*Pairs]().NumMethod() {
		if name := reflect.TypeFor[*Pairs]().Method(n).Name; verbs[name] == nil && name != "Access" {
			t.Errorf("%s: no row here tries whether it asks about the clock first", name)
		}
	}
	if err := loggedOut(p.ExpireBearer(ctx, c.Access.Bearer)); !errors.Is(err, ErrClock) {
		t.Errorf("Expire by an access text: %v; want ErrClock", err)
	}
	machine.off = 0
	if _, err := p.Refresh(ctx, c.Refresh.Bearer); err != nil {
		t.Errorf("once the clock is right: %v", err)
	}
}

// TestStrictHold is that for Hold, whose goroutines may look at the clock for a moment
// longer: nobody moves it after that.
func TestStrictHold(t *testing.T) {
	g := newGuarded(t, Config{ClockGuard: GuardStrict})
	i := issueTo(t, g.Manager, Grant{Subject: "ana"})
	g.machine.off -= 2 * time.Hour
	g.settle()
	if held, _, err := opened(g.Hold(t.Context(), i.Bearer)); !errors.Is(err, ErrClock) || errors.Is(err, ErrUnauthenticated) || held.Err() == nil {
		t.Errorf("Hold: %v, %v; want ErrClock, and a context that has ended", err, held.Err())
	}
}

// TestAcceptClock ends nothing where the clock is not behind by more than the tolerance,
// which time is by now and then.
func TestAcceptClock(t *testing.T) {
	for name, row := range map[string]struct {
		guard ClockGuard
		off   time.Duration
		ends  bool
	}{
		"right":                   {GuardDefault, 0, false},
		"ahead":                   {GuardDefault, time.Hour, false},
		"behind by the tolerance": {GuardDefault, -defaultTolerance, false},
		"behind by more":          {GuardDefault, -defaultTolerance - time.Millisecond, true},
		"in 1970":                 {GuardStrict, -56 * 365 * day, true},
		"off":                     {GuardOff, -time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuarded(t, Config{ClockGuard: row.guard, Policy: Policy{TTL: 2 * time.Hour}})
			bearer := g.logIn()
			g.machine.off += row.off
			if err := g.AcceptClock(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := map[bool]error{true: ErrRevoked}[row.ends]
			g.tells("a token from before", bearer, want)
			if ended := g.discontinuities() == 1; ended != row.ends {
				t.Errorf("an event: %v; want %v", ended, row.ends)
			}
		})
	}
	g := newGuarded(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.AcceptClock(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// TestEpochsAreForEveryGuard: what the clock has ended stays so for a Manager that
// trusts the clock, and what that one issues is good for the others.
func TestEpochsAreForEveryGuard(t *testing.T) {
	g := newGuarded(t, Config{})
	old := g.logIn()
	g.machine.off -= 2 * time.Hour
	g.settle()
	g.tells("under the guard", old, ErrRevoked)
	off, err := New(g.disk, Config{Clock: g.machine, ClockGuard: GuardOff})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := off.Peek(t.Context(), old); !errors.Is(err, ErrRevoked) {
		t.Errorf("with GuardOff: %v; want ErrRevoked", err)
	}
	g.tells("a token by GuardOff", issueTo(t, off, Grant{Subject: "bob"}).Bearer, nil)
}

// TestClockWithoutElapsed: time waits for it, whatever an earlier run has found out.
func TestClockWithoutElapsed(t *testing.T) {
	d := newDisk()
	d.written = storage.Mark{At: testInstant.Add(time.Hour), Behind: testInstant.Add(-time.Hour)}
	d.reopen()
	for _, at := range []time.Duration{0, time.Minute, -day, time.Hour - time.Millisecond, time.Hour, 2 * time.Hour, 0} {
		m, err := New(d, Config{Clock: fixedClock{testInstant.Add(at)}})
		if err != nil {
			t.Fatal(err)
		}
		before := d.marks.Mark()
		if now := m.now(); now.Before(before.At) || now.Before(testInstant.Add(at)) || d.marks.Epoch() != 0 {
			t.Errorf("at %v: time is %v in epoch %d, after %v", at, now, d.marks.Epoch(), before.At)
		}
	}
}

// TestGuardNeedsMarks: without them time never goes back, and nobody can end what was
// issued before: GuardStrict, which would have to wait for that, is refused.
func TestGuardNeedsMarks(t *testing.T) {
	bare := struct{ storage.Store }{newDisk()}
	if _, err := New(bare, Config{ClockGuard: GuardStrict}); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("New with GuardStrict: %v; want ErrInvalidConfig", err)
	}
	c := newMachine()
	m, err := New(bare, Config{Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	bearer := issueTo(t, m, Grant{Subject: "ana"}).Bearer
	c.off -= 2 * time.Hour
	for range 3 {
		if _, err := m.Peek(t.Context(), bearer); err != nil {
			t.Errorf("with the clock behind: %v", err)
		}
		c.pass(9 * time.Minute)
	}
	if m.AcceptClock(t.Context()); m.marks.Epoch() != 0 {
		t.Error("it has begun an epoch that nobody else knows of")
	}
	c.pass(4 * time.Minute)
	if _, err := m.Peek(t.Context(), bearer); !errors.Is(err, ErrExpired) {
		t.Errorf("after 31 minutes: %v; want ErrExpired", err)
	}
}
