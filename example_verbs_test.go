package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse"
)

func ExampleManager_Issue() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})

	issued, err := m.Issue(ctx, lapse.Grant{
		Subject: "ana@example.com",
		Name:    "Ana's laptop",
		Scope:   "read write",
		TTL:     10 * time.Minute, // less than the policy's 30
	})
	check(err)
	fmt.Println(issued.ExpiresAt.Format("15:04"), issued.MaxExpiresAt.Format("2 Jan"))
	fmt.Println(strings.HasPrefix(issued.Bearer, "lapse_"+issued.ID.String()))
	fmt.Println(strings.Contains(fmt.Sprint(issued), issued.Bearer)) // the secret does not print
	// Output:
	// 09:10 4 Feb
	// true
	// false
}

// With a limit, the newest device takes the place of the oldest.
func ExampleManager_Issue_limit() {
	m, mock := atNine(lapse.Policy{MaxTokens: 2, AtLimit: lapse.LimitEndOldest})
	phone := logIn(m, "ana", "phone")
	mock.Add(time.Minute)
	logIn(m, "ana", "laptop")
	mock.Add(time.Minute)
	tablet := logIn(m, "ana", "tablet")

	fmt.Println(len(tablet.Evicted), tablet.Evicted[0] == phone.ID)
	// Output: 1 true
}

func ExampleManager_Authenticate() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	issued := logIn(m, "ana", "laptop")

	for _, wait := range []time.Duration{25 * time.Minute, 30 * time.Minute} {
		mock.Add(wait)
		tok, err := m.Authenticate(ctx, issued.Bearer)
		switch {
		case err == nil:
			fmt.Println(tok.Subject, "until", tok.ExpiresAt.Format("15:04"))
		case errors.Is(err, lapse.ErrUnauthenticated):
			fmt.Println("401: no good")
		default:
			fmt.Println("503: could not tell")
		}
	}
	// Output:
	// ana until 09:55
	// 401: no good
}

// A page that asks each second who is logged in keeps nobody logged in.
func ExampleManager_Peek() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	issued := logIn(m, "ana", "laptop")

	mock.Add(25 * time.Minute)
	tok, err := m.Peek(ctx, issued.Bearer)
	fmt.Println(tok.ExpiresAt.Format("15:04"), err)
	// Output: 09:30 <nil>
}

// Under RenewOnRequest the client decides what counts as activity.
func ExampleManager_Renew() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{Renewal: lapse.RenewOnRequest})
	issued := logIn(m, "ana", "laptop")

	mock.Add(25 * time.Minute)
	used, err := m.Authenticate(ctx, issued.Bearer)
	check(err)
	renewed, err := m.Renew(ctx, issued.Bearer)
	check(err)
	fmt.Println(used.ExpiresAt.Format("15:04"), renewed.ExpiresAt.Format("15:04"))
	// Output: 09:30 09:55
}

// The ID is enough to end a token: no administrator has to know the secret.
func ExampleManager_Expire() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})
	stolen := logIn(m, "ana", "stolen laptop")

	ended, err := m.Expire(ctx, stolen.ID)
	fmt.Println(ended, err)
	ended, err = m.Expire(ctx, stolen.ID) // dead already
	fmt.Println(ended, err)
	// Output:
	// true <nil>
	// false <nil>
}

// Log out: whoever holds the token may end it.
func ExampleManager_ExpireBearer() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	issued := logIn(m, "ana", "laptop")

	mock.Add(10 * time.Minute)
	tok, err := m.ExpireBearer(ctx, issued.Bearer)
	check(err)
	fmt.Println(tok.Name, tok.EndedAt.Format("15:04"), tok.EndReason)
	// Output: laptop 09:10 revoked
}

// Log out everywhere but here, as after a change of password.
func ExampleManager_ExpireSubject() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})
	here := logIn(m, "ana", "laptop")
	logIn(m, "ana", "phone")
	logIn(m, "ana", "tablet")
	logIn(m, "bob", "desk")

	ended, err := m.ExpireSubject(ctx, "ana", here.ID)
	fmt.Println(ended, err)
	_, err = m.Authenticate(ctx, here.Bearer)
	fmt.Println(err)
	// Output:
	// 2 <nil>
	// <nil>
}

// A token is on record after its death too, and says how it died.
func ExampleManager_Token() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	id := logIn(m, "ana", "laptop").ID

	mock.Add(45 * time.Minute)
	tok, err := m.Token(ctx, id)
	check(err)
	fmt.Println(tok.Live(mock.Now()), tok.DeadFrom().Format("15:04"), tok.EndedAt.IsZero())
	// Output: false 09:30 true
}

// The page "your devices".
func ExampleManager_Tokens() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	for _, device := range []string{"phone", "laptop", "tablet"} {
		logIn(m, "ana", device)
		mock.Add(15 * time.Minute)
	}

	for tok, err := range m.Tokens(ctx, "ana") {
		check(err)
		fmt.Println(tok.IssuedAt.Format("15:04"), tok.Name, tok.Live(mock.Now()))
	}
	// Output:
	// 09:00 phone false
	// 09:15 laptop false
	// 09:30 tablet true
}

// The dead are kept for Retention, so that people can be told what happened.
func ExampleManager_Sweep() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{Retention: time.Hour})
	issued := logIn(m, "ana", "laptop") // dead from 09:30 on

	mock.Add(90 * time.Minute)
	deleted, err := m.Sweep(ctx)
	fmt.Println(deleted, err)

	mock.Add(time.Minute)
	deleted, err = m.Sweep(ctx)
	fmt.Println(deleted, err)

	_, err = m.Token(ctx, issued.ID)
	fmt.Println(errors.Is(err, lapse.ErrNotFound))
	// Output:
	// 0 <nil>
	// 1 <nil>
	// true
}
