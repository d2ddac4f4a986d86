package main

import (
	"fmt"
	"io"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
)

// answer is what a client gets, in terms that both sides share.
type answer struct {
	status int
	token  int       // which of the tokens that its side gave out; 0: none
	until  time.Time // how long that lives now
	says   string    // for the log
}

// same reports whether a client could not tell a from b.
func (a answer) same(b answer) bool {
	return a.status == b.status && a.token == b.token && a.until.Equal(b.until)
}

func (a answer) String() string {
	text := fmt.Sprint(a.status)
	if a.token > 0 {
		text += fmt.Sprintf("  token %d, until %s", a.token, a.until.Format("Mon 15:04"))
	}
	if a.says != "" {
		text += "  " + a.says
	}
	return text
}

// tour is one part of the walk: both sides, on one clock.
type tour struct {
	out    io.Writer
	clock  *clock.Mock
	users  users
	django *django
	lapse  *service
	err    error // of the first step where the sides differ and should not, or the reverse
}

// opening is when each part begins.
var opening = time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC)

func newTour(w io.Writer, policy lapse.Policy, d django) (*tour, error) {
	t := &tour{out: w, clock: clock.NewMock(), users: newUsers(), django: &d}
	t.clock.Set(opening)
	d.clock, d.users, d.loaded, d.rows = t.clock, t.users, opening, map[string]*row{}
	var err error
	t.lapse, err = newService(t.clock, t.users, policy)
	return t, err
}

func (t *tour) line(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// heading says what the settings are in the terms of both.
func (t *tour) heading(title, django, lapse string) {
	t.line("\n%s\n  django: %s\n  lapse:  %s", title, django, lapse)
}

func (t *tour) now() string { return t.clock.Now().Format("Mon 15:04") }

// at moves the clock to that long after the opening.
func (t *tour) at(d time.Duration) { t.clock.Set(opening.Add(d)) }

// step prints the answers of both sides. differ says how they differ, and is "" if they are
// the same. step sets t.err if that is wrong.
func (t *tour) step(what string, django, lapse answer, differ string) {
	t.line("%s  %-32s  django  %v", t.now(), what, django)
	t.line("%-43s  lapse   %v", "", lapse)
	if differ != "" {
		t.line("%-43s  differ: %s", "", differ)
	}
	if same := django.same(lapse); same != (differ == "") && t.err == nil {
		t.err = fmt.Errorf("%s: django %v; lapse %v; that they differ should be %v", what, django, lapse, differ != "")
	}
}

// logInBoth, requestBoth and logOutBoth are steps that both sides take alike.
func (t *tour) logInBoth(what string, l login, differ string) {
	t.step(what, t.django.logIn(l), t.lapse.logIn(l), differ)
}

func (t *tour) requestBoth(what string, number int, differ string) {
	t.step(what, t.django.request(number), t.lapse.request(number), differ)
}

func (t *tour) logOutBoth(what string, number int) {
	t.step(what, t.django.expire(number), t.lapse.logOut(number), "")
}
