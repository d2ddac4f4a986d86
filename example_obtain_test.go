package lapse_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// A log-in gives the token that the device has already, for as long as that lives.
func ExampleManager_Obtain() {
	ctx := context.Background()
	key := make([]byte, 32) // a real one comes from where the program keeps its secrets
	rand.Read(key)
	mock := clock.NewMock()
	m, err := lapse.New(memory.New(), lapse.Config{
		Policy: lapse.Policy{TTL: 24 * time.Hour},
		Keys:   []lapse.Key{lapse.NewKey(key)},
		Clock:  mock,
	})
	if err != nil {
		log.Fatal(err)
	}
	logIn := func() lapse.Issued {
		issued, err := m.Obtain(ctx, lapse.Grant{Subject: "ana", Name: "Ana's laptop"})
		if err != nil {
			log.Fatal(err)
		}
		return issued
	}
	first := logIn()
	mock.Add(20 * time.Hour)
	second := logIn()
	fmt.Println(second.Existing, second.Bearer == first.Bearer, second.ExpiresAt.Sub(first.ExpiresAt))

	mock.Add(24 * time.Hour)
	third := logIn()
	fmt.Println(third.Existing, third.Bearer == first.Bearer)
	// Output:
	// true true 20h0m0s
	// false false
}

// A key comes from where the program keeps its secrets, and is printed by nothing.
func ExampleNewKey() {
	secret := make([]byte, 32) // a real one is random
	cfg := lapse.Config{Prefix: "app", Keys: []lapse.Key{lapse.NewKey(secret)}}
	fmt.Println(cfg.Keys)
	_, err := lapse.New(memory.New(), cfg)
	fmt.Println(err)
	// Output:
	// [[key]]
	// lapse: invalid config: Keys[0]: all zero; want 32 random bytes
}
