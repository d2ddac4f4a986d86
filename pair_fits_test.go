package lapse

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/benbjohnson/clock"
	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestFitsDecidesNothingOfSessions: beside dead sessions, delegates and plain tokens,
// before, at and after the limit, a log-in does the same over a store whose transactions
// cannot see whether a record fits.
func TestFitsDecidesNothingOfSessions(t *testing.T) {
	for _, at := range []AtLimit{LimitRefuse, LimitEndOldest, LimitEndIdlest} {
		for dead := range 5 {
			outcomes := func(hides bool) (all []string) {
				mock := clock.NewMock()
				mock.Set(testInstant)
				p, err := NewPairs(&watchedStore{Store: memory.New(), hides: hides}, PairConfig{
					Access: Config{Clock: mock}, Refresh: Config{Policy: Policy{MaxTokens: 3, AtLimit: at}},
				})
				if err != nil {
					t.Fatal(err)
				}
				for n := range 6 + dead {
					c, err := p.Issue(t.Context(), Grant{Subject: "ana"})
					all = append(all, fmt.Sprint(len(c.Refresh.Evicted), errors.Is(err, ErrLimit), err))
					if n < dead {
						all = append(all, fmt.Sprint(loggedOut(p.ExpireBearer(t.Context(), c.Access.Bearer))))
					}
					if err == nil && n >= dead {
						_, err = p.Access().Delegate(t.Context(), c.Access.Bearer, Grant{})
						all = append(all, fmt.Sprint(err))
					}
					issueTo(t, p.Access(), Grant{Subject: "ana"})
				}
				return all
			}
			if diff := cmp.Diff(outcomes(true), outcomes(false)); diff != "" {
				t.Errorf("AtLimit %d, %d dead: (-without +with PutIfFits):\n%s", at, dead, diff)
			}
		}
	}
}

// TestTakenIDOfASession: a random source that repeats itself replaces no record, and a
// log-in draws another ID, three in all.
func TestTakenIDOfASession(t *testing.T) {
	for taken, want := range map[int]error{0: nil, 1: nil, 2: nil, 3: ErrConflict} {
		store := &takenFirst{Store: memory.New(), left: taken}
		p, err := NewPairs(store, PairConfig{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.Issue(t.Context(), Grant{Subject: "ana"})
		if !errors.Is(err, want) || (c.Refresh.Bearer == "") != (want != nil) {
			t.Errorf("%d times: %v; want %v", taken, err, want)
		}
	}
}

// takenFirst is a store that finds the first IDs taken.
type takenFirst struct {
	storage.Store
	left int
}

func (s *takenFirst) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return s.Store.Update(ctx, subject, func(tx storage.Tx) error {
		if s.left > 0 {
			s.left--
			return fn(everyID{tx})
		}
		return fn(tx)
	})
}

type everyID struct{ storage.Tx }

func (everyID) Get(id ID) (storage.Record, error) {
	return storage.Record{Token: Token{ID: id}}, nil
}
