package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

type options struct {
	users int
	load  time.Duration
	chart string
}

const servers = 3

// user has one token, and a connection to each server.
type user struct {
	name  string
	token string
	conns [servers]*client
}

// story is the fleet and its users.
type story struct {
	out     io.Writer
	options options
	servers [servers]*process
	users   []*user
	begun   time.Time
	cuts    [servers][]time.Duration // of server n, by log-outs at server 0
}

// play starts the fleet, has it play the story, and stops it.
func play(ctx context.Context, out io.Writer, o options) (err error) {
	s := &story{out: out, options: o, begun: time.Now()}
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := database(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Stop("fast")) }()
	s.say("PostgreSQL listens on port %d", db.Port)
	for n := range s.servers {
		if s.servers[n], err = start(ctx, db.DSN()); err != nil {
			return err
		}
		defer s.servers[n].stop()
		s.say("server %d listens on %s", n+1, s.servers[n].address)
	}
	defer s.hangUp()
	for _, act := range []func() error{s.logIn, s.use, s.logOut, s.kill, s.draw} {
		if err := errors.Join(ctx.Err(), act()); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) say(format string, args ...any) {
	fmt.Fprintf(s.out, "%6.2f s  %s\n", time.Since(s.begun).Seconds(), fmt.Sprintf(format, args...))
}

func (s *story) hangUp() {
	for _, u := range s.users {
		for _, c := range u.conns {
			if c != nil {
				c.Close()
			}
		}
	}
}

// logIn has each user log in at one server, and connect to all of them with the token.
func (s *story) logIn() error {
	for n := range s.options.users {
		s.users = append(s.users, &user{name: fmt.Sprintf("user%d", n)})
	}
	err := each(s.users, func(n int, u *user) (err error) {
		if u.token, err = logIn(s.servers[n%servers].address, u.name); err != nil {
			return err
		}
		for m := range u.conns {
			if u.conns[m], err = hold(s.servers[m].address, u.token, "hello "+u.name); err != nil {
				return err
			}
		}
		return nil
	})
	s.say("%d users have logged in, each at one server, and hold %d connections at all three", len(s.users), servers*len(s.users))
	return err
}

// use has all users use their tokens at each server in turn.
func (s *story) use() error {
	uses := make([]int, len(s.users))
	until := time.Now().Add(s.options.load)
	err := each(s.users, func(n int, u *user) error {
		for m := 0; time.Now().Before(until); m++ {
			if _, err := u.conns[m%servers].ask("use", "ok"); err != nil {
				return err
			}
			uses[n]++
		}
		return nil
	})
	sum := 0
	for _, n := range uses {
		sum += n
	}
	s.say("%d messages in %v, each a use of a token", sum, s.options.load)
	return err
}

// logOut has every other user log out at server 1. The connections at the other servers are cut, and no
// server takes the token from then on.
func (s *story) logOut() error {
	var gone, left []*user
	for n, u := range s.users {
		if n%2 == 0 {
			gone = append(gone, u)
		} else {
			left = append(left, u)
		}
	}
	s.users = left
	for _, u := range gone {
		if err := s.logOutOne(u); err != nil {
			return fmt.Errorf("%s logs out: %w", u.name, err)
		}
	}
	for n := 1; n < servers; n++ {
		slices.Sort(s.cuts[n])
		s.say("%d users have logged out at server 1: server %d cut them after %v (median), %v at most", len(gone), n+1, s.cuts[n][len(gone)/2].Round(10*time.Microsecond), s.cuts[n][len(gone)-1].Round(10*time.Microsecond))
	}
	s.say("no server takes a token of theirs, and the %d other users are connected", len(left))
	return each(left, func(_ int, u *user) error {
		for _, c := range u.conns {
			if _, err := c.ask("use", "ok"); err != nil {
				return err
			}
		}
		return nil
	})
}

// logOutOne logs u out at server 1, and measures from the request to the cut at the others.
func (s *story) logOutOne(u *user) error {
	sent := time.Now()
	if _, err := u.conns[0].ask("logout", "bye: revoked"); err != nil {
		return err
	}
	var cut [servers]time.Duration
	err := each(u.conns[1:], func(n int, c *client) error {
		line, err := c.read(2 * patience)
		cut[n+1] = time.Since(sent)
		if err == nil && line != "bye: revoked" {
			err = fmt.Errorf("server %d says %q", n+2, line)
		}
		return err
	})
	for n := range u.conns {
		u.conns[n].Close()
		s.cuts[n] = append(s.cuts[n], cut[n])
		if c, refused := hold(s.servers[n].address, u.token, "bye: revoked"); refused != nil {
			err = errors.Join(err, refused)
		} else {
			c.Close()
		}
	}
	return err
}

// kill kills server 3. Its users connect to server 2 with the token that they have.
func (s *story) kill() error {
	s.servers[2].kill()
	s.say("server 3 was killed")
	err := each(s.users, func(_ int, u *user) error {
		if line, err := u.conns[2].read(patience); err == nil {
			return fmt.Errorf("a dead server says %q", line)
		}
		u.conns[2].Close()
		c, err := hold(s.servers[1].address, u.token, "hello "+u.name)
		if err != nil {
			return err
		}
		u.conns[2] = c
		_, err = c.ask("use", "ok")
		return err
	})
	s.say("its %d users are connected to server 2 with the tokens that they have; no user has logged in again", len(s.users))
	return err
}

// draw draws the chart, if one is wanted.
func (s *story) draw() error {
	if s.options.chart == "" {
		return nil
	}
	return os.WriteFile(s.options.chart, []byte(chart(s.cuts[1], s.cuts[2])), 0o644)
}

// each calls f for all of a slice at a time, and returns the first errors.
func each[T any](all []T, f func(n int, v T) error) error {
	errs := make([]error, len(all))
	var wait sync.WaitGroup
	for n, v := range all {
		wait.Go(func() { errs[n] = f(n, v) })
	}
	wait.Wait()
	err := errors.Join(errs...)
	if err != nil {
		if lines := strings.SplitN(err.Error(), "\n", 4); len(lines) == 4 {
			return fmt.Errorf("%s\nand more", strings.Join(lines[:3], "\n"))
		}
	}
	return err
}
