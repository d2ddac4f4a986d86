package lapse_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// endings are the ways in which somebody ends a token while it is held, and what the
// cause says of each.
var endings = []struct {
	name   string
	end    func(h *holder, i lapse.Issued) error
	reason lapse.EndReason
}{
	{"Expire", func(h *holder, i lapse.Issued) error { _, err := h.Expire(h.ctx, i.ID); return err }, lapse.EndRevoked},
	{"ExpireBearer", func(h *holder, i lapse.Issued) error { _, err := h.ExpireBearer(h.ctx, i.Bearer); return err }, lapse.EndRevoked},
	{"ExpireSubject", func(h *holder, _ lapse.Issued) error { _, err := h.ExpireSubject(h.ctx, "ana"); return err }, lapse.EndSubject},
	{"by another Manager", func(h *holder, i lapse.Issued) error {
		_, err := h.manager(lapse.Config{Prefix: "admin"}).Expire(h.ctx, i.ID)
		return err
	}, lapse.EndRevoked},
	{"evicted", func(h *holder, _ lapse.Issued) error {
		_, err := h.Issue(h.ctx, lapse.Grant{Subject: "ana"})
		return err
	}, lapse.EndEvicted},
	{"its family was reused", func(h *holder, i lapse.Issued) error { h.end(i.ID, lapse.EndReused); return nil }, lapse.EndReused},
	{"rotated without a successor", func(h *holder, i lapse.Issued) error { h.end(i.ID, lapse.EndRotated); return nil }, lapse.EndRotated},
}

// TestHoldIsCutByEnds: each way to end a token cuts all connections that are held by it, soon, and
// their contexts say why.
func TestHoldIsCutByEnds(t *testing.T) {
	cfg := lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitEndOldest}}
	for _, on := range holdStores {
		for _, row := range endings {
			inBubble(t, on.name+"/"+row.name, on.open, cfg, func(h *holder) {
				i := h.issue(lapse.Grant{})
				first, second := h.hold(i.Bearer), h.hold(i.Bearer)
				other := h.hold(granted(t, h.Manager, lapse.Grant{Subject: "bob"}).Bearer)
				time.Sleep(time.Minute + 123*time.Millisecond)
				h.alive("before it was ended", first)
				ended := now()
				if err := row.end(h, i); err != nil {
					t.Fatal(err)
				}
				for _, held := range []context.Context{first, second} {
					h.wantRejection(h.cut(row.name, held, on.late), lapse.ErrRevoked, i.ID, ended, row.reason)
				}
				h.alive("somebody else", other)
			})
		}
	}
}

// TestHoldRunsOut: to the millisecond, and not before.
func TestHoldRunsOut(t *testing.T) {
	for _, on := range holdStores {
		for name, grant := range map[string]lapse.Grant{"plain": {}, "the last use of a budget": {MaxUses: 1}} {
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{}, func(h *holder) {
				i := h.issue(grant)
				held := h.hold(i.Bearer)
				time.Sleep(30*time.Minute - time.Millisecond)
				h.alive("a millisecond before", held)
				time.Sleep(time.Millisecond)
				why := lapse.ErrExpired
				if grant.MaxUses > 0 {
					why = lapse.ErrExhausted
				}
				h.wantRejection(h.cut("at its time", held, 0), why, i.ID, i.ExpiresAt, 0)
			})
		}
	}
}

// TestHoldOfASweptToken: a record that is gone was dead.
func TestHoldOfASweptToken(t *testing.T) {
	for _, on := range holdStores {
		inBubble(t, on.name, on.open, lapse.Config{}, func(h *holder) {
			i := h.issue(lapse.Grant{})
			held := h.hold(i.Bearer)
			if _, err := h.store.Sweep(h.ctx, i.ExpiresAt.Add(time.Second), 1); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Minute)
			lapsetest.WantIs(t, "cause", h.cut("swept", held, 0), lapse.ErrUnknown)
		})
	}
}

// TestHoldIsCutByClose: the store is closed, and that is what they learn.
func TestHoldIsCutByClose(t *testing.T) {
	for _, on := range holdStores {
		inBubble(t, on.name, on.open, lapse.Config{}, func(h *holder) {
			i := h.issue(lapse.Grant{})
			held := h.hold(i.Bearer)
			if err := h.store.Close(); err != nil {
				t.Fatal(err)
			}
			cause := h.cut("closed", held, on.late)
			lapsetest.WantIs(t, "cause", cause, lapse.ErrClosed)
			if errors.Is(cause, lapse.ErrUnauthenticated) {
				t.Errorf("%v reads as a bad token", cause)
			}
			held, _, err := lapsetest.Opened(h.Hold(h.ctx, i.Bearer))
			lapsetest.WantIs(t, "Hold of a closed store", err, lapse.ErrClosed)
			lapsetest.WantIs(t, "its context", context.Cause(held), lapse.ErrClosed)
		})
	}
}

// TestHoldRefuses what Authenticate does, with the same error, and its context has
// ended by then.
func TestHoldRefuses(t *testing.T) {
	refuse := func(_ context.Context, tok lapse.Token) error {
		if tok.Subject == "eve" {
			return lapse.ErrRefused
		}
		return nil
	}
	for name, row := range map[string]struct {
		bearer func(h *holder) string
		want   error
	}{
		"malformed": {func(*holder) string { return "lapse_nonsense" }, lapse.ErrMalformed},
		"unknown": {func(h *holder) string {
			return granted(t, managerOn(t, lapse.Config{}), lapse.Grant{Subject: "ana"}).Bearer
		}, lapse.ErrUnknown},
		"of another prefix": {func(h *holder) string {
			return granted(t, h.manager(lapse.Config{Prefix: "key"}), lapse.Grant{Subject: "ana"}).Bearer
		}, lapse.ErrUnknown},
		"ended": {func(h *holder) string {
			i := h.issue(lapse.Grant{})
			h.end(i.ID, lapse.EndReused)
			return i.Bearer
		}, lapse.ErrRevoked},
		"run out": {func(h *holder) string {
			i := h.issue(lapse.Grant{TTL: time.Second})
			time.Sleep(time.Second)
			return i.Bearer
		}, lapse.ErrExpired},
		"spent": {func(h *holder) string {
			i := h.issue(lapse.Grant{MaxUses: 1})
			h.hold(i.Bearer)
			return i.Bearer
		}, lapse.ErrExhausted},
		"subject": {func(h *holder) string { return h.issue(lapse.Grant{Subject: "eve"}).Bearer }, lapse.ErrRefused},
	} {
		onMemory(t, name, lapse.Config{Admit: refuse}, func(h *holder) {
			bearer := row.bearer(h)
			for range 100 { // whatever the first look at it finds
				held, tok, err := lapsetest.Opened(h.Hold(h.ctx, bearer))
				lapsetest.WantIs(t, "Hold", err, row.want)
				if held.Err() == nil || context.Cause(held) != err || tok != (lapse.Token{}) {
					t.Fatalf("%+v, %v; want nothing, and a context that ended by %v", tok, context.Cause(held), err)
				}
			}
		})
	}
}

// mute is a store that tells nothing.
type mute struct{ storage.Store }

// holdStores are the stores on which holds are tried, and how late an end may be there.
var holdStores = []struct {
	name string
	open func(t *testing.T) storage.Store
	late time.Duration
}{
	{"memory", func(*testing.T) storage.Store { return memory.New() }, 0},
	{"bolt", openBolt, 0},
	{"polled", func(*testing.T) storage.Store { return mute{memory.New()} }, 5 * time.Second},
}

func openBolt(t *testing.T) storage.Store {
	s, err := bolt.Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// holder is somebody in a bubble who holds connections. Whatever goroutine is left
// when the bubble ends fails the test.
type holder struct {
	*lapse.Manager
	t     *testing.T
	ctx   context.Context
	store storage.Store

	bearer string // of what was issued last
}

// inBubble runs test for a holder on store, and then lets go of everything.
func inBubble(t *testing.T, name string, open func(t *testing.T) storage.Store, cfg lapse.Config, test func(h *holder)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, release := context.WithCancel(context.Background())
			h := &holder{t: t, ctx: ctx, store: open(t)}
			defer h.store.Close()
			defer synctest.Wait()
			defer release()
			h.Manager = h.manager(cfg)
			test(h)
		})
	})
}

// onMemory is inBubble on a store in memory.
func onMemory(t *testing.T, name string, cfg lapse.Config, test func(h *holder)) {
	t.Helper()
	inBubble(t, name, func(*testing.T) storage.Store { return memory.New() }, cfg, test)
}

// manager returns another Manager on the store.
func (h *holder) manager(cfg lapse.Config) *lapse.Manager {
	h.t.Helper()
	m, err := lapse.New(h.store, cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

func (h *holder) issue(g lapse.Grant) lapse.Issued {
	h.t.Helper()
	if g.Subject == "" {
		g.Subject = "ana"
	}
	i := granted(h.t, h.Manager, g)
	h.bearer = i.Bearer
	return i
}

func (h *holder) hold(bearer string) context.Context {
	h.t.Helper()
	held, tok, err := lapsetest.Opened(h.Hold(h.ctx, bearer))
	if err != nil || tok.ID == (lapse.ID{}) || held.Err() != nil {
		h.t.Fatalf("Hold: %+v, %v, %v", tok, err, context.Cause(held))
	}
	return held
}

// alive checks that held is not cut by anything that has happened so far.
func (h *holder) alive(what string, held context.Context) {
	h.t.Helper()
	synctest.Wait()
	if held.Err() != nil {
		h.t.Fatalf("%s: cut by %v", what, context.Cause(held))
	}
}

// cut checks that held ends within late, and returns why it did.
func (h *holder) cut(what string, held context.Context, late time.Duration) error {
	h.t.Helper()
	synctest.Wait()
	if late > 0 && held.Err() == nil {
		select {
		case <-held.Done():
		case <-time.After(late):
			synctest.Wait() // for what is due at this very instant
		}
	}
	if held.Err() == nil {
		h.t.Fatalf("%s: not cut after %v", what, late)
	}
	return context.Cause(held)
}

// wantRejection checks why somebody was cut.
func (h *holder) wantRejection(cause, err error, id lapse.ID, at time.Time, reason lapse.EndReason) {
	h.t.Helper()
	var why *lapse.Rejection
	switch {
	case !errors.Is(cause, err) || !errors.As(cause, &why):
		h.t.Errorf("cut by %v; want a rejection by %v", cause, err)
	case why.ID != id || why.Subject != "ana" || !why.At.Equal(at) || why.Reason != reason:
		h.t.Errorf("cut by %+v; want token %v, %v at %v", *why, id, reason, at)
	}
}

// change replaces the record of id, and may put another one with it.
func (h *holder) change(id lapse.ID, f func(r *storage.Record), more ...storage.Record) {
	h.t.Helper()
	err := h.store.Update(context.Background(), "ana", func(tx storage.Tx) error {
		r, err := tx.Get(id)
		if err != nil {
			return err
		}
		f(&r)
		for _, m := range more {
			if err := tx.Put(m); err != nil {
				return err
			}
		}
		return tx.Put(r)
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *holder) end(id lapse.ID, why lapse.EndReason) {
	h.t.Helper()
	h.change(id, func(r *storage.Record) { r.EndedAt, r.EndReason = now(), why })
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// released is holder.hold with a context of its own.
func (h *holder) released(bearer string) (held context.Context, release context.CancelFunc) {
	h.t.Helper()
	ctx, release := context.WithCancel(h.ctx)
	held, tok, err := lapsetest.Opened(h.Hold(ctx, bearer))
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
					lapsetest.WantIs(t, name, verb(h.ctx, i.Bearer), lapse.ErrExhausted)
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
			_, tok, err := lapsetest.Opened(h.Hold(ctx, i.Bearer))
			lapsetest.WantIs(t, "Hold", err, context.Canceled)
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
			lapsetest.WantIs(t, "Authenticate", err, lapse.ErrExhausted)
			_, _, err = lapsetest.Opened(h.Hold(h.ctx, i.Bearer))
			lapsetest.WantIs(t, "Hold", err, lapse.ErrExhausted)
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
			_, _, err := lapsetest.Opened(h.Hold(h.ctx, i.Bearer))
			lapsetest.WantIs(t, "Hold", err, lapse.ErrOutcomeUnknown)
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
		lapsetest.WantIs(t, "cause", h.cut("rotated", old, 5*time.Second), lapse.ErrReplaced)
		h.left("once none is held", i.ID, 0, lapse.EndExhausted)
	})
}

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
	if ctx.Value(betweenKey{}) == nil { // the scheduler reads, too
		return r, err
	}
	if f := b.get.Swap(nil); f != nil {
		(*f)()
	}
	return r, err
}

// betweenKey marks the context of the call whose Get is followed by something.
type betweenKey struct{}

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
				held, _, err := lapsetest.Opened(h.Hold(context.WithValue(h.ctx, betweenKey{}, true), i.Bearer))
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

// rotate rotates by bearer with an overlap, which must work, and returns the new text.
func (h *holder) rotate(bearer string, overlap time.Duration) string {
	h.t.Helper()
	next, err := h.Rotate(h.ctx, bearer, overlap)
	if err != nil {
		h.t.Fatalf("Rotate: %v", err)
	}
	return next.Bearer
}

// TestHoldFollowsRotation: rotating a token with an overlap cuts no connection, and each
// rotation gives the connections a new life with the token.
func TestHoldFollowsRotation(t *testing.T) {
	for _, on := range holdStores {
		for _, rotations := range []int{1, 2, 3, 10} {
			for _, pause := range []time.Duration{0, time.Minute} {
				name := fmt.Sprint(on.name, "/", rotations, " rotations, ", pause, " apart")
				inBubble(t, name, on.open, lapse.Config{}, func(h *holder) {
					i := h.issue(lapse.Grant{})
					bearer, held := i.Bearer, h.hold(i.Bearer)
					byEach := []context.Context{held}
					for range rotations {
						time.Sleep(pause)
						bearer = h.rotate(bearer, time.Second)
						byEach = append(byEach, h.hold(bearer))
					}
					end := now().Add(30 * time.Minute)
					time.Sleep(30*time.Minute - time.Millisecond)
					for n, held := range byEach {
						h.alive(fmt.Sprint("1 ms before its end, opened by generation ", n), held)
					}
					time.Sleep(time.Millisecond)
					for _, held := range byEach {
						h.wantRejection(h.cut("at its end", held, 0), lapse.ErrExpired, i.ID, end, 0)
					}
				})
			}
		}
	}
}

// TestHoldIsCutByEndsAfterRotation: what ends the token by any of its texts, or by its ID,
// cuts the connections that each of them opened.
func TestHoldIsCutByEndsAfterRotation(t *testing.T) {
	for _, on := range holdStores {
		for _, row := range endings {
			cfg := lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitEndOldest}}
			inBubble(t, on.name+"/"+row.name, on.open, cfg, func(h *holder) {
				i := h.issue(lapse.Grant{}) // of which the text is the previous one
				first := h.hold(i.Bearer)
				second := h.hold(h.rotate(i.Bearer, 10*time.Minute))
				time.Sleep(time.Minute)
				ended := now()
				if err := row.end(h, i); err != nil {
					t.Fatal(err)
				}
				for generation, held := range []context.Context{first, second} {
					cause := h.cut(row.name, held, on.late)
					h.wantRejection(cause, lapse.ErrRevoked, i.ID, ended, row.reason)
					if r := new(lapse.Rejection); errors.As(cause, &r) && r.Generation != uint32(generation) {
						t.Errorf("cut by %v; want the generation %d, of the text that opened it", cause, generation)
					}
				}
			})
		}
	}
}

// TestHoldOutlivesItsText: a connection that a text opened stays when the instant has come
// at which that text works no more, and when yet another text has replaced it.
func TestHoldOutlivesItsText(t *testing.T) {
	for _, on := range holdStores {
		inBubble(t, on.name, on.open, lapse.Config{}, func(h *holder) {
			i := h.issue(lapse.Grant{})
			next := h.rotate(i.Bearer, time.Minute)
			byPrevious := h.hold(i.Bearer)
			time.Sleep(time.Minute - time.Millisecond)
			h.hold(i.Bearer)
			time.Sleep(time.Millisecond)
			_, _, err := lapsetest.Opened(h.Hold(h.ctx, i.Bearer))
			lapsetest.WantIs(t, "Hold by the previous text at its instant", err, lapse.ErrReplaced)
			h.alive("by the previous text", byPrevious)
			byNext := h.hold(next)
			h.rotate(next, time.Minute)
			time.Sleep(20 * time.Minute)
			h.alive("two rotations later", byPrevious)
			h.alive("a rotation later", byNext)
		})
	}
}

// TestHoldThroughSweeps: a connection that is held for longer than the retention, while
// its token is rotated and swept around, is held on and can be cut.
func TestHoldThroughSweeps(t *testing.T) {
	for _, on := range holdStores {
		inBubble(t, on.name, on.open, lapse.Config{Policy: lapse.Policy{Retention: time.Hour}}, func(h *holder) {
			i := h.issue(lapse.Grant{})
			bearer, held := i.Bearer, h.hold(i.Bearer)
			for range 30 {
				bearer = h.rotate(bearer, time.Minute)
				time.Sleep(10 * time.Minute)
				if n, err := h.Sweep(h.ctx); n != 0 || err != nil {
					t.Fatalf("Sweep: %d, %v; want nothing, for nothing is dead", n, err)
				}
				if _, err := h.Authenticate(h.ctx, bearer); err != nil {
					t.Fatal(err)
				}
			}
			h.alive("five hours", held)
			ended := now()
			if _, err := h.ExpireBearer(h.ctx, bearer); err != nil {
				t.Fatal(err)
			}
			h.wantRejection(h.cut("ended", held, on.late), lapse.ErrRevoked, i.ID, ended, lapse.EndRevoked)
		})
	}
}

// TestHoldReadsOncePerRotation: however often a token was rotated, the next rotation costs
// its connections one read.
func TestHoldReadsOncePerRotation(t *testing.T) {
	onMoody(t, "rotated", lapse.Config{}, func(h *holder, store *moody) {
		i := h.issue(lapse.Grant{})
		bearer, held := i.Bearer, h.hold(i.Bearer)
		synctest.Wait()
		var reads atomic.Int32
		count := func(context.Context) error { reads.Add(1); return nil }
		store.get.Store(&count)
		for n := range 1_000 {
			reads.Store(0)
			bearer = h.rotate(bearer, time.Minute)
			synctest.Wait()
			if got := reads.Load(); got != 2 {
				t.Fatalf("rotation %d: %d reads; want that of Rotate, and one", n+1, got)
			}
		}
		h.alive("a thousand rotations", held)
	})
}

// TestHoldOfADelegate is cut by what becomes of those it was delegated from.
func TestHoldOfADelegate(t *testing.T) {
	for name, row := range map[string]struct {
		budget int
		do     func(h *holder, first, second lapse.Issued) error
		after  time.Duration // until it is cut
		reason lapse.EndReason
		noIdea bool // neither when nor why
	}{
		"the first ends":  {0, func(h *holder, i, _ lapse.Issued) error { _, err := h.Expire(h.ctx, i.ID); return err }, 0, lapse.EndParent, false},
		"the second ends": {0, func(h *holder, _, i lapse.Issued) error { _, err := h.Expire(h.ctx, i.ID); return err }, 0, lapse.EndParent, false},
		"the first ends, and its own budget is spent": {1, func(h *holder, i, _ lapse.Issued) error {
			_, err := h.Expire(h.ctx, i.ID)
			return err
		}, 0, lapse.EndParent, false},
		"the first runs out": {0, func(*holder, lapse.Issued, lapse.Issued) error { return nil }, 10 * time.Minute, 0, false},
		"the first is renewed": {0, func(h *holder, i, _ lapse.Issued) error { _, err := h.Authenticate(h.ctx, i.Bearer); return err },
			11 * time.Minute, 0, false},
		"the first is swept": {0, func(h *holder, i, _ lapse.Issued) error {
			_, err := h.store.Sweep(h.ctx, i.ExpiresAt.Add(time.Millisecond), 1)
			return err
		}, 10 * time.Minute, 0, true},
	} {
		for _, on := range holdStores {
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{Policy: lapse.Policy{MaxTTL: time.Hour}}, func(h *holder) {
				first := h.issue(lapse.Grant{TTL: 11 * time.Minute})
				second, err := h.Delegate(h.ctx, first.Bearer, lapse.Grant{TTL: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				third, err := h.Delegate(h.ctx, second.Bearer, lapse.Grant{TTL: time.Hour, MaxUses: row.budget})
				if err != nil {
					t.Fatal(err)
				}
				held := h.hold(third.Bearer)
				time.Sleep(time.Minute)
				h.alive("for a minute", held)
				at := now()
				if err := row.do(h, first, second); err != nil {
					t.Fatal(err)
				}
				late := on.late
				if row.noIdea {
					lapsetest.WantIs(t, "cause", h.cut(name, held, row.after), lapse.ErrExpired)
					return
				}
				if row.after > 0 {
					time.Sleep(row.after - time.Millisecond)
					h.alive("until then", held)
					late = time.Millisecond
				}
				why := lapse.ErrRevoked
				if row.reason == 0 {
					why = lapse.ErrExpired
				}
				h.wantRejection(h.cut(name, held, late), why, third.ID, at.Add(row.after), row.reason)
			})
		}
	}
}

var manyHolds = flag.Int("holds", 8_000, "how often TestHoldAndRelease holds and releases")

// TestHoldAndRelease leaves no goroutine and no memory behind: released one by one, and
// while another one is held all the time.
func TestHoldAndRelease(t *testing.T) {
	for name, standing := range map[string]bool{"alone": false, "beside another": true} {
		onMemory(t, name, lapse.Config{}, func(h *holder) {
			none := serving() // for tests of before
			other := h.issue(lapse.Grant{Subject: "bob", TTL: time.Hour})
			if standing {
				h.hold(other.Bearer)
			}
			i := h.issue(lapse.Grant{TTL: time.Hour})
			h.holdAndRelease(i.Bearer, 5_000) // maps have grown by then
			goroutines, bytes := serving(), heap()
			h.holdAndRelease(i.Bearer, *manyHolds)
			if n := serving(); n != goroutines || standing != (n > none) {
				t.Errorf("%d goroutines serve holds; want %d as before, and %d without a hold", n, goroutines, none)
			}
			if more := heap() - bytes; more > 1<<20 {
				t.Errorf("%d bytes more than before", more)
			}
		})
	}
}

func (h *holder) holdAndRelease(bearer string, times int) {
	h.t.Helper()
	for n := range times {
		ctx, release := context.WithCancel(h.ctx)
		if _, _, err := lapsetest.Opened(h.Hold(ctx, bearer)); err != nil {
			h.t.Fatal(err)
		}
		release()
		if n%1_000 == 0 {
			synctest.Wait()
		}
	}
	synctest.Wait()
}

// serving returns how many goroutines serve holds.
func serving() int {
	buf := make([]byte, 1<<20)
	stacks := string(buf[:runtime.Stack(buf, true)])
	const created = "created by github.com/seed-55daa01a/lapse"
	return strings.Count(stacks, created+".") + strings.Count(stacks, created+"/internal/hold.")
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestHoldLeavesNothing, however it ends: the scheduler comes with the first hold and
// goes with the last.
func TestHoldLeavesNothing(t *testing.T) {
	for name, end := range map[string]func(h *holder, i lapse.Issued, release func()){
		"released":       func(_ *holder, _ lapse.Issued, release func()) { release() },
		"released twice": func(_ *holder, _ lapse.Issued, release func()) { release(); release() },
		"ended":          func(h *holder, i lapse.Issued, _ func()) { h.end(i.ID, lapse.EndRevoked) },
		"ended, then released": func(h *holder, i lapse.Issued, release func()) {
			h.end(i.ID, lapse.EndRevoked)
			synctest.Wait()
			release()
		},
		"released, then ended":  func(h *holder, i lapse.Issued, release func()) { release(); h.end(i.ID, lapse.EndRevoked) },
		"ran out":               func(*holder, lapse.Issued, func()) { time.Sleep(30 * time.Minute) },
		"ran out, released too": func(_ *holder, _ lapse.Issued, release func()) { time.Sleep(30 * time.Minute); release() },
		"closed":                func(h *holder, _ lapse.Issued, _ func()) { h.store.Close() },
	} {
		for _, on := range holdStores {
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{}, func(h *holder) {
				synctest.Wait()
				before := serving()
				i := h.issue(lapse.Grant{})
				ctx, release := context.WithCancel(context.Background())
				defer release()
				held, _, err := lapsetest.Opened(h.Hold(ctx, i.Bearer))
				if err != nil || serving() == before {
					t.Fatal(err, serving())
				}
				end(h, i, release)
				h.cut(name, held, 5*time.Second)
				if n := serving(); n != before {
					t.Errorf("%d goroutines; want %d as before", n, before)
				}
			})
		}
	}
}

// TestHoldCallbacksBlock: a function that runs after one connection was cut delays no cut of another
// connection, however long the function takes.
func TestHoldCallbacksBlock(t *testing.T) {
	onMemory(t, "blocked", lapse.Config{}, func(h *holder) {
		open := make(chan struct{})
		defer close(open)
		var held []context.Context
		for range 10 {
			held = append(held, h.hold(h.issue(lapse.Grant{}).Bearer))
			context.AfterFunc(held[len(held)-1], func() { <-open })
		}
		if _, err := h.ExpireSubject(h.ctx, "ana"); err != nil {
			t.Fatal(err)
		}
		for _, held := range held {
			h.cut("with its subject", held, 0)
		}
		i := h.issue(lapse.Grant{TTL: time.Minute})
		later := h.hold(i.Bearer)
		h.cut("ran out", later, time.Minute)
	})
}

// TestHoldEndsWithItsParent, and then says what its parent does.
func TestHoldEndsWithItsParent(t *testing.T) {
	onMemory(t, "parent", lapse.Config{}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		ctx, release := context.WithCancelCause(h.ctx)
		held, _, err := lapsetest.Opened(h.Hold(ctx, i.Bearer))
		if err != nil {
			t.Fatal(err)
		}
		type key struct{}
		beneath, _, err := lapsetest.Opened(h.Hold(context.WithValue(held, key{}, "value"), h.issue(lapse.Grant{Subject: "bob"}).Bearer))
		if err != nil || beneath.Value(key{}) != "value" {
			t.Fatalf("%v, %v", err, beneath.Value(key{}))
		}
		release(errDisk)
		for _, held := range []context.Context{held, beneath} {
			lapsetest.WantIs(t, "Err", held.Err(), context.Canceled)
			lapsetest.WantIs(t, "cause", context.Cause(held), errDisk)
		}
		_, err = h.Hold(ctx, i.Bearer)
		lapsetest.WantIs(t, "Hold with an ended context", err, context.Canceled)
		ctx, cancel := context.WithTimeout(h.ctx, time.Minute)
		defer cancel()
		held, _, err = lapsetest.Opened(h.Hold(ctx, i.Bearer))
		if err != nil {
			t.Fatal(err)
		}
		if deadline, ok := held.Deadline(); !ok || !deadline.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("Deadline: %v, %v; want the caller's own", deadline, ok)
		}
		lapsetest.WantIs(t, "cause", h.cut("timed out", held, time.Minute), context.DeadlineExceeded)
	})
}

// TestHoldCancelledAnywhere: a caller may give up before and after each call that Hold
// makes; then it gets the context's error, or a context that has ended.
func TestHoldCancelledAnywhere(t *testing.T) {
	for _, grant := range []lapse.Grant{{}, {MaxUses: 5}} {
		for calls := range 5 {
			for _, deaf := range []bool{false, true} {
				store := &quitter{Faulty: storagetest.NewFaulty(memory.New()), deaf: deaf}
				inBubble(t, "", func(*testing.T) storage.Store { return store }, lapse.Config{}, func(h *holder) {
					i := h.issue(grant)
					ctx, release := context.WithCancel(h.ctx)
					store.release, store.left = release, calls
					if calls == 0 {
						release()
					}
					held, tok, err := lapsetest.Opened(h.Hold(ctx, i.Bearer))
					store.left = 0
					release()
					synctest.Wait()
					lapsetest.WantIs(t, "Err", held.Err(), context.Canceled)
					if err != nil && (!errors.Is(err, context.Canceled) || tok != (lapse.Token{})) {
						t.Errorf("Hold: %+v, %v", tok, err)
					}
					if errors.Is(err, lapse.ErrUnauthenticated) {
						t.Errorf("%v reads as a bad token", err)
					}
				})
			}
		}
	}
}

// quitter has its caller give up at one of the calls, and may be deaf to that.
type quitter struct {
	*storagetest.Faulty
	release func()
	left    int
	deaf    bool
}

func (q *quitter) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	return q.Faulty.Get(q.count(ctx), id)
}

func (q *quitter) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	return q.Faulty.Touch(q.count(ctx), id, use)
}

func (q *quitter) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return q.Faulty.Update(q.count(ctx), subject, func(tx storage.Tx) error {
		q.count(ctx)
		return fn(tx)
	})
}

func (q *quitter) count(ctx context.Context) context.Context {
	if q.left--; q.left == 0 {
		q.release()
		if q.deaf {
			synctest.Wait() // until all have heard of it
		}
	}
	if q.deaf {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// TestHoldThroughPanics: one that passes through Hold leaves nothing registered.
func TestHoldThroughPanics(t *testing.T) {
	for name, cfg := range map[string]lapse.Config{
		"of the store":                       {},
		"of Admit":                           {Admit: func(_ context.Context, tok lapse.Token) error { panic(errDisk) }},
		"of Admit, which ends its goroutine": {Admit: func(context.Context, lapse.Token) error { runtime.Goexit(); return nil }},
	} {
		faulty := storagetest.NewFaulty(memory.New())
		inBubble(t, name, func(*testing.T) storage.Store { return faulty }, cfg, func(h *holder) {
			i := h.issue(lapse.Grant{})
			if cfg.Admit == nil {
				faulty.InjectOp(storagetest.OpGet, 1, storagetest.Panic, errDisk)
			}
			before := serving()
			left := make(chan any)
			go func() {
				defer func() {
					p := recover()
					left <- p
				}()
				h.Hold(context.Background(), i.Bearer)
			}()
			if p := <-left; p != errDisk && name != "of Admit, which ends its goroutine" {
				t.Errorf("it ended with %v", p)
			}
			synctest.Wait()
			if n := serving(); n != before {
				t.Errorf("%d goroutines; want %d as before", n, before)
			}
		})
	}
}

// TestHoldOnAMock: the same on a clock that somebody moves.
func TestHoldOnAMock(t *testing.T) {
	for _, row := range []struct {
		name  string
		moves []time.Duration
		cut   bool
	}{
		{"1 ms before", []time.Duration{30*time.Minute - time.Millisecond}, false},
		{"1 ns before", []time.Duration{30*time.Minute - time.Nanosecond}, false},
		{"at", []time.Duration{30 * time.Minute}, true},
		{"1 ms after", []time.Duration{30*time.Minute + time.Millisecond}, true},
		{"in steps", []time.Duration{29 * time.Minute, 59 * time.Second, 999 * time.Millisecond, time.Millisecond}, true},
		{"an hour after", []time.Duration{90 * time.Minute}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			mock := clock.NewMock()
			mock.Set(lapsetest.StartMilli)
			m, err := lapse.New(memory.New(), lapse.Config{Clock: mock, PollHolds: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			ctx, release := context.WithCancel(t.Context())
			defer release()
			held, _, err := lapsetest.Opened(m.Hold(ctx, granted(t, m, lapse.Grant{Subject: "ana"}).Bearer))
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range row.moves {
				if err := held.Err(); err != nil {
					t.Fatalf("cut by %v at %v", context.Cause(held), mock.Now())
				}
				mock.Add(d)
			}
			if row.cut {
				<-held.Done()
				lapsetest.WantIs(t, "cause", context.Cause(held), lapse.ErrExpired)
			} else if held.Err() != nil {
				t.Errorf("cut by %v at %v", context.Cause(held), mock.Now())
			}
		})
	}
}

// bentClock is the bubble's clock until somebody sets it: what waits does not notice.
type bentClock struct{ by atomic.Int64 }

func (c *bentClock) Now() time.Time                         { return time.Now().Add(time.Duration(c.by.Load())) }
func (c *bentClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (c *bentClock) step(d time.Duration)                   { c.by.Add(int64(d)) }

// TestHoldThroughClockSteps: a clock that was set, or a machine that slept, is noticed
// within 15 seconds, and by then every hold is right again.
func TestHoldThroughClockSteps(t *testing.T) {
	for _, row := range []struct {
		name      string
		wait      time.Duration
		step      time.Duration
		cutWithin time.Duration // after the step
		notBefore time.Duration
	}{
		{"eight hours asleep", time.Minute, 8 * time.Hour, 15 * time.Second, 0},
		{"to the very end", time.Minute, 29 * time.Minute, 15 * time.Second, 0},
		{"almost to the end", time.Minute, 29*time.Minute - 30*time.Second, 30 * time.Second, 30 * time.Second},
		{"back", 29 * time.Minute, -time.Hour, 61 * time.Minute, 61 * time.Minute},
		{"back to 1970", 29 * time.Minute, -30 * 365 * 24 * time.Hour, 0, 6 * time.Hour},
	} {
		for _, on := range holdStores {
			bent := new(bentClock)
			inBubble(t, on.name+"/"+row.name, on.open, lapse.Config{Clock: bent}, func(h *holder) {
				held := h.hold(h.issue(lapse.Grant{}).Bearer)
				time.Sleep(row.wait)
				bent.step(row.step)
				if row.notBefore > 0 {
					time.Sleep(row.notBefore - time.Millisecond)
					h.alive("before its time", held)
				}
				if row.cutWithin > 0 {
					lapsetest.WantIs(t, "cause", h.cut(row.name, held, row.cutWithin), lapse.ErrExpired)
				}
			})
		}
	}
}

// TestHoldIsNotCutAsleep: what was renewed is read again before anybody is cut, even
// if its old end had long passed when this process woke.
func TestHoldIsNotCutAsleep(t *testing.T) {
	for _, on := range holdStores {
		for _, asleep := range []time.Duration{time.Millisecond, time.Second, time.Minute, 10 * time.Minute} {
			bent := new(bentClock)
			inBubble(t, on.name+"/"+asleep.String(), on.open, lapse.Config{Clock: bent}, func(h *holder) {
				i := h.issue(lapse.Grant{})
				held := h.hold(i.Bearer)
				time.Sleep(20 * time.Minute)
				if _, err := h.Authenticate(h.ctx, i.Bearer); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10*time.Minute - time.Millisecond)
				bent.step(asleep)
				time.Sleep(time.Minute)
				h.alive("renewed", held)
			})
		}
	}
}

// TestHoldIsRenewedByAnyCaller: a renewal by any caller moves the end of the connection, whether or not
// the store tells of the renewal.
func TestHoldIsRenewedByAnyCaller(t *testing.T) {
	for name, renew := range map[string]func(h *holder, i lapse.Issued) error{
		"Authenticate": func(h *holder, i lapse.Issued) error { _, err := h.Authenticate(h.ctx, i.Bearer); return err },
		"Renew":        func(h *holder, i lapse.Issued) error { _, err := h.Renew(h.ctx, i.Bearer); return err },
		"Hold":         func(h *holder, i lapse.Issued) error { h.hold(i.Bearer); return nil },
		"another Manager": func(h *holder, i lapse.Issued) error {
			_, err := h.manager(lapse.Config{}).Authenticate(h.ctx, i.Bearer)
			return err
		},
		"Touch": func(h *holder, i lapse.Issued) error {
			return h.store.Touch(h.ctx, i.ID, storage.Use{At: now(), ExpiresAt: now().Add(30 * time.Minute)})
		},
	} {
		for _, on := range holdStores {
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{}, func(h *holder) {
				i := h.issue(lapse.Grant{})
				held := h.hold(i.Bearer)
				for range 3 {
					time.Sleep(30*time.Minute - time.Millisecond)
					if err := renew(h, i); err != nil {
						t.Fatal(err)
					}
				}
				end := now().Add(30 * time.Minute)
				time.Sleep(30*time.Minute - time.Millisecond)
				h.alive("renewed", held)
				time.Sleep(time.Millisecond)
				h.wantRejection(h.cut("at its time", held, 0), lapse.ErrExpired, i.ID, end, 0)
			})
		}
	}
}

// TestHoldIsNoActivity: that a connection stays open renews nothing, and looking at it
// writes nothing.
func TestHoldIsNoActivity(t *testing.T) {
	onMemory(t, "idle", lapse.Config{}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		time.Sleep(time.Minute)
		held := h.hold(i.Bearer)
		used := now()
		time.Sleep(20 * time.Minute)
		h.alive("in use", held)
		tok, err := h.Token(h.ctx, i.ID)
		if err != nil || !tok.LastUsedAt.Equal(used) || !tok.ExpiresAt.Equal(used.Add(30*time.Minute)) {
			t.Errorf("%+v, %v; want it used at %v alone", tok, err, used)
		}
	})
}

// TestHoldIsShortened: an end that comes nearer is heard of, too.
func TestHoldIsShortened(t *testing.T) {
	for _, on := range holdStores {
		inBubble(t, on.name, on.open, lapse.Config{}, func(h *holder) {
			i := h.issue(lapse.Grant{})
			held := h.hold(i.Bearer)
			time.Sleep(time.Minute)
			soon := now().Add(10 * time.Second)
			h.change(i.ID, func(r *storage.Record) { r.ExpiresAt, r.MaxExpiresAt = soon, soon })
			time.Sleep(10*time.Second - time.Millisecond)
			h.alive("before", held)
			time.Sleep(time.Millisecond)
			h.wantRejection(h.cut("shortened", held, 0), lapse.ErrExpired, i.ID, soon, 0)
		})
	}
}

// TestHoldOfAMostDistantEnd neither overflows nor spins.
func TestHoldOfAMostDistantEnd(t *testing.T) {
	policy := lapse.Policy{TTL: 290 * 365 * 24 * time.Hour, MaxTTL: lapse.NoLimit}
	onMemory(t, "290 years", lapse.Config{Policy: policy, PollHolds: 290 * 365 * 24 * time.Hour}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		h.change(i.ID, func(r *storage.Record) { r.ExpiresAt = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) })
		held := h.hold(i.Bearer)
		time.Sleep(24 * time.Hour)
		h.alive("for a day", held)
	})
}

// directory is a Admit: what it says of whom, and how often it was asked.
type directory struct {
	mu    sync.Mutex
	asked map[string]int
	says  map[string]func(ctx context.Context) error
}

func (d *directory) check(ctx context.Context, tok lapse.Token) error {
	subject := tok.Subject
	d.mu.Lock()
	if d.asked == nil {
		d.asked = make(map[string]int)
	}
	d.asked[subject]++
	says := d.says[subject]
	d.mu.Unlock()
	if says == nil {
		return nil
	}
	return says(ctx)
}

// say has d answer for subject as f does from now on, and forget how often it was asked.
func (d *directory) say(subject string, f func(ctx context.Context) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.asked)
	if d.says == nil {
		d.says = make(map[string]func(ctx context.Context) error)
	}
	d.says[subject] = f
}

func (d *directory) count(subject string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[subject]
}

var errHoliday = fmt.Errorf("%w: on holiday", lapse.ErrRefused)

// TestRecheck: a refused connection is cut within the interval, by what was said, and no other
// one is. Admit is asked about each connection once.
func TestRecheck(t *testing.T) {
	for _, on := range holdStores {
		dir := new(directory)
		inBubble(t, on.name, on.open, lapse.Config{Admit: dir.check, Recheck: time.Minute}, func(h *holder) {
			i, j := h.issue(lapse.Grant{TTL: time.Hour}), h.issue(lapse.Grant{TTL: time.Hour})
			held := []context.Context{h.hold(i.Bearer), h.hold(j.Bearer), h.hold(j.Bearer)}
			bob := h.hold(h.issue(lapse.Grant{Subject: "bob", TTL: time.Hour}).Bearer)
			time.Sleep(90 * time.Second)
			dir.say("ana", func(context.Context) error { return errHoliday })
			time.Sleep(30*time.Second - time.Millisecond)
			for _, held := range held {
				h.alive("until she is asked about", held)
			}
			for n, id := range []lapse.ID{i.ID, j.ID, j.ID} {
				cause := h.cut("asked", held[n], time.Millisecond)
				h.wantRejection(cause, errHoliday, id, time.Time{}, 0)
			}
			if n := dir.count("ana"); n != len(held) {
				t.Errorf("asked %d times about %d connections; want once about each", n, len(held))
			}
			time.Sleep(10 * time.Minute)
			h.alive("somebody else", bob)
		})
	}
}

// TestRecheckIsOff by default: only uses ask.
func TestRecheckIsOff(t *testing.T) {
	dir := new(directory)
	onMemory(t, "off", lapse.Config{Admit: dir.check}, func(h *holder) {
		held := h.hold(h.issue(lapse.Grant{TTL: time.Hour}).Bearer)
		dir.say("ana", func(context.Context) error { return errHoliday })
		time.Sleep(time.Hour - time.Millisecond)
		h.alive("all the time", held)
		if n := dir.count("ana"); n != 0 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestRecheckThatCannotTell cuts no connection and delays no other end: what runs out
// or is ended meanwhile is cut as ever.
func TestRecheckThatCannotTell(t *testing.T) {
	for name, says := range map[string]func(ctx context.Context) error{
		"fails":             func(context.Context) error { return errDisk },
		"is refused itself": func(context.Context) error { return lapse.ErrExpired },
		"hangs":             func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"is slow": func(ctx context.Context) error {
			select {
			case <-time.After(3 * time.Minute):
			case <-ctx.Done():
			}
			return nil
		},
	} {
		dir := new(directory)
		onMemory(t, name, lapse.Config{Admit: dir.check, Recheck: time.Minute}, func(h *holder) {
			stays := h.issue(lapse.Grant{TTL: 2 * time.Hour})
			ends, runsOut := h.issue(lapse.Grant{Subject: "bob"}), h.issue(lapse.Grant{})
			held := []context.Context{h.hold(stays.Bearer), h.hold(ends.Bearer), h.hold(runsOut.Bearer)}
			dir.say("ana", says)
			dir.say("bob", says)
			time.Sleep(10 * time.Minute)
			for _, held := range held {
				h.alive(name, held)
			}
			if _, err := h.Expire(h.ctx, ends.ID); err != nil {
				t.Fatal(err)
			}
			h.cut("ended", held[1], 0)
			time.Sleep(20*time.Minute - time.Millisecond)
			h.alive("until then", held[2])
			h.cut("ran out", held[2], time.Millisecond)
			time.Sleep(time.Hour)
			h.alive(name, held[0])
		})
	}
}

// TestRecheckThatNeverReturns: although the connection that Admit was asked about is gone,
// Admit is asked about those that came later.
func TestRecheckThatNeverReturns(t *testing.T) {
	dir := new(directory)
	onMemory(t, "deaf", lapse.Config{Admit: dir.check, Recheck: time.Minute}, func(h *holder) {
		back := make(chan struct{})
		defer close(back)
		first, second := h.issue(lapse.Grant{}), h.issue(lapse.Grant{Subject: "bob"})
		held := h.hold(first.Bearer)
		dir.say("ana", func(context.Context) error { <-back; return errHoliday })
		time.Sleep(time.Minute)
		h.end(first.ID, lapse.EndRevoked)
		h.cut("ended", held, 0)
		held = h.hold(second.Bearer)
		dir.say("bob", func(context.Context) error { return errHoliday })
		lapsetest.WantIs(t, "cause", h.cut("refused", held, time.Minute), lapse.ErrRefused)
	})
}

// TestRecheckAfterTheClockWasSetBack is as often as before.
func TestRecheckAfterTheClockWasSetBack(t *testing.T) {
	dir, bent := new(directory), new(bentClock)
	cfg := lapse.Config{Clock: bent, ClockGuard: lapse.GuardOff, Admit: dir.check, Recheck: time.Minute}
	onMemory(t, "back", cfg, func(h *holder) {
		held := h.hold(h.issue(lapse.Grant{}).Bearer)
		time.Sleep(10 * time.Minute)
		bent.step(-1000 * time.Hour)
		dir.say("ana", func(context.Context) error { return errHoliday })
		lapsetest.WantIs(t, "cause", h.cut("refused", held, time.Minute+15*time.Second), lapse.ErrRefused)
	})
}

// TestPollAfterTheClockWasSetBack is as often as before, too.
func TestPollAfterTheClockWasSetBack(t *testing.T) {
	bent := new(bentClock)
	inBubble(t, "polled", holdStores[2].open, lapse.Config{Clock: bent, ClockGuard: lapse.GuardOff}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		held := h.hold(i.Bearer)
		time.Sleep(10 * time.Minute)
		bent.step(-1000 * time.Hour)
		h.change(i.ID, func(r *storage.Record) {
			r.EndedAt, r.EndReason = bent.Now().Truncate(time.Millisecond), lapse.EndRevoked
		})
		h.cut("ended", held, 20*time.Second)
	})
}

// TestHoldFromWithin: whatever lapse calls may call Hold.
func TestHoldFromWithin(t *testing.T) {
	dir := new(directory)
	var h *holder
	var within sync.Once
	also := func() {
		within.Do(func() {
			if held, _, err := lapsetest.Opened(h.Hold(h.ctx, h.bearer)); err != nil || held.Err() != nil {
				h.t.Errorf("Hold from within: %v, %v", err, context.Cause(held))
			}
		})
	}
	cfg := lapse.Config{Admit: dir.check, Recheck: time.Minute}
	for _, from := range []string{"Admit", "Admit, asked again", "Observe", "AfterFunc"} {
		within = sync.Once{}
		dir.say("ana", nil)
		cfg.Observe = nil
		if from == "Observe" {
			cfg.Observe = func(_ context.Context, e lapse.Event) {
				if e.Kind == lapse.EventRejected {
					also()
				}
			}
		}
		onMemory(t, from, cfg, func(inside *holder) {
			h = inside
			i := h.issue(lapse.Grant{Subject: "bob"})
			held := h.hold(i.Bearer)
			h.issue(lapse.Grant{})
			asked := func(context.Context) error { also(); return nil }
			switch from {
			case "Admit":
				dir.say("bob", asked)
				h.hold(i.Bearer)
			case "Admit, asked again":
				dir.say("bob", asked)
				time.Sleep(time.Minute)
			case "Observe":
				if _, _, err := lapsetest.Opened(h.Hold(h.ctx, "nonsense")); !errors.Is(err, lapse.ErrMalformed) {
					t.Error(err)
				}
			case "AfterFunc":
				context.AfterFunc(held, also)
			}
			dir.say("bob", nil)
			synctest.Wait()
			if _, err := h.Expire(h.ctx, i.ID); err != nil {
				t.Fatal(err)
			}
			h.cut("ended", held, 0)
		})
	}
}

// TestHoldIntervals: what a hold cannot keep to is refused.
func TestHoldIntervals(t *testing.T) {
	dir := new(directory)
	for name, row := range map[string]struct {
		cfg lapse.Config
		bad bool
	}{
		"defaults":              {lapse.Config{}, false},
		"the least":             {lapse.Config{Recheck: time.Millisecond, PollHolds: time.Millisecond, Admit: dir.check}, false},
		"recheck negative":      {lapse.Config{Recheck: -1, Admit: dir.check}, true},
		"recheck too short":     {lapse.Config{Recheck: time.Millisecond - 1, Admit: dir.check}, true},
		"recheck without end":   {lapse.Config{Recheck: lapse.NoLimit, Admit: dir.check}, true},
		"recheck without Admit": {lapse.Config{Recheck: time.Minute}, true},
		"polling negative":      {lapse.Config{PollHolds: -1}, true},
		"polling too often":     {lapse.Config{PollHolds: time.Millisecond - 1}, true},
		"polling without end":   {lapse.Config{PollHolds: lapse.NoLimit}, true},
		"polling once a year":   {lapse.Config{PollHolds: 365 * 24 * time.Hour}, false},
		"recheck once a year":   {lapse.Config{Recheck: 365 * 24 * time.Hour, Admit: dir.check}, false},
		"checking but not yet":  {lapse.Config{Admit: dir.check}, false},
	} {
		_, err := lapse.New(mute{}, row.cfg)
		if errors.Is(err, lapse.ErrInvalidConfig) != row.bad || err != nil && !row.bad {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// hookLog collects events from more than one goroutine.
type hookLog struct {
	mu     sync.Mutex
	events []lapse.Event
}

func (o *hookLog) observe(_ context.Context, e lapse.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
}

// of returns the events of a kind that were told of.
func (o *hookLog) of(kind lapse.EventKind) (all []lapse.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if e.Kind == kind {
			all = append(all, e)
		}
	}
	return all
}

// TestFault17AdmitThatHangsOrPanics: an Admit that hangs, panics or ends its goroutine
// about one connection cuts none, is told, and all others are asked about as ever.
func TestFault17AdmitThatHangsOrPanics(t *testing.T) {
	var back chan struct{}
	for name, row := range map[string]struct {
		says func(ctx context.Context) error
		told int // how often Observe is told of that within two minutes
	}{
		"hangs for ever":         {func(context.Context) error { <-back; return nil }, 1},
		"hangs until given up":   {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 2},
		"panics":                 {func(context.Context) error { panic("lapse_" + fmt.Sprint(time.Now())) }, 2},
		"ends its goroutine":     {func(context.Context) error { runtime.Goexit(); return nil }, 2},
		"fails":                  {func(context.Context) error { return errDisk }, 2},
		"is refused by another":  {func(context.Context) error { return lapse.ErrExpired }, 2},
		"lets pass, as it ought": {func(context.Context) error { return nil }, 0},
	} {
		dir, out := new(directory), new(hookLog)
		cfg := lapse.Config{Admit: dir.check, Recheck: time.Minute, Observe: out.observe}
		onMemory(t, name, cfg, func(h *holder) {
			back = make(chan struct{}) // of this bubble
			defer close(back)
			held := h.hold(h.issue(lapse.Grant{TTL: time.Hour}).Bearer)
			others := make([]context.Context, 20)
			for i := range others {
				others[i] = h.hold(h.issue(lapse.Grant{Subject: "bob", TTL: time.Hour}).Bearer)
			}
			dir.say("ana", row.says)
			dir.say("bob", func(context.Context) error { return nil })
			time.Sleep(2*time.Minute + 10*time.Second)
			synctest.Wait()
			h.alive(name, held)
			if n := dir.count("bob"); n != 2*len(others) {
				t.Errorf("asked %d times about the %d others; want twice about each", n, len(others))
			}
			failed := out.of(lapse.EventHookFailed)
			if len(failed) != row.told {
				t.Errorf("told %d times: %v; want %d", len(failed), failed, row.told)
			}
			for _, e := range failed {
				if e.Err == nil || errors.Is(e.Err, lapse.ErrUnauthenticated) || e.Token.Subject != "ana" {
					t.Errorf("told of %+v", e)
				}
			}
			dir.say("bob", func(context.Context) error { return errHoliday })
			time.Sleep(time.Minute)
			synctest.Wait()
			for _, held := range others {
				lapsetest.WantIs(t, "cause", context.Cause(held), lapse.ErrRefused)
			}
		})
	}
}

// TestFault17AdmitIsBounded: of very many connections no more than 8 are asked about at a
// time, with 32 besides that have taken longer than 10 seconds; and when those return, the
// others get their turn.
func TestFault17AdmitIsBounded(t *testing.T) {
	dir, running, most := new(directory), atomic.Int32{}, atomic.Int32{}
	cfg := lapse.Config{Admit: dir.check, Recheck: time.Minute}
	onMemory(t, "many", cfg, func(h *holder) {
		back := make(chan struct{})
		for range 100 {
			h.hold(h.issue(lapse.Grant{Subject: "bob", TTL: time.Hour}).Bearer)
		}
		dir.say("bob", func(context.Context) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			<-back
			return nil
		})
		for _, row := range []struct {
			after time.Duration
			want  int32
		}{{time.Minute, 8}, {10*time.Second - time.Millisecond, 8}, {time.Millisecond, 16}, {10 * time.Second, 24}, {10 * time.Second, 32}, {10 * time.Minute, 32}} {
			time.Sleep(row.after)
			synctest.Wait()
			if n := running.Load(); n != row.want {
				t.Errorf("after %v: %d at a time; want %d", row.after, n, row.want)
			}
		}
		close(back)
		synctest.Wait()
		if n := dir.count("bob"); n < 100 || running.Load() != 0 {
			t.Errorf("asked about %d of 100, %d still run", n, running.Load())
		}
	})
}

// TestFault17BoundOverRuns: calls of Admit that hang count although the connections that
// they were about are gone, and all others, too.
func TestFault17BoundOverRuns(t *testing.T) {
	dir, running := new(directory), atomic.Int32{}
	onMemory(t, "one at a time", lapse.Config{Admit: dir.check, Recheck: time.Minute}, func(h *holder) {
		i, back := h.issue(lapse.Grant{TTL: 10 * time.Hour}), make(chan struct{})
		dir.say("ana", nil)
		for range 50 {
			hold, err := h.Hold(h.ctx, i.Bearer)
			lapsetest.WantIs(t, "Hold", err, nil)
			dir.say("ana", func(context.Context) error {
				running.Add(1)
				defer running.Add(-1)
				<-back
				return nil
			})
			time.Sleep(time.Minute)
			synctest.Wait()
			dir.say("ana", nil)
			hold.Release()
		}
		if n := running.Load(); n != 32 {
			t.Errorf("%d calls hang; want 32", n)
		}
		close(back)
		synctest.Wait()
		if n := running.Load(); n != 0 {
			t.Errorf("%d calls have not returned", n)
		}
		held := h.hold(i.Bearer)
		dir.say("ana", func(context.Context) error { return errHoliday })
		lapsetest.WantIs(t, "cause", h.cut("asked again", held, time.Minute), lapse.ErrRefused)
	})
}

// TestFault17HoldWhileAsked: that the token of a connection which Admit is asked about is
// held once more at that instant disturbs neither.
func TestFault17HoldWhileAsked(t *testing.T) {
	dir, out := new(directory), new(hookLog)
	onMemory(t, "again", lapse.Config{Admit: dir.check, Recheck: time.Millisecond, Observe: out.observe}, func(h *holder) {
		i := h.issue(lapse.Grant{TTL: time.Hour})
		h.hold(i.Bearer)
		dir.say("ana", func(ctx context.Context) error {
			if ctx.Value(callersKey{}) == nil {
				return errDisk // it is asked again
			}
			return nil
		})
		for range 200 {
			hold, err := h.Hold(context.WithValue(h.ctx, callersKey{}, "mine"), i.Bearer)
			lapsetest.WantIs(t, "Hold", err, nil)
			time.Sleep(time.Millisecond)
			hold.Release()
		}
		if len(out.of(lapse.EventHookFailed)) == 0 {
			t.Error("Admit was never asked again")
		}
	})
}

// TestFault17StoreThatPanics: a store that panics while it is read for a connection, or as
// a spent token is ended at Release, ends neither the process nor the connection.
func TestFault17StoreThatPanics(t *testing.T) {
	var store *storagetest.Faulty
	open := func(*testing.T) storage.Store {
		store = storagetest.NewFaulty(memory.New())
		return store
	}
	inBubble(t, "read", open, lapse.Config{}, func(h *holder) {
		i := h.issue(lapse.Grant{TTL: time.Hour})
		held := h.hold(i.Bearer)
		synctest.Wait()
		store.Reset()
		store.InjectOp(opGet, 1, storagetest.Panic, errDisk)
		time.Sleep(6 * time.Second) // a Faulty is polled
		synctest.Wait()
		if !store.Fired() {
			t.Error("the store did not panic")
		}
		h.alive("while the store panics", held)
		time.Sleep(time.Minute)
		h.end(i.ID, lapse.EndRevoked)
		lapsetest.WantIs(t, "cause", h.cut("ended", held, 5*time.Second), lapse.ErrRevoked)
	})
	inBubble(t, "end", open, lapse.Config{}, func(h *holder) {
		hold, err := h.Hold(h.ctx, h.issue(lapse.Grant{MaxUses: 1}).Bearer)
		lapsetest.WantIs(t, "Hold", err, nil)
		synctest.Wait()
		store.Reset()
		store.Inject(1, storagetest.Panic, errDisk)
		hold.Release()
		synctest.Wait()
		if !store.Fired() {
			t.Error("the store did not panic")
		}
	})
}

// TestHeldByAnExhaustedToken: a connection can be ended, whichever call spent the last use of its
// token: it ends with the token, or with what ends that.
func TestHeldByAnExhaustedToken(t *testing.T) {
	for _, on := range holdStores {
		for name, row := range map[string]struct {
			spend func(h *holder, bearer string) error
			want  error
		}{
			"by Authenticate": {func(h *holder, bearer string) error { _, err := h.Authenticate(h.ctx, bearer); return err }, lapse.ErrRevoked},
			"by another Manager": {func(h *holder, bearer string) error {
				_, err := h.manager(lapse.Config{}).Authenticate(h.ctx, bearer)
				return err
			}, lapse.ErrExhausted},
		} {
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{}, func(h *holder) {
				i := h.issue(lapse.Grant{MaxUses: 2})
				held := h.hold(i.Bearer)
				lapsetest.WantIs(t, "the last use", row.spend(h, i.Bearer), nil)
				_, err := h.Authenticate(h.ctx, i.Bearer)
				lapsetest.WantIs(t, "one more", err, lapse.ErrExhausted)
				_, err = h.ExpireSubject(h.ctx, "ana")
				lapsetest.WantIs(t, "ExpireSubject", err, nil)
				lapsetest.WantIs(t, "cause", h.cut("logged out everywhere", held, on.late), row.want)
			})
		}
	}
}

// TestFault17ObserveThatPanics, or hangs, while connections are held ends no process and
// keeps no connection: those are cut as ever, and a panic is told.
func TestFault17ObserveThatPanics(t *testing.T) {
	var back chan struct{}
	for name, does := range map[string]func(){
		"panics": func() { panic(errDisk) },
		"hangs":  func() { <-back },
	} {
		var failed atomic.Int32
		cfg := lapse.Config{Observe: func(_ context.Context, e lapse.Event) {
			switch e.Kind {
			case lapse.EventEnded:
				does()
			case lapse.EventHookFailed:
				failed.Add(1)
			}
		}}
		onMemory(t, name, cfg, func(h *holder) {
			back = make(chan struct{}) // of this bubble
			defer close(back)
			for range 3 { // each is the last use of a token, which ends with its connection
				hold, err := h.Hold(h.ctx, h.issue(lapse.Grant{MaxUses: 1}).Bearer)
				lapsetest.WantIs(t, "Hold", err, nil)
				hold.Release()
				synctest.Wait()
			}
			if want := map[string]int32{"panics": 3}[name]; failed.Load() != want {
				t.Errorf("told of %d panics; want %d", failed.Load(), want)
			}
			held := h.hold(h.issue(lapse.Grant{TTL: time.Minute}).Bearer)
			time.Sleep(time.Minute - time.Millisecond)
			h.alive("until its end", held)
			lapsetest.WantIs(t, "cause", h.cut("at its end", held, time.Millisecond), lapse.ErrExpired)
		})
	}
}

// admissions is an Admit that remembers what it was asked about.
type admissions struct {
	mu   sync.Mutex
	seen []lapse.Token
}

func (a *admissions) admit(_ context.Context, tok lapse.Token) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, tok)
	return nil
}

// take returns what was asked about since take was called last.
func (a *admissions) take() []lapse.Token {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := a.seen
	a.seen = nil
	return seen
}

// TestFault21AdmitSeesTheToken: whatever asks, Admit sees the whole token, and of a
// log-in what is known of it.
func TestFault21AdmitSeesTheToken(t *testing.T) {
	var asked admissions
	onMemory(t, "all", lapse.Config{Admit: asked.admit, Recheck: time.Minute}, func(h *holder) {
		i := h.issue(lapse.Grant{Name: "laptop", Scope: "read", Data: "x", TTL: time.Hour})
		h.hold(i.Bearer)
		time.Sleep(time.Minute)
		synctest.Wait()
		seen := asked.take()
		if len(seen) != 2 {
			t.Fatalf("asked %d times; want by Hold and again", len(seen))
		}
		for _, tok := range seen {
			if tok.ID != i.ID || tok.Name != "laptop" || tok.Scope != "read" || tok.Data != "x" || tok.ExpiresAt.Before(i.ExpiresAt) {
				t.Errorf("asked about %+v; want %+v", tok, i.Token)
			}
		}
		_, err := lapse.Login(h.ctx, h.Manager, "secret", lapse.Grant{Name: "laptop", Scope: "read", Thumbprint: lapse.Thumbprint{7}}, lapse.Verifier[string](lapse.VerifierFunc[string](func(context.Context, string) (string, error) { return "ana", nil })))
		lapsetest.WantIs(t, "Login", err, nil)
		seen = asked.take()
		if want := []lapse.Token{{Prefix: "lapse", Subject: "ana", Name: "laptop", Scope: "read", Thumbprint: lapse.Thumbprint{7}, AuthenticatedAt: h.Now()}}; len(seen) != 1 || seen[0] != want[0] {
			t.Errorf("Login asks about %+v; want %+v", seen, want)
		}
	})
}

// TestFault21RecheckOfASession: of a connection that an access text opened Admit sees the
// scope and the end of the access text, as when it was opened.
func TestFault21RecheckOfASession(t *testing.T) {
	var asked admissions
	synctest.Test(t, func(t *testing.T) {
		p := lapsetest.Must(lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Admit: asked.admit, Recheck: time.Minute}}))
		first := lapsetest.Must(p.Issue(t.Context(), lapse.Grant{Subject: "ana", Scope: "read write"}))
		c := lapsetest.Must(p.Refresh(t.Context(), first.Refresh.Bearer, "read"))
		hold := lapsetest.Must(p.Access().Hold(t.Context(), c.Access.Bearer))
		asked.take()
		time.Sleep(time.Minute)
		synctest.Wait()
		seen := asked.take()
		if len(seen) != 1 || seen[0].Scope != "read" || !seen[0].ExpiresAt.Equal(c.Access.ExpiresAt) {
			t.Errorf("asked about %+v; want %+v", seen, c.Access.Token)
		}
		hold.Release()
		synctest.Wait()
	})
}

// TestFault21Release ends the context, once and for all, and lets go of what ended the
// token's budget.
func TestFault21Release(t *testing.T) {
	onMemory(t, "release", lapse.Config{}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		hold, err := h.Hold(h.ctx, i.Bearer)
		lapsetest.WantIs(t, "Hold", err, nil)
		if hold.Token().ID != i.ID || hold.Context().Err() != nil {
			t.Errorf("%+v, %v", hold.Token(), hold.Context().Err())
		}
		for range 2 {
			hold.Release()
			lapsetest.WantIs(t, "cause", context.Cause(hold.Context()), context.Canceled)
		}
		cut, err := h.Hold(h.ctx, i.Bearer)
		lapsetest.WantIs(t, "Hold", err, nil)
		h.end(i.ID, lapse.EndRevoked)
		h.cut("ended", cut.Context(), 0)
		cut.Release()
		lapsetest.WantIs(t, "cause after a late Release", context.Cause(cut.Context()), lapse.ErrRevoked)
	})
}

// sessions is a holder whose Manager is that of the access texts of Pairs.
type sessions struct {
	*holder
	pairs *lapse.Pairs
}

// inSession is inBubble for Pairs.
func inSession(t *testing.T, name string, open func(t *testing.T) storage.Store, cfg lapse.PairConfig, test func(s *sessions)) {
	t.Helper()
	inBubble(t, name, open, lapse.Config{}, func(h *holder) {
		p, err := lapse.NewPairs(h.store, cfg)
		if err != nil {
			t.Fatal(err)
		}
		h.Manager = p.Access()
		test(&sessions{h, p})
	})
}

func (s *sessions) logIn() lapse.TokenPair {
	s.t.Helper()
	c, err := s.pairs.Issue(s.ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *sessions) refresh(c lapse.TokenPair) lapse.TokenPair {
	s.t.Helper()
	next, err := s.pairs.Refresh(s.ctx, c.Refresh.Bearer)
	if err != nil {
		s.t.Fatalf("Refresh: %v", err)
	}
	return next
}

// TestHoldOfASession: a connection by an access text ends when the current access secret
// of its session runs out, to the millisecond, and each refresh moves that end.
func TestHoldOfASession(t *testing.T) {
	const m = time.Minute
	for _, row := range []struct {
		name      string
		ttl       time.Duration   // of the session, 0 for 30 days
		refreshes []time.Duration // after the log-in
		end       time.Duration
	}{
		{"never refreshed", 0, nil, 15 * m},
		{"refreshed once", 0, []time.Duration{10 * m}, 25 * m},
		{"refreshed a millisecond before its end", 0, []time.Duration{15*m - time.Millisecond}, 30*m - time.Millisecond},
		{"refreshed at once", 0, []time.Duration{0}, 15 * m},
		{"refreshed every five minutes", 0, []time.Duration{5 * m, 10 * m, 15 * m, 20 * m, 25 * m}, 40 * m},
		{"the session runs out first", 10 * m, nil, 10 * m},
		{"the refreshed session does", 10 * m, []time.Duration{9 * m}, 19 * m},
	} {
		for _, on := range holdStores {
			cfg := lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: row.ttl}}}
			inSession(t, on.name+"/"+row.name, on.open, cfg, func(s *sessions) {
				begin, c := now(), s.logIn()
				held := []context.Context{s.hold(c.Access.Bearer)}
				for _, after := range row.refreshes {
					time.Sleep(time.Until(begin.Add(after)))
					c = s.refresh(c)
					held = append(held, s.hold(c.Access.Bearer))
				}
				end := begin.Add(row.end)
				time.Sleep(time.Until(end) - time.Millisecond)
				for _, held := range held {
					s.alive("1 ms before", held)
				}
				time.Sleep(time.Millisecond)
				for _, held := range held {
					s.wantRejection(s.cut("at its end", held, 0), lapse.ErrExpired, c.Access.ID, end, 0)
				}
			})
		}
	}
}

// TestHoldOfASessionOnAMock: the same on a clock that the test moves.
func TestHoldOfASessionOnAMock(t *testing.T) {
	for _, row := range []struct {
		name  string
		after time.Duration // since the refresh
		cut   bool
	}{
		{"1 ms before", 15*time.Minute - time.Millisecond, false},
		{"at", 15 * time.Minute, true},
		{"1 ms after", 15*time.Minute + time.Millisecond, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			mock := clock.NewMock()
			mock.Set(lapsetest.StartMilli)
			p, err := lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: mock, PollHolds: time.Hour}})
			if err != nil {
				t.Fatal(err)
			}
			c, err := p.Issue(t.Context(), lapse.Grant{Subject: "ana"})
			if err != nil {
				t.Fatal(err)
			}
			mock.Add(10 * time.Minute)
			if c, err = p.Refresh(t.Context(), c.Refresh.Bearer); err != nil {
				t.Fatal(err)
			}
			ctx, release := context.WithCancel(t.Context())
			defer release()
			held, _, err := lapsetest.Opened(p.Access().Hold(ctx, c.Access.Bearer))
			if err != nil {
				t.Fatal(err)
			}
			mock.Add(row.after)
			if row.cut {
				<-held.Done()
				lapsetest.WantIs(t, "cause", context.Cause(held), lapse.ErrExpired)
			} else if held.Err() != nil {
				t.Errorf("cut by %v", context.Cause(held))
			}
		})
	}
}

// TestHoldOfASessionIsCutByItsEnd, by whichever text or verb, and whichever of its texts
// opened the connection.
func TestHoldOfASessionIsCutByItsEnd(t *testing.T) {
	for name, row := range map[string]struct {
		end    func(s *sessions, first, current lapse.TokenPair) error
		reason lapse.EndReason
	}{
		"the current refresh text": {func(s *sessions, _, c lapse.TokenPair) error {
			return lapsetest.LoggedOut(s.pairs.ExpireBearer(s.ctx, c.Refresh.Bearer))
		}, lapse.EndRevoked},
		"the current access text": {func(s *sessions, _, c lapse.TokenPair) error {
			return lapsetest.LoggedOut(s.pairs.ExpireBearer(s.ctx, c.Access.Bearer))
		}, lapse.EndRevoked},
		"a spent access text": {func(s *sessions, c, _ lapse.TokenPair) error {
			return lapsetest.LoggedOut(s.pairs.ExpireBearer(s.ctx, c.Access.Bearer))
		}, lapse.EndRevoked},
		"a spent refresh text": {func(s *sessions, c, _ lapse.TokenPair) error {
			return lapsetest.LoggedOut(s.pairs.ExpireBearer(s.ctx, c.Refresh.Bearer))
		}, lapse.EndReused},
		"reuse": {func(s *sessions, c, _ lapse.TokenPair) error {
			_, err := s.pairs.Refresh(s.ctx, c.Refresh.Bearer)
			return lapsetest.Ignore(err, lapse.ErrReused)
		}, lapse.EndReused},
		"its ID": {func(s *sessions, c, _ lapse.TokenPair) error { _, err := s.Expire(s.ctx, c.Access.ID); return err }, lapse.EndRevoked},
		"its subject, by another Manager": {func(s *sessions, _, _ lapse.TokenPair) error {
			_, err := s.manager(lapse.Config{Prefix: "admin"}).ExpireSubject(s.ctx, "ana")
			return err
		}, lapse.EndSubject},
		"another log-in": {func(s *sessions, _, _ lapse.TokenPair) error {
			_, err := s.pairs.Issue(s.ctx, lapse.Grant{Subject: "ana"})
			return err
		}, lapse.EndEvicted},
	} {
		for _, on := range holdStores {
			cfg := lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 1}}}
			inSession(t, on.name+"/"+name, on.open, cfg, func(s *sessions) {
				first := s.logIn()
				held := []context.Context{s.hold(first.Access.Bearer)}
				second := s.refresh(first)
				held = append(held, s.hold(second.Access.Bearer))
				current := s.refresh(second)
				held = append(held, s.hold(current.Access.Bearer))
				time.Sleep(time.Minute)
				for _, held := range held {
					s.alive("refreshed", held)
				}
				ended := now()
				if err := row.end(s, first, current); err != nil {
					t.Fatal(err)
				}
				for _, held := range held {
					s.wantRejection(s.cut(name, held, on.late), lapse.ErrRevoked, first.Access.ID, ended, row.reason)
				}
			})
		}
	}
}

// TestHoldOutlivesTheGrace: the previous access text opens a connection within the grace,
// and says that it works until the grace ends; the connection lasts as long as one by the
// current text. So does one of a Manager that knows of no Pairs.
func TestHoldOutlivesTheGrace(t *testing.T) {
	for _, on := range holdStores {
		inSession(t, on.name, on.open, lapse.PairConfig{}, func(s *sessions) {
			first := s.logIn()
			current := s.refresh(first)
			end := now().Add(15 * time.Minute)
			held, tok, err := lapsetest.Opened(s.Hold(s.ctx, first.Access.Bearer))
			if err != nil || !tok.ExpiresAt.Equal(now().Add(10*time.Second)) {
				t.Fatalf("Hold by the previous text: until %v, %v; want the end of the grace", tok.ExpiresAt, err)
			}
			plain, _, err := lapsetest.Opened(s.manager(lapse.Config{}).Hold(s.ctx, first.Access.Bearer))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			_, _, err = lapsetest.Opened(s.Hold(s.ctx, first.Access.Bearer))
			lapsetest.WantIs(t, "Hold after the grace", err, lapse.ErrReplaced)
			time.Sleep(time.Until(end) - time.Millisecond)
			s.alive("1 ms before", held)
			s.alive("1 ms before, by a plain Manager", plain)
			time.Sleep(time.Millisecond)
			s.wantRejection(s.cut("at its end", held, 0), lapse.ErrExpired, current.Access.ID, end, 0)
			s.wantRejection(s.cut("at its end", plain, 0), lapse.ErrExpired, current.Access.ID, end, 0)
		})
	}
}

// TestHoldByAPreviousTextWhileTheStoreIsSilent: the end that is known of a connection is
// that of the current access secret, also if the previous one opened it.
func TestHoldByAPreviousTextWhileTheStoreIsSilent(t *testing.T) {
	onMoody(t, "silent", lapse.Config{}, func(h *holder, store *moody) {
		p, err := lapse.NewPairs(store, lapse.PairConfig{})
		if err != nil {
			t.Fatal(err)
		}
		s := &sessions{h, p}
		s.Manager = p.Access()
		s.hold(s.issue(lapse.Grant{Subject: "bob", TTL: time.Hour}).Bearer) // so that the watch has begun
		synctest.Wait()
		first := s.logIn()
		s.refresh(first)
		synctest.Wait() // until that has been heard of
		end := now().Add(15 * time.Minute)
		held := s.hold(first.Access.Bearer)
		synctest.Wait()
		silence := silences["unavailable"]
		store.get.Store(&silence)
		time.Sleep(time.Until(end) - time.Millisecond)
		s.alive("until the end that is known", held)
		lapsetest.WantIs(t, "cause", s.cut("then", held, time.Second+strikeSlack), lapse.ErrExpired)
	})
}

// TestHoldOfASessionThroughSweeps: a connection that is open for longer than the
// retention, while its client refreshes and the program sweeps.
func TestHoldOfASessionThroughSweeps(t *testing.T) {
	for _, on := range holdStores {
		cfg := lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{Retention: time.Hour}}}
		inSession(t, on.name, on.open, cfg, func(s *sessions) {
			c := s.logIn()
			held := s.hold(c.Access.Bearer)
			for range 40 {
				time.Sleep(5 * time.Minute)
				c = s.refresh(c)
				if n, err := s.Sweep(s.ctx); n != 0 || err != nil {
					t.Fatalf("Sweep: %d, %v; want nothing, for nothing is dead", n, err)
				}
			}
			s.alive("for more than three hours", held)
			time.Sleep(15 * time.Minute)
			lapsetest.WantIs(t, "cause", s.cut("once it is not refreshed", held, 0), lapse.ErrExpired)
		})
	}
}

// TestHoldReadsOncePerRefresh: the thousandth refresh of a session costs its connections
// the one read that the first did, however many they are.
func TestHoldReadsOncePerRefresh(t *testing.T) {
	onMoody(t, "refreshed", lapse.Config{}, func(h *holder, store *moody) {
		p, err := lapse.NewPairs(store, lapse.PairConfig{})
		if err != nil {
			t.Fatal(err)
		}
		s := &sessions{h, p}
		s.Manager = p.Access()
		c := s.logIn()
		held := []context.Context{s.hold(c.Access.Bearer), s.hold(c.Access.Bearer)}
		synctest.Wait()
		var reads atomic.Int32
		count := func(context.Context) error { reads.Add(1); return nil }
		store.get.Store(&count)
		for n := range 1_000 {
			reads.Store(0)
			time.Sleep(time.Minute)
			c = s.refresh(c)
			synctest.Wait()
			if got := reads.Load(); got != 2 {
				t.Fatalf("refresh %d: %d reads; want that of Refresh, and one", n+1, got)
			}
		}
		for _, held := range held {
			s.alive("a thousand refreshes", held)
		}
	})
}

// moody is a store in memory that does not always answer, and whose Watch is what a
// test makes of it.
type moody struct {
	*memory.Store
	get     atomic.Pointer[func(ctx context.Context) error] // before each Get
	watch   atomic.Pointer[watchFunc]                       // instead of Watch
	watched atomic.Int32                                    // how often Watch was ranged over
}

type watchFunc func(ctx context.Context, yield func(storage.Change, error) bool)

func (m *moody) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	if before := m.get.Load(); before != nil {
		if err := (*before)(ctx); err != nil {
			return storage.Record{}, err
		}
	}
	return m.Store.Get(ctx, id)
}

func (m *moody) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	return func(yield func(storage.Change, error) bool) {
		m.watched.Add(1)
		if watch := m.watch.Load(); watch != nil {
			(*watch)(ctx, yield)
			return
		}
		m.Store.Watch(ctx)(yield)
	}
}

// onMoody is inBubble on a moody store.
func onMoody(t *testing.T, name string, cfg lapse.Config, test func(h *holder, store *moody)) {
	t.Helper()
	store := &moody{Store: nil}
	open := func(*testing.T) storage.Store {
		store.Store = memory.New()
		return store
	}
	inBubble(t, name, open, cfg, func(h *holder) { test(h, store) })
}

// silences are the ways in which a store does not answer.
var silences = map[string]func(ctx context.Context) error{
	"unavailable": func(context.Context) error { return storage.ErrUnavailable },
	"corrupt":     func(context.Context) error { return storage.ErrCorrupt },
	"odd":         func(context.Context) error { return errDisk },
	"hangs": func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	},
}

// TestHoldWhileTheStoreIsSilent: until the end that is known, and a second at most.
func TestHoldWhileTheStoreIsSilent(t *testing.T) {
	for name, silence := range silences {
		onMoody(t, name, lapse.Config{}, func(h *holder, store *moody) {
			i := h.issue(lapse.Grant{})
			held := h.hold(i.Bearer)
			time.Sleep(20 * time.Minute)
			store.get.Store(&silence)
			h.end(i.ID, lapse.EndRevoked) // which cannot be read
			time.Sleep(10*time.Minute - time.Millisecond)
			h.alive("until then", held)
			h.wantRejection(h.cut("then", held, time.Second+strikeSlack), lapse.ErrExpired, i.ID, i.ExpiresAt, 0)
		})
	}
}

// strikeSlack is for what begins to be noted a moment after a token is due.
const strikeSlack = 110 * time.Millisecond

// giveUp is how long a read that hangs may take, if no connection is due meanwhile: the scheduler
// notices it when the goroutine that waits wakes.
const giveUp = 15*time.Second + time.Second + strikeSlack

// TestHoldOfADeafStore: no held connection waits for a store that hangs although the context has ended.
func TestHoldOfADeafStore(t *testing.T) {
	onMoody(t, "deaf", lapse.Config{}, func(h *holder, store *moody) {
		awake := make(chan struct{})
		defer close(awake)
		deaf := func(context.Context) error { <-awake; return nil }
		first, second := h.issue(lapse.Grant{}), h.issue(lapse.Grant{TTL: time.Hour})
		held := []context.Context{h.hold(first.Bearer), h.hold(second.Bearer)}
		time.Sleep(time.Second)
		store.get.Store(&deaf)
		time.Sleep(30*time.Minute - time.Second - time.Millisecond)
		h.alive("the first", held[0])
		h.cut("the first", held[0], time.Second+strikeSlack)
		time.Sleep(time.Until(second.ExpiresAt) - time.Millisecond)
		h.alive("the second", held[1])
		h.cut("the second", held[1], time.Second+strikeSlack)
	})
}

// TestHoldAfterSilence: what was told while the store could not be read is read once
// it can be, and one token that cannot be read keeps no other from it.
func TestHoldAfterSilence(t *testing.T) {
	for name, silence := range silences {
		onMoody(t, name, lapse.Config{}, func(h *holder, store *moody) {
			i, j := h.issue(lapse.Grant{}), h.issue(lapse.Grant{})
			ended, other := h.hold(i.Bearer), h.hold(j.Bearer)
			time.Sleep(time.Minute)
			store.get.Store(&silence)
			h.end(i.ID, lapse.EndRevoked)
			time.Sleep(time.Minute)
			h.alive("nobody could tell", ended)
			store.get.Store(nil)
			lapsetest.WantIs(t, "cause", h.cut("told before", ended, giveUp+5*time.Second), lapse.ErrRevoked)
			h.end(j.ID, lapse.EndRevoked)
			h.cut("told after", other, 0)
		})
	}
}

// TestHoldBesideOneThatHangs: ends of the others are late by what it takes to give up.
func TestHoldBesideOneThatHangs(t *testing.T) {
	onMoody(t, "one", lapse.Config{}, func(h *holder, store *moody) {
		i, j := h.issue(lapse.Grant{}), h.issue(lapse.Grant{})
		stuck, other := h.hold(i.Bearer), h.hold(j.Bearer)
		time.Sleep(time.Minute)
		var once atomic.Bool
		hang := func(ctx context.Context) error {
			if once.CompareAndSwap(false, true) {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		store.get.Store(&hang)
		h.change(i.ID, func(r *storage.Record) { r.Name = "renamed" })
		synctest.Wait()
		h.end(j.ID, lapse.EndRevoked)
		h.cut("the other", other, giveUp)
		h.alive("the one that hung", stuck)
	})
}

// watches are ways in which a Watch tells nothing.
var watches = map[string]watchFunc{
	"fails": func(_ context.Context, yield func(storage.Change, error) bool) {
		yield(storage.Change{}, storage.ErrUnavailable)
	},
	"ends":         func(context.Context, func(storage.Change, error) bool) {},
	"never yields": func(ctx context.Context, _ func(storage.Change, error) bool) { <-ctx.Done() },
	"fails after its gap": func(_ context.Context, yield func(storage.Change, error) bool) {
		if yield(storage.Change{Gap: true}, nil) {
			yield(storage.Change{}, errDisk)
		}
	},
}

// TestHoldWithoutWatch: a store that could tell and does not is polled, never later
// than the interval, and asked to tell again.
func TestHoldWithoutWatch(t *testing.T) {
	for name, watch := range watches {
		onMoody(t, name, lapse.Config{PollHolds: 3 * time.Second}, func(h *holder, store *moody) {
			store.watch.Store(&watch)
			i, j := h.issue(lapse.Grant{}), h.issue(lapse.Grant{})
			polled, heard := h.hold(i.Bearer), h.hold(j.Bearer)
			time.Sleep(time.Minute + time.Millisecond)
			h.end(i.ID, lapse.EndRevoked)
			h.cut("polled", polled, 3*time.Second)
			if name == "never yields" {
				return
			}
			store.watch.Store(nil)
			time.Sleep(3 * time.Second)
			h.end(j.ID, lapse.EndRevoked)
			h.cut("heard again", heard, 0)
		})
	}
}

// TestHoldWatchBreaks: what was put between two watches is found by the Gap.
func TestHoldWatchBreaks(t *testing.T) {
	onMoody(t, "breaks", lapse.Config{}, func(h *holder, store *moody) {
		broken := make(chan struct{})
		watch := watchFunc(func(_ context.Context, yield func(storage.Change, error) bool) {
			if yield(storage.Change{Gap: true}, nil) {
				<-broken
				yield(storage.Change{}, storage.ErrUnavailable)
			}
		})
		store.watch.Store(&watch)
		i := h.issue(lapse.Grant{})
		held := h.hold(i.Bearer)
		synctest.Wait()
		store.watch.Store(nil)
		h.end(i.ID, lapse.EndRevoked)
		h.alive("nothing was told", held)
		close(broken)
		h.cut("broken", held, 5*time.Second)
	})
}

// TestHoldPollsNobody where the store tells: it is read when there is something new.
func TestHoldPollsNobody(t *testing.T) {
	onMoody(t, "idle", lapse.Config{}, func(h *holder, store *moody) {
		held := h.hold(h.issue(lapse.Grant{TTL: 5 * time.Hour}).Bearer)
		synctest.Wait()
		var reads atomic.Int32
		count := func(context.Context) error { reads.Add(1); return nil }
		store.get.Store(&count)
		time.Sleep(4 * time.Hour)
		h.alive("idle", held)
		if n := reads.Load(); n != 0 || store.watched.Load() != 1 {
			t.Errorf("%d reads and %d watches in four hours; want none, and one", n, store.watched.Load())
		}
	})
}

// TestHoldOfAWrongRecord: another token's record ends nothing.
func TestHoldOfAWrongRecord(t *testing.T) {
	store := &lapsetest.Wrong{Store: memory.New()}
	var mixed atomic.Pointer[lapse.ID] // whose record is given for any other
	store.OnGet = func(r storage.Record) storage.Record {
		if id := mixed.Load(); id != nil {
			r, _ = store.Store.Get(context.Background(), *id)
		}
		return r
	}
	inBubble(t, "wrong", func(*testing.T) storage.Store { return store }, lapse.Config{}, func(h *holder) {
		held, other := h.hold(h.issue(lapse.Grant{}).Bearer), h.issue(lapse.Grant{})
		h.end(other.ID, lapse.EndRevoked)
		mixed.Store(&other.ID)
		time.Sleep(30*time.Minute - time.Millisecond)
		h.alive("by another's record", held)
		cause := h.cut("at its time", held, time.Millisecond)
		if errors.Is(cause, lapse.ErrUnknown) || !errors.Is(cause, lapse.ErrExpired) {
			t.Errorf("cut by %v", cause)
		}
	})
}
