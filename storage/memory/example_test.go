package memory_test

import (
	"context"
	"fmt"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// In tests nothing has to be opened, closed or removed.
func ExampleNew() {
	ctx := context.Background()
	tokens, err := lapse.New(memory.New(), lapse.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		fmt.Println(err)
		return
	}
	tok, err := tokens.Authenticate(ctx, issued.Bearer)
	fmt.Println(tok.Subject, err)
	// Output: ana <nil>
}
