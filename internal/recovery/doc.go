// Package recovery opens the file of a store, and finds out what it holds: it makes one where
// nothing is, reads the whole file before it is trusted, judges whether the records are those that
// lapse wrote last, and applies the log of a process that crashed.
//
// File and log belong together in one of these ways: the state of the tree names the log, which has
// what was written since; the log names the state of the tree, from which the log goes on; or the
// state says that the log is superseded. A log that is missing, or of another store or time, is
// damage, like a lost page. Damage is an error, unless Options.Repair passes it.
//
// Nothing is written before all of that is found in order, or passed. Then Open brings a file of an
// earlier schema over, makes a repaired one whole, and removes a log that the tree does not need.
package recovery
