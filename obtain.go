package lapse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Obtain returns the subject's live token for a grant like g, or issues a token if there is
// none; Issued.Existing says which. It is the log-in of programs that keep one token for each
// subject, or for each device (by Name): however many callers log in at once, all get the same
// text. All that Obtain does is durable before it returns.
//
// A token is like g if Name, Data, Client, MaxUses, UseGrace and Thumbprint are those of g, and Scope has
// the same words in any order. Issued.Reduced says if its TTL differs. Obtain returns only tokens
// that it made and that have its Manager's prefix, of several the newest, and none that Edit lets
// live for less than MinLeft. A key of Config.Keys and the records suffice to make their secrets.
//
// A token that is given again keeps its AuthenticatedAt, which Confirm sets. It is renewed as by
// Renew, under RenewOnRequest too, but not under RenewNever. If less than Grant.MinLeft of its life
// is left then, its secret is replaced as by Rotate, with the TTL of g, and the old text works until
// the expiry that it had. If the key of its secret is no longer in Config.Keys, the secret is
// replaced as with overlap 0. Neither counts towards MaxTokens, nor spends a use. As for Issue,
// Admit is not asked, and AtLimit decides whether there is room for a new token.
//
// If that token is suspended, the error is a *Rejection of ErrSuspended, and no other is given or
// made: resume that token, or end it. Other errors are ErrNoKeys and those of Issue. After
// ErrOutcomeUnknown call Obtain again; any other error has changed nothing.
func (m *Manager) Obtain(ctx context.Context, g Grant) (i Issued, err error) {
	verb := m.begin(VerbObtain, &err)
	defer m.finish(ctx, &verb, &err)
	if len(m.keys) == 0 {
		return Issued{}, ErrNoKeys
	}
	if err := g.checkObtain(&m.policy); err != nil {
		return Issued{}, err
	}
	o := obtaining{asked: g, draft: draft{m: m, grant: g, key: m.keys[0]}, rotation: rotation{m: m, actor: actorOf(ctx)}}
	if err := o.rotation.drawRandom(); err != nil {
		return Issued{}, err
	}
	if err := o.draft.transact(ctx, &verb, o.inTx); err != nil {
		if errors.Is(err, ErrUnauthenticated) {
			err = m.refuse(ctx, &verb, err)
		}
		return Issued{}, err
	}
	if !o.found {
		return o.draft.issued(ctx, &verb), nil
	}
	if o.rotated {
		m.tellEnded(ctx, &verb, o.draft.evicted)
		m.tell(ctx, &verb, Event{Kind: EventRotated, At: o.token.RotatedAt, Token: o.token})
	}
	if !o.renewedAt.IsZero() {
		m.renewed(ctx, &verb, o.renewedAt, &o.before, &o.token)
	}
	return Issued{Token: o.token, Bearer: o.cred.Text(m.prefix), Existing: true, Reduced: o.reduced}, nil
}

// obtaining is one Obtain: the draft of a token, unless the subject has a token like it.
type obtaining struct {
	asked    Grant // as given; the TTL of the draft's is drawn from it
	draft    draft
	rotation rotation // of a token whose key is retired, or which is about to die

	found     bool // the subject has a token, and the fields below are about that
	cred      bearer.Credential
	token     Token
	before    Token     // the token, before it was renewed
	renewedAt time.Time // zero: the token was not renewed
	rotated   bool
	reduced   []string
}

// inTx is the transaction.
func (o *obtaining) inTx(tx storage.Tx) error {
	d := &o.draft
	d.now, d.epoch = d.m.stamp()
	return d.m.checkEpoch(d.epoch, o.choose(tx, d.now))
}

// choose finds the token to give again, and renews or rotates it if it must. Without such a
// token it puts a new one. The error for a suspended token is a *Rejection.
func (o *obtaining) choose(tx storage.Tx, now time.Time) error {
	d := &o.draft
	o.renewedAt, o.rotated, o.reduced, d.evicted = time.Time{}, false, nil, nil
	rec, err := o.candidate(tx, now)
	if err != nil {
		return err
	}
	if o.found = rec.ID != (ID{}); !o.found {
		return d.put(tx)
	}
	o.token = d.m.token(&rec)
	if err := unusable(&o.token, o.token.Generation, now); err != nil {
		return err
	}
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

// rotate gives the token of id a new secret, and a life of the TTL that was asked for.
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

// renew begins a new life of rec, which is live, unless the policy is RenewNever.
func (o *obtaining) renew(tx storage.Tx, rec *storage.Record, now time.Time) error {
	m := o.draft.m
	if m.policy.Renewal == RenewNever {
		return nil
	}
	renewal(&o.token, rec.TTL, now).Raise(rec)
	o.before, o.token, o.renewedAt = o.token, m.token(rec), now
	return putIn(tx, rec)
}

// candidate returns the newest of the live tokens that were made by Obtain for a grant like the
// draft's, or a record without ID. It skips damaged records, and tokens that Edit lets live for less
// than MinLeft: no rotation would make them live longer. It skips no suspended token, beside which
// Obtain makes no other.
func (o *obtaining) candidate(tx storage.Tx, now time.Time) (found storage.Record, err error) {
	d := &o.draft
	needed := now.Add(o.asked.minLeft(&d.m.policy))
	for rec, err := range readable(tx.Living(now)) {
		if err != nil {
			return storage.Record{}, err
		}
		if !d.matches(&rec) || !madeByObtain(&rec) {
			continue
		}
		tok := d.m.token(&rec)
		if rec.CapEdited && rec.SuspendedAt.IsZero() && tok.MaxExpiresAt.Before(needed) {
			continue
		}
		if tok.Live(now) && !rec.IssuedAt.Before(found.IssuedAt) {
			found = rec
		}
	}
	return found, nil
}

// matches reports whether rec is of a grant like the draft's, and has uses left.
func (d *draft) matches(rec *storage.Record) bool {
	g := &d.grant
	return rec.Prefix == d.m.prefix && rec.Name == g.Name && rec.Data == g.Data && rec.Client == g.Client && rec.Thumbprint == g.Thumbprint &&
		scopeWithin(rec.Scope, g.Scope) && scopeWithin(g.Scope, rec.Scope) &&
		rec.MaxUses == g.MaxUses && rec.UseGrace == g.UseGrace.Truncate(time.Millisecond) && (rec.MaxUses == 0 || rec.UsesLeft > 0)
}

// Key is one of Config.Keys. It never prints: no printer and no encoder finds its bytes, not by
// reflection either. The zero Key has no bytes, and New refuses it.
type Key struct {
	material func() []byte // a function, because reflection sees nothing but its address
}

// NewKey returns a Key with a copy of b. New returns ErrInvalidConfig for a Key that has not 32
// bytes, or only zeros.
func NewKey(b []byte) Key {
	b = bytes.Clone(b)
	return Key{func() []byte { return b }}
}

// bytes returns the bytes that NewKey copied, or nil for the zero Key.
func (k Key) bytes() []byte {
	if k.material == nil {
		return nil
	}
	return k.material()
}

// Format writes a placeholder.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, "[key]") }

// newKeys returns a bearer.Key for each of keys, or ErrInvalidConfig with the index of the first
// that is out of limits, and none of its bytes.
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

// Record.Sealed of a token made by Obtain is this label with a version, and a salt, until the
// token is rotated.
const (
	obtainedLabel = "o1"
	obtainedLen   = len(obtainedLabel) + bearer.SecretLen
)

// requestedLabel stands instead of obtainedLabel in the token of a Grant.RequestID.
const requestedLabel = "q1"

// derivedSecret replaces c's secret, which is random, by one that derive makes with the random bytes
// as salt. It returns the salt behind label, in the form that the record keeps.
func derivedSecret(c *bearer.Credential, label string, derive func(id ID, b bearer.Binding, salt string) [bearer.SecretLen]byte, b bearer.Binding) storage.Sealed {
	salt := string(c[bearer.IDLen:])
	*c.Secret() = derive(c.ID(), b, salt)
	return storage.NewSealed(label + salt)
}

// saltOf returns the salt in rec, and whether there is one: rec is of a token that Obtain made
// and that was never rotated.
func saltOf(rec *storage.Record) (salt string, ok bool) { return saltBehind(obtainedLabel, rec) }

// saltBehind is saltOf for the tokens that are labelled so.
func saltBehind(label string, rec *storage.Record) (salt string, ok bool) {
	salt, ok = strings.CutPrefix(rec.Sealed.Text(), label)
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

// derive sets c to the current text of rec, a token made by Obtain, and reports whether one of
// Config.Keys still derives that text.
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
