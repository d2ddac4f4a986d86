package lapse_test

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// wantReplaced checks that a connection was cut since the secret of a generation was
// replaced, which has ended no token.
func (h *holder) wantReplaced(cause error, id lapse.ID, generation uint32) {
	h.t.Helper()
	var why *lapse.Rejection
	if !errors.As(cause, &why) || why.Err != lapse.ErrReplaced || !errors.Is(cause, lapse.ErrUnauthenticated) {
		h.t.Fatalf("cut by %v; want ErrReplaced", cause)
	}
	if want := (lapse.Rejection{Err: lapse.ErrReplaced, ID: id, Subject: "ana", Generation: generation}); *why != want {
		h.t.Errorf("cut by %+v; want %+v", *why, want)
	}
}

// atOnce are the ways to replace a secret with an overlap of 0, given the current text.
var atOnce = map[string]func(h *holder, i lapse.Issued, bearer string) (lapse.Issued, error){
	"Rotate": func(h *holder, _ lapse.Issued, bearer string) (lapse.Issued, error) {
		return h.Rotate(h.ctx, bearer, 0)
	},
	"RotateID": func(h *holder, i lapse.Issued, _ string) (lapse.Issued, error) { return h.RotateID(h.ctx, i.ID, 0) },
	"Rotate by another Manager": func(h *holder, _ lapse.Issued, bearer string) (lapse.Issued, error) {
		return h.manager(lapse.Config{}).Rotate(h.ctx, bearer, 0)
	},
	"RotateID by another Manager": func(h *holder, i lapse.Issued, _ string) (lapse.Issued, error) {
		return h.manager(lapse.Config{}).RotateID(h.ctx, i.ID, 0)
	},
}

// TestHoldIsCutByRotationAtOnce: with an overlap of 0 exactly the connections are cut that
// an older text opened, each by ErrReplaced with the generation of that text. What is
// opened by the new text is held, and later rotations with an overlap cut nothing.
func TestHoldIsCutByRotationAtOnce(t *testing.T) {
	for _, on := range holdStores {
		for name, rotate := range atOnce {
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{}, func(h *holder) {
				i := h.issue(lapse.Grant{})
				other := h.hold(h.issue(lapse.Grant{}).Bearer)
				second := h.rotate(i.Bearer, time.Hour)
				held := []context.Context{h.hold(i.Bearer), h.hold(second), h.hold(second)}
				time.Sleep(time.Minute)
				third, err := rotate(h, i, second)
				if err != nil {
					t.Fatal(err)
				}
				kept := h.hold(third.Bearer)
				for n, generation := range []uint32{0, 1, 1} {
					h.wantReplaced(h.cut(name, held[n], on.late), i.ID, generation)
				}
				h.rotate(third.Bearer, time.Second)
				time.Sleep(10 * time.Minute)
				h.alive("opened by the new text", kept)
				h.alive("of another token", other)
				h.left("it lives", i.ID, 0, 0)
			})
		}
	}
}

// TestHoldIsCutByThePreviousText: Rotate with the previous text and an overlap of 0 is no
// repeat. It cuts what either text opened.
func TestHoldIsCutByThePreviousText(t *testing.T) {
	for _, on := range holdStores {
		inBubble(t, on.name, on.open, lapse.Config{}, func(h *holder) {
			i := h.issue(lapse.Grant{})
			second := h.rotate(i.Bearer, time.Hour)
			if again := h.rotate(i.Bearer, time.Hour); again != second {
				t.Error("no repeat, although the new text is unused")
			}
			held := []context.Context{h.hold(i.Bearer), h.hold(second)}
			time.Sleep(time.Minute)
			third := h.rotate(i.Bearer, 0)
			for generation, held := range held {
				h.wantReplaced(h.cut("leaked", held, on.late), i.ID, uint32(generation))
			}
			h.hold(third)
		})
	}
}

// TestHoldOfADelegateOfARotated is cut with an overlap of 0, since the delegate ends, and
// by nothing else.
func TestHoldOfADelegateOfARotated(t *testing.T) {
	for _, on := range holdStores {
		inBubble(t, on.name, on.open, lapse.Config{}, func(h *holder) {
			i := h.issue(lapse.Grant{})
			near, err := h.Delegate(h.ctx, i.Bearer, lapse.Grant{})
			if err != nil {
				t.Fatal(err)
			}
			far, err := h.Delegate(h.ctx, near.Bearer, lapse.Grant{})
			if err != nil {
				t.Fatal(err)
			}
			held := []context.Context{h.hold(near.Bearer), h.hold(far.Bearer)}
			next := h.rotate(i.Bearer, time.Second)
			time.Sleep(10 * time.Second)
			for _, held := range held {
				h.alive("rotated with an overlap", held)
			}
			h.rotate(next, 0)
			at := now()
			h.wantRejection(h.cut("near", held[0], on.late), lapse.ErrRevoked, near.ID, at, lapse.EndRotated)
			h.wantRejection(h.cut("far", held[1], on.late), lapse.ErrRevoked, far.ID, at, lapse.EndParent)
		})
	}
}

// between is a store that calls something between a read and its answer.
type between struct {
	storage.Store
	get atomic.Pointer[func()]
}

func (b *between) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	r, err := b.Store.Get(ctx, id)
	if f := b.get.Swap(nil); f != nil {
		(*f)()
	}
	return r, err
}

// telling is a between whose store tells.
type telling struct{ *between }

func (s telling) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	return s.Store.(*memory.Store).Watch(ctx)
}

// TestHoldAgainstRotation: the token is rotated at once after Hold has read it, and before
// the connection is armed. It is refused, or cut, by ErrReplaced; and a rotation with an
// overlap does not harm it.
func TestHoldAgainstRotation(t *testing.T) {
	for name, row := range map[string]struct {
		tells, standing bool
		late            time.Duration
	}{
		"told":                   {true, false, 0},
		"told, beside another":   {true, true, 0},
		"polled":                 {false, false, 5 * time.Second},
		"polled, beside another": {false, true, 5 * time.Second},
	} {
		for _, overlap := range []time.Duration{0, time.Minute} {
			store := &between{}
			open := func(*testing.T) storage.Store {
				store.Store = memory.New()
				if row.tells {
					return telling{store}
				}
				return store
			}
			inBubble(t, name+"/"+overlap.String(), open, lapse.Config{}, func(h *holder) {
				i := h.issue(lapse.Grant{})
				if row.standing {
					h.hold(h.issue(lapse.Grant{Subject: "bob"}).Bearer)
				}
				synctest.Wait()
				rotate := func() {
					h.rotate(i.Bearer, overlap)
					synctest.Wait() // until it has been looked at, if it is told
				}
				store.get.Store(&rotate)
				held, _, err := opened(h.Hold(h.ctx, i.Bearer))
				if overlap != 0 {
					if err != nil {
						t.Fatalf("Hold: %v", err)
					}
					time.Sleep(10 * time.Minute)
					h.alive("rotated with an overlap", held)
					return
				}
				cause := h.cut("rotated at once", held, row.late)
				h.wantReplaced(cause, i.ID, 0)
				if err != nil && err != cause {
					t.Errorf("Hold: %v; its context ended by %v", err, cause)
				}
			})
		}
	}
}
