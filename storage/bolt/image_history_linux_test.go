package bolt

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/seed-55daa01a/lapse/storage"
)

// recorded is the child whose calls are recorded: it takes a store through its life, from
// no file on, and ends as if it were killed.
const recorded = "recorded"

func init() { children[recorded] = imageHistory }

const saidNote = "note" // what follows is for the reader of a failure

// history plays the operations of a workload, so that each line it says comes from one
// writer at a time.
type history struct {
	*workload
	r     *rand.Rand
	alive map[string][]int
}

// imageHistory is the process of a recording. It opens the store five times: to make it,
// for one write, for many, for one, and to be killed.
func imageHistory(path string) {
	p, err := planned()
	if err != nil {
		fmt.Println(saidFailed, err)
		return
	}
	h := &history{workload: &workload{plan: p, next: p.first}, r: chance(p.seed, 0)}
	lives := []func(){
		func() { h.mix(12); h.large(4); h.mix(6) },
		func() { h.one() },
		func() { h.busy() },
		func() { h.one() },
		func() { h.mix(8) },
	}
	if p.first > 1 { // after a crash
		lives = []func(){func() { h.mix(4) }, func() { h.large(2) }}
	}
	for i, live := range lives {
		if !h.open(path) {
			return
		}
		live()
		if i < len(lives)-1 && !h.close() {
			return
		}
	}
}

func (h *history) open(path string) bool {
	fmt.Println(saidOpening)
	opts, _ := flushEvery(h.flush)
	s, err := Open(path, opts)
	if err != nil {
		fmt.Println(saidFailed, err)
		return false
	}
	fmt.Println(saidOpened)
	h.store, h.alive = s, make(map[string][]int)
	for rec, err := range s.List(context.Background(), storage.Filter{}) {
		if err == nil && rec.EndedAt.IsZero() {
			h.alive[rec.Subject] = append(h.alive[rec.Subject], serialOf(rec.ID))
		}
	}
	return true
}

// close closes the store, after which no Touch is left to be written.
func (h *history) close() bool {
	o := &operation{number: h.next, kind: doFlush}
	h.next++
	fmt.Println(o)
	if err := h.store.Close(); err != nil {
		fmt.Println(saidFailed, err)
		return false
	}
	fmt.Println(saidDone, o.number)
	return true
}

// one issues one record.
func (h *history) one() { h.do(&operation{kind: doIssue, issues: 1}, h.r.IntN(subjects)) }

// busy has enough written that the store merges, while it is copied, compacted, swept.
func (h *history) busy() {
	h.large(70)
	h.mix(10)
	h.beside("compact", func() error { return h.store.Compact(context.Background()) }, func() { h.mix(6) })
	h.beside("backup", func() error { return imageBackup(h.store) }, func() { h.mix(6) })
	h.crowd(40)
	h.wipe()
	h.large(70)
	h.do(&operation{kind: doSweep}, 0)
	h.mix(10)
}

// imageBackup writes a backup nowhere, by whichever of its signatures the store has.
func imageBackup(s *Store) error {
	var out bytes.Buffer
	switch s := any(s).(type) {
	case interface{ Backup(io.Writer) error }:
		return s.Backup(&out)
	case interface {
		Backup(context.Context, io.Writer) error
	}:
		return s.Backup(context.Background(), &out)
	}
	return fmt.Errorf("the store has no Backup")
}

// beside runs two things at the same time.
func (h *history) beside(name string, call func() error, ops func()) {
	fmt.Println(saidNote, name)
	var both sync.WaitGroup
	both.Go(func() {
		if err := call(); err != nil {
			fmt.Println(saidFailed, name, err)
		}
	})
	ops()
	both.Wait()
	fmt.Println(saidNote, name, "done")
}

// large issues n records that fill a page, one after the other.
func (h *history) large(n int) {
	for range n {
		h.mu.Lock()
		for h.next%29 != 0 {
			h.next++
		}
		whose := h.next % subjects
		h.mu.Unlock()
		h.act(&operation{kind: doIssue, issues: 1}, whose)
	}
}

// crowd issues from n goroutines at once.
func (h *history) crowd(n int) {
	var all sync.WaitGroup
	ops := make([]*operation, n)
	for i := range ops {
		ops[i] = &operation{kind: doIssue, issues: 1 + i%maxIssues}
		all.Go(func() { h.do(ops[i], i%subjects) })
	}
	all.Wait()
	for i, o := range ops {
		h.note(o, i%subjects)
	}
}

// wipe ends all of one subject.
func (h *history) wipe() {
	whose := h.r.IntN(subjects)
	h.act(&operation{kind: doSubject, targets: h.alive[subjectOf(whose)]}, whose)
}

// act runs o and takes note of what it did.
func (h *history) act(o *operation, whose int) {
	h.do(o, whose)
	h.note(o, whose)
}

// note keeps up which records of the subject are alive.
func (h *history) note(o *operation, whose int) {
	if o.answer != saidDone {
		return
	}
	subject := subjectOf(whose)
	if o.ends() || o.kind == doDelete {
		h.alive[subject] = slices.DeleteFunc(slices.Clone(h.alive[subject]), func(s int) bool { return slices.Contains(o.targets, s) })
	}
	for i := range o.issues {
		h.alive[subject] = append(h.alive[subject], o.serial(i))
	}
}

// mix runs n times a few operations of any kind at once, each on another subject, and one
// that belongs to none.
func (h *history) mix(n int) {
	for range n {
		var all sync.WaitGroup
		whose := h.r.Perm(subjects)[:1+h.r.IntN(3)]
		ops := make([]*operation, len(whose))
		for i, w := range whose {
			ops[i] = h.any(h.alive[subjectOf(w)])
			all.Go(func() { h.do(ops[i], w) })
		}
		if serial, ok := h.anyone(h.r); ok {
			o := &operation{kind: doTouch, targets: []int{serial}}
			switch h.r.IntN(8) {
			case 0:
				o = &operation{kind: doSweep}
			case 1, 2:
				o = &operation{kind: doFlush}
			}
			to := h.r.IntN(subjects)
			all.Go(func() { h.do(o, to) })
		}
		all.Wait()
		for i, w := range whose {
			h.note(ops[i], w)
		}
	}
}

// any draws an operation on the records of one subject.
func (h *history) any(theirs []int) *operation {
	if len(theirs) == 0 {
		return &operation{kind: doIssue, issues: 1 + h.r.IntN(maxIssues)}
	}
	at := h.r.IntN(len(theirs))
	o := &operation{targets: theirs[at : at+1]}
	switch dice := h.r.IntN(20); {
	case dice < 1:
		o.kind, o.targets = doSubject, theirs
	case dice < 5:
		o.kind = doEnd
	case dice < 8:
		o.kind = doRenew
	case dice < 10:
		o.kind, o.issues = doEvict, 1
	case dice < 12:
		o.kind, o.issues = doDelete, 1
	case dice < 14:
		o.kind = doRotate
	case dice < 15:
		o.kind = doCap
	default:
		o = &operation{kind: doIssue, issues: 1 + h.r.IntN(maxIssues)}
	}
	return o
}
