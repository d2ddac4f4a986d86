package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// TestExitCode: each kind of error has its code, also below other errors and where an error is of two kinds.
func TestExitCode(t *testing.T) {
	for _, row := range []struct {
		err  error
		code int
	}{
		{errors.New("any other"), exitFailed},
		{lapse.ErrUnavailable, exitFailed},
		{usage("wrong"), exitUsage},
		{cancelled{}, exitUsage},
		{lapse.ErrInvalidGrant, exitUsage},
		{lapse.ErrNotFound, exitNotFound},
		{lapse.ErrUnknown, exitNoGood},
		{lapse.ErrExpired, exitNoGood},
		{storage.ErrOutcomeUnknown, exitUnknown},
		{fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, lapse.ErrUnavailable), exitUnknown},
		{errFound, exitFound},
		{fs.ErrNotExist, exitNoFile},
		{bolt.ErrNotStore, exitNoFile},
		{bolt.ErrNewerSchema, exitNoFile},
		{storage.ErrLocked, exitInUse},
		{inUse("tokens.db", nil), exitInUse},
		{admin.ErrNotAllowed, exitRefused},
		{admin.ErrUnsafe, exitRefused},
		{fs.ErrPermission, exitRefused},
		{lapse.ErrCorrupt, exitDamaged},
		{errNeedsProgram, exitNoProgram},
		{fmt.Errorf("%w: %w", admin.ErrNotRunning, fs.ErrNotExist), exitNoProgram},
	} {
		if got := exitCode(fmt.Errorf("lapse: %w", row.err)); got != row.code {
			t.Errorf("%v: exit %d, want %d", row.err, got, row.code)
		}
	}
}

// TestExitCodesAreDocumented: docs/command.md has a row for each code, and for no other.
func TestExitCodesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/command.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, found := range regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllSubmatch(page, -1) {
		got = append(got, string(found[1]))
	}
	var want []string
	for _, code := range []int{0, exitFailed, exitUsage, exitNotFound, exitNoGood, exitUnknown, exitFound, exitNoFile, exitInUse, exitRefused, exitDamaged, exitNoProgram} {
		want = append(want, fmt.Sprint(code))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the page has %v, the command %v", got, want)
	}
}
