package bolt_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/benbjohnson/clock"

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

// Where not even a second of renewals may be lost in a crash, each is on disk before
// Authenticate returns. Every use then waits for the disk.
func ExampleOptions() {
	dir, err := os.MkdirTemp("", "lapse-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	store, err := bolt.Open(filepath.Join(dir, "tokens.db"), &bolt.Options{
		FlushEvery:  bolt.FlushAtOnce,
		MaxTokens:   100_000,         // what this machine has memory for
		LockTimeout: 5 * time.Second, // the process before this one may still be closing it
	})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	tokens, err := lapse.New(store, lapse.Config{})
	if err != nil {
		log.Fatal(err)
	}
	issued, err := tokens.Issue(context.Background(), lapse.Grant{Subject: "ana"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := tokens.Authenticate(context.Background(), issued.Bearer); err != nil {
		log.Fatal(err)
	}
	fmt.Println("waiting to be written:", store.Stats().Unsaved)
	// Output: waiting to be written: 0
}

// A copy is made while the store is in use, and opens as a store.
func ExampleStore_Backup() {
	dir, err := os.MkdirTemp("", "lapse-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := bolt.Open(filepath.Join(dir, "tokens.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	tokens, err := lapse.New(store, lapse.Config{})
	if err != nil {
		log.Fatal(err)
	}
	issued, err := tokens.Issue(context.Background(), lapse.Grant{Subject: "ana"})
	if err != nil {
		log.Fatal(err)
	}

	path := filepath.Join(dir, "backup.db")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // nobody else reads it
	if err != nil {
		log.Fatal(err)
	}
	err = store.Backup(context.Background(), file)
	if err == nil {
		err = file.Sync() // a backup is there once it is on disk
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		log.Fatal(err) // the copy is no good
	}

	restored, err := bolt.Open(path, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer restored.Close()
	again, err := lapse.New(restored, lapse.Config{})
	if err != nil {
		log.Fatal(err)
	}
	tok, err := again.Peek(context.Background(), issued.Bearer)
	fmt.Println(tok.Subject, err)
	// Output: ana <nil>
}

// A file keeps the room that it once needed. Compact gives it back, and with it the
// last traces of what was swept.
func ExampleStore_Compact() {
	dir, err := os.MkdirTemp("", "lapse-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := bolt.Open(filepath.Join(dir, "tokens.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	now := clock.NewMock()
	tokens, err := lapse.New(store, lapse.Config{Clock: now, Policy: lapse.Policy{MaxTokens: lapse.NoTokenLimit}})
	if err != nil {
		log.Fatal(err)
	}
	for range 1000 {
		_, err := tokens.Issue(context.Background(), lapse.Grant{Subject: "ana", Data: string(make([]byte, 4096))})
		if err != nil {
			log.Fatal(err)
		}
	}
	now.Add(48 * time.Hour) // they have run out, and their records are kept no longer
	if _, err := tokens.Sweep(context.Background()); err != nil {
		log.Fatal(err)
	}

	before := store.Stats().FileSize
	if err := store.Compact(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("less than a quarter:", store.Stats().FileSize < before/4)
	// Output: less than a quarter: true
}

// Stats is for a health check: whether writes go through, and whether anything was
// lost.
func ExampleStore_Stats() {
	dir, err := os.MkdirTemp("", "lapse-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := bolt.Open(filepath.Join(dir, "tokens.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	tokens, err := lapse.New(store, lapse.Config{})
	if err != nil {
		log.Fatal(err)
	}
	for _, subject := range []string{"ana", "bob"} {
		if _, err := tokens.Issue(context.Background(), lapse.Grant{Subject: subject}); err != nil {
			log.Fatal(err)
		}
	}

	stats := store.Stats()
	fmt.Println("tokens:", stats.Tokens)
	fmt.Println("damaged:", stats.Damaged)
	fmt.Println("writable:", stats.Err == nil)
	// Output:
	// tokens: 2
	// damaged: 0
	// writable: true
}
