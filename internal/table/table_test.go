package table

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
)

func ms(n int64) time.Time { return time.UnixMilli(n).UTC() }

// numbered returns an ID that sorts by its number.
func numbered(n int) (id storage.ID) {
	binary.BigEndian.PutUint64(id[:8], uint64(n))
	return id
}

// TestRecordsComeBack puts records whose fields are at their limits, and beyond.
func TestRecordsComeBack(t *testing.T) {
	full := func(n int) string { return strings.Repeat("\xff", n) }
	for name, r := range map[string]storage.Record{
		"nothing set": {},
		"limits": {
			Token: storage.Token{
				ID: storage.ID{0: 255, 15: 255}, Prefix: full(storage.MaxPrefix), Subject: full(storage.MaxSubject),
				Name: full(storage.MaxName), Scope: full(storage.MaxScope), Data: full(storage.MaxData),
				IssuedAt: time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC), LastUsedAt: time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
				ExpiresAt: time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC), MaxExpiresAt: time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
				EndedAt: time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC), EndReason: 255,
			},
			TTL: (1<<63 - 1) / time.Millisecond * time.Millisecond, Digest: storage.NewDigest(255, [32]byte{0: 255, 31: 255}),
		},
		"first instants": {Token: storage.Token{
			IssuedAt: time.Time{}.Add(time.Millisecond), LastUsedAt: time.Time{}.Add(time.Millisecond), ExpiresAt: time.Time{}.Add(time.Millisecond),
			MaxExpiresAt: time.Time{}.Add(time.Millisecond), EndedAt: time.Time{}.Add(time.Millisecond),
		}},
		"around 1970":                    {Token: storage.Token{IssuedAt: ms(0), LastUsedAt: ms(-1), ExpiresAt: ms(1), MaxExpiresAt: ms(-999), EndedAt: ms(999)}},
		"negative TTL":                   {TTL: -1 << 63 / time.Millisecond * time.Millisecond},
		"longer prefix":                  {Token: storage.Token{Prefix: full(storage.MaxPrefix + 1), Data: "d"}},
		"longer subject":                 {Token: storage.Token{Subject: full(storage.MaxSubject + 1), Data: "d"}},
		"longer name":                    {Token: storage.Token{Name: full(storage.MaxName + 1), Data: "d"}},
		"scope that a cell cannot count": {Token: storage.Token{Scope: full(2 * storage.MaxScope), Data: "d"}},
		"data that a cell cannot count":  {Token: storage.Token{Scope: "s", Data: full(2 * storage.MaxData)}},
		"data of a chunk":                {Token: storage.Token{Data: full(chunkSize)}},
		"data of many chunks":            {Token: storage.Token{Subject: "s", Data: full(5*chunkSize + 1)}},
	} {
		table := New()
		var got storage.Record
		if table.Get(r.ID, &got) || !got.Equal(storage.Record{}) {
			t.Errorf("%s: found before it was put", name)
		}
		for range 2 {
			table.Put(&r, storage.Use{At: r.LastUsedAt, ExpiresAt: r.ExpiresAt})
			if !table.Get(r.ID, &got) || !got.Equal(r) {
				t.Errorf("%s (-want +got):\n%s", name, cmp.Diff(r.Token, got.Token))
			}
		}
		checkTable(t, table)
		if !table.Delete(r.ID) || table.Delete(r.ID) || table.Get(r.ID, &got) || table.Len() != 0 {
			t.Errorf("%s: not deleted, or twice", name)
		}
		checkTable(t, table)
	}
}

// TestKeepsNothing changes what was passed in and what came back.
func TestKeepsNothing(t *testing.T) {
	table := New()
	b := []byte("subject")
	r := storage.Record{Token: storage.Token{Prefix: "p", Subject: string(b)}}
	table.Put(&r, storage.Use{})
	var first, second storage.Record
	table.Get(r.ID, &first)
	r.Subject, r.Data = "other", "data"
	table.Put(&r, storage.Use{})
	for n := range 10_000 { // the first texts are dropped meanwhile
		r.Data = fmt.Sprint(n)
		table.Put(&r, storage.Use{})
	}
	table.Get(r.ID, &second)
	if first.Subject != "subject" || first.Data != "" || second.Subject != "other" || second.Data != "9999" {
		t.Errorf("%+v, %+v", first, second)
	}
}

func TestPutKeepsWhatWasRaised(t *testing.T) {
	const no = -1 // ms of an instant that is not set
	at := func(n int64) time.Time {
		if n == no {
			return time.Time{}
		}
		return ms(n)
	}
	for _, row := range []struct {
		name                                    string
		storedUsed, storedExpires               int64
		seenUsed, seenExpires, putUsed, putDies int64
		used, expires                           int64
		unsaved                                 bool
	}{
		{"seen as it is", 10, 100, 10, 100, 10, 100, 10, 100, false},
		{"seen as it is, lowered", 10, 100, 10, 100, 5, 50, 5, 50, false},
		{"seen later than it is, lowered", 10, 100, 11, 101, 5, 50, 5, 50, false},
		{"used since", 11, 100, 10, 100, 10, 50, 11, 50, true},
		{"renewed since", 10, 101, 10, 100, 5, 100, 5, 101, true},
		{"both since", 11, 101, 10, 100, 10, 100, 11, 101, true},
		{"both since, put later still", 11, 101, 10, 100, 12, 102, 12, 102, true},
		{"both since, one put later still", 11, 101, 10, 100, 12, 100, 12, 101, true},
		{"used for the first time since", 0, 100, no, 100, no, 100, 0, 100, true},
		{"never seen", 10, 100, no, no, no, no, 10, 100, true},
		{"never used", no, 100, no, 100, no, 90, no, 90, false},
	} {
		for _, ended := range []int64{no, 60} {
			table := New()
			table.Put(&storage.Record{Token: storage.Token{LastUsedAt: at(row.storedUsed), ExpiresAt: at(row.storedExpires)}}, storage.Use{})
			r := storage.Record{Token: storage.Token{LastUsedAt: at(row.putUsed), ExpiresAt: at(row.putDies), EndedAt: at(ended), Name: "new"}}
			table.Put(&r, storage.Use{At: at(row.seenUsed), ExpiresAt: at(row.seenExpires)})
			var got storage.Record
			table.Get(r.ID, &got)
			if ended == no {
				r.LastUsedAt, r.ExpiresAt = at(row.used), at(row.expires)
			}
			if !got.Equal(r) || table.Unsaved() == 1 != (row.unsaved && ended == no) {
				t.Errorf("%s, ended %v: unsaved %d (-want +got):\n%s", row.name, ended, table.Unsaved(), cmp.Diff(r.Token, got.Token))
			}
			checkTable(t, table)
		}
	}
}

func TestTouch(t *testing.T) {
	stored := storage.Record{Token: storage.Token{LastUsedAt: ms(10), ExpiresAt: ms(100)}}
	ended := stored
	ended.EndedAt = ms(20)
	fresh := storage.Record{Token: storage.Token{ExpiresAt: ms(100)}}
	for _, row := range []struct {
		name   string
		record storage.Record
		use    storage.Use
	}{
		{"both", stored, storage.Use{At: ms(11), ExpiresAt: ms(101)}},
		{"last use alone", stored, storage.Use{At: ms(11)}},
		{"expiry alone", stored, storage.Use{ExpiresAt: ms(101)}},
		{"the same", stored, storage.Use{At: ms(10), ExpiresAt: ms(100)}},
		{"both lower", stored, storage.Use{At: ms(9), ExpiresAt: ms(99)}},
		{"one lower", stored, storage.Use{At: ms(9), ExpiresAt: ms(101)}},
		{"nothing", stored, storage.Use{}},
		{"first use", fresh, storage.Use{At: ms(0)}},
		{"nothing, never used", fresh, storage.Use{}},
		{"ended", ended, storage.Use{At: ms(11), ExpiresAt: ms(101)}},
	} {
		table := New()
		table.Put(&row.record, storage.Use{})
		want := row.record
		changed := row.use.Raise(&want)
		if got := table.Touch(want.ID, row.use); got != changed || table.Unsaved() == 1 != changed {
			t.Errorf("%s: Touch %v, %d unsaved", row.name, got, table.Unsaved())
		}
		var got storage.Record
		if table.Get(want.ID, &got); !got.Equal(want) {
			t.Errorf("%s: %+v; want %+v", row.name, got, want)
		}
		if table.Touch(storage.ID{1}, row.use) {
			t.Errorf("%s: an absent record rose", row.name)
		}
	}
}

// TestNoAllocations also reads records with all their texts.
func TestNoAllocations(t *testing.T) {
	table := New()
	for n := range 2000 {
		r := version(numbered(n), n)
		table.Put(&r, storage.Use{})
	}
	var r storage.Record
	n := 0
	for name, f := range map[string]func(){
		"Get":        func() { n++; table.Get(numbered(n%2000), &r) },
		"Get absent": func() { table.Get(storage.ID{255}, &r) },
		"Touch":      func() { n++; table.Touch(numbered(n%2000), storage.Use{At: epoch.Add(time.Duration(n) * time.Hour)}) },
		"Len":        func() { n += table.Len() },
		"Put again":  func() { n++; r = version(numbered(5), 5); table.Put(&r, storage.Use{}) },
	} {
		want := 0.0
		if name == "Put again" {
			want = testing.AllocsPerRun(100, func() { r = version(numbered(5), 5) })
		}
		if got := testing.AllocsPerRun(1000, f); got > want {
			t.Errorf("%s: %v allocations", name, got-want)
		}
	}
}
