package lapse_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
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

// TestHoldIsCutByEnds: whoever ends a token cuts those who hold it, soon, and all of
// them, and they learn why.
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
			wantIs(t, "cause", h.cut("swept", held, 0), lapse.ErrUnknown)
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
			wantIs(t, "cause", cause, lapse.ErrClosed)
			if errors.Is(cause, lapse.ErrUnauthenticated) {
				t.Errorf("%v reads as a bad token", cause)
			}
			held, _, err := opened(h.Hold(h.ctx, i.Bearer))
			wantIs(t, "Hold of a closed store", err, lapse.ErrClosed)
			wantIs(t, "its context", context.Cause(held), lapse.ErrClosed)
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
				held, tok, err := opened(h.Hold(h.ctx, bearer))
				wantIs(t, "Hold", err, row.want)
				if held.Err() == nil || context.Cause(held) != err || tok != (lapse.Token{}) {
					t.Fatalf("%+v, %v; want nothing, and a context that ended by %v", tok, context.Cause(held), err)
				}
			}
		})
	}
}
