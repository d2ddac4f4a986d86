package near

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestVerdicts: a token is accepted by a copy that says good, however old it is within the lease, and
// whatever a copy says against a token is asked of the store. No refusal by a copy is told or counted.
func TestVerdicts(t *testing.T) {
	end := func(r *storage.Record) { r.EndedAt, r.EndReason = r.IssuedAt.Add(time.Millisecond), storage.EndRevoked }
	same := func(*storage.Record) {}
	for name, row := range map[string]struct {
		copied, stored func(*storage.Record)
		want           error
	}{
		"good, and good":                    {same, same, nil},
		"good by the copy alone":            {same, end, nil},
		"run out by the copy alone":         {func(r *storage.Record) { r.ExpiresAt = r.IssuedAt }, same, nil},
		"suspended by the copy alone":       {func(r *storage.Record) { r.SuspendedAt = r.IssuedAt }, same, nil},
		"another secret by the copy alone":  {func(r *storage.Record) { r.Digest = storage.NewDigest(storage.SHA256, [32]byte{1}) }, same, nil},
		"another prefix by the copy alone":  {func(r *storage.Record) { r.Prefix = "other" }, same, nil},
		"ended by both":                     {end, end, lapse.ErrRevoked},
		"suspended by the copy, and ended":  {func(r *storage.Record) { r.SuspendedAt = r.IssuedAt }, end, lapse.ErrRevoked},
		"suspended in the store alone":      {same, func(r *storage.Record) { r.SuspendedAt = r.IssuedAt }, nil},
		"a budget by the copy, and ended":   {func(r *storage.Record) { r.MaxUses, r.UsesLeft = 2, 2 }, end, lapse.ErrRevoked},
		"bound by the copy, and not bound":  {func(r *storage.Record) { r.Thumbprint[0] = 1 }, same, nil},
		"refused by Admit by the copy only": {func(r *storage.Record) { r.Scope = "" }, same, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, p := open(t, Options{})
			told := 0
			m, err := lapse.New(s, lapse.Config{Admit: func(_ context.Context, tok lapse.Token) error {
				if !tok.Has("read") {
					return lapse.ErrRefused
				}
				return nil
			}, Observe: func(_ context.Context, e lapse.Event) { told++ }})
			if err != nil {
				t.Fatal(err)
			}
			issued, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana", Scope: "read"})
			if err != nil {
				t.Fatal(err)
			}
			rec, err := p.Get(t.Context(), issued.ID)
			if err != nil {
				t.Fatal(err)
			}
			stored, old := rec, rec
			row.stored(&stored)
			row.copied(&old)
			if err := p.Store.Update(t.Context(), "ana", func(tx storage.Tx) error { return tx.Put(stored) }); err != nil {
				t.Fatal(err)
			}
			s.halt() // no notice drops the copy any more
			s.until.Store(int64(storage.Elapsed() + time.Hour))
			s.copies.finish(s.copies.begin(old.ID), &old, storage.Elapsed(), true)
			told = 0
			if _, err := m.Peek(t.Context(), issued.Bearer); !errors.Is(err, row.want) || (err == nil) != (row.want == nil) {
				t.Errorf("got %v, want %v", err, row.want)
			}
			if want := map[bool]int{true: 0, false: 1}[row.want == nil]; told != want {
				t.Errorf("%d events, want %d", told, want)
			}
		})
	}
}

// TestAdmitIsAskedAgain: Admit is asked once about a token that it lets pass by the copy. Otherwise it is
// asked a second time, about the token as it is stored, and that answer counts.
func TestAdmitIsAskedAgain(t *testing.T) {
	away := errors.New("the directory is away")
	says := func(answers ...error) []error { return answers }
	for name, row := range map[string]struct {
		answers []error  // of Admit, in order
		asked   []string // the scopes that it is asked about
		want    error
	}{
		"let pass":                      {says(nil), []string{"copied"}, nil},
		"refused by the copy alone":     {says(lapse.ErrRefused, nil), []string{"copied", "stored"}, nil},
		"refused by both":               {says(lapse.ErrRefused, lapse.ErrRefused), []string{"copied", "stored"}, lapse.ErrRefused},
		"not told by the copy alone":    {says(away, nil), []string{"copied", "stored"}, nil},
		"refused, and then not told":    {says(lapse.ErrRefused, away), []string{"copied", "stored"}, away},
		"not told, and then is refused": {says(away, lapse.ErrRefused), []string{"copied", "stored"}, lapse.ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			s, p := open(t, Options{})
			var asked []string
			m, err := lapse.New(s, lapse.Config{Admit: func(_ context.Context, tok lapse.Token) error {
				asked = append(asked, tok.Scope)
				if len(asked) > len(row.answers) {
					return nil
				}
				return row.answers[len(asked)-1]
			}})
			if err != nil {
				t.Fatal(err)
			}
			issued, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana", Scope: "stored"})
			if err != nil {
				t.Fatal(err)
			}
			old, err := p.Get(t.Context(), issued.ID)
			if err != nil {
				t.Fatal(err)
			}
			old.Scope = "copied"
			s.halt() // no notice drops the copy any more
			s.until.Store(int64(storage.Elapsed() + time.Hour))
			s.copies.finish(s.copies.begin(old.ID), &old, storage.Elapsed(), true)
			if _, err := m.Peek(t.Context(), issued.Bearer); !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
			if !slices.Equal(asked, row.asked) {
				t.Errorf("Admit was asked about %q, want %q", asked, row.asked)
			}
		})
	}
}

// TestHoldReadsTheStore: no connection is held by an old copy: nothing would cut it.
func TestHoldReadsTheStore(t *testing.T) {
	s, p := open(t, Options{})
	m, err := lapse.New(s, lapse.Config{})
	if err != nil {
		t.Fatal(err)
	}
	issued, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	old, err := p.Get(t.Context(), issued.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Expire(t.Context(), issued.ID); err != nil {
		t.Fatal(err)
	}
	s.copies.finish(s.copies.begin(old.ID), &old, storage.Elapsed(), true)
	if _, err := m.Hold(t.Context(), issued.Bearer); !errors.Is(err, lapse.ErrRevoked) {
		t.Errorf("Hold of a token that was ended: %v", err)
	}
}
