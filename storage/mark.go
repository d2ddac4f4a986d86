package storage

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Marker is what a Store may be besides: one that remembers how far time has come.
// Then no Manager that uses it goes back behind that, whatever the clock of the
// machine says after a restart. The clauses M1 to M5 of the package comment are part
// of this interface.
type Marker interface {
	// Marks returns the marks of this store, the same ones as long as it is open.
	Marks() *Marks
}

// MarkSharer is what a Store that keeps no marks may be: one whose Managers share
// marks as long as this process runs, and so see one time. Nothing of them is written,
// no Manager begins a new epoch, and a store that is a Marker need not be a MarkSharer.
type MarkSharer interface {
	// SharedMarks returns the same marks each time, which NewMarks has made of the zero
	// Mark and a nil due.
	SharedMarks() *Marks
}

// Mark is how far time has come. Instants are in UTC, to the millisecond.
type Mark struct {
	At     time.Time // no Manager has acted later
	Epoch  uint32    // how often the clock was found to have been wrong, and time began anew
	Since  time.Time // when this epoch began; zero for the first, or if the store has lost its mark
	Quiet  time.Time // until when nothing is to be swept; zero: no such instant
	Behind time.Time // what the clock said when Lag first found it behind At, as it still is; zero: it is not
}

// markEvery is how far a mark may be ahead of what is written of it.
const markEvery = time.Minute

// Marks is the Mark that the Managers of one store in one process share. It is safe
// for concurrent use. A store makes one with NewMarks, writes Mark with whatever it
// writes anyway, and says so with Saved.
//
// Whoever reads At before Epoch has no At of an epoch after that Epoch: a new epoch is
// told first and its instant then.
//
// Managers may differ in how far a clock may be behind At, and the strictest decides:
// Behind is set as soon as a clock is behind by more than the least tolerance that any
// of them has said, and cleared by a clock that is not. So a lenient Manager never ends
// what a strict one counts, and each counts from the same Behind, although it may have
// been idle when that was noted.
type Marks struct {
	at        atomic.Int64 // Unix milliseconds
	epoch     atomic.Uint32
	lagging   atomic.Bool  // behind is set
	saved     atomic.Int64 // the At that is written
	requested atomic.Bool  // that something is written
	due       func()

	mu                   sync.Mutex
	since, quiet, behind time.Time
	tolerance            time.Duration // the least that Lag was given; 0: none yet
	restarts             []*func()     // of OnRestart
}

// NewMarks returns marks that begin with what was written last, the zero Mark if
// nothing was. A store that finds its mark lost or damaged begins with an Epoch above
// that of each of its records, above 0, and no Since: the next Manager ends them all.
//
// due is called when the marks are a minute ahead of what is written, or when
// something has changed that must not wait for the next write. It must neither wait
// nor use the marks. nil for a store that writes nothing.
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

// Follow raises At from the instant it was read as to a later one, in Unix
// milliseconds, and reports whether it was that still.
func (m *Marks) Follow(seen, at int64) bool {
	if !m.at.CompareAndSwap(seen, at) {
		return false
	}
	if at-m.saved.Load() >= markEvery.Milliseconds() && !m.requested.Load() && m.requested.CompareAndSwap(false, true) {
		m.callDue()
	}
	return true
}

// Raise raises At to an instant in Unix milliseconds, if that is later and its epoch
// is the present one, and returns the At that there is then.
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

// Hush sets Quiet to an instant, if that is later.
func (m *Marks) Hush(until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if until.After(m.quiet) {
		m.quiet = until
		m.requestWrite()
	}
}

// Lag notes that the clock of a Manager says wall, which is behind At by so much, and
// how much of that the Manager tolerates, more than 0. It returns Behind as that was
// before. See Marks for what it is then; a clock that was set back further is noted again.
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

// Restart begins a new epoch at an instant, which may be earlier, unless somebody else
// has ended the given one already.
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

// OnRestart has f called whenever Restart has begun a new epoch, until stop is called.
// Like due, f must neither wait nor use the marks. stop may be called more than once.
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

// Saved says that written is kept by now.
func (m *Marks) Saved(written Mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.mark()
	m.saved.Store(written.At.UnixMilli())
	m.requested.Store(now.Epoch != written.Epoch || now.Since != written.Since || now.Quiet != written.Quiet ||
		now.At.Sub(written.At) >= markEvery)
}

// Unsaved reports whether something has been waiting since due was called for it.
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
