package storagetest

import (
	"fmt"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// Bench measures a backend with 1e3 and with 1e5 live records, and Tx.Living of a subject with no
// and with 1e5 dead records. It shows costs that grow with those numbers: none of them should. With
// -short it measures only 1e3, for backends that are slow to fill.
func Bench(b *testing.B, be Backend) {
	sizes := []int{1e3, 1e5}
	if testing.Short() {
		sizes = sizes[:1]
	}
	for _, n := range sizes {
		b.Run(fmt.Sprintf("live=%d", n), func(b *testing.B) {
			e := newEnv(b, be)
			live := e.fill(b, n)
			b.Run("Get", func(b *testing.B) { e.benchGet(b, live) })
			b.Run("Touch", func(b *testing.B) { e.benchTouch(b, live) })
			b.Run("Update", func(b *testing.B) { e.benchUpdate(b, live) })
			b.Run("ListSubject", func(b *testing.B) { e.benchList(b, live) })
			b.Run("Sweep", e.benchSweep)
			check(b, e.store.Close())
		})
	}
	b.Run("Living", func(b *testing.B) { benchDead(b, be, sizes[len(sizes)-1]) })
}

// benchDead measures Tx.Living of a subject with no dead records, and of one with n.
func benchDead(b *testing.B, be Backend, n int) {
	e := newEnv(b, be)
	for _, n := range []int{0, n} {
		e.fillDead(b, n)
		b.Run(fmt.Sprintf("dead=%d", n), func(b *testing.B) { e.benchLiving(b, withDead(n)) })
	}
	check(b, e.store.Close())
}

// perSubject is how many live records a subject has.
const perSubject = 20

// fill puts n live records. Each Update puts those of one subject, as programs do.
func (e *env) fill(b *testing.B, n int) []storage.Record {
	var live []storage.Record
	for i := range n / perSubject {
		rs := e.records(perSubject, fmt.Sprint("subject ", i))
		check(b, e.put(rs...))
		live = append(live, rs...)
	}
	return live
}

func check(b *testing.B, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}

// pick returns the record of the i-th access. Accesses go all over live.
func pick(live []storage.Record, i int) storage.Record { return live[i*7919%len(live)] }

func (e *env) benchGet(b *testing.B, live []storage.Record) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, err := e.store.Get(e.ctx, pick(live, i).ID)
		check(b, err)
	}
}

func (e *env) benchTouch(b *testing.B, live []storage.Record) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r := pick(live, i)
		later := instant(e.serial.Add(1)*1000).AddDate(1, 0, 0) // later than the last Touch, so that there is an expiry to raise
		check(b, e.store.Touch(e.ctx, r.ID, storage.Use{At: later, ExpiresAt: later.AddDate(0, 1, 0)}))
	}
}

func (e *env) benchUpdate(b *testing.B, live []storage.Record) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r := pick(live, i)
		check(b, e.store.Update(e.ctx, r.Subject, func(tx storage.Tx) error {
			now, err := tx.Get(r.ID) // a Touch may have raised its expiry
			if err != nil {
				return err
			}
			return tx.Put(now)
		}))
	}
}

func (e *env) benchList(b *testing.B, live []storage.Record) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		for _, err := range e.store.List(e.ctx, storage.Filter{Subject: pick(live, i).Subject}) {
			check(b, err)
		}
	}
}

// benchSweep deletes ten dead records at a time from a stock. When the stock is empty, it stops the
// clock and fills it again.
func (e *env) benchSweep(b *testing.B) {
	const batch, stock = 10, 1000
	b.ReportAllocs()
	for left := 0; b.Loop(); left -= batch {
		if left == 0 {
			b.StopTimer()
			check(b, e.put(e.records(stock, "dead", expires(instant(1)))...))
			left = stock
			b.StartTimer()
		}
		n, err := e.store.Sweep(e.ctx, instant(2), batch)
		check(b, err)
		if n != batch {
			b.Fatalf("swept %d, want %d", n, batch)
		}
	}
}

func withDead(n int) string { return fmt.Sprint("with dead ", n) }

// fillDead gives a subject perSubject records that live at instant 100 and n that are dead then.
// Half of the dead ones have an end.
func (e *env) fillDead(b *testing.B, n int) {
	const atOnce = 1000
	subject := withDead(n)
	check(b, e.put(e.records(perSubject, subject)...))
	for left := n; left > 0; left -= atOnce {
		rs := e.records(min(left, atOnce), subject, expires(instant(50)))
		for i := range rs {
			if i%2 == 0 {
				ended(instant(40), storage.EndRevoked)(&rs[i])
			}
		}
		check(b, e.put(rs...))
	}
}

// benchLiving lists the living records in an Update that puts none. A first Update has found the
// dead records, so that they are not newly dead.
func (e *env) benchLiving(b *testing.B, subject string) {
	b.ReportAllocs()
	list := func(tx storage.Tx) error {
		all, err := live(tx, instant(100))
		if err == nil && len(all) != perSubject {
			err = fmt.Errorf("%d live, want %d", len(all), perSubject)
		}
		return err
	}
	check(b, e.update(subject, list))
	for b.Loop() {
		check(b, e.update(subject, list))
	}
}
