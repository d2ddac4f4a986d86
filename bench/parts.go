package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"time"
	"unsafe"
)

var (
	errNothing = errors.New("it answered without a subject")
	errParts   = errors.New("the bare parts do not work")
)

// parts are the operations that every check and every issue of such a token needs, and
// nothing more: they parse no text, ask no policy, and serve one caller.
type parts struct {
	digits  *digitTable
	tokens  map[[16]byte]*bareToken
	checks  []uint32 // the checksum of each text
	bearers texts
}

// bareToken is the least that a store needs of a token: its digest, its expiry and its
// subject.
type bareToken struct {
	sum     [32]byte
	expires int64 // Unix milliseconds
	subject string
}

func (w *world) parts(n int) (*parts, error) {
	return once(w, fmt.Sprintf("bare parts, %s tokens", grouped(n)), func() (*parts, error) {
		k, err := w.memory(n)
		if err != nil {
			return nil, err
		}
		p := &parts{newDigitTable(), make(map[[16]byte]*bareToken, n), make([]uint32, n), k.bearers}
		expires, names := time.Now().Add(longLife).UnixMilli(), w.subjects()
		for i := range n {
			var c [48]byte
			if !p.digits.decode48(&c, p.text(i)) {
				return nil, errParts
			}
			p.tokens[[16]byte(c[:16])] = &bareToken{sha256.Sum256(c[:]), expires, names.at(i)}
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
	kept := p.tokens[[16]byte(c[:16])]
	sum := sha256.Sum256(c[:])
	if !ok || kept == nil || subtle.ConstantTimeCompare(sum[:], kept.sum[:]) != 1 || kept.subject == "" || time.Now().UnixMilli() >= kept.expires {
		return errParts
	}
	return nil
}

// issuer issues into the bare parts of a store.
type issuer struct {
	digits   *digitTable
	tokens   map[[16]byte]*bareToken
	subjects texts
	text     string // the last one, so that it is made
}

// issuer returns one that begins with what p has, which stays as it is.
func (p *parts) issuer(subjects texts) *issuer {
	return &issuer{digits: p.digits, tokens: maps.Clone(p.tokens), subjects: subjects}
}

// issue draws 48 bytes, hashes them, writes their text and its checksum, reads the clock
// and inserts into a map.
func (s *issuer) issue(i int) error {
	var c [48]byte
	if _, err := rand.Read(c[:]); err != nil {
		return err
	}
	const start = len("lapse_")
	text := append(make([]byte, 0, start+72), "lapse_"...)[:start+72]
	s.digits.encode48((*[66]byte)(text[start:]), &c)
	s.digits.encode4((*[6]byte)(text[start+66:]), crc32.ChecksumIEEE(text[:start+66]))
	s.text = unsafe.String(&text[0], len(text)) // a conversion would copy it
	s.tokens[[16]byte(c[:16])] = &bareToken{sha256.Sum256(c[:]), time.Now().Add(longLife).UnixMilli(), s.subjects.at(i)}
	return nil
}
