// Ssh is an SSH server where the password is a token, and the session dies with the token. It serves
// commands of its own: whoami, clock and logout.
//
//	go run ./ssh        # in examples/net; prints a token, and how to log in with ssh
//
// Read serve.go: logIn holds the connection by the token, and farewell is what the peer is told at the
// end.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:2222", "listen on this `address`")
	key := flag.String("key", "host_key", "keep the host key in this `file`")
	ttl := flag.Duration("ttl", time.Minute, "how long a token lives from its last use")
	flag.Parse()
	if err := run(*addr, *key, *ttl); err != nil {
		fmt.Fprintln(os.Stderr, "ssh:", err)
		os.Exit(1)
	}
}

// run serves until it is interrupted.
func run(addr, keyFile string, ttl time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	key, err := hostKey(keyFile)
	if err != nil {
		return err
	}
	tokens, err := lapse.New(memory.New(), lapse.Config{Policy: lapse.Policy{TTL: ttl}})
	if err != nil {
		return err
	}
	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana", Name: "terminal"})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return err
	}
	fmt.Printf("The line of the server in known_hosts, key %s:\n%s\n", ssh.FingerprintSHA256(key.PublicKey()),
		knownhosts.Line([]string{l.Addr().String()}, key.PublicKey()))
	fmt.Printf("The password of %s is this token:\n%s\n", issued.Subject, issued.Bearer)
	fmt.Printf("Log in: ssh -p %s %s@%s clock     or whoami, or logout\n", port, issued.Subject, host)
	fmt.Printf("%v without a command, and the token runs out.\n", ttl)
	return serve(ctx, l, &server{tokens: tokens, key: key, after: time.After})
}
