package lapse

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage"
)

// refusedVerbs are the verbs that take a text.
var refusedVerbs = map[string]func(ctx context.Context, s *refusedScene, text string) error{
	"Authenticate": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Authenticate(ctx, text)
		return err
	},
	"Peek": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Peek(ctx, text)
		return err
	},
	"Hold": func(ctx context.Context, s *refusedScene, text string) error {
		ctx, release := context.WithCancel(ctx)
		defer release()
		_, _, err := opened(s.m.Hold(ctx, text))
		return err
	},
	"Delegate": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Delegate(ctx, text, Grant{})
		return err
	},
	"Renew": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Renew(ctx, text)
		return err
	},
	"Rotate": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Rotate(ctx, text, time.Second)
		return err
	},
	"Rotate, 0": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Rotate(ctx, text, 0)
		return err
	},
	"ExpireBearer": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.ExpireBearer(ctx, text)
		return err
	},
	"Pairs.Refresh": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.pairs.Refresh(ctx, text)
		return err
	},
	"Pairs.Peek": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.pairs.Peek(ctx, text)
		return err
	},
	"Pairs.ExpireBearer": func(ctx context.Context, s *refusedScene, text string) error {
		return loggedOut(s.pairs.ExpireBearer(ctx, text))
	},
}

// verdicts are the sentinels that each verb says of a text, "" for good. What no column
// names says the first.
type verdicts struct {
	use                         string // Authenticate, Peek, Hold, Delegate
	renew, rotate, rotateAtOnce string
	expire                      string // ExpireBearer, and that of Pairs except for refresh texts
	refresh, peekPair, expireIt string
}

func (v *verdicts) of(verb string) string {
	switch verb {
	case "Renew":
		return v.renew
	case "Rotate":
		return v.rotate
	case "Rotate, 0":
		return v.rotateAtOnce
	case "ExpireBearer":
		return v.expire
	case "Pairs.Refresh":
		return v.refresh
	case "Pairs.Peek":
		return v.peekPair
	case "Pairs.ExpireBearer":
		return v.expireIt
	}
	return v.use
}

func same(err string) verdicts { return verdicts{err, err, err, err, err, err, err, err} }

const (
	uk = "ErrUnknown"
	rp = "ErrReplaced"
	nr = "ErrNotRenewable"
	ex = "ErrRevoked"
)

// textRows say what each verb says of each text: of a token and a session that live, and
// of such that are dead.
var textRows = map[string]struct{ live, dead verdicts }{
	"malformed":                     {same("ErrMalformed"), same("ErrMalformed")},
	"plain current":                 {verdicts{refresh: uk, peekPair: uk}, verdicts{ex, ex, ex, ex, "", uk, uk, ""}},
	"plain previous":                {verdicts{rotate: "ErrRotated", refresh: uk, peekPair: uk}, verdicts{ex, ex, ex, ex, "", uk, uk, ""}},
	"plain spent":                   {verdicts{rp, rp, rp, rp, rp, uk, uk, rp}, verdicts{rp, rp, rp, rp, rp, uk, uk, rp}},
	"plain first":                   {verdicts{rp, rp, rp, rp, rp, uk, uk, rp}, verdicts{rp, rp, rp, rp, rp, uk, uk, rp}},
	"plain made up":                 {verdicts{rp, rp, rp, rp, rp, uk, uk, rp}, verdicts{rp, rp, rp, rp, rp, uk, uk, rp}},
	"plain ahead":                   {same(uk), same(uk)},
	"plain far ahead":               {same(uk), same(uk)},
	"plain forged":                  {same(uk), same(uk)},
	"plain forged, of the previous": {same(uk), same(uk)},
	"plain without a right tag":     {same(uk), same(uk)},
	"plain of another kind":         {same(uk), same(uk)},
	"access current":                {verdicts{renew: nr, rotate: nr, rotateAtOnce: nr, refresh: uk, peekPair: uk}, verdicts{ex, ex, nr, nr, "", uk, uk, ""}},
	"access previous":               {verdicts{renew: nr, rotate: nr, rotateAtOnce: nr, refresh: uk, peekPair: uk}, verdicts{ex, ex, nr, nr, "", uk, uk, ""}},
	"access spent":                  {verdicts{rp, rp, nr, nr, "", uk, uk, ""}, verdicts{rp, rp, nr, nr, "", uk, uk, ""}},
	"access made up":                {verdicts{rp, rp, nr, nr, "", uk, uk, ""}, verdicts{rp, rp, nr, nr, "", uk, uk, ""}},
	"access ahead":                  {same(uk), same(uk)},
	"access forged":                 {same(uk), same(uk)},
	"access of another kind":        {same(uk), same(uk)},
	"refresh current":               {verdicts{uk, uk, uk, uk, uk, "", "", ""}, verdicts{uk, uk, uk, uk, uk, ex, ex, ""}},
	"refresh previous":              {verdicts{uk, uk, uk, uk, uk, "", "", ""}, verdicts{uk, uk, uk, uk, uk, ex, ex, ""}},
	"refresh spent":                 {verdicts{uk, uk, uk, uk, uk, "ErrReused", rp, ""}, verdicts{uk, uk, uk, uk, uk, "ErrReused", rp, ""}},
	"refresh made up":               {verdicts{uk, uk, uk, uk, uk, "ErrReused", rp, ""}, verdicts{uk, uk, uk, uk, uk, "ErrReused", rp, ""}},
	"refresh ahead":                 {same(uk), same(uk)},
	"refresh forged":                {same(uk), same(uk)},
	"refresh of another kind":       {same(uk), same(uk)},
}

// verdictsNoRefusal are the sentinels that do not say that the text is no good.
var verdictsNoRefusal = map[string]bool{nr: true, "ErrRotated": true}

// TestEveryVerbOnEveryText: the error wraps its sentinel, and the umbrella if it refuses
// the text, and nothing else. A refusal carries a Rejection, and anything else none.
func TestEveryVerbOnEveryText(t *testing.T) {
	race.Alone(t)
	for text := range newRefusedScene(t).texts {
		row, listed := textRows[text]
		if !listed {
			t.Fatalf("nothing is said of %q", text)
		}
		for verb, do := range refusedVerbs {
			for _, dead := range []bool{false, true} {
				want := row.live.of(verb)
				s := newRefusedScene(t)
				if dead {
					want = row.dead.of(verb)
					made(s.m.ExpireSubject(t.Context(), "ana"))
				}
				err := do(t.Context(), s, s.texts[text])
				wantVerdict(t, fmt.Sprintf("%s of %s, dead: %v", verb, text, dead), err, want)
			}
		}
	}
}

func wantVerdict(t *testing.T, what string, err error, want string) {
	t.Helper()
	var names []string
	switch refuses := want != "" && !verdictsNoRefusal[want]; {
	case refuses:
		names = sorted(want, "ErrUnauthenticated")
	case want != "":
		names = sorted(want)
	}
	if diff := cmp.Diff(names, isOf(err)); diff != "" || (err == nil) != (want == "") {
		t.Errorf("%s: %v wraps (-want +got):\n%s", what, err, diff)
	}
	var r *Rejection
	if refused := errors.Is(err, ErrUnauthenticated); errors.As(err, &r) != refused {
		t.Errorf("%s: %v carries a Rejection: %v", what, err, !refused)
	}
}

// TestPreviousUntilItsInstant: before, at, after the instant of the previous texts.
func TestPreviousUntilItsInstant(t *testing.T) {
	for text, row := range map[string]struct {
		until time.Duration // since the scene began
		verb  string
		want  string
	}{
		"plain previous":   {time.Minute, "Authenticate", rp},
		"access previous":  {defaultGrace, "Authenticate", rp},
		"refresh previous": {defaultGrace, "Pairs.Refresh", "ErrReused"},
	} {
		for _, off := range []time.Duration{-time.Millisecond, 0, time.Millisecond} {
			s := newRefusedScene(t)
			s.clock.Set(after(row.until + off))
			want := row.want
			if off < 0 {
				want = ""
			}
			wantVerdict(t, fmt.Sprint(text, " ", off, " after its instant"), refusedVerbs[row.verb](t.Context(), s, s.texts[text]), want)
		}
	}
}

// TestRotateIDErrors: RotateID has no text, so nothing that it says refuses one but the
// death of the token.
func TestRotateIDErrors(t *testing.T) {
	s := newRefusedScene(t)
	ctx := t.Context()
	other, _ := managerOver(t, s.store, Config{Prefix: "other"})
	foreign, ended := issueTo(t, other, Grant{Subject: "ana"}), issueTo(t, s.m, Grant{Subject: "ana"})
	spent := issueTo(t, s.m, Grant{Subject: "ana", MaxUses: 1})
	made(s.m.Authenticate(ctx, spent.Bearer))
	made(s.m.Expire(ctx, ended.ID))
	for name, row := range map[string]struct {
		id      ID
		overlap time.Duration
		want    string
	}{
		"good":                     {s.token, time.Second, ""},
		"a session":                {s.login, time.Second, nr},
		"unknown":                  {ID{1}, time.Second, "ErrNotFound"},
		"of another prefix":        {foreign.ID, time.Second, "ErrNotFound"},
		"ended":                    {ended.ID, time.Second, ex},
		"exhausted":                {spent.ID, time.Second, "ErrExhausted"},
		"negative overlap":         {s.token, -1, "ErrInvalidGrant"},
		"overlap over the maximum": {s.token, 31 * day, "ErrInvalidGrant"},
	} {
		_, err := s.m.RotateID(ctx, row.id, row.overlap)
		names := []string{row.want}
		switch row.want {
		case "":
			names = nil
		case ex, "ErrExhausted":
			names = sorted(row.want, "ErrUnauthenticated")
		}
		if diff := cmp.Diff(names, isOf(err)); diff != "" {
			t.Errorf("%s: %v wraps (-want +got):\n%s", name, err, diff)
		}
	}
}

// TestLastGeneration: a record that has had as many secrets as one can have gets no other,
// and stays as it is.
func TestLastGeneration(t *testing.T) {
	for verb, text := range map[string]string{
		"Rotate": "plain current", "Rotate, 0": "plain current", "RotateID": "plain current", "Pairs.Refresh": "refresh current",
	} {
		for generation, want := range map[uint32]string{math.MaxUint32 - 1: "", math.MaxUint32: nr} {
			s, ctx := newRefusedScene(t), t.Context()
			id := s.token
			if verb == "Pairs.Refresh" {
				id = s.login
			}
			s.change(t, id, func(rec *storage.Record) { rec.Generation = generation })
			before := made(s.store.Get(ctx, id))
			do := refusedVerbs[verb]
			if verb == "RotateID" {
				do = func(ctx context.Context, s *refusedScene, _ string) error {
					_, err := s.m.RotateID(ctx, id, time.Second)
					return err
				}
			}
			wantVerdict(t, fmt.Sprint(verb, " at ", generation), do(ctx, s, s.texts[text]), want)
			if same := made(s.store.Get(ctx, id)).Equal(before); same != (want == nr) {
				t.Errorf("%s at %d: the record is the same: %v", verb, generation, same)
			}
		}
	}
}
