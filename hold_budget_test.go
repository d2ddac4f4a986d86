package lapse_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// released is holder.hold with a context of its own.
func (h *holder) released(bearer string) (held context.Context, release context.CancelFunc) {
	h.t.Helper()
	ctx, release := context.WithCancel(h.ctx)
	held, tok, err := opened(h.Hold(ctx, bearer))
	if err != nil || tok.ID == (lapse.ID{}) {
		h.t.Fatalf("Hold: %+v, %v", tok, err)
	}
	return held, release
}

// left checks how many uses the token of id has left, and whether it was ended by which
// reason.
func (h *holder) left(what string, id lapse.ID, uses int, reason lapse.EndReason) {
	h.t.Helper()
	synctest.Wait()
	tok, err := h.Token(context.Background(), id)
	if err != nil || tok.UsesLeft != uses || tok.EndReason != reason || tok.EndedAt.IsZero() != (reason == 0) {
		h.t.Errorf("%s: %d uses left, ended by %v at %v, %v; want %d, %v", what, tok.UsesLeft, tok.EndReason, tok.EndedAt, err, uses, reason)
	}
}

// TestLastUseByHold sets UsesLeft to 0 and ends nothing; from then on every verb refuses
// the text; and the token ends, with EndExhausted, with its last connection.
func TestLastUseByHold(t *testing.T) {
	for _, on := range holdStores {
		var told []lapse.Event
		cfg := lapse.Config{Observe: func(_ context.Context, e lapse.Event) {
			if e.Kind == lapse.EventEnded {
				told = append(told, e)
			}
		}}
		inBubble(t, on.name, on.open, cfg, func(h *holder) {
			told = nil
			i := h.issue(lapse.Grant{MaxUses: 2})
			first, releaseFirst := h.released(i.Bearer)
			h.left("after the first use", i.ID, 1, 0)
			second, releaseSecond := h.released(i.Bearer)
			h.left("after the last use", i.ID, 0, 0)
			for name, verb := range bearerVerbs(h.Manager) {
				if name != "ExpireBearer" {
					wantIs(t, name, verb(h.ctx, i.Bearer), lapse.ErrExhausted)
				}
			}
			time.Sleep(10 * time.Second)
			h.alive("the first", first)
			h.alive("the second", second)
			releaseSecond() // which spent it; but another holds on
			h.left("while one is held", i.ID, 0, 0)
			h.alive("the first", first)
			releaseFirst()
			h.left("once none is held", i.ID, 0, lapse.EndExhausted)
			if len(told) != 1 || told[0].Token.EndReason != lapse.EndExhausted || !told[0].At.Equal(now()) {
				t.Errorf("told of %+v; want the one end", told)
			}
		})
	}
}

// TestSpentByHoldCanBeEnded: while it is held, whatever ends a token ends this one, with
// its own reason, and cuts the connection.
func TestSpentByHoldCanBeEnded(t *testing.T) {
	for _, on := range holdStores {
		for _, row := range endings {
			cfg := lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitEndOldest}}
			inBubble(t, on.name+"/"+row.name, on.open, cfg, func(h *holder) {
				i := h.issue(lapse.Grant{MaxUses: 1})
				held := h.hold(i.Bearer)
				time.Sleep(time.Minute)
				ended := now()
				if err := row.end(h, i); err != nil {
					t.Fatal(err)
				}
				h.wantRejection(h.cut(row.name, held, on.late), lapse.ErrRevoked, i.ID, ended, row.reason)
				h.left("afterwards", i.ID, 0, row.reason)
			})
		}
	}
}

// TestSpentByHoldEndsWithIt, whatever lets go of the connection.
func TestSpentByHoldEndsWithIt(t *testing.T) {
	dir := new(directory)
	for name, row := range map[string]struct {
		end    func(h *holder, release context.CancelFunc)
		reason lapse.EndReason
	}{
		"its context ends": {func(_ *holder, release context.CancelFunc) { release() }, lapse.EndExhausted},
		"its subject is refused": {func(*holder, context.CancelFunc) {
			dir.say("ana", func(context.Context) error { return errHoliday })
			time.Sleep(time.Minute)
		}, lapse.EndExhausted},
		"it runs out": {func(*holder, context.CancelFunc) { time.Sleep(30 * time.Minute) }, 0},
	} {
		for _, on := range holdStores {
			dir.say("ana", nil)
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{Admit: dir.check, Recheck: time.Minute}, func(h *holder) {
				i := h.issue(lapse.Grant{MaxUses: 1})
				held, release := h.released(i.Bearer)
				defer release()
				row.end(h, release)
				h.cut(name, held, on.late)
				h.left(name, i.ID, 0, row.reason)
			})
		}
	}
}

// TestHoldEndsBeforeItIsArmed: the context ends while the last use is being spent. Hold
// says so, and nothing is left that could be used or would have to be ended.
func TestHoldEndsBeforeItIsArmed(t *testing.T) {
	for name, other := range map[string]bool{"alone": false, "beside another": true} {
		store := &afterwards{Store: memory.New()}
		inBubble(t, name, func(*testing.T) storage.Store { return store }, lapse.Config{}, func(h *holder) {
			uses := map[bool]int{false: 1, true: 2}[other]
			i := h.issue(lapse.Grant{MaxUses: uses})
			letGo := func() {}
			var held context.Context
			if other {
				held, letGo = h.released(i.Bearer)
			}
			ctx, release := context.WithCancel(h.ctx)
			store.update.Store(&release)
			_, tok, err := opened(h.Hold(ctx, i.Bearer))
			wantIs(t, "Hold", err, context.Canceled)
			if tok != (lapse.Token{}) {
				t.Errorf("%+v with %v", tok, err)
			}
			if other {
				h.alive("the other", held)
				h.left("while the other is held", i.ID, 0, 0)
				letGo()
			}
			h.left("at last", i.ID, 0, lapse.EndExhausted)
		})
	}
}

// afterwards is a store that calls something after the next Update, before that returns.
type afterwards struct {
	*memory.Store
	update atomic.Pointer[context.CancelFunc]
}

func (s *afterwards) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	err := s.Store.Update(ctx, subject, fn)
	if f := s.update.Swap(nil); f != nil {
		(*f)()
		synctest.Wait() // until all have heard of it
	}
	return err
}

// TestSpentByHoldOnAFailingStore: a token whose end could not be written is good for
// nothing all the same.
func TestSpentByHoldOnAFailingStore(t *testing.T) {
	for _, mode := range []storagetest.Mode{storagetest.FailBefore, storagetest.FailAfter} {
		store := storagetest.NewFaulty(memory.New())
		inBubble(t, mode.String(), func(*testing.T) storage.Store { return store }, lapse.Config{}, func(h *holder) {
			i := h.issue(lapse.Grant{MaxUses: 1})
			_, release := h.released(i.Bearer)
			store.InjectOp(storagetest.OpUpdate, 1, mode, storage.ErrUnavailable)
			release()
			synctest.Wait()
			if !store.Fired() {
				t.Fatal("the fault did not happen")
			}
			_, err := h.Authenticate(h.ctx, i.Bearer)
			wantIs(t, "Authenticate", err, lapse.ErrExhausted)
			_, _, err = opened(h.Hold(h.ctx, i.Bearer))
			wantIs(t, "Hold", err, lapse.ErrExhausted)
		})
	}
}

// TestLastUseByHoldThatCannotBeTold: a last use that was stored although the store could
// not tell ends the token once no connection is held by it.
func TestLastUseByHoldThatCannotBeTold(t *testing.T) {
	for name, other := range map[string]bool{"alone": false, "beside another": true} {
		store := storagetest.NewFaulty(memory.New())
		inBubble(t, name, func(*testing.T) storage.Store { return store }, lapse.Config{}, func(h *holder) {
			letGo, uses := func() {}, 1
			if other {
				uses = 2
			}
			i := h.issue(lapse.Grant{MaxUses: uses})
			if other {
				_, letGo = h.released(i.Bearer)
			}
			store.InjectOp(storagetest.OpUpdate, 1, storagetest.FailAfter, storage.ErrOutcomeUnknown)
			_, _, err := opened(h.Hold(h.ctx, i.Bearer))
			wantIs(t, "Hold", err, lapse.ErrOutcomeUnknown)
			if other {
				h.left("while the other is held", i.ID, 0, 0)
				letGo()
			}
			h.left("at last", i.ID, 0, lapse.EndExhausted)
		})
	}
}

// TestSpentBesideAConnectionThatIsCut: the last connection of a spent token may be one
// that a rotation cuts, since an older text opened it.
func TestSpentBesideAConnectionThatIsCut(t *testing.T) {
	inBubble(t, "polled", holdStores[2].open, lapse.Config{}, func(h *holder) {
		i := h.issue(lapse.Grant{MaxUses: 2})
		old := h.hold(i.Bearer)
		next, err := h.Rotate(h.ctx, i.Bearer, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, release := h.released(next.Bearer)
		h.alive("not polled yet", old)
		release()
		wantIs(t, "cause", h.cut("rotated", old, 5*time.Second), lapse.ErrReplaced)
		h.left("once none is held", i.ID, 0, lapse.EndExhausted)
	})
}
