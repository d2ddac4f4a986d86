package lapse

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/hold"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Poll returns the texts of the session that a user has approved for the device with deviceCode, as
// Pairs.Issue does. They work from then on, and the session lives for its TTL from then on. client is
// the Client of the DeviceRequest.
//
// The texts are given again, to a device that lost the answer and to each of many Polls at once, within
// the grace (PairConfig.Grace) and within two intervals of the device as long as its codes live. They
// are given once with NoGrace, and never after a refresh. After an error of the store, or a crash, Poll
// again gives them. If the device polls no more, a session of which no client has a text stays until it ends.
//
// As long as no user has decided, the error is ErrAuthorizationPending, or ErrSlowDown if the device
// polls before its interval has passed. The store keeps each ErrSlowDown: the interval is 5 seconds
// longer from then on (RFC 8628 section 3.5). Each such Poll is one durable write.
//
// Errors that wrap ErrUnauthenticated carry a *Rejection: ErrMalformed; ErrUnknown, also for another
// client; ErrExpired; ErrAccessDenied; ErrReplaced, for a code whose texts were given; ErrRevoked and
// ErrSuspended, if the session was ended or suspended since the approval. Any other error is the
// store's or that of the context. (RFC 8628 section 3.5 calls ErrExpired expired_token, and RFC 6749
// section 5.2 the other refusals invalid_grant.)
func (d *DeviceLogin) Poll(ctx context.Context, deviceCode, client string) (c TokenPair, err error) {
	verb := d.m.begin(VerbPollDevice, &err)
	defer d.m.finish(ctx, &verb, &err)
	r, err := d.prove(ctx, &verb, deviceCode, client)
	if err != nil {
		return TokenPair{}, err
	}
	if r.login.state == deviceWaiting {
		if err := r.wait(ctx, &verb); err != nil {
			return TokenPair{}, d.m.verdict(ctx, &verb, ID{}, err)
		}
	}
	return r.redeem(ctx, &verb)
}

// Await is Poll that waits until a user has decided, the code runs out, or ctx ends: milliseconds
// after Approve it returns the texts. It is for a server that answers the device over a connection
// that stays open. It never returns ErrAuthorizationPending or ErrSlowDown, does not count as a Poll,
// and writes nothing while it waits.
//
// Where the store is a storage.Watcher, Await reads the record again when that has changed, and when
// the store tells of a gap. Where it is none, or its Watch has failed, Await reads the record every
// DeviceConfig.Interval. When Await returns, no goroutine of it is left.
func (d *DeviceLogin) Await(ctx context.Context, deviceCode, client string) (c TokenPair, err error) {
	verb := d.m.begin(VerbAwaitDevice, &err)
	defer d.m.finish(ctx, &verb, &err)
	r, err := d.prove(ctx, &verb, deviceCode, client)
	if err != nil {
		return TokenPair{}, err
	}
	if r.login.state == deviceWaiting {
		if err := r.await(ctx, &verb); err != nil {
			return TokenPair{}, d.m.verdict(ctx, &verb, ID{}, err)
		}
	}
	return r.redeem(ctx, &verb)
}

// prove returns the log-in of a device code. It refuses a code that is none, or whose log-in is over.
func (d *DeviceLogin) prove(ctx context.Context, verb *call, code, client string) (*redeeming, error) {
	r := &redeeming{d: d, client: client}
	if prefix, ok := r.code.Parse(code, bearer.DevicePrefix); !ok || prefix != bearer.DevicePrefix {
		return nil, d.m.refuse(ctx, verb, ErrMalformed)
	}
	if err := d.m.ready(ctx, verb); err != nil {
		return nil, err
	}
	if err := r.reload(ctx, verb); err != nil {
		return nil, d.m.verdict(ctx, verb, ID{}, err)
	}
	return r, nil
}

// redeeming is one Poll or Await. The session is given its texts first, under its subject, and then
// the log-in is redeemed, under a subject of its own. The texts derive from the device code. So they
// are the same as often as that is done, also after a crash in between.
type redeeming struct {
	d      *DeviceLogin
	code   bearer.Credential
	client string // that polls
	login  deviceRecord

	// The results of the transactions.
	access, refresh bearer.Credential
	session         storage.Record
	now             time.Time
	repeated        bool // the texts had been given before
}

// reload sets login. The error is a *Rejection if client has none for the code, or if it is over.
func (r *redeeming) reload(ctx context.Context, verb *call) error {
	rec, err := r.d.m.store.Get(ctx, r.code.ID())
	if err = ofAlias(r.code.ID(), &rec, err); err != nil {
		return storeError(verb.Verb, err)
	}
	if rec.ID != r.code.ID() || !r.code.Proves(r.d.binding, &rec.Digest) {
		return &Rejection{Err: ErrUnknown}
	}
	if r.login, err = readDevice(&rec); err != nil {
		return storeError(verb.Verb, err)
	}
	if r.login.client != r.client {
		return &Rejection{Err: ErrUnknown}
	}
	return r.d.judge(&r.login, r.d.m.now())
}

// wait records a Poll of a log-in that waits, and returns ErrAuthorizationPending or ErrSlowDown. It
// returns nil if a user has approved meanwhile.
func (r *redeeming) wait(ctx context.Context, verb *call) error {
	l, early := &r.login, false
	err := r.d.amend(ctx, verb, l, func(now time.Time) (bool, error) {
		if err := r.d.judge(l, now); err != nil || l.state != deviceWaiting {
			return false, err
		}
		if early = tooEarly(l, now); early {
			l.interval += slowDown
		}
		l.rec.LastUsedAt = now
		return true, nil
	})
	switch {
	case err != nil || l.state != deviceWaiting:
		return err
	case early:
		return ErrSlowDown
	}
	return ErrAuthorizationPending
}

// tooEarly reports whether a Poll at now comes before the interval since the last one has passed. A
// tenth of the interval is for the network: two requests that a client sends in that interval may
// arrive in less. A Poll after the clock was set back is not too early.
func tooEarly(l *deviceRecord, now time.Time) bool {
	passed := now.Sub(l.rec.LastUsedAt)
	return !l.rec.LastUsedAt.IsZero() && passed >= 0 && passed < l.interval-l.interval/10
}

// redeem gives the session its texts and redeems the log-in, and returns what Poll returns.
func (r *redeeming) redeem(ctx context.Context, verb *call) (TokenPair, error) {
	d := r.d
	if err := d.m.updateByID(ctx, verb, r.login.session, r.giveTexts); err != nil {
		return TokenPair{}, d.m.verdict(ctx, verb, r.login.session, err)
	}
	if r.repeated = r.login.state == deviceRedeemed; !r.repeated {
		if err := d.amend(ctx, verb, &r.login, r.markRedeemed); err != nil {
			return TokenPair{}, d.m.verdict(ctx, verb, r.login.session, err)
		}
	}
	if err := d.m.refuseOvertaken(ctx, verb, &r.session.Token, r.session.Epoch, 0); err != nil {
		return TokenPair{}, err
	}
	c := d.p.pair(&r.session, &r.access, &r.refresh, r.now)
	if c.Repeated = r.repeated; c.Repeated {
		d.m.repeated(ctx, verb, r.now, &c.Refresh.Token)
	} else {
		d.m.tell(ctx, verb, Event{Kind: EventRedeemed, At: r.now, Token: c.Refresh.Token})
	}
	return c, nil
}

// giveTexts is the transaction of the session's subject. A session that waits for its texts ends with
// the codes, so a session that is alive is in time.
func (r *redeeming) giveTexts(tx storage.Tx, now time.Time) (err error) {
	p := r.d.p
	j := judged{stands: currentText}
	if j.rec, err = getIn(tx, r.login.session); err != nil {
		return err
	}
	kept, ok := sessionOf(&j.rec)
	if !ok || !p.rules.made(&j.rec) {
		return errSecrets
	}
	if err := r.d.m.viewLiveIn(tx, &j, 0, now); err != nil {
		return err
	}
	r.access, r.refresh = p.derive(&r.code, j.rec.ID, kept.key(), 0, j.rec.ID[:])
	r.session, r.now = j.rec, now
	rec := &r.session
	switch {
	case kept.hasTexts() && !r.refresh.Proves(p.refresh.binding, &rec.Digest):
		return &Rejection{Err: ErrReplaced, ID: rec.ID, Subject: rec.Subject}
	case kept.hasTexts():
		return nil
	}
	rec.MaxExpiresAt = j.tok.MaxExpiresAt
	rec.ExpiresAt = capped(latest(j.tok.ExpiresAt, steady.Add(now, rec.TTL)), rec.MaxExpiresAt) // or an Edit gave it longer
	given := sessionParts{
		refreshPrefix: p.refresh.prefix,
		accessScope:   rec.Scope,
		key:           kept.key(),
		accessExpires: capped(steady.Add(now, kept.accessTTL()), rec.ExpiresAt),
		accessTTL:     kept.accessTTL(),
		access:        r.access.Sum(p.access.binding),
	}
	rec.Digest, rec.Sealed = r.refresh.Digest(p.refresh.binding), given.seal()
	return putIn(tx, rec)
}

// markRedeemed redeems the log-in. It does not ask whether the codes have run out since the session got
// its texts in time.
func (r *redeeming) markRedeemed(now time.Time) (bool, error) {
	l := &r.login
	if r.repeated = l.state == deviceRedeemed; r.repeated {
		return false, r.d.judge(l, now)
	}
	l.state = deviceRedeemed
	l.rec.ExpiresAt = l.repeatable(now, r.d.p.grace)
	l.rec.MaxExpiresAt = l.rec.ExpiresAt
	return true, nil
}

// await returns nil once a user has approved, or the *Rejection of a log-in that is over. A watch has
// begun before the record is read, so no change is missed.
func (r *redeeming) await(ctx context.Context, verb *call) error {
	changed, stop := r.watch(ctx)
	defer stop()
	for {
		if err := r.reload(ctx, verb); err != nil || r.login.state != deviceWaiting {
			return err
		}
		if err := r.pause(ctx, verb, changed); err != nil {
			return err
		}
	}
}

// pause returns when the record is to be read again: on a change, or when the codes have run out; and
// after the interval if changed is nil or closed. With a watch the clock is read every hold.WakeEvery,
// because it may have been set, or the machine may have been suspended.
func (r *redeeming) pause(ctx context.Context, verb *call, changed <-chan struct{}) error {
	m, l := r.d.m, &r.login
	for {
		left := l.rec.ExpiresAt.Sub(m.now())
		if left <= 0 || m.fromEarlierEpoch(&l.rec) {
			return nil
		}
		wait := min(left, r.d.interval)
		if changed != nil {
			wait = min(left, hold.WakeEvery)
		}
		select {
		case <-ctx.Done():
			return storeError(verb.Verb, ctx.Err())
		case _, watched := <-changed:
			if watched {
				return nil
			}
			changed = nil
		case <-m.clock.After(wait):
			if changed == nil {
				return nil
			}
			if err := m.ready(ctx, verb); err != nil {
				return err
			}
		}
	}
}

// watch returns a channel that has a value when the record may have changed, and is closed when the
// watch has failed; nil if the store is no Watcher. stop ends the watch, and waits for it.
func (r *redeeming) watch(ctx context.Context) (changed chan struct{}, stop func()) {
	watcher, ok := r.d.m.store.(storage.Watcher)
	if !ok {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	changed, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		defer close(changed)
		for c, err := range watcher.Watch(ctx) {
			if err != nil {
				return
			}
			if !c.Gap && c.ID != r.code.ID() {
				continue
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed, func() {
		cancel()
		<-done
	}
}
