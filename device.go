package lapse

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// DeviceConfig says how a DeviceLogin works. The zero DeviceConfig is usable.
type DeviceConfig struct {
	// ExpiresIn is how long both codes work. 0 means 10 minutes; the most is an hour.
	ExpiresIn time.Duration

	// Interval is how long a device waits from one Poll to the next. 0 means 5 seconds; the most
	// is ExpiresIn. An Interval over a second is rounded up to whole seconds: a device is told it in
	// seconds. A Poll that comes before nine tenths of the Interval is too early. On a store that is
	// no storage.Watcher, Await reads once in each Interval.
	Interval time.Duration

	// Guesses is how many wrong user codes a subject can enter within ExpiresIn of the first one.
	// 0 means 5; the most is 100.
	Guesses int
}

const (
	defaultDeviceLife = 10 * time.Minute
	maxDeviceLife     = time.Hour
	defaultInterval   = 5 * time.Second
	slowDown          = 5 * time.Second // RFC 8628 section 3.5
	defaultGuesses    = 5
	maxGuesses        = 100
)

// DeviceLogin logs in devices on which no user can type a password, as RFC 8628 says, without HTTP.
// The device gets two codes by Begin, shows the user code, and polls with the device code, or waits
// by Await. A user who is logged in elsewhere enters the user code, sees by Lookup what is asked for,
// and calls Approve or Deny. Then the device gets the texts of a session, once.
//
// The store has one record for each log-in until Sweep deletes it, ExpiresIn and Policy.Retention
// after Begin. It has digests of the codes and names no subject. No list, count, limit or verb that
// takes an ID or a subject finds it. Any client may call Begin, so limit how often.
//
// A DeviceLogin is safe for concurrent use and has no state of its own: any process with the same
// store and the same two prefixes goes on with the log-in.
type DeviceLogin struct {
	p                   *Pairs
	m                   *Manager // of the refresh texts: its store, its time, its Observe
	binding             bearer.Binding
	expiresIn, interval time.Duration
	guesses             int
}

// NewDeviceLogin returns a DeviceLogin that makes sessions of p. ErrInvalidConfig names the field and
// its limit.
func NewDeviceLogin(p *Pairs, cfg DeviceConfig) (*DeviceLogin, error) {
	if p == nil {
		return nil, fmt.Errorf("%w: Pairs is nil; NewPairs makes one", ErrInvalidConfig)
	}
	life := cmp.Or(cfg.ExpiresIn.Truncate(time.Millisecond), defaultDeviceLife)
	for _, d := range []struct {
		field    string
		is, most time.Duration
	}{{"ExpiresIn", cfg.ExpiresIn, maxDeviceLife}, {"Interval", cfg.Interval, life}} {
		if err := checkDuration(d.is, false); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrInvalidConfig, d.field, err)
		}
		if d.is > d.most {
			return nil, fmt.Errorf("%w: %s: %v is over %v", ErrInvalidConfig, d.field, d.is, d.most)
		}
	}
	if cfg.Guesses < 0 || cfg.Guesses > maxGuesses {
		return nil, fmt.Errorf("%w: Guesses: %d is not between 0 and %d", ErrInvalidConfig, cfg.Guesses, maxGuesses)
	}
	interval := cmp.Or(cfg.Interval.Truncate(time.Millisecond), min(defaultInterval, life))
	if interval > time.Second {
		interval = (interval + time.Second - time.Millisecond).Truncate(time.Second)
	}
	return &DeviceLogin{
		p: p, m: p.refresh,
		binding:   bearer.NewBinding(bearer.DevicePrefix + " " + p.access.prefix + " " + p.refresh.prefix),
		expiresIn: life,
		interval:  interval,
		guesses:   cmp.Or(cfg.Guesses, defaultGuesses),
	}, nil
}

// DeviceRequest is what a device asks for, as Begin stores it and Lookup shows it. It comes from a
// device that is not known: show it to the user as such. Name and Scope have the limits of those of a
// Grant, and Client those of Name.
type DeviceRequest struct {
	Client string // the client that Poll and Await name; "" where there are no clients
	Name   string // for people: "television in the kitchen"
	Scope  string
	Data   string // opaque bytes of the caller, as the address of the device; at most 4,096
}

// checkRequest returns ErrInvalidGrant with the first field of r that is out of its limits.
func checkRequest(r *DeviceRequest) error {
	if err := checkText("Client", r.Client, storage.MaxClient); err != nil {
		return err
	}
	g := Grant{Name: r.Name, Scope: r.Scope, Data: r.Data}
	return g.checkContent()
}

// Begin begins a log-in of a device, and returns its codes. Both are durable before Begin returns.
// The device code has 256 bits, the user code 34.6.
//
// ErrInvalidGrant, with a *GrantError, names the field of r that is out of its limits. Any other
// error is the store's. Then no device has a code, except that after ErrOutcomeUnknown a log-in may
// be stored that no device knows of.
func (d *DeviceLogin) Begin(ctx context.Context, r DeviceRequest) (c DeviceCode, err error) {
	verb := d.m.begin(VerbBeginDevice, &err)
	defer d.m.finish(ctx, &verb, &err)
	if err := checkRequest(&r); err != nil {
		return DeviceCode{}, err
	}
	if err := d.m.ready(ctx, &verb); err != nil {
		return DeviceCode{}, err
	}
	for range mintAttempts {
		c, err = d.begin(ctx, &verb, &r)
		if !errors.Is(err, ErrConflict) || errors.Is(err, ErrOutcomeUnknown) {
			break
		}
	}
	return c, err
}

// begin draws the codes and stores the log-in. The error is errTakenID if another log-in waits under
// the user code.
func (d *DeviceLogin) begin(ctx context.Context, verb *call, r *DeviceRequest) (DeviceCode, error) {
	code, err := bearer.DrawUserCode()
	if err != nil {
		return DeviceCode{}, err
	}
	var cred bearer.Credential
	id := d.alias(code)
	copy(cred[:], id[:])
	if err := bearer.Draw(cred.Secret()[:]); err != nil {
		return DeviceCode{}, err
	}
	digest := cred.Digest(d.binding)
	err = d.m.update(ctx, verb, bearer.DeviceSubject(id), func(tx storage.Tx, now time.Time) error {
		old, err := aliasIn(tx, id)
		if err != nil {
			return err
		}
		if old.ID == id && old.Live(now) && !d.m.fromEarlierEpoch(&old) {
			return decide(errTakenID)
		}
		l := deviceRecord{interval: d.interval, client: r.Client}
		l.rec = d.m.aliasFrom(id, bearer.DeviceSubject(id), now, steady.Add(now, d.expiresIn))
		l.rec.Name, l.rec.Scope, l.rec.Data, l.rec.Digest = r.Name, r.Scope, r.Data, digest
		return l.putIn(tx)
	})
	if err != nil {
		return DeviceCode{}, err
	}
	return DeviceCode{cred.Text(bearer.DevicePrefix), code.String(), Seconds(d.expiresIn), Seconds(d.interval)}, nil
}

// alias returns the ID of the record of a log-in that waits under code.
func (d *DeviceLogin) alias(code bearer.UserCode) ID {
	return bearer.DeviceAlias(d.p.access.prefix, d.p.refresh.prefix, code)
}

// aliasFrom returns a record of storage.KindAlias that is valid from now until that instant, for a
// transaction of now.
func (m *Manager) aliasFrom(id ID, subject string, now, until time.Time) (rec storage.Record) {
	rec.ID, rec.Kind, rec.Prefix, rec.Subject = id, storage.KindAlias, bearer.DevicePrefix, subject
	rec.IssuedAt, rec.Epoch = now, m.marks.Epoch()
	rec.ExpiresAt, rec.MaxExpiresAt = until, until
	return rec
}

// deviceRecord is the record of a log-in of a device. Name, Scope and Data are those of the
// DeviceRequest, Digest is that of the device code, and LastUsedAt is the last Poll that found it
// waiting. Record.Sealed is a label with a version, then the fields below in their order: a byte, a
// number of milliseconds, an ID, and the rest.
type deviceRecord struct {
	rec      storage.Record
	state    deviceState
	interval time.Duration // how long the device has to wait from one Poll to the next
	session  ID            // that was approved
	client   string
}

// deviceState is how far a log-in of a device has come.
type deviceState byte

const (
	deviceWaiting deviceState = iota
	deviceApproved
	deviceDenied
	deviceRedeemed // the device has the texts; until ExpiresAt it is given them again
)

const (
	deviceLabel    = "d1"
	deviceAtState  = len(deviceLabel)
	deviceAtWait   = deviceAtState + 1
	deviceAtID     = deviceAtWait + 8
	deviceAtClient = deviceAtID + len(ID{})
)

// errDeviceRecord says that what the record of a device log-in keeps sealed cannot be read.
var errDeviceRecord = fmt.Errorf("%w: a record of a device log-in is damaged; begin the log-in again", ErrCorrupt)

// readDevice reads rec, an alias.
func readDevice(rec *storage.Record) (l deviceRecord, err error) {
	text := rec.Sealed.Text()
	if len(text) < deviceAtClient || !strings.HasPrefix(text, deviceLabel) || text[deviceAtState] > byte(deviceRedeemed) {
		return l, errDeviceRecord
	}
	l.rec, l.state = *rec, deviceState(text[deviceAtState])
	l.interval = time.Duration(int64At(session(text[deviceAtWait:]))) * time.Millisecond
	l.session, l.client = ID([]byte(text[deviceAtID:deviceAtClient])), text[deviceAtClient:]
	return l, nil
}

// putIn puts l.
func (l *deviceRecord) putIn(tx storage.Tx) error {
	b := append([]byte(deviceLabel), byte(l.state))
	b = binary.BigEndian.AppendUint64(b, uint64(l.interval.Milliseconds()))
	b = append(append(b, l.session[:]...), l.client...)
	l.rec.Sealed = storage.NewSealed(string(b))
	return putIn(tx, &l.rec)
}

// judge returns the refusal of a log-in that is over at now: ErrExpired, ErrAccessDenied, ErrReplaced, or
// ErrRevoked after a new epoch of the clock. The *Rejection has no ID, because that leads to the user code.
func (d *DeviceLogin) judge(l *deviceRecord, now time.Time) error {
	live, seen := l.rec.Live(now), l.rec
	d.m.showClockEnd(&seen)
	switch {
	case !seen.EndedAt.IsZero():
		return &Rejection{Err: ErrRevoked, At: seen.EndedAt, Reason: seen.EndReason}
	case l.state == deviceDenied:
		return &Rejection{Err: ErrAccessDenied}
	case l.state == deviceRedeemed && !live:
		return &Rejection{Err: ErrReplaced}
	case !live:
		return &Rejection{Err: ErrExpired, At: l.rec.ExpiresAt}
	}
	return nil
}

// repeatable returns until when texts that are given at now may be given again. A device that lost the
// answer polls after its interval, or after twice as long (RFC 8628 section 3.5).
func (l *deviceRecord) repeatable(now time.Time, grace time.Duration) time.Time {
	if grace == 0 {
		return now
	}
	return latest(steady.Add(now, grace), capped(steady.Add(now, 2*l.interval), l.rec.ExpiresAt))
}

// amend has fn change the log-in l in a transaction, and puts it if fn returns true. Another log-in,
// which has come under its user code since l was read, is ErrUnknown.
func (d *DeviceLogin) amend(ctx context.Context, verb *call, l *deviceRecord, fn func(now time.Time) (put bool, err error)) error {
	id, digest := l.rec.ID, l.rec.Digest
	return d.m.update(ctx, verb, l.rec.Subject, func(tx storage.Tx, now time.Time) error {
		rec, err := aliasIn(tx, id)
		if err != nil {
			return err
		}
		if rec.ID != id || !rec.Digest.Equal(digest) {
			return &Rejection{Err: ErrUnknown}
		}
		if *l, err = readDevice(&rec); err != nil {
			return err
		}
		put, err := fn(now)
		if err != nil || !put {
			return err
		}
		return l.putIn(tx)
	})
}
