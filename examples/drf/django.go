package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
)

// django is a model of a project with one token for each user. The fields say which of
// the usual rules the project has.
type django struct {
	clock *clock.Mock
	users users

	life     time.Duration
	slides   bool // RENEW_ON_SUCCESS: a request moves the expiry
	refresh  bool // a log-in rewrites the row's date, whatever that was
	backends bool // USE_AUTHENTICATION_BACKENDS
	lastOne  bool // a token is good at the very instant of its expiry

	loaded time.Time // when the class of the model was loaded
	rows   map[string]*row
	made   int
}

type row struct {
	number  int // in place of the key
	expires time.Time
}

func (d *django) dead(r *row) bool {
	if d.lastOne {
		return r.expires.Before(d.clock.Now())
	}
	return !r.expires.After(d.clock.Now())
}

// logIn is the view that gives out tokens: get or create, and replace a dead one.
func (d *django) logIn(l login) answer {
	name, err := d.users.byName(context.Background(), l)
	if errors.Is(err, lapse.ErrNotMine) && d.backends {
		name, err = d.users.byEmail(context.Background(), l)
	}
	if err != nil || d.users.named(name).inactive {
		return answer{status: 400, says: "unable to log in with these credentials"}
	}
	r := d.rows[name]
	switch {
	case r != nil && d.refresh:
		r.expires = d.clock.Now().Add(d.life)
	case r == nil || d.dead(r):
		delete(d.rows, name)
		r = d.insert(name, d.clock.Now().Add(d.life))
	}
	return answer{status: 200, token: r.number, until: r.expires}
}

func (d *django) insert(name string, expires time.Time) *row {
	d.made++
	d.rows[name] = &row{d.made, expires}
	return d.rows[name]
}

// create makes a row as a shell or a fixture does, without the view. The column's default
// is an instant that was computed when the process began.
func (d *django) create(name string) answer {
	if d.rows[name] != nil {
		return answer{status: 500, says: "IntegrityError: the user has a token"}
	}
	r := d.insert(name, d.loaded.Add(d.life))
	return answer{status: 200, token: r.number, until: r.expires}
}

// request is an authenticated request with the key of that number.
func (d *django) request(number int) answer {
	for name, r := range d.rows {
		if r.number != number {
			continue
		}
		switch {
		case d.users.named(name).inactive:
			return answer{status: 401, says: "user inactive or deleted"}
		case d.dead(r):
			return answer{status: 401, says: "token has expired"}
		case d.slides:
			r.expires = d.clock.Now().Add(d.life)
		}
		return answer{status: 200, token: number, until: r.expires}
	}
	return answer{status: 401, says: "invalid token"}
}

// header is a request whose header reads "Token " and then text.
func (d *django) header(text string) answer {
	says := "invalid token"
	switch {
	case text == "":
		says = "no credentials provided"
	case strings.Contains(text, " "):
		says = "token string should not contain spaces"
	case strings.ToValidUTF8(text, "") != text:
		says = "token string contains invalid characters"
	}
	return answer{status: 401, says: says}
}

// expire is the method of the model that a log-out view calls. The row stays.
func (d *django) expire(number int) answer {
	for _, r := range d.rows {
		if r.number == number {
			r.expires = d.clock.Now()
		}
	}
	return answer{status: 204}
}
