package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
)

// errSecretArgument is the error of an argument that seems to be the text of a token.
var errSecretArgument = errors.New("an argument seems to be the text of a token, which every user of this machine can read in the list of processes; end that token, write the text to standard input (lapse verify), or give the ID")

var (
	// bearerLike is most of the text of a token: that ends in an underscore and 72 letters and digits.
	bearerLike = regexp.MustCompile(`_([0-9A-Za-z]{60,80})\b`)

	// secretLike is a text that may hold a part of a secret, if it has a capital letter, and a digit or 40
	// characters. An ID has 22, and a hash in a path has small letters alone.
	secretLike = regexp.MustCompile(`[0-9A-Za-z]{24,}`)
)

// refuseSecrets returns a usageError if one of args seems to be the text of a token, also with a mistake in
// it. A hash in hexadecimal digits has no capital letter, and may be a subject.
func refuseSecrets(args []string) error {
	for _, arg := range args {
		for _, found := range bearerLike.FindAllString(arg, -1) {
			if strings.ContainsAny(found, "0123456789") && strings.ToLower(found) != found && strings.ToUpper(found) != found {
				return usage("%w", errSecretArgument)
			}
		}
	}
	return nil
}

// hidden returns text, of an error, without what may be a part of a secret: errors of arguments repeat them.
func hidden(text string) string {
	return secretLike.ReplaceAllStringFunc(text, func(run string) string {
		if strings.ToLower(run) == run || len(run) < 40 && !strings.ContainsAny(run, "0123456789") {
			return run
		}
		return fmt.Sprintf("[%d characters]", len(run))
	})
}

// withoutArgument returns err, of kong, or instead an error that does not repeat the argument that a verb
// does not take: for verify that may be the text of a token of another system.
func withoutArgument(err error) error {
	wrong := (*kong.ParseError)(nil)
	if errors.As(err, &wrong) && wrong.Context.Selected() != nil && strings.HasPrefix(err.Error(), "unexpected argument") {
		return fmt.Errorf("%s takes no argument like that; a text of a token is read from standard input, never from an argument", wrong.Context.Selected().Name)
	}
	return err
}
