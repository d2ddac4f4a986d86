package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// Time travel without a Clock: a nil one is the system's, and in a bubble that is
// the bubble's. Sleeping there takes no time.
func TestBubbleTimeTravel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := managerOn(t, lapse.Config{})
		issued := granted(t, m, lapse.Grant{Subject: "ana"})

		time.Sleep(30*time.Minute - time.Millisecond)
		if _, err := m.Peek(t.Context(), issued.Bearer); err != nil {
			t.Errorf("a millisecond before its time: %v", err)
		}
		time.Sleep(time.Millisecond)
		if _, err := m.Authenticate(t.Context(), issued.Bearer); !errors.Is(err, lapse.ErrExpired) {
			t.Errorf("at its time: got %v, want %v", err, lapse.ErrExpired)
		}
	})
}

// sweepHourly is the loop that an application runs in a goroutine of its own.
func sweepHourly(ctx context.Context, m *lapse.Manager, report func(deleted int, err error)) {
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			report(m.Sweep(ctx))
		}
	}
}

func TestBubbleHourlySweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := managerOn(t, lapse.Config{})
		start := time.Now()
		short := granted(t, m, lapse.Grant{Subject: "ana"})                    // dead from 0:30
		long := granted(t, m, lapse.Grant{Subject: "ana", TTL: 7 * time.Hour}) // dead from 7:00
		live := granted(t, m, lapse.Grant{Subject: "ana", TTL: 99 * time.Hour})

		var got []string
		go sweepHourly(t.Context(), m, func(deleted int, err error) {
			if err != nil {
				t.Error(err)
			}
			if deleted > 0 {
				got = append(got, fmt.Sprint(time.Since(start), " ", deleted))
			}
		})
		time.Sleep(48 * time.Hour)
		synctest.Wait() // for the tick of this very hour

		// 24 hours dead is not yet longer than Retention: the next tick has it.
		if diff := cmp.Diff([]string{"25h0m0s 1", "32h0m0s 1"}, got); diff != "" {
			t.Errorf("sweeps that deleted (-want +got):\n%s", diff)
		}
		for _, gone := range []lapse.ID{short.ID, long.ID} {
			if _, err := m.Token(t.Context(), gone); !errors.Is(err, lapse.ErrNotFound) {
				t.Errorf("token %v: got %v, want %v", gone, err, lapse.ErrNotFound)
			}
		}
		if _, err := m.Peek(t.Context(), live.Bearer); err != nil {
			t.Errorf("the live token: %v", err)
		}
	})
}

// handClock is a Clock in three lines, for programs that want no dependency.
type handClock struct{ now time.Time }

func (c *handClock) Now() time.Time                       { return c.now }
func (c *handClock) After(time.Duration) <-chan time.Time { return nil } // nobody here waits

// dayPolicy leaves no decision to its default but the length of a life.
var dayPolicy = lapse.Policy{MaxTTL: 2 * time.Hour, RenewEvery: 5 * time.Minute, Retention: time.Hour}

// The same day gives the same decisions whoever tells the time.
func TestClocksAgree(t *testing.T) {
	start := time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC) // of every bubble
	want := []string{
		"00:00 issued: until 00:30",
		"00:04 used: until 00:30", // too soon to renew
		"00:05 used: until 00:35",
		"00:34 peeked: until 00:35",
		"00:34 renewed: until 01:04",
		"00:59 used: until 01:29",
		"01:29 used: expired at 01:29",
		"01:29 issued: until 01:59",
		"01:54 used: until 02:24",
		"02:19 used: until 02:49",
		"02:44 used: until 03:14",
		"03:09 used: until 03:29", // the cap
		"03:29 renewed: expired at 03:29",
		"03:29 issued: until 03:59",
		"03:39 ended: until 03:59",
		"03:39 used: expired at 03:39 revoked",
		"03:39 swept 1", // the one that died at 01:29
		"04:29 swept 0", // an hour dead is not longer than Retention
		"04:30 swept 1",
	}

	mock := clock.NewMock()
	mock.Set(start)
	m := managerOn(t, lapse.Config{Policy: dayPolicy, Clock: mock})
	if diff := cmp.Diff(want, liveADay(t, m, mock.Now, mock.Add)); diff != "" {
		t.Errorf("under *clock.Mock (-want +got):\n%s", diff)
	}

	hand := &handClock{start}
	m = managerOn(t, lapse.Config{Policy: dayPolicy, Clock: hand})
	turn := func(d time.Duration) { hand.now = hand.now.Add(d) }
	if diff := cmp.Diff(want, liveADay(t, m, hand.Now, turn)); diff != "" {
		t.Errorf("under a clock of three lines (-want +got):\n%s", diff)
	}

	synctest.Test(t, func(t *testing.T) {
		m := managerOn(t, lapse.Config{Policy: dayPolicy})
		if diff := cmp.Diff(want, liveADay(t, m, time.Now, time.Sleep)); diff != "" {
			t.Errorf("in the bubble (-want +got):\n%s", diff)
		}
	})
}

// liveADay goes through what time decides, and notes each decision. Three tokens
// die one after the other: of idleness, at the cap, by Expire.
func liveADay(t *testing.T, m *lapse.Manager, now func() time.Time, wait func(time.Duration)) []string {
	t.Helper()
	d := diary{t: t, m: m, now: now}
	for _, step := range []struct {
		wait time.Duration
		do   func()
	}{
		{0, d.issue}, {4 * time.Minute, d.use}, {1 * time.Minute, d.use}, {29 * time.Minute, d.peek}, {0, d.renew},
		{25 * time.Minute, d.use}, {30 * time.Minute, d.use},
		{0, d.issue}, {25 * time.Minute, d.use}, {25 * time.Minute, d.use}, {25 * time.Minute, d.use},
		{25 * time.Minute, d.use}, {20 * time.Minute, d.renew},
		{0, d.issue}, {10 * time.Minute, d.end}, {0, d.use},
		{0, d.sweep}, {50 * time.Minute, d.sweep}, {1 * time.Minute, d.sweep},
	} {
		wait(step.wait)
		step.do()
	}
	return d.lines
}

// diary does something with the token issued last, and notes what came of it.
type diary struct {
	t     *testing.T
	m     *lapse.Manager
	now   func() time.Time
	tok   lapse.Issued
	lines []string
}

func (d *diary) note(what string) {
	d.lines = append(d.lines, d.now().Format("15:04 ")+what)
}

func (d *diary) noteToken(what string, tok lapse.Token, err error) {
	var r *lapse.Rejection
	switch {
	case err == nil:
		d.note(what + ": until " + tok.ExpiresAt.Format("15:04"))
	case errors.As(err, &r) && (r.Err == lapse.ErrExpired || r.Err == lapse.ErrRevoked):
		d.note(strings.TrimSpace(what + ": expired at " + r.At.Format("15:04 ") + r.Reason.String()))
	default:
		d.t.Fatalf("%s: %v", what, err)
	}
}

func (d *diary) issue() {
	d.tok = granted(d.t, d.m, lapse.Grant{Subject: "ana"})
	d.noteToken("issued", d.tok.Token, nil)
}

func (d *diary) use() {
	tok, err := d.m.Authenticate(d.t.Context(), d.tok.Bearer)
	d.noteToken("used", tok, err)
}

func (d *diary) peek() {
	tok, err := d.m.Peek(d.t.Context(), d.tok.Bearer)
	d.noteToken("peeked", tok, err)
}

func (d *diary) renew() {
	tok, err := d.m.Renew(d.t.Context(), d.tok.Bearer)
	d.noteToken("renewed", tok, err)
}

func (d *diary) end() {
	tok, err := d.m.ExpireBearer(d.t.Context(), d.tok.Bearer)
	d.noteToken("ended", tok, err)
}

func (d *diary) sweep() {
	deleted, err := d.m.Sweep(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	d.note(fmt.Sprint("swept ", deleted))
}

// managerOn returns a Manager in memory.
func managerOn(t *testing.T, cfg lapse.Config) *lapse.Manager {
	t.Helper()
	m, err := lapse.New(memory.New(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func granted(t *testing.T, m *lapse.Manager, g lapse.Grant) lapse.Issued {
	t.Helper()
	issued, err := m.Issue(context.Background(), g)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}
