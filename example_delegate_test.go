package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// A program hands a helper less than it has itself.
func ExampleManager_Delegate() {
	ctx := context.Background()
	m, err := lapse.New(memory.New(), lapse.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ana, err := m.Issue(ctx, lapse.Grant{Subject: "ana", Scope: "files:read files:write"})
	if err != nil {
		log.Fatal(err)
	}
	backup, err := m.Delegate(ctx, ana.Bearer, lapse.Grant{Name: "backup", Scope: "files:read"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(backup.Subject, backup.Scope, backup.Parent == ana.ID)

	_, err = m.Delegate(ctx, backup.Bearer, lapse.Grant{Scope: "files:write"})
	fmt.Println(errors.Is(err, lapse.ErrScope))

	if _, err := m.ExpireBearer(ctx, ana.Bearer); err != nil {
		log.Fatal(err)
	}
	_, err = m.Authenticate(ctx, backup.Bearer)
	var why *lapse.Rejection
	fmt.Println(errors.As(err, &why), why.Reason)
	// Output:
	// ana files:read true
	// true
	// true parent
}
