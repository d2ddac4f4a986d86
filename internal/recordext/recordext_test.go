package recordext

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// every calls f with each combination of parts. The upper byte of mask is the second byte.
func every(f func(mask int, r storage.Record)) {
	for mask := range 1 << 16 {
		if (mask&hasMore != 0) != (mask>>8 != 0) || mask>>8&^allLater != 0 {
			continue
		}
		var r storage.Record
		setLater(byte(mask>>8), &r)
		for i, id := range links(&r.Token) {
			if mask&(hasFamily<<i) != 0 {
				id[i] = byte(i + 1)
			}
		}
		if mask&hasUses != 0 {
			r.MaxUses, r.UsesLeft = math.MaxInt32, 1<<24+2<<16+3<<8+4
		}
		if mask&hasUseGrace != 0 {
			r.UseGrace = storage.MaxUseGrace
		}
		if mask&hasEpoch != 0 {
			r.Epoch = 1<<31 + 7
		}
		if mask&hasSecrets != 0 {
			r.Kind, r.Generation = math.MaxUint8, 1<<31+9
			r.RotatedAt, r.PreviousUntil = time.Date(1, 1, 1, 0, 0, 0, 1e6, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
		}
		if mask&hasSealed != 0 {
			r.Sealed = storage.NewSealed(strings.Repeat("s", storage.MaxSealed))
		}
		f(mask, r)
	}
}

// setLater sets the fields of r whose parts are in mask.
func setLater(mask byte, r *storage.Record) {
	tok := &r.Token
	r.CapEdited = mask&hasCapEdited != 0
	if mask&hasAuthenticated != 0 {
		tok.AuthenticatedAt = time.Date(1969, 12, 31, 23, 59, 59, 999e6, time.UTC)
	}
	if mask&hasThumbprint != 0 {
		tok.Thumbprint = storage.Thumbprint{1, 31: 2}
	}
	for i, text := range notes(tok) {
		if mask&(hasEndedBy<<i) != 0 {
			*text = strings.Repeat(string(rune('a'+i)), 255)
		}
	}
	if mask&hasSuspended != 0 {
		tok.SuspendedAt = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
	}
	if mask&hasClient != 0 {
		tok.Client = strings.Repeat("c", storage.MaxClient)
	}
}

func TestEveryCombination(t *testing.T) {
	longest := 0
	every(func(mask int, want storage.Record) {
		form := string(Append([]byte("before"), &want)[len("before"):])
		longest = max(longest, len(form))
		if !sample.Every(5, mask) {
			return
		}
		got := storage.Record{Sealed: storage.NewSealed("of another")}
		got.Family, got.Parent = storage.ID{9}, storage.ID{9}
		got.MaxUses, got.UsesLeft, got.Epoch, got.UseGrace = 9, 9, 9, 9
		got.Kind, got.Generation, got.RotatedAt, got.PreviousUntil = 9, 9, time.UnixMilli(9), time.UnixMilli(9)
		setLater(allLater, &got)
		if !Parse(form, &got) || !cmp.Equal(want, got) {
			t.Errorf("%012b: %v", mask, cmp.Diff(want, got))
		}
		if Len(&want) != len(form) || None(&want) != (form == "") || !Valid(&want) {
			t.Errorf("%012b: %d bytes; Len %d, None %v", mask, len(form), Len(&want), None(&want))
		}
		for n := 1; n < len(form)-want.Sealed.Len(); n++ {
			if Parse(form[:n], new(storage.Record)) && mask&hasSealed == 0 {
				t.Errorf("%012b: %d of %d bytes were taken", mask, n, len(form))
			}
		}
	})
	if longest != MaxLen {
		t.Errorf("the longest form has %d bytes; MaxLen is %d", longest, MaxLen)
	}
}

// TestEachOfTheSecrets: one of them is enough for all to be kept.
func TestEachOfTheSecrets(t *testing.T) {
	for name, change := range map[string]func(*storage.Record){
		"kind":           func(r *storage.Record) { r.Kind = storage.KindSession },
		"generation":     func(r *storage.Record) { r.Generation = math.MaxUint32 },
		"rotated at":     func(r *storage.Record) { r.RotatedAt = time.UnixMilli(0).UTC() },
		"previous until": func(r *storage.Record) { r.PreviousUntil = time.UnixMilli(-1).UTC() },
	} {
		var want, got storage.Record
		change(&want)
		if form := string(Append(nil, &want)); len(form) != 1+secretsLen || !Parse(form, &got) || !got.Equal(want) {
			t.Errorf("%s: %d bytes: %v", name, len(form), cmp.Diff(want, got))
		}
	}
}

// TestTexts: a text of one byte is a text, and the length of one byte holds the longest.
func TestTexts(t *testing.T) {
	for _, length := range []int{1, 2, 254, 255} {
		var want, got storage.Record
		want.EndedBy, want.EndNote = strings.Repeat("b", length), strings.Repeat("\x00", 256-length)
		want.Sealed, want.Client = storage.NewSealed("s"), strings.Repeat("\xff", length)
		if form := string(Append(nil, &want)); len(form) != 2+1+1+256+1+length+1 || !Parse(form, &got) || !got.Equal(want) {
			t.Errorf("%d bytes: %v", length, cmp.Diff(want, got))
		}
	}
	for name, r := range map[string]storage.Record{
		"who ended it": {Token: storage.Token{EndedBy: strings.Repeat("b", storage.MaxEndedBy+1)}},
		"the client":   {Token: storage.Token{Client: strings.Repeat("b", storage.MaxClient+1)}},
		"the note":     {Token: storage.Token{EndNote: strings.Repeat("b", storage.MaxEndNote+1)}},
	} {
		if Valid(&r) {
			t.Errorf("%s is valid with a byte over its limit", name)
		}
	}
}

// TestParseRefuses: a record has one form, and no other is taken.
func TestParseRefuses(t *testing.T) {
	zeros := strings.Repeat("\x00", 16)
	for name, form := range map[string]string{
		"no part":            "\x00",
		"an unknown part":    "\x80",
		"no epoch at all":    "\x40" + zeros[:4],
		"half an epoch":      "\x40" + "\x00\x01",
		"no second byte":     "\x08",
		"no part after it":   "\x08\x00",
		"a client, cut off":  "\x08\x40" + "\x02c",
		"no client":          "\x08\x40",
		"client of nothing":  "\x08\x40" + "\x00",
		"known and unknown":  "\x08\x82" + "\x01" + zeros + zeros[1:],
		"the highest later":  "\x08\x80" + zeros,
		"half an instant":    "\x08\x01" + zeros[:7],
		"never confirmed":    "\x08\x01" + "\xff\xff\xc7\x7c\xed\xd3\x28\x00",
		"half a suspension":  "\x08\x10" + zeros[:7],
		"never suspended":    "\x08\x10" + "\xff\xff\xc7\x7c\xed\xd3\x28\x00",
		"half a thumbprint":  "\x08\x02" + "\x01" + zeros,
		"no thumbprint":      "\x08\x02" + zeros + zeros,
		"no length":          "\x08\x04",
		"who, of no length":  "\x08\x04" + "\x00",
		"who, cut off":       "\x08\x04" + "\x02b",
		"no note":            "\x08\x0c" + "\x01b",
		"a note of nothing":  "\x08\x0c" + "\x01b" + "\x00",
		"bytes after a note": "\x08\x0c" + "\x01b" + "\x01n" + "s",
		"no secrets at all":  "\x04" + zeros[:5] + strings.Repeat("\xff\xff\xc7\x7c\xed\xd3\x28\x00", 2),
		"half the secrets":   "\x04\x01" + zeros[:11],
		"all bits":           "\xff" + strings.Repeat("x", 100),
		"a family of zeros":  "\x01" + zeros,
		"half an ID":         "\x01" + zeros[:8],
		"no uses at all":     "\x10" + zeros[:8],
		"half of the uses":   "\x10" + "\x00\x00\x00\x01",
		"more left than all": "\x10" + "\x00\x00\x00\x01" + "\x00\x00\x00\x02",
		"uses over the most": "\x10" + "\x80\x00\x00\x00" + "\x00\x00\x00\x01",
		"nothing sealed":     "\x20",
		"too much sealed":    "\x20" + strings.Repeat("s", storage.MaxSealed+1),
		"bytes left over":    "\x10" + "\x00\x00\x00\x01" + "\x00\x00\x00\x01" + "s",
	} {
		if Parse(form, new(storage.Record)) {
			t.Errorf("%s was taken", name)
		}
	}
}
