package table

import (
	"encoding/binary"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/seed-55daa01a/lapse/internal/recordext"
	"github.com/seed-55daa01a/lapse/storage"
)

// A text word holds the place of a record's texts in 40 bits, the lengths of subject and name in 8
// bits each, and the number of the prefix in 8 bits. A place is the number of a chunk and an offset
// in it.
const (
	offsetBits = 16
	chunkSize  = 1 << offsetBits
	placeShift = 24

	// A record has the long form if a length does not fit into its cell, if its prefix has no
	// number, or if it has an extension (package recordext). The long form begins with a header
	// of six lengths, and contains the prefix and the extension.
	headerLen   = 6 * 4
	maxPrefixes = 256
)

// chunk holds texts one behind the other. No byte of a text is ever written twice, because strings
// that were returned share the memory. A text that is longer than a chunk has a chunk of its own,
// which is longer than the type says.
type chunk [chunkSize]byte

// texts hold the strings of the records. Writers hold the table's lock.
type texts struct {
	chunks   atomic.Pointer[[]atomic.Pointer[chunk]]
	prefixes atomic.Pointer[[]string]
	_        cachePad

	prefixNumbers map[string]int // the number of each prefix
	recentPrefix  int            // the number that was looked up last
	info          []chunkInfo
	freeNumbers   []uint32 // numbers without a chunk, to be used again
	current       uint32
	filled        int // bytes of the current chunk that are taken
	hasCurrent    bool
	size          int // bytes of all chunks
	live          int // bytes of chunks that belong to records
}

type chunkInfo struct {
	size, live int
	sparse     bool // the compaction moves its texts out
}

// chunk returns the chunk of a text word, or nil if it was freed since the word was read.
func (x *texts) chunk(text uint64) *chunk {
	chunks := x.chunks.Load()
	if number := text >> (placeShift + offsetBits); chunks != nil && number < uint64(len(*chunks)) {
		return (*chunks)[number].Load()
	}
	return nil
}

// decode sets the five strings of r and the fields of its extension. The strings share the memory
// of c. The caller has read the words and c from a cell that did not change meanwhile.
func (x *texts) decode(r *storage.Record, text, meta uint64, c *chunk) {
	tok := &r.Token
	at := int(text >> placeShift % chunkSize)
	if meta&long != 0 {
		lengths := (*[headerLen]byte)(c[at:])
		next := at + headerLen
		text := func(i int) string {
			n := int(binary.LittleEndian.Uint32(lengths[4*i:]))
			next += n
			return stringAt(c, next-n, n)
		}
		tok.Prefix, tok.Subject, tok.Name, tok.Scope, tok.Data = text(0), text(1), text(2), text(3), text(4)
		recordext.Read(text(5), r)
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

// subject returns the string that decode sets as the subject.
func (x *texts) subject(text, meta uint64, c *chunk) string {
	if at := int(text >> placeShift % chunkSize); meta&long == 0 { // the short form begins with the subject
		return stringAt(c, at, int(text>>16&0xff))
	} else {
		prefix, subject := binary.LittleEndian.Uint32(c[at:]), binary.LittleEndian.Uint32(c[at+4:])
		return stringAt(c, at+headerLen+int(prefix), int(subject))
	}
}

// stringAt returns n bytes of c as a string that shares the memory of c.
func stringAt(c *chunk, at, n int) string {
	if n == 0 {
		return ""
	}
	return unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(c), at)), n)
}

// decodeWords is decode for the words of a cell. The caller holds the table's lock.
func (x *texts) decodeWords(r *storage.Record, w *words, c *chunk) {
	x.decode(r, w[wText], w[wMeta], c)
}

// sameTexts reports whether a and b have the same strings and the same extension.
func sameTexts(a, b *storage.Record) bool {
	return a.Subject == b.Subject && a.Prefix == b.Prefix && a.Name == b.Name && a.Scope == b.Scope && a.Data == b.Data &&
		a.Sealed.Equal(b.Sealed) && a.Family == b.Family && a.Parent == b.Parent && a.MaxUses == b.MaxUses && a.UsesLeft == b.UsesLeft && a.UseGrace == b.UseGrace && a.Epoch == b.Epoch &&
		a.Kind == b.Kind && a.Generation == b.Generation && a.RotatedAt.Equal(b.RotatedAt) && a.PreviousUntil.Equal(b.PreviousUntil) &&
		a.AuthenticatedAt.Equal(b.AuthenticatedAt) && a.Thumbprint == b.Thumbprint && a.EndedBy == b.EndedBy && a.EndNote == b.EndNote &&
		a.SuspendedAt.Equal(b.SuspendedAt) && a.CapEdited == b.CapEdited && a.Client == b.Client
}

// add copies the strings and the extension of r, and sets the words of w that lead to them.
func (x *texts) add(w *words, r *storage.Record) {
	tok, ext := &r.Token, recordext.Len(r)
	n := len(tok.Subject) + len(tok.Name) + len(tok.Scope) + len(tok.Data)
	number, ok := x.prefixNumber(tok.Prefix)
	if !ok || ext > 0 || len(tok.Subject) > 0xff || len(tok.Name) > 0xff ||
		len(tok.Scope) >= 1<<(dataBits-scopeBits) || len(tok.Data) >= 1<<(64-dataBits) {
		place, b := x.alloc(headerLen + len(tok.Prefix) + n + ext)
		b = b[:0]
		for _, n := range [6]int{len(tok.Prefix), len(tok.Subject), len(tok.Name), len(tok.Scope), len(tok.Data), ext} {
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

// appendTexts appends all strings except the prefix to b, which has the capacity for them.
func appendTexts(b []byte, tok *storage.Token) []byte {
	b = append(b, tok.Subject...)
	b = append(b, tok.Name...)
	b = append(b, tok.Scope...)
	return append(b, tok.Data...)
}

// prefixNumber returns the number of a prefix, and gives it one if it has none. Programs use few
// prefixes. It returns false for a prefix that is too long, and for a new one once maxPrefixes have
// numbers.
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
		full, had := x.current, x.hasCurrent
		x.current, x.filled, x.hasCurrent = x.addChunk(new(chunk), chunkSize), 0, true
		if had {
			x.freeIfEmpty(full)
		}
	}
	at := x.filled
	x.filled += n
	x.addLive(x.current, n)
	return uint64(x.current)<<offsetBits | uint64(at), (*x.chunks.Load())[x.current].Load()[at : at+n : at+n]
}

// addChunk adds c to the chunks and returns its number.
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

// growList makes the list of chunks longer by one. It appends in place where there is capacity,
// because readers see the old length only.
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

// addLive counts n more bytes of the chunk as live.
func (x *texts) addLive(number uint32, n int) {
	x.info[number].live += n
	x.live += n
}

// release counts the texts of w as garbage, and frees their chunk if it was the last live text
// there.
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

// length returns how many bytes of a chunk the texts of w take.
func (x *texts) length(w *words) int {
	var r storage.Record
	x.decodeWords(&r, w, x.chunk(w[wText]))
	n := len(r.Subject) + len(r.Name) + len(r.Scope) + len(r.Data)
	if w[wMeta]&long != 0 {
		n += headerLen + len(r.Prefix) + recordext.Len(&r)
	}
	return n
}

// freeIfEmpty frees a chunk without live texts, unless it is the current one. Readers may still
// hold strings in it.
func (x *texts) freeIfEmpty(number uint32) {
	if x.info[number].live > 0 || x.hasCurrent && number == x.current {
		return
	}
	x.size -= x.info[number].size
	x.info[number] = chunkInfo{}
	(*x.chunks.Load())[number].Store(nil)
	x.freeNumbers = append(x.freeNumbers, number)
}

// garbage returns how many bytes of the chunks belong to no record.
func (x *texts) garbage() int {
	garbage := x.size - x.live
	if x.hasCurrent {
		garbage -= chunkSize - x.filled
	}
	return garbage
}
