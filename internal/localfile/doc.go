// Package localfile opens, locks, names and replaces files on a local disk. A crash at any moment
// leaves the old file or the new one, and two processes never write to the same file.
package localfile
