// Package admin lets another program of the same user administer the tokens of a program that runs: list
// them, end them, watch them, make a backup. The file of storage/bolt can be open in one process alone,
// so such a program has to ask the process that has it. A program calls Server.Serve on a listener, and
// other programs call Dial. Nothing is open unless the program calls Serve.
//
// The protocol is JSON-RPC 2.0 over a Unix socket, one object a line; docs/admin.md in the repository
// describes it. No digest and no sealed text crosses, except inside a backup, which is the file itself.
// A bearer crosses in the answers of Issue, IssuePair and RotateID, and in the questions of Peek and
// ExpireBearer, and nowhere else.
//
// Errors of the verbs are those of package lapse, for errors.Is and errors.As, as if the Manager were in
// the same process.
package admin
