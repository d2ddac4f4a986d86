package bolt_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// Tokens outlive the process that issued them.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "lapse-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "tokens.db")

	var bearer string
	for _, run := range []string{"first", "second"} {
		store, err := bolt.Open(path, nil) // creates the file in the first run
		if err != nil {
			log.Fatal(err)
		}
		tokens, err := lapse.New(store, lapse.Config{})
		if err != nil {
			log.Fatal(err)
		}
		if bearer == "" {
			issued, err := tokens.Issue(context.Background(), lapse.Grant{Subject: "ana"})
			if err != nil {
				log.Fatal(err)
			}
			bearer = issued.Bearer
		}
		tok, err := tokens.Authenticate(context.Background(), bearer)
		fmt.Println(run, tok.Subject, err)

		if err := store.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// first ana <nil>
	// second ana <nil>
}
