package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// afterRotation is something that happens to a rotated token before Rotate is called
// with the previous text once more.
type afterRotation struct {
	name string
	do   func(f *fixture, old, next lapse.Issued) error
	want error // of Rotate with the previous text and an overlap
}

var afterRotations = []afterRotation{
	{"nothing", func(*fixture, lapse.Issued, lapse.Issued) error { return nil }, nil},
	{"Peek", func(f *fixture, _, next lapse.Issued) error { _, err := f.Peek(f.ctx, next.Bearer); return err }, nil},
	{"a use of the previous text", func(f *fixture, old, _ lapse.Issued) error { _, err := f.Authenticate(f.ctx, old.Bearer); return err }, nil},
	{"Renew by the previous text", func(f *fixture, old, _ lapse.Issued) error { _, err := f.Renew(f.ctx, old.Bearer); return err }, nil},
	{"Delegate by the previous text", func(f *fixture, old, _ lapse.Issued) error {
		_, err := f.Delegate(f.ctx, old.Bearer, lapse.Grant{})
		return err
	}, nil},
	{"Hold by the previous text", func(f *fixture, old, _ lapse.Issued) error { return f.holdOnce(old.Bearer) }, nil},
	{"Obtain", func(f *fixture, _, _ lapse.Issued) error { _, err := f.Obtain(f.ctx, forAna); return err }, nil},
	{"Rotate with the previous text", func(f *fixture, old, _ lapse.Issued) error {
		_, err := f.Rotate(f.ctx, old.Bearer, time.Second)
		return err
	}, nil},
	{"a refused use", func(f *fixture, _, next lapse.Issued) error {
		refused := lapse.ErrRefused
		_, err := f.manager(lapse.Config{Admit: f.checks(&refused)}).Authenticate(f.ctx, next.Bearer)
		return ignore(err, lapse.ErrRefused)
	}, nil},
	{"Authenticate", func(f *fixture, _, next lapse.Issued) error { _, err := f.Authenticate(f.ctx, next.Bearer); return err }, lapse.ErrRotated},
	{"Hold", func(f *fixture, _, next lapse.Issued) error { return f.holdOnce(next.Bearer) }, lapse.ErrRotated},
	{"Renew", func(f *fixture, _, next lapse.Issued) error { _, err := f.Renew(f.ctx, next.Bearer); return err }, lapse.ErrRotated},
	{"Delegate", func(f *fixture, _, next lapse.Issued) error {
		i, err := f.Delegate(f.ctx, next.Bearer, lapse.Grant{})
		f.Expire(f.ctx, i.ID) // that the delegate is gone makes no difference
		return err
	}, lapse.ErrRotated},
	{"Rotate", func(f *fixture, _, next lapse.Issued) error {
		_, err := f.Rotate(f.ctx, next.Bearer, time.Minute)
		return err
	}, lapse.ErrReplaced},
	{"Expire", func(f *fixture, _, next lapse.Issued) error { _, err := f.Expire(f.ctx, next.ID); return err }, lapse.ErrRevoked},
}

func (f *fixture) holdOnce(bearer string) error {
	ctx, leave := context.WithCancel(f.ctx)
	defer leave()
	_, _, err := opened(f.Hold(ctx, bearer))
	return err
}

// TestRotateAgain: Rotate with the previous text gives the same answer again, whatever
// overlap is asked for, until the new text has been used; then it is ErrRotated. Neither
// changes anything.
func TestRotateAgain(t *testing.T) {
	for _, row := range afterRotations {
		for _, made := range []string{"Issue", "Obtain", "Issue with a budget", "Delegate"} {
			for _, overlap := range []time.Duration{time.Second, time.Minute, time.Hour} {
				if made == "Issue with a budget" && row.name != "nothing" && row.name != "Authenticate" {
					continue
				}
				name := row.name + ", made by " + made
				f, old := rotatable(t, made)
				first := rotate(t, f, old.Bearer, time.Minute)
				f.clock.add(time.Millisecond)
				if err := row.do(f, old, first); err != nil {
					t.Fatal(name, err)
				}
				before := f.contents()
				f.events = nil
				again, err := f.Rotate(f.ctx, old.Bearer, overlap)
				wantIs(t, name, err, row.want)
				if row.want == nil && (again.Bearer != first.Bearer || again.Token != f.token(old.ID)) {
					t.Errorf("%s, overlap %v: another answer: %+v", name, overlap, again.Token)
				}
				if row.want == nil || row.want == lapse.ErrRotated {
					wantDiff(t, name+": events", 0, len(f.events))
				}
				wantDiff(t, name+": contents", before, f.contents())
				f.clock.add(time.Minute - 2*time.Millisecond)
				wantPrevious := row.want
				if row.want == lapse.ErrRotated {
					wantPrevious = nil
				}
				f.wantPeek(t, name+": the previous text, before its instant", old.Bearer, wantPrevious)
				f.clock.add(time.Millisecond)
				f.wantPeek(t, name+": the previous text, at its instant", old.Bearer, lapse.ErrReplaced)
			}
		}
	}
}

// rotatable makes a token. Uses within RenewEvery of the issue are not due.
func rotatable(t *testing.T, made string) (*fixture, lapse.Issued) {
	t.Helper()
	f := newFixture(t, keyed(lapse.Policy{RenewEvery: time.Hour}, 1))
	switch made {
	case "Obtain":
		return f, obtain(t, f, f.Manager, forAna)
	case "Delegate":
		return f, f.delegate(f.issue(forAna), lapse.Grant{})
	case "Issue with a budget":
		return f, f.issue(lapse.Grant{Subject: "ana", MaxUses: 5})
	}
	return f, f.issue(forAna)
}

// TestFirstUseThatCannotBeStored is good, and told; the new text counts as not used.
func TestFirstUseThatCannotBeStored(t *testing.T) {
	for _, row := range []struct {
		mode   storagetest.Mode
		err    error
		stored bool
	}{
		{storagetest.FailBefore, errDisk, false},
		{storagetest.FailBefore, lapse.ErrUnavailable, false},
		{storagetest.FailAfter, lapse.ErrOutcomeUnknown, true},
	} {
		for name, use := range map[string]func(f *fixture, bearer string) error{
			"Authenticate": func(f *fixture, bearer string) error { _, err := f.Authenticate(f.ctx, bearer); return err },
			"Hold":         (*fixture).holdOnce,
		} {
			f := newFixture(t, lapse.Config{})
			old := f.issue(forAna)
			next := rotate(t, f, old.Bearer, time.Minute)
			f.events = nil
			f.store.Reset()
			f.store.InjectOp(opUpdate, 1, row.mode, row.err)
			wantIs(t, name, use(f, next.Bearer), nil)
			if !f.store.Fired() || len(f.events) != 1 || f.events[0].Kind != lapse.EventRenewalFailed || !errors.Is(f.events[0].Err, row.err) {
				t.Errorf("%s: fired %v, told %+v; want that it could not be recorded", name, f.store.Fired(), f.events)
			}
			if !f.events[0].Token.ExpiresAt.Equal(next.ExpiresAt) || f.events[0].Token.ID != old.ID {
				t.Errorf("%s: told of %+v; want the token as it was", name, f.events[0].Token)
			}
			again, err := f.Rotate(f.ctx, old.Bearer, time.Minute)
			if row.stored {
				wantIs(t, name+", stored all the same", err, lapse.ErrRotated)
			} else if err != nil || again.Bearer != next.Bearer {
				t.Errorf("%s, not stored: %v; want the same answer again", name, err)
			}
			wantIs(t, name+", once more", use(f, next.Bearer), nil)
			_, err = f.Rotate(f.ctx, old.Bearer, time.Minute)
			wantIs(t, name+": after a use that was stored", err, lapse.ErrRotated)
		}
	}
}

// TestFirstUseOfABudget is a use like any other: if it cannot be stored, it fails.
func TestFirstUseOfABudget(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	old := f.issue(lapse.Grant{Subject: "ana", MaxUses: 2})
	next := rotate(t, f, old.Bearer, time.Minute)
	f.store.Reset()
	f.store.InjectOp(opUpdate, 1, storagetest.FailBefore, errDisk)
	_, err := f.Authenticate(f.ctx, next.Bearer)
	wantIs(t, "a use that cannot be stored", err, errDisk)
	if again := rotate(t, f, old.Bearer, time.Minute); again.Bearer != next.Bearer || again.UsesLeft != 2 {
		t.Errorf("%+v; want the same answer, with two uses", again.Token)
	}
}

// TestPreviousWithoutOverlap: Rotate with the previous text and an overlap of 0 is no
// repeat: it makes another secret, and ends both older ones.
func TestPreviousWithoutOverlap(t *testing.T) {
	for _, made := range []string{"Issue", "Obtain", "Issue with a budget", "Delegate"} {
		for _, used := range []bool{false, true} {
			f, old := rotatable(t, made)
			next := rotate(t, f, old.Bearer, time.Hour)
			if used {
				if _, err := f.Authenticate(f.ctx, next.Bearer); err != nil {
					t.Fatal(err)
				}
			}
			f.events = nil
			got := rotate(t, f, old.Bearer, 0)
			wantDiff(t, made+": events", []lapse.EventKind{lapse.EventRotated}, f.kinds())
			if got.Bearer == next.Bearer || got.Generation != 2 || got.ID != old.ID {
				t.Errorf("%s, used %v: %+v; want another secret", made, used, got.Token)
			}
			f.wantPeek(t, made+": the previous one", old.Bearer, lapse.ErrReplaced)
			f.wantPeek(t, made+": the one in between", next.Bearer, lapse.ErrReplaced)
		}
	}
}

// TestRotateAtRandom takes random steps with all texts of a token and asks after each: at
// most two of them work, the newest and one before it, and every other is known for one
// that was replaced.
func TestRotateAtRandom(t *testing.T) {
	alone(t)
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		f := newFixture(t, keyed(lapse.Policy{RenewEvery: time.Minute, MaxTTL: 2 * time.Hour}, 1))
		first := obtain(t, f, f.Manager, forAna)
		if seed%2 == 0 {
			first = f.issue(forAna)
		}
		id, texts := first.ID, []string{first.Bearer}
		for step := range 40 {
			text := texts[max(0, len(texts)-1-r.IntN(4))]
			var got lapse.Issued
			switch r.IntN(7) {
			case 0, 1:
				got, _ = f.Rotate(f.ctx, text, time.Duration(r.IntN(4))*10*time.Minute)
			case 2:
				f.Authenticate(f.ctx, text)
			case 3:
				f.clock.add(time.Duration(r.IntN(10)) * time.Minute)
			case 4:
				got, _ = f.RotateID(f.ctx, id, time.Duration(r.IntN(4))*10*time.Minute)
			case 5:
				f.Delegate(f.ctx, text, lapse.Grant{})
			case 6:
				f.Renew(f.ctx, text)
			}
			if got.Bearer != "" && got.Bearer != texts[len(texts)-1] {
				texts = append(texts, got.Bearer)
			}
			if err := f.wellReplaced(id, texts); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
	}
}

// wellReplaced says what is wrong with the texts of a token, in the order in which they
// were given, if anything.
func (f *fixture) wellReplaced(id lapse.ID, texts []string) error {
	tok := f.token(id)
	if !tok.Live(f.clock.Now()) {
		return nil
	}
	working := 0
	for n, text := range texts {
		_, err := f.Peek(f.ctx, text)
		switch last := n == len(texts)-1; {
		case last && err != nil:
			return fmt.Errorf("the newest text: %w", err)
		case err == nil:
			working++
		case !errors.Is(err, lapse.ErrReplaced):
			return fmt.Errorf("text %d of %d: %w", n, len(texts), err)
		}
	}
	if working > 2 || int(tok.Generation) != len(texts)-1 {
		return fmt.Errorf("%d of %d texts work, generation %d", working, len(texts), tok.Generation)
	}
	return nil
}

// TestWellReplacedFindsWhatIsWrong, or the tests that ask it mean nothing.
func TestWellReplacedFindsWhatIsWrong(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	a := f.issue(forAna)
	b := rotate(t, f, a.Bearer, time.Hour)
	other := f.issue(forAna)
	for name, row := range map[string]struct {
		texts []string
		wrong bool
	}{
		"nothing":                    {[]string{a.Bearer, b.Bearer}, false},
		"an order that is not so":    {[]string{b.Bearer, a.Bearer, "x"}, true},
		"a rotation that is missing": {[]string{b.Bearer}, true},
		"a third that works":         {[]string{a.Bearer, other.Bearer, b.Bearer}, true},
		"one that is unknown":        {[]string{withSecret(a.Bearer, 1), b.Bearer}, true},
	} {
		if err := f.wellReplaced(a.ID, row.texts); (err != nil) != row.wrong {
			t.Errorf("%s: %v", name, err)
		}
	}
}
