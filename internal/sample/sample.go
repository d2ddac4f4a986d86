// Package sample shortens long tests, and runs them at full length with the flag -whole. Only tests
// import it.
package sample

import (
	"flag"
	"os"
	"runtime/debug"
)

var whole = flag.Bool("whole", false, "the long tests run at full length")

// Whole reports whether the flag -whole is set.
func Whole() bool { return *whole }

// Of returns short, or all with -whole.
func Of(all, short int) int {
	if *whole {
		return all
	}
	return short
}

// Every reports whether a test tries case n, counted from 0: each step-th, or all with -whole.
func Every(step, n int) bool { return *whole || n%step == 0 }

// Garbage lets the tests of a package leave more garbage before it is collected, up to 192 MiB. It
// is for packages whose tests make many small heaps. The variable GOGC of the environment comes first.
func Garbage() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
		debug.SetMemoryLimit(192 << 20)
	}
}
