package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// replacement is a verb that gives a bearer in the place of another one, on tokens for
// which it has everything to do that it can.
type replacement struct {
	name  string
	keys  []byte
	ready func(f *fixture) (old string, do doing)
	tells []lapse.EventKind // without a fault
	again error             // what a second call says after the first has had its effect
	works bool              // the old text works after that
	calls int               // inside its transaction, at least
}

var replacePolicy = lapse.Policy{MaxTokens: 3, AtLimit: lapse.LimitEndOldest}

type doing = func(ctx context.Context, m *lapse.Manager) (lapse.Issued, error)

func obtaining(g lapse.Grant) doing {
	return func(ctx context.Context, m *lapse.Manager) (lapse.Issued, error) { return m.Obtain(ctx, g) }
}

func rotating(bearer string, overlap time.Duration) doing {
	return func(ctx context.Context, m *lapse.Manager) (lapse.Issued, error) {
		return m.Rotate(ctx, bearer, overlap)
	}
}

// withDelegates has the token of bearer delegate to one that delegates to another.
func (f *fixture) withDelegates(i lapse.Issued) lapse.Issued {
	f.t.Helper()
	f.delegate(f.delegate(i, lapse.Grant{}), lapse.Grant{})
	return i
}

var (
	evEnded, evIssued, evRotated = lapse.EventEnded, lapse.EventIssued, lapse.EventRotated
	forAna                       = lapse.Grant{Subject: "ana"}
)

var replacements = []replacement{
	{"Obtain a new one", []byte{1}, func(f *fixture) (string, doing) {
		f.issue(forAna)
		f.issue(forAna)
		return "", obtaining(forAna)
	}, []lapse.EventKind{evEnded, evIssued}, nil, false, 4},
	{"Obtain the same", []byte{1}, func(f *fixture) (string, doing) {
		return obtain(f.t, f, f.Manager, forAna).Bearer, obtaining(forAna)
	}, []lapse.EventKind{lapse.EventRenewed}, nil, true, 2},
	{"Obtain for a retired key", []byte{2}, func(f *fixture) (string, doing) {
		old := f.withDelegates(obtain(f.t, f, f.Manager, forAna))
		return old.Bearer, obtaining(forAna)
	}, []lapse.EventKind{evEnded, evEnded, evRotated}, nil, false, 8},
	{"Rotate", []byte{1}, func(f *fixture) (string, doing) {
		old := f.withDelegates(f.issue(forAna))
		return old.Bearer, rotating(old.Bearer, time.Minute)
	}, []lapse.EventKind{evRotated}, nil, true, 2},
	{"Rotate what was obtained", []byte{1}, func(f *fixture) (string, doing) {
		old := obtain(f.t, f, f.Manager, forAna)
		return old.Bearer, rotating(old.Bearer, time.Minute)
	}, []lapse.EventKind{evRotated}, nil, true, 2},
	{"Rotate at once", nil, func(f *fixture) (string, doing) {
		old := f.withDelegates(f.issue(forAna))
		return old.Bearer, rotating(old.Bearer, 0)
	}, []lapse.EventKind{evEnded, evEnded, evRotated}, lapse.ErrReplaced, false, 8},
	{"Rotate again", nil, func(f *fixture) (string, doing) {
		old := f.issue(forAna)
		rotate(f.t, f, old.Bearer, time.Hour)
		return old.Bearer, rotating(old.Bearer, time.Minute)
	}, nil, nil, true, 1},
	{"Rotate at once with the previous text", nil, func(f *fixture) (string, doing) {
		old := f.withDelegates(f.issue(forAna))
		rotate(f.t, f, old.Bearer, time.Hour)
		return old.Bearer, rotating(old.Bearer, 0)
	}, []lapse.EventKind{evEnded, evEnded, evRotated}, lapse.ErrReplaced, false, 8},
	{"Rotate in an overlap", nil, func(f *fixture) (string, doing) {
		next := rotate(f.t, f, f.issue(forAna).Bearer, time.Hour)
		return next.Bearer, rotating(next.Bearer, time.Minute)
	}, []lapse.EventKind{evRotated}, nil, true, 2},
	{"Rotate a delegate", nil, func(f *fixture) (string, doing) {
		old := f.delegate(f.issue(forAna), lapse.Grant{})
		return old.Bearer, rotating(old.Bearer, time.Minute)
	}, []lapse.EventKind{evRotated}, nil, true, 3},
	{"RotateID", nil, func(f *fixture) (string, doing) {
		old := f.withDelegates(f.issue(forAna))
		return old.Bearer, func(ctx context.Context, m *lapse.Manager) (lapse.Issued, error) {
			return m.RotateID(ctx, old.ID, time.Minute)
		}
	}, []lapse.EventKind{evRotated}, nil, true, 2},
}

// scene has everything ready, the clock a little later, and a Manager for r on store.
func (r *replacement) scene(t *testing.T, over func(f *fixture) storage.Store) (f *fixture, m *lapse.Manager, old string, do doing) {
	t.Helper()
	f = newFixture(t, keyed(replacePolicy, 1))
	f.issue(lapse.Grant{Subject: "ana", TTL: 10 * time.Minute}) // the oldest
	f.clock.add(time.Second)
	old, do = r.ready(f)
	f.clock.add(time.Second)
	cfg := keyed(replacePolicy, r.keys...)
	cfg.Clock = f.clock
	cfg.Observe = func(_ context.Context, e lapse.Event) { f.events = append(f.events, e) }
	m, err := lapse.New(over(f), cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.events = nil
	f.store.Reset()
	return f, m, old, do
}

func itself(f *fixture) storage.Store { return f.store }

// TestReplacementFaults fails each call to the store of Obtain, Rotate and RotateID, in
// each way: nothing has happened, or the error says that it may have. Then the same again
// gives one text that works; without an overlap it may say that the old one was replaced.
func TestReplacementFaults(t *testing.T) {
	for _, r := range replacements {
		f, m, _, do := r.scene(t, itself)
		if _, err := do(f.ctx, m); err != nil {
			t.Fatalf("%s without a fault: %v", r.name, err)
		}
		wantDiff(t, r.name+": events", r.tells, f.kinds())
		calls := f.store.Calls()
		for n := range calls {
			for _, fault := range []struct {
				mode      storagetest.Mode
				err, want error
			}{
				{storagetest.FailBefore, storage.ErrUnavailable, lapse.ErrUnavailable},
				{storagetest.FailBefore, errDisk, lapse.ErrUnavailable},
				{storagetest.FailBefore, storage.ErrClosed, lapse.ErrClosed},
				{storagetest.FailBefore, storage.ErrCorrupt, lapse.ErrCorrupt},
				{storagetest.FailAfter, storage.ErrOutcomeUnknown, lapse.ErrOutcomeUnknown},
				{storagetest.Hang, nil, context.Canceled},
			} {
				t.Run(fmt.Sprintf("%s/%v %d/%v %v", r.name, calls[n], n, fault.mode, fault.err), func(t *testing.T) {
					f, m, old, do := r.scene(t, itself)
					before := f.contents()
					f.store.Reset()
					f.store.Inject(n+1, fault.mode, fault.err)
					ctx, cancel := context.WithCancel(f.ctx)
					defer cancel()
					left := n
					f.store.Before(func(opOf) {
						if left--; left < 0 && fault.mode == storagetest.Hang {
							cancel() // as the call that hangs arrives
						}
					})
					got, err := do(ctx, m)
					f.store.Before(nil)
					if !f.store.Fired() {
						t.Fatal("the fault did not happen")
					}
					f.wantNothing(t, got, err, fault.want)
					happened := fault.mode == storagetest.FailAfter && calls[n] == opUpdate
					if !happened {
						wantDiff(t, "contents", before, f.contents())
					}
					f.wantDoneBy(t, &r, m, old, do, happened)
				})
			}
		}
	}
}

// wantNothing: the verb failed as want says, and gave and told of nothing.
func (f *fixture) wantNothing(t *testing.T, got lapse.Issued, err, want error) {
	t.Helper()
	wantIs(t, "error", err, want)
	if errors.Is(err, lapse.ErrUnauthenticated) || errors.Is(err, lapse.ErrRotated) || errors.Is(err, lapse.ErrLimit) {
		t.Errorf("a fault of the store reads as a verdict: %v", err)
	}
	if got.Bearer != "" || len(f.events) != 0 {
		t.Errorf("it failed, and yet gave a bearer (%v) and told of %+v", got.Bearer != "", f.events)
	}
}

// wantDoneBy calls the verb once more, after one call that may have had its effect: the
// client has one text that works, or is told that its own was replaced. The old text works
// where the verb leaves it an overlap.
func (f *fixture) wantDoneBy(t *testing.T, r *replacement, m *lapse.Manager, old string, do doing, happened bool) {
	t.Helper()
	got, err := do(f.ctx, m)
	if happened && r.again != nil {
		wantIs(t, "once more", err, r.again)
		f.wantPeek(t, "the old text", old, lapse.ErrReplaced)
	} else if err != nil {
		t.Errorf("once more: %v", err)
	} else if _, err := m.Authenticate(f.ctx, got.Bearer); err != nil {
		t.Errorf("what it gave then: %v", err)
	}
	if old != "" && old != got.Bearer {
		_, err := m.Peek(f.ctx, old)
		wantIs(t, "the old text", err, map[bool]error{false: lapse.ErrReplaced}[r.works])
	}
	f.wantWhole(t)
}

// wantWhole: no token is half rotated. A delegate's end by a rotation came with another
// secret of the token above it, and that of all its delegates.
func (f *fixture) wantWhole(t *testing.T) {
	t.Helper()
	byID := map[lapse.ID]storage.Record{}
	for _, rec := range f.contents() {
		byID[rec.ID] = rec
		if (rec.Generation == 0) != rec.RotatedAt.IsZero() || !rec.PreviousUntil.IsZero() && rec.PreviousUntil.Before(rec.RotatedAt) {
			t.Errorf("half rotated: %+v, previous until %v", rec.Token, rec.PreviousUntil)
		}
	}
	for _, rec := range byID {
		above, under := byID[rec.Parent]
		switch {
		case !under:
		case above.EndReason != 0 || above.Kind != lapse.KindPlain:
		case above.Parent == (lapse.ID{}) && (rec.EndReason == lapse.EndRotated) != (above.Generation > 0 && above.PreviousUntil.IsZero()):
			t.Errorf("the delegate ended as %q, of a token of generation %d", rec.EndReason, above.Generation)
		}
		if under && above.EndReason != 0 && rec.EndReason != lapse.EndParent {
			t.Errorf("a delegate ended as %q with the one above it", rec.EndReason)
		}
	}
}

// livingFaults is txFaults that makes a loop over the living fail as well.
type livingFaults struct{ *txFaults }

func (f livingFaults) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return f.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(livingTx{faultyTx{tx, f.txFaults}}) })
}

type livingTx struct{ faultyTx }

func (tx livingTx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for r, err := range tx.Tx.Living(now) {
			if failed := tx.f.fail(); failed != nil {
				yield(storage.Record{}, failed)
				return
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// TestReplacementTxFaults fails each call inside the transactions: they are given up.
func TestReplacementTxFaults(t *testing.T) {
	for _, r := range replacements {
		n := 1
		for ; ; n++ {
			var store *txFaults
			f, m, old, do := r.scene(t, func(f *fixture) storage.Store {
				store = &txFaults{Store: f.store}
				return livingFaults{store}
			})
			before := f.contents()
			store.left = n
			got, err := do(f.ctx, m)
			if store.left > 0 {
				break
			}
			f.wantNothing(t, got, err, errDisk)
			wantDiff(t, fmt.Sprint(r.name, ", call ", n), before, f.contents())
			f.wantDoneBy(t, &r, m, old, do, false)
		}
		if n <= r.calls {
			t.Errorf("%s: %d calls were failed; the harness sees too few", r.name, n-1)
		}
	}
}

// TestReplacementRunsAgain: nothing is left of a run that the store undid, whichever of
// its calls failed.
func TestReplacementRunsAgain(t *testing.T) {
	for _, r := range replacements {
		for fault := range 6 {
			f, m, _, do := r.scene(t, func(f *fixture) storage.Store { return &twice{f.store, f.clock, fault, func() {}} })
			counts := f.clock.Now().Add(time.Second).Truncate(time.Millisecond)
			got, err := do(f.ctx, m)
			if err != nil {
				t.Fatalf("%s, fault %d: %v", r.name, fault, err)
			}
			for _, e := range f.events {
				if !e.At.Equal(counts) {
					t.Errorf("%s, fault %d: %v at %v; want %v, of the run that counts", r.name, fault, e.Kind, e.At, counts)
				}
			}
			wantDiff(t, r.name+": events", r.tells, f.kinds())
			if tok, err := m.Peek(f.ctx, got.Bearer); err != nil || tok != got.Token {
				t.Errorf("%s, fault %d: Peek: %+v, %v", r.name, fault, tok, err)
			}
			f.wantWhole(t)
		}
	}
}

// TestRetiredMeanwhile: between two runs of a transaction, another call ends the token
// whose secret the first one would have replaced. Then the token that is issued needs room
// of its own.
func TestRetiredMeanwhile(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{}, 1))
	old := obtain(t, f, f.Manager, forAna)
	other := f.issue(forAna)
	cfg := keyed(lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitEndOldest}, 2)
	cfg.Clock = f.clock
	m, err := lapse.New(&twice{f.store, f.clock, 0, func() { f.Expire(f.ctx, old.ID) }}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Obtain(f.ctx, forAna)
	if err != nil {
		t.Fatal(err)
	}
	wantDiff(t, "evicted", []lapse.ID{other.ID}, got.Evicted)
	if was := f.token(old.ID); got.Existing || got.ID == old.ID || was.EndReason != lapse.EndRevoked || was.Generation != 0 {
		t.Errorf("%+v, in the place of %+v", got.Token, was)
	}
}

// TestReplacementStops at an ended context, a closed store and a panic, without effect.
func TestReplacementStops(t *testing.T) {
	for _, r := range replacements {
		f, m, old, do := r.scene(t, itself)
		before := f.contents()
		ctx, cancel := context.WithCancel(f.ctx)
		cancel()
		got, err := do(ctx, m)
		f.wantNothing(t, got, err, context.Canceled)
		f.store.InjectOp(opUpdate, 1, storagetest.Panic, nil)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: the store's panic was swallowed", r.name)
				}
			}()
			do(f.ctx, m)
		}()
		wantDiff(t, r.name+": contents", before, f.contents())
		f.wantDoneBy(t, &r, m, old, do, false)
		if err := f.store.Close(); err != nil {
			t.Fatal(err)
		}
		f.events = nil
		got, err = do(f.ctx, m)
		f.wantNothing(t, got, err, lapse.ErrClosed)
	}
}
