package wire

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
)

func someEntries(t testing.TB) (all []Entry) {
	r := record(1)
	value, err := Encode(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	use := storage.Use{At: r.IssuedAt.Add(time.Second), ExpiresAt: r.ExpiresAt}
	gone := ended(r)
	end, ok := Ends(&r, &gone)
	if !ok {
		t.Fatal("an end is none")
	}
	return []Entry{
		{Kind: PutEntry, ID: r.ID, Value: value}, {Kind: DeleteEntry, ID: r.ID}, {Kind: RaiseEntry, ID: r.ID, Use: use},
		{Kind: MarkEntry, Value: EncodeMark(storage.Mark{At: r.IssuedAt, Epoch: 7})}, end,
	}
}

// TestEntries: a group comes back as it was, and no part of it does.
func TestEntries(t *testing.T) {
	all := someEntries(t)
	var b []byte
	var ends []int
	for i := range all {
		b = all[i].AppendTo(b)
		ends = append(ends, len(b))
	}
	got, err := ReadEntries(b)
	if err != nil || !cmp.Equal(all, got, cmp.Comparer(func(a, b storage.Record) bool { return a.Equal(b) })) {
		t.Errorf("%v, %v", got, err)
	}
	for n := range len(b) {
		want := 0
		for _, end := range ends {
			if end == n {
				want = 1
			}
		}
		if _, err := ReadEntries(b[:n]); (err == nil) != (n == 0 || want == 1) || err != nil && !errors.Is(err, ErrEntries) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
}

// TestEnds: a write is an end by itself if it changes nothing else but the use.
func TestEnds(t *testing.T) {
	was := record(1)
	for name, row := range map[string]struct {
		change func(r *storage.Record)
		ends   bool
	}{
		"ended":              {func(*storage.Record) {}, true},
		"ended, used before": {func(r *storage.Record) { r.LastUsedAt, r.ExpiresAt = r.IssuedAt, r.ExpiresAt.Add(time.Hour) }, true},
		"ended and renamed":  {func(r *storage.Record) { r.Name += "!" }, false},
		"ended, new secret":  {func(r *storage.Record) { r.Digest = storage.NewDigest(storage.SHA256, [32]byte{1}) }, false},
		"not ended":          {func(r *storage.Record) { r.EndedAt, r.EndReason = time.Time{}, 0 }, false},
	} {
		r := ended(was)
		row.change(&r)
		e, ok := Ends(&was, &r)
		if ok != row.ends {
			t.Errorf("%s: %v; want %v", name, ok, row.ends)
		}
		if got := was; ok {
			if e.End(&got); !got.Equal(r) {
				t.Errorf("%s: %+v; want %+v", name, got, r)
			}
		}
	}
	if _, ok := Ends(&[]storage.Record{ended(was)}[0], &[]storage.Record{ended(was)}[0]); ok {
		t.Error("what is ended already is ended again")
	}
}

// TestRaises: a write is a raise by itself if it changes nothing else but the use, upwards.
func TestRaises(t *testing.T) {
	was := record(1)
	was.LastUsedAt = was.IssuedAt.Add(time.Minute)
	for name, row := range map[string]struct {
		change func(r *storage.Record)
		raises bool
	}{
		"as it was":          {func(*storage.Record) {}, false},
		"used":               {func(r *storage.Record) { r.LastUsedAt = r.LastUsedAt.Add(1e6) }, true},
		"renewed":            {func(r *storage.Record) { r.ExpiresAt = r.MaxExpiresAt }, true},
		"used and renewed":   {func(r *storage.Record) { r.LastUsedAt, r.ExpiresAt = r.ExpiresAt, r.ExpiresAt.Add(1e6) }, true},
		"over its cap":       {func(r *storage.Record) { r.ExpiresAt = r.MaxExpiresAt.Add(1e6) }, false},
		"shortened":          {func(r *storage.Record) { r.ExpiresAt = r.ExpiresAt.Add(-1e6) }, false},
		"used, shortened":    {func(r *storage.Record) { r.LastUsedAt, r.ExpiresAt = r.ExpiresAt, r.ExpiresAt.Add(-1e6) }, false},
		"renewed and named":  {func(r *storage.Record) { r.ExpiresAt, r.Name = r.MaxExpiresAt, "!" }, false},
		"renewed and ended":  {func(r *storage.Record) { r.ExpiresAt, r.EndedAt = r.MaxExpiresAt, r.IssuedAt }, false},
		"fewer uses left":    {func(r *storage.Record) { r.LastUsedAt, r.MaxUses = r.ExpiresAt, 1 }, false},
		"of another subject": {func(r *storage.Record) { r.LastUsedAt, r.Subject = r.ExpiresAt, "!" }, false},
	} {
		r := was
		row.change(&r)
		e, ok := Raises(&was, &r)
		if ok != row.raises {
			t.Errorf("%s: %v; want %v", name, ok, row.raises)
		}
		if got := was; ok {
			if e.Use.Raise(&got); !got.Equal(r) {
				t.Errorf("%s: %+v; want %+v", name, got, r)
			}
		}
	}
}

func FuzzReadEntries(f *testing.F) {
	var b []byte
	for _, e := range someEntries(f) {
		b = e.AppendTo(b)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := ReadEntries(b)
		if err != nil {
			return
		}
		var again []byte
		for i := range all {
			again = all[i].AppendTo(again)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x is read as %x", b, again)
		}
	})
}
