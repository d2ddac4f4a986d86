package model

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/base62"
	"github.com/seed-55daa01a/lapse/storage"
)

// kept is what a record keeps sealed of its secrets.
type kept struct {
	Tagged, Unused, Salted, Obtained bool
	Requested                        bool
	Floor, Before                    uint32
	Previous                         bool // a digest of the previous secret, of a session of the previous refresh secret
	Salt                             string

	RefreshPrefix, AccessScope string
	AccessExpires, AccessUntil time.Time // AccessUntil: zero where there is no previous access secret
	AccessTTL                  time.Duration
	AccessBefore               bool
}

// The stored forms are read here by their offsets, as they are specified, and not by the code
// that wrote them.
const (
	digestLen = 32
	saltLen   = 16

	// Of a plain token whose secret was replaced: "p1", flags, key of the tags, floor, before,
	// first and previous digest, salt.
	plainFlags    = 2
	plainFloor    = plainFlags + 1 + 16
	plainBefore   = plainFloor + 4
	plainPrevious = plainBefore + 4 + digestLen
	plainSalt     = plainPrevious + digestLen
	plainLen      = plainSalt + saltLen

	// Of a session: "s1", two lengths, key of the tags, three times, three digests, salt, texts.
	sessionPrefixLen      = 2
	sessionScopeLen       = sessionPrefixLen + 1
	sessionExpires        = sessionScopeLen + 2 + 16
	sessionTTL            = sessionExpires + 8
	sessionUntil          = sessionTTL + 8
	sessionAccess         = sessionUntil + 8
	sessionPreviousAccess = sessionAccess + digestLen
	sessionPrevious       = sessionPreviousAccess + digestLen
	sessionSalt           = sessionPrevious + digestLen
	sessionTexts          = sessionSalt + saltLen
)

var errForm = errors.New("what the record keeps sealed has no known form")

// keptIn returns what rec keeps sealed, or an error if its form is not a known one.
func keptIn(rec *storage.Record) (kept, error) {
	text := rec.Sealed.Text()
	switch {
	case rec.Kind == lapse.KindSession:
		return keptBySession(text)
	case text == "":
		return kept{}, nil
	case strings.HasPrefix(text, "o1") && len(text) == 2+32:
		return kept{Obtained: true, Salted: true, Salt: text[2:]}, nil
	case strings.HasPrefix(text, "q1") && len(text) == 2+32:
		return kept{Requested: true, Salted: true, Salt: text[2:]}, nil
	case !strings.HasPrefix(text, "p1") || len(text) != plainLen:
		return kept{}, errForm
	}
	salt := text[plainSalt:]
	return kept{
		Tagged: true, Unused: text[plainFlags]&1 != 0, Obtained: text[plainFlags]&2 != 0,
		Salted: !zero(salt), Salt: salt, Previous: !zero(text[plainPrevious:plainSalt]),
		Floor:  binary.BigEndian.Uint32([]byte(text[plainFloor:])),
		Before: binary.BigEndian.Uint32([]byte(text[plainBefore:])),
	}, nil
}

func keptBySession(text string) (kept, error) {
	if len(text) < sessionTexts || !strings.HasPrefix(text, "s1") {
		return kept{}, errForm
	}
	prefixLen, scopeLen := int(text[sessionPrefixLen]), int(binary.BigEndian.Uint16([]byte(text[sessionScopeLen:])))
	if len(text) != sessionTexts+prefixLen+scopeLen {
		return kept{}, errForm
	}
	milli := func(at int) int64 { return int64(binary.BigEndian.Uint64([]byte(text[at:]))) }
	salt := text[sessionSalt:sessionTexts]
	k := kept{
		Salt: salt, Salted: !zero(salt), Previous: !zero(text[sessionPrevious:sessionSalt]),
		RefreshPrefix: text[sessionTexts:][:prefixLen], AccessScope: text[sessionTexts+prefixLen:],
		AccessExpires: time.UnixMilli(milli(sessionExpires)).UTC(),
		AccessTTL:     time.Duration(milli(sessionTTL)) * time.Millisecond,
		AccessBefore:  !zero(text[sessionPreviousAccess:sessionPrevious]),
	}
	if k.AccessBefore {
		k.AccessUntil = time.UnixMilli(milli(sessionUntil)).UTC()
	}
	return k, nil
}

func zero(s string) bool { return strings.Trim(s, "\x00") == "" }

// respell returns text, which has that prefix, with its secret behind another prefix and ID.
// A text that is not well-formed is returned as it is.
func respell(text, prefix, to string, id lapse.ID) string {
	const sum = 6 // digits of the checksum
	body, ok := strings.CutPrefix(text, prefix+"_")
	if !ok || len(body) <= sum {
		return text
	}
	begin := len(text) - sum
	want, ok := base62.Decode32(text[begin:])
	if !ok || crc32.ChecksumIEEE([]byte(text[:begin])) != want {
		return text
	}
	var c [48]byte
	if len(body) != len(base62.Append(nil, c[:]))+sum || !base62.Decode(c[:], body) {
		return text
	}
	copy(c[:], id[:])
	b := base62.Append([]byte(to+"_"), c[:])
	return string(base62.Append32(b, crc32.ChecksumIEEE(b)))
}

// replaceFloor has rec let connections by every older secret be held.
func replaceFloor(rec *storage.Record) {
	if text := rec.Sealed.Text(); strings.HasPrefix(text, "p1") {
		overwrite(rec, plainFloor, "\x00\x00\x00\x00")
	}
}

// keepAccess has the access secret of old work in r, which replaces old, until then.
func keepAccess(old, r *storage.Record, until time.Time) {
	if was := old.Sealed.Text(); len(was) >= sessionTexts && len(r.Sealed.Text()) >= sessionTexts {
		overwrite(r, sessionPreviousAccess, was[sessionAccess:sessionPreviousAccess])
		overwrite(r, sessionUntil, string(binary.BigEndian.AppendUint64(nil, uint64(until.UnixMilli()))))
	}
}

// forgetAccess takes the access secret from the session r.
func forgetAccess(r *storage.Record) {
	if len(r.Sealed.Text()) >= sessionTexts {
		overwrite(r, sessionAccess, strings.Repeat("\x00", digestLen))
	}
}

// overwrite replaces part of what rec keeps sealed.
func overwrite(rec *storage.Record, at int, part string) {
	text := rec.Sealed.Text()
	rec.Sealed = storage.NewSealed(text[:at] + part + text[at+len(part):])
}
