// Package wire encodes what a file and its log hold: records, the mark, the state of the file,
// and groups of entries. Everything that it decodes carries a checksum, and nothing that is
// damaged panics.
package wire
