package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-55daa01a/lapse/storage"
)

// flockSubjects is how many subjects TestNoDeadlocks has, and flockTokens how many tokens each of them.
const (
	flockSubjects = 20
	flockTokens   = touchBatch / flockSubjects
)

// member returns a record of a flock.
func member(subject, n int) storage.Record {
	r := numbered(byte(n + 1))
	r.Subject = fmt.Sprint("subject ", subject)
	r.ID[9], r.ID[10] = byte(subject), byte(n) // by which the store remembers their expiry
	tag := storage.ShardTag(r.Subject)
	copy(r.ID[14:], tag[:])
	return r
}

// together runs the functions at once, in rounds: each begins a round when all have come to it.
func together(rounds int, each ...func(round int)) {
	for round := range rounds {
		gate := make(chan struct{})
		var ready, all sync.WaitGroup
		ready.Add(len(each))
		for _, f := range each {
			all.Go(func() { ready.Done(); <-gate; f(round) })
		}
		ready.Wait()
		close(gate)
		all.Wait()
	}
}

// byIndex returns four stores whose statements find rows as they do in large tables: one by one, by the index,
// and so in the order of the statement's values.
func byIndex(t *testing.T, o *Options) (stores [4]*Store) {
	t.Helper()
	for i := range stores {
		s, err := Open(t.Context(), dsn(t)+"&enable_seqscan=off&random_page_cost=0.01&deadlock_timeout=10ms", o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		stores[i] = s
	}
	return stores
}

// TestNoDeadlocks: two processes write the same renewals, a third one sweeps, and a fourth one edits and ends
// tokens of the same subjects. No caller gets an error, and every renewal of a token that lives is written.
func TestNoDeadlocks(t *testing.T) {
	o := &Options{Schema: "deadlocks", FlushEvery: time.Hour}
	emptied(t, o)
	stores := byIndex(t, o)
	first, second, sweeper, editor := stores[0], stores[1], stores[2], stores[3]
	ctx := t.Context()
	var ids []storage.ID
	for subject := range flockSubjects {
		var all []storage.Record
		for n := range flockTokens {
			r := member(subject, n)
			r.ExpiresAt = r.IssuedAt.Add(24 * time.Hour)
			all, ids = append(all, r), append(ids, r.ID)
		}
		if err := editor.Update(ctx, all[0].Subject, puts(all...)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*Store{first, second} {
		for _, id := range ids {
			if _, err := s.Get(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	used := func(round int) time.Time { return member(0, 0).IssuedAt.Add(time.Duration(round+1) * time.Minute) }
	renews := func(s *Store, backwards bool) func(round int) {
		order := slices.Clone(ids)
		if backwards {
			slices.Reverse(order)
		}
		return func(round int) {
			for _, id := range order {
				if err := s.Touch(ctx, id, storage.Use{At: used(round)}); err != nil {
					t.Error("Touch: ", err)
				}
			}
			for s.touches.count() > 0 { // rows that are locked wait on
				if err := s.touches.flush(ctx); err != nil {
					t.Error("flush: ", err)
				}
			}
		}
	}
	const rounds = 50
	ended := map[storage.ID]bool{}
	together(rounds, renews(first, false), renews(second, true),
		func(int) { // nothing ends before it was issued
			if n, err := sweeper.Sweep(ctx, member(0, 0).IssuedAt, 1000); err != nil || n != 0 {
				t.Errorf("Sweep = %d, %v", n, err)
			}
		},
		func(round int) {
			for subject := round % 4; subject < flockSubjects; subject += 4 {
				end := member(subject, round/4).ID
				err := editor.Update(ctx, member(subject, 0).Subject, func(x storage.Tx) error {
					for r, err := range x.Records() {
						if err != nil {
							return err
						}
						r.Name = fmt.Sprint("round ", round)
						if r.ID == end {
							r = revoked(r)
						}
						if err := x.Put(r); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Error("Update: ", err)
				}
				ended[end] = true
			}
		})
	lost, lives := 0, 0
	for _, id := range ids {
		switch r, err := editor.Get(ctx, id); {
		case err != nil:
			t.Fatal(err)
		case ended[id] != !r.EndedAt.IsZero():
			t.Errorf("%v: ended at %v", id, r.EndedAt)
		case !ended[id]:
			lives++
			if !r.LastUsedAt.Equal(used(rounds - 1)) {
				lost++
			}
		}
	}
	if lost > 0 || lives == 0 {
		t.Errorf("%d renewals of %d living tokens are lost", lost, lives)
	}
}

// TestSweepsAgainstIssues: sweeps of three processes delete tokens, and the headers of their subjects, while a
// fourth one issues to the same subjects. No caller gets an error, and nothing that was issued is lost.
func TestSweepsAgainstIssues(t *testing.T) {
	o := &Options{Schema: "deadlocks of sweeps"}
	emptied(t, o)
	stores := byIndex(t, o)
	ctx, issuer := t.Context(), stores[3]
	var swept atomic.Int64
	var issued [flockSubjects]int
	sweeps := func(s *Store) func(int) {
		return func(int) {
			n, err := s.Sweep(ctx, member(0, 0).IssuedAt.Add(time.Hour), 1000)
			if err != nil {
				t.Error("Sweep: ", err)
			}
			swept.Add(int64(n))
		}
	}
	const rounds = 20
	together(rounds, sweeps(stores[0]), sweeps(stores[1]), sweeps(stores[2]), func(round int) {
		for subject := range flockSubjects {
			dead := revoked(member(subject, round))
			if err := issuer.Update(ctx, dead.Subject, puts(dead)); err != nil {
				t.Error("Update: ", err)
			}
			issued[subject]++
		}
	})
	left := int64(0)
	for range issuer.List(ctx, storage.Filter{}) {
		left++
	}
	if sum := swept.Load() + left; sum != rounds*flockSubjects || swept.Load() == 0 {
		t.Errorf("%d were swept and %d are left; want %d in all", swept.Load(), left, rounds*flockSubjects)
	}
}

// TestForeignDeadlock: a transaction of another program locks what an Update writes, in the opposite order. The
// server ends one of them. If that is the Update, it runs again.
func TestForeignDeadlock(t *testing.T) {
	t.Run("the Update is ended", func(t *testing.T) {
		update := 300 * time.Millisecond
		for foreignDeadlock(t, update, 10*update) { // on a busy machine the Update may look before there is a deadlock
			if update *= 2; update > 2*time.Second { // the Update waits for 30 seconds at most
				t.Fatal("the other program is ended, each time")
			}
		}
	})
	t.Run("the other program is ended", func(t *testing.T) {
		if !foreignDeadlock(t, time.Minute, 10*time.Millisecond) {
			t.Error("the Update is ended")
		}
	})
}

// foreignDeadlock has an Update and another program wait for each other, who look for a deadlock once each, after
// some time. It reports whether the other program was ended. If not, the Update has run again.
func foreignDeadlock(t *testing.T, update, program time.Duration) (programIsEnded bool) {
	t.Helper()
	o := &Options{Schema: "foreign"}
	emptied(t, o)
	n, ctx := newNames(o.Schema), t.Context()
	s, err := Open(ctx, fmt.Sprintf("%s&deadlock_timeout=%d", dsn(t), update.Milliseconds()), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Update(ctx, "ana", puts(numbered(1))); err != nil {
		t.Fatal(err)
	}
	other, err := adminPool(t).Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback(context.WithoutCancel(ctx))
	if _, err := other.Exec(ctx, fmt.Sprint("SET LOCAL deadlock_timeout = ", program.Milliseconds())); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(ctx, "SELECT FROM "+n.token+" WHERE id = $1 FOR UPDATE", [16]byte(numbered(1).ID)); err != nil {
		t.Fatal(err)
	}
	runs, done := 0, make(chan error, 1)
	go func() {
		done <- s.Update(ctx, "ana", func(x storage.Tx) error { runs++; return puts(revoked(numbered(1)))(x) })
	}()
	waiting(t, n.subject) // the Update has locked the header, and waits for the row
	_, failed := other.Exec(ctx, "SELECT FROM "+n.subject+" FOR UPDATE")
	if failed == nil {
		failed = other.Rollback(ctx)
	} else if code(failed) != deadlockDetected {
		t.Fatal(failed)
	}
	if err := <-done; err != nil {
		t.Errorf("Update = %v", err)
	}
	if (runs > 1) == (failed != nil) {
		t.Errorf("%d runs, and the other program gets %v", runs, failed)
	}
	if r, err := s.Get(ctx, numbered(1).ID); err != nil || r.EndedAt.IsZero() {
		t.Errorf("the record ended at %v, %v", r.EndedAt, err)
	}
	return failed != nil
}

// waiting returns once a statement about the table waits for a lock.
func waiting(t *testing.T, table string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		var n int
		err := adminPool(t).QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND strpos(query, $1) > 0 AND pid <> pg_backend_pid()", table).Scan(&n)
		switch {
		case err != nil && !errors.Is(err, pgx.ErrNoRows):
			t.Fatal(err)
		case n > 0:
			return
		case time.Now().After(deadline):
			t.Fatal("nothing waits for a lock")
		}
	}
}
