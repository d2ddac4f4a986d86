// Package localfile opens, locks, names and replaces files on a local disk, so that a crash at
// any moment leaves the old file or the new one, and two processes never have the same file.
package localfile
