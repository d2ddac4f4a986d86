package storagetest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// flaw is a way to break the contract, and the clauses that it breaks: no more and
// no fewer may fail.
type flaw struct {
	name   string
	breaks []string
	in     func(*toy) storage.Store
}

// tuned is a flaw that a place in toy is made for.
func tuned(tune func(*toy)) func(*toy) storage.Store {
	return func(t *toy) storage.Store {
		tune(t)
		return t
	}
}

func flaws() []flaw {
	return slices.Concat([]flaw{
		{"none", nil, tuned(func(*toy) {})},
		{"tells_first_puts_and_raises_too", nil, tuned(func(t *toy) { t.tellsAll = true })},
		{"lists_by_subject", nil, tuned(func(t *toy) { t.listed = bySubject })},
		{"counts_nanoseconds", []string{"S1", "S16"}, tuned(func(t *toy) { t.stored = inNanoseconds })},
		{"forgets_what_is_sealed", []string{"S1", "S7", "S27"}, tuned(func(t *toy) {
			t.stored = func(r storage.Record) storage.Record { r.Sealed = storage.Sealed{}; return r }
		})},
		{"spends_nothing", []string{"S1", "S7"}, tuned(func(t *toy) {
			t.stored = func(r storage.Record) storage.Record { r.UsesLeft = r.MaxUses; return r }
		})},
		{"forgets_the_use_grace", []string{"S1", "S7"}, tuned(func(t *toy) {
			t.stored = func(r storage.Record) storage.Record { r.UseGrace = 0; return r }
		})},
		{"forgets_that_a_cap_was_edited", []string{"S1", "S7"}, tuned(func(t *toy) {
			t.stored = func(r storage.Record) storage.Record { r.CapEdited = false; return r }
		})},
		{"keeps_who_was_rotated", []string{"S16"}, tuned(func(t *toy) {
			t.due = func(r storage.Record, deadBefore time.Time) bool {
				return r.EndReason != storage.EndRotated && r.DeadFrom().Before(deadBefore) || r.ExpiresAt.Before(deadBefore)
			}
		})},
		{"zero_means_unset", []string{"S1", "S12", "S16"}, tuned(func(t *toy) { t.stored = zeroUnset })},
		{"subject_is_a_key_prefix", []string{"S4"}, tuned(func(t *toy) {
			t.belongs = func(r storage.Record, subject string) bool { return strings.HasPrefix(r.Subject, subject) }
		})},
		{"own_puts_come_last", []string{"S4"}, tuned(func(t *toy) { t.order = ownLast })},
		{"puts_stay_after_an_error", []string{"S5", "S9", "S19", "S22", "S31", "S35"}, tuned(func(t *toy) { t.direct = true })},
		{"taken_id_is_overwritten", []string{"S7"}, tuned(func(t *toy) { t.check = takingAny })},
		{"put_revives", []string{"S8"}, tuned(func(t *toy) { t.check = revivingPut })},
		{"put_changes_an_end", []string{"S8"}, tuned(func(t *toy) { t.check = redatingPut })},
		{"sweeps_at_the_instant", []string{"S16"}, tuned(func(t *toy) {
			t.due = func(r storage.Record, deadBefore time.Time) bool { return !r.DeadFrom().After(deadBefore) }
		})},
		{"sweeps_by_expiry_only", []string{"S16", "S17"}, tuned(func(t *toy) {
			t.due = func(r storage.Record, deadBefore time.Time) bool { return r.ExpiresAt.Before(deadBefore) }
		})},
		{"limit_0_is_no_limit", []string{"S17"}, tuned(func(t *toy) { t.atLeast = 1 })},
	}, readFlaws(), writeFlaws(), lifeFlaws(), watchFlaws(), secretFlaws(), livingFlaws(), deleteFlaws(), getsFlaws(), suspendFlaws(), pageFlaws(), abilityFlaws(), shareFlaws())
}

// hanging is how long a case may take where a flaw makes its clause hang. The others have
// the suite's own patience, so that a slow machine finds no flaw where none is.
const hanging = 3 * time.Second

// TestMain has eight flaws tried at a time, without -parallel: those that hang only wait.
func TestMain(m *testing.M) {
	sample.Garbage()
	flag.Set("test.parallel", "8")
	os.Exit(m.Run())
}

// TestEveryFlawIsFound runs the suite on every flaw. Without -whole a flaw meets only the
// cases of the clauses that it breaks, and the flaw "none" all cases: that a flaw breaks
// no other clause is found with -whole.
func TestEveryFlawIsFound(t *testing.T) {
	for _, f := range flaws() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			failed, err := f.failing(t)
			if diff := cmp.Diff(f.breaks, failed); diff != "" {
				t.Errorf("clauses that fail (-want +got):\n%s\n%v", diff, err)
			}
		})
	}
}

func hangs() []string {
	return []string{"gets_holds_the_lock", "stopped_gets_holds_the_lock", "delete_does_nothing", "delete_is_not_told", "panic_keeps_the_lock", "goexit_keeps_the_lock", "list_holds_the_lock", "stopped_list_holds_the_lock", "deaf_to_contexts",
		"no_gap_at_first", "tells_what_is_new_only", "tells_one_of_an_update", "listens_after_the_gap", "forgets_what_a_slow_body_missed",
		"tells_its_own_process_only", "counts_what_its_own_process_put", "tells_other_processes_of_ends_only", "waits_for_bodies_of_other_processes", "reads_what_it_has_seen", "copies_what_it_has_seen",
		"makes_writers_wait", "waits_for_updates_to_tell_the_time", "reads_before_its_own_slow_commit", "shows_what_may_not_happen", "watch_stays_locked", "watch_outlives_its_context", "watch_outlives_close"}
}

// failing returns the clauses that fail, in order, and what they say.
func (f flaw) failing(t *testing.T) ([]string, error) {
	b := Backend{
		Open: func(testing.TB) storage.Store { return f.in(newToy()) },
		Reopen: func(_ testing.TB, s storage.Store) storage.Store {
			s.Close()
			if r, ok := s.(interface{ again() storage.Store }); ok {
				return r.again()
			}
			return f.in(under(s).reopened())
		},
	}
	if len(f.breaks) == 0 || slices.ContainsFunc(shareFlaws(), func(s flaw) bool { return s.name == f.name }) {
		b.Share = func(_ testing.TB, s storage.Store) storage.Store { return f.in(under(s).shared()) }
	}
	var failed []string
	var errs []error
	ran := 0
	for _, c := range cases() {
		clause, _, _ := strings.Cut(c.name, "_")
		if !sample.Whole() && len(f.breaks) > 0 && (!slices.Contains(f.breaks, clause) || slices.Contains(failed, clause)) {
			continue
		}
		ran++
		limit := patience
		if slices.Contains(f.breaks, clause) && slices.Contains(hangs(), f.name) {
			limit = hanging
		}
		err := c.run(t, b, limit)
		if len(f.breaks) > 0 && skips(err) { // a flaw that is wrapped around a toy hides its abilities
			continue
		}
		if err != nil {
			failed, errs = append(failed, clause), append(errs, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	t.Logf("%d of %d cases", ran, len(cases()))
	slices.SortFunc(failed, func(a, b string) int { return clauseNumber(a) - clauseNumber(b) })
	return slices.Compact(failed), errors.Join(errs...)
}

// under returns the toy that a flawed store is made of.
func under(s storage.Store) *toy { return s.(interface{ base() *toy }).base() }

func (t *toy) base() *toy { return t }

func clauseNumber(clause string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(clause, "S"))
	return n
}

// Every clause must have caught something. A breach of S21 alone is a data race,
// which is the race detector's to find.
func TestEveryClauseFindsAFlaw(t *testing.T) {
	caught := map[int]bool{21: true}
	for _, f := range flaws() {
		for _, clause := range f.breaks {
			caught[clauseNumber(clause)] = true
		}
	}
	for n := 1; n <= clauses; n++ {
		if !caught[n] {
			t.Errorf("no flaw breaks S%d", n)
		}
	}
}

func inNanoseconds(r storage.Record) storage.Record {
	for _, at := range []*time.Time{&r.IssuedAt, &r.LastUsedAt, &r.ExpiresAt, &r.MaxExpiresAt, &r.EndedAt} {
		if !at.IsZero() {
			*at = time.Unix(0, at.UnixNano()).UTC()
		}
	}
	return r
}

func zeroUnset(r storage.Record) storage.Record {
	for _, at := range []*time.Time{&r.IssuedAt, &r.LastUsedAt, &r.ExpiresAt, &r.MaxExpiresAt, &r.EndedAt} {
		if at.UnixMilli() == 0 {
			*at = time.Time{}
		}
	}
	return r
}

func ownLast(tx *toyTx, rs []storage.Record) {
	own := func(r storage.Record) int {
		if _, ok := tx.toy.records[r.ID]; ok {
			return 0
		}
		return 1
	}
	slices.SortFunc(rs, func(a, b storage.Record) int {
		if own(a) != own(b) {
			return own(a) - own(b)
		}
		return byID(a, b)
	})
}

func takingAny(subject string, old *storage.Record, r storage.Record) error {
	if old != nil && old.Subject != subject {
		old = nil
	}
	return storage.CheckPut(subject, old, r)
}

func revivingPut(subject string, old *storage.Record, r storage.Record) error {
	if old != nil && r.EndedAt.IsZero() {
		old = sameEnd(*old, r)
	}
	return storage.CheckPut(subject, old, r)
}

func redatingPut(subject string, old *storage.Record, r storage.Record) error {
	if old != nil && !r.EndedAt.IsZero() {
		old = sameEnd(*old, r)
	}
	return storage.CheckPut(subject, old, r)
}

// sameEnd returns old as if it had had the end of r before.
func sameEnd(old, r storage.Record) *storage.Record {
	old.EndedAt, old.EndReason, old.EndedBy, old.EndNote = r.EndedAt, r.EndReason, r.EndedBy, r.EndNote
	return &old
}
