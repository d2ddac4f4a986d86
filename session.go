package lapse

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// session is what the record of a session keeps sealed: a label with a version, then
// these, instants and durations in milliseconds, big-endian.
//
//	1   length of the prefix of refresh texts
//	2   length of the scope of the access secret
//	16  key of the tags
//	8   when the access secret runs out
//	8   how long an access secret lives
//	8   until when the previous access secret works
//	32  digest of the access secret
//	32  digest of the previous access secret
//	32  digest of the previous refresh secret
//	16  salt that the current secrets were derived with
//	…   the prefix of refresh texts
//	…   the scope of the access secret
//
// Zeros stand for no digest and for no salt. A session is read where it lies, since
// every check of an access text reads one.
type session string

const (
	sessionLabel = "s1"

	atPrefixLen      = len(sessionLabel)
	atScopeLen       = atPrefixLen + 1
	atKey            = atScopeLen + 2
	atAccessExpires  = atKey + len(bearer.TagKey{})
	atAccessTTL      = atAccessExpires + 8
	atPreviousUntil  = atAccessTTL + 8
	atAccess         = atPreviousUntil + 8
	atPreviousAccess = atAccess + sha256.Size
	atPrevious       = atPreviousAccess + sha256.Size
	atSalt           = atPrevious + sha256.Size
	atTexts          = atSalt + bearer.SaltLen
)

// sessionOf returns what rec keeps sealed, and whether that is the form of a session.
func sessionOf(rec *storage.Record) (session, bool) {
	text := rec.Sealed.Text()
	if len(text) < atTexts || text[:len(sessionLabel)] != sessionLabel {
		return "", false
	}
	if len(text) != atTexts+int(text[atPrefixLen])+int(text[atScopeLen])<<8+int(text[atScopeLen+1]) {
		return "", false
	}
	return session(text), true
}

func (s session) refreshPrefix() string    { return string(s[atTexts:][:s[atPrefixLen]]) }
func (s session) accessScope() string      { return string(s[atTexts+int(s[atPrefixLen]):]) }
func (s session) key() (k bearer.TagKey)   { copy(k[:], s[atKey:]); return k }
func (s session) salt() string             { return string(s[atSalt:atTexts]) }
func (s session) accessExpires() time.Time { return instantAt(s[atAccessExpires:]) }
func (s session) previousUntil() time.Time { return instantAt(s[atPreviousUntil:]) }
func (s session) accessTTL() time.Duration {
	return time.Duration(int64At(s[atAccessTTL:])) * time.Millisecond
}
func (s session) access() string          { return string(s[atAccess:atPreviousAccess]) }
func (s session) previousAccess() string  { return string(s[atPreviousAccess:atPrevious]) }
func (s session) previousRefresh() string { return string(s[atPrevious:atSalt]) }

func int64At(s session) int64 {
	_ = s[7] // one load, and not eight
	return int64(s[0])<<56 | int64(s[1])<<48 | int64(s[2])<<40 | int64(s[3])<<32 |
		int64(s[4])<<24 | int64(s[5])<<16 | int64(s[6])<<8 | int64(s[7])
}

func instantAt(s session) time.Time { return time.UnixMilli(int64At(s)).UTC() }

// sessionParts are the parts of a session that is written.
type sessionParts struct {
	refreshPrefix, accessScope string
	key                        bearer.TagKey
	accessExpires              time.Time
	accessTTL                  time.Duration
	access                     [sha256.Size]byte

	previousUntil                   time.Time // of the access secret
	previousAccess, previousRefresh string    // digests; "" for none
	salt                            []byte    // nil for none
}

// seal returns the form of p.
func (p *sessionParts) seal() storage.Sealed {
	var fixed [atTexts]byte
	copy(fixed[:], sessionLabel)
	fixed[atPrefixLen] = byte(len(p.refreshPrefix))
	binary.BigEndian.PutUint16(fixed[atScopeLen:], uint16(len(p.accessScope)))
	copy(fixed[atKey:], p.key[:])
	binary.BigEndian.PutUint64(fixed[atAccessExpires:], uint64(p.accessExpires.UnixMilli()))
	binary.BigEndian.PutUint64(fixed[atAccessTTL:], uint64(p.accessTTL.Milliseconds()))
	binary.BigEndian.PutUint64(fixed[atPreviousUntil:], uint64(p.previousUntil.UnixMilli()))
	copy(fixed[atAccess:], p.access[:])
	copy(fixed[atPreviousAccess:], p.previousAccess)
	copy(fixed[atPrevious:], p.previousRefresh)
	copy(fixed[atSalt:], p.salt)
	var b strings.Builder
	b.Grow(len(fixed) + len(p.refreshPrefix) + len(p.accessScope))
	b.Write(fixed[:])
	b.WriteString(p.refreshPrefix)
	b.WriteString(p.accessScope)
	return storage.NewSealed(b.String())
}

// sessionRules are what Pairs and their Managers know of sessions that they made.
type sessionRules struct {
	policy  Policy // of PairConfig.Refresh
	access  string // the prefixes
	refresh string
}

// made reports whether rec is of a session made by Pairs with these prefixes.
func (s *sessionRules) made(rec *storage.Record) bool {
	if s == nil || rec.Kind != KindSession || rec.Prefix != s.access {
		return false
	}
	kept, ok := sessionOf(rec)
	return ok && kept.refreshPrefix() == s.refresh
}

// refreshes reports whether the refresh texts of rec, a session, have the prefix of s. A
// session that cannot be read may be one.
func (s *sessionRules) refreshes(rec *storage.Record) bool {
	kept, ok := sessionOf(rec)
	return !ok || kept.refreshPrefix() == s.refresh
}
