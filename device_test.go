package lapse_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// devices is a DeviceLogin of pairs.
type devices struct {
	*pairs
	*lapse.DeviceLogin
}

func newDevices(t *testing.T, store storage.Store, cfg lapse.PairConfig, device lapse.DeviceConfig) *devices {
	t.Helper()
	p := newPairs(t, store, cfg)
	return &devices{p, lapsetest.Must(lapse.NewDeviceLogin(p.Pairs, device))}
}

var kitchen = lapse.DeviceRequest{Client: "tv", Name: "television in the kitchen", Scope: "watch record", Data: "192.0.2.7"}

// begun begins a log-in of kitchen.
func (d *devices) begun() lapse.DeviceCode {
	d.t.Helper()
	c, err := d.Begin(d.ctx, kitchen)
	if err != nil {
		d.t.Fatalf("Begin: %v", err)
	}
	return c
}

// approved begins a log-in that ana approves.
func (d *devices) approved() (lapse.DeviceCode, lapse.Token) {
	d.t.Helper()
	c := d.begun()
	tok, err := d.Approve(d.ctx, c.UserCode, lapse.Grant{Subject: "ana", Name: "TV", Scope: "watch"})
	if err != nil {
		d.t.Fatalf("Approve: %v", err)
	}
	return c, tok
}

// wantPoll expects an error of Poll, and of a nil one texts that work.
func (d *devices) wantPoll(what string, c lapse.DeviceCode, want error) lapse.TokenPair {
	d.t.Helper()
	got, err := d.Poll(d.ctx, c.Code, "tv")
	lapsetest.WantIs(d.t, what, err, want)
	if (got.Access.Bearer == "") != (err != nil) {
		d.t.Errorf("%s: %v, and the texts %+v", what, err, got)
	}
	if err == nil {
		d.wantAccess(what, got, nil)
	}
	return got
}

// TestDeviceLogin goes once from the codes to the second pair of texts.
func TestDeviceLogin(t *testing.T) {
	d := newDevices(t, memory.New(), lapse.PairConfig{}, lapse.DeviceConfig{})
	c := d.begun()
	if c.ExpiresIn != lapse.Seconds(10*time.Minute) || c.Interval != lapse.Seconds(5*time.Second) || len(c.UserCode) != 9 || c.UserCode[4] != '-' {
		t.Errorf("codes: %v %q", c, c.UserCode)
	}
	d.wantPoll("undecided", c, lapse.ErrAuthorizationPending)
	asked, err := d.Lookup(d.ctx, " "+strings.ToLower(strings.ReplaceAll(c.UserCode, "-", " "))+"-", "ana")
	if err != nil || asked != kitchen {
		t.Errorf("Lookup: %+v, %v", asked, err)
	}
	d.clock.Add(time.Minute)
	approvedAt := d.Now()
	tok, err := d.Approve(d.ctx, c.UserCode, lapse.Grant{Subject: "ana", Name: asked.Name, Scope: "watch", Client: "another"})
	if err != nil || tok.Subject != "ana" || tok.Client != asked.Client || tok.Kind != lapse.KindSession || !tok.ExpiresAt.Equal(approvedAt.Add(9*time.Minute)) {
		t.Fatalf("Approve: %+v, %v", tok, err)
	}
	d.wantSessions(t, "approved", tok.ID)
	d.clock.Add(time.Minute)
	got := d.wantPoll("approved", c, nil)
	switch now := d.Now(); {
	case got.Refresh.ID != tok.ID, got.Scope != "watch", got.Refresh.Name != asked.Name, got.Refresh.Client != asked.Client, got.Repeated:
		t.Errorf("Poll: %+v", got)
	case got.ExpiresIn != lapse.Seconds(15*time.Minute), !got.Refresh.ExpiresAt.Equal(now.Add(30 * 24 * time.Hour)):
		t.Errorf("life from the answer: %+v", got)
	case !got.Refresh.MaxExpiresAt.Equal(approvedAt.Add(90 * 24 * time.Hour)):
		t.Errorf("cap from the approval: %+v", got)
	}
	d.next(got)
	d.wantPoll("after a refresh, in the grace", c, lapse.ErrReplaced)
	var kinds []lapse.EventKind
	for _, e := range d.events {
		kinds = append(kinds, e.Kind)
	}
	if want := []lapse.EventKind{lapse.EventIssued, lapse.EventRedeemed, lapse.EventRotated, lapse.EventSpent}; !slices.Equal(kinds, want) {
		t.Errorf("events %v; want %v", kinds, want)
	}
}

// TestDeviceCodeIsOneTime: the texts are given once, and the same again until the grace ends, or two
// intervals have passed, but not longer than the codes live. The codes are approved and redeemed at once.
func TestDeviceCodeIsOneTime(t *testing.T) {
	for _, row := range []struct {
		grace, interval, after time.Duration
		want                   error
	}{
		{0, 0, 0, nil},
		{0, 0, 10*time.Second - time.Millisecond, nil},
		{0, 0, 10 * time.Second, lapse.ErrReplaced},
		{0, 0, 10*time.Second + time.Millisecond, lapse.ErrReplaced},
		{0, 20 * time.Second, 40*time.Second - time.Millisecond, nil},
		{0, 20 * time.Second, 40 * time.Second, lapse.ErrReplaced},
		{0, 20 * time.Second, 40*time.Second + time.Millisecond, lapse.ErrReplaced},
		{0, 8 * time.Minute, 10*time.Minute - time.Millisecond, nil},
		{0, 8 * time.Minute, 10 * time.Minute, lapse.ErrReplaced},
		{0, 8 * time.Minute, 10*time.Minute + time.Millisecond, lapse.ErrReplaced},
		{time.Minute, time.Second, time.Minute - time.Millisecond, nil},
		{time.Minute, time.Second, time.Minute, lapse.ErrReplaced},
		{lapse.NoGrace, 0, 0, lapse.ErrReplaced},
		{lapse.NoGrace, 20 * time.Second, 0, lapse.ErrReplaced},
	} {
		t.Run(fmt.Sprint(row.grace, row.interval, row.after), func(t *testing.T) {
			d := newDevices(t, memory.New(), lapse.PairConfig{Grace: row.grace}, lapse.DeviceConfig{Interval: row.interval})
			c, _ := d.approved()
			first := d.wantPoll("first", c, nil)
			d.clock.Add(row.after)
			again := d.wantPoll("again", c, row.want)
			if row.want == nil && (again.Access.Bearer != first.Access.Bearer || again.Refresh.Bearer != first.Refresh.Bearer || !again.Repeated) {
				t.Errorf("other texts: %+v, then %+v", first, again)
			}
			d.wantAccess("the first texts", first, nil)
		})
	}
}

// TestDeviceCodesRunOut: at ExpiresIn the codes work no more, in whatever state, and what was approved
// has no texts.
func TestDeviceCodesRunOut(t *testing.T) {
	for _, row := range []struct {
		at      time.Duration
		pending error // of codes that wait
		taken   error // of codes that are approved
	}{
		{10*time.Minute - time.Millisecond, lapse.ErrAuthorizationPending, nil},
		{10 * time.Minute, lapse.ErrExpired, lapse.ErrExpired},
		{10*time.Minute + time.Millisecond, lapse.ErrExpired, lapse.ErrExpired},
	} {
		t.Run(fmt.Sprint(row.at), func(t *testing.T) {
			d := newDevices(t, memory.New(), lapse.PairConfig{}, lapse.DeviceConfig{})
			waiting, denied := d.begun(), d.begun()
			approved, tok := d.approved()
			lapsetest.WantIs(t, "Deny", d.Deny(d.ctx, denied.UserCode, "ana"), nil)
			d.clock.Add(row.at)
			d.wantPoll("waiting", waiting, row.pending)
			d.wantPoll("denied", denied, lapse.ErrAccessDenied)
			d.wantPoll("approved", approved, row.taken)
			_, err := d.Lookup(d.ctx, waiting.UserCode, "ana")
			lapsetest.WantIs(t, "Lookup", err, row.taken)
			lapsetest.WantIs(t, "Deny", d.Deny(d.ctx, waiting.UserCode, "ana"), row.taken)
			_, err = d.Approve(d.ctx, waiting.UserCode, lapse.Grant{Subject: "ana"})
			if row.taken == nil {
				lapsetest.WantIs(t, "Approve of the denied", err, lapse.ErrAccessDenied)
				return
			}
			lapsetest.WantIs(t, "Approve", err, row.taken)
			d.wantSessions(t, "nothing lives")
			if r := d.record(tok.ID); r.Live(d.Now()) {
				t.Errorf("the session lives on: %+v", r)
			}
		})
	}
}

// TestDeviceInterval: a Poll before nine tenths of the interval is ErrSlowDown, and each adds 5 seconds,
// which another process knows of.
func TestDeviceInterval(t *testing.T) {
	d := newDevices(t, memory.New(), lapse.PairConfig{}, lapse.DeviceConfig{})
	other := lapsetest.Must(lapse.NewDeviceLogin(d.others(lapse.PairConfig{}), lapse.DeviceConfig{Interval: time.Second}))
	c := d.begun()
	for _, row := range []struct {
		after time.Duration
		want  error
	}{
		{0, lapse.ErrAuthorizationPending}, // the first one
		{4500 * time.Millisecond, lapse.ErrAuthorizationPending},
		{4499 * time.Millisecond, lapse.ErrSlowDown}, // 10 seconds from now on
		{8999 * time.Millisecond, lapse.ErrSlowDown}, // 15
		{13500 * time.Millisecond, lapse.ErrAuthorizationPending},
		{13499 * time.Millisecond, lapse.ErrSlowDown}, // 20
		{18 * time.Second, lapse.ErrAuthorizationPending},
		{-time.Second, lapse.ErrSlowDown}, // time stands still: 25
		{24 * time.Second, lapse.ErrAuthorizationPending},
	} {
		d.clock.Add(row.after)
		_, err := other.Poll(d.ctx, c.Code, "tv")
		lapsetest.WantIs(t, fmt.Sprint("after ", row.after), err, row.want)
	}
	if _, err := d.Approve(d.ctx, c.UserCode, lapse.Grant{Subject: "ana"}); err != nil {
		t.Fatal(err)
	}
	d.wantPoll("an approved one is never too early", c, nil)
}

// TestDeviceIntervalIsWhole: a device that polls as often as the JSON of its codes says is never too early.
func TestDeviceIntervalIsWhole(t *testing.T) {
	for interval, want := range map[time.Duration]int{
		time.Millisecond: 1, time.Second - time.Millisecond: 1, time.Second: 1, time.Second + time.Millisecond: 2,
		2*time.Second - time.Millisecond: 2, 2 * time.Second: 2,
	} {
		d := newDevices(t, memory.New(), lapse.PairConfig{}, lapse.DeviceConfig{Interval: interval})
		c := d.begun()
		var told struct{ Interval int }
		if err := json.Unmarshal(lapsetest.Must(json.Marshal(c)), &told); err != nil || told.Interval != want {
			t.Errorf("%v: the device is told %d, %v; want %d", interval, told.Interval, err, want)
		}
		for range 3 {
			_, err := d.Poll(d.ctx, c.Code, "tv")
			lapsetest.WantIs(t, interval.String(), err, lapse.ErrAuthorizationPending)
			d.clock.Add(time.Duration(told.Interval) * time.Second)
		}
	}
}

// TestDeviceGuesses: 5 wrong codes within ExpiresIn are a subject's, in any process, and right ones do
// not count.
func TestDeviceGuesses(t *testing.T) {
	d := newDevices(t, memory.New(), lapse.PairConfig{}, lapse.DeviceConfig{})
	c := d.begun()
	wrong := "BCDF-GHJK"
	if wrong == c.UserCode {
		wrong = "WDJB-MJHT"
	}
	enter := []func(on *lapse.DeviceLogin, code, subject string) error{
		func(on *lapse.DeviceLogin, code, subject string) error {
			_, err := on.Lookup(d.ctx, code, subject)
			return err
		},
		func(on *lapse.DeviceLogin, code, subject string) error {
			_, err := on.Approve(d.ctx, code, lapse.Grant{Subject: subject})
			return err
		},
		func(on *lapse.DeviceLogin, code, subject string) error { return on.Deny(d.ctx, code, subject) },
	}
	for n := range 5 {
		restarted := lapsetest.Must(lapse.NewDeviceLogin(d.others(lapse.PairConfig{}), lapse.DeviceConfig{}))
		lapsetest.WantIs(t, "right", enter[0](restarted, c.UserCode, "eve"), nil)
		lapsetest.WantIs(t, "malformed", enter[n%3](restarted, "BCDF-GHJA", "eve"), lapse.ErrMalformed)
		lapsetest.WantIs(t, "wrong", enter[n%3](restarted, wrong, "eve"), lapse.ErrUnknown)
	}
	for _, do := range enter {
		lapsetest.WantIs(t, "sixth", do(d.DeviceLogin, wrong, "eve"), lapse.ErrGuesses)
		lapsetest.WantIs(t, "a right one then", do(d.DeviceLogin, c.UserCode, "eve"), lapse.ErrGuesses)
	}
	lapsetest.WantIs(t, "another subject", enter[0](d.DeviceLogin, c.UserCode, "ana"), nil)
	d.clock.Add(10*time.Minute - time.Millisecond)
	lapsetest.WantIs(t, "before the end", enter[0](d.DeviceLogin, wrong, "eve"), lapse.ErrGuesses)
	d.clock.Add(time.Millisecond)
	lapsetest.WantIs(t, "at the end", enter[0](d.DeviceLogin, wrong, "eve"), lapse.ErrUnknown)
}

// TestDevicePollsAtOnce: 64 Polls at once, in all pairs of calls of the store, are given one session.
func TestDevicePollsAtOnce(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		var redeemed atomic.Int32
		told := func(_ context.Context, e lapse.Event) {
			if e.Kind == lapse.EventRedeemed {
				redeemed.Add(1)
			}
		}
		d := newDevices(t, store, lapse.PairConfig{Access: lapse.Config{Observe: told}}, lapse.DeviceConfig{})
		c, tok := d.approved()
		var got [64]lapse.TokenPair
		lapsetest.Arrivals(store, len(got), storagetest.OpGet)
		for _, err := range lapsetest.Together(len(got), func(i int) (err error) {
			got[i], err = d.Poll(d.ctx, c.Code, "tv")
			return err
		}) {
			lapsetest.WantIs(t, "Poll", err, nil)
		}
		store.Before(nil)
		firsts := 0
		for i := range got {
			if got[i].Access.Bearer != got[0].Access.Bearer || got[i].Refresh.Bearer != got[0].Refresh.Bearer {
				t.Errorf("Poll %d has other texts", i)
			}
			if !got[i].Repeated {
				firsts++
			}
		}
		if firsts != 1 || redeemed.Load() != 1 {
			t.Errorf("%d of the answers are the first, and %d events say so", firsts, redeemed.Load())
		}
		d.wantSessions(t, "one", tok.ID)
	})
}

// TestDeviceApprovalIsTakenBack: an approval ends with its session, until the device has the texts.
func TestDeviceApprovalIsTakenBack(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(d *devices, tok lapse.Token) error
		want error
	}{
		{"Expire", func(d *devices, tok lapse.Token) error { _, err := d.Expire(d.ctx, tok.ID); return err }, lapse.ErrRevoked},
		{"ExpireSubject", func(d *devices, _ lapse.Token) error { _, err := d.ExpireSubject(d.ctx, "ana"); return err }, lapse.ErrRevoked},
		{"Suspend", func(d *devices, tok lapse.Token) error { _, err := d.Suspend(d.ctx, tok.ID); return err }, lapse.ErrSuspended},
		{"ForgetSubject", func(d *devices, _ lapse.Token) error { _, err := d.ForgetSubject(d.ctx, "ana"); return err }, lapse.ErrUnknown},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDevices(t, memory.New(), lapse.PairConfig{}, lapse.DeviceConfig{})
			c, tok := d.approved()
			lapsetest.WantIs(t, row.name, row.do(d, tok), nil)
			d.wantPoll("Poll", c, row.want)
			_, err := d.Approve(d.ctx, c.UserCode, lapse.Grant{Subject: "ana"})
			lapsetest.WantIs(t, "Approve again", err, row.want)
			d.wantPoll("Poll then", c, row.want)
		})
	}
}

// TestDeviceSessionIsEdited: the texts of a session that was edited while it waited for them are those of
// the session as it is then, also where its expiry lies beyond the TTL that begins with the texts.
func TestDeviceSessionIsEdited(t *testing.T) {
	const ttl = 30 * 24 * time.Hour
	for _, row := range []struct{ expires, want time.Duration }{
		{time.Minute, time.Minute},
		{11 * time.Minute, ttl},
		{ttl - time.Millisecond, ttl},
		{ttl, ttl},
		{ttl + time.Millisecond, ttl + time.Millisecond},
		{2 * ttl, 2 * ttl},
	} {
		t.Run(fmt.Sprint(row.expires), func(t *testing.T) {
			d := newDevices(t, memory.New(), lapse.PairConfig{}, lapse.DeviceConfig{})
			c, tok := d.approved()
			at, scope := d.Now().Add(row.expires), ""
			lapsetest.Must(d.Edit(d.ctx, tok.ID, lapse.Changes{ExpiresAt: &at, Scope: &scope}))
			got := d.wantPoll("edited", c, nil)
			if left := got.Refresh.ExpiresAt.Sub(d.Now()); left != row.want || got.Scope != "" {
				t.Errorf("the session lives for %v with the scope %q; want %v and none", left, got.Scope, row.want)
			}
		})
	}
}

// TestDeviceSessionOfAShortLife: a session whose TTL is shorter than what is left of the codes waits for its
// texts no longer than that, and lives for as long once it has them.
func TestDeviceSessionOfAShortLife(t *testing.T) {
	for _, row := range []struct {
		after time.Duration
		want  error
	}{
		{time.Minute - time.Millisecond, nil},
		{time.Minute, lapse.ErrExpired},
		{time.Minute + time.Millisecond, lapse.ErrExpired},
	} {
		t.Run(fmt.Sprint(row.after), func(t *testing.T) {
			d := newDevices(t, memory.New(), lapse.PairConfig{}, lapse.DeviceConfig{})
			c := d.begun()
			lapsetest.Must(d.Approve(d.ctx, c.UserCode, lapse.Grant{Subject: "ana", SessionTTL: time.Minute}))
			d.clock.Add(row.after)
			got := d.wantPoll("approved for a minute", c, row.want)
			if left := got.Refresh.ExpiresAt.Sub(d.Now()); row.want == nil && left != time.Minute {
				t.Errorf("the session lives for %v from then on", left)
			}
		})
	}
}

// TestDeviceRecordsAreHidden: lists, counts, limits, and verbs that take an ID or a subject find no
// record of a device log-in; Sweep deletes it.
func TestDeviceRecordsAreHidden(t *testing.T) {
	d := newDevices(t, memory.New(), lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitRefuse}}}, lapse.DeviceConfig{})
	for range 3 {
		c := d.begun()
		_, err := d.Lookup(d.ctx, c.UserCode, "ana")
		lapsetest.WantIs(t, "Lookup", err, nil)
	}
	if n, err := d.Count(d.ctx, lapse.Query{}); n != 0 || err != nil {
		t.Errorf("Count: %d, %v", n, err)
	}
	recs := d.contents()
	if len(recs) != 4 {
		t.Fatalf("%d records; want 3 log-ins and a count of guesses", len(recs))
	}
	for _, r := range recs {
		_, err := d.Token(d.ctx, r.ID)
		lapsetest.WantIs(t, "Token", err, lapse.ErrNotFound)
		if ended, err := d.Expire(d.ctx, r.ID); ended || err != nil {
			t.Errorf("Expire: %v, %v", ended, err)
		}
		if r.Subject == "ana" {
			continue
		}
		for what, do := range map[string]func() error{
			"Issue":         func() error { _, err := d.Manager.Issue(d.ctx, lapse.Grant{Subject: r.Subject}); return err },
			"ExpireSubject": func() error { _, err := d.ExpireSubject(d.ctx, r.Subject); return err },
			"ForgetSubject": func() error { _, err := d.ForgetSubject(d.ctx, r.Subject); return err },
			"Deny":          func() error { return d.Deny(d.ctx, "BCDF-GHJK", r.Subject) },
		} {
			lapsetest.WantIs(t, what, do(), lapse.ErrInvalidGrant)
		}
	}
	d.first(lapse.Grant{})
	c := d.begun()
	_, err := d.Approve(d.ctx, c.UserCode, lapse.Grant{Subject: "ana"})
	lapsetest.WantIs(t, "over the limit", err, lapse.ErrLimit)
	d.wantPoll("after that", c, lapse.ErrAuthorizationPending)
	d.clock.Add(24*time.Hour + 10*time.Minute + time.Millisecond)
	if n, err := d.Sweep(d.ctx); n != 5 || err != nil {
		t.Errorf("Sweep: %d, %v; want 5", n, err)
	}
	_, err = lapse.New(memory.New(), lapse.Config{Prefix: recs[0].Prefix})
	lapsetest.WantIs(t, "a Manager of their prefix", err, lapse.ErrInvalidConfig)
}

// deviceScene is a store on which one verb of a device log-in is tried. ana has as many sessions as she
// may: to approve one more evicts the idlest.
type deviceScene struct {
	*devices
	asks, may, has lapse.DeviceCode // undecided, approved, redeemed
	given          lapse.TokenPair  // to has
}

func newDeviceScene(t *testing.T, wrap func(storage.Store) storage.Store) *deviceScene {
	t.Helper()
	var store storage.Store = storagetest.NewFaulty(memory.New())
	if wrap != nil {
		store = wrap(store)
	}
	s := &deviceScene{devices: newDevices(t, store, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 3}}}, lapse.DeviceConfig{})}
	s.first(lapse.Grant{})
	s.clock.Add(time.Second)
	s.asks, s.has = s.begun(), s.begun()
	s.may, _ = s.approved()
	lapsetest.Must(s.Approve(s.ctx, s.has.UserCode, lapse.Grant{Subject: "ana"}))
	s.given = s.wantPoll("the scene", s.has, nil)
	s.clock.Add(time.Second)
	s.events = nil
	s.store.Reset()
	return s
}

// deviceVerbs are all that a DeviceLogin does to a store. Each returns a text, if it gave any.
var deviceVerbs = []struct {
	name string
	want error // without a fault
	do   func(ctx context.Context, s *deviceScene) (gave string, err error)
}{
	{"Begin", nil, func(ctx context.Context, s *deviceScene) (string, error) {
		c, err := s.Begin(ctx, kitchen)
		return c.Code, err
	}},
	{"Lookup", nil, func(ctx context.Context, s *deviceScene) (string, error) {
		r, err := s.Lookup(ctx, s.asks.UserCode, "ana")
		return r.Name, err
	}},
	{"Lookup of a wrong code", lapse.ErrUnknown, func(ctx context.Context, s *deviceScene) (string, error) {
		r, err := s.Lookup(ctx, "BCDF-GHJK", "ana")
		return r.Name, err
	}},
	{"Approve", nil, func(ctx context.Context, s *deviceScene) (string, error) {
		tok, err := s.Approve(ctx, s.asks.UserCode, lapse.Grant{Subject: "ana"})
		return tok.Subject, err
	}},
	{"Approve again", nil, func(ctx context.Context, s *deviceScene) (string, error) {
		tok, err := s.Approve(ctx, s.may.UserCode, lapse.Grant{Subject: "ana"})
		return tok.Subject, err
	}},
	{"Deny", nil, func(ctx context.Context, s *deviceScene) (string, error) {
		return "", s.Deny(ctx, s.asks.UserCode, "ana")
	}},
	{"Poll undecided", lapse.ErrAuthorizationPending, func(ctx context.Context, s *deviceScene) (string, error) {
		s.clock.Add(5 * time.Second)
		c, err := s.Poll(ctx, s.asks.Code, "tv")
		return c.Access.Bearer, err
	}},
	{"Poll", nil, func(ctx context.Context, s *deviceScene) (string, error) {
		c, err := s.Poll(ctx, s.may.Code, "tv")
		return c.Access.Bearer, err
	}},
	{"Poll again", nil, func(ctx context.Context, s *deviceScene) (string, error) {
		c, err := s.Poll(ctx, s.has.Code, "tv")
		return c.Access.Bearer, err
	}},
	{"Await", nil, func(ctx context.Context, s *deviceScene) (string, error) {
		c, err := s.Await(ctx, s.may.Code, "tv")
		return c.Access.Bearer, err
	}},
}

// TestDeviceFaults fails each call of the store that each verb makes, in each way. Then the verb gave
// nothing, and called again it comes to what it would have come to. If it is not called again, no text
// works that was not given, and what waits for its texts ends with the codes.
func TestDeviceFaults(t *testing.T) {
	for _, verb := range deviceVerbs {
		s := newDeviceScene(t, nil)
		_, err := verb.do(s.ctx, s)
		lapsetest.WantIs(t, verb.name, err, verb.want)
		for n := 1; n <= len(s.store.Calls()); n++ {
			for _, fault := range callFaults {
				if fault.mode == storagetest.FailAfter && s.store.Calls()[n-1] == storagetest.OpGet && verb.want == lapse.ErrUnknown {
					continue // a Get that finds nothing has an error of its own
				}
				for _, again := range []bool{true, false} {
					t.Run(fmt.Sprintf("%s/call %d/%v %v/again %v", verb.name, n, fault.mode, fault.err, again), func(t *testing.T) {
						s := newDeviceScene(t, nil)
						s.store.Inject(n, fault.mode, fault.err)
						gave, err := verb.do(lateAt(s.ctx, s.store, n, fault.mode), s)
						if !s.store.Fired() {
							t.Fatal("the fault did not happen")
						}
						s.wantNothing(t, gave, err, fault.want)
						if again {
							_, err := verb.do(s.ctx, s)
							lapsetest.WantIs(t, "again", err, verb.want)
							return
						}
						s.wantAbandoned(t)
					})
				}
			}
		}
		t.Run(verb.name+"/panics", func(t *testing.T) {
			for n := 1; n <= len(s.store.Calls()); n++ {
				s := newDeviceScene(t, nil)
				s.store.Inject(n, storagetest.Panic, nil)
				if !panics(func() { verb.do(s.ctx, s) }) {
					t.Errorf("call %d: the store's panic was swallowed", n)
				}
				_, err := verb.do(s.ctx, s)
				lapsetest.WantIs(t, "again", err, verb.want)
			}
		})
	}
}

// wantNothing: the verb failed for the store's reason, gave nothing, and told of nothing but of what
// it evicted.
func (s *deviceScene) wantNothing(t *testing.T, gave string, err, want error) {
	t.Helper()
	lapsetest.WantIs(t, "error", err, want)
	if gave != "" || errors.Is(err, lapse.ErrUnauthenticated) {
		t.Errorf("it failed with %v, and gave %q", err, gave)
	}
	for _, e := range s.events {
		if e.Kind != lapse.EventEnded || s.record(e.Token.ID).EndReason != lapse.EndEvicted {
			t.Errorf("told of %+v", e)
		}
	}
}

// wantAbandoned: once the codes have run out, only texts work that were given, and what is listed
// beside has texts that no code gives any more.
func (s *deviceScene) wantAbandoned(t *testing.T) {
	t.Helper()
	before := map[lapse.ID]bool{}
	for tok, err := range s.Sessions(s.ctx, "ana") {
		lapsetest.WantIs(t, "Sessions", err, nil)
		before[tok.ID] = tok.ExpiresAt.After(s.clock.Now().Add(time.Hour)) // it has had texts
	}
	s.clock.Add(10 * time.Minute)
	for _, c := range []lapse.DeviceCode{s.asks, s.may} {
		if got, err := s.Poll(s.ctx, c.Code, "tv"); !errors.Is(err, lapse.ErrUnauthenticated) {
			t.Errorf("an old code gives %+v, %v", got, err)
		}
	}
	for tok := range s.Sessions(s.ctx, "ana") {
		if !before[tok.ID] {
			t.Errorf("%v lives on without texts", tok.ID)
		}
	}
	if r := s.record(s.given.Refresh.ID); r.Live(s.clock.Now()) { // or it was evicted
		s.next(s.given)
	}
}

// TestDeviceTxFaults fails each call that each verb makes inside its transactions.
func TestDeviceTxFaults(t *testing.T) {
	for _, verb := range deviceVerbs {
		n := 1
		for ; ; n++ {
			faults := &txFaults{left: -1}
			s := newDeviceScene(t, func(store storage.Store) storage.Store {
				faults.Store = store
				return faults
			})
			faults.left = n
			gave, err := verb.do(s.ctx, s)
			if faults.done() {
				break
			}
			s.wantNothing(t, gave, err, errDisk)
			_, err = verb.do(s.ctx, s)
			lapsetest.WantIs(t, fmt.Sprintf("%s, call %d: again", verb.name, n), err, verb.want)
		}
		if n < 3 && verb.name != "Poll again" {
			t.Errorf("%s: only %d calls failed", verb.name, n-1)
		}
	}
}

// awaiting calls Await in a bubble, and returns what it will have returned.
func awaiting(ctx context.Context, d *lapse.DeviceLogin, c lapse.DeviceCode) (answer func() (lapse.TokenPair, error), done *atomic.Bool) {
	done = new(atomic.Bool)
	var got lapse.TokenPair
	var err error
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer done.Store(true)
		got, err = d.Await(ctx, c.Code, "tv")
	}()
	return func() (lapse.TokenPair, error) { <-over; return got, err }, done
}

// deaf is a Watcher whose Watch fails, or tells of a gap again and again, and of nothing else.
type deaf struct {
	*memory.Store
	gaps  bool
	reads atomic.Int32
}

func (s *deaf) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	s.reads.Add(1)
	return s.Store.Get(ctx, id)
}

func (s *deaf) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	return func(yield func(storage.Change, error) bool) {
		for s.gaps && yield(storage.Change{Gap: true}, nil) {
			select {
			case <-ctx.Done():
				yield(storage.Change{}, ctx.Err())
				return
			case <-time.After(time.Minute):
			}
		}
		if !s.gaps {
			yield(storage.Change{}, storage.ErrUnavailable)
		}
	}
}

// bubbleDevices is a DeviceLogin on store by the clock of the bubble.
func bubbleDevices(store storage.Store) *lapse.DeviceLogin {
	p := lapsetest.Must(lapse.NewPairs(store, lapse.PairConfig{}))
	return lapsetest.Must(lapse.NewDeviceLogin(p, lapse.DeviceConfig{}))
}

// TestAwait: Await returns what Poll would, at once where the store tells of changes, and after the
// interval where it does not. It leaves no goroutine, or the bubble does not end.
func TestAwait(t *testing.T) {
	for name, row := range map[string]struct {
		store func() storage.Store
		late  time.Duration // at most
	}{
		"a Watcher":      {func() storage.Store { return memory.New() }, 0},
		"gaps alone":     {func() storage.Store { return &deaf{Store: memory.New(), gaps: true} }, time.Minute},
		"a failed Watch": {func() storage.Store { return &deaf{Store: memory.New()} }, 5 * time.Second},
		"no Watcher":     {func() storage.Store { return storagetest.NewFaulty(memory.New()) }, 5 * time.Second},
	} {
		for _, end := range []struct {
			name string
			do   func(ctx context.Context, d *lapse.DeviceLogin, c lapse.DeviceCode) error
			want error
		}{
			{"Approve", func(ctx context.Context, d *lapse.DeviceLogin, c lapse.DeviceCode) error {
				_, err := d.Approve(ctx, c.UserCode, lapse.Grant{Subject: "ana"})
				return err
			}, nil},
			{"Deny", func(ctx context.Context, d *lapse.DeviceLogin, c lapse.DeviceCode) error {
				return d.Deny(ctx, c.UserCode, "ana")
			}, lapse.ErrAccessDenied},
		} {
			t.Run(name+"/"+end.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := bubbleDevices(row.store())
					c := lapsetest.Must(d.Begin(t.Context(), kitchen))
					answer, done := awaiting(t.Context(), d, c)
					time.Sleep(90 * time.Second)
					if synctest.Wait(); done.Load() {
						t.Fatal("Await has returned")
					}
					lapsetest.WantIs(t, end.name, end.do(t.Context(), d, c), nil)
					decided := time.Now()
					_, err := answer()
					lapsetest.WantIs(t, "Await", err, end.want)
					if late := time.Since(decided); late > row.late {
						t.Errorf("%v late", late)
					}
				})
			})
		}
	}
}

// TestAwaitEnds: Await ends with the codes, to the millisecond, and with its context at once. With a
// Watch it reads the record no more often than it changes.
func TestAwaitEnds(t *testing.T) {
	for name, store := range map[string]func() storage.Store{
		"a Watcher":  func() storage.Store { return memory.New() },
		"no Watcher": func() storage.Store { return storagetest.NewFaulty(memory.New()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := bubbleDevices(store())
				c := lapsetest.Must(d.Begin(t.Context(), kitchen))
				ctx, cancel := context.WithCancelCause(t.Context())
				whole, _ := awaiting(t.Context(), d, c)
				part, _ := awaiting(ctx, d, c)
				begun := time.Now()
				time.Sleep(time.Minute)
				cancel(nil)
				_, err := part()
				lapsetest.WantIs(t, "canceled", err, context.Canceled)
				if took := time.Since(begun); took != time.Minute {
					t.Errorf("it ended after %v", took)
				}
				_, err = whole()
				lapsetest.WantIs(t, "run out", err, lapse.ErrExpired)
				if took := time.Since(begun); took < 10*time.Minute-time.Millisecond || took > 10*time.Minute+time.Millisecond {
					t.Errorf("it ran out after %v", took)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		store := &deaf{Store: memory.New(), gaps: true}
		d := bubbleDevices(store)
		c := lapsetest.Must(d.Begin(t.Context(), kitchen))
		answer, _ := awaiting(t.Context(), d, c)
		time.Sleep(9*time.Minute + time.Second)
		synctest.Wait()
		if n := store.reads.Load(); n > 12 { // one at first, and one after each of 10 gaps
			t.Errorf("%d reads in 9 minutes", n)
		}
		_, err := answer()
		lapsetest.WantIs(t, "run out", err, lapse.ErrExpired)
	})
}

// TestAwaitByAClockThatJumps: a clock that is set ahead, as after the machine was suspended, ends Await
// within hold.WakeEvery of time that passes.
func TestAwaitByAClockThatJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &jumpingClock{}
		p := lapsetest.Must(lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: clock}}))
		d := lapsetest.Must(lapse.NewDeviceLogin(p, lapse.DeviceConfig{}))
		c := lapsetest.Must(d.Begin(t.Context(), kitchen))
		answer, done := awaiting(t.Context(), d, c)
		time.Sleep(time.Second)
		clock.ahead.Store(int64(10 * time.Minute))
		time.Sleep(14*time.Second + time.Millisecond)
		if synctest.Wait(); !done.Load() {
			t.Fatal("Await has not looked at the clock")
		}
		_, err := answer()
		lapsetest.WantIs(t, "Await", err, lapse.ErrExpired)
	})
}

// jumpingClock is the clock of a bubble, and can be set ahead.
type jumpingClock struct{ ahead atomic.Int64 }

func (c *jumpingClock) Now() time.Time                         { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *jumpingClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// TestAwaitMissesNothing: 64 Awaits on one store that tells of changes, while each is approved: none
// waits for a change that came between its read and its watch.
func TestAwaitMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := bubbleDevices(memory.New())
		begun := time.Now()
		errs := lapsetest.Together(64, func(i int) error {
			c := lapsetest.Must(d.Begin(t.Context(), kitchen))
			answer, _ := awaiting(t.Context(), d, c)
			if _, err := d.Approve(t.Context(), c.UserCode, lapse.Grant{Subject: fmt.Sprint("ana", i)}); err != nil {
				return err
			}
			_, err := answer()
			return err
		})
		for _, err := range errs {
			lapsetest.WantIs(t, "Await", err, nil)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v of the bubble", took)
		}
	})
}

// TestDeviceGuessesAtOnce: of 32 wrong codes at once no more are looked up than of as many in a row.
func TestDeviceGuessesAtOnce(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		d := newDevices(t, store, lapse.PairConfig{Access: lapse.Config{Observe: func(context.Context, lapse.Event) {}}}, lapse.DeviceConfig{})
		lapsetest.Arrivals(store, 32, storagetest.OpUpdate)
		known, refused := 0, 0
		for _, err := range lapsetest.Together(32, func(int) error { _, err := d.Lookup(d.ctx, "BCDF-GHJK", "eve"); return err }) {
			switch {
			case errors.Is(err, lapse.ErrUnknown):
				known++
			case errors.Is(err, lapse.ErrGuesses):
				refused++
			}
		}
		if known != 5 || refused != 27 {
			t.Errorf("%d were looked up, %d refused", known, refused)
		}
	})
}

// TestDeviceApprovedAtOnce: 12 calls of 8 subjects approve and 4 deny, all at once: one subject wins, and
// the device gets the session of that one. What the others stored has no texts, and ends with the codes.
func TestDeviceApprovedAtOnce(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		d := newDevices(t, store, lapse.PairConfig{Access: lapse.Config{Observe: func(context.Context, lapse.Event) {}}}, lapse.DeviceConfig{})
		c := d.begun()
		lapsetest.Arrivals(store, 16, storagetest.OpGet)
		errs := lapsetest.Together(16, func(i int) error {
			if i%4 == 3 {
				return d.Deny(d.ctx, c.UserCode, fmt.Sprint("subject ", i))
			}
			_, err := d.Approve(d.ctx, c.UserCode, lapse.Grant{Subject: fmt.Sprint("subject ", i/2)})
			return err
		})
		store.Before(nil)
		approvers := map[int]bool{}
		for i, err := range errs {
			switch {
			case err == nil && i%4 != 3:
				approvers[i/2] = true
			case err != nil && !errors.Is(err, lapse.ErrReplaced) && !errors.Is(err, lapse.ErrAccessDenied):
				t.Errorf("%d: %v", i, err)
			}
		}
		got, err := d.Poll(d.ctx, c.Code, "tv")
		switch {
		case len(approvers) > 1:
			t.Errorf("%d subjects have approved", len(approvers))
		case len(approvers) == 0:
			lapsetest.WantIs(t, "denied", err, lapse.ErrAccessDenied)
		default:
			lapsetest.WantIs(t, "approved", err, nil)
		}
		d.clock.Add(10 * time.Minute)
		n, err := d.Count(d.ctx, lapse.Query{Live: true})
		if err != nil || n != len(approvers) {
			t.Errorf("%d sessions live, %v; want %d", n, err, len(approvers))
		}
		if err == nil && len(approvers) == 1 {
			d.next(got)
		}
	})
}

// TestDeviceConfig: the limits, and one step beyond each.
func TestDeviceConfig(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	for _, row := range []struct {
		cfg   lapse.DeviceConfig
		field string // "": it is within the limits
	}{
		{lapse.DeviceConfig{ExpiresIn: time.Hour, Interval: time.Hour, Guesses: 100}, ""},
		{lapse.DeviceConfig{ExpiresIn: time.Millisecond}, ""},
		{lapse.DeviceConfig{ExpiresIn: time.Hour + 1}, "ExpiresIn"},
		{lapse.DeviceConfig{ExpiresIn: -1}, "ExpiresIn"},
		{lapse.DeviceConfig{ExpiresIn: time.Millisecond - 1}, "ExpiresIn"},
		{lapse.DeviceConfig{ExpiresIn: lapse.NoLimit}, "ExpiresIn"},
		{lapse.DeviceConfig{Interval: 10 * time.Minute}, ""},
		{lapse.DeviceConfig{Interval: 10*time.Minute + 1}, "Interval"},
		{lapse.DeviceConfig{Interval: -1}, "Interval"},
		{lapse.DeviceConfig{Guesses: 101}, "Guesses"},
		{lapse.DeviceConfig{Guesses: -1}, "Guesses"},
	} {
		d, err := lapse.NewDeviceLogin(p.Pairs, row.cfg)
		if row.field == "" && (err != nil || d == nil) || row.field != "" && (!errors.Is(err, lapse.ErrInvalidConfig) || !strings.Contains(err.Error(), row.field)) {
			t.Errorf("%+v: %v", row.cfg, err)
		}
	}
	_, err := lapse.NewDeviceLogin(nil, lapse.DeviceConfig{})
	lapsetest.WantIs(t, "no Pairs", err, lapse.ErrInvalidConfig)
	d := lapsetest.Must(lapse.NewDeviceLogin(p.Pairs, lapse.DeviceConfig{}))
	for field, r := range map[string]lapse.DeviceRequest{
		"Client": {Client: strings.Repeat("c", 256)}, "Name": {Name: "a\u202eb"}, "Scope": {Scope: "a  b"}, "Data": {Data: strings.Repeat("d", 4097)},
	} {
		var wrong *lapse.GrantError
		if _, err := d.Begin(t.Context(), r); !errors.As(err, &wrong) || wrong.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	most := lapse.DeviceRequest{Client: strings.Repeat("c", 255), Name: strings.Repeat("n", 255), Scope: strings.Repeat("s", 1024), Data: strings.Repeat("d", 4096)}
	c := lapsetest.Must(d.Begin(t.Context(), most))
	if asked, err := d.Lookup(t.Context(), c.UserCode, "ana"); err != nil || asked != most {
		t.Errorf("Lookup: %v", err)
	}
}

// TestDeviceGuessesOfAStoreThatFails: a code that could not be looked up is no guess, since nothing was
// told of it.
func TestDeviceGuessesOfAStoreThatFails(t *testing.T) {
	store := storagetest.NewFaulty(memory.New())
	d := newDevices(t, store, lapse.PairConfig{}, lapse.DeviceConfig{})
	c := d.begun()
	for range 6 {
		store.Inject(2, storagetest.FailBefore, storage.ErrUnavailable) // the Get
		_, err := d.Lookup(d.ctx, c.UserCode, "ana")
		lapsetest.WantIs(t, "while the store fails", err, lapse.ErrUnavailable)
	}
	_, err := d.Lookup(d.ctx, c.UserCode, "ana")
	lapsetest.WantIs(t, "then", err, nil)
}

// TestDeviceGuessesFromTheFirst: the time of a subject's guesses begins with its first wrong code, and not
// with a right one before it. A right code that is looked up across the end of that time takes back no guess
// of the next.
func TestDeviceGuessesFromTheFirst(t *testing.T) {
	late := &latecomer{Store: memory.New()}
	d := newDevices(t, late, lapse.PairConfig{}, lapse.DeviceConfig{ExpiresIn: 20 * time.Minute})
	c := d.begun()
	wrong := "BCDF-GHJK"
	if wrong == c.UserCode {
		wrong = "WDJB-MJHT"
	}
	enter := func(what, code string, want error) {
		t.Helper()
		_, err := d.Lookup(d.ctx, code, "eve")
		lapsetest.WantIs(t, what, err, want)
	}
	enter("right", c.UserCode, nil)
	d.clock.Add(20*time.Minute - time.Millisecond)
	for range 5 {
		enter("wrong", wrong, lapse.ErrUnknown)
	}
	d.clock.Add(time.Millisecond)
	enter("20 minutes after the right one", wrong, lapse.ErrGuesses)

	d.clock.Add(20 * time.Minute)
	enter("wrong", wrong, lapse.ErrUnknown)
	d.clock.Add(19 * time.Minute)
	c = d.begun()
	late.meanwhile = func() {
		d.clock.Add(time.Minute)
		for range 5 {
			enter("wrong, meanwhile", wrong, lapse.ErrUnknown)
		}
	}
	enter("right, across the end", c.UserCode, nil)
	enter("sixth", wrong, lapse.ErrGuesses)
}

// latecomer is a store whose next Get comes after meanwhile, if that is set.
type latecomer struct {
	storage.Store
	meanwhile func()
}

func (s *latecomer) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	if fn := s.meanwhile; fn != nil {
		s.meanwhile = nil
		fn()
	}
	return s.Store.Get(ctx, id)
}

// TestDeviceCodesOfOthers: a device code works for its client and its Pairs, and is no bearer; no bearer
// is a device code. Its JSON is the answer of RFC 8628, and nothing prints it.
func TestDeviceCodesOfOthers(t *testing.T) {
	d := newDevices(t, memory.New(), lapse.PairConfig{}, lapse.DeviceConfig{})
	c, _ := d.approved()
	other := lapsetest.Must(lapse.NewDeviceLogin(d.others(lapse.PairConfig{Access: lapse.Config{Prefix: "other"}}), lapse.DeviceConfig{}))
	_, err := other.Poll(d.ctx, c.Code, "tv")
	lapsetest.WantIs(t, "Poll of other Pairs", err, lapse.ErrUnknown)
	_, err = other.Lookup(d.ctx, c.UserCode, "ana")
	lapsetest.WantIs(t, "Lookup of other Pairs", err, lapse.ErrUnknown)
	for _, client := range []string{"", "TV", "tv "} {
		_, err = d.Poll(d.ctx, c.Code, client)
		lapsetest.WantIs(t, "Poll of another client", err, lapse.ErrUnknown)
		_, err = d.Await(d.ctx, c.Code, client)
		lapsetest.WantIs(t, "Await of another client", err, lapse.ErrUnknown)
	}
	denied, expired := d.begun(), d.begun()
	lapsetest.WantIs(t, "Deny", d.Deny(d.ctx, denied.UserCode, "ana"), nil)
	_, err = d.Poll(d.ctx, denied.Code, "other")
	lapsetest.WantIs(t, "Poll of another client, denied", err, lapse.ErrUnknown)
	d.clock.Add(10 * time.Minute)
	_, err = d.Poll(d.ctx, expired.Code, "other")
	lapsetest.WantIs(t, "Poll of another client, expired", err, lapse.ErrUnknown)
	_, err = d.Authenticate(d.ctx, c.Code)
	lapsetest.WantIs(t, "Authenticate", err, lapse.ErrMalformed)
	_, err = d.Refresh(d.ctx, c.Code)
	lapsetest.WantIs(t, "Refresh", err, lapse.ErrMalformed)
	for _, text := range []string{d.first(lapse.Grant{}).Refresh.Bearer, c.UserCode, "", misspelt(c.Code)} {
		_, err = d.Poll(d.ctx, text, "tv")
		lapsetest.WantIs(t, "Poll", err, lapse.ErrMalformed)
	}
	want := fmt.Sprintf(`{"device_code":%q,"user_code":%q,"expires_in":600,"interval":5}`, c.Code, c.UserCode)
	if text := lapsetest.Must(json.Marshal(c)); string(text) != want {
		t.Errorf("JSON: %s", text)
	}
	if text := fmt.Sprintf("%v %+v %#v %s %q %d", c, c, c, c, c, c); strings.Contains(text, c.Code[20:40]) || strings.Contains(text, c.UserCode) {
		t.Errorf("printed: %s", text)
	}
}

// misspelt returns text with another last digit, so that its checksum is wrong.
func misspelt(text string) string {
	last := "0"
	if strings.HasSuffix(text, last) {
		last = "1"
	}
	return text[:len(text)-1] + last
}

// TestDeviceLoginByAClockSetBack: while time stands still the codes go on working; a new epoch of the
// clock ends them, and the session that waits for its texts.
func TestDeviceLoginByAClockSetBack(t *testing.T) {
	d := newDevices(t, memory.New(), lapse.PairConfig{}, lapse.DeviceConfig{})
	waiting := d.begun()
	d.clock.Add(-time.Hour)
	d.wantPoll("set back", waiting, lapse.ErrAuthorizationPending)
	c, _ := d.approved()
	d.wantPoll("begun then", c, nil)
	d.clock.Add(time.Hour + 10*time.Minute)
	d.wantPoll("at the end", waiting, lapse.ErrExpired)

	off := newDevices(t, memory.New(), lapse.PairConfig{Access: lapse.Config{ClockGuard: lapse.GuardOff}}, lapse.DeviceConfig{})
	waiting = off.begun()
	off.wantPoll("first", waiting, lapse.ErrAuthorizationPending)
	off.clock.Add(-time.Hour)
	off.wantPoll("after time went back", waiting, lapse.ErrAuthorizationPending)
	off.wantPoll("at once", waiting, lapse.ErrSlowDown)
	c = off.begun()
	lapsetest.Must(off.Approve(off.ctx, c.UserCode, lapse.Grant{Subject: "ana", SessionTTL: time.Minute}))
	off.clock.Add(-time.Hour)
	off.wantPoll("approved for a minute before time went back", c, nil)
}

// sameCodes is a random source that draws one user code again and again, and other device codes.
type sameCodes struct{ drawn byte }

func (r *sameCodes) Read(b []byte) (int, error) {
	r.drawn++
	for i := range b {
		if b[i] = 1; len(b) > 16 {
			b[i] = r.drawn
		}
	}
	return len(b), nil
}

// TestDeviceUserCodeTwice: no log-in takes the user code of one that waits. It takes that of one that is
// over, whose device code is unknown from then on.
func TestDeviceUserCodeTwice(t *testing.T) {
	d := newDevices(t, memory.New(), lapse.PairConfig{}, lapse.DeviceConfig{})
	random := rand.Reader
	rand.Reader = new(sameCodes)
	t.Cleanup(func() { rand.Reader = random })
	first := d.begun()
	_, err := d.Begin(d.ctx, kitchen)
	lapsetest.WantIs(t, "while the first waits", err, lapse.ErrConflict)
	d.wantPoll("the first", first, lapse.ErrAuthorizationPending)
	d.clock.Add(10 * time.Minute)
	second := d.begun()
	if second.UserCode != first.UserCode || second.Code == first.Code {
		t.Errorf("codes %q, %q", first.UserCode, second.UserCode)
	}
	d.wantPoll("the first, over", first, lapse.ErrUnknown)
	d.wantPoll("the second", second, lapse.ErrAuthorizationPending)
}
