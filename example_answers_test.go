package lapse_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// The answer of a token endpoint with a field of one's own: a struct that embeds the
// TokenPair.
func ExampleTokenPair() {
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: clock.NewMock()}})
	check(err)
	pair, err := pairs.Issue(context.Background(), lapse.Grant{Subject: "ana", Scope: "read"})
	check(err)
	body, err := json.Marshal(struct {
		lapse.TokenPair
		Greeting string `json:"greeting"`
	}{pair, "Good morning, Ana"})
	check(err)
	fmt.Println(strings.NewReplacer(pair.Access.Bearer, "ACCESS", pair.Refresh.Bearer, "REFRESH").Replace(string(body)))

	// Its client reads a refreshed one into what it has. This server sends no other refresh text.
	check(json.Unmarshal([]byte(`{"access_token": "ANOTHER", "token_type": "bearer", "expires_in": "600"}`), &pair))
	fmt.Println(pair.Access.Bearer, pair.ExpiresIn, pair.Refresh.Bearer != "")
	// Output:
	// {"access_token":"ACCESS","token_type":"Bearer","expires_in":900,"refresh_token":"REFRESH","scope":"read","greeting":"Good morning, Ana"}
	// ANOTHER 10m0s true
}

// A link in a mail is good once. A double click is good, too, and does nothing twice.
func ExampleManager_Authenticate_doubleClick() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	link, err := m.Issue(ctx, lapse.Grant{Subject: "ana", MaxUses: 1, UseGrace: 10 * time.Second})
	check(err)
	for range 3 {
		switch tok, err := m.Authenticate(ctx, link.Bearer); {
		case err != nil:
			fmt.Println(lapse.Code(err))
		case tok.Repeated():
			fmt.Println("done already")
		default:
			fmt.Println("confirmed", tok.Subject)
		}
		mock.Add(6 * time.Second)
	}
	// Output:
	// confirmed ana
	// done already
	// exhausted
}
