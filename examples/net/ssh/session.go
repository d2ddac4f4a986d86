package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-55daa01a/lapse"
)

// The exit status of a command, by sysexits.h.
const (
	statusEnded = 77 // EX_NOPERM
	statusLater = 75 // EX_TEMPFAIL
	statusUsage = 64 // EX_USAGE
)

var errUsage = errors.New("the commands are whoami, clock and logout")

// session runs the one command of a session, and tells the peer how it ended.
func (s *server) session(hold *lapse.Hold, channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	command, err := awaitCommand(hold.Context(), requests)
	if err == io.EOF {
		return
	}
	go ssh.DiscardRequests(requests)
	if err == nil {
		err = hold.Use(hold.Context()) // each command is a use of the token, and renews it
	}
	if err == nil {
		err = s.run(hold, channel, command)
	}
	text, status := farewell(err)
	io.WriteString(channel.Stderr(), text)
	channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
}

// farewell returns what a command that ended with err writes to the standard error, and its status.
func farewell(err error) (text string, status uint32) {
	switch {
	case err == nil:
		return "", 0
	case err == errUsage:
		return err.Error() + "\n", statusUsage
	case errors.Is(err, lapse.ErrUnauthenticated):
		return ended, statusEnded
	}
	return later, statusLater // the store could not tell, or the server stops
}

// awaitCommand returns the command that the peer asks for. The error is io.EOF if the peer asks for none,
// and the cause of held if held ends. There is no terminal and no shell here.
func awaitCommand(held context.Context, requests <-chan *ssh.Request) (string, error) {
	for {
		select {
		case <-held.Done():
			return "", context.Cause(held)
		case r, ok := <-requests:
			if !ok {
				return "", io.EOF
			}
			var exec struct{ Command string }
			good := r.Type == "shell" || r.Type == "exec" && ssh.Unmarshal(r.Payload, &exec) == nil
			r.Reply(good, nil)
			if good {
				return exec.Command, nil
			}
		}
	}
}

// run runs one command.
func (s *server) run(hold *lapse.Hold, out io.Writer, command string) error {
	held, tok := hold.Context(), hold.Token()
	switch command {
	case "whoami":
		fmt.Fprintf(out, "%s, %s\n", tok.Subject, tok.Name)
		return nil
	case "clock":
		return s.clock(held, out)
	case "logout": // everywhere, here too
		_, err := s.tokens.ExpireSubject(context.WithoutCancel(held), tok.Subject)
		return err
	}
	return errUsage
}

// clock writes the time each second, until held ends. It returns the cause of held.
func (s *server) clock(held context.Context, out io.Writer) error {
	for {
		if _, err := fmt.Fprintln(out, s.tokens.Now().Format(time.TimeOnly)); err != nil {
			return err // the peer has closed the session
		}
		select {
		case <-s.after(time.Second):
		case <-held.Done():
			return context.Cause(held)
		}
	}
}
