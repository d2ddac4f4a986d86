package table

import (
	"encoding/binary"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/seed-55daa01a/lapse/internal/recordext"
	"github.com/seed-55daa01a/lapse/storage"
)

// A text word is the place of a record's texts 40, the lengths of subject 8 and
// name 8, and the number of the prefix 8. A place is the number of a chunk and an
// offset in it.
const (
	offsetBits = 16
	chunkSize  = 1 << offsetBits
	placeShift = 24

	// A record whose texts are longer than a cell can say, whose prefix has no
	// number, or that has ties, has all six lengths, the prefix and the ties among
	// its texts.
	headerLen   = 6 * 4
	maxPrefixes = 256
)

// chunk holds texts one behind the other. What was written once is never written
// over: strings that were returned lie in it. One text that is longer has
// a chunk of its own, longer than the type says.
type chunk [chunkSize]byte

// texts are what the records hold of strings. Writers hold the table's lock.
type texts struct {
	chunks   atomic.Pointer[[]atomic.Pointer[chunk]]
	prefixes atomic.Pointer[[]string]
	_        cachePad

	prefixNumbers map[string]int // of the prefixes
	recentPrefix  int            // the number that was asked for last
	info          []chunkInfo
	freeNumbers   []uint32 // numbers of chunks that are free
	current       uint32
	filled        int // bytes of the current chunk, chunkSize while there is none
	hasCurrent    bool
	size          int // bytes of all chunks
	live          int // bytes of them that records hold
}

type chunkInfo struct {
	size, live int
	sparse     bool // its texts are being moved out
}

// chunk returns where the texts of a text word lie, or nil if that has been
// dropped since the word was read.
func (x *texts) chunk(text uint64) *chunk {
	chunks := x.chunks.Load()
	if number := text >> (placeShift + offsetBits); chunks != nil && number < uint64(len(*chunks)) {
		return (*chunks)[number].Load()
	}
	return nil
}

// decode sets the five strings and the ties of r, which share c's memory. The words
// and c belong together: they come out of one look at an unchanged cell.
func (x *texts) decode(r *storage.Record, text, meta uint64, c *chunk) {
	tok := &r.Token
	at := int(text >> placeShift % chunkSize)
	if meta&long != 0 {
		lengths, form := c[at:at+headerLen], ""
		at += headerLen
		for i, s := range [6]*string{&tok.Prefix, &tok.Subject, &tok.Name, &tok.Scope, &tok.Data, &form} {
			n := int(binary.LittleEndian.Uint32(lengths[4*i:]))
			*s = stringAt(c, at, n)
			at += n
		}
		recordext.Read(form, r)
		return
	}
	recordext.Clear(r)
	tok.Prefix = (*x.prefixes.Load())[text%maxPrefixes]
	n := int(text >> 16 & 0xff)
	tok.Subject = stringAt(c, at, n)
	at += n
	n = int(text >> 8 & 0xff)
	tok.Name = stringAt(c, at, n)
	at += n
	n = int(meta >> scopeBits & (1<<(dataBits-scopeBits) - 1))
	tok.Scope = stringAt(c, at, n)
	tok.Data = stringAt(c, at+n, int(meta>>dataBits))
}

// subject returns what strings sets as the subject.
func (x *texts) subject(text, meta uint64, c *chunk) string {
	if at := int(text >> placeShift % chunkSize); meta&long == 0 { // it comes first
		return stringAt(c, at, int(text>>16&0xff))
	} else {
		prefix, subject := binary.LittleEndian.Uint32(c[at:]), binary.LittleEndian.Uint32(c[at+4:])
		return stringAt(c, at+headerLen+int(prefix), int(subject))
	}
}

// stringAt returns n bytes of c as a string that shares its memory.
func stringAt(c *chunk, at, n int) string {
	if n == 0 {
		return ""
	}
	return unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(c), at)), n)
}

// decodeWords sets what strings does to what w says. Its caller holds the table's lock.
func (x *texts) decodeWords(r *storage.Record, w *words, c *chunk) {
	x.decode(r, w[wText], w[wMeta], c)
}

func sameTexts(a, b *storage.Record) bool {
	return a.Subject == b.Subject && a.Prefix == b.Prefix && a.Name == b.Name && a.Scope == b.Scope && a.Data == b.Data &&
		a.Sealed.Equal(b.Sealed) && a.Family == b.Family && a.Parent == b.Parent && a.MaxUses == b.MaxUses && a.UsesLeft == b.UsesLeft && a.UseGrace == b.UseGrace && a.Epoch == b.Epoch &&
		a.Kind == b.Kind && a.Generation == b.Generation && a.RotatedAt.Equal(b.RotatedAt) && a.PreviousUntil.Equal(b.PreviousUntil)
}

// add copies the texts and ties of r and sets the words that lead to them.
func (x *texts) add(w *words, r *storage.Record) {
	tok, tied := &r.Token, recordext.Len(r)
	n := len(tok.Subject) + len(tok.Name) + len(tok.Scope) + len(tok.Data)
	number, ok := x.prefixNumber(tok.Prefix)
	if !ok || tied > 0 || len(tok.Subject) > 0xff || len(tok.Name) > 0xff ||
		len(tok.Scope) >= 1<<(dataBits-scopeBits) || len(tok.Data) >= 1<<(64-dataBits) {
		place, b := x.alloc(headerLen + len(tok.Prefix) + n + tied)
		b = b[:0]
		for _, n := range [6]int{len(tok.Prefix), len(tok.Subject), len(tok.Name), len(tok.Scope), len(tok.Data), tied} {
			b = binary.LittleEndian.AppendUint32(b, uint32(n))
		}
		recordext.Append(appendTexts(append(b, tok.Prefix...), tok), r)
		w[wText], w[wMeta] = place<<placeShift, long
		return
	}
	place, b := x.alloc(n)
	appendTexts(b[:0], tok)
	w[wText] = place<<placeShift | uint64(len(tok.Subject))<<16 | uint64(len(tok.Name))<<8 | uint64(number)
	w[wMeta] = uint64(len(tok.Scope))<<scopeBits | uint64(len(tok.Data))<<dataBits
}

// appendTexts appends all texts but the prefix to b, which has room for them.
func appendTexts(b []byte, tok *storage.Token) []byte {
	b = append(b, tok.Subject...)
	b = append(b, tok.Name...)
	b = append(b, tok.Scope...)
	return append(b, tok.Data...)
}

// prefixNumber returns the number of a prefix. There are few of them, and those that came
// too late or are too long have none.
func (x *texts) prefixNumber(prefix string) (int, bool) {
	if p := x.prefixes.Load(); p != nil && (*p)[x.recentPrefix] == prefix {
		return x.recentPrefix, true
	}
	n, ok := x.prefixNumbers[prefix]
	if ok {
		x.recentPrefix = n
	}
	if ok || len(x.prefixNumbers) == maxPrefixes || len(prefix) > storage.MaxPrefix {
		return n, ok
	}
	if x.prefixNumbers == nil {
		x.prefixNumbers = make(map[string]int)
	}
	var known []string
	if p := x.prefixes.Load(); p != nil {
		known = *p
	}
	prefix = strings.Clone(prefix)
	x.prefixNumbers[prefix] = len(known)
	grown := append(known, prefix)
	x.prefixes.Store(&grown)
	return len(known), true
}

// alloc returns n bytes that were never used, and their place. The place of 0 bytes means nothing.
func (x *texts) alloc(n int) (place uint64, b []byte) {
	switch {
	case n == 0:
		return 0, nil
	case n > chunkSize:
		big := make([]byte, n)
		number := x.addChunk((*chunk)(big), n)
		x.addLive(number, n)
		return uint64(number) << offsetBits, big
	case !x.hasCurrent || x.filled+n > chunkSize:
		sealed, begun := x.current, x.hasCurrent
		x.current, x.filled, x.hasCurrent = x.addChunk(new(chunk), chunkSize), 0, true
		if begun {
			x.freeIfEmpty(sealed)
		}
	}
	at := x.filled
	x.filled += n
	x.addLive(x.current, n)
	return uint64(x.current)<<offsetBits | uint64(at), (*x.chunks.Load())[x.current].Load()[at : at+n : at+n]
}

// addChunk takes c in and returns its number.
func (x *texts) addChunk(c *chunk, size int) (number uint32) {
	x.size += size
	if n := len(x.freeNumbers); n > 0 {
		number = x.freeNumbers[n-1]
		x.freeNumbers = x.freeNumbers[:n-1]
	} else {
		number = uint32(len(x.info))
		x.info = append(x.info, chunkInfo{})
		x.growList()
	}
	x.info[number] = chunkInfo{size: size}
	(*x.chunks.Load())[number].Store(c)
	return number
}

// growList makes the list of chunks one longer, in place where no reader looks yet.
func (x *texts) growList() {
	var old []atomic.Pointer[chunk]
	if p := x.chunks.Load(); p != nil {
		old = *p
	}
	if n := len(old); n < cap(old) {
		old = old[:n+1]
		x.chunks.Store(&old)
		return
	}
	wider := make([]atomic.Pointer[chunk], len(old)+1, len(old)*5/4+4)
	for i := range old {
		wider[i].Store(old[i].Load())
	}
	x.chunks.Store(&wider)
}

func (x *texts) addLive(number uint32, n int) {
	x.info[number].live += n
	x.live += n
}

// release gives up the texts of w.
func (x *texts) release(w *words) {
	n := x.length(w)
	if n == 0 {
		return
	}
	number := uint32(w[wText] >> (placeShift + offsetBits))
	x.info[number].live -= n
	x.live -= n
	x.freeIfEmpty(number)
}

// length returns how many bytes of a chunk w holds.
func (x *texts) length(w *words) int {
	var r storage.Record
	x.decodeWords(&r, w, x.chunk(w[wText]))
	n := len(r.Subject) + len(r.Name) + len(r.Scope) + len(r.Data)
	if w[wMeta]&long != 0 {
		n += headerLen + len(r.Prefix) + recordext.Len(&r)
	}
	return n
}

// freeIfEmpty lets go of a chunk of which no record holds anything. Readers may
// still hold strings in it.
func (x *texts) freeIfEmpty(number uint32) {
	if x.info[number].live > 0 || x.hasCurrent && number == x.current {
		return
	}
	x.size -= x.info[number].size
	x.info[number] = chunkInfo{}
	(*x.chunks.Load())[number].Store(nil)
	x.freeNumbers = append(x.freeNumbers, number)
}

// garbage returns how many bytes belong to no record.
func (x *texts) garbage() int {
	garbage := x.size - x.live
	if x.hasCurrent {
		garbage -= chunkSize - x.filled
	}
	return garbage
}
