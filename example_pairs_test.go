package lapse_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// A log-in: an access text for a quarter of an hour, and a refresh text that gets both
// replaced.
func ExamplePairs() {
	ctx := context.Background()
	mock := clock.NewMock()
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: mock}})
	if err != nil {
		log.Fatal(err)
	}
	login, err := pairs.Issue(ctx, lapse.Grant{Subject: "ana", Scope: "read write"})
	if err != nil {
		log.Fatal(err)
	}
	session, err := pairs.Access().Authenticate(ctx, login.Access.Bearer)
	fmt.Println(session.Subject, login.ExpiresIn, err)

	mock.Add(15 * time.Minute)
	_, err = pairs.Access().Authenticate(ctx, login.Access.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrExpired))

	next, err := pairs.Refresh(ctx, login.Refresh.Bearer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(next.Access.ID == session.ID) // it is the same session

	again, err := pairs.Refresh(ctx, login.Refresh.Bearer) // the first answer was lost
	fmt.Println(again.Refresh.Bearer == next.Refresh.Bearer, err)

	mock.Add(10 * time.Second) // the grace has ended: this may be a thief
	_, err = pairs.Refresh(ctx, login.Refresh.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrReused))
	_, err = pairs.Access().Authenticate(ctx, next.Access.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrRevoked))
	// Output:
	// ana 15m0s <nil>
	// true
	// true
	// true <nil>
	// true
	// true
}

// A token endpoint answers with the JSON of the TokenPair, and never caches it.
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
	answer := func(credentials lapse.TokenPair, err error) string {
		var wrong *lapse.GrantError
		switch {
		case errors.Is(err, lapse.ErrScope), errors.As(err, &wrong) && wrong.Field == "Scope":
			return `400 {"error":"invalid_scope"}`
		case wrong != nil:
			return `400 {"error":"invalid_request"}`
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
	fmt.Println(got[:27], strings.Contains(got, `"token_type":"Bearer","expires_in":900,`), strings.HasSuffix(got, `"scope":"read"}`))
	fmt.Println(answer(pairs.Refresh(ctx, login.Refresh.Bearer, "delete")))
	fmt.Println(answer(pairs.Refresh(ctx, login.Access.Bearer)))
	fmt.Println(answer(pairs.Issue(ctx, lapse.Grant{Subject: "ana", Scope: "a\tb"})))
	fmt.Println(answer(pairs.Issue(ctx, lapse.Grant{Subject: "ana", TTL: -time.Minute})))
	// Output:
	// 200 {"access_token":"lapse_ true true
	// 400 {"error":"invalid_scope"}
	// 400 {"error":"invalid_grant"}
	// 400 {"error":"invalid_scope"}
	// 400 {"error":"invalid_request"}
}

// To log out, either text will do, as often as it is sent (RFC 7009).
func ExamplePairs_ExpireBearer() {
	ctx := context.Background()
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{})
	if err != nil {
		log.Fatal(err)
	}
	login, err := pairs.Issue(ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		log.Fatal(err)
	}
	for _, bearer := range []string{login.Access.Bearer, login.Refresh.Bearer} {
		session, err := pairs.ExpireBearer(ctx, bearer)
		fmt.Println(session.EndReason, err)
	}
	_, err = pairs.Refresh(ctx, login.Refresh.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrRevoked))
	// Output:
	// revoked <nil>
	// revoked <nil>
	// true
}

// A page of devices: each line is a session, and its ID ends it, or keeps it when all the
// others end.
func ExamplePairs_Sessions() {
	ctx := context.Background()
	mock := clock.NewMock()
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: mock}})
	if err != nil {
		log.Fatal(err)
	}
	laptop, err := pairs.Issue(ctx, lapse.Grant{Subject: "ana", Name: "laptop"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := pairs.Issue(ctx, lapse.Grant{Subject: "ana", Name: "phone", SessionTTL: 24 * time.Hour}); err != nil {
		log.Fatal(err)
	}
	mock.Add(time.Hour)
	if _, err := pairs.Refresh(ctx, laptop.Refresh.Bearer); err != nil {
		log.Fatal(err)
	}
	list := func() {
		var lines []string
		for s, err := range pairs.Sessions(ctx, "ana") {
			if err != nil {
				log.Fatal(err)
			}
			seen := s.IssuedAt // the latest of log-in and refresh
			if s.RotatedAt.After(seen) {
				seen = s.RotatedAt
			}
			lines = append(lines, fmt.Sprint(s.Name, ", seen at ", seen.Format(time.TimeOnly), ", until ", s.ExpiresAt.Format(time.DateOnly)))
		}
		slices.Sort(lines)
		fmt.Println(strings.Join(lines, "\n"))
	}
	list()
	ended, err := pairs.Access().ExpireSubject(ctx, "ana", laptop.Refresh.ID) // all others
	fmt.Println(ended, err)
	list()
	// Output:
	// laptop, seen at 01:00:00, until 1970-01-31
	// phone, seen at 00:00:00, until 1970-01-02
	// 1 <nil>
	// laptop, seen at 01:00:00, until 1970-01-31
}

// A client asks whether its session still lives, and spends nothing by that.
func ExamplePairs_Peek() {
	ctx := context.Background()
	mock := clock.NewMock()
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: mock}})
	if err != nil {
		log.Fatal(err)
	}
	login, err := pairs.Issue(ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		log.Fatal(err)
	}
	session, err := pairs.Peek(ctx, login.Refresh.Bearer)
	fmt.Println(session.Subject, session.ExpiresAt.Format(time.DateOnly), err)

	next, err := pairs.Refresh(ctx, login.Refresh.Bearer)
	if err != nil {
		log.Fatal(err)
	}
	mock.Add(10 * time.Second)
	_, err = pairs.Peek(ctx, login.Refresh.Bearer) // Refresh would end the session
	fmt.Println(errors.Is(err, lapse.ErrReplaced))
	_, err = pairs.Peek(ctx, next.Refresh.Bearer)
	fmt.Println(err)
	// Output:
	// ana 1970-01-31 <nil>
	// true
	// <nil>
}
