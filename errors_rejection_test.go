package lapse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestRejectionFields: before the secret is proved it says no more than the text
// presented; afterwards all that a log needs.
func TestRejectionFields(t *testing.T) {
	type fields struct {
		known  bool // the ID
		proved bool
		at     time.Time
		reason EndReason
	}
	wants := map[string]fields{
		"malformed":                         {},
		"no such ID":                        {known: true},
		"wrong secret":                      {known: true},
		"another prefix before it":          {known: true},
		"ran out":                           {known: true, proved: true, at: after(30 * time.Minute)},
		"ended by its ID":                   {known: true, proved: true, at: testInstant, reason: EndRevoked},
		"ended with its subject":            {known: true, proved: true, at: testInstant, reason: EndSubject},
		"replaced at once":                  {known: true, proved: true},
		"replaced, and its overlap is over": {known: true, proved: true},
		"replaced, and the token is dead":   {known: true, proved: true},
		"exhausted":                         {known: true, proved: true, at: testInstant, reason: EndExhausted},
		"subject refused":                   {known: true, proved: true},
		"subject refused with more to say":  {known: true, proved: true},
	}
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			want, listed := wants[tt.name]
			if !listed {
				t.Fatal("nothing is said of this refusal")
			}
			s := newCauseScene(t)
			err := tt.do(t, s)
			var r *Rejection
			if !errors.As(err, &r) {
				t.Fatalf("no Rejection in %v", err)
			}
			wanted := Rejection{Err: sentinels[tt.is], At: want.at, Reason: want.reason}
			if want.known {
				wanted.ID = s.issued.ID
			}
			if tt.name == "no such ID" {
				wanted.ID = credentialOf(1).ID()
			}
			if want.proved {
				wanted.Subject = s.issued.Subject
			}
			if diff := cmp.Diff(wanted, *r, cmpopts.EquateErrors()); diff != "" {
				t.Errorf("Rejection (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnknownIsOneAnswer: an absent ID, a wrong secret and another prefix differ
// in nothing but the ID that was presented, and cost the store the same.
func TestUnknownIsOneAnswer(t *testing.T) {
	s := newCauseScene(t)
	absent := s.withOtherSecret()
	absent[0] ^= 1
	var calls []map[string]int
	texts := map[string]bool{}
	for _, bearer := range []string{absent.Text("lapse"), s.withOtherSecret().Text("lapse"), s.credential().Text("other")} {
		clear(s.store.calls)
		for verb, err := range bearerVerbs(t.Context(), s.Manager, bearer) {
			if !errors.Is(err, ErrUnknown) {
				t.Errorf("%s = %v, want ErrUnknown", verb, err)
			}
			text := strings.ReplaceAll(err.Error(), absent.ID().String(), "ID")
			texts[strings.ReplaceAll(text, s.issued.ID.String(), "ID")] = true
		}
		calls = append(calls, map[string]int{"Get": s.store.calls["Get"], "all": len(s.store.calls)})
	}
	one := map[string]int{"Get": 6, "all": 1}
	if diff := cmp.Diff([]map[string]int{one, one, one}, calls); diff != "" {
		t.Errorf("calls of the store (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]bool{"lapse: unauthenticated: unknown token: ID": true}, texts); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
}

// TestRejectionText, as logs have it: ID#generation once the secret is proved, and no
// subject.
func TestRejectionText(t *testing.T) {
	id := fromHex("000102030405060708090a0b0c0d0e0f" + strings.Repeat("00", secretLen))
	at := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	for want, r := range map[string]Rejection{
		"lapse: unauthenticated: malformed token": {Err: ErrMalformed},
		"lapse: unauthenticated: unknown token: 001IYT0XLWR0glqewhlWlr": {
			Err: ErrUnknown, ID: id.ID()},
		"lapse: unauthenticated: token replaced: 001IYT0XLWR0glqewhlWlr#4294967295": {
			Err: ErrReplaced, ID: id.ID(), Subject: "ana", Generation: 1<<32 - 1},
		"lapse: unauthenticated: refresh token reused: 001IYT0XLWR0glqewhlWlr#7 was ended at 2026-03-01T12:30:00Z (reused)": {
			Err: ErrReused, ID: id.ID(), Subject: "ana", Generation: 7, At: at, Reason: EndReused},
		"lapse: unauthenticated: token expired: 001IYT0XLWR0glqewhlWlr#0 ran out at 2026-03-01T12:30:00Z": {
			Err: ErrExpired, ID: id.ID(), Subject: "ana", At: at},
		"lapse: unauthenticated: token revoked: 001IYT0XLWR0glqewhlWlr#0 was ended at 2026-03-01T12:30:00Z (revoked)": {
			Err: ErrRevoked, ID: id.ID(), Subject: "ana", At: at, Reason: EndRevoked},
		"lapse: unauthenticated: token revoked: 001IYT0XLWR0glqewhlWlr#0 was ended at 2026-03-01T12:30:00Z (subject)": {
			Err: ErrRevoked, ID: id.ID(), Subject: "ana", At: at, Reason: EndSubject},
		"lapse: unauthenticated: token revoked: 001IYT0XLWR0glqewhlWlr#0 was ended at 2026-03-01T12:30:00Z (evicted)": {
			Err: ErrRevoked, ID: id.ID(), Subject: "ana", At: at, Reason: EndEvicted},
		"lapse: unauthenticated: token revoked: 001IYT0XLWR0glqewhlWlr#0 was ended at 2026-03-01T12:30:00Z (unknown)": {
			Err: ErrRevoked, ID: id.ID(), Subject: "ana", At: at, Reason: 200},
		"suspended: lapse: unauthenticated: refused: 001IYT0XLWR0glqewhlWlr#0": {
			Err: fmt.Errorf("suspended: %w", ErrRefused), ID: id.ID(), Subject: "ana"},
	} {
		if diff := cmp.Diff(want, r.Error()); diff != "" {
			t.Errorf("text (-want +got):\n%s", diff)
		}
		if !errors.Is(&r, ErrUnauthenticated) {
			t.Errorf("%v does not wrap ErrUnauthenticated", &r)
		}
	}
}

// TestRejectionAt is the earlier of both deaths, and says the reason of an end
// that came too late to matter no differently.
func TestRejectionAt(t *testing.T) {
	s := newCauseScene(t)
	s.clock.Set(after(10 * time.Minute)) // before it runs out
	if _, err := s.ExpireBearer(t.Context(), s.issued.Bearer); err != nil {
		t.Fatal(err)
	}
	s.clock.Set(after(100 * time.Hour)) // long after it would have
	var r *Rejection
	if err := s.authenticate(t); !errors.As(err, &r) || !r.At.Equal(after(10*time.Minute)) || r.Reason != EndRevoked {
		t.Errorf("Rejection = %+v", r)
	}
}

// TestRejectionsAreNotShared: whoever changes the one he found changes nobody
// else's.
func TestRejectionsAreNotShared(t *testing.T) {
	var first, second *Rejection
	if !errors.As(ErrMalformed, &first) {
		t.Fatal("no Rejection in ErrMalformed")
	}
	first.Subject, first.Err = "changed", nil
	if !errors.As(ErrMalformed, &second) {
		t.Fatal("no Rejection in ErrMalformed")
	}
	if diff := cmp.Diff(Rejection{Err: ErrMalformed}, *second, cmpopts.EquateErrors()); diff != "" {
		t.Errorf("second Rejection (-want +got):\n%s", diff)
	}
}

// TestAsFindsNothingElse: only a *Rejection is made up.
func TestAsFindsNothingElse(t *testing.T) {
	var own *ownError
	if errors.As(ErrMalformed, &own) {
		t.Errorf("found %v", own)
	}
	var r *Rejection
	if errors.As(ErrUnauthenticated, &r) {
		t.Errorf("the umbrella by itself says why: %v", r)
	}
}

type ownError struct{}

func (*ownError) Error() string { return "own" }

// TestRejectedEvents carry the same Rejection as what is returned. A text whose secret was
// replaced has an event of its own.
func TestRejectedEvents(t *testing.T) {
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			s := newCauseScene(t)
			var told []Event
			s.observe = func(_ context.Context, e Event) {
				if e.Kind == EventRejected || e.Kind == EventSpent {
					told = append(told, e)
				}
			}
			err := tt.do(t, s)
			var r *Rejection
			if !errors.As(err, &r) || len(told) != 1 {
				t.Fatalf("%v; told %d rejections, want 1", err, len(told))
			}
			want := Event{Kind: EventRejected, At: s.now(), Token: Token{ID: r.ID, Subject: r.Subject, Generation: r.Generation}, Err: err}
			if tt.is == "ErrReplaced" {
				want.Kind = EventSpent
			}
			if diff := cmp.Diff(want, told[0], cmpopts.EquateErrors()); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}
