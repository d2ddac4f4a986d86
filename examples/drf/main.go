// Drf compares programs on Django REST framework that have expiring tokens with lapse, on
// one mock clock. It has django-rest-framework-temporary-tokens, the two well-known recipes
// that give out one token for 24 hours, and the answer in the shape of OAuth 2. It prints
// what both sides do, and says where they differ.
//
//	go run ./examples/drf
//
// The Django side is a model: django.go has the few rules that decide about tokens, as
// the projects state them. The lapse side is real: service.go has all that a server
// needs. Read temporary.go and recipes.go to find the Policy for the settings of a Django
// project, and oauth.go for sessions with a refresh token.
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

// run writes the transcript to w. It stops at the first step that fails.
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
