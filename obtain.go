package lapse

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Obtain returns the subject's live token for a grant like g, or issues one where there
// is none; Issued.Existing says which. It is the log-in of programs that keep one token for
// each subject, or each device (by Name): however many log in at once, all get the same
// text. It is durable before it returns.
//
// A token is like g if Name, Data, MaxUses and UseGrace are those of g, and Scope has the
// same words in any order. Another TTL is told in Issued.Reduced. Obtain gives only tokens
// of its own making and of its Manager's prefix, of several the newest. Secrets derive from
// Config.Keys, the ID and a stored salt: who has a key and the records can make them.
//
// A token given again is renewed as by Renew, under RenewOnRequest too, but not under
// RenewNever. If less than Grant.MinLeft of its life is left then, its secret is replaced
// as by Rotate, with the TTL of g, and the old text works until the expiry that it had. If
// its key is gone from Config.Keys, the secret is replaced as with overlap 0. Neither needs
// room, nor spends a use. After Rotate, Obtain gives the new text. As for Issue, Admit is
// not asked, and AtLimit decides whether there is room for a new token.
//
// Errors are ErrNoKeys and those of Issue. After ErrOutcomeUnknown, Obtain gives the token
// that it may have made; any other error has changed nothing.
func (m *Manager) Obtain(ctx context.Context, g Grant) (Issued, error) {
	if len(m.keys) == 0 {
		return Issued{}, ErrNoKeys
	}
	if err := g.checkObtain(&m.policy); err != nil {
		return Issued{}, err
	}
	o := obtaining{asked: g, draft: draft{m: m, grant: g, key: m.keys[0]}, rotation: rotation{m: m}}
	if err := o.rotation.drawRandom(); err != nil {
		return Issued{}, err
	}
	if err := o.draft.run(ctx, "obtain", o.inTx); err != nil {
		return Issued{}, err
	}
	if !o.found {
		return o.draft.issued(ctx), nil
	}
	if o.rotated {
		m.tellEnded(ctx, o.draft.evicted)
		m.tell(ctx, Event{Kind: EventRotated, At: o.token.RotatedAt, Token: o.token})
	}
	if !o.renewedAt.IsZero() {
		m.tell(ctx, Event{Kind: EventRenewed, At: o.renewedAt, Token: o.token})
	}
	return Issued{Token: o.token, Bearer: o.cred.Text(m.prefix), Existing: true, Reduced: o.reduced}, nil
}

// obtaining is a draft that is not needed if the subject has its token already.
type obtaining struct {
	asked    Grant // of which draft draws the TTL
	draft    draft
	rotation rotation // of a token whose key is retired, or which is about to die

	found     bool // the rest is about what was found
	cred      bearer.Credential
	token     Token
	renewedAt time.Time // zero: not renewed
	rotated   bool
	reduced   []string
}

// inTx is the transaction.
func (o *obtaining) inTx(tx storage.Tx) error {
	d := &o.draft
	d.now, d.epoch = d.m.stamp()
	return d.m.checkEpoch(d.epoch, o.choose(tx, d.now))
}

// choose finds the token to give again, or issues one.
func (o *obtaining) choose(tx storage.Tx, now time.Time) error {
	d := &o.draft
	o.renewedAt, o.rotated, o.reduced, d.evicted = time.Time{}, false, nil, nil
	rec, err := d.candidate(tx, now)
	if err != nil {
		return err
	}
	if o.found = rec.ID != (ID{}); !o.found {
		return d.put(tx)
	}
	o.token = d.m.token(&rec)
	if !d.m.derive(&rec, &o.cred) {
		return o.rotate(tx, rec.ID, 0, now)
	}
	until := o.token.ExpiresAt
	if d.m.policy.Renewal != RenewNever {
		until = latest(until, renewedUntil(&o.token, rec.TTL, now))
	}
	if until.Sub(now) < o.asked.minLeft(&d.m.policy) {
		return o.rotate(tx, rec.ID, o.token.ExpiresAt.Sub(now), now)
	}
	if rec.TTL < o.asked.leastTTL(&d.m.policy) || rec.TTL > o.asked.ttl(&d.m.policy) {
		o.reduced = []string{"TTL"}
	}
	return o.renew(tx, &rec, now)
}

// rotate gives the token of id a new secret, and the life that was asked for.
func (o *obtaining) rotate(tx storage.Tx, id ID, overlap time.Duration, now time.Time) error {
	r := &o.rotation
	r.id, r.overlap, r.life = id, overlap, o.draft.grant.ttl(&o.draft.m.policy)
	if err := r.apply(tx, now); err != nil {
		return err
	}
	o.token, o.cred, o.rotated, o.draft.evicted = r.token, r.cred, true, r.ended
	if o.token.ExpiresAt.After(steady.Add(now, r.life)) { // a renewal shortens no life
		o.reduced = []string{"TTL"}
	}
	return nil
}

// renew gives rec, which is live, a new TTL unless the policy is RenewNever.
func (o *obtaining) renew(tx storage.Tx, rec *storage.Record, now time.Time) error {
	m := o.draft.m
	if m.policy.Renewal == RenewNever {
		return nil
	}
	renewal(&o.token, rec.TTL, now).Raise(rec)
	o.token, o.renewedAt = m.token(rec), now
	return putIn(tx, rec)
}

// candidate returns the newest of the live tokens that were made by Obtain for a grant
// like the draft's, or a record without ID. One that is damaged is denied, so it is none.
func (d *draft) candidate(tx storage.Tx, now time.Time) (found storage.Record, err error) {
	for rec, err := range readable(tx.Living(now)) {
		if err != nil {
			return storage.Record{}, err
		}
		if !d.matches(&rec) || !madeByObtain(&rec) {
			continue
		}
		if tok := d.m.token(&rec); tok.Live(now) && !rec.IssuedAt.Before(found.IssuedAt) {
			found = rec
		}
	}
	return found, nil
}

// matches reports whether rec is what the draft's grant asks for, and can still be used.
func (d *draft) matches(rec *storage.Record) bool {
	g := &d.grant
	return rec.Prefix == d.m.prefix && rec.Name == g.Name && rec.Data == g.Data &&
		scopeWithin(rec.Scope, g.Scope) && scopeWithin(g.Scope, rec.Scope) &&
		rec.MaxUses == g.MaxUses && rec.UseGrace == g.UseGrace.Truncate(time.Millisecond) && (rec.MaxUses == 0 || rec.UsesLeft > 0)
}

// Key is one of Config.Keys. It never prints: no printer and no encoder finds the bytes in
// it, by reflection either. The zero Key has none, and New refuses it.
type Key struct {
	material func() []byte // a function, because reflection sees nothing but its address
}

// NewKey returns a copy of b as a Key. New returns ErrInvalidConfig for one that is not 32
// random bytes.
func NewKey(b []byte) Key {
	b = bytes.Clone(b)
	return Key{func() []byte { return b }}
}

// bytes returns what NewKey was given.
func (k Key) bytes() []byte {
	if k.material == nil {
		return nil
	}
	return k.material()
}

// Format writes a placeholder.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, "[key]") }

// newKeys returns what derives by each of keys, or ErrInvalidConfig with the place of
// the first that is out of limits, and nothing of what it is.
func newKeys(keys []Key) ([]bearer.Key, error) {
	var derive []bearer.Key
	for i, k := range keys {
		material := k.bytes()
		if len(material) != bearer.KeyLen {
			return nil, fmt.Errorf("%w: Keys[%d]: %d bytes; want %d random ones", ErrInvalidConfig, i, len(material), bearer.KeyLen)
		}
		if [bearer.KeyLen]byte(material) == ([bearer.KeyLen]byte{}) {
			return nil, fmt.Errorf("%w: Keys[%d]: all zero; want %d random bytes", ErrInvalidConfig, i, bearer.KeyLen)
		}
		for j, other := range keys[:i] {
			if bytes.Equal(material, other.bytes()) {
				return nil, fmt.Errorf("%w: Keys[%d]: the same as Keys[%d]; leave one of them out", ErrInvalidConfig, i, j)
			}
		}
		derive = append(derive, bearer.NewKey([bearer.KeyLen]byte(material)))
	}
	return derive, nil
}

// obtainedLabel is how what is sealed in the record of a token made by Obtain begins: a
// kind and its version. The salt follows.
const (
	obtainedLabel = "o1"
	obtainedLen   = len(obtainedLabel) + bearer.SecretLen
)

// obtainedSecret makes c's secret, which is random, the salt of one that k derives, and
// returns what to seal in the record.
func obtainedSecret(c *bearer.Credential, k bearer.Key, b bearer.Binding) storage.Sealed {
	salt := string(c[bearer.IDLen:])
	secret := k.First(c.ID(), b, salt)
	copy(c[bearer.IDLen:], secret[:])
	return storage.NewSealed(obtainedLabel + salt)
}

// saltOf returns the salt of the first secret of a token made by Obtain, and whether rec
// is of one that still has it.
func saltOf(rec *storage.Record) (salt string, ok bool) {
	salt, ok = strings.CutPrefix(rec.Sealed.Text(), obtainedLabel)
	return salt, ok && len(salt) == bearer.SecretLen
}

// madeByObtain reports whether the current secret of rec is derived from one of
// Config.Keys.
func madeByObtain(rec *storage.Record) bool {
	if rec.Kind != KindPlain {
		return false
	}
	if _, ok := saltOf(rec); ok {
		return true
	}
	r, _, err := rotationOf(rec)
	return err == nil && r.obtained
}

// derive sets c to what the holder of a token made by Obtain presents, and reports
// whether one of the keys still derives it.
func (m *Manager) derive(rec *storage.Record, c *bearer.Credential) bool {
	copy(c[:], rec.ID[:])
	salt, first := saltOf(rec)
	r, was, err := rotationOf(rec)
	if !first && (err != nil || !was || !r.obtained) {
		return false
	}
	for _, k := range m.keys {
		if first {
			*c.Secret() = k.First(rec.ID, m.binding, salt)
		} else {
			random := k.Rotated(rec.ID, m.binding, rec.Generation, r.salt[:])
			c.SetTagged(&r.key, m.binding, bearer.PlainSecret, rec.Generation, random[:])
		}
		if c.Proves(m.binding, &rec.Digest) {
			return true
		}
	}
	return false
}
