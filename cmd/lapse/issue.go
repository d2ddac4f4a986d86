package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
)

// issueCommand is `lapse issue`.
type issueCommand struct {
	Subject   string `arg:"" help:"Whose token."`
	Name      string `help:"Its name, for people."`
	Client    string `help:"The program or party that it is for, the client_id of OAuth."`
	Scope     string `help:"Its scope: words with one space between them."`
	TTL       span   `name:"ttl" placeholder:"DURATION" help:"How long it lives from now and from each renewal; of a session, each access text. The program's policy if not given."`
	Uses      int    `placeholder:"N" help:"How many uses it has in all; no limit if not given."`
	Data      string `placeholder:"PATH" predictor:"file" help:"The file with its data; - is standard input."`
	Pair      bool   `help:"Issue a session, and print its access text and its refresh text, one a line."`
	RequestID string `placeholder:"ID" help:"Your name for this request: the same command with the same ID makes no second token within 24 hours, and prints the same text if the program has keys (lapse.Config.Keys)."`
	noted
}

func (c *issueCommand) Run(a *app) error {
	g := lapse.Grant{Subject: c.Subject, Name: c.Name, Client: c.Client, Scope: c.Scope, TTL: time.Duration(c.TTL), MaxUses: c.Uses, RequestID: c.RequestID}
	var err error
	if g.Data, err = a.readData(c.Data); err != nil {
		return err
	}
	return a.asking(func(ctx context.Context, t *admin.Client) error {
		ctx = acting(ctx, c.Note)
		if c.Pair {
			pair, err := t.IssuePair(ctx, g)
			if err != nil {
				return lost(err, c.RequestID)
			}
			return a.hand(ctx, t, pair.Access.Issued, &pair.Refresh.Issued)
		}
		i, err := t.Issue(ctx, g)
		switch {
		case err != nil:
			return lost(err, c.RequestID)
		case i.Bearer == "":
			return fmt.Errorf("the token %v of this request exists, and its text cannot be printed again; lapse rotate gives it another one", i.ID)
		}
		return a.hand(ctx, t, i, nil)
	})
}

// lost returns err, and says what to do if a token may exist whose text is lost.
func lost(err error, request string) error {
	if !errors.Is(err, lapse.ErrOutcomeUnknown) {
		return err
	}
	if request != "" {
		return fmt.Errorf("run the same command again, with the same --request-id: %w", err)
	}
	return fmt.Errorf("a token may exist whose text is lost; look for it with lapse ls, revoke it, and use --request-id next time: %w", err)
}

// readData returns the data in the file at path, or "" if path is "".
func (a *app) readData(path string) (string, error) {
	switch path {
	case "":
		return "", nil
	case "-":
		return a.readAll(a.stdin)
	}
	f, err := openFile(a.ctx, path)
	if err != nil {
		return "", usage("--data: %w", err)
	}
	defer f.Close()
	return a.readAll(f)
}

// issuedJSON is an Issued as --json prints it, with its text.
type issuedJSON struct {
	Token    tokenJSON  `json:"token"`
	Bearer   string     `json:"bearer"`
	Evicted  []lapse.ID `json:"evicted,omitempty"`
	Existing bool       `json:"existing,omitempty"`
}

// hand prints the text of i, and of refresh if there is one, and tells the rest.
func (a *app) hand(ctx context.Context, t tokens, i lapse.Issued, refresh *lapse.Issued) error {
	now, err := t.Now(ctx)
	if err != nil {
		now = i.IssuedAt // the text is printed all the same: nothing else has it
	}
	signal.Ignore(syscall.SIGPIPE) // a reader that is gone would end the process before the next error is told
	if err := a.printTexts(now, i, refresh); err != nil {
		return fmt.Errorf("the text of the token %v is lost; revoke the token, or rotate it: %w", i.ID, err)
	}
	if a.json {
		return nil
	}
	if refresh != nil {
		i = *refresh // its expiry is that of the session, and it has Evicted
	}
	a.say("%v expires %s", i.ID, when(i.ExpiresAt, now))
	if n := len(i.Evicted); n > 0 {
		a.say("%s ended to make room: %v", counted(n, "token"), i.Evicted)
	}
	if i.Existing {
		a.say("the request had made this token before")
	}
	return nil
}

// printTexts prints the texts alone, or all in one object.
func (a *app) printTexts(now time.Time, i lapse.Issued, refresh *lapse.Issued) error {
	object := func(i *lapse.Issued) issuedJSON {
		return issuedJSON{toJSON(i.Token, now), i.Bearer, i.Evicted, i.Existing}
	}
	switch {
	case a.json && refresh != nil:
		return a.print(map[string]issuedJSON{"access": object(&i), "refresh": object(refresh)})
	case a.json:
		return a.print(object(&i))
	case refresh != nil:
		_, err := io.WriteString(a.stdout, i.Bearer+"\n"+refresh.Bearer+"\n")
		return err
	}
	_, err := io.WriteString(a.stdout, i.Bearer+"\n")
	return err
}
