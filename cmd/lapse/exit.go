package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// The exit codes. A program that meets another code treats it as a failure.
const (
	exitFailed    = 1
	exitUsage     = 2  // wrong arguments, or cancelled
	exitNotFound  = 3  // no such token
	exitNoGood    = 4  // verify: the token is no good; rotate, edit, resume: it is dead
	exitUnknown   = 5  // the outcome is unknown: run the command again; issue only with --request-id
	exitFound     = 6  // scan found texts, and was not to end their tokens
	exitNoFile    = 10 // no such file, or not a file of lapse
	exitInUse     = 11 // another process has the file open and does not answer
	exitRefused   = 12 // the program does not let this user do that
	exitDamaged   = 13 // a record or the file is damaged
	exitNoProgram = 14 // the program must run for this, and does not
)

// usageError is an error of the arguments.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// usage returns a usageError.
func usage(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// exitCode returns the exit code for err.
func exitCode(err error) int {
	if wrong := (*usageError)(nil); errors.As(err, &wrong) {
		return exitUsage
	}
	for _, row := range []struct {
		code int
		is   []error
	}{
		{exitUnknown, []error{storage.ErrOutcomeUnknown}},
		{exitUsage, []error{cancelled{}, lapse.ErrInvalidGrant, lapse.ErrInvalidQuery, lapse.ErrInvalidID, lapse.ErrInvalidConfig}},
		{exitNotFound, []error{lapse.ErrNotFound}},
		{exitNoGood, []error{lapse.ErrUnauthenticated}},
		{exitFound, []error{errFound}},
		{exitNoProgram, []error{errNeedsProgram, admin.ErrNotRunning}}, // before its cause, a socket that is not there
		{exitNoFile, []error{os.ErrNotExist, bolt.ErrNotStore, bolt.ErrNewerSchema}},
		{exitInUse, []error{storage.ErrLocked}},
		{exitRefused, []error{admin.ErrNotAllowed, admin.ErrUnsafe, os.ErrPermission}},
		{exitDamaged, []error{lapse.ErrCorrupt}},
	} {
		for _, is := range row.is {
			if errors.Is(err, is) {
				return row.code
			}
		}
	}
	return exitFailed
}

// warn prints err, after which the verb goes on.
func (a *app) warn(err error) {
	if a.json {
		line, _ := json.Marshal(map[string]any{"error": hidden(err.Error()), "code": lapse.Code(err)})
		a.say("%s", line)
		return
	}
	a.say("lapse: %s", plain(strings.TrimPrefix(err.Error(), "lapse: ")))
}

// fail prints err, without what may be a secret, and returns its exit code.
func (a *app) fail(err error) int {
	code := exitCode(err)
	if a.ctx.Err() != nil && code != exitUnknown {
		code = exitUsage
	}
	text := hidden(strings.ReplaceAll(err.Error(), "Options.Repair", "lapse check --repair"))
	if a.ctx.Err() != nil && errors.Is(err, context.Canceled) && code == exitUsage && !errors.Is(err, cancelled{}) {
		text = "interrupted"
	}
	if a.json {
		line, _ := json.Marshal(map[string]any{"error": text, "code": lapse.Code(err), "exit": code})
		a.say("%s", line)
		return code
	}
	if !strings.HasPrefix(text, "lapse: ") {
		text = "lapse: " + text
	}
	a.say("%s", plain(text))
	if wrong := (*kong.ParseError)(nil); errors.As(err, &wrong) {
		a.say("lapse --help says more")
	}
	return code
}
