package main

import (
	"context"
	"crypto/subtle"
	"fmt"

	"github.com/seed-55daa01a/lapse"
)

// user is a row of the project's table of users. A real one keeps a slow hash of the
// password.
type user struct {
	name, email, password string
	inactive              bool
}

// login is what the log-in form sends.
type login struct{ who, password string }

// users stands for the table. Both sides ask it.
type users []*user

func newUsers() users {
	return users{
		{name: "ana", email: "ana@example.com", password: "correct horse"},
		{name: "bob", email: "bob@example.com", password: "battery staple"},
	}
}

var (
	ana        = login{"ana", "correct horse"}
	anaMistake = login{"ana", "corect horse"}
	anaByMail  = login{"ana@example.com", "correct horse"}
	stranger   = login{"eve", "let me in"}
)

func (u users) named(name string) *user {
	for _, row := range u {
		if row.name == name {
			return row
		}
	}
	return nil
}

// byName and byEmail are Verifiers of lapse. A Django project calls such functions
// authentication backends.
func (u users) byName(_ context.Context, l login) (string, error) {
	return u.find(l, func(row *user) string { return row.name })
}

func (u users) byEmail(_ context.Context, l login) (string, error) {
	return u.find(l, func(row *user) string { return row.email })
}

func (u users) find(l login, column func(*user) string) (string, error) {
	for _, row := range u {
		if column(row) != l.who {
			continue
		}
		if subtle.ConstantTimeCompare([]byte(row.password), []byte(l.password)) == 0 {
			return "", lapse.ErrBadCredentials
		}
		return row.name, nil
	}
	return "", lapse.ErrNotMine
}

// check is Config.Admit: Django's is_active.
func (u users) check(_ context.Context, tok lapse.Token) error {
	if row := u.named(tok.Subject); row == nil || row.inactive {
		return fmt.Errorf("%w: inactive or deleted", lapse.ErrRefused)
	}
	return nil
}
