package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
	"unsafe"
)

var (
	errNothing = errors.New("it answered without a subject")
	errParts   = errors.New("the bare parts do not work")
)

// parts are what no check and no issue of such a token can do without, and nothing
// more: no text is parsed, no policy asked, nobody else let in.
type parts struct {
	digits  *digitTable
	sums    map[[16]byte]*[32]byte
	checks  []uint32 // the checksum of each text
	bearers texts
	expires time.Time
}

func (w *world) parts(n int) (*parts, error) {
	return once(w, fmt.Sprintf("bare parts, %s tokens", grouped(n)), func() (*parts, error) {
		k, err := w.memory(n)
		if err != nil {
			return nil, err
		}
		p := &parts{newDigitTable(), make(map[[16]byte]*[32]byte, n), make([]uint32, n), k.bearers, time.Now().Add(longLife)}
		for i := range n {
			var c [48]byte
			if !p.digits.decode48(&c, p.text(i)) {
				return nil, errParts
			}
			sum := sha256.Sum256(c[:])
			p.sums[[16]byte(c[:16])] = &sum
			p.checks[i] = p.checksum(i)
		}
		return p, nil
	})
}

// text returns the digits of a bearer: what lies between its prefix and its checksum.
func (p *parts) text(i int) string {
	bearer := p.bearers.at(i)
	return bearer[len(bearer)-72 : len(bearer)-6]
}

// checksum returns the CRC-32 that ends a bearer, of all that is before it.
func (p *parts) checksum(i int) uint32 {
	bearer := p.bearers.at(i)
	return crc32.ChecksumIEEE(unsafe.Slice(unsafe.StringData(bearer), len(bearer)-6))
}

// check computes the checksum of the text, decodes 48 bytes, looks up in a map,
// hashes once, compares and reads the clock.
func (p *parts) check(i int) error {
	var c [48]byte
	ok := p.checksum(i) == p.checks[i%len(p.checks)] && p.digits.decode48(&c, p.text(i))
	want := p.sums[[16]byte(c[:16])]
	sum := sha256.Sum256(c[:])
	if !ok || want == nil || subtle.ConstantTimeCompare(sum[:], want[:]) != 1 || !time.Now().Before(p.expires) {
		return errParts
	}
	return nil
}

// issued is where issue leaves what it made, so that it is made.
type issued struct {
	parts *parts
	text  string
	at    time.Time
}

// issue draws 48 bytes, hashes them, writes their text, reads the clock and inserts
// into a map.
func (s *issued) issue(int) error {
	var c [48]byte
	if _, err := rand.Read(c[:]); err != nil {
		return err
	}
	sum := sha256.Sum256(c[:])
	var text [66]byte
	s.parts.digits.encode48(&text, &c)
	s.text, s.at = string(text[:]), time.Now()
	s.parts.sums[[16]byte(c[:16])] = &sum
	return nil
}
