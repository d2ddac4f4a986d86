package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

func Example() {
	// setup
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "lapse-")
	check(err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "tokens.db")
	// end setup
	store, err := bolt.Open(path, nil) // one file, created with mode 0600
	check(err)
	defer store.Close()
	tokens, err := lapse.New(store, lapse.Config{}) // lives 30 minutes; each use gives it 30 more
	check(err)

	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana@example.com", Scope: "read"})
	check(err) // issued.Bearer goes to the client and is kept nowhere

	tok, err := tokens.Authenticate(ctx, issued.Bearer) // with each request, message or connection
	check(err)
	fmt.Println(tok.Subject, "may read:", tok.Has("read"))

	_, err = tokens.ExpireBearer(ctx, issued.Bearer) // log out
	check(err)
	_, err = tokens.Authenticate(ctx, issued.Bearer)
	fmt.Println("no good:", errors.Is(err, lapse.ErrUnauthenticated)) // answer 401; any other error: 503
	// Output:
	// ana@example.com may read: true
	// no good: true
}

// check is for errors that an example is not about.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
