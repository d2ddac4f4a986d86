// Package lapsetest holds what the tests of several packages share: a clock that is stepped,
// gates for races, comparisons, and a store with one fault. Only tests import it.
package lapsetest
