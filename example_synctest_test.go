package lapse_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// docs/time.md shows the body of this test.
func TestSynctestExample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens, _ := lapse.New(memory.New(), lapse.Config{})
		issued, _ := tokens.Issue(t.Context(), lapse.Grant{Subject: "ana"})

		time.Sleep(30 * time.Minute) // takes no time
		_, err := tokens.Authenticate(t.Context(), issued.Bearer)
		if !errors.Is(err, lapse.ErrExpired) {
			t.Errorf("after 30 idle minutes: %v", err)
		}
	})
}
