package table

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// world is the table and the model beside each other, and where random records for
// both come from.
type world struct {
	t     testing.TB
	rng   *rand.Rand
	table asked
	model model
	ids   func(n uint64) storage.ID
	span  int64 // milliseconds over which instants are spread
}

// choosers are ways in which IDs come about; the table must not depend on any.
var choosers = map[string]func(n uint64) storage.ID{
	"random": func(n uint64) storage.ID {
		var id storage.ID
		rng := rand.New(rand.NewPCG(n, 77))
		binary.BigEndian.PutUint64(id[:8], rng.Uint64())
		binary.BigEndian.PutUint64(id[8:], rng.Uint64())
		return id
	},
	"counted, the zero ID too": func(n uint64) (id storage.ID) {
		binary.BigEndian.PutUint64(id[8:], n)
		return id
	},
	"counted at the front": func(n uint64) (id storage.ID) {
		binary.BigEndian.PutUint64(id[:8], n)
		return id
	},
	"equal halves": func(n uint64) (id storage.ID) {
		binary.BigEndian.PutUint64(id[:8], n<<32)
		binary.BigEndian.PutUint64(id[8:], n<<32)
		return id
	},
}

func (w *world) id() storage.ID { return w.ids(w.rng.Uint64N(400)) }

func (w *world) instant() time.Time {
	switch w.rng.IntN(30) {
	case 0:
		return time.Time{}
	case 1:
		return time.Date(9999, 12, 31, 23, 59, 59, 999_000_000, time.UTC)
	case 2:
		return time.Date(1, 1, 1, 0, 0, 0, int(time.Millisecond), time.UTC)
	}
	return time.UnixMilli(w.rng.Int64N(w.span) - w.span/3).UTC()
}

func (w *world) text(most int) string {
	switch w.rng.IntN(6) {
	case 0:
		return strings.Repeat(string(rune('a'+w.rng.IntN(26))), most)
	case 1, 2:
		return ""
	}
	return strings.Repeat("x", w.rng.IntN(20)) + fmt.Sprint(w.rng.IntN(1000))
}

func (w *world) record(id storage.ID) storage.Record {
	r := storage.Record{
		Token: storage.Token{
			ID: id, Prefix: fmt.Sprint("p", w.rng.IntN(500)), Subject: fmt.Sprint("subject ", w.rng.IntN(40)),
			Name: w.text(storage.MaxName), Scope: w.text(storage.MaxScope), Data: w.text(storage.MaxData),
			IssuedAt: w.instant(), LastUsedAt: w.instant(), ExpiresAt: w.instant(), MaxExpiresAt: w.instant(),
		},
		TTL:    time.Duration(w.rng.Int64N(1<<43)-1<<42) * time.Millisecond,
		Digest: storage.NewDigest(byte(w.rng.IntN(256)), [32]byte{byte(w.rng.IntN(256)), 31: byte(w.rng.IntN(256))}),
	}
	if w.rng.IntN(8) == 0 {
		r.Subject = strings.Repeat("s", w.rng.IntN(storage.MaxSubject+1))
	}
	if w.rng.IntN(3) == 0 {
		r.EndedAt, r.EndReason = w.instant(), storage.EndReason(w.rng.IntN(256))
	}
	if w.rng.IntN(4) == 0 {
		r.Family, r.Parent = w.id(), w.id()
		r.MaxUses = w.rng.IntN(3) * 1000
		r.UsesLeft = w.rng.IntN(r.MaxUses + 1)
		r.UseGrace = time.Duration(w.rng.IntN(2)*w.rng.IntN(60_001)) * time.Millisecond
		r.Sealed = storage.NewSealed(w.text(storage.MaxSealed))
		r.Kind, r.Generation, r.RotatedAt, r.PreviousUntil = storage.KindSession, w.rng.Uint32(), w.instant(), w.instant()
	}
	if w.rng.IntN(4) == 0 {
		r.SuspendedAt = w.instant()
		r.AuthenticatedAt, r.Thumbprint = w.instant(), storage.Thumbprint{byte(w.rng.IntN(2)), 31: byte(w.rng.IntN(2))}
		r.EndedBy, r.EndNote = w.text(storage.MaxEndedBy), w.text(storage.MaxEndNote)
		r.Client = w.text(storage.MaxClient)
		r.CapEdited = w.rng.IntN(2) == 0
	}
	return r
}

func newWorld(t testing.TB, table asked, how string, seed uint64) *world {
	return &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), table: table, ids: choosers[how],
		model: model{map[storage.ID]storage.Record{}, map[storage.ID]bool{}},
		span:  []int64{50, 5000, 5_000_000, 5_000_000_000_000}[seed%4],
	}
}
