package lapse

import (
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// fitter is a storage.Tx that can see at a glance that a new record is no trouble, as
// those of memory and bolt can.
type fitter interface {
	// PutIfFits is Put, if there surely is no record of that ID, nor a damaged one, and no
	// more than n records of the subject that live at now. Where it reports false it has
	// done nothing, and Get and Living tell why.
	PutIfFits(r *storage.Record, n int, now time.Time) bool
}
