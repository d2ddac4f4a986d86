package lapse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Issue stores a new token for g and returns it with its bearer text. It is
// durable before it returns. Where the subject has as many live tokens as the
// policy lets it, AtLimit decides in the same transaction.
//
// Its cost grows with the records of the subject, dead ones included until they
// are swept, unless MaxTokens is NoTokenLimit.
//
// ErrInvalidGrant names the field and its limit, ErrLimit means there is no room;
// neither has changed anything. Of the store's errors, ErrOutcomeUnknown means
// that a token nobody holds may exist until it runs out.
func (m *Manager) Issue(ctx context.Context, g Grant) (Issued, error) {
	if err := g.check(&m.policy); err != nil {
		return Issued{}, err
	}
	d := draft{m: m, grant: g}
	if err := d.issue(ctx, "issue"); err != nil {
		return Issued{}, err
	}
	return d.issued(), nil
}

// issue draws the credential, and the TTL where it is spread, and stores the record.
func (d *draft) issue(ctx context.Context, verb string) (err error) {
	if err := d.grant.spread(&d.m.policy); err != nil {
		return err
	}
	for range mintAttempts {
		if err = d.cred.mint(d.m.now(), d.grant.Subject); err != nil {
			return err
		}
		err = updateError(verb, d.m.store.Update(ctx, d.grant.Subject, d.store))
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	return err
}

// mintAttempts is how often Issue draws an ID before it reports the conflict. One
// collision is as good as impossible; two are a broken random source.
const mintAttempts = 3

// draft is a token on its way into the store. Its secret is drawn before the
// transaction, which may run more than once.
type draft struct {
	m       *Manager
	grant   Grant
	cred    credential
	now     time.Time // of the transaction
	rec     storage.Record
	evicted []Token

	tie   func(tx storage.Tx, d *draft) error // sets what ties rec to others, and writes those; may be nil
	spare []ID                                // never evicted

	replaces bool // a live token of its prefix gives way to it, which tie says: no room is made
	families bool // who makes room goes with its family

	above   *lineage // of a delegate, which tie says
	reduced []string // what those above made smaller

	live    int     // tokens of the subject and prefix
	tokens  []Token // those tokens, if they are to be kept
	keep    bool
	listErr error
	tx      storage.Tx
}

// store makes room if it must, and puts the new record.
func (d *draft) store(tx storage.Tx) error { return d.storeAt(tx, d.m.now()) }

// storeAt is store at the instant of a transaction that stores more than this.
func (d *draft) storeAt(tx storage.Tx, now time.Time) error {
	d.now = now
	d.rec = d.grant.record(&d.m.policy, d.m.prefix, d.now)
	d.rec.ID, d.rec.Digest = d.cred.id(), d.cred.digest(d.m.tag)
	if _, err := tx.Get(d.rec.ID); err == nil {
		return errTakenID
	} else if !errors.Is(err, ErrNotFound) {
		return err
	}
	if d.tie != nil {
		if err := d.tie(tx, d); err != nil {
			return err
		}
	}
	if err := d.makeRoom(tx); err != nil {
		return err
	}
	return tx.Put(d.rec)
}

var errTakenID = fmt.Errorf("%w: the random source repeats itself", ErrConflict)

// makeRoom ends what AtLimit says so that one more token stays within the limit.
func (d *draft) makeRoom(tx storage.Tx) error {
	d.evicted = nil
	p := &d.m.policy
	if p.MaxTokens == NoTokenLimit || d.replaces {
		return nil
	}
	if err := d.count(tx, false); err != nil || d.live < p.MaxTokens {
		return err
	}
	if p.AtLimit == Refuse {
		return fmt.Errorf("%w: %d of %d", ErrLimit, d.live, p.MaxTokens)
	}
	if err := d.count(tx, true); err != nil {
		return err
	}
	victims := p.evict(d.tokens, d.spare...)
	if d.live-len(victims) >= p.MaxTokens { // too many are to be spared
		return fmt.Errorf("%w: %d of %d", ErrLimit, d.live, p.MaxTokens)
	}
	left := d.live
	for _, tok := range victims {
		if left < p.MaxTokens {
			break // some went with those that they came from, or with their family
		}
		if among(d.evicted, tok.ID) {
			continue
		}
		ended, err := d.evict(tx, &tok)
		if err != nil {
			return err
		}
		for _, e := range ended {
			if among(d.tokens, e.ID) {
				left--
			}
		}
		d.evicted = append(d.evicted, ended...)
	}
	return nil
}

// evict ends tok, with what was delegated from it or with its family.
func (d *draft) evict(tx storage.Tx, tok *Token) ([]Token, error) {
	if d.families && tok.Family != (ID{}) {
		return d.m.endFamily(tx, tok.Family, EndEvicted, d.now)
	}
	return d.m.endTied(tx, tok.ID, EndEvicted, d.now)
}

// among reports whether one of tokens has that ID.
func among(tokens []Token, id ID) bool {
	return slices.ContainsFunc(tokens, func(t Token) bool { return t.ID == id })
}

// count counts the subject's live tokens of this prefix, and keeps them if told
// to: most of the time their number is all that matters.
func (d *draft) count(tx storage.Tx, keep bool) error {
	d.live, d.tokens, d.keep, d.listErr, d.tx = 0, nil, keep, nil, tx
	tx.Records()(d.add)
	return d.listErr
}

// add is the body of count's loop. A record that is damaged is denied, and one under it
// as well, so they do not count, nor does one whose successor counts for it.
func (d *draft) add(rec storage.Record, err error) bool {
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			d.listErr = err
		}
		return d.listErr == nil
	}
	if rec.Prefix != d.m.prefix || rec.Successor != (ID{}) {
		return true
	}
	tok := d.m.token(&rec)
	if tok.Parent != (ID{}) {
		if _, err := d.m.under(&tok, d.tx.Get); err != nil {
			return d.add(rec, err)
		}
	}
	if tok.Live(d.now) {
		d.live++
		if d.keep {
			d.tokens = append(d.tokens, tok)
		}
	}
	return true
}

// issued is what Issue returns once the draft is stored.
func (d *draft) issued() Issued {
	i := d.answer()
	d.m.tellEnded(d.evicted)
	if d.m.observe != nil { // an Event is large
		d.m.tell(Event{Kind: EventIssued, At: i.IssuedAt, Token: i.Token})
	}
	return i
}

// answer is what there is to say of a draft that is stored.
func (d *draft) answer() Issued {
	i := Issued{Token: d.m.token(&d.rec), Bearer: d.cred.textAfter(d.m.prefix, d.m.begun), Reduced: d.reduced}
	d.above.lower(&i.Token)
	for _, tok := range d.evicted {
		i.Evicted = append(i.Evicted, tok.ID)
	}
	return i
}
