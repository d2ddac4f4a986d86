package lapse

import (
	"errors"
	"testing"
	"time"
)

// TestFault15_AWrongClockGivesNoGrace: a last use by a clock that was ahead is not good again, not
// even when time comes by its instant.
func TestFault15_AWrongClockGivesNoGrace(t *testing.T) {
	g := newGuarded(t, Config{})
	bearer := issueTo(t, g.Manager, Grant{Subject: "ana", TTL: 5 * time.Hour, MaxUses: 1, UseGrace: time.Minute}).Bearer
	if _, err := g.Authenticate(t.Context(), bearer); err != nil {
		t.Fatal(err)
	}
	g.tells("again", bearer, nil)
	g.machine.off -= 2 * time.Hour
	if err := g.AcceptClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 5 * 60 {
		g.machine.off += 30 * time.Second
		if _, err := g.Authenticate(t.Context(), bearer); !errors.Is(err, ErrRevoked) {
			t.Fatalf("%v after the clock was set right: %v", g.machine.off, err)
		}
	}
}
