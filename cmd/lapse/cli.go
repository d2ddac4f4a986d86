package main

import (
	"github.com/alecthomas/kong"
	mangokong "github.com/alecthomas/mango-kong"
	"github.com/willabides/kongplete"
)

const description = `Lists, ends and watches the tokens of a program that uses the library lapse.

The tokens are those of a bbolt file (--file), of a program that serves a socket (--socket), or of a PostgreSQL
database (--dsn). If a program has the file open, the command asks that program.`

var groups = []kong.Group{
	{Key: "look", Title: "Look:"},
	{Key: "change", Title: "Change:"},
	{Key: "store", Title: "The store as a whole:"},
	{Key: "where", Title: "Which tokens:"},
}

// cli is the grammar of the command.
type cli struct {
	place
	JSON    bool              `help:"Print JSON, one object a line." env:"LAPSE_JSON"`
	Version kong.VersionFlag  `help:"Print the version and exit."`
	Man     mangokong.ManFlag `help:"Print the man page and exit."`

	Ls       lsCommand       `cmd:"" group:"look" help:"List tokens."`
	Sessions sessionsCommand `cmd:"" group:"look" help:"List the live sessions of a subject: its devices."`
	Show     showCommand     `cmd:"" group:"look" help:"Show all that is known of a token."`
	Watch    watchCommand    `cmd:"" group:"look" help:"Print each change of a token as it happens."`
	Holds    holdsCommand    `cmd:"" group:"look" help:"List the tokens by which connections of the program are held."`
	Stats    statsCommand    `cmd:"" group:"look" help:"Print how many tokens there are, the state of the file, and the counters of the program."`
	Verify   verifyCommand   `cmd:"" group:"look" help:"Say whether the text of a token on standard input is good, and show the token. It counts as no use."`
	Scan     scanCommand     `cmd:"" group:"look" help:"Find texts of tokens in files or a stream, and end their tokens if asked to."`

	Issue   issueCommand   `cmd:"" group:"change" help:"Issue a token, and print its text, which is shown once."`
	Rotate  rotateCommand  `cmd:"" group:"change" help:"Give a token another text, and print that."`
	Revoke  revokeCommand  `cmd:"" group:"change" help:"End tokens, once and for good."`
	Logout  logoutCommand  `cmd:"" group:"change" help:"End all tokens of a subject, of every prefix."`
	Suspend suspendCommand `cmd:"" group:"change" help:"Have tokens refused until they are resumed."`
	Resume  resumeCommand  `cmd:"" group:"change" help:"Make suspended tokens good again."`
	Edit    editCommand    `cmd:"" group:"change" help:"Change the name, scope, expiry or uses of a token."`

	Sweep   sweepCommand   `cmd:"" group:"store" help:"Delete tokens that have been dead for long."`
	Backup  backupCommand  `cmd:"" group:"store" help:"Write a copy of the file, with all that is needed to restore the tokens."`
	Restore restoreCommand `cmd:"" group:"store" help:"Put a backup in the place of the file."`
	Compact compactCommand `cmd:"" group:"store" help:"Give the free pages of the file back."`
	Check   checkCommand   `cmd:"" group:"store" help:"Read every token, and say which are damaged."`

	Completions kongplete.InstallCompletions `cmd:"" help:"Make the shell complete the words of this command."`
}
