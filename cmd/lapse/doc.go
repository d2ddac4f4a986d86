// Command lapse lists, ends, issues and watches the tokens of a program that uses the library lapse: in a file
// of storage/bolt, in a program that calls admin.Serve, or in a PostgreSQL database. docs/command.md in the
// repository shows each verb.
//
// A verb has a command struct with its arguments, whose Run does the work. All of them reach the tokens
// through the interface tokens: an admin.Client, or the type alone for a store without its program.
package main
