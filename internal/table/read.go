package table

import (
	"encoding/binary"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// read sets *r, except its ID, to the record that the cell held at one instant. If settled is
// false, the cell has become another record's: found means nothing, and the caller looks k up
// again. If settled is true and found is false, the record was deleted after the caller had looked
// it up.
func (t *Table) read(c *cell, k key, r *storage.Record) (found, settled bool) {
	for spins := 0; ; spins++ {
		meta := c.load(wMeta)
		if meta&1 != 0 {
			pause(spins)
			continue
		}
		high, low, text, ttl := c.load(wHigh), c.load(wLow), c.load(wText), c.load(wTTL)
		expires, used, ended := c.load(wExpires), c.load(wUsed), c.load(wEnded)
		issued, limit := c.load(wIssued), c.load(wCap)
		d0, d1, d2, d3 := c.load(wDigest), c.load(wDigest+1), c.load(wDigest+2), c.load(wDigest+3)
		// If the chunk was freed, the cell had changed before, and the next check fails.
		texts := t.texts.chunk(text)
		if c.load(wMeta) != meta {
			pause(spins)
			continue
		}
		if meta&occupied == 0 || high != k.high || low != k.low {
			return false, high == k.high && low == k.low
		}
		var sum [32]byte
		binary.LittleEndian.PutUint64(sum[0:], d0)
		binary.LittleEndian.PutUint64(sum[8:], d1)
		binary.LittleEndian.PutUint64(sum[16:], d2)
		binary.LittleEndian.PutUint64(sum[24:], d3)
		digest := storage.NewDigest(byte(ttl>>8), sum)
		r.TTL = time.Duration(int64(ttl)>>ttlBits) * time.Millisecond
		r.EndReason = storage.EndReason(ttl)
		r.IssuedAt = instant(int64(issued) >> hashBits)
		r.MaxExpiresAt = instant(int64(limit) >> hashBits)
		r.ExpiresAt, r.LastUsedAt, r.EndedAt = instant(int64(expires)), instant(int64(used)), instant(int64(ended))
		t.texts.decode(r, text, meta, texts)
		r.Digest = digest // last, so that the processor need not wait for the stores of sum
		return true, true
	}
}

// lockRecord finds the record of k and locks its cell. It returns nil if there is no such record.
func (t *Table) lockRecord(k key) (ref uint32, c *cell) {
	for {
		ref, c = t.find(k)
		if c == nil {
			return 0, nil
		}
		c.lock()
		same := c.load(wHigh) == k.high && c.load(wLow) == k.low
		if same && c.load(wMeta)&occupied != 0 {
			return ref, c
		}
		c.unlock(false)
		if same {
			return 0, nil
		}
	}
}
