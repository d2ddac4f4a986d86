package lapse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Foreign is a token of another system, as Import takes it and as Config.Foreign returns it for
// the text of the token. Any number of texts may have one Digest; each Key names one token.
type Foreign struct {
	// Key is the name by which the other system looks up the token: 1 to 255 bytes. Only a hash of
	// it is stored.
	Key string

	// Digest is what the other system stores to verify the text: a fast hash of it, of 1 to 255
	// bytes. Only SHA-256 of it is stored. Where the other system stores the text itself, hash that.
	Digest []byte
}

// The limits of a Foreign, in bytes.
const (
	maxForeignKey    = 255
	maxForeignDigest = 255
)

// importedLife is how long an imported token lives at most until a rotation, and how long its alias is
// valid.
const importedLife = 10 * 365 * 24 * time.Hour

// Import stores a token for g whose text another system has issued: the text for which
// Config.Foreign returns f. The token has an ID of its own, and every verb takes the foreign text
// for it. Rotate gives it a text of lapse. Token and text are durable before Import returns.
//
// The life of g begins now: Grant.TTL is what the token has left. Without a MaxTTL of the policy
// the cap is ten years from now, until Rotate or RotateID lifts it. MaxTokens and AtLimit count the
// token as one of Issue, and Admit is not asked.
//
// Import may be repeated: the same Key, Digest and subject give the token as it is then, dead or
// alive, and g changes nothing. If the token is dead and swept, the error is ErrNotFound. That
// holds for ten years from the first Import, so that no Import undoes a log-out. ForgetSubject
// ends that time, and so does a new epoch of the clock, until Sweep deletes the token, if that has
// only been used.
//
// Other errors are ErrInvalidConfig without Config.Foreign, and those of Issue. The Field of a
// *GrantError is "Key" or "Digest" for a limit of Foreign; "Digest" or "Subject" for another digest
// or subject under the Key; and "MinLeft", "SessionTTL" or "RequestID" for a field that Import
// does not take. After ErrOutcomeUnknown call Import again.
func (m *Manager) Import(ctx context.Context, g Grant, f Foreign) (tok Token, err error) {
	verb := m.begin(VerbImport, &err)
	defer m.finish(ctx, &verb, &err)
	if err := m.checkImport(&g, &f); err != nil {
		return Token{}, err
	}
	a := aliased{draft: draft{m: m, grant: g}, id: bearer.ForeignAlias(m.prefix, f.Key), madeFor: bearer.ForeignSum(m.prefix, f.Digest)}
	a.errOther = invalidGrant("Digest", "another one was imported under the key; take the key out, or leave it as it is")
	if err := a.draft.transact(ctx, &verb, a.findOrPut(a.judgeImported, a.putImported)); err != nil {
		return Token{}, m.importError(ctx, &a, err)
	}
	if a.existing {
		tok = m.token(&a.rec)
		m.repeated(ctx, &verb, a.draft.now, &tok)
		return tok, nil
	}
	tok = m.token(&a.draft.rec)
	m.tellEnded(ctx, &verb, a.draft.evicted)
	m.tell(ctx, &verb, Event{Kind: EventImported, At: tok.IssuedAt, Token: tok})
	return tok, nil
}

// checkImport returns ErrInvalidConfig if m reads no foreign texts, or ErrInvalidGrant with the
// first field of g or f that is out of its limits.
func (m *Manager) checkImport(g *Grant, f *Foreign) error {
	switch {
	case m.foreign == nil:
		return fmt.Errorf("%w: Foreign: it is nil, so that no text of the token could be read; set it to import", ErrInvalidConfig)
	case g.RequestID != "":
		return errRequestID("Import")
	case len(f.Key) == 0 || len(f.Key) > maxForeignKey:
		return invalidGrant("Key", "%d bytes are not 1 to %d", len(f.Key), maxForeignKey)
	case len(f.Digest) == 0 || len(f.Digest) > maxForeignDigest:
		return invalidGrant("Digest", "%d bytes are not 1 to %d", len(f.Digest), maxForeignDigest)
	}
	return g.check(&m.policy)
}

// errImportedBefore is the error of an Import whose token was swept.
var errImportedBefore = decide(fmt.Errorf("lapse: %s: %w: the token was imported before, is dead and was swept; issue a new one", VerbImport, ErrNotFound))

// judgeImported returns an error if the token that was imported before was swept.
func (a *aliased) judgeImported(time.Time) error {
	if a.rec.ID == (ID{}) {
		return errImportedBefore
	}
	return nil
}

// putImported puts the token, with a cap, and its alias. The alias outlives the token: another Import
// of the key would bring back a text that was logged out.
func (a *aliased) putImported(tx storage.Tx) error {
	d := &a.draft
	d.digest = storage.NewDigest(storage.SHA256, a.madeFor)
	if err := d.put(tx); err != nil {
		return err
	}
	until := steady.Add(d.now, importedLife)
	if limit := earlierCap(d.rec.MaxExpiresAt, until); !limit.Equal(d.rec.MaxExpiresAt) {
		d.rec.MaxExpiresAt, d.rec.ExpiresAt = limit, capped(d.rec.ExpiresAt, limit)
		if err := putIn(tx, &d.rec); err != nil {
			return err
		}
	}
	return a.putAlias(tx, until)
}

// importError returns err, by which a failed, or the error of a Key that was imported for another
// subject: then the store has found the ID of the alias taken.
func (m *Manager) importError(ctx context.Context, a *aliased, err error) error {
	if !errors.Is(err, ErrConflict) || errors.Is(err, ErrOutcomeUnknown) {
		return err
	}
	var alias storage.Record
	if m.load(ctx, a.id, &alias) == nil && alias.ID == a.id && alias.Subject != a.draft.grant.Subject {
		return invalidGrant("Subject", "the key was imported for another one; leave it there")
	}
	return err
}
