package bolt

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// troubled changes a record. It is nil where there is none, before or after.
type troubled func(r *storage.Record) *storage.Record

func isEnded(r *storage.Record) *storage.Record { endsIt(r); return r }

func endsIt(r *storage.Record) { r.EndedAt, r.EndReason = r.IssuedAt, storage.EndRevoked }

func isSuspended(r *storage.Record) *storage.Record { r.SuspendedAt = r.IssuedAt; return r }

func isResumed(r *storage.Record) *storage.Record { r.SuspendedAt = time.Time{}; return r }

func isRenamed(r *storage.Record) *storage.Record { r.Name += ", renamed"; return r }

func isDeleted(*storage.Record) *storage.Record { return nil }

func isPutAgain(*storage.Record) *storage.Record {
	r := record(1)
	r.Name, r.IssuedAt = "another", r.IssuedAt.Add(time.Second)
	return &r
}

// hasSecret replaces the secret by that of the given number: at once, or with an overlap.
func hasSecret(n byte, overlap time.Duration) troubled {
	return func(r *storage.Record) *storage.Record {
		r.Digest, r.Generation, r.RotatedAt = storage.NewDigest(storage.SHA256, [32]byte{n}), uint32(n), r.IssuedAt
		if r.PreviousUntil = (time.Time{}); overlap > 0 {
			r.PreviousUntil = r.IssuedAt.Add(overlap)
		}
		return r
	}
}

// stages has s make one change of record 1 after the other, each in an update of its own,
// and returns where their errors will be. All are of one group, behind the write that is
// held.
func stages(s *Store, changes []troubled) (all []chan error) {
	before := waiting(s)
	for i, change := range changes {
		all = append(all, async(func() error {
			return s.Update(context.Background(), record(1).Subject, func(tx storage.Tx) error {
				old, err := tx.Get(record(1).ID)
				is := &old
				if errors.Is(err, storage.ErrNotFound) {
					is = nil
				} else if err != nil {
					return err
				}
				if is = change(is); is == nil {
					return tx.Delete(record(1).ID)
				}
				return tx.Put(*is)
			})
		}))
		awaitWaiting(s, before+i+1)
	}
	return all
}

// after returns what changes make of record 1.
func after(changes []troubled) *storage.Record {
	r := record(1)
	is := &r
	for _, change := range changes {
		is = change(is)
	}
	return is
}

// oneIs complains unless record 1 is in s as given.
func oneIs(t *testing.T, when string, s *Store, want *storage.Record) {
	t.Helper()
	got, err := s.Get(context.Background(), record(1).ID)
	switch {
	case want == nil && !errors.Is(err, storage.ErrNotFound):
		t.Errorf("%s: %+v, %v; want ErrNotFound", when, got, err)
	case want != nil && (err != nil || !got.Equal(*want)):
		t.Errorf("%s: %+v, %v; want %+v", when, got, err, *want)
	}
}

var troubles = []struct {
	name    string
	changes []troubled
	ends    int // up to which of them the store acts as if they had happened
}{
	{"ended", []troubled{isEnded}, 1},
	{"deleted", []troubled{isDeleted}, 1},
	{"secret replaced at once", []troubled{hasSecret(1, 0)}, 1},
	{"secret replaced with an overlap", []troubled{hasSecret(1, time.Minute)}, 0},
	{"renamed", []troubled{isRenamed}, 0},
	{"renamed, ended", []troubled{isRenamed, isEnded}, 2},
	{"renamed, deleted", []troubled{isRenamed, isDeleted}, 2},
	{"ended, deleted", []troubled{isEnded, isDeleted}, 2},
	{"ended, renamed", []troubled{isEnded, isRenamed}, 2},
	{"secret replaced at once, renamed", []troubled{hasSecret(1, 0), isRenamed}, 1},
	{"secret replaced at once, then with an overlap", []troubled{hasSecret(1, 0), hasSecret(2, time.Minute)}, 1},
	{"secret replaced with an overlap, then at once", []troubled{hasSecret(1, time.Minute), hasSecret(2, 0)}, 2},
	{"secret replaced at once, twice", []troubled{hasSecret(1, 0), hasSecret(2, 0)}, 2},
	{"secret replaced at once, ended", []troubled{hasSecret(1, 0), isEnded}, 2},
	{"deleted, put again", []troubled{isDeleted, isPutAgain}, 1},
	{"ended, deleted, put again", []troubled{isEnded, isDeleted, isPutAgain}, 2},
	{"deleted, put again, secret replaced at once", []troubled{isDeleted, isPutAgain, hasSecret(1, 0)}, 1},
	{"deleted, put again, deleted", []troubled{isDeleted, isPutAgain, isDeleted}, 3},
	{"suspended", []troubled{isSuspended}, 1},
	{"renamed, suspended", []troubled{isRenamed, isSuspended}, 2},
	{"suspended, renamed", []troubled{isSuspended, isRenamed}, 1},
	{"suspended, resumed", []troubled{isSuspended, isResumed}, 1},
	{"suspended, resumed, suspended", []troubled{isSuspended, isResumed, isSuspended}, 1},
	{"suspended, ended", []troubled{isSuspended, isEnded}, 2},
	{"suspended, secret replaced with an overlap", []troubled{isSuspended, hasSecret(1, time.Minute)}, 1},
	{"deleted, put again, suspended", []troubled{isDeleted, isPutAgain, isSuspended}, 1},
}

// TestTroubleOfEachKind: what a group of unknown outcome would have ended, deleted, or given
// another secret at once, is so from then on: while writing fails, afterwards, whether the
// group reached the disk or not, after a crash then, and when the file is opened again. All
// else of the group counts as not written.
func TestTroubleOfEachKind(t *testing.T) {
	for n, row := range troubles {
		for name, fails := range map[string]func(func() error) error{
			row.name + ", not written": notWritten, row.name + ", written": syncLost,
		} {
			if written := strings.HasSuffix(name, ", written"); !sample.Whole() && written != (n%2 == 0) {
				continue
			}
			t.Run(name, func(t *testing.T) {
				inBoth(t, lazy, func(t *testing.T, opts *Options) { troubleOf(t, opts, row.changes, row.ends, fails) })
			})
		}
	}
}

func troubleOf(t *testing.T, opts *Options, changes []troubled, ends int, fails func(func() error) error) {
	path, _ := makeFileIn(t, quickDir(t), 10)
	s := open(t, path, opts)
	g := holdCommits(t, s)
	first := async(func() error { return putting(s, record(20)) })
	<-g.arrived
	all := stages(s, changes)
	onWrite(s, fails)
	g.release <- nil
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	for i, done := range all {
		if err := <-done; !errors.Is(err, storage.ErrOutcomeUnknown) {
			t.Fatalf("change %d: %v; want ErrOutcomeUnknown", i, err)
		}
	}
	onWrite(s, func(func() error) error { return errDisk })
	use, want := by(record(1), time.Minute), after(changes[:ends])
	oneIs(t, "in trouble", s, want)
	if err := s.Touch(context.Background(), record(1).ID, use); err != nil {
		t.Error(err)
	}
	if want != nil {
		use.Raise(want)
	}
	oneIs(t, "touched", s, want)
	if err := putting(s, record(21)); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Update in trouble: %v; want ErrUnavailable", err)
	}
	letCommits(s)
	if err := tryAgain(s); err != nil {
		t.Fatal(err)
	}
	oneIs(t, "out of trouble", s, want)
	oneIs(t, "after a crash", openCrashed(t, path), want)
	put(t, s, record(21))
	oneIs(t, "later", s, want)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	oneIs(t, "reopened", open(t, path, nil), want)
}
