package bolt

import (
	"errors"

	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/storage"
)

// intake takes the records of a file into a new table.
type intake struct {
	opts    Options
	table   *table.Table
	damaged map[storage.ID]struct{}
	epoch   uint32 // the latest of a record

	first, done, total int // pages: read before the first record, read, to be read
}

func newIntake(opts Options) *intake { return &intake{opts: opts, table: table.New()} }

func (in *intake) visitor() visitor {
	tell := seldom(in.opts.Progress)
	return visitor{
		pair: in.pair,
		progress: func(done, total int) {
			in.done, in.total = done, total
			tell(done, total)
		},
		changed: in.change,
	}
}

// sample is after how many records the number of all is estimated.
const sample = 4096

// estimate makes room for as many records as the file seems to have.
func (in *intake) estimate() {
	switch in.table.Len() {
	case 0:
		in.first = in.done
	case sample:
		in.table.Reserve(sample * (in.total - in.first) / (in.done - in.first + 1))
	}
}

// pair takes one record. One that is damaged is known by its key from now on; it
// belongs to no subject and is never swept.
func (in *intake) pair(key, value []byte) error {
	r, err := decode(key, value)
	if err != nil {
		return in.deny(r.ID, err)
	}
	in.estimate()
	in.epoch = max(in.epoch, r.Epoch)
	in.table.Put(&r, storage.Use{})
	if in.table.Len() > in.opts.MaxTokens {
		return ErrTooMany
	}
	return nil
}

// change takes what became of one record after the pages were written.
func (in *intake) change(c *change) error {
	in.heal(c)
	in.table.Delete(c.id) // a Put would keep what it seems to have been raised to
	if c.value == nil {
		return nil
	}
	err := in.pair(c.id[:], c.value)
	if errors.Is(err, storage.ErrCorrupt) { // and known as that by now
		err = nil
	}
	return err
}

// heal forgets that a record was damaged before it became c.
func (in *intake) heal(c *change) error {
	delete(in.damaged, c.id)
	return nil
}

// check looks at one record of a file that has been taken in before.
func (in *intake) check(key, value []byte) error {
	r, err := decode(key, value)
	if err != nil {
		return in.deny(r.ID, err)
	}
	return nil
}

func (in *intake) deny(id storage.ID, err error) error {
	if in.damaged == nil {
		in.damaged = make(map[storage.ID]struct{})
	}
	in.damaged[id] = struct{}{}
	return err
}

// quietPages is how many pages are read too soon to tell anybody: 16 MB.
const quietPages = 4096

// seldom returns a function that tells progress every hundredth part.
func seldom(progress func(done, total int)) func(done, total int) {
	if progress == nil {
		return func(int, int) {}
	}
	next := 0
	return func(done, total int) {
		if total > quietPages && done >= next {
			next = done + total/100
			progress(done, total)
		}
	}
}

// isDamaged reports whether the record of id cannot be read.
func (s *Store) isDamaged(id storage.ID) bool {
	_, ok := (*s.damaged.Load())[id]
	return ok
}

func (s *Store) setDamaged(ids map[storage.ID]struct{}) { s.damaged.Store(&ids) }
