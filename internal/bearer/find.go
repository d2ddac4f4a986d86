package bearer

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"unsafe"

	"github.com/seed-55daa01a/lapse/internal/base62"
	"github.com/seed-55daa01a/lapse/storage"
)

// Found is a bearer text that Find has found.
type Found struct {
	Prefix string
	ID     storage.ID
	Offset int64 // of the first byte of the text; the first byte of the input has 0
	Line   int64 // the first line is 1
	Column int64 // in bytes; the first byte of a line has 1
	Bearer string
}

// The finder reads into a window of windowLen bytes. Of what it has searched it keeps the longest
// text, without the last byte.
const windowLen = 64 << 10

// maxEmpty is after how many reads without a byte the finder gives up, as package bufio does.
const maxEmpty = 100

// ErrReader is the error of Find for a reader that breaks the contract of io.Reader.
var ErrReader = errors.New("lapse: the reader says that it read more bytes than it was asked for; correct its Read")

// Find returns the bearer texts in r, in their order. An error of r other than io.EOF comes last. A
// text ends where a run of letters, digits and underscores ends. So a run has one text at most. The
// prefix is the longest one for which the checksum is right.
func Find(r io.Reader) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		f := finder{r: r, window: make([]byte, 0, windowLen), line: 1}
		var err error
		for err == nil {
			err = f.fill()
			for f.next(err != nil) {
				if found, ok := f.parse(); ok && !yield(found, nil) {
					return
				}
				f.under += 1 + BodyLen
			}
		}
		if err != io.EOF {
			yield(Found{}, err)
		}
	}
}

// finder searches r for an underscore with a body behind it: a run of BodyLen digits of base62.
type finder struct {
	r      io.Reader
	window []byte
	under  int // where in window the next such underscore may stand

	offset  int64 // of the first byte of window
	counted int   // the part of window whose lines are counted
	line    int64 // of the byte behind that part
	begins  int64 // the offset of that line
}

// fill drops what no text can contain any more, and reads at least a byte or returns an error.
func (f *finder) fill() error {
	drop := max(0, f.under-storage.MaxPrefix)
	f.count(drop)
	f.window = f.window[:copy(f.window, f.window[drop:])]
	f.offset, f.under, f.counted = f.offset+int64(drop), f.under-drop, 0
	for range maxEmpty {
		free := f.window[len(f.window):cap(f.window)]
		n, err := f.r.Read(free)
		if n < 0 || n > len(free) {
			return ErrReader
		}
		f.window = f.window[:len(f.window)+n]
		if n > 0 || err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// next moves f.under to the next underscore with exactly BodyLen digits and no other underscore
// behind it. It returns false if it needs more bytes. last says that there are no more.
//
// next looks at the last bytes behind an underscore first, and goes on from the last one that is no
// digit. Input that is full of underscores is searched 9 times as fast as with a search that begins
// at the first byte behind each (BenchmarkFind/names).
func (f *finder) next(last bool) bool {
	for f.under+1+BodyLen <= len(f.window) {
		at := bytes.IndexByte(f.window[f.under:len(f.window)-BodyLen], '_')
		if at < 0 {
			f.under = len(f.window) - BodyLen
			break
		}
		f.under += at
		end := f.under + 1 + BodyLen
		switch other := lastOther(f.window[f.under+1 : end]); {
		case other >= 0:
			f.under += 1 + other
		case end < len(f.window) && (f.window[end] == '_' || base62.IsDigit(f.window[end])):
			f.under = end
		default:
			return last || end < len(f.window)
		}
	}
	return false
}

// lastOther returns the index of the last byte of b that is no digit of base62, or -1.
func lastOther(b []byte) int {
	i := len(b) - 1
	for i >= 0 && base62.IsDigit(b[i]) {
		i--
	}
	return i
}

// parse returns the text with that underscore, if the checksum is right for some prefix.
func (f *finder) parse() (found Found, ok bool) {
	under, end := f.under, f.under+1+BodyLen
	var c Credential
	for start := max(0, under-storage.MaxPrefix); start < under; start++ {
		text := f.window[start:end]
		if _, ok = c.Parse(unsafe.String(&text[0], len(text)), ""); !ok {
			continue
		}
		f.count(start)
		found.Bearer = string(text)
		found.Prefix, found.ID = found.Bearer[:under-start], c.ID()
		found.Offset, found.Line = f.offset+int64(start), f.line
		found.Column = found.Offset - f.begins + 1
		return found, true
	}
	return found, false
}

// count counts the lines of window before the byte at upTo. No later upTo is smaller.
func (f *finder) count(upTo int) {
	part := f.window[f.counted:upTo]
	if n := bytes.Count(part, []byte{'\n'}); n > 0 {
		f.line += int64(n)
		f.begins = f.offset + int64(f.counted+bytes.LastIndexByte(part, '\n')+1)
	}
	f.counted = upTo
}
