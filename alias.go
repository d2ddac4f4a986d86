package lapse

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// An alias is a record of storage.KindAlias, and no token. No list, limit or verb that takes an ID
// finds an alias: ofID, readable and owns leave it out. It is valid until its ExpiresAt, and then is
// swept. This file has the aliases that name a token, under an ID that is derived from a key: that of
// a foreign text, or the RequestID of a Grant. A check by a foreign text, and Issue with a RequestID,
// read the alias and then the record of the token, and judge that. Alias and token have one subject, so
// that one transaction puts both. Such an alias has no secret and is never ended, not by a new epoch
// of the clock either. The aliases of device log-ins are otherwise: see deviceRecord and guess.

// Record.Sealed of an alias is this label with a version, the ID of the token, and a hash of what
// the token was made for.
const (
	aliasLabel   = "a1"
	aliasToken   = len(aliasLabel)
	aliasMadeFor = aliasToken + len(ID{})
	aliasLen     = aliasMadeFor + sha256.Size
)

// errAlias says that what an alias keeps sealed cannot be read.
var errAlias = fmt.Errorf("%w: a record that names a token is damaged", ErrCorrupt)

// newAlias returns the alias of id that names the token of rec, is valid until that instant, and has
// madeFor, a hash of what the token was made for.
func newAlias(id ID, rec *storage.Record, until time.Time, madeFor [sha256.Size]byte) (alias storage.Record) {
	alias.ID, alias.Kind, alias.Prefix, alias.Subject = id, storage.KindAlias, rec.Prefix, rec.Subject
	alias.IssuedAt, alias.Epoch = rec.IssuedAt, rec.Epoch
	alias.ExpiresAt, alias.MaxExpiresAt = until, until // the cap, so that a later alias may run out earlier
	alias.Sealed = storage.NewSealed(aliasLabel + string(rec.ID[:]) + string(madeFor[:]))
	return alias
}

// readAlias returns the ID of the token that rec names, and the hash of what that was made for. It
// returns zeros for a record that is no alias, and errAlias for one that cannot be read.
func readAlias(rec *storage.Record) (token ID, madeFor string, err error) {
	text := rec.Sealed.Text()
	switch {
	case rec.Kind != storage.KindAlias:
		return token, "", nil
	case len(text) != aliasLen || !strings.HasPrefix(text, aliasLabel):
		return token, "", errAlias
	}
	return ID([]byte(text[aliasToken:aliasMadeFor])), text[aliasMadeFor:], nil
}

// parseForeign is parse for a text that is not of the form of lapse. Where no alias leads to a
// token, *h has the ID of the alias, by which no token is found: such a text is refused after the
// same work as one with another digest than its token.
func (m *Manager) parseForeign(ctx context.Context, verb *call, text string, h *hashedText) error {
	if m.foreign == nil {
		return m.refuse(ctx, verb, ErrMalformed)
	}
	key, digest, ok := m.foreign(text)
	if !ok {
		return m.refuse(ctx, verb, ErrMalformed)
	}
	if err := m.ready(ctx, verb); err != nil {
		return err
	}
	alias := bearer.ForeignAlias(m.prefix, key)
	token, err := m.namedBy(ctx, alias)
	if err != nil {
		return storeError(verb.Verb, err)
	}
	if token == (ID{}) {
		token = alias
	}
	copy(h.input.Credential()[:], token[:])
	h.sum = bearer.ForeignSum(m.prefix, digest)
	h.prefix, h.foreign = m.prefix, true
	return nil
}

// namedBy returns the ID of the token that the alias of id names, or zeros if there is no such alias.
func (m *Manager) namedBy(ctx context.Context, id ID) (token ID, err error) {
	var alias storage.Record
	err = m.load(ctx, id, &alias)
	if err = ofAlias(id, &alias, err); err == nil && alias.ID == id {
		token, _, err = readAlias(&alias)
	}
	return token, err
}

// aliased is the draft of a token that is put together with an alias. If there is a valid alias
// already, the token that the alias names is given again.
type aliased struct {
	draft    draft
	id       ID                // of the alias
	madeFor  [sha256.Size]byte // a hash of what the token is made for
	errOther error             // of an alias whose token was made for something else

	// The results of the transaction.
	existing bool           // there was a valid alias
	rec      storage.Record // of the token that the alias names; without an ID if that was swept
}

// findOrPut returns the transaction. again judges the token that a valid alias names, and put puts
// the token and an alias where there is no valid one.
func (a *aliased) findOrPut(again func(now time.Time) error, put func(storage.Tx) error) func(storage.Tx) error {
	return func(tx storage.Tx) error {
		d := &a.draft
		d.now, d.epoch = d.m.stamp()
		d.evicted = nil
		err := a.find(tx)
		switch {
		case err == nil && a.existing:
			err = again(d.now)
		case err == nil:
			err = put(tx)
		}
		return d.m.checkEpoch(d.epoch, err)
	}
}

// find sets existing and rec. An alias does not count if its token was ended by a new epoch of the clock,
// and had no log-out, rotation, suspension or Edit: a second token would undo these.
func (a *aliased) find(tx storage.Tx) error {
	d := &a.draft
	a.existing, a.rec = false, storage.Record{}
	alias, err := aliasIn(tx, a.id)
	if err != nil || alias.ID != a.id {
		return err
	}
	token, madeFor, err := readAlias(&alias)
	switch {
	case err != nil:
		return err
	case !alias.Live(d.now):
		return nil
	case !isSum(madeFor, &a.madeFor):
		return decide(a.errOther)
	}
	a.rec, err = getIn(tx, token)
	switch {
	case err == errGone:
		a.existing, a.rec = true, storage.Record{}
		return nil
	case err != nil:
		return err
	}
	a.existing = a.touched()
	return nil
}

// aliasIn returns the record of id, an alias, in tx, or one without an ID if there is none.
func aliasIn(tx storage.Tx, id ID) (alias storage.Record, err error) {
	alias, err = tx.Get(id)
	return alias, ofAlias(id, &alias, err)
}

// ofAlias returns nil if rec, which a store returned with err for id, an alias, is its record, or if there
// is none: then it sets *rec to zeros.
func ofAlias(id ID, rec *storage.Record, err error) error {
	switch {
	case absent(err):
		*rec = storage.Record{}
		return nil
	case err != nil:
		return fromOutside(err, storeErrors...)
	case rec.ID != id:
		return errWrongRecord
	}
	return nil
}

// touched reports whether rec is alive, or something else has happened to its token than uses and the end
// by a new epoch of the clock.
func (a *aliased) touched() bool {
	rec, g := a.rec, &a.draft.grant
	a.draft.m.showClockEnd(&rec)
	edited := rec.CapEdited || rec.Name != g.Name || rec.Scope != g.Scope || rec.Data != g.Data || rec.MaxUses != g.MaxUses
	return rec.EndReason != EndClock || rec.Generation != 0 || !rec.SuspendedAt.IsZero() || edited
}

// putAlias puts the alias of the token that the draft has put. The alias is valid until that instant.
func (a *aliased) putAlias(tx storage.Tx, until time.Time) error {
	alias := newAlias(a.id, &a.draft.rec, until, a.madeFor)
	return putIn(tx, &alias)
}

// maxRequestID is how many bytes Grant.RequestID has at most.
const maxRequestID = 255

// hash returns a hash of every field of g except RequestID. Client is left out where there is none, as
// earlier programs hashed a grant.
func (g *Grant) hash() [sha256.Size]byte {
	numbers := fmt.Sprintf("%d %d %d %d %d %v", g.TTL, g.MaxUses, g.UseGrace, g.SessionTTL, g.MinLeft, g.Jitter)
	parts := []string{g.Subject, g.Name, g.Scope, g.Data, string(g.Thumbprint[:]), numbers}
	if g.Client != "" {
		parts = append(parts, g.Client)
	}
	return bearer.Hash("lapse:g1", parts...)
}
