package main

import (
	"context"
	"fmt"
	"os"
	"os/user"

	"github.com/seed-55daa01a/lapse"
)

// noted has the flag of every verb that writes.
type noted struct {
	Note string `placeholder:"TEXT" help:"Why, for logs and for the records of ended tokens. Never a secret."`
}

// acting returns ctx with the user who runs the command, and with note. A program knows the user by
// itself, and takes the note alone.
func acting(ctx context.Context, note string) context.Context {
	return lapse.WithActor(ctx, lapse.Actor{Name: operator(), Note: note})
}

// operator names the user who runs the command.
func operator() string {
	u, err := user.Current()
	if err != nil {
		return fmt.Sprintf("uid %d", os.Getuid())
	}
	return fmt.Sprintf("uid %s (%s)", u.Uid, u.Username)
}
