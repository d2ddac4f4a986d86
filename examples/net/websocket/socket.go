package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/seed-55daa01a/lapse"
)

// statusEnded is the close code for a token that is no good any more: the client has to
// sign in again. After any other code a client connects again with the same token.
const statusEnded websocket.StatusCode = 4001

// socket holds one connection for as long as its token lives. Before the upgrade a
// refusal is an ordinary answer, 401 or 503; after it, it is a close frame.
func (s *server) socket(w http.ResponseWriter, r *http.Request) {
	s.sockets.Add(1)
	defer s.sockets.Done()
	bearer, err := s.bearer(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	ctx, release := context.WithCancel(r.Context()) // the hold lasts as long as the connection
	defer release()
	hold, err := s.devices.Hold(ctx, bearer)
	if err != nil {
		s.fail(w, err)
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol}})
	if err != nil {
		return // Accept has answered, 403 to a page of another origin
	}
	defer conn.CloseNow()
	conn.SetReadLimit(4096)

	c := &connection{server: s, conn: conn, hold: hold, held: hold.Context(), self: hold.Token(), wake: make(chan struct{}, 1)}
	s.online.join(c)
	defer s.online.leave(c)
	defer context.AfterFunc(c.held, c.cut)()
	defer hold.WarnFunc(s.ttl/4, c.warn)()
	defer context.AfterFunc(s.stopping, func() { conn.Close(websocket.StatusGoingAway, "the server stops") })()
	go c.show(ctx)
	c.listen()
}

// connection is one socket of one device.
type connection struct {
	*server
	conn *websocket.Conn
	hold *lapse.Hold     // so the connection need not keep the bearer
	held context.Context // of hold; ends when the token's life does
	self lapse.Token
	wake chan struct{} // there is something new to show
}

// cut closes the connection of a token that has ended, and says why. It runs when held
// is done. Reads and writes do not end with held: the peer would see the connection vanish
// before cut has said why.
func (c *connection) cut() {
	c.online.leave(c) // nothing more is shown to it, however long it takes to close
	cause := context.Cause(c.held)
	if errors.Is(cause, lapse.ErrUnauthenticated) {
		c.log.Info("cut", "device", c.self.ID.String(), "name", c.self.Name, "reason", reason(cause))
		c.conn.Close(statusEnded, reason(cause))
		return
	}
	c.conn.Close(websocket.StatusTryAgainLater, "the server cannot tell just now") // its store was closed
}

// warn has the device shown how little is left of its token, when a quarter is: the page marks
// a device that is about to run out. Each renewal moves the warning.
func (c *connection) warn() {
	select {
	case c.wake <- struct{}{}:
	default: // show is awake already
	}
}

// listen does what the device asks for until the connection is closed. Every message
// is a use of the token: it renews the token, and is refused if the token has ended.
func (c *connection) listen() {
	ctx := context.Background() // Close, or the peer, ends it
	for {
		_, data, err := c.conn.Read(ctx)
		if err != nil {
			return
		}
		err = c.hold.Use(ctx)
		switch {
		case errors.Is(err, lapse.ErrUnauthenticated):
			continue // cut is on its way
		case err == nil:
			err = c.obey(ctx, data)
		}
		if err != nil {
			c.log.Error("asked in vain", "device", c.self.ID.String(), "err", err)
			c.send(failure{Error: "That did not work: try again."})
		}
	}
}

// obey does what a message asks for. A message that asks for nothing is only a use.
func (c *connection) obey(ctx context.Context, data []byte) error {
	var msg struct {
		Do string   `json:"do"`
		ID lapse.ID `json:"id"`
	}
	if err := json.Unmarshal(data, &msg); err != nil {
		c.conn.Close(websocket.StatusUnsupportedData, "want JSON")
		return nil
	}
	switch msg.Do {
	case "end":
		tok, err := c.devices.Token(ctx, msg.ID)
		if errors.Is(err, lapse.ErrNotFound) || err == nil && tok.Subject != c.self.Subject {
			return nil // swept, or of another person
		}
		if err == nil {
			_, err = c.devices.Expire(ctx, msg.ID)
		}
		return err
	case "end others":
		_, err := c.devices.ExpireSubject(ctx, c.self.Subject, c.self.ID)
		return err
	}
	return nil
}

// send sends v. It fails if the peer reads nothing for some seconds.
func (c *connection) send(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return c.conn.Write(ctx, websocket.MessageText, text)
}

// closeSockets closes every socket with 1001 and returns when all are gone. The caller
// accepts no new sockets any more.
func (s *server) closeSockets() {
	s.stop()
	s.sockets.Wait()
}
