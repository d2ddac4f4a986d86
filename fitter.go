package lapse

// fitter is a storage.Tx that can see at a glance that a new record is no trouble, as
// those of memory and bolt can.
type fitter interface {
	// Fits reports whether there surely is no record of id, nor a damaged one, and no
	// more than n records of the subject that can be read. Where it says false, Get and
	// Records tell.
	Fits(id ID, n int) bool
}
