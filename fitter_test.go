package lapse

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// watchedTx is a storage.Tx whose calls are noted. It is a fitter unless it hides that.
type watchedTx struct {
	storage.Tx
	calls *[]string
}

func (w watchedTx) Get(id ID) (storage.Record, error) {
	*w.calls = append(*w.calls, "Get")
	return w.Tx.Get(id)
}

func (w watchedTx) Put(r storage.Record) error {
	*w.calls = append(*w.calls, "Put")
	return w.Tx.Put(r)
}

type watchedFitter struct{ watchedTx }

func (w watchedFitter) PutIfFits(r *storage.Record, n int, now time.Time) bool {
	fits := w.Tx.(fitter).PutIfFits(r, n, now)
	*w.calls = append(*w.calls, fmt.Sprint("PutIfFits ", n, " ", fits))
	return fits
}

// watchedStore is a store whose transactions are watched.
type watchedStore struct {
	storage.Store
	hides bool
	calls []string
}

func (s *watchedStore) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return s.Store.Update(ctx, subject, func(tx storage.Tx) error {
		if w := (watchedTx{tx, &s.calls}); s.hides {
			return fn(w)
		} else {
			return fn(watchedFitter{w})
		}
	})
}

// TestFitsIsAskedOnce: where a new record fits, nothing else is done, and where it does
// not, what decides is read as ever.
func TestFitsIsAskedOnce(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, store := range map[string]storage.Store{"memory": memory.New(), "bolt": db} {
		s := &watchedStore{Store: store}
		m, _ := managerOver(t, s, Config{Policy: Policy{MaxTokens: 2, AtLimit: LimitRefuse}})
		for _, want := range [][]string{{"PutIfFits 1 true"}, {"PutIfFits 1 true"}, {"PutIfFits 1 false", "Get"}} {
			s.calls = nil
			_, err := m.Issue(t.Context(), Grant{Subject: "ana"})
			if full := len(want) == 2 && want[1] == "Get"; full != errors.Is(err, ErrLimit) {
				t.Errorf("%s: Issue: %v; want ErrLimit %v", name, err, full)
			}
			if diff := cmp.Diff(want, s.calls); diff != "" {
				t.Errorf("%s: calls (-want +got):\n%s", name, diff)
			}
		}
		unlimited, _ := managerOver(t, s, Config{Policy: Policy{MaxTokens: NoTokenLimit}})
		s.calls = nil
		issueTo(t, unlimited, Grant{Subject: "ana"})
		if diff := cmp.Diff([]string{fmt.Sprint("PutIfFits ", NoTokenLimit-1, " true")}, s.calls); diff != "" {
			t.Errorf("%s: no limit: calls (-want +got):\n%s", name, diff)
		}
	}
}

// TestFitsDecidesNothing: with dead ones among the live, before, at and after the limit,
// Issue does the same over a store whose transactions cannot see whether a record fits.
func TestFitsDecidesNothing(t *testing.T) {
	for _, at := range []AtLimit{LimitRefuse, LimitEndOldest, LimitEndIdlest} {
		for dead := range 5 {
			outcomes := func(hides bool) (all []string) {
				m, _ := managerOver(t, &watchedStore{Store: memory.New(), hides: hides}, Config{Policy: Policy{MaxTokens: 3, AtLimit: at}})
				for range dead {
					i, err := m.Issue(t.Context(), Grant{Subject: "ana"})
					ended, _ := m.Expire(t.Context(), i.ID)
					all = append(all, fmt.Sprint(err, ended))
				}
				for range 6 {
					i, err := m.Issue(t.Context(), Grant{Subject: "ana"})
					all = append(all, fmt.Sprint(len(i.Evicted), errors.Is(err, ErrLimit), err))
				}
				return all
			}
			if diff := cmp.Diff(outcomes(true), outcomes(false)); diff != "" {
				t.Errorf("AtLimit %d, %d dead: (-without +with Fits):\n%s", at, dead, diff)
			}
		}
	}
}

// TestTakenIDWithFits: a random source that repeats itself replaces nobody's record.
func TestTakenIDWithFits(t *testing.T) {
	m, _ := managerOver(t, memory.New(), Config{})
	old := issueTo(t, m, Grant{Subject: "ana"})
	for _, subject := range []string{"ana", "bob"} {
		d := draft{m: m, grant: Grant{Subject: subject}}
		copy(d.cred[:], old.ID[:])
		if err := m.store.Update(t.Context(), subject, d.store); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: %v; want ErrConflict", subject, err)
		}
	}
	if tok, err := m.Authenticate(t.Context(), old.Bearer); err != nil || tok.Subject != "ana" {
		t.Errorf("the holder of the ID: %+v, %v", tok, err)
	}
}

// TestFitsAfterARunThatMadeRoom: what an earlier run of the transaction evicted, and was
// undone, is not said to be evicted.
func TestFitsAfterARunThatMadeRoom(t *testing.T) {
	m, _ := managerOver(t, memory.New(), Config{Policy: Policy{MaxTokens: 1, AtLimit: LimitEndOldest}})
	issueTo(t, m, Grant{Subject: "ana"})
	d := draft{m: m, grant: Grant{Subject: "ana"}}
	if err := m.store.Update(t.Context(), "ana", func(tx storage.Tx) error {
		return errors.Join(d.store(tx), context.Canceled)
	}); !errors.Is(err, context.Canceled) || len(d.evicted) != 1 {
		t.Fatalf("the first run: %v, evicted %d", err, len(d.evicted))
	}
	d.grant.Subject = "bob"
	if err := m.store.Update(t.Context(), "bob", d.store); err != nil || d.issued(t.Context()).Evicted != nil {
		t.Errorf("the second run: %v, evicted %v", err, d.evicted)
	}
}

// TestDraftsAreUsedAgain once they are empty, and never after a failure.
func TestDraftsAreUsedAgain(t *testing.T) {
	m, _ := managerOver(t, memory.New(), Config{Policy: Policy{MaxTokens: 1}})
	issueTo(t, m, Grant{Subject: "ana", Name: "laptop", Data: "x"})
	seen := 0
	for n := range 100 { // a pool may lose some
		if d, _ := m.drafts.Get().(*draft); d != nil {
			seen++
			left := *d
			left.stores = nil // which is of the draft, not of a token
			if !reflect.ValueOf(left).IsZero() {
				t.Fatal("something is left of a token in a draft that is used again")
			}
		}
		issueTo(t, m, Grant{Subject: fmt.Sprint("subject ", n), Name: "laptop", Data: "x"})
	}
	if seen == 0 {
		t.Error("no draft is used again")
	}
	for m.drafts.Get() != nil {
	}
	for range 100 {
		if _, err := m.Issue(t.Context(), Grant{Subject: "ana"}); !errors.Is(err, ErrLimit) {
			t.Fatalf("Issue: %v; want ErrLimit", err)
		}
		if m.drafts.Get() != nil {
			t.Fatal("the draft of a failed Issue is used again")
		}
	}
}
