package storagetest

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Op is a method of storage.Store, or of storage.IDUpdater.
type Op uint8

// The methods of a Store, and UpdateID.
const (
	OpGet Op = 1 + iota
	OpTouch
	OpUpdate
	OpList
	OpSweep
	OpClose
	OpUpdateID
)

// String returns the method's name.
func (o Op) String() string {
	switch o {
	case OpGet:
		return "Get"
	case OpTouch:
		return "Touch"
	case OpUpdate:
		return "Update"
	case OpList:
		return "List"
	case OpSweep:
		return "Sweep"
	case OpClose:
		return "Close"
	case OpUpdateID:
		return "UpdateID"
	}
	return "unknown"
}

// Mode says how a call fails.
type Mode uint8

const (
	// FailBefore returns the error and has no effect.
	FailBefore Mode = 1 + iota

	// FailAfter has the effect, and returns the error instead of the answer. A call
	// that fails by itself returns its own error; for Update that is the error of fn.
	// List yields everything, then the error.
	FailAfter

	// Hang has no effect, waits until the context ends, and returns the context's
	// error. Close has no context and returns the injected error at once.
	Hang

	// Panic has no effect and panics with the error as its value.
	Panic
)

// String returns the mode's name.
func (m Mode) String() string {
	switch m {
	case FailBefore:
		return "FailBefore"
	case FailAfter:
		return "FailAfter"
	case Hang:
		return "Hang"
	case Panic:
		return "Panic"
	}
	return "unknown"
}

var (
	_ storage.Store     = (*Faulty)(nil)
	_ storage.IDUpdater = (*Faulty)(nil)
)

// Faulty is a store that passes each call on to another store, except calls that a
// test makes fail. It records calls, and a hook may delay them. It is safe for
// concurrent use. A call of List counts when its iteration starts.
//
// To test a fault in every place, move it along until it does not fire any more:
//
//	for n := 1; ; n++ {
//		f.Inject(n, storagetest.FailBefore, storage.ErrUnavailable)
//		... use f ...
//		if !f.Fired() {
//			break
//		}
//	}
type Faulty struct {
	store storage.Store

	mu    sync.Mutex
	hook  func(Op)
	calls []Op
	fault fault
	fired bool
}

// fault is the fault that waits for its call. There is none if mode is 0.
type fault struct {
	op   Op  // 0 for any method except Close
	in   int // which call of op it is, from now on; 1 is the next
	mode Mode
	err  error
}

func (f fault) concerns(op Op) bool {
	return f.mode != 0 && (f.op == op || f.op == 0 && op != OpClose)
}

// NewFaulty returns a Faulty in front of s, without a fault.
func NewFaulty(s storage.Store) *Faulty { return &Faulty{store: s} }

// Inject makes the n-th call from now fail once, as mode says. Calls to Close do not count. 1 or
// less means the next call. It replaces a fault that has not fired yet.
func (f *Faulty) Inject(n int, mode Mode, err error) { f.InjectOp(0, n, mode, err) }

// InjectOp is Inject for the n-th call from now to op, which may be OpClose. Calls
// to other methods do not count.
func (f *Faulty) InjectOp(op Op, n int, mode Mode, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.fired = fault{op, max(n, 1), mode, err}, false
}

// Fired reports whether the call that the last Inject chose has happened.
func (f *Faulty) Fired() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fired
}

// Calls returns the calls since NewFaulty or the last Reset, in order of their arrival. A call that
// the hook of Before still delays is not among them.
func (f *Faulty) Calls() []Op {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Reset forgets all calls, and a fault that has not fired yet. It keeps the hook.
func (f *Faulty) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls, f.fault, f.fired = nil, fault{}, false
}

// Before sets a hook that Faulty calls before each call, in the goroutine of the caller and with no
// lock held. The hook may wait for other calls to arrive, and it may use f. nil removes the hook.
func (f *Faulty) Before(hook func(Op)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// arrive records a call of op and returns the fault for it, if there is one.
func (f *Faulty) arrive(op Op) fault {
	f.mu.Lock()
	hook := f.hook
	f.mu.Unlock()
	if hook != nil {
		hook(op)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, op)
	if !f.fault.concerns(op) {
		return fault{}
	}
	if f.fault.in--; f.fault.in > 0 {
		return fault{}
	}
	hit := f.fault
	f.fault, f.fired = fault{}, true
	return hit
}

// before reports whether the call ends without an effect, and returns its error.
func (f fault) before(ctx context.Context) (error, bool) {
	switch f.mode {
	case FailBefore:
		return f.err, true
	case Hang:
		<-ctx.Done()
		return ctx.Err(), true
	case Panic:
		panic(f.err)
	}
	return nil, false
}

// after returns the error of a call that had its effect. err is the call's own error.
func (f fault) after(err error) error {
	if err == nil && f.mode == FailAfter {
		return f.err
	}
	return err
}

// Get implements storage.Store. It returns the store's errors (Err...) and the
// injected one.
func (f *Faulty) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	hit := f.arrive(OpGet)
	if err, failed := hit.before(ctx); failed {
		return storage.Record{}, err
	}
	r, err := f.store.Get(ctx, id)
	if err == nil && hit.mode == FailAfter {
		return storage.Record{}, hit.err
	}
	return r, err
}

// Touch implements storage.Store. It returns the store's errors (Err...) and the
// injected one.
func (f *Faulty) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	hit := f.arrive(OpTouch)
	if err, failed := hit.before(ctx); failed {
		return err
	}
	return hit.after(f.store.Touch(ctx, id, use))
}

// Update implements storage.Store. It returns the store's errors (Err...) and the
// injected one.
func (f *Faulty) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	hit := f.arrive(OpUpdate)
	if err, failed := hit.before(ctx); failed {
		return err
	}
	return hit.after(f.store.Update(ctx, subject, fn))
}

// UpdateID implements storage.IDUpdater, if the store is one. It returns the store's errors (Err...)
// and the injected one.
func (f *Faulty) UpdateID(ctx context.Context, id storage.ID, fn func(storage.Tx) error) error {
	hit := f.arrive(OpUpdateID)
	if err, failed := hit.before(ctx); failed {
		return err
	}
	return hit.after(f.store.(storage.IDUpdater).UpdateID(ctx, id, fn))
}

// UpdateIDFor implements storage.IDUpdater. It returns false if the store behind f is none.
func (f *Faulty) UpdateIDFor(store storage.Store) bool {
	u, ok := f.store.(storage.IDUpdater)
	return ok && u.UpdateIDFor(f.store) && store == storage.Store(f)
}

// List implements storage.Store. It returns the store's errors (Err...) and the
// injected one.
func (f *Faulty) List(ctx context.Context, filter storage.Filter) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		hit := f.arrive(OpList)
		if err, failed := hit.before(ctx); failed {
			yield(storage.Record{}, err)
			return
		}
		var own bool // the last pair had an error of the store itself
		for r, err := range f.store.List(ctx, filter) {
			own = err != nil && !errors.Is(err, storage.ErrCorrupt)
			if !yield(r, err) {
				return
			}
		}
		if hit.mode == FailAfter && !own {
			yield(storage.Record{}, hit.err)
		}
	}
}

// Sweep implements storage.Store. It returns the store's errors (Err...) and the
// injected one.
func (f *Faulty) Sweep(ctx context.Context, deadBefore time.Time, limit int) (int, error) {
	hit := f.arrive(OpSweep)
	if err, failed := hit.before(ctx); failed {
		return 0, err
	}
	n, err := f.store.Sweep(ctx, deadBefore, limit)
	if err == nil && hit.mode == FailAfter {
		return 0, hit.err
	}
	return n, err
}

// Close implements storage.Store. It returns the store's errors (Err...) and the error that
// InjectOp set for OpClose. After an injected error the store is still open, unless the mode is
// FailAfter.
func (f *Faulty) Close() error {
	hit := f.arrive(OpClose)
	if hit.mode == Hang {
		hit.mode = FailBefore
	}
	if err, failed := hit.before(context.Background()); failed {
		return err
	}
	return hit.after(f.store.Close())
}
