package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/seed-55daa01a/lapse"
)

// client is a program at the other end of a socket.
type client struct {
	*websocket.Conn
	t testing.TB
}

// knock opens a socket, and returns the status of the answer.
func (s *scene) knock(query string, opts websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	conn, res, err := websocket.Dial(s.t.Context(), "ws"+strings.TrimPrefix(s.url, "http")+"socket"+query, &opts)
	if conn != nil {
		s.t.Cleanup(func() { conn.CloseNow() })
	}
	return conn, res, err
}

// dial opens a socket as a program does, with a header.
func (s *scene) dial(token string) client {
	s.t.Helper()
	conn, _, err := s.knock("", websocket.DialOptions{HTTPHeader: inHeader(token)})
	if err != nil {
		s.t.Fatal(err)
	}
	return client{conn, s.t}
}

func inHeader(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// until reads views until one is as wanted.
func (c client) until(wanted func(view) bool) view {
	c.t.Helper()
	for {
		_, text, err := c.Read(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		var v view
		if err := json.Unmarshal(text, &v); err != nil {
			c.t.Fatal(err)
		}
		if wanted(v) {
			return v
		}
	}
}

func (c client) view() view { return c.until(func(view) bool { return true }) }

// drain reads until the socket is closed, and returns the error that says how.
func (c client) drain() error {
	for {
		if _, _, err := c.Read(c.t.Context()); err != nil {
			return err
		}
	}
}

func (c client) say(what string, id lapse.ID) {
	c.t.Helper()
	text, _ := json.Marshal(map[string]any{"do": what, "id": id})
	if err := c.Write(c.t.Context(), websocket.MessageText, text); err != nil {
		c.t.Fatal(err)
	}
}

// again stops the server, which has then heard all that was said to it, and starts it.
func (s *scene) again(clients ...client) {
	s.t.Helper()
	for _, c := range clients {
		go c.drain() // or it would not answer the close frame
	}
	if err := s.stop(); err != nil {
		s.t.Fatal(err)
	}
	s.start()
}

// The three ways in which a token travels open the same socket.
func TestWaysIn(t *testing.T) {
	s := newScene(t)
	token := s.signIn("ana", "laptop")
	for name, way := range map[string]struct {
		query string
		opts  websocket.DialOptions
		spoke string
	}{
		"header":               {"", websocket.DialOptions{HTTPHeader: inHeader(token)}, ""},
		"header and protocol":  {"", websocket.DialOptions{HTTPHeader: inHeader(token), Subprotocols: []string{protocol}}, protocol},
		"subprotocol":          {"", websocket.DialOptions{Subprotocols: []string{protocol, token}}, protocol},
		"subprotocol, swapped": {"", websocket.DialOptions{Subprotocols: []string{token, protocol}}, protocol},
		"ticket":               {"?ticket=" + s.ticket(token), websocket.DialOptions{}, ""},
	} {
		conn, res, err := s.knock(way.query, way.opts)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if conn.Subprotocol() != way.spoke {
			t.Errorf("%s: the server answered with subprotocol %q, want %q", name, conn.Subprotocol(), way.spoke)
		}
		for key, values := range res.Header {
			if strings.Contains(strings.Join(values, " "), token) {
				t.Errorf("%s: the server echoes the token in %s", name, key)
			}
		}
		if v := (client{conn, t}).view(); v.Person != "ana" || len(v.Devices) != 1 || len(v.Ended) != 0 || v.Devices[0].ID != v.You || !v.Devices[0].Connected {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if strings.Contains(s.logged.String(), token) || strings.Contains(s.logged.String(), token[len(token)-50:]) {
		t.Error("the token was logged")
	}
}

// What is wrong with a token is said before the upgrade, and by its kind.
func TestKept(t *testing.T) {
	s := newScene(t)
	token := s.signIn("ana", "laptop")
	dead := s.signIn("ana", "phone")
	if _, err := s.srv.devices.ExpireBearer(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	spent := s.ticket(token)
	knock := func(name, query string, opts websocket.DialOptions, want int) {
		t.Helper()
		_, res, err := s.knock(query, opts)
		switch {
		case err == nil && want != http.StatusSwitchingProtocols:
			t.Errorf("%s: let in", name)
		case res == nil:
			t.Errorf("%s: %v", name, err)
		case res.StatusCode != want:
			t.Errorf("%s: status %d, want %d", name, res.StatusCode, want)
		}
	}
	none := websocket.DialOptions{}
	knock("no token", "", none, 401)
	knock("mistyped", "", websocket.DialOptions{HTTPHeader: inHeader(mistyped(token))}, 401)
	knock("ended", "", websocket.DialOptions{HTTPHeader: inHeader(dead)}, 401)
	knock("the protocol alone", "", websocket.DialOptions{Subprotocols: []string{protocol}}, 401)
	knock("the token in the URL", "?ticket="+token, none, 401)
	knock("ticket", "?ticket="+spent, none, 101)
	knock("ticket again", "?ticket="+spent, none, 401)
	knock("a ticket for a token", "", websocket.DialOptions{HTTPHeader: inHeader(spent)}, 401)
	one, other := s.ticket(token), s.ticket(token)
	text, _, _ := strings.Cut(one, ".")
	_, key, _ := strings.Cut(other, ".")
	knock("a ticket with another's key", "?ticket="+text+"."+key, none, 401)
	late := s.ticket(token)
	s.clock.Add(ticketTTL)
	knock("ticket at its expiry", "?ticket="+late, none, 401)
	elsewhere := inHeader(token)
	elsewhere.Set("Origin", "https://elsewhere.example")
	knock("another origin", "", websocket.DialOptions{HTTPHeader: elsewhere}, 403)

	s.store.Close()
	knock("a store that is closed", "", websocket.DialOptions{HTTPHeader: inHeader(token)}, 503)
	knock("a store that is closed, ticket", "?ticket="+other, none, 503)
	knock("a store that is closed, no token", "", none, 401)
}

// A ticket is worth nothing any more when what it was traded for has ended.
func TestTicketOfTheDead(t *testing.T) {
	s := newScene(t)
	token := s.signIn("ana", "laptop")
	ticket := s.ticket(token)
	if _, err := s.srv.devices.ExpireBearer(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if _, res, err := s.knock("?ticket="+ticket, websocket.DialOptions{}); err == nil || res.StatusCode != 401 {
		t.Errorf("let in: %v", err)
	}
}

// What ends a token closes its socket with 4001 and why, and the others stay.
func TestCut(t *testing.T) {
	for why, end := range map[string]func(s *scene, by client, id lapse.ID){
		"revoked": func(_ *scene, by client, id lapse.ID) { by.say("end", id) },
		"subject": func(_ *scene, by client, _ lapse.ID) { by.say("end others", lapse.ID{}) },
		"evicted": func(s *scene, by client, _ lapse.ID) {
			s.clock.Add(time.Second)
			by.say("use", lapse.ID{}) // or it would be the idlest itself
			by.until(func(v view) bool { return v.Devices[1].LastUsed == v.Now })
			s.dial(s.signIn("ana", "tablet")) // a device that is connected is in use, so all are
			s.signIn("ana", "watch")
		},
		"ran out": func(s *scene, by client, _ lapse.ID) {
			s.clock.Add(ttl - time.Second)
			by.say("use", lapse.ID{})
			by.until(func(v view) bool { return v.Devices[1].LastUsed == v.Now })
			s.clock.Add(time.Second)
		},
	} {
		t.Run(why, func(t *testing.T) {
			s := newScene(t)
			victim := s.dial(s.signIn("ana", "phone"))
			id := victim.view().You
			s.clock.Add(time.Millisecond)
			by := s.dial(s.signIn("ana", "laptop"))
			by.until(func(v view) bool { return len(v.Devices) == 2 && v.Devices[0].Connected && v.Devices[1].Connected })
			end(s, by, id)
			var got websocket.CloseError
			if err := victim.drain(); !errors.As(err, &got) || got.Code != statusEnded || got.Reason != why {
				t.Errorf("closed with %v; want 4001 and %q", err, why)
			}
			v := by.until(func(v view) bool { return len(v.Ended) > 0 })
			if d := v.Ended[0]; d.ID != id || d.Reason != why || d.EndedAt == 0 {
				t.Errorf("the other sees %+v", d)
			}
		})
	}
}

// A message slides the expiry, to the cap and no further; an open socket does not.
func TestUse(t *testing.T) {
	s := newScene(t)
	c := s.dial(s.signIn("ana", "laptop"))
	first := c.view().Devices[0]
	s.clock.Add(time.Minute)
	c.say("use", lapse.ID{})
	v := c.until(func(v view) bool { return v.Devices[0].Expires != first.Expires })
	if got := v.Devices[0]; got.Expires != first.Expires+time.Minute.Milliseconds() || got.Cap != first.Cap {
		t.Errorf("a minute later: %+v, first %+v", got, first)
	}
	for now := time.Minute; now < maxTTL-ttl; {
		now += 90 * time.Second
		s.clock.Add(90 * time.Second)
		c.say("use", lapse.ID{})
		v = c.until(func(v view) bool { return v.Devices[0].LastUsed == s.clock.Now().UnixMilli() })
	}
	if got := v.Devices[0].Expires; got != first.Cap {
		t.Errorf("at the cap it expires %v from it", time.Duration(got-first.Cap)*time.Millisecond)
	}
}

// Nobody sees or reaches another person's devices.
func TestStrangers(t *testing.T) {
	s := newScene(t)
	ana, bob := s.dial(s.signIn("ana", "laptop")), s.dial(s.signIn("bob", "laptop"))
	target := ana.view().You
	if v := bob.view(); slices.ContainsFunc(v.Devices, func(d device) bool { return d.ID == target }) {
		t.Error("bob sees ana's device")
	}
	bob.say("end", target)
	bob.say("end others", target)
	s.again(ana, bob)
	if tok, err := s.srv.devices.Token(t.Context(), target); err != nil || !tok.Live(s.clock.Now()) {
		t.Errorf("bob signed ana out: %v", err)
	}
}

// A socket whose store is gone is closed with a code that lets it come back.
func TestStoreCloses(t *testing.T) {
	s := newScene(t)
	c := s.dial(s.signIn("ana", "laptop"))
	s.store.Close()
	if code := websocket.CloseStatus(c.drain()); code != websocket.StatusTryAgainLater {
		t.Errorf("closed with %d, want 1013", code)
	}
}

// A device that was signed out, and does not answer the close frame, is not obeyed.
func TestTooLate(t *testing.T) {
	s := newScene(t)
	victim, by := s.dial(s.signIn("ana", "phone")), s.dial(s.signIn("ana", "laptop"))
	id, target := victim.view().You, by.view().You
	if _, err := s.srv.devices.Expire(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	victim.say("end", target)
	if code := websocket.CloseStatus(victim.drain()); code != statusEnded {
		t.Errorf("closed with %d, want 4001", code)
	}
	s.again(by)
	if tok, err := s.srv.devices.Token(t.Context(), target); err != nil || !tok.Live(s.clock.Now()) {
		t.Errorf("it signed the other one out: %v", err)
	}
}
