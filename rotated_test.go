package lapse

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// rotatedExtremes are what a record of a rotated token can keep.
func rotatedExtremes() []rotationState {
	full := rotationState{floor: math.MaxUint32, before: math.MaxUint32 - 1, unused: true, obtained: true}
	for _, part := range [][]byte{full.key[:], full.first[:], full.previous[:], full.salt[:]} {
		for i := range part {
			part[i] = 0xff
		}
	}
	some := rotationState{key: tagKeyOf(3), floor: 1, before: 0x01020304}
	copy(some.first[:], credentialOf(1)[:])
	copy(some.previous[:], credentialOf(2)[:])
	copy(some.salt[:], credentialOf(3)[:])
	unused, obtained := some, some
	unused.unused, obtained.obtained = true, true
	return []rotationState{{}, full, some, unused, obtained}
}

func plainWith(sealed string) *storage.Record {
	return &storage.Record{Token: Token{ID: credentialOf(1).ID(), Generation: 3}, Digest: credentialOf(1).Digest(newBinding("lapse")), Sealed: storage.NewSealed(sealed)}
}

// TestRotatedRoundTrip: what is sealed is read as it was.
func TestRotatedRoundTrip(t *testing.T) {
	for n, want := range rotatedExtremes() {
		rec := plainWith(want.seal().Text())
		got, was, err := rotationOf(rec)
		if got != want || !was || err != nil || rec.Sealed.Len() != rotatedLen {
			t.Errorf("%d: %+v, %v, %v of %d bytes; want %+v", n, got, was, err, rec.Sealed.Len(), want)
		}
		if unusedSecret(rec) != want.unused || floorOf(rec) != want.floor {
			t.Errorf("%d: unused %v, floor %d", n, unusedSecret(rec), floorOf(rec))
		}
	}
}

// damagedForms returns text cut short everywhere, longer, and of other versions and kinds.
func damagedForms(text string) (forms []string) {
	for n := 1; n < len(text); n++ {
		forms = append(forms, text[:n])
	}
	for _, label := range []string{"p0", "p2", "P1", "o1", "o2", "s1", "s2", "x1", "\x00\x00", "\xff\xff"} {
		if !strings.HasPrefix(text, label) {
			forms = append(forms, label+text[2:])
		}
	}
	return append(forms, text+"\x00", text+text, " "+text)
}

// TestRotatedRefusesWhatIsDamaged: a form that is cut short, too long or of another
// version says nothing, and no text of its record is judged by it, not even the current
// one.
func TestRotatedRefusesWhatIsDamaged(t *testing.T) {
	whole := rotatedExtremes()[3]
	for _, form := range damagedForms(whole.seal().Text()) {
		rec := plainWith(form)
		if _, was, err := rotationOf(rec); was || !errors.Is(err, ErrCorrupt) {
			t.Errorf("%.4q of %d bytes: %v, %v", form, len(form), was, err)
		}
		if unusedSecret(rec) || floorOf(rec) != 0 || madeByObtain(rec) {
			t.Errorf("%.4q of %d bytes says something", form, len(form))
		}
		if changed, err := useSecret(rec); changed || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%.4q of %d bytes: a use changed it: %v, %v", form, len(form), changed, err)
		}
		for seed := range uint64(2) {
			c, b := credentialOf(1+seed), newBinding("lapse")
			copy(c[:], rec.ID[:])
			sum := c.Sum(b)
			if found, err := standsFor(rec, &presented{cred: c, sum: &sum, prefix: "lapse"}, b, false); found != unknownText || !errors.Is(err, ErrCorrupt) {
				t.Errorf("%.4q of %d bytes: text %d stands as %d, %v", form, len(form), seed, found, err)
			}
		}
	}
}

// TestUseSecret: the first use clears the salt, except of a secret that Obtain gives
// again, and later ones change nothing.
func TestUseSecret(t *testing.T) {
	for n, r := range rotatedExtremes() {
		rec := plainWith(r.seal().Text())
		want := r
		if want.unused = false; r.unused && !r.obtained {
			want.salt = [saltLen]byte{}
		}
		changed, err := useSecret(rec)
		if got, _, _ := rotationOf(rec); got != want || changed != r.unused || err != nil {
			t.Errorf("%d: %+v, %v, %v; want %+v", n, got, changed, err, want)
		}
		if changed, err := useSecret(rec); changed || err != nil {
			t.Errorf("%d: a second use: %v, %v", n, changed, err)
		}
	}
}

// TestManyRotationsTakeConstantSpace: after each of 10,000 rotations the record is as
// large as after the first, and every text that was replaced is known for one: the first
// by its digest, the others by their tags.
func TestManyRotationsTakeConstantSpace(t *testing.T) {
	const rotations = 10_000
	ctx, store := context.Background(), memory.New()
	m, _ := managerOver(t, store, Config{})
	issued := issueTo(t, m, Grant{Subject: "ana"})
	texts := []string{issued.Bearer}
	for n := range rotations {
		next, err := m.Rotate(ctx, texts[n], time.Duration(n%2)*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, next.Bearer)
		if rec, err := store.Get(ctx, issued.ID); err != nil || rec.Sealed.Len() != rotatedLen || rec.Generation != uint32(n+1) {
			t.Fatalf("after %d: %d bytes, generation %d, %v", n+1, rec.Sealed.Len(), rec.Generation, err)
		}
	}
	for n := 0; n < rotations-1; n += 1 + n/10 {
		if _, err := m.Peek(ctx, texts[n]); !errors.Is(err, ErrReplaced) {
			t.Errorf("text %d of %d: %v", n, rotations, err)
		}
	}
	if _, err := m.Peek(ctx, texts[rotations]); err != nil || recordsIn(t, store) != 1 {
		t.Errorf("the last one: %v; %d records", err, recordsIn(t, store))
	}
}
