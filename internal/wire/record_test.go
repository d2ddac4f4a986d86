package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// extended returns full with every field of the extension.
func extended() storage.Record {
	r := full()
	r.Family, r.Parent = storage.ID{1}, storage.ID{15: 2}
	r.Kind, r.Generation = storage.KindSession, math.MaxUint32
	r.RotatedAt, r.PreviousUntil = time.UnixMilli(-1).UTC(), time.UnixMilli(lastMilli).UTC()
	r.MaxUses, r.UsesLeft, r.Epoch = math.MaxInt32, math.MaxInt32-1, math.MaxUint32
	r.UseGrace, r.CapEdited = storage.MaxUseGrace, true
	r.AuthenticatedAt, r.Thumbprint = time.UnixMilli(-1).UTC(), storage.Thumbprint{1, 31: 2}
	r.EndedBy, r.EndNote = strings.Repeat("b", storage.MaxEndedBy), strings.Repeat("\xff", storage.MaxEndNote)
	r.SuspendedAt, r.Client = time.UnixMilli(lastMilli).UTC(), strings.Repeat("\xfe", storage.MaxClient)
	r.Sealed = storage.NewSealed(strings.Repeat("\xff\x00", storage.MaxSealed/2))
	return r
}

func TestCodecRoundTrip(t *testing.T) {
	for name, want := range map[string]storage.Record{"plain": record(1), "full": full(), "extended": extended(), "zero": {}} {
		v, err := Encode(nil, &want)
		if err != nil {
			t.Fatalf("%s: encode: %v", name, err)
		}
		got, err := Decode(want.ID[:], v)
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
	v, err := Encode(nil, &r)
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
	got = strings.Replace(got[:len(got)-2*SumLen], hex.EncodeToString(digest[:]), strings.Repeat("d", 64), 1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("layout (-want +got):\n%s", diff)
	}
}

// TestCodecKnownExtension pins what version 3 has more.
func TestCodecKnownExtension(t *testing.T) {
	r := record(0)
	plain, err := Encode(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	r.Family, r.Parent = storage.ID{1}, storage.ID{15: 2}
	r.Kind, r.Generation, r.RotatedAt = storage.KindSession, 2, r.IssuedAt
	r.MaxUses, r.UsesLeft, r.Sealed = 258, 3, storage.NewSealed("sealed")
	v, err := Encode(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	want := "03" + hex.EncodeToString(plain[1:len(plain)-SumLen]) +
		"37" + "01" + strings.Repeat("00", 15) + strings.Repeat("00", 15) + "02" + "00000102" + "00000003" +
		"01" + "00000002" + "0000018bcfe56800" + "ffffc77cedd32800" + hex.EncodeToString([]byte("sealed"))
	if got := hex.EncodeToString(v[:len(v)-SumLen]); got != want {
		t.Errorf("layout (-want +got):\n%s", cmp.Diff(want, got))
	}
}

// TestCodecKnownLaterParts pins what the second byte of an extension leads to.
func TestCodecKnownLaterParts(t *testing.T) {
	r := record(0)
	plain, err := Encode(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	r.Epoch, r.Sealed = 7, storage.NewSealed("sealed")
	r.AuthenticatedAt, r.Thumbprint = r.IssuedAt, storage.Thumbprint{0: 0xab, 31: 0xcd}
	r.EndedBy, r.EndNote, r.SuspendedAt, r.Client = "ana", "lost", r.IssuedAt, "app"
	v, err := Encode(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	want := "03" + hex.EncodeToString(plain[1:len(plain)-SumLen]) +
		"68" + "5f" + "00000007" + "0000018bcfe56800" + "ab" + strings.Repeat("00", 30) + "cd" +
		"03" + hex.EncodeToString([]byte("ana")) + "04" + hex.EncodeToString([]byte("lost")) + "0000018bcfe56800" + "03" + hex.EncodeToString([]byte("appsealed"))
	if got := hex.EncodeToString(v[:len(v)-SumLen]); got != want {
		t.Errorf("layout (-want +got):\n%s", cmp.Diff(want, got))
	}
}

func TestDecodeRefusesPlain(t *testing.T) { testDecodeRefuses(t, full()) }

func TestDecodeRefusesTied(t *testing.T) {
	testDecodeRefuses(t, extended())
	r := extended()
	v, err := Encode(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	const instants = 8 + 1 + storage.MaxClient // the suspension, and the client behind it
	const later = 8 + 32 + 2 + storage.MaxEndedBy + storage.MaxEndNote + instants
	for name, back := range map[string]int{"rotated": later + 16, "previous": later + 8, "authenticated": later, "suspended": instants} { // before what is sealed
		for _, year := range []byte{0x7f, 0x80} {
			bad := bytes.Clone(v[:len(v)-SumLen])
			bad[len(bad)-r.Sealed.Len()-back] = year
			bad = binary.BigEndian.AppendUint32(bad, Checksum(r.ID[:], bad))
			if _, err := Decode(r.ID[:], bad); !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("%s outside of the years 1 to 9999, %x: %v; want ErrCorrupt", name, year, err)
			}
		}
	}
}

func testDecodeRefuses(t *testing.T, r storage.Record) {
	good, err := Encode(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	other := record(6).ID
	refuse := func(t *testing.T, name string, key, v []byte) {
		t.Helper()
		got, err := Decode(key, v)
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
		if _, err := Decode(r.ID[:], bad); !errors.Is(err, storage.ErrCorrupt) {
			t.Fatalf("bit %d: %v; want ErrCorrupt", bit, err)
		}
	}
	for n := range len(good) {
		if _, err := Decode(r.ID[:], good[:n]); !errors.Is(err, storage.ErrCorrupt) {
			t.Fatalf("first %d bytes: %v; want ErrCorrupt", n, err)
		}
	}
	refuse(t, "another record's key", other[:], good)
	refuse(t, "short key", r.ID[:15], good)
	refuse(t, "no key", nil, good)
	refuse(t, "trailing byte", r.ID[:], append(bytes.Clone(good), 0))

	// Sound checksums around unsound fields.
	patch := func(at int, b ...byte) []byte {
		bad := bytes.Clone(good[:len(good)-SumLen])
		copy(bad[at:], b)
		return binary.BigEndian.AppendUint32(bad, Checksum(r.ID[:], bad))
	}
	refuse(t, "version 0", r.ID[:], patch(0, 0))
	refuse(t, "the other version", r.ID[:], patch(0, plainVersion+extendedVersion-good[0]))
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
		"confirmed":  func(r *storage.Record) { r.AuthenticatedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"suspended":  func(r *storage.Record) { r.SuspendedAt = time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC) },
		"ended by":   func(r *storage.Record) { r.EndedBy = long[:storage.MaxEndedBy+1] },
		"end note":   func(r *storage.Record) { r.EndNote = long[:storage.MaxEndNote+1] },
		"client":     func(r *storage.Record) { r.Client = long[:storage.MaxClient+1] },
		"sealed":     func(r *storage.Record) { r.Sealed = storage.NewSealed(long) },
	} {
		r := record(1)
		set(&r)
		if _, err := Encode(nil, &r); err == nil {
			t.Errorf("%s out of its limits was encoded", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, r := range []storage.Record{record(1), full(), extended(), {}} {
		v, err := Encode(nil, &r)
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
		if mend && len(v) >= SumLen { // so that what lies behind the checksum is reached
			body := v[:len(v)-SumLen]
			v = binary.BigEndian.AppendUint32(bytes.Clone(body), Checksum(key, body))
		}
		r, err := Decode(key, v)
		if err != nil {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Fatalf("refused with %v; want ErrCorrupt", err)
			}
			return
		}
		if v[0] == oldVersion { // which is never written
			return
		}
		again, err := Encode(nil, &r)
		if err != nil || !bytes.Equal(again, v) {
			t.Fatalf("accepted %x, which encodes as %x, %v", v, again, err)
		}
	})
}

func TestDecodeRefusesLongKey(t *testing.T) {
	r := record(1)
	good, err := Encode(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	long := append(r.ID[:len(r.ID):len(r.ID)], 0)
	body := good[: len(good)-SumLen : len(good)-SumLen]
	if _, err := Decode(long, binary.BigEndian.AppendUint32(body, Checksum(long, body))); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("long key: %v; want ErrCorrupt", err)
	}
}
