package bolt

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/boltfile"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/storage"
)

// oldRecord is a record of testdata/old.db.gz as the program that wrote it listed it.
type oldRecord struct {
	ID           storage.ID        `json:"id"`
	Prefix       string            `json:"prefix"`
	Subject      string            `json:"subject"`
	Name         string            `json:"name"`
	Scope        string            `json:"scope"`
	Data         string            `json:"data"`
	IssuedAt     time.Time         `json:"issued_at"`
	LastUsedAt   time.Time         `json:"last_used_at"`
	ExpiresAt    time.Time         `json:"expires_at"`
	MaxExpiresAt time.Time         `json:"max_expires_at"`
	EndedAt      time.Time         `json:"ended_at"`
	EndReason    storage.EndReason `json:"-"`
	Reason       uint8             `json:"end_reason"`
	Family       storage.ID        `json:"family"`
	Parent       storage.ID        `json:"parent"`
	Predecessor  storage.ID        `json:"predecessor"`
	Successor    storage.ID        `json:"successor"`
	MaxUses      int               `json:"max_uses"`
	UsesLeft     int               `json:"uses_left"`
	TTL          time.Duration     `json:"ttl"`
	Algorithm    byte              `json:"algorithm"`
	Digest       string            `json:"digest"`
	Sealed       string            `json:"sealed"`
}

// goesOn are the names of those that are what they were: nothing has replaced them and
// they are of no pair.
var goesOn = []string{"plain", "ended", "budget", "exhausted", "obtained", "delegating", "delegate", "delegate of the rotated"}

// translated returns the record that is to be read for o.
func (o *oldRecord) translated(t *testing.T) storage.Record {
	t.Helper()
	sum, err := hex.DecodeString(o.Digest)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := hex.DecodeString(o.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	r := storage.Record{
		Token: storage.Token{
			ID: o.ID, Prefix: o.Prefix, Subject: o.Subject, Name: o.Name, Scope: o.Scope, Data: o.Data,
			IssuedAt: o.IssuedAt, LastUsedAt: o.LastUsedAt, ExpiresAt: o.ExpiresAt, MaxExpiresAt: o.MaxExpiresAt,
			EndedAt: o.EndedAt, EndReason: storage.EndReason(o.Reason), Family: o.Family, Parent: o.Parent,
			MaxUses: o.MaxUses, UsesLeft: o.UsesLeft,
		},
		TTL: o.TTL, Digest: storage.NewDigest(o.Algorithm, [32]byte(sum)), Sealed: storage.NewSealed(string(sealed)),
	}
	for _, name := range goesOn {
		if o.Name == name {
			return r
		}
	}
	if r.Sealed = (storage.Sealed{}); r.EndedAt.IsZero() {
		r.EndedAt, r.EndReason = o.IssuedAt, storage.EndRotated
		if o.LastUsedAt.After(o.IssuedAt) {
			r.EndedAt = o.LastUsedAt
		}
	}
	return r
}

// oldFile returns a file that lapse wrote before tokens were identities, of which the
// later half is in the journal alone, and what is to be read there.
func oldFile(t *testing.T) (path string, want map[storage.ID]storage.Record) {
	t.Helper()
	packed, err := gzip.NewReader(bytes.NewReader(readFile(t, filepath.Join("testdata", "old.db.gz"))))
	if err != nil {
		t.Fatal(err)
	}
	file, err := io.ReadAll(packed)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "old.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	var old []oldRecord
	if err := json.Unmarshal(readFile(t, filepath.Join("testdata", "old.json")), &old); err != nil {
		t.Fatal(err)
	}
	want = make(map[storage.ID]storage.Record)
	for i := range old {
		want[old[i].ID] = old[i].translated(t)
	}
	return path, want
}

// schemaAt returns the schema of the file at path.
func schemaAt(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	metas, err := boltfile.ReadMetas(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	n, err := tree.ReadSchema(f, metas.Newest)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var opaque = cmp.AllowUnexported(storage.Digest{}, storage.Sealed{})

// TestOldFile: the records of an earlier program are read as its successor must read
// them, in every way to read, whether they are in the tree or in the journal, and again
// when the file was opened by its successor before.
func TestOldFile(t *testing.T) {
	path, want := oldFile(t)
	for _, when := range []string{"first", "again", "rewritten"} {
		s := open(t, path, nil)
		got, damaged := contents(t, s)
		if diff := cmp.Diff(want, got, opaque); diff != "" || len(damaged) > 0 {
			t.Fatalf("%s: %d damaged; (-want +got):\n%s", when, len(damaged), diff)
		}
		for id, r := range want {
			if read, err := s.Get(context.Background(), id); err != nil || !read.Equal(r) {
				t.Errorf("%s: Get has %+v, %v; want %+v", when, read, err, r)
			}
		}
		switch when {
		case "first":
			if got := schemaAt(t, path); got != schema {
				t.Errorf("a file that was opened is of schema %d; want %d", got, schema)
			}
		case "again":
			for id, r := range want {
				if r.Name += ", renamed"; len(r.Name) == 0 {
					t.Fatal("nothing is written")
				}
				want[id] = r
				put(t, s, r)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for r := range maps.Values(want) {
		if r.EndReason == storage.EndRotated {
			return
		}
	}
	t.Error("no record was replaced")
}

// TestOldFileIsSwept: what is read as ended is swept as that.
func TestOldFileIsSwept(t *testing.T) {
	path, want := oldFile(t)
	s := open(t, path, nil)
	defer s.Close()
	due := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	if n, err := s.Sweep(context.Background(), due, 1000); n != len(want) || err != nil {
		t.Errorf("Sweep: %d, %v; want %d", n, err, len(want))
	}
}
