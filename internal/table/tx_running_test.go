package table

import (
	"iter"
	"maps"
	"slices"

	"github.com/seed-55daa01a/lapse/storage"
)

// running is an update that runs.
type running struct {
	*plain
	subject string
	tx      *Tx
	own     map[storage.ID]storage.Record // what it put, or has read before
	seen    map[storage.ID]storage.Use    // of what it has read
	put     map[storage.ID]bool           // and whether that is new
	gone    map[storage.ID]bool           // what it deleted
}

// view returns all records as the update sees them: what it has not read is as it is now.
func (u *running) view() map[storage.ID]storage.Record {
	all := u.state()
	maps.Copy(all, u.own)
	for n := range u.gone {
		delete(all, n)
	}
	return all
}

// look returns record n as the update sees it, from now on for good.
func (u *running) look(n storage.ID) (r storage.Record, ok bool) {
	r, ok = u.view()[n]
	if _, known := u.own[n]; ok && !known {
		u.own[n], u.seen[n] = r, useOf(r)
	}
	return r, ok
}

// mine returns those of the subject that are wanted, in order.
func (u *running) mine(wanted func(storage.Record) bool) (all []storage.Record) {
	for _, r := range u.view() {
		if r.Subject == u.subject && wanted(r) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b storage.Record) int { return a.ID.Compare(b.ID) })
	return all
}

// update runs one update and holds what it put, or forgets it.
func (p *plain) update() {
	subject := fewSubjects[p.rand.IntN(len(fewSubjects))]
	u := &running{p, subject, p.stage.Begin(subject), make(map[storage.ID]storage.Record), make(map[storage.ID]storage.Use), make(map[storage.ID]bool), make(map[storage.ID]bool)}
	for range p.rand.IntN(8) {
		n := id(1 + p.rand.IntN(24))
		switch p.rand.IntN(10) {
		case 0:
			p.touch()
		case 1:
			p.reveal()
		case 2:
			u.list(u.tx.Records(), func(storage.Record) bool { return true })
		case 3:
			now := p.instant()
			u.list(u.tx.Living(now), func(r storage.Record) bool { return r.Live(now) })
		case 4:
			u.delete(n)
		case 5:
			u.fit(n)
		case 6:
			want, ok := u.look(n)
			got, err := u.tx.Get(n)
			if ok = ok && want.Subject == subject; ok != (err == nil) || ok && !got.Equal(want) {
				p.wrong("%s: Get %v: %+v, %v; want %+v, %v", subject, n, got, err, want, ok)
			}
		default:
			u.replace(n)
		}
	}
	u.hold()
}

// list compares what a list of the subject's yields with what is wanted, which may grow by
// what is touched meanwhile.
func (u *running) list(got iter.Seq2[storage.Record, error], wanted func(storage.Record) bool) {
	want := u.mine(wanted)
	var last storage.ID
	for r, err := range got {
		if now, _ := u.look(r.ID); err != nil || !r.Equal(now) || !wanted(r) || r.Subject != u.subject || r.ID.Compare(last) <= 0 {
			u.wrong("%s: yields %+v, %v; want %+v", u.subject, r, err, now)
		}
		if last = r.ID; len(want) > 0 && want[0].ID == r.ID {
			want = want[1:]
		}
		u.touch()
	}
	if len(want) > 0 {
		u.wrong("%s: yields no %+v", u.subject, want)
	}
}

func (u *running) delete(n storage.ID) {
	old, ok := u.look(n)
	err := u.tx.Delete(n)
	if ok = ok && old.Subject == u.subject; ok != (err == nil) {
		u.wrong("%s: Delete: %v; want success %v", u.subject, err, ok)
	}
	if ok {
		delete(u.own, n)
		delete(u.put, n)
		u.gone[n] = true
	}
}

func (u *running) fit(n storage.ID) {
	now, limit := u.instant(), u.rand.IntN(12)
	has, shown := len(u.mine(func(r storage.Record) bool { return r.Live(now) })), 0
	for _, r := range u.shown {
		if r.Subject == u.subject && r.Live(now) { // though the update may have read it before it was raised
			shown++
		}
	}
	_, taken := u.view()[n]
	surely := !taken && !u.gone[n] && has <= limit
	r := u.next(storage.Record{}, false, n, u.subject)
	got := u.tx.PutIfFits(&r, limit, now)
	if got && !surely || !got && surely && shown <= limit && len(u.held) == 0 && len(u.tx.Writes()) == 0 {
		u.wrong("%s: PutIfFits %v among %d, limit %d: %v, taken %v", u.subject, n, has, limit, got, taken)
	}
	if got {
		u.own[n], u.put[n] = r, true
	}
}

func (u *running) replace(n storage.ID) {
	old, ok := u.look(n)
	r := u.next(old, ok, n, u.subject)
	err := u.tx.Put(r)
	if want := !u.gone[n] && (!ok || storage.CheckPut(u.subject, &old, r) == nil); want != (err == nil) {
		u.wrong("%s: Put: %v; want success %v", u.subject, err, want)
	}
	if err == nil {
		u.own[n], u.put[n] = r, u.put[n] || !ok
	}
}

// hold holds what the update wrote, or forgets it.
func (u *running) hold() {
	held := heldUpdate{subject: u.subject, writes: slices.Clone(u.tx.Writes()), seen: u.seen, put: make(map[storage.ID]storage.Record)}
	for n, creates := range u.put {
		if held.put[n] = u.own[n]; creates {
			held.created++
		}
	}
	if len(held.writes)-u.tx.Deleted() != len(held.put) || u.tx.Created() != held.created {
		u.wrong("%s: %d writes, %d of them deletions, %d created; want %d put, %d created",
			u.subject, len(held.writes), u.tx.Deleted(), u.tx.Created(), len(held.put), held.created)
	}
	if u.rand.IntN(5) > 0 {
		u.stage.Hold(held.writes)
		u.plain.held = append(u.plain.held, held)
	}
}
