package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
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

// TestErrorsAreJSON: with --json or LAPSE_JSON all that standard error has of errors are objects, one a line, also
// where the arguments are wrong.
func TestErrorsAreJSON(t *testing.T) {
	w := fileAlone(t)
	secret := w.issue(lapse.Grant{Subject: "ana", Name: "damaged"}).Bearer
	w.damage("damaged")
	for _, row := range []struct {
		env  string
		args []string
		code int
		json bool
	}{
		{"0", []string{"ls", "--nope", "--json"}, exitUsage, true},
		{"0", []string{"--json", "ls", "--nope"}, exitUsage, true},
		{"0", []string{"--json=yes", "verfy"}, exitUsage, true},
		{"0", []string{"--json"}, exitUsage, true},
		{"0", []string{"show", "--json"}, exitUsage, true},
		{"0", []string{"show", secret, "--json"}, exitUsage, true},
		{"1", []string{"ls", "--nope"}, exitUsage, true},
		{"0", []string{"ls", "--json"}, exitDamaged, true},
		{"0", []string{"check", "--json"}, exitDamaged, true},
		{"0", []string{"ls", "--nope"}, exitUsage, false},
		{"1", []string{"--json=no", "ls", "--nope"}, exitUsage, false},
		{"0", []string{"ls", "ana", "--", "--json"}, exitUsage, false},
		{"0", []string{"ls"}, exitDamaged, false},
	} {
		t.Setenv("LAPSE_JSON", row.env)
		got := w.lapseOnly(row.args...).wants(t, row.code)
		for line := range strings.Lines(got.stderr) {
			var object struct{ Error, Code string }
			if err := json.Unmarshal([]byte(line), &object); (err == nil && object.Error != "") != row.json {
				t.Errorf("LAPSE_JSON=%s lapse %q printed %q", row.env, row.args, line)
			}
		}
		if got.stderr == "" || strings.Contains(got.stderr, secret) {
			t.Errorf("lapse %q printed %q", row.args, got.stderr)
		}
	}
}
