package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestLostMetaKeepsTheEnd damages one meta page after an end was acknowledged: one bit
// of it after the other, as flipped chooses them, and all of it. The file is refused;
// and with Repair, which takes the other page for good, the token is ended there, too.
// A bare bbolt, and a file that has the end under one meta page alone, show that the
// flipped bits would revive it.
func TestLostMetaKeepsTheEnd(t *testing.T) {
	t.Parallel()
	bits := flipped(chance(drawn(t), 0), fieldsOfMeta)
	inMeta := 0
	for _, bit := range bits {
		if bit >= 8*pageHeader {
			inMeta++
		}
	}
	for commits := range shorter(2, 1) {
		left, closed, single, ended := endedLast(t, commits)
		for name, file := range map[string][]byte{"as a crash leaves it": left, "closed": closed} {
			for _, how := range []string{soundly, repairing} {
				if revived := reviving(t, file, ended, how, bits); len(revived) > 0 {
					t.Errorf("after %d commits, %s, %s: %d damages have revived it, %s first", commits, name, how, len(revived), revived[0])
				}
			}
		}
		for _, how := range []string{barely, repairing} {
			if revived := reviving(t, single, ended, how, bits); len(revived) < inMeta {
				t.Errorf("%s, an end under one meta page was revived %d times; want it for all of %d bits of that", how, len(revived), inMeta)
			}
		}
	}
	t.Logf("%d of %d bits of either meta page, in %d files, each opened in 2 ways", len(bits), 8*(pageHeader+metaLen), 3*shorter(2, 1))
}

// endedLast returns the bytes of a store whose last write ended a record, before and
// after it was closed, and those that it would have if neither the journal had the end
// nor the older meta page led to it.
func endedLast(t *testing.T, commits int) (left, closed, single []byte, r storage.Record) {
	t.Helper()
	path, before := makeFile(t, 3+commits)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r = ended(record(1))
	put(t, s, r)
	left, j := readFile(t, path), s.log.journal
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	closed = readFile(t, path)
	single = bytes.Clone(closed)
	clear(single[j.at:][:2*j.half])
	older := 1 - newestMeta(single)
	copy(metaPage(single, older), metaPage(before, older))
	return left, closed, single, r
}

// reviving returns which damages to a meta page make the record live again. These are
// the given bits of it, and more than bits.
func reviving(t *testing.T, good []byte, ended storage.Record, how string, bits []int) (revived []string) {
	t.Helper()
	path, page := filepath.Join(quickDir(t), "tokens.db"), os.Getpagesize()
	try := func(name string, bad []byte) {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openers[how](path)
		if err != nil {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("%s: %v; want ErrCorrupt", name, err)
			}
			return
		}
		defer s.Close()
		if got, err := s.Get(context.Background(), ended.ID); err != nil || !got.Equal(ended) {
			revived = append(revived, fmt.Sprintf("%s: %+v, %v", name, got, err))
		}
	}
	for _, at := range []int{0, page} {
		for _, bit := range bits {
			bad := bytes.Clone(good)
			bad[at+bit/8] ^= 1 << (bit % 8)
			try(fmt.Sprintf("byte %d, bit %d", at+bit/8, bit%8), bad)
		}
		zeroed := bytes.Clone(good)
		clear(zeroed[at : at+page])
		try(fmt.Sprintf("page at %d zeroed", at), zeroed)
		older := bytes.Clone(good)
		copy(older[at:at+page], good[page-at:])
		try(fmt.Sprintf("page at %d overwritten by the other", at), older)
	}
	return revived
}
