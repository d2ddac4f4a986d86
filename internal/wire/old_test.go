package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
)

// oldForm builds ties of version 2.
type oldForm struct {
	mask byte
	rest []byte
}

func (f oldForm) with(bit byte, part ...byte) oldForm {
	return oldForm{f.mask | bit, append(f.rest[:len(f.rest):len(f.rest)], part...)}
}

func (f oldForm) id(bit, n byte) oldForm { return f.with(bit, append(make([]byte, 15), n)...) }

func (f oldForm) sealed(text string) oldForm { return f.with(oldSealed, []byte(text)...) }

// inOld returns r, which has no ties, as version 2 has it with those of f.
func inOld(t testing.TB, r storage.Record, f oldForm) []byte {
	t.Helper()
	v, err := Encode(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	v = append(v[:len(v)-SumLen], f.mask)
	v[0] = oldVersion
	v = append(v, f.rest...)
	return binary.BigEndian.AppendUint32(v, Checksum(r.ID[:], v))
}

// used returns record n, used a minute after its issue.
func used(n int) storage.Record {
	r := record(n)
	r.LastUsedAt = r.IssuedAt.Add(time.Minute)
	return r
}

// byRotation returns r as one that a rotation ended at the given time.
func byRotation(r storage.Record, at time.Time) storage.Record {
	r.EndedAt, r.EndReason = at, storage.EndRotated
	return r
}

// TestOldExtensionIsTranslated: what was replaced, replaces another, or is one of a pair has
// ended; all else is as it was.
func TestOldExtensionIsTranslated(t *testing.T) {
	var none oldForm
	answer := "\x01" + strings.Repeat("x", oldAnswerLen-1)
	fresh, was := record(1), used(1)
	late := byRotation(fresh, fresh.IssuedAt)
	lateUsed := byRotation(was, was.LastUsedAt)
	reused := ended(was)
	reused.EndReason = storage.EndReused
	set := func(r storage.Record, f func(*storage.Record)) storage.Record { f(&r); return r }
	family := func(r *storage.Record) { r.Family = storage.ID{15: 9} }
	for name, row := range map[string]struct {
		is   storage.Record
		form oldForm
		want storage.Record
	}{
		"family":                      {fresh, none.id(oldFamily, 9), set(fresh, family)},
		"delegate":                    {was, none.id(oldFamily, 9).id(oldParent, 9), set(was, func(r *storage.Record) { family(r); r.Parent = r.Family })},
		"successor":                   {fresh, none.id(oldSuccessor, 2), late},
		"successor, used":             {was, none.id(oldSuccessor, 2), lateUsed},
		"predecessor":                 {was, none.id(oldFamily, 9).id(oldPredecessor, 9), set(lateUsed, family)},
		"both, ended before":          {reused, none.id(oldFamily, 9).id(oldPredecessor, 9).id(oldSuccessor, 3), set(reused, family)},
		"access token":                {fresh, none.id(oldFamily, 9).sealed("a1"), set(late, family)},
		"no access token":             {fresh, none.sealed("a12"), set(fresh, func(r *storage.Record) { r.Sealed = storage.NewSealed("a12") })},
		"refresh token":               {was, none.sealed("r1lapse"), lateUsed},
		"refresh token, ended before": {reused, none.sealed("r1lapse"), reused},
		"answer":                      {lateUsed, none.sealed(answer), lateUsed},
		"no answer, too short":        {was, none.sealed(answer[1:]), set(was, func(r *storage.Record) { r.Sealed = storage.NewSealed(answer[1:]) })},
		"obtained":                    {was, none.sealed("o1" + answer[:32]), set(was, func(r *storage.Record) { r.Sealed = storage.NewSealed("o1" + answer[:32]) })},
		"obtained, then rotated":      {was, none.id(oldSuccessor, 2).sealed("o1" + answer[:32]), lateUsed},
		"budget and epoch": {was, none.with(oldUses, 0, 0, 1, 2, 0, 0, 0, 3).with(oldEpoch, 1, 0, 0, 4), set(was, func(r *storage.Record) {
			r.MaxUses, r.UsesLeft, r.Epoch = 258, 3, 1<<24+4
		})},
		"budget, rotated": {was, none.id(oldPredecessor, 2).with(oldUses, 0, 0, 0, 2, 0, 0, 0, 0), set(lateUsed, func(r *storage.Record) { r.MaxUses = 2 })},
	} {
		got, err := Decode(row.is.ID[:], inOld(t, row.is, row.form))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(row.want, got, cmp.AllowUnexported(storage.Digest{}, storage.Sealed{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestOldExtensionRefused: what no earlier program has written is damage.
func TestOldExtensionRefused(t *testing.T) {
	var none oldForm
	for name, form := range map[string]oldForm{
		"nothing":           none,
		"unknown part":      none.with(0x80, 1),
		"zero family":       none.id(oldFamily, 0),
		"zero successor":    none.id(oldSuccessor, 0),
		"short ID":          none.with(oldParent, 1, 2, 3),
		"short uses":        none.with(oldUses, 0, 0, 0, 1, 0, 0, 0),
		"no uses":           none.with(oldUses, 0, 0, 0, 0, 0, 0, 0, 0),
		"more left than is": none.with(oldUses, 0, 0, 0, 1, 0, 0, 0, 2),
		"too many uses":     none.with(oldUses, 0x80, 0, 0, 0, 0, 0, 0, 2),
		"short epoch":       none.with(oldEpoch, 0, 0, 1),
		"epoch zero":        none.with(oldEpoch, 0, 0, 0, 0),
		"nothing sealed":    none.sealed(""),
		"too much sealed":   none.sealed(strings.Repeat("x", oldMaxSealed+1)),
		"sealed unsaid":     none.id(oldFamily, 1).with(0, 'x'),
	} {
		r := record(1)
		got, err := Decode(r.ID[:], inOld(t, r, form))
		if !errors.Is(err, storage.ErrCorrupt) || got.Subject != "" {
			t.Errorf("%s: %v; want ErrCorrupt and no record", name, err)
		}
	}
}

// record returns a plain record.
func record(n int) storage.Record {
	var id storage.ID
	binary.BigEndian.PutUint64(id[:], uint64(n+1))
	at := time.UnixMilli(1_700_000_000_000 + int64(n)).UTC()
	return storage.Record{
		Token: storage.Token{
			ID: id, Prefix: "lapse", Subject: fmt.Sprintf("subject %d", n%7), Name: "a name", Scope: "a b",
			Data: strings.Repeat("d", n%50), IssuedAt: at, ExpiresAt: at.Add(time.Hour), MaxExpiresAt: at.Add(24 * time.Hour),
		},
		TTL:    time.Hour,
		Digest: storage.NewDigest(storage.SHA256, sha256.Sum256(id[:])),
	}
}

func ended(r storage.Record) storage.Record {
	r.EndedAt, r.EndReason = r.IssuedAt, storage.EndRevoked
	return r
}
