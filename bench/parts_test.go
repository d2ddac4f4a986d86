package main

import (
	"context"
	"errors"
	"testing"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestBareTextIsABearer: lapse finds nothing wrong with what the bare parts write, but
// that it does not know it.
func TestBareTextIsABearer(t *testing.T) {
	tokens, err := lapse.New(memory.New(), lapse.Config{})
	if err != nil {
		t.Fatal(err)
	}
	bare := (&parts{digits: newDigitTable(), tokens: map[[16]byte]*bareToken{}}).issuer(makeTexts(10, subject))
	for i := range 100 {
		if err := bare.issue(i); err != nil {
			t.Fatal(err)
		}
		if _, err := tokens.Peek(context.Background(), bare.text); !errors.Is(err, lapse.ErrUnknown) {
			t.Fatalf("%q: %v, want %v", bare.text, err, lapse.ErrUnknown)
		}
	}
	if len(bare.tokens) != 100 {
		t.Errorf("%d tokens are kept", len(bare.tokens))
	}
}
