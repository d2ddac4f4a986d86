package lapse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// Issue stores a new token for g and returns it with its bearer text. It is
// durable before it returns. Where the subject has as many live tokens as the
// policy lets it, AtLimit decides in the same transaction.
//
// Its cost grows with the live records of the subject, unless MaxTokens is
// NoTokenLimit.
//
// ErrInvalidGrant names the field and its limit, ErrLimit means there is no room;
// neither has changed anything. Of the store's errors, ErrOutcomeUnknown means
// that a token nobody holds may exist until it runs out.
func (m *Manager) Issue(ctx context.Context, g Grant) (i Issued, err error) {
	if err := g.check(&m.policy); err != nil {
		return i, err
	}
	err = m.issue(ctx, "issue", &g, &i)
	return i, err
}

// issue is Issue for a Grant that has been checked; it sets i. A draft is large, and what
// it costs to allocate or to copy one shows here, so they are used again. But for one that
// failed: nobody knows whether a store that gave up has let go of it.
func (m *Manager) issue(ctx context.Context, verb string, g *Grant, i *Issued) error {
	d, _ := m.drafts.Get().(*draft)
	if d == nil {
		d = new(draft)
		d.stores = d.store
	}
	d.m, d.grant = m, *g
	if err := d.run(ctx, verb, d.stores); err != nil {
		return err
	}
	d.tell(ctx, i)
	*d = draft{stores: d.stores} // nobody else's, and no secret
	m.drafts.Put(d)
	return nil
}

// issue draws the credential, and the TTL where it is spread, and stores the record.
func (d *draft) issue(ctx context.Context, verb string) error { return d.run(ctx, verb, d.store) }

// run draws the random parts and runs fn in a transaction of the subject, in an epoch
// that lasts until then.
func (d *draft) run(ctx context.Context, verb string, fn func(storage.Tx) error) error {
	if err := d.grant.spread(&d.m.policy); err != nil {
		return err
	}
	return d.m.retryOnNewEpoch(ctx, verb, &d.evicted, func() (uint32, error) {
		err := d.attempt(ctx, verb, fn)
		return d.epoch, err
	})
}

func (d *draft) attempt(ctx context.Context, verb string, fn func(storage.Tx) error) (err error) {
	for range mintAttempts {
		if err = d.draw(d.m.now(), d.grant.Subject); err != nil {
			return err
		}
		err = updateError(verb, d.m.store.Update(ctx, d.grant.Subject, fn))
		if !errors.Is(err, ErrConflict) || errors.Is(err, ErrOutcomeUnknown) {
			break
		}
	}
	return err
}

// draw draws the ID and the secret of a token that is issued at now.
func (d *draft) draw(now time.Time, subject string) error {
	if err := d.cred.Mint(now, subject); err != nil {
		return err
	}
	if d.key != nil {
		d.sealed = obtainedSecret(&d.cred, d.key, d.m.binding)
	}
	d.digest = d.cred.Digest(d.m.binding) // before the transaction, for which others wait
	return nil
}

// mintAttempts is how often Issue draws an ID before it reports the conflict. One
// collision is as good as impossible; two are a broken random source.
const mintAttempts = 3

// draft is a token on its way into the store. Its secret is drawn before the
// transaction, which may run more than once.
type draft struct {
	m       *Manager
	stores  func(storage.Tx) error // store; to name a method makes a function, and this one is used again
	grant   Grant
	key     bearer.Key // what derives the secret; nil: it is random
	cred    bearer.Credential
	digest  storage.Digest // of cred
	sealed  storage.Sealed // what the secret is derived from
	now     time.Time      // of the transaction
	epoch   uint32         // of now
	rec     storage.Record
	evicted []Token

	tie     func(tx storage.Tx, d *draft) error // ties rec to the token that it is delegated from; nil: to none
	above   *ancestry                           // of a delegate, which tie says
	reduced []string                            // what those above made smaller
}

// store is the transaction.
func (d *draft) store(tx storage.Tx) error {
	d.now, d.epoch = d.m.stamp()
	return d.m.checkEpoch(d.epoch, d.put(tx))
}

// put makes room if it must, and puts the new record.
func (d *draft) put(tx storage.Tx) error {
	d.evicted, d.above, d.reduced = nil, nil, nil
	d.grant.record(&d.rec, &d.m.policy, d.m.prefix, d.now)
	d.rec.ID, d.rec.Digest, d.rec.Sealed = d.cred.ID(), d.digest, d.sealed
	d.rec.Epoch = d.epoch
	if f, ok := tx.(fitter); ok && d.tie == nil && f.PutIfFits(&d.rec, d.m.policy.MaxTokens-1, d.now) {
		return nil
	}
	if _, err := getIn(tx, d.rec.ID); err == nil {
		return errTakenID
	} else if err != errGone {
		return err
	}
	if d.tie != nil {
		if err := d.tie(tx, d); err != nil {
			return err
		}
		return putIn(tx, &d.rec)
	}
	r := room{m: d.m, policy: &d.m.policy, kind: KindPlain, prefix: d.m.prefix}
	if err := r.make(tx, d.now); err != nil {
		return err
	}
	d.evicted = r.evicted
	return putIn(tx, &d.rec)
}

var errTakenID = fmt.Errorf("%w: the random source repeats itself", ErrConflict)

// issued is what Issue returns once the draft is stored.
func (d *draft) issued(ctx context.Context) (i Issued) {
	d.tell(ctx, &i)
	return i
}

// tell sets i to issued, and tells whoever observes.
func (d *draft) tell(ctx context.Context, i *Issued) {
	d.answer(i)
	d.m.tellEnded(ctx, d.evicted)
	if d.m.observe != nil { // an Event is large
		d.m.tell(ctx, Event{Kind: EventIssued, At: i.IssuedAt, Token: i.Token})
	}
}

// answer sets i to what there is to say of a draft that is stored.
func (d *draft) answer(i *Issued) {
	d.m.show(&d.rec, &i.Token)
	i.Bearer, i.Reduced = d.cred.TextAfter(d.m.prefix, d.m.begun), d.reduced
	d.above.clamp(&i.Token)
	for _, tok := range d.evicted {
		i.Evicted = append(i.Evicted, tok.ID)
	}
}

// Issued is a token with its secret text, shown this once: no store holds it in the
// clear, and nothing but Obtain, and Refresh within its grace, gives one again.
//
// Every encoder of the standard library leaves the Bearer out, or refuses an Issued, and
// fmt, slog and templates leave it out wherever they ask the Issued how it prints. fmt,
// and what prints by it, does not ask, but goes by reflection and shows the Bearer:
//   - in an unexported field of another type;
//   - in what a pointer inside of another value points to, as in []any{&T{issued}}, under
//     a verb that pointers do not have, as %s, %q or %t;
//   - under %p and, outside of Errorf, %w, both of which go vet reports.
//
// So keep no Issued in a value that is logged; its Token says all that a log needs.
//
// JSON of a struct that embeds an Issued has the other fields of that struct, too. fmt and
// slog print the embedded Issued alone, since they find its methods: give it a field with
// a name where the others are to be printed.
type Issued struct {
	Token
	Bearer   string `json:"-" xml:"-"`          // what its holder presents
	Evicted  []ID   `json:"evicted,omitempty"`  // what Policy.AtLimit ended to make room; never the new token itself
	Existing bool   `json:"existing,omitempty"` // Obtain found it, and it is not new

	// Reduced names the fields of the Grant that the token does not have as they were
	// asked for: "TTL", if the parent of a delegate made it shorter, or if the token that
	// Obtain found has another. Else it is nil.
	Reduced []string `json:"reduced,omitempty"`
}

// fitter is a storage.Tx that can see at a glance that a new record is no trouble, as
// those of memory and bolt can.
type fitter interface {
	// PutIfFits is Put, if there surely is no record of that ID, nor a damaged one, and no
	// more than n records of the subject that live at now. Where it reports false it has
	// done nothing, and Get and Living tell why.
	PutIfFits(r *storage.Record, n int, now time.Time) bool
}
