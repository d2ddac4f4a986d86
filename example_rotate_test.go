package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// A key is replaced while a program still uses it, which has a day to change over.
func ExampleManager_Rotate() {
	ctx := context.Background()
	mock := clock.NewMock()
	m, err := lapse.New(memory.New(), lapse.Config{
		Policy: lapse.Policy{TTL: 90 * 24 * time.Hour, Renewal: lapse.RenewNever},
		Clock:  mock,
	})
	if err != nil {
		log.Fatal(err)
	}
	old, err := m.Issue(ctx, lapse.Grant{Subject: "ana", Name: "backup key"})
	if err != nil {
		log.Fatal(err)
	}
	key, err := m.Rotate(ctx, old.Bearer, 24*time.Hour)
	if err != nil {
		log.Fatal(err)
	}
	tok, err := m.Authenticate(ctx, old.Bearer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(key.Name, tok.Successor == key.ID, tok.ExpiresAt.Sub(mock.Now()))

	if _, err := m.Authenticate(ctx, key.Bearer); err != nil {
		log.Fatal(err)
	}
	_, err = m.Rotate(ctx, old.Bearer, 24*time.Hour)
	fmt.Println(errors.Is(err, lapse.ErrRotated))

	mock.Add(24 * time.Hour)
	_, err = m.Authenticate(ctx, old.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrExpired))

	// A key that has leaked gets no overlap.
	next, err := m.Rotate(ctx, key.Bearer, 0)
	if err != nil {
		log.Fatal(err)
	}
	_, err = m.Authenticate(ctx, key.Bearer)
	var why *lapse.Rejection
	fmt.Println(errors.As(err, &why), why.Reason, next.Predecessor == key.ID)
	// Output:
	// backup key true 24h0m0s
	// true
	// true
	// true rotated true
}
