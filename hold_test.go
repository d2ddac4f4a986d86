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
			other := h.issue(lapse.Grant{Subject: "bob", TTL: time.Hour})
			if standing {
				h.hold(other.Bearer)
			}
			i := h.issue(lapse.Grant{TTL: time.Hour})
			h.holdAndRelease(i.Bearer, 5_000) // maps have grown by then
			goroutines, bytes := serving(), heap()
			h.holdAndRelease(i.Bearer, *manyHolds)
			if n := serving(); n != goroutines || standing != (n > 0) {
				t.Errorf("%d goroutines serve holds; want %d as before", n, goroutines)
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
