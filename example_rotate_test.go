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
	fmt.Println(key.Name, key.ID == old.ID, key.Generation)

	// Both texts work. A caller that lost the answer asks again.
	_, err = m.Authenticate(ctx, old.Bearer)
	again, asked := m.Rotate(ctx, old.Bearer, 24*time.Hour)
	fmt.Println(err, asked, again.Bearer == key.Bearer)

	// Once the new text has been used, it is the one to rotate with.
	if _, err := m.Authenticate(ctx, key.Bearer); err != nil {
		log.Fatal(err)
	}
	_, err = m.Rotate(ctx, old.Bearer, 24*time.Hour)
	fmt.Println(errors.Is(err, lapse.ErrRotated))

	mock.Add(24 * time.Hour)
	_, err = m.Authenticate(ctx, old.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrReplaced))

	// A key that has leaked gets no overlap.
	next, err := m.Rotate(ctx, key.Bearer, 0)
	if err != nil {
		log.Fatal(err)
	}
	_, err = m.Authenticate(ctx, key.Bearer)
	var why *lapse.Rejection
	fmt.Println(errors.As(err, &why), why.Generation, next.Generation)
	// Output:
	// backup key true 1
	// <nil> <nil> true
	// true
	// true
	// true 1 2
}

// An administrator replaces the key of a program whose text is not at hand.
func ExampleManager_RotateID() {
	ctx := context.Background()
	m, err := lapse.New(memory.New(), lapse.Config{})
	if err != nil {
		log.Fatal(err)
	}
	old, err := m.Issue(ctx, lapse.Grant{Subject: "ana", Name: "backup key"})
	if err != nil {
		log.Fatal(err)
	}
	key, err := m.RotateID(ctx, old.ID, 10*time.Minute)
	if err != nil {
		log.Fatal(err)
	}
	_, err = m.Authenticate(ctx, old.Bearer) // until the program has the new one
	fmt.Println(key.Generation, err)

	// The key has leaked: no text of before works any more.
	key, err = m.RotateID(ctx, old.ID, 0)
	if err != nil {
		log.Fatal(err)
	}
	_, err = m.Authenticate(ctx, old.Bearer)
	fmt.Println(key.Generation, errors.Is(err, lapse.ErrReplaced))
	// Output:
	// 1 <nil>
	// 2 true
}
