package log

import "syscall"

// A write to a file that is open with writeFlag is durable when it returns.
const (
	writeFlag     = syscall.O_DSYNC
	writesThrough = true
)
