package lapse_test

import (
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestFault18OrderOfIssue: a list is in the order in which issues began, and IssuedAt says
// when a token was stored: an issue that waited is listed first and was stored last.
func TestFault18OrderOfIssue(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	var second lapse.Issued
	f.store.Before(func(op storagetest.Op) {
		if op == opUpdate {
			f.store.Before(nil)
			f.clock.Add(time.Second)
			second = f.issue(lapse.Grant{Subject: "ana", Name: "second"})
			f.clock.Add(time.Second)
		}
	})
	first := f.issue(lapse.Grant{Subject: "ana", Name: "first"})
	listed, err := lapsetest.Collect(f.Tokens(f.ctx, "ana"))
	lapsetest.WantIs(t, "Tokens", err, nil)
	lapsetest.WantDiff(t, "the order in which they began", []lapse.Token{first.Token, second.Token}, listed)
	if !listed[1].IssuedAt.Equal(lapsetest.StartMilli.Add(time.Second)) || !listed[0].IssuedAt.Equal(lapsetest.StartMilli.Add(2*time.Second)) {
		t.Errorf("stored at %v and %v; want the second after a second and the first after two", listed[0].IssuedAt, listed[1].IssuedAt)
	}
}
