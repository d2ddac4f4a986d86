package model

import (
	"context"
	"crypto/rand"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
)

// coverFault is something that is wrong with what a cover drives.
type coverFault struct {
	name   string
	in     scenario
	wrap   func(storage.Store) storage.Store
	bearer func(w *world, m *model, a *deed, bearer string) string
	after  func(w *world, m *model, a *deed, got *outcome)
	skip   func(m *model, a *deed) bool // which deeds are given the right proof, whatever they have
}

// change does that to the record n, and nothing to one that is gone.
func (w *world) change(m *model, n int, change func(*storage.Record)) {
	_ = w.store.Update(w.ctx, m.records[n].subject, func(tx storage.Tx) error {
		rec, err := tx.Get(m.records[n].id)
		if err != nil {
			return err
		}
		change(&rec)
		return tx.Put(rec)
	})
}

// staleStore is a store whose transactions read what was read before them.
type staleStore struct {
	storage.Store
	read map[storage.ID]storage.Record
}

func (s *staleStore) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	if err == nil {
		s.read[id] = rec
	}
	return rec, err
}

func (s *staleStore) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return s.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(staleTx{tx, s}) })
}

type staleTx struct {
	storage.Tx
	s *staleStore
}

func (tx staleTx) Get(id storage.ID) (storage.Record, error) {
	if rec, ok := tx.s.read[id]; ok {
		return rec, nil
	}
	return tx.Tx.Get(id)
}

// pastCap is a store whose Touch knows no cap.
type pastCap struct{ storage.Store }

func (s pastCap) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	rec, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	return s.Update(ctx, rec.Subject, func(tx storage.Tx) error {
		rec, err := tx.Get(id)
		if err != nil || !rec.EndedAt.IsZero() {
			return err
		}
		rec.LastUsedAt = use.At
		if until := use.At.Add(rec.TTL); rec.Kind == lapse.KindPlain && until.After(rec.ExpiresAt) {
			rec.ExpiresAt = until
		}
		return tx.Put(rec)
	})
}

// watched is a wrong store that tells of changes.
type watched struct{ *lapsetest.Wrong }

func (w watched) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	return w.Store.(storage.Watcher).Watch(ctx)
}

// over is a store that puts what change makes of a record that takes the place of another.
func over(change func(old, put *storage.Record)) func(storage.Store) storage.Store {
	return func(s storage.Store) storage.Store {
		return &lapsetest.Wrong{Store: s, OnOver: func(old, put storage.Record) storage.Record {
			change(&old, &put)
			return put
		}}
	}
}

// inPlace presents another text in the place of one of that standing.
func inPlace(found modelStanding, verb string, other func(m *model, t modelText) modelText) func(*world, *model, *deed, string) string {
	return func(w *world, m *model, a *deed, bearer string) string {
		if a.verb != verb || m.standing(a.text) != found {
			return bearer
		}
		if b := w.held(other(m, a.text)); b != "" {
			return b
		}
		return bearer
	}
}

// coverFaults are faults in how secrets are kept and judged.
func coverFaults() []coverFault {
	return []coverFault{
		{name: "a salt is not cleared", in: plainScenario(), wrap: over(func(old, put *storage.Record) {
			if old.Digest == put.Digest && old.EndedAt == put.EndedAt {
				put.Sealed = old.Sealed
			}
		})},
		{name: "the grace restarts", in: sessionScenario(), after: func(w *world, m *model, a *deed, got *outcome) {
			if a.verb == "refresh" && got.ok {
				w.change(m, a.text.record, func(r *storage.Record) { r.PreviousUntil = instantOf(m.now + coverOverlap) })
			}
		}},
		{name: "reuse is decided before the transaction", in: gapSessionScenario(), wrap: func(s storage.Store) storage.Store {
			return &staleStore{s, map[storage.ID]storage.Record{}}
		}},
		{name: "a spent text authenticates", in: plainScenario(), bearer: inPlace(isSpent, "authenticate", func(m *model, t modelText) modelText {
			return m.currentText(t.record, plainText)
		})},
		{name: "a tag is accepted under another ID", in: limitScenario("", lapse.LimitEndIdlest), bearer: func(w *world, m *model, a *deed, bearer string) string {
			t := a.text
			if t.odd != otherID || a.verb != "refresh" {
				return bearer
			}
			if t.record, t.odd = m.other(t.record), asMade; w.held(t) == "" {
				return bearer
			}
			return w.held(t)
		}},
		{name: "ahead is taken for spent", in: sessionScenario(), bearer: inPlace(isAhead, "refresh", func(m *model, t modelText) modelText {
			if first := (modelText{record: t.record, kind: refreshText}); m.standing(first) == isSpent {
				return first
			}
			return t
		})},
		{name: "a use by the old text is counted", in: plainScenario(), after: func(w *world, m *model, a *deed, got *outcome) {
			if a.verb == "authenticate" && got.err == nil && m.standing(a.text) == isPrevious {
				_ = w.store.Touch(w.ctx, got.token.ID, storage.Use{At: instantOf(m.now), ExpiresAt: instantOf(m.now + 1000)})
			}
		}},
		{name: "the scope is widened in the grace", in: sessionScenario(), wrap: over(func(old, put *storage.Record) {
			if old.Generation+1 == put.Generation && !put.PreviousUntil.IsZero() {
				keepAccess(old, put, put.PreviousUntil)
			}
		})},
		{name: "the access part is swept between refreshes", in: sessionScenario(), after: func(w *world, m *model, a *deed, got *outcome) {
			if a.verb == "sweep" && m.records[0].accessExpires < m.now {
				w.change(m, 0, forgetAccess)
			}
		}},
		{name: "an end forgets far descendants", in: delegateScenario(), wrap: over(func(_, put *storage.Record) {
			if put.EndReason == lapse.EndParent && put.Parent != put.Family {
				put.EndedAt, put.EndReason = time.Time{}, 0
			}
		})},
		{name: "the proof of a spent text is not asked", in: boundSessionScenario(), skip: func(m *model, a *deed) bool {
			return a.verb == "refresh" && m.standing(a.text) == isSpent
		}},
		{name: "a dead token says so without a proof", in: boundScenario(), skip: func(m *model, a *deed) bool {
			return a.verb == "authenticate" && !m.lives(&m.records[a.text.record])
		}},
		{name: "another key is a proof of a previous text", in: boundScenario(), skip: func(m *model, a *deed) bool {
			return a.verb == "rotate" && a.proof != 0 && m.standing(a.text) == isPrevious
		}},
		{name: "a log-out wants no proof", in: boundSessionScenario(), skip: func(_ *model, a *deed) bool { return a.verb == "expire pair" }},
		{name: "Confirm survives no refresh", in: boundSessionScenario(), wrap: over(func(old, put *storage.Record) {
			if old.Generation != put.Generation {
				put.AuthenticatedAt = time.Time{}
			}
		})},
		{name: "a use of the previous text takes Confirm back", in: boundScenario(), after: func(w *world, m *model, a *deed, _ *outcome) {
			if a.verb == "authenticate" && m.standing(a.text) == isPrevious && a.proof == m.records[0].bound {
				w.change(m, 0, func(r *storage.Record) { r.AuthenticatedAt = time.Time{} })
			}
		}},
		{name: "a delegate forgets when its user was present", in: boundDelegateScenario(), wrap: puts(func(put *storage.Record) {
			if put.Parent != (storage.ID{}) {
				put.AuthenticatedAt = time.Time{}
			}
		})},
		{name: "a delegate is not bound", in: boundDelegateScenario(), wrap: puts(func(put *storage.Record) {
			if put.Parent != (storage.ID{}) {
				put.Thumbprint = storage.Thumbprint{}
			}
		})},
		{name: "a refresh forgets the client", in: boundSessionScenario(), wrap: over(func(old, put *storage.Record) {
			if old.Generation != put.Generation {
				put.Client = ""
			}
		})},
		{name: "a delegate has the client of its parent", in: boundDelegateScenario(), wrap: puts(func(put *storage.Record) {
			if put.Parent != (storage.ID{}) {
				put.Client = boundAna.Client
			}
		})},
		{name: "Confirm goes by what it read before", in: gapConfirmScenario(), wrap: func(s storage.Store) storage.Store {
			return &staleStore{s, map[storage.ID]storage.Record{}}
		}},
		{name: "a rotation resumes", in: suspendScenario(), wrap: over(func(old, put *storage.Record) {
			if old.Generation != put.Generation {
				put.SuspendedAt = time.Time{}
			}
		})},
		{name: "a suspension is an end", in: suspendScenario(), after: func(w *world, m *model, a *deed, got *outcome) {
			if a.verb == "suspend" && got.ok {
				w.change(m, a.record, func(r *storage.Record) { r.EndedAt, r.EndReason = r.SuspendedAt, lapse.EndRevoked })
			}
		}},
		{name: "reuse ends no suspended session", in: suspendSessionScenario(), wrap: over(func(old, put *storage.Record) {
			if put.EndReason == lapse.EndReused && !old.SuspendedAt.IsZero() {
				put.EndedAt, put.EndReason = time.Time{}, 0
			}
		})},
		{name: "a delegate does not ask whether those above are suspended", in: suspendDelegateScenario(), after: func(w *world, m *model, a *deed, got *outcome) {
			if a.verb == "authenticate" && got.err == lapse.ErrSuspended && m.records[a.text.record].suspended == unset {
				got.err = nil
			}
		}},
		{name: "the idlest is a suspended one", in: suspendLimitScenario(), wrap: puts(func(put *storage.Record) { put.SuspendedAt = time.Time{} })},
		{name: "Suspend goes by what it read before", in: gapSuspendScenario(), wrap: func(s storage.Store) storage.Store {
			return &staleStore{s, map[storage.ID]storage.Record{}}
		}},
		{name: "a touch goes past the cap", in: plainScenario(), wrap: func(s storage.Store) storage.Store { return pastCap{s} }},
	}
}

// TestCoverFindsFaults: each of them is found, or TestCover means nothing.
func TestCoverFindsFaults(t *testing.T) {
	for _, f := range append(append(coverFaults(), editFaults()...), aliasFaults()...) {
		t.Run(f.name, func(t *testing.T) { f.find(t) })
	}
}

func (f *coverFault) find(t *testing.T) {
	c, err := newCover(&f.in, f.wrap)
	if err != nil {
		t.Fatal(err)
	}
	c.w.bearer, c.w.after, c.w.skip = f.bearer, f.after, f.skip
	_, levels, err := c.run(7, time.Time{})
	if err == nil {
		t.Fatal("not found")
	}
	t.Logf("found after %d steps: %v", levels, err)
}

// sameSalt is a source of randomness that is none where a salt is drawn.
type sameSalt struct{ io.Reader }

func (s sameSalt) Read(b []byte) (int, error) {
	if len(b) == 16 {
		clear(b)
		b[0] = 1
		return len(b), nil
	}
	return s.Reader.Read(b)
}

// TestCoverFindsASaltUsedAgain: so does a salt that is not drawn for each secret.
func TestCoverFindsASaltUsedAgain(t *testing.T) {
	random := rand.Reader
	defer func() { rand.Reader = random }()
	rand.Reader = sameSalt{random}
	f := coverFault{in: sessionScenario()}
	f.find(t)
}

// TestCoverFindsAFloorIgnored: so does a connection that a leaked text keeps.
func TestCoverFindsAFloorIgnored(t *testing.T) {
	heldCoverFinds(t, holdScenarios()[0], replaceFloor)
}

// TestCoverFindsASuspensionIgnored: so does a connection that a suspended token keeps.
func TestCoverFindsASuspensionIgnored(t *testing.T) {
	heldCoverFinds(t, heldSuspendScenario(), func(r *storage.Record) { r.SuspendedAt = time.Time{} })
}

// heldCoverFinds: the cover of in fails where Get returns records that wrong has changed.
func heldCoverFinds(t *testing.T, in scenario, wrong func(r *storage.Record)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, err := newHoldCover(&in, func(s storage.Store) storage.Store {
			return watched{&lapsetest.Wrong{Store: s, OnGet: func(r storage.Record) storage.Record {
				wrong(&r)
				return r
			}}}
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.run(7)
		c.clear()
		if err == nil {
			t.Fatal("not found")
		}
		t.Log(err)
	})
}

// silent is a store whose Watch tells only of ends, suspensions and deletions.
type silent struct{ storage.Store }

func (s silent) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	return func(yield func(storage.Change, error) bool) {
		for change, err := range s.Store.(storage.Watcher).Watch(ctx) {
			r, absent := s.Get(ctx, change.ID)
			untold := err == nil && !change.Gap && absent == nil && r.EndedAt.IsZero() && r.SuspendedAt.IsZero()
			if !untold && !yield(change, err) {
				return
			}
		}
	}
}

// TestCoverFindsASilentWatch: so does a Watch that leaves out changes that no connection is cut by.
func TestCoverFindsASilentWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := heldSuspendScenario()
		c, err := newHoldCover(&in, func(s storage.Store) storage.Store { return silent{s} })
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.run(4)
		c.clear()
		if err == nil || !strings.Contains(err.Error(), "Watch tells") {
			t.Fatalf("not found: %v", err)
		}
		t.Log(err)
	})
}

// TestCoverFindsWrongUses: so does a use by a connection that does more than Authenticate would.
func TestCoverFindsWrongUses(t *testing.T) {
	touched := func(w *world, m *model, i int, ms int64) {
		rec := m.records[m.holds[i].record]
		_ = w.store.Touch(w.ctx, rec.id, storage.Use{At: w.clock.Now(), ExpiresAt: w.clock.Now().Add(time.Duration(ms) * time.Millisecond)})
	}
	for name, use := range map[string]func(w *world, m *model, i int) error{
		"past the cap": func(w *world, m *model, i int) error {
			err := w.holds[i].hold.Use(w.ctx)
			if err == nil {
				w.change(m, m.holds[i].record, func(rec *storage.Record) {
					rec.ExpiresAt, rec.MaxExpiresAt = w.clock.Now().Add(rec.TTL), time.Time{}
				})
			}
			return err
		},
		"after the cut": func(w *world, m *model, i int) error {
			if w.holds[i].ctx.Err() != nil {
				touched(w, m, i, 1000)
			}
			return w.holds[i].hold.Use(w.ctx)
		},
		"by an old secret": func(w *world, m *model, i int) error {
			if m.records[m.holds[i].record].generation != m.holds[i].generation {
				touched(w, m, i, 1000)
			}
			return w.holds[i].hold.Use(w.ctx)
		},
		"when none is due":      func(w *world, m *model, i int) error { touched(w, m, i, 0); return w.holds[i].hold.Use(w.ctx) },
		"of a token that ended": func(w *world, m *model, i int) error { _ = w.holds[i].hold.Use(w.ctx); return nil },
		"that wants a proof": func(w *world, m *model, i int) error {
			if m.proof == 0 && w.holds[i].ctx.Err() == nil {
				return lapse.ErrProof
			}
			return w.holds[i].hold.Use(w.ctx)
		},
		"that takes Confirm back after a refresh": func(w *world, m *model, i int) error {
			if r := &m.records[m.holds[i].record]; r.generation != m.holds[i].generation && m.holds[i].cut == nil {
				w.change(m, m.holds[i].record, func(rec *storage.Record) { rec.AuthenticatedAt = time.Time{} })
			}
			return w.holds[i].hold.Use(w.ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := holdScenarios()[0]
				switch name {
				case "when none is due":
					in = holdScenarios()[1]
				case "that wants a proof", "that takes Confirm back after a refresh":
					in = heldBoundScenario()
				}
				c, err := newHoldCover(&in, nil)
				if err != nil {
					t.Fatal(err)
				}
				c.w.use = use
				_, err = c.run(7)
				c.clear()
				if err == nil {
					t.Fatal("not found")
				}
				t.Log(err)
			})
		})
	}
}
