package main

import (
	"io"
	"time"

	"github.com/seed-55daa01a/lapse"
)

const day = 24 * time.Hour

// replacedWhenOld is the recipe that compares the date of a token with now.
func replacedWhenOld(w io.Writer) error {
	t, err := newTour(w, lapse.Policy{TTL: day, Renewal: lapse.RenewNever}, django{life: day, lastOne: true})
	if err != nil {
		return err
	}
	t.heading("First recipe: one token for 24 hours, replaced by the log-in that finds it old",
		"get_or_create; refused where created < now - 24 h",
		"Policy{TTL: 24 * time.Hour, Renewal: RenewNever}; Identify, then Obtain")
	t.logInBoth("log in", ana, "")
	t.at(5 * time.Hour)
	t.requestBoth("a request renews nothing", 1, "")
	t.logInBoth("log in again: the same token", ana, "")
	t.users.named("ana").inactive = true
	t.requestBoth("a request of an inactive user", 1, "")
	t.users.named("ana").inactive = false
	t.at(day - time.Millisecond)
	t.requestBoth("1 ms before 24 hours have passed", 1, "")
	t.at(day)
	t.requestBoth("after 24 hours", 1, "in lapse the instant of expiry is dead, everywhere")
	t.at(day + time.Millisecond)
	t.requestBoth("1 ms later", 1, "")
	t.logInBoth("log in: another token", ana, "")
	t.requestBoth("with the old one", 1, "")
	return t.err
}

// refreshedAtLogIn is the recipe that rewrites the date of a token at each log-in.
func refreshedAtLogIn(w io.Writer) error {
	t, err := newTour(w, lapse.Policy{TTL: day, MaxTTL: lapse.NoLimit, Renewal: lapse.RenewOnRequest},
		django{life: day, lastOne: true, refresh: true})
	if err != nil {
		return err
	}
	t.heading("Second recipe: one token for 24 hours from the last log-in",
		"get_or_create; token.created = now at each log-in",
		"Policy{TTL: 24 * time.Hour, MaxTTL: NoLimit, Renewal: RenewOnRequest}; Identify, then Obtain")
	t.logInBoth("log in", ana, "")
	t.at(11 * time.Hour)
	t.requestBoth("a request renews nothing", 1, "")
	t.logInBoth("log in again refreshes it", ana, "")
	t.at(day + time.Hour)
	t.requestBoth("25 hours after the first log-in", 1, "")
	t.at(11*time.Hour + day + time.Millisecond)
	t.requestBoth("24 hours after the second", 1, "")
	t.logInBoth("log in", ana, "there a dead key is good again; here what is dead stays dead")
	return t.err
}
