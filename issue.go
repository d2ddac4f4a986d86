package lapse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Issued is a new token with its secret text, shown this once: no store holds
// it, and it cannot be read again. fmt, slog, JSON and gob of an Issued leave the
// Bearer out. Out of their reach is an Issued in an unexported field of another
// type, or under a verb that go vet reports (%p, and %w outside of Errorf).
type Issued struct {
	Token
	Bearer  string // what its holder presents
	Evicted []ID   // what Policy.AtLimit ended to make room; never the new token itself
}

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
	var err error
	for range mintAttempts {
		if err = d.cred.mint(m.now(), g.Subject); err != nil {
			return Issued{}, err
		}
		err = updateError("issue", m.store.Update(ctx, g.Subject, d.store))
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	if err != nil {
		return Issued{}, err
	}
	return d.issued(), nil
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

	live    int     // tokens of the subject and prefix
	tokens  []Token // those tokens, if they are to be kept
	keep    bool
	listErr error
}

// store makes room if it must, and puts the new record.
func (d *draft) store(tx storage.Tx) error {
	d.now = d.m.now()
	d.rec = d.grant.record(&d.m.policy, d.m.prefix, d.now)
	d.rec.ID, d.rec.Digest = d.cred.id(), d.cred.digest(d.m.tag)
	if _, err := tx.Get(d.rec.ID); err == nil {
		return errTakenID
	} else if !errors.Is(err, ErrNotFound) {
		return err
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
	if p.MaxTokens == NoTokenLimit {
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
	for _, tok := range p.evict(d.tokens) {
		ended, err := d.m.end(tx, tok.ID, EndEvicted, d.now)
		if err != nil {
			return err
		}
		d.evicted = append(d.evicted, ended)
	}
	return nil
}

// count counts the subject's live tokens of this prefix, and keeps them if told
// to: most of the time their number is all that matters.
func (d *draft) count(tx storage.Tx, keep bool) error {
	d.live, d.tokens, d.keep, d.listErr = 0, nil, keep, nil
	tx.Records()(d.add)
	return d.listErr
}

// add is the body of count's loop. A record that is damaged is denied, so it does
// not count.
func (d *draft) add(rec storage.Record, err error) bool {
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			d.listErr = err
		}
		return d.listErr == nil
	}
	if rec.Prefix != d.m.prefix {
		return true
	}
	if tok := d.m.token(&rec); tok.Live(d.now) {
		d.live++
		if d.keep {
			d.tokens = append(d.tokens, tok)
		}
	}
	return true
}

// issued is what Issue returns once the draft is stored.
func (d *draft) issued() Issued {
	i := Issued{Token: d.m.token(&d.rec), Bearer: d.cred.text(d.m.prefix)}
	for _, tok := range d.evicted {
		i.Evicted = append(i.Evicted, tok.ID)
		d.m.tell(Event{Kind: EventEnded, At: tok.EndedAt, Token: tok})
	}
	d.m.tell(Event{Kind: EventIssued, At: i.IssuedAt, Token: i.Token})
	return i
}

// shown is an Issued without its secret.
type shown struct {
	Token
	Evicted []ID `json:"evicted,omitempty"`
}

// Format writes the token and what was evicted, for every verb that go vet lets
// pass.
func (i Issued) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", shown{i.Token, i.Evicted}) }

// LogValue is the token and what was evicted.
func (i Issued) LogValue() slog.Value { return slog.AnyValue(shown{i.Token, i.Evicted}) }

// MarshalJSON writes the token and what was evicted.
func (i Issued) MarshalJSON() ([]byte, error) { return json.Marshal(shown{i.Token, i.Evicted}) }

// GobEncode refuses: what would be stored is the secret.
func (i Issued) GobEncode() ([]byte, error) {
	return nil, errors.New("lapse: an Issued is shown once and not to be stored; encode its Token")
}
