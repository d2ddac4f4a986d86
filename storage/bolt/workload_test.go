package bolt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// plan is what a workload is told, in planEnv.
type plan struct {
	seed  uint64
	first int           // number of its first operation
	flush time.Duration // see flushEvery
	plant string        // what is wrong with it, or fault-free
	way   way
}

// way is how the groups of a workload reach the disk.
type way int

const (
	thenLog way = iota // in the log, once there have been some
	inLog              // in the log, all of them
	inTree             // in the file
	ways
)

func (w way) set(o *Options) { o.logAtOnce, o.NoLog = w == inLog, w == inTree }

const planEnv = "LAPSE_TEST_PLAN"

const (
	faultFree = "fault-free"
	noSync    = "no-sync" // nothing is synced to disk; always in the tree
	hasty     = "hasty"   // acknowledges before it writes
)

func (p plan) String() string {
	return fmt.Sprintln(p.seed, p.first, int64(p.flush), p.plant, int(p.way))
}

func planned() (p plan, err error) {
	_, err = fmt.Sscan(os.Getenv(planEnv), &p.seed, &p.first, &p.flush, &p.plant, &p.way)
	return p, err
}

// workload writes into a store until it is killed, and says what it begins and what
// came of it. Each of its owners alone issues, ends and renews the tokens of two
// subjects; one more goroutine touches everybody's, and sweeps.
type workload struct {
	plan
	store *Store
	mu    sync.Mutex // guards what is below, and the order of what is said
	next  int
	known []int // serials, for whoever touches
}

const owners = subjects / 2

// work is the workload's process.
func work(path string) {
	p, err := planned()
	if err != nil {
		fmt.Println(saidFailed, err)
		return
	}
	fmt.Println(saidOpening)
	opts, _ := flushEvery(p.flush)
	p.way.set(opts)
	s, err := Open(path, opts)
	if err != nil {
		fmt.Println(saidFailed, err)
		return
	}
	fmt.Println(saidOpened)
	if p.plant == noSync {
		s.tree.CommitTx = func(btx *bbolt.Tx) error {
			btx.DB().NoSync = true
			return btx.Commit()
		}
		s.tree.SyncDB = func(*bbolt.DB) error { return nil }
	}
	w := &workload{plan: p, store: s, next: p.first}
	for n := range owners {
		go w.own(rand.New(rand.NewPCG(p.seed, uint64(n))), n)
	}
	w.visit(rand.New(rand.NewPCG(p.seed, owners)))
}

// own is one owner, of the subjects n and n+owners.
func (w *workload) own(r *rand.Rand, n int) {
	alive := make(map[string][]int)
	for i := range subjects {
		for rec, err := range w.store.List(context.Background(), storage.Filter{Subject: subjectOf(i)}) {
			if err == nil && i%owners == n && rec.EndedAt.IsZero() {
				alive[rec.Subject] = append(alive[rec.Subject], serialOf(rec.ID))
			}
		}
	}
	for {
		whose := n + owners*r.IntN(2)
		theirs := alive[subjectOf(whose)]
		o := &operation{kind: doIssue, issues: 1 + r.IntN(3)}
		at := 0
		if len(theirs) > 0 {
			at = r.IntN(len(theirs))
			switch dice := r.IntN(100); {
			case dice < 2 || len(theirs) > 60:
				o = &operation{kind: doSubject, targets: theirs}
			case dice < 25:
				o = &operation{kind: doEnd, targets: theirs[at : at+1]}
			case dice < 45:
				o = &operation{kind: doRenew, targets: theirs[at : at+1]}
			case dice < 60:
				o = &operation{kind: doEvict, issues: 1, targets: theirs[at : at+1]}
			case dice < 65:
				o = &operation{kind: doDelete, issues: 1, targets: theirs[at : at+1]}
			case dice < 75:
				o = &operation{kind: doRotate, targets: theirs[at : at+1]}
			case dice < 80:
				o = &operation{kind: doCap, targets: theirs[at : at+1]}
			}
		}
		w.do(o, whose)
		if o.answer != saidDone {
			continue
		}
		var left []int
		for _, serial := range theirs {
			if o.kind != doSubject && (!o.ends() && o.kind != doDelete || serial != o.targets[0]) {
				left = append(left, serial)
			}
		}
		for i := range o.issues {
			left = append(left, o.serial(i))
		}
		alive[subjectOf(whose)] = left
	}
}

// visit is the one who owns nothing.
func (w *workload) visit(r *rand.Rand) {
	for {
		serial, ok := w.anyone(r)
		if !ok {
			runtime.Gosched() // until there is one
			continue
		}
		o := &operation{kind: doTouch}
		switch dice := r.IntN(100); {
		case dice < 8:
			o.kind = doSweep
		case dice < 30:
			o.kind = doFlush
		default:
			o.targets = []int{serial}
		}
		w.do(o, r.IntN(subjects))
	}
}

// anyone draws a record that was issued.
func (w *workload) anyone(r *rand.Rand) (serial int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.known) == 0 {
		return 0, false
	}
	return w.known[r.IntN(len(w.known))], true
}

// do runs o, which concerns the subject of a number that is whose in the count of
// subjects.
func (w *workload) do(o *operation, whose int) {
	w.mu.Lock()
	for w.next%subjects != whose {
		w.next++
	}
	o.number = w.next
	w.next++
	fmt.Println(o)
	if w.plant == hasty {
		fmt.Println(saidDone, o.number)
	}
	w.mu.Unlock()

	err := w.call(o)
	o.answer = classOf(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.answer == saidDone {
		for i := range o.issues {
			w.known = append(w.known, o.serial(i))
		}
	}
	if w.plant != hasty {
		fmt.Printf("%s %d %q\n", o.answer, o.number, fmt.Sprint(err))
	}
}

// errNothing is that of an operation whose record is ended or gone by now.
var errNothing = errors.New("nothing to do")

// classOf returns what an error of the store says of the write, and failed for an
// error of no class.
func classOf(err error) answer {
	switch {
	case err == nil:
		return saidDone
	case errors.Is(err, storage.ErrOutcomeUnknown):
		return saidUnknown
	case errors.Is(err, errNothing), errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrCorrupt):
		return saidRefused
	}
	return saidFailed
}

func (w *workload) call(o *operation) error {
	ctx := context.Background()
	switch o.kind {
	case doTouch:
		return w.store.Touch(ctx, record(o.targets[0]).ID, storage.Use{At: o.at(), ExpiresAt: o.expiry()})
	case doSweep:
		_, err := w.store.Sweep(ctx, o.deadBefore(), 50)
		return err
	case doFlush:
		if unsaved(w.store) > 0 {
			return errNothing
		}
		return nil
	}
	return w.store.Update(ctx, subjectOf(o.number), func(tx storage.Tx) error {
		for _, serial := range o.targets {
			if err := o.change(tx, serial); err != nil {
				return err
			}
		}
		for i := range o.issues {
			if err := tx.Put(issued(o.serial(i))); err != nil {
				return err
			}
		}
		return nil
	})
}

// change ends or renews one record. Of a whole subject, those that a sweep has
// deleted, or that are ended, are passed over.
func (o *operation) change(tx storage.Tx, serial int) error {
	r, err := tx.Get(record(serial).ID)
	switch {
	case errors.Is(err, storage.ErrNotFound) || err == nil && !r.EndedAt.IsZero():
		if o.kind == doSubject {
			return nil
		}
		return errNothing
	case err != nil:
		return err
	}
	switch {
	case o.ends():
		r.EndedAt, r.EndReason = o.at(), o.reason()
	case o.kind == doDelete:
		return tx.Delete(r.ID)
	case o.kind == doRotate:
		o.rotate(&r)
	case !r.MaxExpiresAt.IsZero():
		return errNothing
	case o.kind == doCap:
		r.ExpiresAt, r.MaxExpiresAt = o.limit(), o.limit()
	case r.ExpiresAt.Before(o.expiry()):
		r.ExpiresAt = o.expiry()
	}
	return tx.Put(r)
}
