package lapse_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-55daa01a/lapse"
)

// Who it is, and what they may do, are two questions with two answers.
func ExampleRequire() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})
	issued, err := m.Issue(ctx, lapse.Grant{Subject: "ana", Scope: "files:read"})
	check(err)

	tok, err := m.Authenticate(ctx, issued.Bearer)
	check(err) // 401 or 503
	for _, scope := range []string{"files:read", "files:write"} {
		if err := lapse.Require(tok, scope); errors.Is(err, lapse.ErrScope) {
			fmt.Println("403:", err)
		} else {
			fmt.Println("200:", scope)
		}
	}
	// Output:
	// 200: files:read
	// 403: lapse: insufficient scope: ["files:write"] is missing
}
