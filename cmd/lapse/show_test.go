package main

import (
	"testing"

	"github.com/seed-55daa01a/lapse"
)

// TestShowClient: show and its JSON say to which client a token was issued.
func TestShowClient(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		id := w.issue(lapse.Grant{Subject: "ana", Client: "app of the house"}).Token.ID
		w.lapse("", "show", id.String()).wants(t, 0, "Client           app of the house")
		w.lapse("", "show", "--json", id.String()).wants(t, 0, `"client":"app of the house"`)
	})
}
