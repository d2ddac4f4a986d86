// Drf does what programs on Django REST framework do with expiring tokens, and does it
// with lapse beside it, on one mock clock: django-rest-framework-temporary-tokens, the
// two well-known recipes that give out one token for 24 hours, and the answer in the
// shape of OAuth 2. It prints what each of the two does, and says where they differ.
//
//	go run ./examples/drf
//
// The Django side is a model: django.go holds the few rules that decide about tokens,
// as the projects state them. The lapse side is the real thing: service.go holds all
// that a server needs. Read temporary.go and recipes.go for which settings of the one
// are which Policy of the other, and oauth.go for sessions with a refresh token.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "usage: drf\n\nExpiring tokens in Django REST framework's terms and in lapse's.")
		os.Exit(2)
	}
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "drf:", err)
		os.Exit(1)
	}
}

// run writes the transcript to w. It stops at the first thing that goes otherwise than
// the transcript would say.
func run(w io.Writer) error {
	for _, part := range []func(w io.Writer) error{
		temporaryTokens,
		withoutRenewal,
		replacedWhenOld,
		refreshedAtLogIn,
		oauthShape,
		activation,
	} {
		if err := part(w); err != nil {
			return err
		}
	}
	return nil
}
