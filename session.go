package lapse

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// session is the text of Record.Sealed of a session: a label with a version, then these fields.
// Instants and durations are in milliseconds, numbers are big-endian.
//
//	1   length of the prefix of refresh texts
//	2   length of the scope of the access secret
//	16  key of the tags
//	8   the instant when the access secret runs out
//	8   how long an access secret lives
//	8   the instant when the previous access secret ends
//	32  digest of the access secret
//	32  digest of the previous access secret
//	32  digest of the previous refresh secret
//	16  salt that the current secrets were derived with
//	…   the prefix of refresh texts
//	…   the scope of the access secret
//
// Zeros stand for no digest and for no salt. The fields are read in place, without a copy, since
// every check of an access text reads some.
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

// sessionOf returns what rec keeps sealed. ok is false unless that has the form of a session.
func sessionOf(rec *storage.Record) (s session, ok bool) {
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

// hasTexts reports whether any texts of the session have been made. None of a session that was approved
// for a device are, until the device gets them.
func (s session) hasTexts() bool { return s.access() != string(make([]byte, sha256.Size)) }

func int64At(s session) int64 {
	_ = s[7] // so that the compiler reads all eight bytes with one load
	return int64(s[0])<<56 | int64(s[1])<<48 | int64(s[2])<<40 | int64(s[3])<<32 |
		int64(s[4])<<24 | int64(s[5])<<16 | int64(s[6])<<8 | int64(s[7])
}

func instantAt(s session) time.Time { return time.UnixMilli(int64At(s)).UTC() }

// sessionParts are the fields of a session that is to be written.
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

// seal returns p in the form that a record keeps.
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

// withAccessScope returns s with another scope of the access secret, in the form that a record keeps.
func (s session) withAccessScope(scope string) storage.Sealed {
	b := []byte(s[:len(s)-len(s.accessScope())])
	binary.BigEndian.PutUint16(b[atScopeLen:], uint16(len(scope)))
	return storage.NewSealed(string(append(b, scope...)))
}

// sessionRules are what Pairs and their two Managers share about the sessions that they made.
type sessionRules struct {
	policy  Policy // of PairConfig.Refresh
	access  string // the prefixes
	refresh string
}

// made reports whether rec is of a session made by Pairs with these prefixes. It is false on a
// nil s.
func (s *sessionRules) made(rec *storage.Record) bool {
	if s == nil || rec.Kind != KindSession || rec.Prefix != s.access {
		return false
	}
	kept, ok := sessionOf(rec)
	return ok && kept.refreshPrefix() == s.refresh
}

// refreshes reports whether the refresh texts of rec, a session, have the prefix of s. It is
// true for a session that cannot be read, since that may be one.
func (s *sessionRules) refreshes(rec *storage.Record) bool {
	kept, ok := sessionOf(rec)
	return !ok || kept.refreshPrefix() == s.refresh
}

// sessionDraft is a session between Pairs.Issue and its transaction.
type sessionDraft struct {
	p     *Pairs
	grant Grant
	until time.Time // the session has no texts, and ends then unless a device collects it; zero: an ordinary session

	// The key, the ID and the secrets are drawn before the transaction.
	key             bearer.TagKey
	access, refresh bearer.Credential

	actor Actor  // of the context of Issue
	epoch uint32 // of the transaction
	rec   storage.Record
	room  tokenLimit
}

// save draws the random parts and stores the session. The epoch of the record is still the
// current one when save returns without an error.
func (l *sessionDraft) save(ctx context.Context, verb *call) error {
	l.actor = actorOf(ctx)
	return l.p.refresh.retryOnNewEpoch(ctx, verb, &l.room.evicted, func() (uint32, error) {
		err := l.attempt(ctx, verb.Verb)
		return l.epoch, err
	})
}

// attempt draws the random parts and runs the transaction, again while the ID is taken.
func (l *sessionDraft) attempt(ctx context.Context, verb Verb) (err error) {
	for range mintAttempts {
		if err = l.draw(l.p.refresh.now()); err != nil {
			return err
		}
		err = updateError(verb, l.p.refresh.store.Update(ctx, l.grant.Subject, l.store))
		if !errors.Is(err, ErrConflict) || errors.Is(err, ErrOutcomeUnknown) {
			break
		}
	}
	return err
}

// draw draws the ID, the key and both secrets of a session that begins at now. The error is
// bearer.ErrNoRandomness.
func (l *sessionDraft) draw(now time.Time) error {
	if err := l.refresh.Mint(now, l.grant.Subject); err != nil {
		return err
	}
	var b [len(bearer.TagKey{}) + 2*bearer.RandomLen]byte
	if err := bearer.Draw(b[:]); err != nil {
		return err
	}
	n := copy(l.key[:], b[:])
	copy(l.access[:], l.refresh[:bearer.IDLen])
	l.refresh.SetTagged(&l.key, l.p.refresh.binding, bearer.RefreshSecret, 0, b[n:])
	l.access.SetTagged(&l.key, l.p.access.binding, bearer.AccessSecret, 0, b[n+bearer.RandomLen:])
	return nil
}

// store is the transaction.
func (l *sessionDraft) store(tx storage.Tx) error {
	now, epoch := l.p.refresh.stamp()
	l.epoch = epoch
	return l.p.refresh.checkEpoch(epoch, l.put(tx, now))
}

// put puts the session. If the subject is at its limit, it makes room or returns ErrLimit.
func (l *sessionDraft) put(tx storage.Tx, now time.Time) error {
	p := l.p
	l.room = tokenLimit{m: p.access, policy: &p.rules.policy, kind: KindSession, prefix: p.access.prefix, rules: p.rules, actor: l.actor}
	l.makeRecord(now, l.epoch)
	if f, ok := tx.(storage.Fitter); ok && f.PutIfFits(&l.rec, p.rules.policy.MaxTokens-1, now) {
		return nil
	}
	if _, err := getIn(tx, l.rec.ID); err == nil {
		return errTakenID
	} else if err != errGone {
		return err
	}
	if err := l.room.makeRoom(tx, now); err != nil {
		return err
	}
	return putIn(tx, &l.rec)
}

// makeRecord sets rec to the record of a session that begins at now.
func (l *sessionDraft) makeRecord(now time.Time, epoch uint32) {
	p, g := l.p, l.grant
	ttl := g.ttl(&p.access.policy)
	g.TTL, g.SessionTTL = g.SessionTTL, 0
	g.record(&l.rec, &p.rules.policy, p.access.prefix, now)
	l.rec.ID, l.rec.Kind, l.rec.Epoch = l.refresh.ID(), KindSession, epoch
	l.rec.Digest = l.refresh.Digest(p.refresh.binding)
	kept := sessionParts{
		refreshPrefix: p.refresh.prefix,
		accessScope:   g.Scope,
		key:           l.key,
		accessExpires: capped(steady.Add(now, ttl), l.rec.ExpiresAt),
		accessTTL:     ttl,
		access:        l.access.Sum(p.access.binding),
	}
	if !l.until.IsZero() {
		kept.access = [sha256.Size]byte{}
		l.rec.ExpiresAt = capped(l.rec.ExpiresAt, l.until)
	}
	l.rec.Sealed = kept.seal()
}

// narrowScope returns those words of tok's scope that are in asked, in the order of that scope,
// or all of them if asked has no word. For a word that tok lacks it returns a *ScopeError as well.
func narrowScope(tok *Token, asked []string) (string, error) {
	length := -1
	for _, scope := range asked {
		if scope != "" {
			length += len(scope) + len(" ")
		}
	}
	if length > storage.MaxScope {
		return "", &ScopeError{Limit: fmt.Sprintf("%d bytes are asked for; none has more than %d", length, storage.MaxScope)}
	}
	var want []string
	for _, scope := range asked {
		want = append(want, words(scope)...)
	}
	if len(want) == 0 {
		return tok.Scope, nil
	}
	return commonWords(tok.Scope, strings.Join(want, " ")), Require(*tok, want...)
}
