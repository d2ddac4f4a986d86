package lapse_test

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/seed-55daa01a/lapse"
)

// Any credentials, any number of places to look them up: here, two tables of
// passwords. A program of your own compares slow hashes of them.
func ExampleLogin() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})

	type login struct{ User, Password string }
	table := func(passwords map[string]string) lapse.Verifier[login] {
		return lapse.VerifierFunc[login](func(_ context.Context, l login) (string, error) {
			want, ok := passwords[l.User]
			switch {
			case !ok:
				return "", lapse.ErrNotMine
			case subtle.ConstantTimeCompare([]byte(l.Password), []byte(want)) == 0:
				return "", lapse.ErrBadCredentials
			}
			return l.User, nil
		})
	}
	staff := table(map[string]string{"ana": "correct horse"})
	guests := table(map[string]string{"guest": "welcome"})

	for _, l := range []login{{"ana", "correct horse"}, {"guest", "welcome"}, {"ana", "welcome"}, {"eve", "let me in"}} {
		issued, err := lapse.Login(ctx, m, l, lapse.Grant{Name: "laptop"}, staff, guests)
		switch {
		case err == nil:
			fmt.Println(issued.Subject, "until", issued.ExpiresAt.Format("15:04"))
		case errors.Is(err, lapse.ErrBadCredentials):
			fmt.Println("401")
		default:
			fmt.Println("503: could not tell")
		}
	}
	// Output:
	// ana until 09:30
	// guest until 09:30
	// 401
	// 401
}

// Whoever gives out something else than a new token asks first who it is.
func ExampleIdentify() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{MaxTokens: 1})
	pin := lapse.VerifierFunc[int](func(_ context.Context, pin int) (string, error) {
		if pin != 1234 {
			return "", lapse.ErrBadCredentials
		}
		return "ana", nil
	})

	for _, typed := range []int{4321, 1234} {
		subject, err := lapse.Identify(ctx, m, typed, pin)
		if err != nil {
			fmt.Println(err)
			continue
		}
		ended, err := m.ExpireSubject(ctx, subject) // a log-in here is a log-out elsewhere
		check(err)
		fmt.Println(subject, "had", ended)
		logIn(m, subject, "this one")
	}
	// Output:
	// lapse: unauthenticated: bad credentials
	// ana had 0
}
