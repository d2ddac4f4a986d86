package lapse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage"
)

// said collects every error and event that a scene brings about, in all the ways
// in which a program may log them.
type said struct {
	texts  []string
	errors int
}

func (s *said) err(err error) {
	if err == nil {
		return
	}
	s.errors++
	for e := err; e != nil; e = errors.Unwrap(e) {
		s.texts = append(s.texts, e.Error())
	}
	var r *Rejection
	if errors.As(err, &r) {
		s.value(*r)
	}
	s.value(err)
	s.value(fmt.Errorf("handler: %w", err))
}

func (s *said) value(v any) {
	s.texts = append(s.texts, fmt.Sprintf("%v %+v %#v %s %q %x %d", v, v, v, v, v, v, v))
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Error("failed", "value", v)
	slog.New(slog.NewTextHandler(&b, nil)).Error("failed", "value", v)
	s.texts = append(s.texts, b.String())
}

// speaking is a causeScene that tells the observer's events to what is returned.
func speaking(t *testing.T) (*causeScene, *said) {
	scene, heard := newCauseScene(t), &said{}
	scene.observe = func(_ context.Context, e Event) {
		heard.value(e)
		heard.err(e.Err)
	}
	return scene, heard
}

// every returns what every verb says to text, and to the scene's subject and ID.
func (s *causeScene) every(t *testing.T, heard *said, text string) {
	for _, err := range bearerVerbs(t.Context(), s.Manager, text) {
		heard.err(err)
	}
	_, err := s.Issue(t.Context(), Grant{Subject: "ana"})
	heard.err(err)
	_, err = s.Token(t.Context(), s.issued.ID)
	heard.err(err)
	for tok, err := range s.Tokens(t.Context(), "ana") {
		heard.value(tok)
		heard.err(err)
	}
	for tok, err := range s.Expiring(t.Context(), time.Hour) {
		heard.value(tok)
		heard.err(err)
	}
	_, err = Login(t.Context(), s.Manager, text, Grant{}, VerifierFunc[string](func(context.Context, string) (string, error) { return "", ErrBadCredentials }))
	heard.err(err)
	_, err = s.Sweep(t.Context())
	heard.err(err)
	_, err = s.Expire(t.Context(), s.issued.ID)
	heard.err(err)
	_, err = s.ExpireSubject(t.Context(), "ana")
	heard.err(err)
}

// quiet reports what of the scene's secret, or of another one, was said.
func (s *causeScene) quiet(t *testing.T, heard *said, want int, more ...string) {
	t.Helper()
	if heard.errors < want {
		t.Errorf("heard %d errors, want %d at least, or nothing is tested", heard.errors, want)
	}
	for _, bearer := range append(more, s.issued.Bearer) {
		secrets := secretsOf(bearer)
		for _, text := range heard.texts {
			if found := secrets.leaks(text); found != nil {
				t.Errorf("the %s is said in %.400q", found[0], text)
				break
			}
		}
	}
}

// TestNoErrorTellsASecret: every verb, on every token that is no good and on
// every failure of the store.
func TestNoErrorTellsASecret(t *testing.T) {
	race.Alone(t)
	t.Run("malformed", func(t *testing.T) {
		s, heard := speaking(t)
		for _, text := range nearMisses(s.issued.Bearer) {
			for _, err := range bearerVerbs(t.Context(), s.Manager, text) {
				heard.err(err)
			}
		}
		s.quiet(t, heard, 500)
	})
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			s, heard := speaking(t)
			wrong, own := s.withOtherSecret().Text("lapse"), s.issued.Bearer
			heard.err(tt.do(t, s))
			s.every(t, heard, wrong)
			s.every(t, heard, own)
			s.every(t, heard, own)
			s.quiet(t, heard, 8, wrong)
		})
	}
	for _, kind := range []error{ErrNotFound, ErrConflict, ErrUnavailable, ErrOutcomeUnknown, ErrClosed, ErrCorrupt, ErrLocked,
		context.Canceled, context.DeadlineExceeded, errOwnDisk} {
		for _, method := range []string{"Get", "Touch", "Update", "List", "Sweep", "all"} {
			t.Run(kind.Error()+" by "+method, func(t *testing.T) {
				s, heard := speaking(t)
				s.clock.Set(after(time.Minute)) // so that a renewal is due
				if method == "all" {
					s.failing(kind)
				}
				s.store.fails[method] = kind
				s.every(t, heard, s.issued.Bearer)
				s.quiet(t, heard, 1)
			})
		}
	}
}

// TestNoMistakeRepeatsASecret: who puts a token where something else belongs does
// not find it in a log.
func TestNoMistakeRepeatsASecret(t *testing.T) {
	s, heard := speaking(t)
	bearer := s.issued.Bearer
	secret := bearer[len("lapse_")+22:] // without the ID
	_, err := ParseID(bearer)
	heard.err(err)
	var id ID
	heard.err(id.UnmarshalText([]byte(secret)))
	for _, g := range []Grant{
		{Subject: bearer + "\n"}, {Subject: "ana", Name: bearer + "\xff"}, {Subject: "ana", Scope: bearer + "  "},
		{Subject: "ana", Data: fmt.Sprintf("%s%5000s", bearer, "")},
	} {
		_, err := s.Issue(t.Context(), g)
		heard.err(err)
	}
	_, err = s.ExpireSubject(t.Context(), bearer+"\x00")
	heard.err(err)
	for _, err := range s.Tokens(t.Context(), bearer+"\x00") {
		heard.err(err)
	}
	s.quiet(t, heard, 8)

	t.Run("Prefix", func(t *testing.T) {
		heard := &said{}
		_, err := New(s.store, Config{Prefix: bearer})
		heard.err(err)
		s.quiet(t, heard, 1)
	})
}

// TestNoSecretIsStored: what a store is given holds the digest, and nothing from
// which the text could be made.
func TestNoSecretIsStored(t *testing.T) {
	s, _ := speaking(t)
	rec, err := s.store.Get(t.Context(), s.issued.ID)
	if err != nil {
		t.Fatal(err)
	}
	sum := rec.Digest.Sum()
	raw := fmt.Sprintf("%s%s%s%s%s%s", rec.Prefix, rec.Subject, rec.Name, rec.Scope, rec.Data, sum[:])
	for _, found := range secretsOf(s.issued.Bearer).leaks(raw) {
		if len(found) < 6 || found[:6] != "digest" {
			t.Errorf("the record holds the %s", found)
		}
	}
	if rec.Digest.Algorithm() != storage.SHA256 || rec.Digest.Equal((&credential{}).Digest(s.binding)) {
		t.Errorf("the digest is of algorithm %d", rec.Digest.Algorithm())
	}
	if !rec.Digest.Equal(s.credential().Digest(s.binding)) {
		t.Error("the digest is not that of the bearer")
	}
}
