package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func TestHas(t *testing.T) {
	tok := Token{Scope: "read write:all Admin"}
	for scope, want := range map[string]bool{
		"read": true, "write:all": true, "Admin": true,
		"": false, "rea": false, "reads": false, "write": false, "admin": false, "read write:all": false, " ": false, "read ": false,
	} {
		if got := tok.Has(scope); got != want {
			t.Errorf("Has(%q) = %v; want %v", scope, got, want)
		}
	}
	if (Token{}).Has("") || (Token{}).Has("read") {
		t.Error("a token without scope has one")
	}
}

func TestLiveAndDeadFrom(t *testing.T) {
	for _, row := range []struct {
		name           string
		expires, ended int64 // ended 0: nobody did
		now            int64
		live           bool
		deadFrom       int64
	}{
		{"before its expiry", 100, 0, 99, true, 100},
		{"at its expiry", 100, 0, 100, false, 100},
		{"after its expiry", 100, 0, 101, false, 100},
		{"ended", 100, 50, 60, false, 50},
		{"ended, and the clock set back", 100, 50, 40, false, 50},
		{"ended after it ran out", 100, 150, 200, false, 100},
		{"ended at its expiry", 100, 100, 99, false, 100},
	} {
		tok := Token{ExpiresAt: at(row.expires)}
		if row.ended != 0 {
			tok.EndedAt = at(row.ended)
		}
		if got := tok.Live(at(row.now)); got != row.live {
			t.Errorf("%s: Live %v; want %v", row.name, got, row.live)
		}
		if got := tok.DeadFrom(); !got.Equal(at(row.deadFrom)) {
			t.Errorf("%s: DeadFrom %v; want %v", row.name, got, at(row.deadFrom))
		}
	}
	if (Token{}).Live(at(0)) || (Token{}).Live(time.Time{}) {
		t.Error("a token without expiry is alive")
	}
}

func TestRaise(t *testing.T) {
	stored := Record{Token: Token{LastUsedAt: at(10), ExpiresAt: at(100)}}
	ended := stored
	ended.EndedAt = at(20)
	limited := func(ms int64) Record {
		r := stored
		r.MaxExpiresAt = at(ms)
		return r
	}
	for _, row := range []struct {
		name          string
		record        Record
		use           Use
		used, expires int64
	}{
		{"both", stored, Use{at(11), at(101)}, 11, 101},
		{"last use alone", stored, Use{At: at(11)}, 11, 100},
		{"expiry alone", stored, Use{ExpiresAt: at(101)}, 10, 101},
		{"the same", stored, Use{at(10), at(100)}, 10, 100},
		{"both lower", stored, Use{at(9), at(99)}, 10, 100},
		{"one lower, one higher", stored, Use{at(9), at(101)}, 10, 101},
		{"nothing", stored, Use{}, 10, 100},
		{"ended", ended, Use{at(11), at(101)}, 10, 100},
		{"before the cap", limited(200), Use{ExpiresAt: at(199)}, 10, 199},
		{"at the cap", limited(200), Use{ExpiresAt: at(200)}, 10, 200},
		{"after the cap", limited(200), Use{ExpiresAt: at(201)}, 10, 200},
		{"after the cap, used", limited(200), Use{at(11), at(201)}, 11, 200},
		{"at its cap already", limited(100), Use{ExpiresAt: at(101)}, 10, 100},
		{"past its cap already", limited(99), Use{ExpiresAt: at(101)}, 10, 100},
		{"past its cap already, and no further", limited(99), Use{ExpiresAt: at(100)}, 10, 100},
	} {
		r := row.record
		changed := row.use.Raise(&r)
		want := row.record
		want.LastUsedAt, want.ExpiresAt = at(row.used), at(row.expires)
		if diff := cmp.Diff(want, r); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
		if changed == want.Equal(row.record) {
			t.Errorf("%s: changed %v", row.name, changed)
		}
	}
}

func TestFilterMatch(t *testing.T) {
	r := Record{Token: Token{Subject: "ana", ExpiresAt: at(100)}}
	for _, row := range []struct {
		filter Filter
		want   bool
	}{
		{Filter{}, true},
		{Filter{Subject: "ana"}, true},
		{Filter{Subject: "an"}, false},
		{Filter{ExpiresBefore: at(100)}, false},
		{Filter{ExpiresBefore: at(101)}, true},
		{Filter{"ana", at(101)}, true},
		{Filter{"bob", at(101)}, false},
		{Filter{"ana", at(100)}, false},
	} {
		if got := row.filter.Match(r); got != row.want {
			t.Errorf("%+v: %v; want %v", row.filter, got, row.want)
		}
	}
}

func TestCheckPut(t *testing.T) {
	live := Record{Token: Token{Subject: "ana"}}
	ended := live
	ended.EndedAt, ended.EndReason = at(5), EndRevoked
	otherEnd, otherReason, bobs := ended, ended, live
	named, noted, unended, bound, boundEnded := ended, ended, live, live, ended
	named.EndedBy, noted.EndNote, unended.EndedBy = "bob", "lost", "bob"
	bound.Thumbprint, boundEnded.Thumbprint = Thumbprint{1}, Thumbprint{1}
	noteOnly := live
	noteOnly.EndNote = "lost"
	otherEnd.EndedAt = at(6)
	otherReason.EndReason = EndSubject
	bobs.Subject = "bob"
	expires := func(ms, limit int64) Record { // limit 0: none
		r := live
		if r.ExpiresAt = at(ms); limit != 0 {
			r.MaxExpiresAt = at(limit)
		}
		return r
	}
	stored, limited := expires(100, 0), expires(100, 100)
	endedLower := expires(99, 0)
	endedLower.EndedAt = at(5)
	for _, row := range []struct {
		name string
		old  *Record
		new  Record
		ok   bool
	}{
		{"new", nil, live, true},
		{"replaced", &live, live, true},
		{"ended", &live, ended, true},
		{"ended, put again", &ended, ended, true},
		{"revived", &ended, live, false},
		{"ended at another instant", &ended, otherEnd, false},
		{"ended for another reason", &ended, otherReason, false},
		{"ended, with a name", &live, named, true},
		{"ended, with a note", &live, noted, true},
		{"the same name again", &named, named, true},
		{"a name after the end", &ended, named, false},
		{"a note after the end", &ended, noted, false},
		{"the name gone", &named, ended, false},
		{"the note gone", &noted, ended, false},
		{"a name and no end", &live, unended, false},
		{"a note and no end", &live, noteOnly, false},
		{"new, with a name and no end", nil, unended, false},
		{"new, with an end and a name", nil, named, true},
		{"new and bound", nil, bound, true},
		{"bound and put again", &bound, bound, true},
		{"bound later", &live, bound, false},
		{"not bound any more", &bound, live, false},
		{"bound and ended", &bound, boundEnded, true},
		{"bound as it ends", &live, boundEnded, false},
		{"another subject's ID", &bobs, live, false},
		{"another subject's record", nil, bobs, false},
		{"expires then as well", &stored, expires(100, 0), true},
		{"expires later", &stored, expires(101, 0), true},
		{"expires later, past its cap", &stored, expires(101, 50), true},
		{"lowered", &stored, expires(99, 0), false},
		{"lowered, with a cap after it", &stored, expires(99, 100), false},
		{"lowered, with a cap at it", &stored, expires(99, 99), true},
		{"lowered, with a cap before it", &stored, expires(99, 98), true},
		{"lowered under the cap that there was", &limited, expires(99, 100), false},
		{"lowered, and the cap gone", &limited, expires(99, 0), false},
		{"not lowered, and the cap gone", &limited, expires(100, 0), true},
		{"lowered and ended", &stored, endedLower, false},
		{"new, with a cap after its expiry", nil, expires(99, 100), true},
	} {
		err := CheckPut("ana", row.old, row.new)
		if (err == nil) != row.ok || err != nil && !errors.Is(err, ErrConflict) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func TestEndReasonText(t *testing.T) {
	for r, want := range map[EndReason]string{0: "", EndRevoked: "revoked", EndSubject: "subject", EndEvicted: "evicted", 200: "unknown"} {
		text, err := r.MarshalText()
		if r.String() != want || string(text) != want || err != nil {
			t.Errorf("%d: %q, %q, %v; want %q", uint8(r), r, text, err, want)
		}
	}
}

func TestKindText(t *testing.T) {
	for k, want := range map[Kind]string{KindPlain: "", KindSession: "session", KindAlias: "alias", 3: "unknown", 255: "unknown"} {
		text, err := k.MarshalText()
		if k.String() != want || string(text) != want || err != nil {
			t.Errorf("%d: %q, %q, %v; want %q", uint8(k), k, text, err, want)
		}
	}
	for text, want := range map[string]Kind{"": KindPlain, "session": KindSession, "alias": KindAlias} {
		k := Kind(9)
		if err := k.UnmarshalText([]byte(text)); err != nil || k != want {
			t.Errorf("%q: %d, %v; want %d", text, k, err, want)
		}
	}
	for _, text := range []string{"unknown", "Session", "plain", " session", "session\x00"} {
		k := KindSession
		if err := k.UnmarshalText([]byte(text)); err == nil || k != KindSession {
			t.Errorf("%q: %d, %v; want an error", text, k, err)
		}
	}
}

// TestFault12_TokenJSONGoesBack: every field, and every reason. A word of a later version is a
// reason all the same.
func TestFault12_TokenJSONGoesBack(t *testing.T) {
	var full Token
	v := reflect.ValueOf(&full).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Interface().(type) {
		case ID:
			f.Set(reflect.ValueOf(ID{1, 6: 0x70, 8: 0x80, 15: byte(i)}))
		case time.Time:
			f.Set(reflect.ValueOf(time.UnixMilli(1_700_000_000_001 + int64(i)).UTC()))
		case string:
			f.SetString(fmt.Sprint("text ", i))
		case Thumbprint:
			f.Set(reflect.ValueOf(Thumbprint{0: byte(i), 31: 1}))
		case Kind:
			f.Set(reflect.ValueOf(KindSession))
		case EndReason:
			f.Set(reflect.ValueOf(EndRevoked))
		case uint32:
			f.SetUint(math.MaxUint32)
		case int:
			f.SetInt(int64(i))
		default:
			t.Fatalf("%s has a type that this test does not know", v.Type().Field(i).Name)
		}
	}
	tokens := []Token{{}, full}
	for n := range 256 {
		one := full
		if one.EndReason = EndReason(n); n >= len(endReasons) {
			one.EndReason = unknownReason
		}
		tokens = append(tokens, one)
	}
	for _, want := range tokens {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Token
		if err := json.Unmarshal(text, &got); err != nil || got != want {
			t.Errorf("%s comes back as %+v, %v", text, got, err)
		}
	}
	r := EndRevoked
	if err := r.UnmarshalText([]byte("a later word")); err != nil || r != unknownReason || r.String() != "unknown" {
		t.Errorf("a later word: %d, %v", r, err)
	}
}

func TestIDText(t *testing.T) {
	id := ID{0x01, 0x9b, 0x8d, 0x62, 0xff, 0x7f, 0x70, 0x00, 0x80, 1, 2, 3, 4, 5, 0xfe, 0xff}
	text := id.String()
	var back ID
	if err := back.UnmarshalText([]byte(text)); err != nil || back != id || len(text) != IDLen {
		t.Fatalf("%q reads back as %v, %v", text, back, err)
	}
	for _, bad := range []string{"", text[1:], text + "0", " " + text[1:], text[:21] + "-", "zzzzzzzzzzz" + text[11:], text[:11] + "zzzzzzzzzzz"} {
		if _, err := ParseID(bad); !errors.Is(err, ErrInvalidID) {
			t.Errorf("ParseID(%q): %v; want ErrInvalidID", bad, err)
		}
		if err := back.UnmarshalText([]byte(bad)); !errors.Is(err, ErrInvalidID) || back != id {
			t.Errorf("UnmarshalText(%q): %v, and it is %v now", bad, err, back)
		}
	}
}

// TestDigestMatches: the same sum by the same algorithm and no other, as Equal says.
func TestDigestMatches(t *testing.T) {
	var sum [32]byte
	for i := range sum {
		sum[i] = byte(7*i + 1)
	}
	digest := NewDigest(SHA256, sum)
	for bit := range 8*len(sum) + 1 { // the last one changes nothing
		other := sum
		if bit < 8*len(sum) {
			other[bit/8] ^= 1 << (bit % 8)
		}
		for _, algorithm := range []byte{SHA256, 0, SHA256 + 2} {
			want := bit == 8*len(sum) && algorithm == SHA256
			if got := digest.Matches(algorithm, &other); got != want {
				t.Errorf("bit %d, algorithm %d: %v; want %v", bit, algorithm, got, want)
			}
			if got := digest.Equal(NewDigest(algorithm, other)); got != want {
				t.Errorf("bit %d, algorithm %d: Equal: %v; want %v", bit, algorithm, got, want)
			}
		}
	}
	var none Digest
	if none.Matches(SHA256, new([32]byte)) || none.Matches(SHA256, &sum) {
		t.Error("the zero Digest matches a sum")
	}
}

// TestStoredNumbers: the numbers that stores keep never change their meaning. A new one goes to the end of its table.
func TestStoredNumbers(t *testing.T) {
	reasons := []string{"", "revoked", "subject", "evicted", "rotated", "reused", "exhausted", "parent", "clock"}
	for n, want := range append(reasons, "unknown") {
		if got := EndReason(n).String(); got != want {
			t.Errorf("end reason %d is %q; want %q", n, got, want)
		}
	}
	kinds := []string{"", "session", "alias"}
	for n, want := range append(kinds, "unknown") {
		if got := Kind(n).String(); got != want {
			t.Errorf("kind %d is %q; want %q", n, got, want)
		}
	}
}
