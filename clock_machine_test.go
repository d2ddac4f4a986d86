package lapse

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// machine is a computer whose clocks go each their own way. What has really passed is
// known to the tests alone.
type machine struct {
	begun time.Time      // what the truth is counted from
	truth time.Duration  // what has really passed
	off   time.Duration  // how far the wall clock is ahead of the truth
	ppm   time.Duration  // by how many millionths it is too fast
	awake time.Duration  // the monotonic clock
	slept time.Duration  // since it was started
	tells bool           // it can tell how long it has slept
	told  time.Duration  // what it told last
	zone  *time.Location // of what Now returns
}

func newMachine() *machine { return &machine{begun: testInstant, tells: true, zone: time.UTC} }

func (c *machine) Now() time.Time                       { return c.begun.Add(c.truth + c.off).In(c.zone) }
func (c *machine) After(time.Duration) <-chan time.Time { return nil }

func (c *machine) Elapsed() time.Duration {
	if c.tells {
		c.told = c.slept
	}
	return c.awake + c.told
}

// pass lets time go by, and sleep lets it go by for a machine that is suspended.
func (c *machine) pass(d time.Duration) {
	c.truth, c.awake, c.off = c.truth+d, c.awake+d, c.off+d/1_000_000*c.ppm
}

func (c *machine) sleep(d time.Duration) { c.truth, c.slept = c.truth+d, c.slept+d }

// set sets the wall clock.
func (c *machine) set(t time.Time) { c.off = t.Sub(c.begun.Add(c.truth)) }

// boot starts the machine anew.
func (c *machine) boot() { c.awake, c.slept, c.told = 0, 0, 0 }

// quick is a machine whose clock can be asked as the system's can.
type quick struct{ *machine }

func (c quick) WallMilli() int64 { return steady.Milli(c.Now()) }
func (c quick) ReadCached() (wall int64, elapsed time.Duration) {
	return steady.Milli(c.Now()), c.awake + c.told
}

var (
	_ steady.Elapser = (*machine)(nil)
	_ steady.Cached  = quick{}
)

// disk is a store whose records retryOnNewEpoch a crash, and whose mark is what was written
// last.
type disk struct {
	storage.Store
	marks   *storage.Marks
	written storage.Mark
	due     bool
	deleted int // by Sweep, so far
	flushes int // of the mark alone

	forgets bool // what was written of the mark: a fault
}

func newDisk() *disk {
	d := &disk{Store: memory.New()}
	d.reopen()
	return d
}

func (d *disk) Marks() *storage.Marks { return d.marks }

// reopen is what a process finds that comes after another one, which was killed.
func (d *disk) reopen() {
	if d.due = false; d.forgets {
		d.written = storage.Mark{}
	}
	d.marks = storage.NewMarks(d.written, func() { d.due = true })
}

func (d *disk) write() {
	d.written, d.due = d.marks.Mark(), false
	d.marks.Saved(d.written)
}

// flush is what happens within a second of due.
func (d *disk) flush() {
	if d.due {
		d.flushes++
		d.write()
	}
}

func (d *disk) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	puts := 0
	err := d.Store.Update(ctx, subject, func(tx storage.Tx) error {
		counting := &puttingTx{Tx: tx}
		defer func() { puts = counting.puts }()
		return fn(counting)
	})
	if err == nil && puts > 0 {
		d.write()
	}
	return err
}

func (d *disk) Sweep(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := d.Store.Sweep(ctx, before, limit)
	d.deleted += n
	return n, err
}

type puttingTx struct {
	storage.Tx
	puts int
}

func (tx *puttingTx) Put(r storage.Record) error {
	tx.puts++
	return tx.Tx.Put(r)
}
