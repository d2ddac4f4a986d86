package storage

import (
	"context"
	"time"
)

// IDUpdater is an optional ability of a Store: an Update that starts from an ID (clause S35). Where a
// store is on another machine this saves the round trip that finds the subject. A wrapper with an
// Update of its own has an UpdateIDFor of its own.
type IDUpdater interface {
	// UpdateID is Update over the subject that the record of id has. The error is ErrNotFound if
	// there is no such record, and fn has not run then or its run has no effect.
	UpdateID(ctx context.Context, id ID, fn func(Tx) error) error

	// UpdateIDFor reports whether store is this IDUpdater itself. It returns false for a wrapper that
	// embeds the IDUpdater: such a wrapper may have an Update of its own, which UpdateID does not call.
	UpdateIDFor(store Store) bool
}

// Fitter is an optional ability of a Tx: it puts a new record within a limit without reading the
// records of the subject (clause S36).
type Fitter interface {
	// PutIfFits puts r, as Put does, and returns true if no record, damaged or not, has its ID, and
	// at most n records of the subject live at now. The records that this Tx created count among
	// them. Otherwise, and where it would have to read many records, it does nothing and returns
	// false. Then Get and Living decide.
	//
	// A store may return true before it has read anything, as the first call of a Tx alone. If the
	// commit finds that the record does not fit, the store runs fn again, with a Tx that knows.
	PutIfFits(r *Record, n int, now time.Time) bool
}

// Cacher is an optional ability of a Store: it has copies of records at hand that may be old, within a
// bound that the backend documents (clause S37). A Manager accepts a token by such a copy and never
// refuses one by it: for every refusal it calls Get, which reads past the copies.
type Cacher interface {
	// Cached returns the copy of the record of id, and whether there is one that may be used now. It
	// reads no other machine.
	Cached(id ID) (Record, bool)

	// CachedFor reports whether store is this Cacher itself. It returns false for a wrapper that
	// embeds the Cacher: such a wrapper may have a Get of its own, which Cached does not call.
	CachedFor(store Store) bool
}

// Timekeeper is an optional ability of a Store: it knows the clock of the engine, as a witness beside
// the clock of this machine (clause S38). A Manager takes the median of its own clock, that of the
// Timekeeper, and the time that it has counted itself: so one clock that is wrong moves no decision.
type Timekeeper interface {
	// Time returns the clock of the engine, carried on from the last answer by the time that has
	// elapsed here since then. The true reading differs from t by at most err, as far as the engine's
	// answer took time. ok is false before the first answer. Time does no I/O.
	Time() (t time.Time, err time.Duration, ok bool)
}

// Settings is an optional ability of a Store: it keeps what all processes that use it must agree on.
type Settings interface {
	// Setting stores value under name unless there is a value under name already, and returns the value
	// that is stored then. Both are text of at most 255 bytes.
	Setting(ctx context.Context, name, value string) (stored string, err error)
}
