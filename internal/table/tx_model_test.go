package table

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// plain is what a Stage and its Table should be, in maps.
type plain struct {
	rand  *rand.Rand
	loses bool // it is not told of every touch
	stage *Stage
	shown map[storage.ID]storage.Record
	held  []heldUpdate // the oldest first
	now   int
}

type heldUpdate struct {
	subject  string
	writes   []Write
	put      map[storage.ID]storage.Record
	seen     map[storage.ID]storage.Use // by those that replace
	created  int                        // how many do not
	revealed int                        // how many of its writes
}

var fewSubjects = []string{"ana", "bob", "eve"}

// raised returns r with what of by is later than what r's update saw, if that is later
// than r's, unless r is ended. No expiry is raised past r's cap.
func raised(r, by storage.Record, seen storage.Use) storage.Record {
	var use storage.Use
	if by.LastUsedAt.After(seen.At) {
		use.At = by.LastUsedAt
	}
	if by.ExpiresAt.After(seen.ExpiresAt) {
		use.ExpiresAt = by.ExpiresAt
	}
	use.Raise(&r)
	return r
}

func useOf(r storage.Record) storage.Use {
	return storage.Use{At: r.LastUsedAt, ExpiresAt: r.ExpiresAt}
}

// apply does to all what u writes at i.
func (u *heldUpdate) apply(all map[storage.ID]storage.Record, i int) {
	n := u.writes[i].Record.ID
	if r, put := u.put[n]; put {
		all[n] = raised(r, all[n], u.seen[n])
	} else {
		delete(all, n)
	}
}

// state returns all records as an update sees them that begins now.
func (p *plain) state() map[storage.ID]storage.Record {
	all := maps.Clone(p.shown)
	for _, u := range p.held {
		for i := u.revealed; i < len(u.writes); i++ {
			u.apply(all, i)
		}
	}
	return all
}

func (p *plain) touch() {
	p.now++
	n := id(1 + p.rand.IntN(24))
	use := storage.Use{At: at(p.rand.IntN(2 * p.now)), ExpiresAt: at(100 + p.rand.IntN(2*p.now))}
	if !p.loses || p.rand.IntN(100) > 0 {
		p.stage.table.Touch(n, use)
	}
	if r, ok := p.shown[n]; ok {
		use.Raise(&r)
		p.shown[n] = r
	}
}

// instant returns one at which some records live.
func (p *plain) instant() time.Time { return at(100 + p.rand.IntN(2*p.now+2) - p.rand.IntN(60)) }

// next returns what to put for old, if that is there.
func (p *plain) next(old storage.Record, ok bool, n storage.ID, subject string) storage.Record {
	if !ok {
		old = record(0, subject)
		old.ID = n
	}
	p.now++
	old.Name = at(p.now).String()
	switch p.rand.IntN(6) {
	case 0:
		old = raised(old, with(old, p.rand.IntN(2*p.now), 100+p.rand.IntN(2*p.now), 0), storage.Use{})
	case 1:
		old.EndedAt, old.EndReason = at(p.now), storage.EndRevoked // a conflict if it is
	case 2:
		old.MaxExpiresAt = p.instant()
		if p.rand.IntN(2) == 0 && old.MaxExpiresAt.Before(old.ExpiresAt) {
			old.ExpiresAt = old.MaxExpiresAt
		}
	case 3:
		old.MaxExpiresAt = time.Time{}
	case 4:
		old.ExpiresAt = p.instant() // a conflict if it is lowered without a cap
	}
	return old
}

// reveal reveals one write of the oldest update, as somebody does who is not stopped by
// those who use the stage.
func (p *plain) reveal() {
	if len(p.held) == 0 || p.held[0].revealed == len(p.held[0].writes) {
		return
	}
	u := &p.held[0]
	p.stage.Reveal(u.writes[u.revealed : u.revealed+1])
	u.apply(p.shown, u.revealed)
	u.revealed++
}

// settle shows or drops the oldest update, or lets it go if some of it is revealed. Where
// it is dropped, those of its subject that came after it are, too, and all of them if one
// of its IDs may have gone from one subject to another.
func (p *plain) settle() {
	if len(p.held) == 0 {
		return
	}
	if p.held[0].revealed > 0 {
		for p.held[0].revealed < len(p.held[0].writes) {
			p.reveal()
		}
		p.stage.LetGo(p.held[0].writes)
		p.held = p.held[1:]
		return
	}
	u, mixed := p.held[0], p.mixed()
	p.held = p.held[1:]
	if p.rand.IntN(4) > 0 {
		p.stage.Show(u.writes)
		for i := range u.writes {
			u.apply(p.shown, i)
		}
		return
	}
	p.stage.LetGo(u.writes)
	p.held = slices.DeleteFunc(p.held, func(later heldUpdate) bool {
		dropped := mixed || later.subject == u.subject
		if dropped {
			p.stage.LetGo(later.writes)
		}
		return dropped
	})
}

// mixed reports whether an ID that is held was deleted by one subject and taken by another.
func (p *plain) mixed() bool {
	of := make(map[storage.ID]string)
	for _, u := range p.held {
		for _, w := range u.writes {
			if s, ok := of[w.Record.ID]; ok && s != u.subject {
				return true
			}
			of[w.Record.ID] = u.subject
		}
	}
	return false
}

func (p *plain) compare() {
	created, held := 0, make(map[storage.ID]bool)
	for _, u := range p.held {
		for _, w := range u.writes {
			held[w.Record.ID] = true
		}
		created += u.created
	}
	if p.stage.Created() != created {
		p.wrong("%d created; want %d", p.stage.Created(), created)
	}
	if want := len(p.state()); p.stage.Records() != want {
		p.wrong("there will be %d records; want %d", p.stage.Records(), want)
	}
	for n := range 25 {
		if p.stage.Holds(id(n)) != held[id(n)] {
			p.wrong("%v is held: %v; want %v", id(n), p.stage.Holds(id(n)), held[id(n)])
		}
	}
	if p.stage.table.Len() != len(p.shown) {
		p.wrong("the table has %d; want %d", p.stage.table.Len(), len(p.shown))
	}
	for n, want := range p.shown {
		var got storage.Record
		if p.stage.table.Get(n, &got); !got.Equal(want) {
			p.wrong("the table shows (-want +got):\n%s", cmp.Diff(want, got))
		}
	}
}

// mismatch says where the stage differs from the maps.
type mismatch string

func (p *plain) wrong(format string, args ...any) { panic(mismatch(fmt.Sprintf(format, args...))) }

// run makes 120 steps of chance, settles what is held then, and returns the first
// mismatch.
func (p *plain) run(seed uint64) (found mismatch) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case mismatch:
			found = p
		default:
			panic(p)
		}
	}()
	p.rand, p.stage, p.shown = rand.New(rand.NewPCG(seed, 1)), stageOf(), make(map[storage.ID]storage.Record)
	for range 120 {
		switch p.rand.IntN(7) {
		case 0:
			p.touch()
		case 1, 2:
			p.settle()
		case 3:
			p.reveal()
		default:
			p.update()
		}
		p.compare()
	}
	for len(p.held) > 0 {
		p.settle()
	}
	p.compare()
	if len(p.stage.held) != 0 || len(p.stage.created) != 0 {
		p.wrong("left: %d held, created %v", len(p.stage.held), p.stage.created)
	}
	return ""
}

// TestStageAgainstPlain runs updates, touches between and during them, and what
// becomes of them, and compares every answer with that of plain maps.
func TestStageAgainstPlain(t *testing.T) {
	for seed := range uint64(sample.Of(150, 50)) {
		if found := new(plain).run(seed); found != "" {
			t.Fatalf("seed %d: %s", seed, found)
		}
	}
}

// TestPlainFindsALostTouch: one touch in a hundred that the table is not told of is
// found.
func TestPlainFindsALostTouch(t *testing.T) {
	found := 0
	for seed := range uint64(20) {
		if (&plain{loses: true}).run(seed) != "" {
			found++
		}
	}
	if found == 0 {
		t.Error("not found in any run")
	}
}
