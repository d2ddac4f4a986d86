package table

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
)

// plain is what a Stage and its Table should be, in maps. Its updates never lower an
// instant, so a live record is what was put last with the latest of its instants.
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
	created  int // of those
	revealed int // how many of its writes
}

var fewSubjects = []string{"ana", "bob", "eve"}

// raised returns r with the later of its instants and those of by, unless it is ended.
func raised(r storage.Record, by storage.Record) storage.Record {
	if !r.EndedAt.IsZero() {
		return r
	}
	if by.LastUsedAt.After(r.LastUsedAt) {
		r.LastUsedAt = by.LastUsedAt
	}
	if by.ExpiresAt.After(r.ExpiresAt) {
		r.ExpiresAt = by.ExpiresAt
	}
	return r
}

// state returns all records as an update sees them that begins now.
func (p *plain) state() map[storage.ID]storage.Record {
	all, shown := maps.Clone(p.shown), maps.Clone(p.shown)
	for _, u := range p.held {
		for i, w := range u.writes {
			n := w.Record.ID
			if !w.Deletes {
				all[n] = raised(u.put[n], shown[n])
				continue
			}
			delete(all, n)
			if i >= u.revealed {
				delete(shown, n) // what comes after has nothing to do with it
			}
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

// update runs one update and holds what it put, or forgets it.
func (p *plain) update() {
	subject := fewSubjects[p.rand.IntN(len(fewSubjects))]
	tx, sees, put := p.stage.Begin(subject), p.state(), make(map[storage.ID]storage.Record)
	created, gone := make(map[storage.ID]bool), make(map[storage.ID]bool)
	mine := func() (all []storage.Record) {
		for _, n := range slices.SortedFunc(maps.Keys(sees), storage.ID.Compare) {
			if sees[n].Subject == subject {
				all = append(all, sees[n])
			}
		}
		return all
	}
	pinned := make(map[storage.ID]bool)
	look := func(n storage.ID) { // what is read for the first time is read as it is now
		if _, own := put[n]; !own && !pinned[n] && !gone[n] {
			if r, ok := p.state()[n]; ok {
				sees[n], pinned[n] = r, true
			}
		}
	}
	for range p.rand.IntN(8) {
		n := id(1 + p.rand.IntN(24))
		switch p.rand.IntN(8) {
		case 0:
			p.touch()
		case 7:
			look(n)
			old, ok := sees[n]
			err := tx.Delete(n)
			if ok = ok && old.Subject == subject; ok != (err == nil) {
				p.wrong("%s: Delete: %v; want success %v", subject, err, ok)
			}
			if ok {
				delete(sees, n)
				delete(put, n)
				delete(created, n)
				gone[n] = true
			}
		case 6:
			p.reveal()
		case 5:
			has, limit := len(mine()), p.rand.IntN(12)
			_, taken := sees[n]
			surely := !taken && !gone[n] && has <= limit
			r := p.next(storage.Record{}, false, n, subject)
			got := tx.PutIfFits(&r, limit)
			if got && !surely || !got && surely && len(p.held) == 0 && len(put) == 0 && len(gone) == 0 {
				p.wrong("%s: PutIfFits %v among %d, limit %d: %v, taken %v", subject, n, has, limit, got, taken)
			}
			if got {
				sees[n], put[n], created[n] = r, r, true
			}
		case 1:
			want := mine()
			for r, err := range tx.Records() {
				if look(r.ID); err != nil || len(want) == 0 || r.ID != want[0].ID || r != sees[r.ID] {
					p.wrong("%s: Records: %+v, %v; want %+v", subject, r, err, sees[r.ID])
				}
				want = want[1:]
				p.touch()
			}
			if len(want) > 0 {
				p.wrong("%s: Records: missing %+v", subject, want)
			}
		case 2:
			look(n)
			want, ok := sees[n]
			got, err := tx.Get(n)
			if ok = ok && want.Subject == subject; ok != (err == nil) || ok && got != want {
				p.wrong("%s: Get %v: %+v, %v; want %+v, %v", subject, n, got, err, want, ok)
			}
		default:
			look(n)
			old, ok := sees[n]
			r := p.next(old, ok, n, subject)
			err := tx.Put(r)
			if want := !gone[n] && (!ok || storage.CheckPut(subject, &old, r) == nil); want != (err == nil) {
				p.wrong("%s: Put: %v; want success %v", subject, err, want)
			}
			if err == nil {
				sees[n], put[n], created[n] = r, r, created[n] || !ok
			}
		}
	}
	news := 0
	for _, is := range created {
		if is {
			news++
		}
	}
	if len(tx.Writes())-tx.Deleted() != len(put) || tx.Created() != news {
		p.wrong("%s: %d writes, %d of them deletions, %d created; want %d put, %d created", subject, len(tx.Writes()), tx.Deleted(), tx.Created(), len(put), news)
	}
	if p.rand.IntN(5) > 0 {
		u := heldUpdate{subject: subject, writes: slices.Clone(tx.Writes()), put: put, created: tx.Created()}
		p.stage.Hold(u.writes)
		p.held = append(p.held, u)
	}
}

// next returns what to put for old, if that is there.
func (p *plain) next(old storage.Record, ok bool, n storage.ID, subject string) storage.Record {
	if !ok {
		old = record(0, subject)
		old.ID = n
	}
	p.now++
	old.Name = at(p.now).String()
	switch p.rand.IntN(4) {
	case 0:
		old = raised(old, with(old, p.rand.IntN(2*p.now), 100+p.rand.IntN(2*p.now), 0))
	case 1:
		old.EndedAt, old.EndReason = at(p.now), storage.EndExpired // a conflict if it is
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
	p.show(u, u.writes[u.revealed])
	u.revealed++
}

func (p *plain) show(u *heldUpdate, w Write) {
	if n := w.Record.ID; w.Deletes {
		delete(p.shown, n)
	} else {
		p.shown[n] = raised(u.put[n], p.shown[n])
	}
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
		for _, w := range u.writes {
			p.show(&u, w)
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
		if p.stage.table.Get(n, &got); got != want {
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
	for seed := range uint64(150) {
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
