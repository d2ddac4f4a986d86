package bolt_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// TestForgottenBytes: after ForgetSubject and Compact, no text of the subject's records is in the closed
// file or beside it. After ForgetSubject alone copies are still there, in free pages.
func TestForgottenBytes(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "tokens.db")
	markers := []string{"the forgotten subject", "the forgotten name", "forgotten:scope", "the forgotten data"}
	foreign := func(text string) (string, []byte, bool) { return text, []byte(text), true }
	// found returns which markers are in the files of the store after it was opened, changed and closed.
	found := func(change func(s *bolt.Store, m *lapse.Manager)) (there [4]bool) {
		store := lapsetest.Must(bolt.Open(path, nil))
		change(store, lapsetest.Must(lapse.New(store, lapse.Config{Foreign: foreign, Policy: lapse.Policy{MaxTokens: lapse.NoTokenLimit}})))
		lapsetest.WantIs(t, "Close", store.Close(), nil)
		for _, entry := range lapsetest.Must(os.ReadDir(filepath.Dir(path))) {
			file := lapsetest.Must(os.ReadFile(filepath.Join(filepath.Dir(path), entry.Name())))
			for n, marker := range markers {
				there[n] = there[n] || bytes.Contains(file, []byte(marker))
			}
		}
		return there
	}
	g := lapse.Grant{Subject: markers[0], Name: markers[1], Scope: markers[2], Data: markers[3]}
	all, none := [4]bool{true, true, true, true}, [4]bool{}
	lapsetest.WantDiff(t, "issued", all, found(func(_ *bolt.Store, m *lapse.Manager) {
		for range 100 {
			lapsetest.Must(m.Issue(ctx, g))
			lapsetest.Must(m.Issue(ctx, lapse.Grant{Subject: "ben"}))
		}
		lapsetest.Must(m.Import(ctx, g, lapse.Foreign{Key: "key", Digest: []byte("digest")})) // with an alias
	}))
	lapsetest.WantDiff(t, "forgotten", all, found(func(_ *bolt.Store, m *lapse.Manager) {
		if n := lapsetest.Must(m.ForgetSubject(ctx, g.Subject)); n != 101 {
			t.Errorf("forgot %d tokens; want 101", n)
		}
	}))
	lapsetest.WantDiff(t, "forgotten and compacted", none, found(func(s *bolt.Store, _ *lapse.Manager) {
		lapsetest.WantIs(t, "Compact", s.Compact(ctx), nil)
	}))
	found(func(_ *bolt.Store, m *lapse.Manager) {
		if n := lapsetest.Must(m.Count(ctx, lapse.Query{})); n != 100 {
			t.Errorf("%d tokens are left; want those of ben, 100", n)
		}
	})
}
