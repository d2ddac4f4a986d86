//go:build darwin || freebsd || linux

package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

const theEnd = "the end: EOF"

// TestLogoutCuts: a command of another process cuts the connections of the tokens that it ends, and
// no others.
func TestLogoutCuts(t *testing.T) {
	for _, row := range []struct {
		command string
		cut     []string
	}{
		{"logout --device laptop", []string{"laptop"}},
		{"logout --device laptop --all", []string{"laptop", "phone"}},
	} {
		t.Run(row.command, func(t *testing.T) {
			h := newHome(t)
			subjects := map[string]string{"laptop": "ana", "phone": "ana", "tv": "bob"}
			for device, subject := range subjects {
				h.must("login --device " + device + " " + subject)
			}
			d := h.startDaemon()
			clients := map[string]*client{}
			for device, subject := range subjects {
				clients[device] = d.connect(device)
				clients[device].mustHear("OK " + subject)
			}
			clients["phone"].say("COPY from the phone")
			clients["phone"].mustHear("OK")
			again := d.connect("laptop")
			again.mustHear("OK ana")
			h.must(row.command)
			for device, c := range clients {
				if slices.Contains(row.cut, device) {
					c.mustHear("BYE log in again", theEnd)
					continue
				}
				c.say("PASTE")
				c.mustHear(map[string]string{"phone": "OK from the phone", "tv": "OK "}[device])
			}
			again.mustHear("BYE log in again", theEnd)
			d.stop()
		})
	}
}

// TestClients: what a client says is answered, and each line is a use of its token.
func TestClients(t *testing.T) {
	h := newHome(t)
	h.must("login --device phone ana")
	d := h.startDaemon()
	for _, first := range []string{"", "PASTE", "HELLO", "HELLO lapse_1"} {
		d.connectWith(first).mustHear("BYE log in again", theEnd)
	}
	c := d.connect("phone")
	c.mustHear("OK ana")
	for _, row := range [][2]string{
		{"PASTE", "OK "}, {"COPY a  text", "OK"}, {"PASTE", "OK a  text"}, {"COPY", "OK"}, {"PASTE", "OK "},
		{"paste", "ERR say COPY and a text, or PASTE"}, {"", "ERR say COPY and a text, or PASTE"},
	} {
		c.say(row[0])
		c.mustHear(row[1])
	}
	hello := lastUse(t, h)
	for deadline := time.Now().Add(20 * time.Second); !lastUse(t, h).After(hello); { // a millisecond is enough
		if time.Now().After(deadline) {
			t.Fatal("a line is no use of the token")
		}
		c.say("PASTE")
		c.mustHear("OK ")
	}
	d.stop()
	c.mustHear("BYE try again later", theEnd)
	if got := mask(h.must("devices --device phone")); got != "DEVICE LAST USE LIVES UNTIL\nphone TIME TIME\n" {
		t.Errorf("after the daemon: %q", got)
	}
}

// lastUse asks the daemon for the last use of the one token that there is.
func lastUse(t *testing.T, h home) (at time.Time) {
	t.Helper()
	err := h.desktop().askDaemon(context.Background(), func(ctx context.Context, all tokens) (err error) {
		for tok, failed := range all.List(ctx, lapse.Query{}) {
			at, err = tok.LastUsedAt, errors.Join(err, failed)
		}
		return err
	})
	if err != nil || at.IsZero() {
		t.Fatalf("last use %v, %v", at, err)
	}
	return at
}
