// Package wire encodes the contents of a file and its log: records, the mark, the state of the
// file, and groups of entries. It never panics over damaged bytes. A record, a mark and a state
// carry a checksum; the log has checksums of its own.
package wire
