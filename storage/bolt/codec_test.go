package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// full returns a record with every field at its limit.
func full() storage.Record {
	r := record(5)
	r.Prefix = strings.Repeat("p", storage.MaxPrefix)
	r.Subject = strings.Repeat("s", storage.MaxSubject)
	r.Name = strings.Repeat("n", storage.MaxName)
	r.Scope = strings.Repeat("c", storage.MaxScope)
	r.Data = strings.Repeat("\xff\x00", storage.MaxData/2)
	r.LastUsedAt = time.UnixMilli(-1).UTC()
	r.ExpiresAt = time.UnixMilli(lastMilli).UTC()
	r.EndedAt = time.UnixMilli(firstMilli + 1).UTC()
	r.EndReason = 255
	r.TTL = time.Duration(maxTTLMilli) * time.Millisecond
	return r
}

// tied returns full with every tie.
func tied() storage.Record {
	r := full()
	r.Family, r.Parent = storage.ID{1}, storage.ID{15: 2}
	r.Kind, r.Generation = storage.KindSession, math.MaxUint32
	r.RotatedAt, r.PreviousUntil = time.UnixMilli(-1).UTC(), time.UnixMilli(lastMilli).UTC()
	r.MaxUses, r.UsesLeft, r.Epoch = math.MaxInt32, math.MaxInt32-1, math.MaxUint32
	r.UseGrace = storage.MaxUseGrace
	r.Sealed = storage.NewSealed(strings.Repeat("\xff\x00", storage.MaxSealed/2))
	return r
}

func TestCodecRoundTrip(t *testing.T) {
	for name, want := range map[string]storage.Record{"plain": record(1), "full": full(), "tied": tied(), "zero": {}} {
		v, err := encode(&want)
		if err != nil {
			t.Fatalf("%s: encode: %v", name, err)
		}
		got, err := decode(want.ID[:], v)
		if err != nil {
			t.Fatalf("%s: decode: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestCodecKnownBytes pins the layout: what version 1 wrote stays readable.
func TestCodecKnownBytes(t *testing.T) {
	r := record(0)
	r.EndedAt, r.EndReason = r.IssuedAt.Add(time.Minute), storage.EndSubject
	v, err := encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	want := "010102" +
		"0000018bcfe56800" + "ffffc77cedd32800" + "0000018bd01c5680" + "0000018bd50bc400" + "0000018bcfe65260" +
		"000000000036ee80" +
		strings.Repeat("d", 64) +
		"00050009000600030000" + "6c61707365" + "7375626a6563742030" + "61206e616d65" + "612062"
	digest := r.Digest.Sum()
	got := hex.EncodeToString(v)
	got = strings.Replace(got[:len(got)-2*sumLen], hex.EncodeToString(digest[:]), strings.Repeat("d", 64), 1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("layout (-want +got):\n%s", diff)
	}
}

// TestCodecKnownTies pins what version 3 has more.
func TestCodecKnownTies(t *testing.T) {
	r := record(0)
	plain, err := encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	r.Family, r.Parent = storage.ID{1}, storage.ID{15: 2}
	r.Kind, r.Generation, r.RotatedAt = storage.KindSession, 2, r.IssuedAt
	r.MaxUses, r.UsesLeft, r.Sealed = 258, 3, storage.NewSealed("sealed")
	v, err := encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	want := "03" + hex.EncodeToString(plain[1:len(plain)-sumLen]) +
		"37" + "01" + strings.Repeat("00", 15) + strings.Repeat("00", 15) + "02" + "00000102" + "00000003" +
		"01" + "00000002" + "0000018bcfe56800" + "ffffc77cedd32800" + hex.EncodeToString([]byte("sealed"))
	if got := hex.EncodeToString(v[:len(v)-sumLen]); got != want {
		t.Errorf("layout (-want +got):\n%s", cmp.Diff(want, got))
	}
}

func TestDecodeRefusesPlain(t *testing.T) { testDecodeRefuses(t, full()) }

func TestDecodeRefusesTied(t *testing.T) {
	testDecodeRefuses(t, tied())
	r := tied()
	v, err := encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	for name, back := range map[string]int{"rotated": 16, "previous": 8} { // before what is sealed
		for _, year := range []byte{0x7f, 0x80} {
			bad := bytes.Clone(v[:len(v)-sumLen])
			bad[len(bad)-r.Sealed.Len()-back] = year
			bad = binary.BigEndian.AppendUint32(bad, checksum(r.ID[:], bad))
			if _, err := decode(r.ID[:], bad); !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("%s outside of the years 1 to 9999, %x: %v; want ErrCorrupt", name, year, err)
			}
		}
	}
}

func testDecodeRefuses(t *testing.T, r storage.Record) {
	good, err := encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	other := record(6).ID
	refuse := func(t *testing.T, name string, key, v []byte) {
		t.Helper()
		got, err := decode(key, v)
		if !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v; want ErrCorrupt", name, err)
		}
		if got.Subject != "" || got.Digest.Algorithm() != 0 {
			t.Errorf("%s: a refused record came back", name)
		}
	}
	for bit := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := decode(r.ID[:], bad); !errors.Is(err, storage.ErrCorrupt) {
			t.Fatalf("bit %d: %v; want ErrCorrupt", bit, err)
		}
	}
	for n := range len(good) {
		if _, err := decode(r.ID[:], good[:n]); !errors.Is(err, storage.ErrCorrupt) {
			t.Fatalf("first %d bytes: %v; want ErrCorrupt", n, err)
		}
	}
	refuse(t, "another record's key", other[:], good)
	refuse(t, "short key", r.ID[:15], good)
	refuse(t, "no key", nil, good)
	refuse(t, "trailing byte", r.ID[:], append(bytes.Clone(good), 0))

	// Sound checksums around unsound fields.
	patch := func(at int, b ...byte) []byte {
		bad := bytes.Clone(good[:len(good)-sumLen])
		copy(bad[at:], b)
		return binary.BigEndian.AppendUint32(bad, checksum(r.ID[:], bad))
	}
	refuse(t, "version 0", r.ID[:], patch(0, 0))
	refuse(t, "the other version", r.ID[:], patch(0, plainVersion+tiedVersion-good[0]))
	refuse(t, "version 4", r.ID[:], patch(0, 4))
	refuse(t, "a digest without an algorithm", r.ID[:], patch(1, 0))
	refuse(t, "instant after year 9999", r.ID[:], patch(3, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
	refuse(t, "instant before year 1", r.ID[:], patch(3, 0x80, 0, 0, 0, 0, 0, 0, 0))
	refuse(t, "negative TTL", r.ID[:], patch(3+5*8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
	lens := fixedLen - 5*2
	refuse(t, "prefix over its limit", r.ID[:], patch(lens, 0, storage.MaxPrefix+1))
	refuse(t, "length past the end", r.ID[:], patch(lens+8, 0xff, 0xff))
	refuse(t, "bytes left over", r.ID[:], patch(lens+8, 0, 1))
}

// TestEncodeRefuses: what decode would not take is never written.
func TestEncodeRefuses(t *testing.T) {
	long := strings.Repeat("x", storage.MaxData+1)
	for name, set := range map[string]func(*storage.Record){
		"prefix":     func(r *storage.Record) { r.Prefix = long[:storage.MaxPrefix+1] },
		"subject":    func(r *storage.Record) { r.Subject = long[:storage.MaxSubject+1] },
		"name":       func(r *storage.Record) { r.Name = long[:storage.MaxName+1] },
		"scope":      func(r *storage.Record) { r.Scope = long[:storage.MaxScope+1] },
		"data":       func(r *storage.Record) { r.Data = long },
		"year 10000": func(r *storage.Record) { r.ExpiresAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"year 0":     func(r *storage.Record) { r.EndedAt = time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC) },
		"rotation":   func(r *storage.Record) { r.RotatedAt = time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC) },
		"previous":   func(r *storage.Record) { r.PreviousUntil = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"TTL":        func(r *storage.Record) { r.TTL = -1 },
		"uses":       func(r *storage.Record) { r.MaxUses = -1 },
		"most uses":  func(r *storage.Record) { r.MaxUses = math.MaxInt },
		"use grace":  func(r *storage.Record) { r.UseGrace = -1 },
		"long grace": func(r *storage.Record) { r.UseGrace = storage.MaxUseGrace + time.Millisecond },
		"uses left":  func(r *storage.Record) { r.MaxUses, r.UsesLeft = 1, 2 },
		"sealed":     func(r *storage.Record) { r.Sealed = storage.NewSealed(long) },
	} {
		r := record(1)
		set(&r)
		if _, err := encode(&r); err == nil {
			t.Errorf("%s out of its limits was encoded", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, r := range []storage.Record{record(1), full(), tied(), {}} {
		v, err := encode(&r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(r.ID[:], v, true)
		f.Add(r.ID[:], v, false)
	}
	f.Add([]byte("no ID"), []byte{}, false)
	old := record(1)
	f.Add(old.ID[:], inOld(f, old, new(oldForm).id(oldFamily, 1).id(oldSuccessor, 2).with(oldEpoch, 0, 0, 0, 1).sealed("a1")), true)
	f.Fuzz(func(t *testing.T, key, v []byte, mend bool) {
		if mend && len(v) >= sumLen { // so that what lies behind the checksum is reached
			body := v[:len(v)-sumLen]
			v = binary.BigEndian.AppendUint32(bytes.Clone(body), checksum(key, body))
		}
		r, err := decode(key, v)
		if err != nil {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Fatalf("refused with %v; want ErrCorrupt", err)
			}
			return
		}
		if v[0] == oldVersion { // which is never written
			return
		}
		again, err := encode(&r)
		if err != nil || !bytes.Equal(again, v) {
			t.Fatalf("accepted %x, which encodes as %x, %v", v, again, err)
		}
	})
}

// TestDamagedRecordIsDenied damages one stored record of three and expects every
// method to deny it and to go on with the others.
func TestDamagedRecordIsDenied(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "tokens.db")
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := record(0), record(7), record(14) // of one subject
	put(t, s, a, b, c)
	damage(t, s, b.ID)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	if _, err := s.Get(ctx, b.ID); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("Get: %v; want ErrCorrupt", err)
	}
	if err := s.Touch(ctx, b.ID, storage.Use{At: a.ExpiresAt}); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("Touch: %v; want ErrCorrupt", err)
	}
	err = s.Update(ctx, b.Subject, func(tx storage.Tx) error { return tx.Put(b) })
	if !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("Put over it: %v; want ErrCorrupt", err)
	}
	var listed []storage.ID
	for r, err := range s.List(ctx, storage.Filter{}) {
		if errors.Is(err, storage.ErrCorrupt) != (r.ID == b.ID) {
			t.Errorf("List: %v with %v", r.ID, err)
		}
		listed = append(listed, r.ID)
	}
	if diff := cmp.Diff([]storage.ID{a.ID, b.ID, c.ID}, listed); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	n, err := s.Sweep(ctx, c.ExpiresAt.Add(time.Hour), 10)
	if n != 2 || err != nil {
		t.Errorf("Sweep: %d, %v; want the 2 sound ones", n, err)
	}
	if _, err := s.Get(ctx, b.ID); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("Get after Sweep: %v; want it kept, and ErrCorrupt", err)
	}
}

// damage flips one bit of a stored record.
func damage(t *testing.T, s *Store, id storage.ID) {
	t.Helper()
	merged(t, s, func(*bbolt.Tx) error { return nil })
	err := s.log.tree.db.Update(func(btx *bbolt.Tx) error {
		v := bytes.Clone(btx.Bucket(tokensBucket).Get(id[:]))
		v[len(v)/2] ^= 0x10
		return btx.Bucket(tokensBucket).Put(id[:], v)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDamagedWhileOpen: the table answers, so that a record which is damaged in the
// file while the store is open harms nobody until it is opened again; and then it is
// denied, and belongs to no subject.
func TestDamagedWhileOpen(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "tokens.db")
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := record(0), record(7), record(14) // of one subject
	put(t, s, a, b, c)
	damage(t, s, b.ID)
	if got, err := s.Get(ctx, b.ID); err != nil || !got.Equal(b) {
		t.Errorf("while it is open: %+v, %v; want it as it was", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if st := s.Stats(); st.Damaged != 1 || st.Tokens != 2 {
		t.Errorf("Stats: %+v; want 1 damaged and 2 that are not", st)
	}
	err = s.Update(ctx, b.Subject, func(tx storage.Tx) error {
		var got []storage.ID
		for r, err := range tx.Records() {
			if err != nil {
				t.Errorf("Records: %v", err)
			}
			got = append(got, r.ID)
		}
		if diff := cmp.Diff([]storage.ID{a.ID, c.ID}, got); diff != "" {
			t.Errorf("Records (-want +got):\n%s", diff)
		}
		if _, err := tx.Get(b.ID); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("Tx.Get: %v; want ErrCorrupt", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDecodeRefusesLongKey(t *testing.T) {
	r := record(1)
	good, err := encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	long := append(r.ID[:len(r.ID):len(r.ID)], 0)
	body := good[: len(good)-sumLen : len(good)-sumLen]
	if _, err := decode(long, binary.BigEndian.AppendUint32(body, checksum(long, body))); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("long key: %v; want ErrCorrupt", err)
	}
}
