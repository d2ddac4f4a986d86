package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// login makes the device one of the subject. A program with accounts would verify a password first.
func (d desktop) login(ctx context.Context, t tokens, subject string) error {
	switch own, err := d.token(ctx, t); {
	case err == nil:
		return fmt.Errorf("%s is a device of %s; log out first", own.Name, own.Subject)
	case !errors.Is(err, lapse.ErrUnauthenticated):
		return err
	}
	issued, err := t.Issue(ctx, lapse.Grant{Subject: subject, Name: d.device})
	if err != nil {
		return err
	}
	os.Remove(d.bearerFile()) // a text that is no good, in a file of any mode
	if err := os.WriteFile(d.bearerFile(), []byte(issued.Bearer+"\n"), 0o600); err != nil {
		_, ended := t.Expire(ctx, issued.ID)
		return errors.Join(err, ended)
	}
	fmt.Fprintf(os.Stderr, "%s is a device of %s now\n", issued.Name, issued.Subject)
	return nil
}

// whoami prints whose device this is.
func (d desktop) whoami(ctx context.Context, t tokens) error {
	own, err := d.token(ctx, t)
	if err == nil {
		_, err = fmt.Println(own.Subject)
	}
	return err
}

// devices prints a line for each device of the subject.
func (d desktop) devices(ctx context.Context, t tokens) error {
	own, err := d.token(ctx, t)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "DEVICE\tLAST USE\tLIVES UNTIL")
	for tok, err := range t.List(ctx, lapse.Query{Subject: own.Subject, Live: true}) {
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", tok.Name, when(tok.LastUsedAt), when(tok.ExpiresAt))
	}
	return table.Flush()
}

func when(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return at.Local().Format("2006-01-02 15:04")
}

// logout ends the token of the device, or with --all those of every device of the subject. A token that
// is no good ends no other.
func (d desktop) logout(ctx context.Context, t tokens) error {
	own, err := d.token(ctx, t)
	switch {
	case err != nil:
	case d.all:
		_, err = t.ExpireSubject(ctx, own.Subject)
	default:
		_, err = t.Expire(ctx, own.ID)
	}
	if err == nil {
		err = os.Remove(d.bearerFile())
	}
	return err
}

// token returns the token of the device. It renews nothing.
func (d desktop) token(ctx context.Context, t tokens) (lapse.Token, error) {
	bearer, err := os.ReadFile(d.bearerFile())
	if errors.Is(err, os.ErrNotExist) {
		return lapse.Token{}, fmt.Errorf("log in first: %w", lapse.ErrUnauthenticated)
	} else if err != nil {
		return lapse.Token{}, err
	}
	own, err := t.Peek(ctx, strings.TrimSpace(string(bearer)))
	if errors.Is(err, lapse.ErrUnauthenticated) {
		err = fmt.Errorf("log in again: %w", err)
	}
	return own, err
}

// bearerFile keeps the text of the device. No name of a device leads out of the directory.
func (d desktop) bearerFile() string {
	return filepath.Join(d.dir, url.PathEscape(d.device)+".token")
}
