package lapse

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestByGeneration: of a text with a right tag and no digest that is kept, the generation
// decides, at each limit.
func TestByGeneration(t *testing.T) {
	const last = math.MaxUint32
	for _, row := range []struct {
		name                     string
		current, previous, given uint32
		kept                     bool
		want                     standing
	}{
		{"the first of a first", 0, last, 0, false, unknownText},
		{"before the previous", 5, 4, 3, true, spentText},
		{"the previous, whose digest is kept", 5, 4, 4, true, unknownText},
		{"the previous, whose digest is not kept", 5, 4, 4, false, spentText},
		{"between the previous and the current", 5, 3, 4, true, spentText},
		{"the current", 5, 4, 5, true, unknownText},
		{"the current, nothing kept", 5, 0, 5, false, unknownText},
		{"the next", 5, 4, 6, true, aheadText},
		{"the last there can be", 5, 4, last, true, aheadText},
		{"the last is current", last, last - 1, last, true, unknownText},
		{"one before it", last, last - 1, last - 1, true, unknownText},
		{"two before it", last, last - 1, last - 2, true, spentText},
		{"the first of the last", last, last - 1, 0, true, spentText},
		{"after the first", 0, 0, 1, false, aheadText},
	} {
		rec := storage.Record{Token: Token{Generation: row.current}}
		kept := oldSecrets{before: row.previous, previous: string(make([]byte, 32))}
		if row.kept {
			kept.previous = strings.Repeat("d", 32)
		}
		if got := kept.byGeneration(&rec, row.given); got != row.want {
			t.Errorf("%s: %d; want %d", row.name, got, row.want)
		}
	}
}

// standsFor says what a Manager with binding b, whose texts refresh sessions or not, takes
// p for.
func standsFor(rec *storage.Record, p *presented, b binding, refreshes bool) (standing, error) {
	m := Manager{binding: b, refreshes: refreshes}
	return m.match(rec, p, testInstant)
}

// TestRejectionsNameTheGeneration of the text that was replaced.
func TestRejectionsNameTheGeneration(t *testing.T) {
	w := newTextWorld(t, memory.New())
	for _, kind := range []string{"plain", "obtained", "session"} {
		s := w.scene(kind, true)
		w.wait(textOverlap)
		for n, text := range s.texts[:3] {
			_, err := s.m.Peek(t.Context(), text)
			wantGeneration(t, s, err, ErrReplaced, uint32(n))
		}
		if kind != "session" {
			continue
		}
		for n, text := range s.refresh[:3] {
			_, err := s.p.Peek(t.Context(), text)
			wantGeneration(t, s, err, ErrReplaced, uint32(n))
			_, err = s.p.Refresh(t.Context(), text)
			wantGeneration(t, s, err, ErrReused, uint32(n))
		}
	}
}

func wantGeneration(t *testing.T, s *textScene, err, want error, generation uint32) {
	t.Helper()
	var r *Rejection
	if !errors.Is(err, want) || !errors.As(err, &r) || r.Generation != generation || r.ID != s.id || r.Subject != s.subject {
		t.Errorf("%s: %v, %+v; want generation %d", s.kind, err, r, generation)
	}
}

// TestUnprovedRejectionsSayNothing of the subject or the generation: nothing proves that
// such a text was ever one of that record.
func TestUnprovedRejectionsSayNothing(t *testing.T) {
	w := newTextWorld(t, memory.New())
	for _, row := range authenticatingRows(textOverlap) {
		if row.stands != unknownText && row.stands != aheadText {
			continue
		}
		s := w.scene("plain", true)
		text := row.text(s)
		_, err := s.m.Authenticate(t.Context(), text)
		var r *Rejection
		var c credential
		_, _ = c.Parse(text, "lapse", begin("lapse"))
		if !errors.As(err, &r) || *r != (Rejection{Err: ErrUnknown, ID: c.ID()}) {
			t.Errorf("%s: %v, %+v", row.name, err, r)
		}
	}
}

// TestTheLastGeneration: a token, or a session, that has had as many secrets as one can
// have is not given another, and lives on.
func TestTheLastGeneration(t *testing.T) {
	for generation, want := range map[uint32]error{math.MaxUint32 - 1: nil, math.MaxUint32: ErrNotRenewable} {
		for _, kind := range []string{"plain", "session"} {
			w := newTextWorld(t, memory.New())
			s := w.scene(kind, true)
			w.change(s, func(rec *storage.Record) { rec.Generation = generation })
			before := s.record()
			var err error
			if kind == "session" {
				_, err = s.p.Refresh(t.Context(), s.refresh[3])
			} else {
				_, err = s.m.RotateID(t.Context(), s.id, textOverlap)
			}
			if !errors.Is(err, want) || (err == nil) != (want == nil) || s.record().Equal(before) != (want != nil) {
				t.Errorf("%s of generation %d: %v; want %v", kind, generation, err, want)
			}
			if tok, err := s.m.Token(t.Context(), s.id); err != nil || !tok.Live(w.now()) {
				t.Errorf("%s of generation %d: %+v, %v", kind, generation, tok, err)
			}
		}
	}
}

// change rewrites the record of s, if the store takes it.
func (w *textWorld) change(s *textScene, change func(rec *storage.Record)) {
	w.t.Helper()
	w.need(w.store.Update(context.Background(), s.subject, func(tx storage.Tx) error {
		rec, err := tx.Get(s.id)
		if err == nil {
			change(&rec)
			err = tx.Put(rec)
		}
		return err
	}))
}

// documentedErrors are what a verb can answer for a text that is well-formed, whatever the
// record says.
var documentedErrors = []error{
	ErrUnknown, ErrReplaced, ErrExpired, ErrRevoked, ErrExhausted, ErrReused, ErrCorrupt,
	ErrNotRenewable, ErrNotDelegable, ErrRotated, ErrScope, ErrLimit, ErrInvalidGrant, ErrConflict,
}

// FuzzSealed: whatever a record of either kind keeps sealed, no verb panics, none answers
// with an error that is not documented, and no text but those with a digest that is kept
// is good.
func FuzzSealed(f *testing.F) {
	for _, r := range rotatedExtremes() {
		f.Add(r.seal().Text(), byte(KindPlain), uint32(3), int64(1000))
	}
	for _, p := range sessionExtremes() {
		f.Add(p.seal().Text(), byte(KindSession), uint32(3), int64(1000))
		f.Add(p.seal().Text(), byte(KindPlain), uint32(3), int64(1000))
	}
	f.Add(obtainedLabel+string(credentialOf(3)[:secretLen]), byte(KindPlain), uint32(0), int64(0))
	f.Add("", byte(2), uint32(math.MaxUint32), int64(-1))
	f.Fuzz(func(t *testing.T, sealed string, kind byte, generation uint32, until int64) {
		if len(sealed) > storage.MaxSealed || kind > byte(KindSession)+1 || until < -1e12 || until > 1e12 {
			return
		}
		w := newTextWorld(t, memory.New())
		for _, which := range []string{"plain", "session"} {
			for n, verb := range textVerbs() {
				s := &textScene{textWorld: w, kind: which, subject: fmt.Sprint("subject ", n)}
				fuzzVerb(t, s, &verb, func(rec *storage.Record) {
					rec.Kind, rec.Generation, rec.Sealed = Kind(kind), generation, storage.NewSealed(sealed)
					rec.PreviousUntil = time.Time{}
					if until >= 0 {
						rec.PreviousUntil = testInstant.Add(time.Duration(until) * time.Millisecond)
					}
				})
			}
		}
	})
}

func fuzzVerb(t *testing.T, s *textScene, verb *textVerb, change func(rec *storage.Record)) {
	if s.kind == "session" {
		c, err := s.p.Issue(t.Context(), Grant{Subject: s.subject, Scope: "read"})
		s.need(err)
		s.id, s.texts, s.refresh = c.Access.ID, []string{c.Access.Bearer}, []string{c.Refresh.Bearer}
	} else {
		i := s.first("fuzzed")
		s.id, s.texts = i.ID, []string{i.Bearer}
	}
	texts := append(slices.Clone(s.texts), s.refresh...)
	s.change(s, change)
	for _, text := range append(texts, respelled(s.texts[0], "lapse", func(c *credential) { c[40] ^= 1 })) {
		_, err := verb.do(t.Context(), s, text)
		if err != nil && !slices.ContainsFunc(documentedErrors, func(known error) bool { return errors.Is(err, known) }) {
			t.Errorf("%s of a changed record (%s): %v", verb.name, s.kind, err)
		}
		if text != s.texts[0] && len(s.refresh) == 0 && err == nil {
			t.Errorf("%s: a text of nothing is good", verb.name)
		}
	}
}
