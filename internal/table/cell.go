package table

import (
	"encoding/binary"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// The words of a cell. A number behind a name is a width in bits. The first eight words share a
// cache line, and Touch needs no others. The links lie in the second line, beside the half of the
// subject's hash that tells the leaders of a bucket apart.
const (
	wMeta    = iota // sequence 32, flags 8, length of scope 11, of data 13
	wHigh           // the first half of the ID
	wLow            // the second half of the ID
	wExpires        // instants are Unix milliseconds, signed
	wUsed
	wEnded
	wTTL // milliseconds 45, signed; unused 3; algorithm of the digest 8; end reason 8
	wCap // milliseconds 49, signed; the lower half of the subject's hash 15
	wDigest
	_
	_
	_
	wIssued // milliseconds 49, signed; the upper half of the subject's hash 15
	wText
	cellWords
)

// The sequence number is odd while the cell is locked, and every change of the cell changes it. A
// reader misses a change only if 2^31 changes happen while it reads the cell once.
const (
	sequence  = 1<<32 - 1
	occupied  = 1 << 32 // the cell holds a record
	long      = 1 << 33 // the text begins with a header of lengths
	inExpired = 1 << 34 // the cell is in its subject's list of expired records
	inEnded   = 1 << 35 // the cell is in its subject's list of ended records
	inDead    = inExpired | inEnded
	scopeBits = 40
	dataBits  = 51
	textBits  = uint64(long | (1<<24-1)<<scopeBits)

	hashBits = 15
	halfHash = 1<<hashBits - 1
	ttlBits  = 19
)

// cell holds one record in 128 bytes without pointers. Only the goroutine that has locked the cell
// writes its words; every goroutine may read them. The links are read and written under the table's
// lock.
type cell struct {
	w                       words
	subjectLink, expiryLink link
}

// words are the record in a cell, encoded.
type words [cellWords]uint64

type link struct{ prev, next uint32 }

func (c *cell) load(i int) uint64     { return atomic.LoadUint64(&c.w[i]) }
func (c *cell) store(i int, v uint64) { atomic.StoreUint64(&c.w[i], v) }

// lock waits until no other goroutine has locked the cell, and locks it. A cell stays locked for
// some dozens of instructions.
func (c *cell) lock() {
	for spins := 0; ; spins++ {
		m := c.load(wMeta)
		if m&1 == 0 && atomic.CompareAndSwapUint64(&c.w[wMeta], m, m|1) {
			return
		}
		pause(spins)
	}
}

// unlock unlocks the cell. If changed is true, goroutines that have read words of the cell
// meanwhile read them again.
func (c *cell) unlock(changed bool) {
	m := c.load(wMeta)
	if changed {
		c.store(wMeta, m&^sequence|(m+1)&sequence)
	} else {
		c.store(wMeta, m&^1)
	}
}

// pause waits for a moment between two attempts to lock or read a locked cell. The goroutine that
// has locked the cell may have been preempted. Without runtime.Gosched, waiting goroutines would
// spin until their time slice ends: 64 goroutines that touch one record (BenchmarkTouchOne) took
// 1.9 times the processor time on two processors, and up to 30 times in single runs.
func pause(spins int) {
	if spins > 16 {
		runtime.Gosched()
	}
}

// words returns a copy of the words. The caller has locked the cell, or holds the table's lock and
// uses only words that no Touch changes.
func (c *cell) words() (w words) {
	for i := range w {
		w[i] = c.load(i)
	}
	return w
}

// snapshot returns the words of the cell as they were at one instant at which it was not locked,
// and whether the cell held a record then.
func (c *cell) snapshot() (w words, ok bool) {
	for spins := 0; ; spins++ {
		meta := c.load(wMeta)
		if meta&1 == 0 {
			if w = c.words(); w[wMeta] == meta && c.load(wMeta) == meta {
				return w, meta&occupied != 0
			}
		}
		pause(spins)
	}
}

// id returns the ID in the cell, which only writers change.
func (c *cell) id() storage.ID {
	w := words{wHigh: c.load(wHigh), wLow: c.load(wLow)}
	return w.id()
}

// dead reports whether the record in the cell has an end, or has expired at now.
func (c *cell) dead(now int64) bool {
	return int64(c.load(wEnded)) != zeroMilli || int64(c.load(wExpires)) <= now
}

// set writes w and flags to the locked cell. It stores only words that differ, because a store
// costs far more than a load.
func (c *cell) set(w *words, flags uint64) {
	for i, v := range w {
		if i != wMeta && c.load(i) != v {
			c.store(i, v)
		}
	}
	c.store(wMeta, c.load(wMeta)&sequence|w[wMeta]&^sequence|flags)
}

// encode returns the words of r, except those of its texts.
func encode(r *storage.Record, hash uint64) (w words) {
	w[wHigh], w[wLow] = binary.BigEndian.Uint64(r.ID[:8]), binary.BigEndian.Uint64(r.ID[8:])
	w[wExpires], w[wUsed], w[wEnded] = uint64(milli(r.ExpiresAt)), uint64(milli(r.LastUsedAt)), uint64(milli(r.EndedAt))
	w[wTTL] = uint64(r.TTL.Milliseconds())<<ttlBits | uint64(r.Digest.Algorithm())<<8 | uint64(r.EndReason)
	w[wIssued] = uint64(milli(r.IssuedAt))<<hashBits | hash>>hashBits
	w[wCap] = uint64(milli(r.MaxExpiresAt))<<hashBits | hash&halfHash
	sum := r.Digest.Sum()
	for i := range 4 {
		w[wDigest+i] = binary.LittleEndian.Uint64(sum[8*i:])
	}
	return w
}

// deadFrom is Token.DeadFrom in Unix milliseconds.
func (w *words) deadFrom() int64 {
	expires, ended := int64(w[wExpires]), int64(w[wEnded])
	if ended != zeroMilli && ended < expires {
		return ended
	}
	return expires
}

// capped returns the earlier of expires and the cap, in Unix milliseconds. word is the word wCap of
// the record; it may hold no cap, and then capped returns expires.
func capped(expires int64, word uint64) int64 {
	if limit := int64(word) >> hashBits; limit != zeroMilli {
		return min(expires, limit)
	}
	return expires
}

func (w *words) id() (id storage.ID) {
	binary.BigEndian.PutUint64(id[:8], w[wHigh])
	binary.BigEndian.PutUint64(id[8:], w[wLow])
	return id
}

// merge raises w, which replaces was, to the fields of was that a Touch has raised since seen, and
// reports whether there were any. ExpiresAt does not pass the cap of w, whatever the cap of was is.
func (w *words) merge(was *words, seen storage.Use) (raised bool) {
	if used := int64(was[wUsed]); used > milli(seen.At) {
		w[wUsed], raised = uint64(max(used, int64(w[wUsed]))), true
	}
	if expires := int64(was[wExpires]); expires > milli(seen.ExpiresAt) {
		w[wExpires], raised = uint64(max(capped(expires, w[wCap]), int64(w[wExpires]))), true
	}
	return raised
}

const (
	zeroMilli = -62135596800000 // the zero Time
	lastMilli = 1<<48 - 1       // in the year 10889
)

// milli returns t in Unix milliseconds, rounded down, and within the range that a cell can hold.
func milli(t time.Time) int64 { return max(-lastMilli, min(t.UnixMilli(), lastMilli)) }

// milliUp is milli rounded up. An instant in whole milliseconds lies before t if and only if it
// lies before milliUp(t).
func milliUp(t time.Time) int64 {
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		return milli(t) + 1
	}
	return milli(t)
}

// instant returns the Time of ms Unix milliseconds, in UTC. It is the inverse of milli.
func instant(ms int64) time.Time {
	if ms == zeroMilli {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
