package storage

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Marker is an optional ability of a Store: it remembers how far time has come. Within an epoch no
// Manager that uses such a Store goes back behind that instant, whatever the clock of the machine says
// after a restart. The clauses M1 to M5 of the package comment are part of this interface.
type Marker interface {
	// Marks returns the marks of this store, and the same ones as long as it is open.
	Marks() *Marks
}

// MarkSharer is an optional ability of a Store that keeps no marks. Its Managers share marks as
// long as this process runs, and so see one time. The store writes nothing of them, and no Manager
// begins a new epoch. A Store that is a Marker need not be a MarkSharer.
type MarkSharer interface {
	// SharedMarks returns the same marks each time. They were made by NewMarks with the zero Mark
	// and a nil due.
	SharedMarks() *Marks
}

// Mark says how far time has come. Instants are in UTC, to the millisecond.
type Mark struct {
	At     time.Time // no Manager has acted at a later instant of this epoch
	Epoch  uint32    // how often the clock was found wrong and a new epoch began
	Since  time.Time // when this epoch began; zero for the first epoch, or if the store has lost its mark
	Quiet  time.Time // nothing is to be swept before this instant; zero if sweeping is allowed
	Behind time.Time // what the clock said when Lag first found it behind At; zero if the clock is not behind
}

// markEvery is how far At may be ahead of the written At before the store is asked to write.
const markEvery = time.Minute

// Marks is the Mark that the Managers of one store in one process share. It is safe for concurrent
// use. A store makes one with NewMarks. It adds Mark to each of its writes, and calls Saved
// afterwards.
//
// A goroutine that reads At first and Epoch second never has an At of a later epoch than its Epoch:
// Restart sets the epoch first and the instant second.
//
// Managers may tolerate different lags of a clock behind At, and the strictest decides. Behind is
// set as soon as a clock is behind by more than the least tolerance that any Manager has given, and
// it is cleared by a clock that is not. So a lenient Manager never clears what a strict one counts
// from. Each Manager counts from the same Behind, even one that was idle when Behind was set.
type Marks struct {
	at        atomic.Int64 // Unix milliseconds
	epoch     atomic.Uint32
	lagging   atomic.Bool  // behind is set
	saved     atomic.Int64 // the At that the store has written
	requested atomic.Bool  // due was called, and Saved has not satisfied it yet
	due       func()

	mu                   sync.Mutex
	since, quiet, behind time.Time
	tolerance            time.Duration // the least tolerance that Lag was given; 0 if none yet
	restarts             []*func()     // the functions of OnRestart
	edits                []*func(ID)   // the functions of OnEdit
}

// NewMarks returns marks that begin with the Mark that was written last, or with the zero Mark if
// none was. A store that finds its mark lost or damaged gives a Mark without Since whose Epoch is
// above 0 and above that of each of its records: the next Manager then ends all those records.
//
// The marks call due when At is a minute ahead of the written At, or when a change must not wait
// for the next write. due must neither wait nor use the marks. A store that writes nothing passes
// nil.
func NewMarks(written Mark, due func()) *Marks {
	m := &Marks{due: due, since: written.Since, quiet: written.Quiet, behind: written.Behind}
	m.at.Store(written.At.UnixMilli())
	m.saved.Store(written.At.UnixMilli())
	m.epoch.Store(written.Epoch)
	m.lagging.Store(!written.Behind.IsZero())
	return m
}

// Mark returns how far time has come.
func (m *Marks) Mark() Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mark()
}

func (m *Marks) mark() Mark {
	at := time.UnixMilli(m.at.Load()).UTC()
	return Mark{At: at, Epoch: m.epoch.Load(), Since: m.since, Quiet: m.quiet, Behind: m.behind}
}

// At is Mark.At in Unix milliseconds.
func (m *Marks) At() int64 { return m.at.Load() }

// Epoch is Mark.Epoch.
func (m *Marks) Epoch() uint32 { return m.epoch.Load() }

// Follow raises At from seen, the value that the caller has read, to a later instant at, both in
// Unix milliseconds. It returns false and changes nothing if At differs from seen by now.
func (m *Marks) Follow(seen, at int64) bool {
	if !m.at.CompareAndSwap(seen, at) {
		return false
	}
	if at-m.saved.Load() >= markEvery.Milliseconds() && !m.requested.Load() && m.requested.CompareAndSwap(false, true) {
		m.callDue()
	}
	return true
}

// Raise raises At to an instant in Unix milliseconds, if that is later and epoch is the present
// one. It returns the At that is valid then.
func (m *Marks) Raise(at int64, epoch uint32) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		seen := m.at.Load()
		if epoch != m.epoch.Load() || at <= seen {
			return seen
		}
		if m.Follow(seen, at) {
			return at
		}
	}
}

// Hush sets Quiet to until, if that is later than Quiet.
func (m *Marks) Hush(until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if until.After(m.quiet) {
		m.quiet = until
		m.requestWrite()
	}
}

// Lag notes that the clock of a Manager says wall, which is behind At by the duration by.
// tolerance, above 0, is the lag that this Manager accepts. Lag returns the Behind from before the
// call. The comment of Marks says which Behind is set then. A clock that was set back further sets
// Behind again.
func (m *Marks) Lag(wall time.Time, by, tolerance time.Duration) (behind time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	behind = m.behind
	if m.tolerance == 0 || tolerance < m.tolerance {
		m.tolerance = tolerance
	}
	switch {
	case by <= m.tolerance:
		m.behind = time.Time{}
	case behind.IsZero() || wall.Before(behind):
		m.behind = wall
	}
	m.lagging.Store(!m.behind.IsZero())
	return behind
}

// Lagging reports whether Behind is set. It takes no lock.
func (m *Marks) Lagging() bool { return m.lagging.Load() }

// Restart begins a new epoch at an instant, which may be earlier than At, and sets Quiet. It
// returns false and changes nothing if epoch is not the present one: another Manager has ended that
// already.
func (m *Marks) Restart(at, quiet time.Time, epoch uint32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if epoch != m.epoch.Load() {
		return false
	}
	m.since, m.quiet, m.behind = at, quiet, time.Time{}
	m.lagging.Store(false)
	m.epoch.Add(1)
	m.at.Store(at.UnixMilli())
	m.requestWrite()
	for _, f := range m.restarts {
		(*f)()
	}
	return true
}

// OnRestart has the marks call f whenever Restart has begun a new epoch, until stop is called. Like
// due, f must neither wait nor use the marks. stop may be called more than once.
func (m *Marks) OnRestart(f func()) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mine := &f
	m.restarts = append(m.restarts, mine)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.restarts = slices.DeleteFunc(m.restarts, func(other *func()) bool { return other == mine })
	}
}

// Edited tells the functions of OnEdit that an Edit has changed the record of id, before it returns.
func (m *Marks) Edited(id ID) {
	m.mu.Lock()
	edits := slices.Clone(m.edits)
	m.mu.Unlock()
	for _, f := range edits {
		(*f)(id)
	}
}

// OnEdit has Edited call f, until stop is called. f may use the marks, and may be called a last time
// while stop runs. stop may be called more than once.
func (m *Marks) OnEdit(f func(id ID)) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mine := &f
	m.edits = append(m.edits, mine)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.edits = slices.DeleteFunc(m.edits, func(other *func(ID)) bool { return other == mine })
	}
}

// Saved tells the marks that the store has written the Mark written.
func (m *Marks) Saved(written Mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.mark()
	m.saved.Store(written.At.UnixMilli())
	m.requested.Store(now.Epoch != written.Epoch || now.Since != written.Since || now.Quiet != written.Quiet ||
		now.At.Sub(written.At) >= markEvery)
}

// Unsaved reports whether due was called for a change that is not written yet.
func (m *Marks) Unsaved() bool { return m.requested.Load() }

func (m *Marks) requestWrite() {
	m.requested.Store(true)
	m.callDue()
}

func (m *Marks) callDue() {
	if m.due != nil {
		m.due()
	}
}
