// Package recovery opens the file of a store and reads its records. It makes a file where there is
// none, reads the whole file before the file is trusted, judges whether the records are those that
// lapse wrote last, and applies the log of a process that crashed.
//
// File and log belong together in one of three ways. The state of the tree names the log, which has
// the groups since. The log names the state of the tree, from which the log goes on. Or the state
// says that the log is superseded. A log that is missing, or of another store or time, is damage,
// like a lost page. Damage is an error, unless Options.Repair passes it.
//
// Open first removes the new files that a crash has left beside the store, such as that of a
// Compact. It writes nothing else before it has found no damage, or has passed the damage. Then it
// converts a file of an earlier schema, makes a repaired file whole, and removes a log that the
// tree does not need.
package recovery
