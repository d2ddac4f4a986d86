package main

import (
	"testing"

	"github.com/seed-55daa01a/lapse"
)

// session returns the one live session of a person.
func (s *scene) session(person string) lapse.Token {
	s.t.Helper()
	var found []lapse.Token
	for tok, err := range s.admin.List(s.t.Context(), lapse.Query{Subject: person, Live: true}) {
		if err != nil {
			s.t.Fatal(err)
		}
		found = append(found, tok)
	}
	if len(found) != 1 {
		s.t.Fatalf("%d sessions of %s", len(found), person)
	}
	return found[0]
}

// TestPage: a person logs in, asks the API, is told what is not allowed, refreshes and logs out.
func TestPage(t *testing.T) {
	s := newScene(t)
	p := s.open()
	p.logIn("ana", "x")
	p.Shows("notice", "That is not the password.")
	p.logIn("ana", "a")
	p.Shows("who", "ana")
	p.Shows("stream", "open")
	p.Click("delete")
	p.Shows("notice", "You may not do that.")
	p.Click("refresh")
	p.Shows("notice", "Refreshed.")
	tok := s.session("ana")
	if tok.Generation != 1 || tok.Client != "page" {
		t.Errorf("generation %d, client %q", tok.Generation, tok.Client)
	}
	p.Click("leave")
	p.Shows("notice", "Logged out.")
	if tok, err := s.admin.Token(t.Context(), tok.ID); err != nil || tok.EndReason != lapse.EndRevoked {
		t.Errorf("the session after the log-out: %v, %v", tok.EndReason, err)
	}
	p.logIn("root", "r")
	p.Shows("who", "root")
	p.Click("delete")
	p.Shows("notice", "")
}

// TestPageRefreshes: when its access text has died, the page refreshes once, by itself, and asks again.
func TestPageRefreshes(t *testing.T) {
	s := newScene(t)
	p := s.open()
	p.logIn("ana", "a")
	p.Shows("stream", "open")
	s.clock.Add(ttl) // which cuts the stream, too
	p.Click("ask")
	p.Until("document.getElementById('stream').textContent === 'open'")
	p.Until("document.getElementById('notice').textContent === ''")
	for s.session("ana").Generation == 0 { // the stream may still be the old one
		p.Until("true")
	}
	if tok := s.session("ana"); tok.Generation != 1 {
		t.Errorf("%d refreshes", tok.Generation)
	}
}

// TestPageIsSignedOut: an administrator ends the session, the stream ends at once, and the page says so.
func TestPageIsSignedOut(t *testing.T) {
	s := newScene(t)
	p := s.open()
	p.logIn("ana", "a")
	p.Shows("stream", "open")
	if ended, err := s.admin.ExpireSubject(t.Context(), "ana"); ended != 1 || err != nil {
		t.Fatal(ended, err)
	}
	p.Shows("notice", "The session has ended. Log in again.")
	if !p.Is("document.getElementById('inside').hidden") {
		t.Error("the page still shows what is inside")
	}
}
