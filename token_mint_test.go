package lapse

import (
	"bytes"
	"context"
	cryptorand "crypto/rand"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// replaceRandom gives every Reader of randomness in this process another source
// until the test ends. Such a test must not be parallel.
func replaceRandom(t *testing.T, r io.Reader) {
	t.Helper()
	original := cryptorand.Reader
	cryptorand.Reader = r
	t.Cleanup(func() { cryptorand.Reader = original })
}

// endless repeats one byte.
type endless byte

func (b endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

var errDevice = errors.New("no such device")

// TestBrokenRandomSource: no token is better than one that can be guessed, and
// the store is not even asked.
func TestBrokenRandomSource(t *testing.T) {
	for _, tt := range []struct {
		name   string
		source io.Reader
		cause  error // nil: none but bearer.ErrNoRandomness
	}{
		{"fails", iotest.ErrReader(errDevice), errDevice},
		{"gives nothing", bytes.NewReader(nil), io.EOF},
		{"gives too little", bytes.NewReader(make([]byte, mintLen-1)), io.ErrUnexpectedEOF},
		{"fails after the ID", io.MultiReader(bytes.NewReader(bytes.Repeat([]byte{7}, mintLen-secretLen)), iotest.ErrReader(errDevice)), errDevice},
		{"gives only zeros", endless(0), nil},
		{"gives a secret of zeros", io.MultiReader(bytes.NewReader(bytes.Repeat([]byte{7}, mintLen-secretLen)), endless(0)), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, events := newTallyStore(), 0
			m, _ := managerOver(t, store, Config{Observe: func(context.Context, Event) { events++ }})
			replaceRandom(t, tt.source)
			issued, err := m.Issue(t.Context(), Grant{Subject: "ana"})
			if !errors.Is(err, bearer.ErrNoRandomness) || tt.cause != nil && !errors.Is(err, tt.cause) {
				t.Errorf("Issue = %v, want %q with %v", err, bearer.ErrNoRandomness, tt.cause)
			}
			if errors.Is(err, ErrUnauthenticated) || errors.Is(err, ErrInvalidGrant) {
				t.Errorf("Issue = %v, which blames the caller", err)
			}
			if diff := cmp.Diff(Issued{}, issued); diff != "" {
				t.Errorf("Issued (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]int{}, store.calls); diff != "" || events != 0 {
				t.Errorf("%d events; calls of the store (-want +got):\n%s", events, diff)
			}
		})
	}
}

// TestSlowRandomSource: a source may give one byte at a time.
func TestSlowRandomSource(t *testing.T) {
	m, _ := managerOver(t, newTallyStore(), Config{})
	replaceRandom(t, iotest.OneByteReader(cryptorand.Reader))
	issued := issueTo(t, m, Grant{Subject: "ana"})
	if _, err := m.Authenticate(t.Context(), issued.Bearer); err != nil {
		t.Error(err)
	}
}

// TestRepeatingRandomSource: the second token would have the ID of the first. It
// is not issued, and the first one stays as it is.
func TestRepeatingRandomSource(t *testing.T) {
	store := newTallyStore()
	m, _ := managerOver(t, store, Config{})
	replaceRandom(t, endless(7))
	issued := issueTo(t, m, Grant{Subject: "ana", Name: "first"})
	if _, err := m.Issue(t.Context(), Grant{Subject: "ana", Name: "second"}); !errors.Is(err, ErrConflict) {
		t.Errorf("Issue = %v, want ErrConflict", err)
	}
	tok, err := m.Peek(t.Context(), issued.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(issued.Token, tok); diff != "" {
		t.Errorf("first token (-want +got):\n%s", diff)
	}
	if n := recordsIn(t, store); n != 1 {
		t.Errorf("%d records are stored, want 1", n)
	}
}

// TestRepeatingOnce: Issue draws again and nobody notices.
func TestRepeatingOnce(t *testing.T) {
	m, _ := managerOver(t, newTallyStore(), Config{})
	same := bytes.Repeat([]byte{7}, mintLen)
	other := bytes.Repeat([]byte{8}, mintLen)
	replaceRandom(t, io.MultiReader(bytes.NewReader(same), bytes.NewReader(same), bytes.NewReader(other)))
	first, second := issueTo(t, m, Grant{Subject: "ana"}), issueTo(t, m, Grant{Subject: "ana"})
	for _, issued := range []Issued{first, second} {
		if tok, err := m.Peek(t.Context(), issued.Bearer); err != nil || tok.ID != issued.ID {
			t.Errorf("Peek = %v, %v, want %v", tok.ID, err, issued.ID)
		}
	}
	if first.Bearer == second.Bearer {
		t.Error("two tokens have one text")
	}
}

// recordsIn counts what is stored.
func recordsIn(t *testing.T, store storage.Store) (n int) {
	t.Helper()
	for _, err := range store.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}
