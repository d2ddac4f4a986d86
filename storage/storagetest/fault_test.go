package storagetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

var errInjected = errors.New("injected")

// faulty returns an env whose store is a Faulty with one live and one due record.
func faulty(t *testing.T) (*Faulty, *env, []storage.Record) {
	t.Helper()
	f := NewFaulty(newToy())
	e := newEnv(t, Backend{Open: func(testing.TB) storage.Store { return f }})
	rs := []storage.Record{e.record("ana"), e.record("ana", expires(instant(1)))}
	if err := e.put(rs...); err != nil {
		t.Fatal(err)
	}
	f.Reset()
	return f, e, rs
}

// call calls op on e's store, so that every write has an effect on the records.
func call(ctx context.Context, e *env, op Op, r storage.Record) error {
	switch op {
	case OpGet:
		_, err := e.store.Get(ctx, r.ID)
		return err
	case OpTouch:
		return e.store.Touch(ctx, r.ID, storage.Use{At: r.LastUsedAt.Add(time.Hour)})
	case OpUpdate:
		return e.store.Update(ctx, r.Subject, puts(with(r, named("changed"))))
	case OpUpdateID:
		return e.store.(storage.IDUpdater).UpdateID(ctx, r.ID, puts(with(r, named("changed"))))
	case OpList:
		var last error
		for _, err := range e.store.List(ctx, storage.Filter{}) {
			last = err
		}
		return last
	case OpSweep:
		_, err := e.store.Sweep(ctx, instant(2), 10)
		return err
	}
	return e.store.Close()
}

func TestFaultyPassesTheSuite(t *testing.T) {
	Run(t, Backend{Open: func(testing.TB) storage.Store { return NewFaulty(memory.New()) }})
	Run(t, Backend{Open: func(testing.TB) storage.Store { return NewFaulty(newToy()) }})
}

func TestFaultModes(t *testing.T) {
	for op := OpGet; op <= OpUpdateID; op++ {
		for mode := FailBefore; mode <= Panic; mode++ {
			t.Run(op.String()+"_"+mode.String(), func(t *testing.T) {
				want := errInjected
				if mode == Hang && op != OpClose {
					want = context.Canceled
				}
				testFault(t, op, mode, want)
			})
		}
	}
}

func testFault(t *testing.T, op Op, mode Mode, want error) {
	f, e, rs := faulty(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if mode == Hang {
		f.Before(func(Op) { cancel() })
	}
	f.InjectOp(op, 1, mode, errInjected)
	err, panicked := recovered(func() error { return call(ctx, e, op, rs[0]) })
	if !errors.Is(err, want) || panicked != (mode == Panic) || !f.Fired() {
		t.Errorf("got error %v, panicked %t, fired %t; want error %v", err, panicked, f.Fired(), want)
	}
	unchanged := e.holds(rs...) == nil
	reads := op == OpGet || op == OpList
	if unchanged != (reads || mode != FailAfter) {
		t.Errorf("unchanged: %t", unchanged)
	}
	if err := call(t.Context(), e, op, rs[0]); err != nil {
		t.Errorf("the call after the fault: %v", err)
	}
}

// recovered returns the error of f, or that with which it panicked.
func recovered(f func() error) (err error, panicked bool) {
	defer func() {
		if p := recover(); p != nil {
			err, panicked = p.(error), true
		}
	}()
	return f(), false
}

func TestFaultHangsUntilTheContextEnds(t *testing.T) {
	f, e, rs := faulty(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.Inject(1, Hang, nil)
	_, done := underway(func() error { return call(ctx, e, OpUpdate, rs[0]) })
	if within(done) {
		t.Error("it did not hang")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestFaultComesAtTheNthCall(t *testing.T) {
	f, e, rs := faulty(t)
	all := []Op{OpGet, OpTouch, OpUpdate, OpList, OpSweep, OpUpdateID}
	for n := 1; ; n++ {
		f.Inject(n, FailBefore, errInjected)
		var failed []Op
		for _, op := range all {
			if call(t.Context(), e, op, rs[0]) != nil {
				failed = append(failed, op)
			}
		}
		if !f.Fired() {
			if n != len(all)+1 || failed != nil {
				t.Errorf("n=%d: not fired, yet %v failed", n, failed)
			}
			break
		}
		if !slices.Equal(failed, all[n-1:n]) {
			t.Errorf("n=%d: %v failed", n, failed)
		}
	}
}

func TestFaultSparesClose(t *testing.T) {
	f, e, rs := faulty(t)
	f.Inject(0, FailBefore, errInjected)
	if err := f.Close(); err != nil || f.Fired() {
		t.Errorf("Close: %v, fired %t", err, f.Fired())
	}
	if err := call(t.Context(), e, OpGet, rs[0]); err != errInjected || !f.Fired() {
		t.Errorf("the next call: %v, fired %t", err, f.Fired())
	}
}

func TestFaultOfOneOp(t *testing.T) {
	f, e, rs := faulty(t)
	f.InjectOp(OpTouch, 2, FailBefore, errInjected)
	for _, c := range []struct {
		op   Op
		want error
	}{{OpTouch, nil}, {OpGet, nil}, {OpUpdate, nil}, {OpTouch, errInjected}, {OpTouch, nil}} {
		if err := call(t.Context(), e, c.op, rs[0]); err != c.want {
			t.Errorf("%s: got %v, want %v", c.op, err, c.want)
		}
	}
}

func TestFaultAfterAnErrorOfItsOwn(t *testing.T) {
	f, e, rs := faulty(t)
	f.Inject(1, FailAfter, errInjected)
	if err := e.update("ana", func(storage.Tx) error { return errNo }); err != errNo || !f.Fired() {
		t.Errorf("Update: %v, fired %t", err, f.Fired())
	}
	f.Inject(1, FailAfter, errInjected)
	if err := e.lacks(e.record("ana")); err != nil || !f.Fired() {
		t.Error(err)
	}
	f.Inject(1, FailAfter, errInjected)
	got, err := e.list(storage.Filter{})
	if diff := cmp.Diff(rs, got); !errors.Is(err, errInjected) || diff != "" {
		t.Errorf("List: %v (-want +got):\n%s", err, diff)
	}
}

func TestFaultyCountsAndForgets(t *testing.T) {
	f, e, rs := faulty(t)
	unused := f.List(t.Context(), storage.Filter{})
	for _, op := range []Op{OpList, OpSweep, OpGet} {
		call(t.Context(), e, op, rs[0])
	}
	if diff := cmp.Diff([]Op{OpList, OpSweep, OpGet}, f.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	f.Inject(1, FailBefore, errInjected)
	f.Reset()
	if len(f.Calls()) != 0 {
		t.Errorf("calls after Reset: %v", f.Calls())
	}
	for _, err := range unused {
		if err != nil {
			t.Errorf("the fault outlived Reset: %v", err)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]Op{OpList, OpClose}, f.Calls()); diff != "" || f.Fired() {
		t.Errorf("fired %t, calls (-want +got):\n%s", f.Fired(), diff)
	}
}

// The hook holds readers until all of them are there, which is what it is for.
func TestFaultyHookHoldsCallers(t *testing.T) {
	f, e, rs := faulty(t)
	const readers = 4
	arrived, open := make(chan struct{}, readers), make(chan struct{})
	f.Before(func(op Op) {
		if op == OpGet {
			arrived <- struct{}{}
			<-open
		}
	})
	f.InjectOp(OpGet, readers, FailBefore, errInjected)
	_, done := underway(func() error {
		return together(readers, func(int) error { return call(t.Context(), e, OpGet, rs[0]) })
	})
	for range readers {
		<-arrived
	}
	if err := call(t.Context(), e, OpTouch, rs[0]); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]Op{OpTouch}, f.Calls()); diff != "" {
		t.Errorf("calls while readers are held (-want +got):\n%s", diff)
	}
	close(open)
	if err := <-done; !errors.Is(err, errInjected) || len(f.Calls()) != 1+readers {
		t.Errorf("got %v after %v", err, f.Calls())
	}
}

func TestNamesOfOpsAndModes(t *testing.T) {
	var names []string
	for op := range OpUpdateID + 2 {
		names = append(names, op.String())
	}
	for mode := range Panic + 2 {
		names = append(names, mode.String())
	}
	want := []string{"unknown", "Get", "Touch", "Update", "List", "Sweep", "Close", "UpdateID", "unknown",
		"unknown", "FailBefore", "FailAfter", "Hang", "Panic", "unknown"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
