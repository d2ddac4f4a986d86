package lapse_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// An access token for half an hour, and a refresh token that gets the next one.
func ExamplePairs() {
	ctx := context.Background()
	mock := clock.NewMock()
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{
		Access: lapse.Config{Clock: mock, Policy: lapse.Policy{Renewal: lapse.RenewNever}},
	})
	if err != nil {
		log.Fatal(err)
	}
	login, err := pairs.Issue(ctx, lapse.Grant{Subject: "ana", Scope: "read write"})
	if err != nil {
		log.Fatal(err)
	}
	tok, err := pairs.Access().Authenticate(ctx, login.Access.Bearer)
	fmt.Println(tok.Subject, login.ExpiresIn, err)

	mock.Add(30 * time.Minute)
	_, err = pairs.Access().Authenticate(ctx, login.Access.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrExpired))

	next, err := pairs.Refresh(ctx, login.Refresh.Bearer)
	if err != nil {
		log.Fatal(err)
	}
	again, err := pairs.Refresh(ctx, login.Refresh.Bearer) // the first answer was lost
	fmt.Println(again.Refresh.Bearer == next.Refresh.Bearer, err)

	mock.Add(10 * time.Second) // it is nobody's retry any more
	_, err = pairs.Refresh(ctx, login.Refresh.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrReused))
	_, err = pairs.Access().Authenticate(ctx, next.Access.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrExpired))
	// Output:
	// ana 30m0s <nil>
	// true
	// true <nil>
	// true
	// true
}

// A token endpoint answers with the JSON of the Credentials, and never caches it.
func ExamplePairs_Refresh() {
	ctx := context.Background()
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: clock.NewMock()}})
	if err != nil {
		log.Fatal(err)
	}
	login, err := pairs.Issue(ctx, lapse.Grant{Subject: "ana", Scope: "read write"})
	if err != nil {
		log.Fatal(err)
	}
	answer := func(credentials lapse.Credentials, err error) string {
		switch {
		case errors.Is(err, lapse.ErrScope):
			return `400 {"error":"invalid_scope"}`
		case errors.Is(err, lapse.ErrUnauthenticated):
			return `400 {"error":"invalid_grant"}`
		case err != nil:
			return "503"
		}
		body, err := json.Marshal(credentials)
		if err != nil {
			return "500"
		}
		return "200 " + string(body)
	}
	got := answer(pairs.Refresh(ctx, login.Refresh.Bearer, "read"))
	fmt.Println(got[:27], strings.Contains(got, `"token_type":"Bearer","expires_in":1800,`), strings.HasSuffix(got, `"scope":"read"}`))
	fmt.Println(answer(pairs.Refresh(ctx, login.Refresh.Bearer, "delete")))
	fmt.Println(answer(pairs.Refresh(ctx, login.Access.Bearer)))
	// Output:
	// 200 {"access_token":"lapse_ true true
	// 400 {"error":"invalid_scope"}
	// 400 {"error":"invalid_grant"}
}

// To log out, either token will do, as often as it is sent (RFC 7009).
func ExamplePairs_Expire() {
	ctx := context.Background()
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{})
	if err != nil {
		log.Fatal(err)
	}
	login, err := pairs.Issue(ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pairs.Expire(ctx, login.Access.Bearer), pairs.Expire(ctx, login.Refresh.Bearer))
	_, err = pairs.Refresh(ctx, login.Refresh.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrExpired))
	// Output:
	// <nil> <nil>
	// true
}
