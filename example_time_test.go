package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// deskClock is a mock that also knows how much time has passed, as the system's clock
// does, whatever somebody sets it to.
type deskClock struct {
	*clock.Mock
	passed time.Duration
}

func newDeskClock() *deskClock {
	c := &deskClock{Mock: clock.NewMock()}
	c.Set(nineOClock)
	return c
}

func (c *deskClock) Elapsed() time.Duration { return c.passed }

func (c *deskClock) pass(d time.Duration) {
	c.passed += d
	c.Add(d)
}

// The clock is set back by two hours. That lengthens no life: time goes on as it passes.
// A clock that is still behind after ten minutes was wrong before: whoever is logged in
// logs in once more.
func ExampleConfig_clockGuard() {
	ctx := context.Background()
	wall := newDeskClock()
	m, err := lapse.New(memory.New(), lapse.Config{
		Clock:      wall,
		ClockGuard: lapse.GuardDefault,
		Observe: func(_ context.Context, e lapse.Event) {
			if e.Kind == lapse.EventClock {
				fmt.Println("the clock was behind, and is followed from", e.At.Format("15:04"))
			}
		},
	})
	check(err)
	issued := logIn(m, "ana", "desk")

	wall.Set(nineOClock.Add(-2 * time.Hour))
	tok, err := m.Authenticate(ctx, issued.Bearer)
	fmt.Println(tok.LastUsedAt.Format("15:04"), err)

	wall.pass(9 * time.Minute)
	tok, err = m.Authenticate(ctx, issued.Bearer)
	fmt.Println(tok.LastUsedAt.Format("15:04"), err)

	wall.pass(2 * time.Minute)
	m.Authenticate(ctx, issued.Bearer) // sees that it has settled
	_, err = m.Authenticate(ctx, issued.Bearer)
	var why *lapse.Rejection
	fmt.Println(errors.As(err, &why) && why.Reason == lapse.EndClock)

	again := logIn(m, "ana", "desk")
	fmt.Println(again.IssuedAt.Format("15:04"))
	// Output:
	// 09:00 <nil>
	// 09:09 <nil>
	// the clock was behind, and is followed from 07:11
	// true
	// 07:11
}

// Under GuardStrict nobody is logged out by a clock: nothing works until it is right, or
// somebody who administers says that it is.
func ExampleManager_AcceptClock() {
	ctx := context.Background()
	wall := newDeskClock()
	m, err := lapse.New(memory.New(), lapse.Config{Clock: wall, ClockGuard: lapse.GuardStrict})
	check(err)
	issued := logIn(m, "ana", "desk")

	wall.Set(nineOClock.Add(-2 * time.Hour))
	m.Peek(ctx, issued.Bearer) // sees that it is behind
	wall.pass(11 * time.Minute)
	m.Peek(ctx, issued.Bearer) // sees that it still is
	_, err = m.Peek(ctx, issued.Bearer)
	fmt.Println(err)
	fmt.Println(errors.Is(err, lapse.ErrClock), errors.Is(err, lapse.ErrUnauthenticated))

	check(m.AcceptClock(ctx))
	_, err = m.Peek(ctx, issued.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrRevoked))
	_, err = m.Peek(ctx, logIn(m, "ana", "desk").Bearer)
	fmt.Println(err)
	// Output:
	// lapse: peek: lapse: the clock is behind; set it right, or accept it with AcceptClock
	// true false
	// true
	// <nil>
}

// The clock is set back after a token has run out. The time that decisions see has not
// gone back, so Live of a listed token is asked at Now.
func ExampleManager_Now() {
	ctx := context.Background()
	wall := newDeskClock()
	m, err := lapse.New(memory.New(), lapse.Config{Clock: wall})
	check(err)
	issued := logIn(m, "ana", "desk")
	wall.pass(31 * time.Minute)
	_, err = m.Authenticate(ctx, issued.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrExpired))

	wall.Set(nineOClock)
	for tok, err := range m.Tokens(ctx, "ana") {
		check(err)
		fmt.Println(wall.Now().Format("15:04"), tok.Live(wall.Now()))
		fmt.Println(m.Now().Format("15:04"), tok.Live(m.Now()))
	}
	// Output:
	// true
	// 09:00 true
	// 09:31 false
}

// docs/time.md shows the body of this test.
func TestSynctestExample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens, _ := lapse.New(memory.New(), lapse.Config{})
		issued, _ := tokens.Issue(t.Context(), lapse.Grant{Subject: "ana"})

		time.Sleep(30 * time.Minute) // takes no time
		_, err := tokens.Authenticate(t.Context(), issued.Bearer)
		if !errors.Is(err, lapse.ErrExpired) {
			t.Errorf("after 30 idle minutes: %v", err)
		}
	})
}

// What would a shorter cap do to somebody who works all morning? Nothing has to run
// to find out.
func ExamplePolicy_Timeline() {
	p := lapse.Policy{TTL: 30 * time.Minute, MaxTTL: 2 * time.Hour, RenewEvery: 5 * time.Minute}

	var uses []time.Time
	for _, minutes := range []int{2, 25, 50, 79, 95, 119, 120} {
		uses = append(uses, nineOClock.Add(time.Duration(minutes)*time.Minute))
	}
	steps, err := p.Timeline(nineOClock, uses...)
	check(err)
	for _, s := range steps {
		fmt.Println(s.At.Format("15:04"), s.Kind, s.ExpiresAt.Format("15:04"))
	}
	fmt.Println(steps[0]) // with the date
	// Output:
	// 09:02 not due, lives until 09:30
	// 09:25 renewed until 09:55
	// 09:50 renewed until 10:20
	// 10:19 renewed until 10:49
	// 10:35 capped at 11:00
	// 10:59 capped at 11:00
	// 11:00 refused, at its cap since 11:00
	// 2026-01-05T09:02:00Z not due, lives until 2026-01-05T09:30:00Z
}
