//go:build !linux

package log

// A write is durable after a sync here.
const (
	writeFlag     = 0
	writesThrough = false
)
