package lapse_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

func ExampleManager_Hold() {
	// setup
	ctx := context.Background()
	tokens, err := lapse.New(memory.New(), lapse.Config{})
	check(err)
	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana@example.com"})
	check(err)
	bearer := issued.Bearer
	// end setup
	hold, err := tokens.Hold(ctx, bearer)
	if err != nil { // as of Authenticate: answer 401, or 503
		return
	}
	defer hold.Release() // when the connection ends
	fmt.Println("connected:", hold.Token().Subject)

	_, err = tokens.ExpireSubject(ctx, hold.Token().Subject) // log out everywhere
	check(err)

	<-hold.Context().Done() // at once; or when the token runs out
	var why *lapse.Rejection
	if errors.As(context.Cause(hold.Context()), &why) {
		fmt.Println("cut:", why.Reason)
	}
	// Output:
	// connected: ana@example.com
	// cut: subject
}

// A peer of which only the context is heeded sees the connection break. Close it from
// context.AfterFunc instead, and say why: a client that knows that it was logged out
// does not connect again and again.
func ExampleManager_Hold_goodbye() {
	// setup
	ctx := context.Background()
	tokens, err := lapse.New(memory.New(), lapse.Config{})
	check(err)
	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana@example.com"})
	check(err)
	closed := make(chan struct{})
	closeWith := func(code int, reason string) {
		fmt.Println("close", code, reason)
		close(closed)
	}
	// end setup
	hold, err := tokens.Hold(ctx, issued.Bearer)
	check(err)
	held := hold.Context()
	stop := context.AfterFunc(held, func() {
		if errors.Is(context.Cause(held), lapse.ErrUnauthenticated) {
			closeWith(4001, "sign in again")
		} else {
			closeWith(1001, "try again later") // the store was closed, or the server goes down
		}
	})
	defer stop() // where the peer hangs up first

	_, err = tokens.ExpireBearer(ctx, issued.Bearer)
	check(err)
	<-closed
	// Output:
	// close 4001 sign in again
}

func ExampleHold_Release() {
	// setup
	ctx := context.Background()
	tokens, err := lapse.New(memory.New(), lapse.Config{})
	check(err)
	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana@example.com"})
	check(err)
	// end setup
	hold, err := tokens.Hold(ctx, issued.Bearer)
	check(err)
	hold.Release() // the connection has ended: nothing is watched any more
	fmt.Println(context.Cause(hold.Context()))
	// Output: context canceled
}
