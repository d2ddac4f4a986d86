package lapsetest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// WantIs fails the test unless errors.Is(got, want).
func WantIs(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v; want %v", what, got, want)
	}
}

// WantDiff fails the test if got differs from want, and prints the difference.
func WantDiff(t *testing.T, what string, want, got any, opts ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, opts...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// ErrorsIs compares errors as their readers do.
var ErrorsIs = cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) || errors.Is(b, a) })
