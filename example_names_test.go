package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// A list of devices shows names that the clients chose, so no line of it may be forged.
func ExampleClipName() {
	m, err := lapse.New(memory.New(), lapse.Config{})
	if err != nil {
		log.Fatal(err)
	}
	userAgent := "curl/8.5\n\x1b[2JAna's laptop"
	_, err = m.Issue(context.Background(), lapse.Grant{Subject: "ana", Name: userAgent})
	fmt.Println(err)
	issued, err := m.Issue(context.Background(), lapse.Grant{Subject: "ana", Name: lapse.ClipName(userAgent)})
	fmt.Println(issued.Name, err)
	// Output:
	// lapse: invalid grant: Name: U+000A may not stand here; leave it out, as ClipName does
	// curl/8.5 [2JAna's laptop <nil>
}

// A form says which of its fields is wrong.
func ExampleGrantError() {
	m, err := lapse.New(memory.New(), lapse.Config{})
	if err != nil {
		log.Fatal(err)
	}
	_, err = m.Issue(context.Background(), lapse.Grant{Subject: "ana", MaxUses: -1})
	var wrong *lapse.GrantError
	if errors.As(err, &wrong) {
		fmt.Println(wrong.Field)
		fmt.Println(wrong.Limit)
	}
	// Output:
	// MaxUses
	// -1 is not between 0 and 2147483647
}

// An answer of 403 names what to ask for (RFC 6750 section 3).
func ExampleScopeError() {
	err := lapse.Require(lapse.Token{Scope: "read"}, "read", "write")
	var lacks *lapse.ScopeError
	if errors.As(err, &lacks) {
		fmt.Println(lacks.Missing)
	}
	// Output: [write]
}
