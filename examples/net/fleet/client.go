package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"
)

// client is one connection to a server.
type client struct {
	net.Conn
	lines *bufio.Scanner
}

func dial(address string) (*client, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	return &client{conn, bufio.NewScanner(conn)}, nil
}

// read returns the next line.
func (c *client) read(wait time.Duration) (string, error) {
	c.SetReadDeadline(time.Now().Add(wait))
	if !c.lines.Scan() {
		if err := c.lines.Err(); err != nil {
			return "", err
		}
		return "", net.ErrClosed // by the server
	}
	return c.lines.Text(), nil
}

// ask sends a line and returns the answer, which must begin with want.
func (c *client) ask(line, want string) (string, error) {
	if _, err := fmt.Fprintln(c, line); err != nil {
		return "", err
	}
	got, err := c.read(2 * patience)
	if err == nil && !strings.HasPrefix(got, want) {
		err = fmt.Errorf("the answer is %q, not %s", got, want)
	}
	return got, err
}

// logIn returns a token that the server issues to a user.
func logIn(address, name string) (token string, err error) {
	c, err := dial(address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.ask("login "+name, "lapse_")
}

// hold opens a connection by a token. The answer must begin with want.
func hold(address, token, want string) (*client, error) {
	c, err := dial(address)
	if err != nil {
		return nil, err
	}
	if _, err := c.ask(token, want); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}
