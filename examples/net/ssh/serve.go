package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-55daa01a/lapse"
)

const (
	loginGrace = 2 * time.Minute // in which a user types or pastes the token
	patience   = time.Second     // in which a peer reads the farewell, and hangs up
)

// What a peer is told. The texts are fixed: an error of lapse names the token and the instant of its end.
const (
	ended   = "The token is no good: log in with another one.\n"
	another = "The token is another user's.\n"
	later   = "The server cannot tell just now: keep the token, and try again.\n"
)

type server struct {
	tokens *lapse.Manager
	key    ssh.Signer
	after  func(time.Duration) <-chan time.Time
}

// serve accepts connections until ctx ends, and then ends all of them. It returns the error of l if l
// fails before that.
func serve(ctx context.Context, l net.Listener, s *server) error {
	ctx, stop := context.WithCancel(ctx)
	var connections sync.WaitGroup
	defer connections.Wait()
	defer stop()
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		connections.Go(func() {
			defer conn.Close()
			s.attend(ctx, conn)
		})
	}
}

type holdKey struct{} // of the *lapse.Hold in ssh.Permissions.ExtraData

// logIn is asked for each password. The connection is held by the token that the password is, until the
// token or ctx ends.
func (s *server) logIn(ctx context.Context, user, password string) (*ssh.Permissions, error) {
	hold, err := s.tokens.Hold(ctx, password)
	switch {
	case errors.Is(err, lapse.ErrUnauthenticated):
		return nil, &ssh.BannerError{Err: err, Message: ended}
	case err != nil:
		return nil, &ssh.BannerError{Err: err, Message: later}
	case hold.Token().Subject != user:
		hold.Release()
		return nil, &ssh.BannerError{Err: errors.New("wrong user"), Message: another}
	}
	return &ssh.Permissions{ExtraData: map[any]any{holdKey{}: hold}}, nil
}

// attend serves one peer. When its token ends, each of its sessions says so, and what the peer has not
// closed by then is closed after patience.
func (s *server) attend(ctx context.Context, raw net.Conn) {
	ctx, hangUp := context.WithCancel(ctx) // the hold ends with the connection
	defer hangUp()
	config := &ssh.ServerConfig{PasswordCallback: func(peer ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		return s.logIn(ctx, peer.User(), string(password))
	}}
	config.AddHostKey(s.key)
	raw.SetDeadline(time.Now().Add(loginGrace))
	keepOpen := context.AfterFunc(ctx, func() { raw.Close() }) // the server stops
	conn, channels, requests, err := ssh.NewServerConn(raw, config)
	if err != nil || !keepOpen() {
		return
	}
	raw.SetDeadline(time.Time{})
	go ssh.DiscardRequests(requests)
	hold := conn.Permissions.ExtraData[holdKey{}].(*lapse.Hold)
	defer context.AfterFunc(hold.Context(), func() { time.AfterFunc(patience, func() { raw.Close() }) })()

	var sessions sync.WaitGroup
	defer func() {
		hangUp()
		sessions.Wait()
	}()
	for asked := range channels { // until the connection is closed
		if asked.ChannelType() != "session" {
			asked.Reject(ssh.UnknownChannelType, "there are sessions here, and nothing else")
			continue
		}
		channel, requests, err := asked.Accept()
		if err != nil {
			return
		}
		sessions.Go(func() { s.session(hold, channel, requests) })
	}
}
