package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/postgres"
)

// place says which tokens the command is about.
type place struct {
	File   string      `group:"where" placeholder:"PATH" predictor:"file" help:"The bbolt file. A program that has the file open is asked ($$LAPSE_FILE)."`
	Socket string      `group:"where" placeholder:"PATH" predictor:"file" help:"The socket of a program that calls admin.Serve ($$LAPSE_SOCKET)."`
	DSN    string      `group:"where" placeholder:"DSN" help:"The PostgreSQL database, without a password ($$LAPSE_DSN, which may have one)."`
	Schema string      `group:"where" default:"lapse" env:"LAPSE_SCHEMA" help:"The schema in that database."`
	Prefix string      `group:"where" placeholder:"PREFIX" env:"LAPSE_PREFIX" help:"Tokens whose texts begin with PREFIX; of any if not given."`
	clock  lapse.Clock `kong:"-"`
}

// need is what a verb needs of the tokens.
type need int

const (
	toRead    need = iota // a file alone is opened for reading only
	toWrite               // a file alone will do
	toWatch               // a database tells of changes, and a file alone has none
	toProgram             // only the program has the policy, the keys and the connections
)

// fromEnvironment completes p, if no flag says where the tokens are, and refuses two places.
func (p *place) fromEnvironment() error {
	if p.File == "" && p.Socket == "" && p.DSN == "" {
		p.File, p.Socket, p.DSN = os.Getenv("LAPSE_FILE"), os.Getenv("LAPSE_SOCKET"), os.Getenv("LAPSE_DSN")
	} else if hasPassword(p.DSN) {
		return usage("--dsn holds a password, which every user of this machine can read; put it into LAPSE_DSN or ~/.pgpass")
	}
	switch n := strings.Count(fmt.Sprint(p.File == "", p.Socket == "", p.DSN == ""), "false"); {
	case n == 0:
		return usage("which tokens? give --file PATH, --socket PATH or --dsn DSN, or set LAPSE_FILE, LAPSE_SOCKET or LAPSE_DSN")
	case n > 1:
		return usage("give one of --file, --socket and --dsn, and set one of LAPSE_FILE, LAPSE_SOCKET and LAPSE_DSN")
	}
	return nil
}

// hasPassword reports whether dsn holds a password, in the form of a URL or of key=value pairs.
func hasPassword(dsn string) bool {
	u, err := url.Parse(dsn)
	switch {
	case err != nil:
		return strings.Contains(dsn, "://") // one that cannot be read may have one
	case u.User != nil:
		if _, has := u.User.Password(); has {
			return true
		}
	}
	return strings.Contains(strings.ToLower(dsn), "password")
}

// open opens the tokens of p for a verb that needs n.
func (p *place) open(ctx context.Context, n need) (tokens, error) {
	if err := p.fromEnvironment(); err != nil {
		return nil, err
	}
	switch {
	case p.Socket != "":
		return p.dial(ctx, p.Socket)
	case p.DSN != "":
		return p.openDatabase(ctx, n)
	}
	return p.openFile(ctx, n)
}

// patience is how long a program may take to say hello.
var patience = 10 * time.Second

// dial connects to the program at the socket.
func (p *place) dial(ctx context.Context, path string) (tokens, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := admin.Dial(limited, path)
	switch {
	case err != nil && ctx.Err() == nil && limited.Err() != nil:
		return nil, fmt.Errorf("%w (%w)", inUseError(fmt.Sprintf("the program at %s has not answered for %v; stop it if it hangs", path, patience)), err)
	case err != nil:
		return nil, err
	}
	if p.Prefix != "" {
		client = client.Under(p.Prefix)
	}
	return client, nil
}

// openFile asks the program that has the file open, and opens the file if there is none.
func (p *place) openFile(ctx context.Context, n need) (tokens, error) {
	if _, err := os.Stat(p.File); err != nil {
		return nil, err
	}
	path, err := admin.DefaultPath(p.File)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	for try := 0; ; try++ { // the program may start or stop between the two
		var why error // the program did not answer
		if path != "" {
			t, err := p.dial(ctx, path)
			switch {
			case err == nil:
				return t, nil
			case ctx.Err() != nil, !errors.Is(err, lapse.ErrUnavailable):
				return nil, err
			case !errors.Is(err, admin.ErrNotRunning):
				why = err
			}
		}
		switch {
		case n < toWatch:
		case holder(p.File) != "":
			return nil, inUse(p.File, why)
		default:
			return nil, cmp.Or(why, errNeedsProgram)
		}
		store, err := bolt.Open(p.File, &bolt.Options{ReadOnly: n == toRead})
		switch {
		case err == nil:
			return newAlone(store, p.Prefix, p.clock)
		case !errors.Is(err, storage.ErrLocked) || ctx.Err() != nil:
			return nil, err
		case try == 1, why != nil:
			return nil, inUse(p.File, why)
		}
	}
}

// openDatabase opens the tokens of the database.
func (p *place) openDatabase(ctx context.Context, n need) (tokens, error) {
	if n == toProgram {
		return nil, fmt.Errorf("%w, and name its socket with --socket", errNeedsProgram)
	}
	store, err := postgres.Open(ctx, p.DSN, &postgres.Options{Schema: p.Schema})
	if err != nil {
		return nil, err
	}
	return newAlone(store, p.Prefix, p.clock)
}
