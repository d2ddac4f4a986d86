package lapse

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/internal/ratio"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// verbOfName are the verbs by their names in tickVerbs, which TestFault5EveryVerbIsListed keeps
// complete.
var verbOfName = map[string]Verb{
	"Manager.Authenticate": VerbAuthenticate, "Manager.Peek": VerbPeek, "Manager.Hold": VerbHold, "Hold.Use": VerbUse, "Manager.Renew": VerbRenew, "Manager.Confirm": VerbConfirm,
	"Manager.Issue": VerbIssue, "Login": VerbLogin, "Identify": VerbIdentify, "Manager.Obtain": VerbObtain, "Manager.Import": VerbImport,
	"Manager.Delegate": VerbDelegate, "Manager.Rotate": VerbRotate, "Manager.RotateID": VerbRotateID,
	"Manager.Expire": VerbExpire, "Manager.ExpireBearer": VerbExpireBearer, "Manager.ExpireSubject": VerbExpireSubject,
	"Manager.Suspend": VerbSuspend, "Manager.Resume": VerbResume, "Manager.ForgetSubject": VerbForgetSubject,
	"Manager.Token": VerbToken, "Manager.List": VerbList, "Manager.Count": VerbCount, "Manager.Holds": VerbHolds, "Manager.Watch": VerbWatch,
	"Manager.Sweep":       VerbSweep,
	"Manager.AcceptClock": VerbAcceptClock, "Pairs.Issue": VerbIssuePair, "Pairs.Refresh": VerbRefresh, "Pairs.Peek": VerbPeekPair,
	"Pairs.Sessions": VerbSessions, "Pairs.ExpireBearer": VerbExpireBearer,
	"Manager.Edit":      VerbEdit,
	"DeviceLogin.Begin": VerbBeginDevice, "DeviceLogin.Lookup": VerbLookupDevice, "DeviceLogin.Approve": VerbApproveDevice,
	"DeviceLogin.Deny": VerbDenyDevice, "DeviceLogin.Poll": VerbPollDevice, "DeviceLogin.Await": VerbAwaitDevice,
}

// TestEveryVerbIsCounted: a call of any verb raises one counter by one, and that is one of the verb.
// A verb that is added without a counter fails here.
func TestEveryVerbIsCounted(t *testing.T) {
	counted := map[Verb]bool{VerbRelease: true, VerbCut: true, VerbSwept: true, VerbClocks: true}
	for _, v := range append(slices.Clone(tickVerbs), tickRepeat) {
		name, _, _ := strings.Cut(v.name, " ")
		verb := verbOfName[name]
		if verb == 0 {
			t.Errorf("%s: no Verb", name)
			continue
		}
		w := newTickWorld(t, GuardOff)
		before := countsOf(w.m, w.p.access)
		if _, err := v.do(w); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		got := risen(before, countsOf(w.m, w.p.access))
		if verb != VerbPeek {
			delete(got, StatKey{VerbPeek, "ok"}) // the loops of tickVerbs peek
		}
		if verb != VerbHold {
			delete(got, StatKey{VerbHold, "ok"}) // tickWorld.use holds
			delete(got, StatKey{VerbHold, "renewed"})
		}
		if len(got) != 1 || slices.Collect(maps.Values(got))[0] != 1 || slices.Collect(maps.Keys(got))[0].Verb != verb {
			t.Errorf("%s: counted %v", v.name, got)
		}
		counted[verb] = true
	}
	for verb := range Verb(verbCount) {
		if verb != 0 && !counted[verb] {
			t.Errorf("%v: nothing counts it", verb)
		}
	}
}

// countsOf returns the sum of the Stats of managers.
func countsOf(managers ...*Manager) map[StatKey]uint64 {
	all := map[StatKey]uint64{}
	for _, m := range managers {
		for key, n := range m.Stats().All() {
			all[key] += n
		}
	}
	return all
}

// risen returns by how much each counter rose, without those that did not.
func risen(before, after map[StatKey]uint64) map[StatKey]uint64 {
	rose := map[StatKey]uint64{}
	for key, n := range after {
		if n != before[key] {
			rose[key] = n - before[key]
		}
	}
	return rose
}

// outcomesOf are all outcomes that each verb can have.
const outcomesOf = `
authenticate: canceled clock closed conflict corrupt exhausted expired internal locked malformed ok outcome_unknown proof refused renewed repeated replaced revoked suspended unavailable unknown
peek: canceled clock closed conflict corrupt exhausted expired internal locked malformed ok outcome_unknown proof refused replaced revoked suspended unavailable unknown
hold: canceled clock closed conflict corrupt exhausted expired internal locked malformed ok outcome_unknown proof refused renewed replaced revoked suspended unavailable unknown
use: canceled clock closed conflict corrupt exhausted expired locked not_renewable ok outcome_unknown refused renewed replaced revoked suspended unavailable unknown
renew: canceled clock closed conflict corrupt exhausted expired internal locked malformed not_renewable ok outcome_unknown proof refused renewed replaced revoked suspended unavailable unknown
confirm: canceled clock closed conflict corrupt exhausted expired internal locked malformed ok outcome_unknown proof refused replaced revoked suspended unavailable unknown
issue: bad_grant canceled clock closed conflict corrupt exhausted expired limit locked ok outcome_unknown repeated revoked suspended unavailable unknown
login: bad_config bad_credentials bad_grant canceled clock closed conflict corrupt exhausted expired internal limit locked ok outcome_unknown refused repeated revoked suspended unavailable unknown
identify: bad_config bad_credentials bad_grant canceled clock internal ok refused
obtain: bad_grant canceled clock closed conflict corrupt limit locked no_keys ok outcome_unknown renewed suspended unavailable
import: bad_config bad_grant canceled clock closed conflict corrupt limit locked not_found ok outcome_unknown repeated unavailable
delegate: bad_grant canceled clock closed conflict corrupt exhausted expired internal limit locked malformed not_delegable ok outcome_unknown proof refused replaced revoked scope suspended unavailable unknown
rotate: bad_grant canceled clock closed conflict corrupt exhausted expired internal locked malformed not_renewable ok outcome_unknown proof refused repeated replaced revoked rotated suspended unavailable unknown
rotate ID: bad_grant canceled clock closed conflict corrupt exhausted expired locked not_found not_renewable ok outcome_unknown revoked unavailable
expire: canceled clock closed conflict corrupt locked ok outcome_unknown unavailable
expire bearer: canceled clock closed conflict corrupt locked malformed ok outcome_unknown proof replaced unavailable unknown
expire subject: bad_grant canceled clock closed conflict corrupt locked ok outcome_unknown unavailable
suspend: canceled clock closed conflict corrupt locked not_found ok outcome_unknown unavailable
resume: canceled clock closed conflict corrupt exhausted expired locked not_found ok outcome_unknown revoked unavailable
edit: bad_grant canceled clock closed conflict corrupt exhausted expired locked not_found ok outcome_unknown revoked unavailable
forget subject: bad_grant canceled clock closed conflict corrupt locked ok outcome_unknown unavailable
token: canceled clock closed conflict corrupt locked not_found ok outcome_unknown unavailable
list: bad_query canceled clock closed conflict corrupt locked ok outcome_unknown unavailable
count: bad_query canceled clock closed conflict corrupt locked ok outcome_unknown unavailable
holds: canceled clock closed conflict corrupt locked ok outcome_unknown unavailable
watch: bad_query canceled clock closed conflict corrupt locked ok outcome_unknown unavailable unsupported
sweep: canceled clock closed conflict corrupt locked ok outcome_unknown unavailable
accept clock: canceled ok
issue pair: bad_grant canceled clock closed conflict corrupt limit locked ok outcome_unknown unavailable
refresh: canceled clock closed conflict corrupt expired internal locked malformed ok outcome_unknown proof refused repeated reused revoked scope suspended unavailable unknown
peek pair: canceled clock closed conflict corrupt expired internal locked malformed ok outcome_unknown proof refused replaced revoked suspended unavailable unknown
sessions: bad_grant canceled clock closed conflict corrupt locked ok outcome_unknown unavailable
begin device: bad_grant canceled clock closed conflict corrupt locked ok outcome_unknown unavailable
look up device: access_denied bad_grant canceled clock closed conflict corrupt expired guesses locked malformed ok outcome_unknown replaced unavailable unknown
approve device: access_denied bad_grant canceled clock closed conflict corrupt expired guesses limit locked malformed ok outcome_unknown repeated replaced revoked suspended unavailable unknown
deny device: bad_grant canceled clock closed conflict corrupt expired guesses locked malformed ok outcome_unknown replaced unavailable unknown
poll device: access_denied authorization_pending canceled clock closed conflict corrupt expired locked malformed ok outcome_unknown repeated replaced revoked slow_down suspended unavailable unknown
await device: access_denied canceled clock closed conflict corrupt expired locked malformed ok outcome_unknown repeated replaced revoked suspended unavailable unknown
`

// countScene is what the verbs of outcomeVerbs are called on.
type countScene struct {
	t       *testing.T
	ctx     context.Context
	store   *failing
	machine *machine
	m       *Manager
	p       *Pairs
	admit   func() error

	on       *Manager // whose token text is
	text     string
	id       ID
	refresh  string
	grant    Grant
	overlap  time.Duration
	query    Query
	scope    string
	verifier VerifierFunc[string]
	held     *Hold // for Hold.Use
	d        *DeviceLogin
	device   DeviceCode
	waits    bool // no user has decided about device

	before map[ID]storage.Record // the records before the call
}

// newCountScene returns what verb is called on. Only Hold.Use and Holds find a connection that is held.
func newCountScene(t *testing.T, verb Verb) *countScene {
	t.Helper()
	s := &countScene{t: t, ctx: t.Context(), store: &failing{disk: newDisk()}, machine: newMachine()}
	s.admit = func() error { return nil }
	admit := func(context.Context, Token) error { return s.admit() }
	policy := Policy{MaxTokens: 8, MaxDelegates: 1, TTL: time.Hour}
	s.m = made(New(s.store, Config{Clock: s.machine, ClockGuard: GuardStrict, Admit: admit, Policy: policy, Keys: hushKeys([][]byte{[]byte(strings.Repeat("k", keyLen))}),
		Foreign: notForeign}))
	s.p = made(NewPairs(s.store, PairConfig{
		Access:  Config{Clock: s.machine, ClockGuard: GuardStrict, Admit: admit, Prefix: "acc", Policy: Policy{TTL: time.Hour, Renewal: RenewOnUse}},
		Refresh: Config{Prefix: "ref", Policy: Policy{TTL: time.Hour, MaxTokens: 2, AtLimit: LimitRefuse}},
	}))
	s.use(s.m, made(s.m.Issue(s.ctx, Grant{Subject: "ana", Scope: "read"})))
	made(s.m.Obtain(s.ctx, Grant{Subject: "ana", Name: "obtained"}))
	s.refresh = made(s.p.Issue(s.ctx, Grant{Subject: "ana", Scope: "read"})).Refresh.Bearer
	s.grant = Grant{Subject: "ana"}
	s.overlap, s.query = time.Minute, Query{Within: time.Hour}
	s.verifier = tickKnows
	s.machine.pass(time.Second)
	s.d = made(NewDeviceLogin(s.p, DeviceConfig{}))
	switch verb {
	case VerbLookupDevice, VerbApproveDevice, VerbDenyDevice:
		s.begin()
	case VerbPollDevice, VerbAwaitDevice:
		s.approve("eve")
	case VerbUse:
		s.hold()
	case VerbHolds:
		s.t.Cleanup(made(s.on.Hold(s.ctx, s.text)).Release)
	case VerbWatch:
		s.m.store = telling{s.store}
	}
	return s
}

// begin has the verbs called for a device.
func (s *countScene) begin() {
	s.device, s.waits = made(s.d.Begin(s.ctx, DeviceRequest{})), true
}

// approve has the verbs called for a device that subject has approved.
func (s *countScene) approve(subject string) {
	s.begin()
	made(s.d.Approve(s.ctx, s.device.UserCode, Grant{Subject: subject}))
	s.waits = false
}

// hold has Hold.Use called for a connection by the token.
func (s *countScene) hold() {
	s.held = made(s.on.Hold(WithProof(s.ctx, proofKeys[0]), s.text))
	s.t.Cleanup(s.held.Release)
}

// cut cuts the connection of Hold.Use, if there is one, as the scheduler does.
func (s *countScene) cut(why error) {
	if s.held != nil && s.m.holds.Drop(&s.held.conn) {
		s.held.conn.End(&Rejection{Err: why, ID: s.id})
	}
}

// use has the verbs called with i, a token of m.
func (s *countScene) use(m *Manager, i Issued) {
	if s.on, s.text, s.id = m, i.Bearer, i.ID; s.held != nil && i.MaxUses != 1 { // Hold would spend the use
		s.hold()
	}
}

// failing is a disk whose methods fail with err, if that is set.
type failing struct {
	*disk
	err error
}

func (f *failing) Get(ctx context.Context, id ID) (storage.Record, error) {
	if f.err != nil {
		return storage.Record{}, f.err
	}
	return f.disk.Get(ctx, id)
}

func (f *failing) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	if f.err != nil {
		return f.err
	}
	return f.disk.Update(ctx, subject, fn)
}

func (f *failing) List(ctx context.Context, filter storage.Filter) iter.Seq2[storage.Record, error] {
	if f.err != nil {
		return func(yield func(storage.Record, error) bool) { yield(storage.Record{}, f.err) }
	}
	return f.disk.List(ctx, filter)
}

// telling is a failing that is a Watcher.
type telling struct{ *failing }

func (f telling) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	if f.err != nil {
		return func(yield func(storage.Change, error) bool) { yield(storage.Change{}, f.err) }
	}
	return f.disk.Store.(storage.Watcher).Watch(ctx)
}

func (f *failing) Sweep(ctx context.Context, before time.Time, limit int) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.disk.Sweep(ctx, before, limit)
}

// outcomeVerbs are the verbs by Verb. Each returns the token that the verb returned, and whether
// that was said to be an answer given again.
var outcomeVerbs = map[Verb]func(s *countScene) (Token, bool, error){
	VerbAuthenticate: func(s *countScene) (Token, bool, error) {
		tok, err := s.on.Authenticate(s.ctx, s.text)
		return tok, tok.Repeated(), err
	},
	VerbPeek: func(s *countScene) (Token, bool, error) { return notAgain(s.on.Peek(s.ctx, s.text)) },
	VerbHold: func(s *countScene) (tok Token, again bool, err error) {
		h, err := s.on.Hold(s.ctx, s.text)
		if err == nil {
			s.t.Cleanup(h.Release)
			tok = h.Token()
		}
		return tok, false, err
	},
	VerbUse: func(s *countScene) (Token, bool, error) {
		err := s.held.Use(s.ctx)
		tok, _ := s.store.disk.Get(context.Background(), s.held.Token().ID)
		return tok.Token, false, err
	},
	VerbRenew:   func(s *countScene) (Token, bool, error) { return notAgain(s.on.Renew(s.ctx, s.text)) },
	VerbConfirm: func(s *countScene) (Token, bool, error) { return notAgain(s.on.Confirm(s.ctx, s.text)) },
	VerbIssue:   func(s *countScene) (Token, bool, error) { return oldToken(s.m.Issue(s.ctx, s.grant)) },
	VerbImport: func(s *countScene) (Token, bool, error) {
		tok, err := s.imported()
		_, known := s.before[tok.ID]
		return tok, known, err
	},
	VerbObtain: func(s *countScene) (Token, bool, error) {
		g := s.grant
		g.Name = "obtained"
		return newToken(s.m.Obtain(s.ctx, g))
	},
	VerbLogin: func(s *countScene) (Token, bool, error) {
		return oldToken(Login(s.ctx, s.m, "ana", s.grant, Verifier[string](s.verifier)))
	},
	VerbIdentify: func(s *countScene) (Token, bool, error) {
		_, err := Identify(s.ctx, s.m, "ana", Verifier[string](s.verifier))
		return Token{}, false, err
	},
	VerbDelegate: func(s *countScene) (Token, bool, error) {
		g := s.grant
		g.Scope = s.scope
		return newToken(s.on.Delegate(s.ctx, s.text, g))
	},
	VerbRotate: func(s *countScene) (Token, bool, error) {
		was, _ := s.store.disk.Get(context.Background(), s.id)
		i, err := s.on.Rotate(s.ctx, s.text, s.overlap)
		return i.Token, err == nil && i.Generation == was.Generation, err
	},
	VerbRotateID: func(s *countScene) (Token, bool, error) { return newToken(s.on.RotateID(s.ctx, s.id, s.overlap)) },
	VerbExpire: func(s *countScene) (Token, bool, error) {
		_, err := s.m.Expire(s.ctx, s.id)
		return Token{}, false, err
	},
	VerbExpireBearer: func(s *countScene) (Token, bool, error) { return notAgain(s.on.ExpireBearer(s.ctx, s.text)) },
	VerbExpireSubject: func(s *countScene) (Token, bool, error) {
		_, err := s.m.ExpireSubject(s.ctx, s.grant.Subject)
		return Token{}, false, err
	},
	VerbSuspend: func(s *countScene) (Token, bool, error) {
		_, err := s.m.Suspend(s.ctx, s.id)
		return Token{}, false, err
	},
	VerbResume: func(s *countScene) (Token, bool, error) {
		_, err := s.m.Resume(s.ctx, s.id)
		return Token{}, false, err
	},
	VerbForgetSubject: func(s *countScene) (Token, bool, error) {
		_, err := s.m.ForgetSubject(s.ctx, s.grant.Subject)
		return Token{}, false, err
	},
	VerbToken: func(s *countScene) (Token, bool, error) { return notAgain(s.m.Token(s.ctx, s.id)) },
	VerbList:  func(s *countScene) (Token, bool, error) { return firstError(s.m.List(s.ctx, s.query)) },
	VerbCount: func(s *countScene) (Token, bool, error) {
		_, err := s.m.Count(s.ctx, s.query)
		return Token{}, false, err
	},
	VerbHolds: func(s *countScene) (Token, bool, error) { return firstError(s.m.Holds(s.ctx)) },
	VerbWatch: func(s *countScene) (Token, bool, error) {
		for _, err := range s.m.Watch(s.ctx, Query{Limit: s.query.Limit}) { // the Gap
			return Token{}, false, err
		}
		return Token{}, false, nil
	},
	VerbSweep: func(s *countScene) (Token, bool, error) {
		_, err := s.m.Sweep(s.ctx)
		return Token{}, false, err
	},
	VerbAcceptClock: func(s *countScene) (Token, bool, error) { return Token{}, false, s.m.AcceptClock(s.ctx) },
	VerbIssuePair: func(s *countScene) (Token, bool, error) {
		c, err := s.p.Issue(s.ctx, s.grant)
		return c.Refresh.Token, c.Repeated, err
	},
	VerbRefresh: func(s *countScene) (Token, bool, error) {
		c, err := s.p.Refresh(s.ctx, s.refresh, s.scope)
		return c.Refresh.Token, c.Repeated, err
	},
	VerbPeekPair: func(s *countScene) (Token, bool, error) { return notAgain(s.p.Peek(s.ctx, s.refresh)) },
	VerbSessions: func(s *countScene) (Token, bool, error) { return firstError(s.p.Sessions(s.ctx, s.grant.Subject)) },
	VerbBeginDevice: func(s *countScene) (Token, bool, error) {
		_, err := s.d.Begin(s.ctx, DeviceRequest{Scope: s.grant.Scope})
		return Token{}, false, err
	},
	VerbLookupDevice: func(s *countScene) (Token, bool, error) {
		_, err := s.d.Lookup(s.ctx, s.device.UserCode, s.grant.Subject)
		return Token{}, false, err
	},
	VerbApproveDevice: func(s *countScene) (Token, bool, error) {
		tok, err := s.d.Approve(s.ctx, s.device.UserCode, s.grant)
		_, known := s.before[tok.ID]
		return tok, known, err
	},
	VerbDenyDevice: func(s *countScene) (Token, bool, error) {
		return Token{}, false, s.d.Deny(s.ctx, s.device.UserCode, s.grant.Subject)
	},
	VerbPollDevice: func(s *countScene) (Token, bool, error) {
		c, err := s.d.Poll(s.ctx, s.device.Code, "")
		return Token{}, c.Repeated, err
	},
	VerbAwaitDevice: func(s *countScene) (Token, bool, error) {
		ctx, cancel := context.WithCancel(s.ctx)
		defer cancel()
		if s.waits {
			cancel()
		}
		c, err := s.d.Await(ctx, s.device.Code, "")
		return Token{}, c.Repeated, err
	},
	VerbEdit: func(s *countScene) (Token, bool, error) {
		return notAgain(s.m.Edit(s.ctx, s.id, Changes{Name: &s.grant.Name, Scope: &s.grant.Scope}))
	},
}

func notAgain(tok Token, err error) (Token, bool, error) { return tok, false, err }

func newToken(i Issued, err error) (Token, bool, error) { return i.Token, false, err }

func oldToken(i Issued, err error) (Token, bool, error) { return i.Token, i.Existing, err }

// firstError returns the first error of a list.
func firstError[T any](list iter.Seq2[T, error]) (Token, bool, error) {
	for _, err := range list {
		if err != nil {
			return Token{}, false, err
		}
	}
	return Token{}, false, nil
}

var errOfAHook = errors.New("a hook")

// outcomeSituations are what the verbs are called in.
var outcomeSituations = map[string]func(s *countScene){
	"no verifier": func(s *countScene) { s.verifier = nil },
	"a bad name":  func(s *countScene) { s.verifier = func(context.Context, string) (string, error) { return "\x00", nil } },
	"good":        func(*countScene) {},
	"due":         func(s *countScene) { s.machine.pass(10 * time.Minute) },
	"malformed":   func(s *countScene) { s.text, s.refresh, s.device = "lapse", "lapse", DeviceCode{} },
	"unknown": func(s *countScene) {
		c := credentialOf(9)
		s.text, s.refresh, s.id = c.Text("lapse"), c.Text("ref"), c.ID()
		s.device = DeviceCode{Code: c.Text(bearer.DevicePrefix), UserCode: "BCDF-GHJK"}
	},
	"mute": func(s *countScene) { // the store has no abilities
		s.m.store = struct{ storage.Store }{s.store}
	},
	"swept": func(s *countScene) { s.machine.pass(300 * day); made(s.m.Sweep(s.ctx)) },
	"bound": func(s *countScene) {
		g := Grant{Subject: "ana", Thumbprint: proofKeys[0]}
		s.use(s.m, made(s.m.Issue(s.ctx, g)))
		s.refresh = made(s.p.Issue(s.ctx, g)).Refresh.Bearer
	},
	"expired":   func(s *countScene) { s.machine.pass(61 * time.Minute) },
	"long dead": func(s *countScene) { s.machine.pass(300 * day) },
	"revoked": func(s *countScene) {
		made(s.m.ExpireSubject(s.ctx, "ana"))
		made(s.m.ExpireSubject(s.ctx, "eve"))
	},
	"a device":       func(s *countScene) { s.begin() },
	"a device again": func(s *countScene) { s.begin(); s.d.Poll(s.ctx, s.device.Code, "") },
	"denied": func(s *countScene) {
		s.begin()
		made(0, s.d.Deny(s.ctx, s.device.UserCode, "eve"))
		s.waits = false
	},
	"approved":            func(s *countScene) { s.approve("ana") },
	"approved by another": func(s *countScene) { s.approve("bob") },
	"approved and revoked": func(s *countScene) {
		s.approve("ana")
		made(s.m.ExpireSubject(s.ctx, "ana"))
	},
	"approved and suspended": func(s *countScene) {
		s.approve("ana")
		for tok, err := range s.p.Sessions(s.ctx, "ana") {
			made(s.m.Suspend(s.ctx, made(tok, err).ID))
		}
	},
	"redeemed": func(s *countScene) { s.approve("ana"); made(s.d.Poll(s.ctx, s.device.Code, "")) },
	"redeemed long ago": func(s *countScene) {
		s.approve("ana")
		made(s.d.Poll(s.ctx, s.device.Code, ""))
		s.machine.pass(time.Minute)
	},
	"guessed": func(s *countScene) {
		for range defaultGuesses {
			s.d.Lookup(s.ctx, "BCDF-GHJK", "ana")
		}
	},
	"suspended": func(s *countScene) {
		for rec := range s.store.disk.List(s.ctx, storage.Filter{}) {
			if rec.Kind != storage.KindAlias {
				made(s.m.Suspend(s.ctx, rec.ID))
			}
		}
	},
	"replaced": func(s *countScene) {
		made(s.m.Rotate(s.ctx, s.text, 0))
		made(s.p.Refresh(s.ctx, s.refresh))
		s.machine.pass(time.Minute)
	},
	"again": func(s *countScene) { made(s.m.Rotate(s.ctx, s.text, time.Hour)); made(s.p.Refresh(s.ctx, s.refresh)) },
	"in use": func(s *countScene) {
		i := made(s.m.Rotate(s.ctx, s.text, time.Hour))
		made(s.m.Authenticate(s.ctx, i.Bearer))
	},
	"exhausted": func(s *countScene) { s.cut(ErrExhausted); s.spent(Grant{Subject: "ana", MaxUses: 1}) },
	"a repeat":  func(s *countScene) { s.spent(Grant{Subject: "ana", MaxUses: 1, UseGrace: time.Minute}) },
	"a budget": func(s *countScene) {
		s.use(s.m, made(s.m.Issue(s.ctx, Grant{Subject: "ana", MaxUses: 9})))
		s.machine.pass(time.Minute)
	},
	"a session": func(s *countScene) { s.use(s.p.access, made(s.p.Issue(s.ctx, Grant{Subject: "ana"})).Access.Issued) },
	"refused":   func(s *countScene) { s.cut(ErrRefused); s.admit = func() error { return ErrRefused } },
	"cannot say": func(s *countScene) {
		s.admit = func() error { return errOfAHook }
		s.verifier = func(context.Context, string) (string, error) { return "", errOfAHook }
	},
	"panics": func(s *countScene) { s.admit = func() error { panic(errOfAHook) } },
	"credentials": func(s *countScene) {
		s.verifier = func(context.Context, string) (string, error) { return "", ErrBadCredentials }
	},
	"bad grant": func(s *countScene) { s.grant, s.overlap = Grant{Subject: "\x00", Scope: "  "}, -1; s.query.Limit = -1 },
	"scope":     func(s *countScene) { s.scope = "write" },
	"no keys":   func(s *countScene) { s.m.keys, s.m.foreign = nil, nil },
	"requested": func(s *countScene) { s.request(Grant{Subject: "ana"}) },
	"requested and revoked": func(s *countScene) {
		s.request(Grant{Subject: "ana"})
		made(s.m.ExpireSubject(s.ctx, "ana"))
	},
	"requested and expired":   func(s *countScene) { s.request(Grant{Subject: "ana"}); s.machine.pass(61 * time.Minute) },
	"requested and suspended": func(s *countScene) { made(s.m.Suspend(s.ctx, s.request(Grant{Subject: "ana"}).ID)) },
	"requested and exhausted": func(s *countScene) {
		made(s.m.Authenticate(s.ctx, s.request(Grant{Subject: "ana", MaxUses: 1, UseGrace: time.Minute}).Bearer))
	},
	"requested and swept": func(s *countScene) {
		s.request(Grant{Subject: "ana"})
		for rec := range s.store.disk.List(s.ctx, storage.Filter{}) {
			if rec.Kind != KindPlain {
				continue
			}
			if err := s.store.Update(s.ctx, rec.Subject, func(tx storage.Tx) error { return tx.Delete(rec.ID) }); err != nil {
				panic(err)
			}
		}
	},
	"requested otherwise": func(s *countScene) { s.request(Grant{Subject: "ana"}); s.grant.Data = "another" },
	"full": func(s *countScene) {
		made(s.m.Delegate(s.ctx, s.text, Grant{}))
		made(s.p.Issue(s.ctx, Grant{Subject: "ana"}))
		made(s.m.ExpireSubject(s.ctx, "bob"))
		for s.grant.Name = "obtained"; ; {
			if _, err := s.m.Issue(s.ctx, Grant{Subject: "ana"}); err != nil {
				break
			}
		}
		s.grant.Data = "new"
	},
	"a wrong clock": func(s *countScene) {
		s.machine.off -= 2 * time.Hour
		s.m.Now()
		s.machine.pass(defaultSettle + time.Millisecond)
		s.m.Now()
	},
	"a foreign error": func(s *countScene) { s.store.err = errOfAHook },
	"unavailable":     func(s *countScene) { s.store.err = storage.ErrUnavailable },
	"outcome unknown": func(s *countScene) { s.store.err = storage.ErrOutcomeUnknown },
	"conflict":        func(s *countScene) { s.store.err = storage.ErrConflict },
	"closed":          func(s *countScene) { s.store.err = storage.ErrClosed },
	"corrupt":         func(s *countScene) { s.store.err = storage.ErrCorrupt },
	"locked":          func(s *countScene) { s.store.err = storage.ErrLocked },
	"canceled": func(s *countScene) {
		ctx, cancel := context.WithCancel(s.ctx)
		cancel()
		s.ctx, s.store.err = ctx, context.Canceled
	},
}

// request has the verbs called with g under a RequestID, by which a token is issued, and after an
// Import.
func (s *countScene) request(g Grant) Issued {
	made(s.imported())
	g.RequestID = "request"
	s.grant = g
	return made(s.m.Issue(s.ctx, s.grant))
}

// imported calls Import with the grant, and without its RequestID.
func (s *countScene) imported() (Token, error) {
	g := s.grant
	g.RequestID = ""
	return s.m.Import(s.ctx, g, Foreign{Key: "key", Digest: []byte("digest")})
}

// spent has the verbs called with a token of g, whose last use has been spent.
func (s *countScene) spent(g Grant) {
	s.use(s.m, made(s.m.Issue(s.ctx, g)))
	made(s.m.Authenticate(s.ctx, s.text))
}

// call calls verb, and returns what it should have counted.
func (s *countScene) call(verb Verb) (outcome string) {
	s.before = map[ID]storage.Record{}
	for rec, err := range s.store.disk.List(context.Background(), storage.Filter{}) {
		s.before[rec.ID] = made(rec, err)
	}
	defer func() {
		if p := recover(); p != nil {
			if p != errOfAHook {
				panic(p)
			}
			outcome = "internal"
		}
	}()
	tok, again, err := outcomeVerbs[verb](s)
	was, known := s.before[tok.ID]
	switch {
	case err != nil:
		return Code(err)
	case again:
		return "repeated"
	case known && was.Generation == tok.Generation && tok.ExpiresAt.After(was.ExpiresAt):
		return "renewed"
	}
	return "ok"
}

// TestOutcomes calls every verb in every situation: one counter rises by one, that of the verb and of
// its outcome. The outcomes are those of outcomesOf.
func TestOutcomes(t *testing.T) {
	race.Alone(t)
	seen := map[Verb]map[string]bool{}
	for verb := range outcomeVerbs {
		seen[verb] = map[string]bool{}
		for situation, prepare := range outcomeSituations {
			s := newCountScene(t, verb)
			prepare(s)
			before := countsOf(s.m, s.p.access)
			want := StatKey{verb, s.call(verb)}
			got := risen(before, countsOf(s.m, s.p.access))
			delete(got, StatKey{VerbSwept, "ok"})
			maps.DeleteFunc(got, func(key StatKey, _ uint64) bool { return key.Verb == VerbCut }) // at some instant
			if diff := cmp.Diff(map[StatKey]uint64{want: 1}, got); diff != "" {
				t.Errorf("%v, %s: counted (-want +got):\n%s", verb, situation, diff)
			}
			seen[verb][want.Outcome] = true
		}
	}
	var table strings.Builder
	for verb := range Verb(verbCount) {
		if seen[verb] != nil {
			table.WriteString(verb.String() + ": " + strings.Join(slices.Sorted(maps.Keys(seen[verb])), " ") + "\n")
		}
	}
	if diff := cmp.Diff(strings.TrimSpace(outcomesOf), strings.TrimSpace(table.String())); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s\n%s", diff, table.String())
	}
}

// TestStatsOfHolds: a connection that is held is counted once when it begins and once when it ends:
// as released, or as cut by its cause.
func TestStatsOfHolds(t *testing.T) {
	m, _ := managerOver(t, memory.New(), Config{})
	i := issueTo(t, m, Grant{Subject: "ana"})
	ctx, cancel := context.WithCancel(t.Context())
	released, left, cut := made(m.Hold(t.Context(), i.Bearer)), made(m.Hold(ctx, i.Bearer)), made(m.Hold(t.Context(), i.Bearer))
	want := func(when string, key StatKey, n uint64) {
		t.Helper()
		for range 60_000 { // what cuts, and what a context calls, has goroutines of its own
			if m.Stats().Get(key) == n {
				return
			}
			time.Sleep(time.Millisecond)
		}
		t.Errorf("%s: %v is %d; want %d", when, key, m.Stats().Get(key), n)
	}
	want("begun", StatKey{VerbHold, "ok"}, 3)
	released.Release()
	released.Release()
	want("after Release", StatKey{VerbRelease, "ok"}, 1)
	cancel()
	<-left.Context().Done()
	want("after the context ended", StatKey{VerbRelease, "ok"}, 2)
	made(m.Expire(t.Context(), i.ID))
	<-cut.Context().Done()
	want("after the end", StatKey{VerbCut, "revoked"}, 1)
	cut.Release()
	left.Release()
	want("Release after a cut", StatKey{VerbRelease, "ok"}, 2)
	if got := countsOf(m); len(got) != 5 { // with issue and expire
		t.Errorf("counted %v", got)
	}
}

// heldNow returns how many connections are held now, by the counters.
func heldNow(m *Manager) int {
	s := m.Stats()
	now := int(s.Get(StatKey{VerbHold, "ok"})) + int(s.Get(StatKey{VerbHold, "renewed"}))
	for key, n := range s.All() {
		if key.Verb == VerbRelease || key.Verb == VerbCut {
			now -= int(n)
		}
	}
	return now
}

// TestHeldNowAfterAPanic: an Observe that panics or ends its goroutine in Hold leaves no connection,
// and none in the counters, whatever happened to the token meanwhile.
func TestHeldNowAfterAPanic(t *testing.T) {
	for name, does := range map[string]func(m *Manager, i Issued, cancel func()){
		"nothing":     func(*Manager, Issued, func()) {},
		"Expire":      func(m *Manager, i Issued, _ func()) { made(m.Expire(context.Background(), i.ID)) },
		"the context": func(_ *Manager, _ Issued, cancel func()) { cancel() },
	} {
		for _, leave := range []func(){func() { panic("of Observe") }, runtime.Goexit} {
			synctest.Test(t, func(t *testing.T) {
				var m *Manager
				var i Issued
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				m = made(New(memory.New(), Config{Observe: func(_ context.Context, e Event) {
					if e.Kind == EventHeld {
						does(m, i, cancel)
						synctest.Wait()
						leave()
					}
				}}))
				i = issueTo(t, m, Grant{Subject: "ana"})
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					defer func() { _ = recover() }()
					_, _ = m.Hold(ctx, i.Bearer)
					t.Error("Hold has returned")
				}()
				<-gone
				synctest.Wait()
				if n := heldNow(m); n != 0 {
					t.Errorf("%s: %d are held by the counters: %v", name, n, countsOf(m))
				}
			})
		}
	}
}

// TestVerbThatDoesNotReturn: a verb that runtime.Goexit or a panic ends is counted as internal, once,
// and a loop that its body ends so is, too.
func TestVerbThatDoesNotReturn(t *testing.T) {
	for name, leave := range map[string]func(){"Goexit": runtime.Goexit, "panic": func() { panic("of a hook") }} {
		for verb, call := range map[Verb]func(m *Manager, i Issued){
			VerbAuthenticate: func(m *Manager, i Issued) { _, _ = m.Authenticate(context.Background(), i.Bearer) },
			VerbPeek:         func(m *Manager, i Issued) { _, _ = m.Peek(context.Background(), i.Bearer) },
			VerbHold:         func(m *Manager, i Issued) { _, _ = m.Hold(context.Background(), i.Bearer) },
			VerbRotate:       func(m *Manager, i Issued) { _, _ = m.Rotate(context.Background(), i.Bearer, 0) },
			VerbList: func(m *Manager, _ Issued) {
				for range m.List(context.Background(), Query{Subject: "ana"}) {
					leave()
				}
			},
			VerbWatch: func(m *Manager, _ Issued) {
				for range m.Watch(context.Background(), Query{}) {
					leave()
				}
			},
		} {
			m, _ := managerOver(t, memory.New(), Config{Admit: func(context.Context, Token) error { leave(); return nil }})
			i := issueTo(t, m, Grant{Subject: "ana"})
			before := countsOf(m)
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				defer func() { _ = recover() }()
				call(m, i)
				t.Errorf("%v has returned", verb)
			}()
			<-gone
			want := map[StatKey]uint64{{verb, "internal"}: 1}
			if diff := cmp.Diff(want, risen(before, countsOf(m))); diff != "" {
				t.Errorf("%s in %v (-want +got):\n%s", name, verb, diff)
			}
		}
	}
}

// TestStatsOfSweeps: Sweep counts each record that it deletes.
func TestStatsOfSweeps(t *testing.T) {
	m, mock := managerOver(t, memory.New(), Config{})
	for range 3 {
		issueTo(t, m, Grant{Subject: "ana"})
	}
	for _, want := range []int{0, 3, 0} {
		before := m.Stats().Get(StatKey{VerbSwept, "ok"})
		if n := made(m.Sweep(t.Context())); n != want || m.Stats().Get(StatKey{VerbSwept, "ok"})-before != uint64(want) {
			t.Errorf("deleted %d, counted %d; want %d", n, m.Stats().Get(StatKey{VerbSwept, "ok"})-before, want)
		}
		mock.Add(300 * day)
	}
	if n := m.Stats().Get(StatKey{VerbSweep, "ok"}); n != 3 {
		t.Errorf("%d sweeps", n)
	}
}

// TestStatsKeys: Get knows every key that All yields and no other, All stops when its loop does, and
// two errors with one word are one counter.
func TestStatsKeys(t *testing.T) {
	m, _ := managerOver(t, &failing{disk: newDisk(), err: storage.ErrUnavailable}, Config{})
	text := credentialOf(1).Text("lapse")
	_, _ = m.Peek(t.Context(), text)
	m.store.(*failing).err = context.DeadlineExceeded
	_, _ = m.Peek(t.Context(), text)
	_, _ = m.Peek(t.Context(), "x")
	stats := m.Stats()
	_, _ = m.Peek(t.Context(), "x") // is in later Stats alone
	want := map[StatKey]uint64{{VerbPeek, "unavailable"}: 2, {VerbPeek, "malformed"}: 1}
	if diff := cmp.Diff(want, maps.Collect(stats.All())); diff != "" {
		t.Errorf("All (-want +got):\n%s", diff)
	}
	for key, n := range want {
		if got := stats.Get(key); got != n {
			t.Errorf("Get(%v) is %d; want %d", key, got, n)
		}
	}
	for _, key := range []StatKey{{VerbPeek, "ok"}, {VerbPeek, "nonsense"}, {verbCount, "ok"}, {255, "ok"}, {}} {
		if got := stats.Get(key); got != 0 {
			t.Errorf("Get(%v) is %d; want 0", key, got)
		}
	}
	for range stats.All() {
		break
	}
	if n := (Stats{}).Get(StatKey{VerbPeek, "ok"}); n != 0 || len(maps.Collect((Stats{}).All())) != 0 {
		t.Error("the zero Stats have counters")
	}
}

// uncounted is Authenticate without begin and finish.
func uncounted(ctx context.Context, m *Manager, bearer string) (tok Token, err error) {
	verb := call{Verb: VerbAuthenticate}
	_, err = m.authenticate(ctx, &verb, bearer, useOnce, &tok)
	return tok, err
}

// BenchmarkStats compares Authenticate with the same call that counts nothing.
func BenchmarkStats(b *testing.B) {
	store := memory.New()
	m, _ := managerOver(b, store, Config{Policy: Policy{RenewEvery: time.Hour, MaxTokens: NoTokenLimit}})
	var texts []string
	for range 1000 {
		texts = append(texts, issueTo(b, m, Grant{Subject: "ana"}).Bearer)
	}
	ctx := context.Background()
	with := func(i int) {
		if _, err := m.Authenticate(ctx, texts[i%len(texts)]); err != nil {
			b.Fatal(err)
		}
	}
	without := func(i int) {
		if _, err := uncounted(ctx, m, texts[i%len(texts)]); err != nil {
			b.Fatal(err)
		}
	}
	ratio.Of(b, 20000, with, without)
	if n := m.Stats().Get(StatKey{VerbAuthenticate, "ok"}); n < 20000 {
		b.Errorf("%d uses are counted", n)
	}
}

var errOwnDisk = errors.New("disk on fire")

// sentinels are all that errors.Is may be asked for.
var sentinels = map[string]error{
	"ErrUnauthenticated": ErrUnauthenticated, "ErrMalformed": ErrMalformed, "ErrUnknown": ErrUnknown,
	"ErrExpired": ErrExpired, "ErrRevoked": ErrRevoked, "ErrSuspended": ErrSuspended, "ErrRefused": ErrRefused, "ErrProof": ErrProof, "ErrReplaced": ErrReplaced,
	"ErrExhausted": ErrExhausted, "ErrReused": ErrReused, "ErrBadCredentials": ErrBadCredentials,
	"ErrRotated": ErrRotated, "ErrNotDelegable": ErrNotDelegable, "ErrScope": ErrScope,
	"ErrClock": ErrClock, "ErrNoKeys": ErrNoKeys, "ErrNotMine": ErrNotMine,
	"ErrInvalidConfig": ErrInvalidConfig, "ErrInvalidGrant": ErrInvalidGrant, "ErrLimit": ErrLimit,
	"ErrNotRenewable": ErrNotRenewable, "ErrInvalidID": ErrInvalidID, "ErrInvalidThumbprint": ErrInvalidThumbprint,
	"ErrNotFound": ErrNotFound, "ErrConflict": ErrConflict, "ErrUnavailable": ErrUnavailable,
	"ErrOutcomeUnknown": ErrOutcomeUnknown, "ErrClosed": ErrClosed, "ErrCorrupt": ErrCorrupt, "ErrLocked": ErrLocked,
	"context.Canceled": context.Canceled, "context.DeadlineExceeded": context.DeadlineExceeded,
	"errOwnDisk": errOwnDisk,
}

// isOf returns the names of the sentinels that err wraps, sorted.
func isOf(err error) []string {
	var names []string
	for name, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// causeScene is a Manager with a live token of ana, on which one thing is wrong.
type causeScene struct {
	*Manager
	store  *tallyStore
	clock  interface{ Set(time.Time) }
	issued Issued
	check  error // what Admit says
}

func newCauseScene(t *testing.T) *causeScene {
	t.Helper()
	s := &causeScene{store: newTallyStore()}
	m, mock := managerOver(t, s.store, Config{
		Policy: Policy{MaxTokens: 1},
		Admit:  func(context.Context, Token) error { return s.check },
	})
	s.Manager, s.clock = m, mock
	s.issued = issueTo(t, m, Grant{Subject: "ana"})
	return s
}

func (s *causeScene) authenticate(t *testing.T) error {
	_, err := s.Authenticate(t.Context(), s.issued.Bearer)
	return err
}

// rotate replaces the secret of the scene's token, whose first text it keeps.
func (s *causeScene) rotate(t *testing.T, overlap time.Duration) {
	t.Helper()
	if _, err := s.Rotate(t.Context(), s.issued.Bearer, overlap); err != nil {
		t.Fatal(err)
	}
}

// failing makes the store fail at every turn.
func (s *causeScene) failing(err error) {
	for _, method := range []string{"Get", "Touch", "Update", "List", "Sweep"} {
		s.store.fails[method] = err
	}
}

// refusals are the ways in which a token can be no good.
var refusals = []struct {
	name string
	do   func(t *testing.T, s *causeScene) error
	is   string
}{
	{"malformed", func(t *testing.T, s *causeScene) error {
		_, err := s.Authenticate(t.Context(), s.issued.Bearer+"\n")
		return err
	}, "ErrMalformed"},
	{"no such ID", func(t *testing.T, s *causeScene) error {
		_, err := s.Authenticate(t.Context(), credentialOf(1).Text("lapse"))
		return err
	}, "ErrUnknown"},
	{"wrong secret", func(t *testing.T, s *causeScene) error {
		_, err := s.Authenticate(t.Context(), s.withOtherSecret().Text("lapse"))
		return err
	}, "ErrUnknown"},
	{"another prefix before it", func(t *testing.T, s *causeScene) error {
		_, err := s.Authenticate(t.Context(), s.credential().Text("other"))
		return err
	}, "ErrUnknown"},
	{"ran out", func(t *testing.T, s *causeScene) error {
		s.clock.Set(after(time.Hour))
		return s.authenticate(t)
	}, "ErrExpired"},
	{"ended by its ID", func(t *testing.T, s *causeScene) error {
		if _, err := s.Expire(t.Context(), s.issued.ID); err != nil {
			return err
		}
		return s.authenticate(t)
	}, "ErrRevoked"},
	{"ended with its subject", func(t *testing.T, s *causeScene) error {
		if _, err := s.ExpireSubject(t.Context(), "ana"); err != nil {
			return err
		}
		return s.authenticate(t)
	}, "ErrRevoked"},
	{"suspended", func(t *testing.T, s *causeScene) error {
		if _, err := s.Suspend(t.Context(), s.issued.ID); err != nil {
			return err
		}
		s.check = ErrRefused // which is asked later
		return s.authenticate(t)
	}, "ErrSuspended"},
	{"suspended, and it ran out", func(t *testing.T, s *causeScene) error {
		if _, err := s.Suspend(t.Context(), s.issued.ID); err != nil {
			return err
		}
		s.clock.Set(after(time.Hour))
		return s.authenticate(t)
	}, "ErrExpired"},
	{"suspended, and its secret replaced", func(t *testing.T, s *causeScene) error {
		if _, err := s.Suspend(t.Context(), s.issued.ID); err != nil {
			return err
		}
		made(s.RotateID(t.Context(), s.issued.ID, 0))
		return s.authenticate(t)
	}, "ErrReplaced"},
	{"replaced at once", func(t *testing.T, s *causeScene) error {
		s.rotate(t, 0)
		return s.authenticate(t)
	}, "ErrReplaced"},
	{"replaced, and its overlap is over", func(t *testing.T, s *causeScene) error {
		s.rotate(t, time.Second)
		s.clock.Set(after(time.Second))
		return s.authenticate(t)
	}, "ErrReplaced"},
	{"replaced, and the token is dead", func(t *testing.T, s *causeScene) error {
		s.rotate(t, 0)
		s.clock.Set(after(time.Hour))
		return s.authenticate(t)
	}, "ErrReplaced"},
	{"exhausted", func(t *testing.T, s *causeScene) error {
		s.issued = issueTo(t, s.Manager, Grant{Subject: "bob", MaxUses: 1})
		if err := s.authenticate(t); err != nil {
			return err
		}
		return s.authenticate(t)
	}, "ErrExhausted"},
	{"subject refused", func(t *testing.T, s *causeScene) error {
		s.check = ErrRefused
		return s.authenticate(t)
	}, "ErrRefused"},
	{"subject refused with more to say", func(t *testing.T, s *causeScene) error {
		s.check = fmt.Errorf("suspended: %w", ErrRefused)
		return s.authenticate(t)
	}, "ErrRefused"},
}

// credential returns what the scene's token says.
func (s *causeScene) credential() *credential {
	var c credential
	c.Parse(s.issued.Bearer, "lapse")
	return &c
}

func (s *causeScene) withOtherSecret() *credential {
	c := s.credential()
	c[len(c)-1] ^= 1
	return c
}

// TestRefusals: each wraps its own sentinel and the umbrella and nothing else,
// however often it is wrapped, and carries a *Rejection.
func TestRefusals(t *testing.T) {
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do(t, newCauseScene(t))
			for range 4 { // bare, then wrapped three times
				if diff := cmp.Diff(sorted(tt.is, "ErrUnauthenticated"), isOf(err)); diff != "" {
					t.Fatalf("%v wraps (-want +got):\n%s", err, diff)
				}
				var r *Rejection
				if !errors.As(err, &r) || r == nil || !errors.Is(r, sentinels[tt.is]) {
					t.Fatalf("the Rejection in %v is %v", err, r)
				}
				err = fmt.Errorf("handler: %w", err)
			}
			err = errors.Join(errOwnDisk, err)
			if !errors.Is(err, ErrUnauthenticated) {
				t.Errorf("joined with another error it is %v", isOf(err))
			}
		})
	}
}

func sorted(names ...string) []string {
	slices.Sort(names)
	return names
}

// TestCouldNotTell: what the store, the context or the caller's own code says is
// no verdict about the token, and stays findable.
func TestCouldNotTell(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		is   []string
	}{
		{"conflict", ErrConflict, []string{"ErrConflict"}},
		{"unavailable", ErrUnavailable, []string{"ErrUnavailable"}},
		{"outcome unknown", ErrOutcomeUnknown, []string{"ErrOutcomeUnknown"}},
		{"closed", ErrClosed, []string{"ErrClosed"}},
		{"corrupt", ErrCorrupt, []string{"ErrCorrupt"}},
		{"locked", ErrLocked, []string{"ErrLocked"}},
		{"wrapped by the store", fmt.Errorf("page 7: %w", ErrCorrupt), []string{"ErrCorrupt"}},
		{"of no kind", errOwnDisk, []string{"ErrUnavailable", "errOwnDisk"}},
		{"of a kind, with a cause", fmt.Errorf("%w: %w", ErrOutcomeUnknown, errOwnDisk), []string{"ErrOutcomeUnknown", "errOwnDisk"}},
		{"cancelled", context.Canceled, []string{"context.Canceled"}},
		{"cancelled, wrapped", fmt.Errorf("waiting: %w", context.Canceled), []string{"context.Canceled"}},
		{"deadline", context.DeadlineExceeded, []string{"ErrUnavailable", "context.DeadlineExceeded"}},
		{"deadline after the commit began", fmt.Errorf("%w: %w", ErrOutcomeUnknown, context.DeadlineExceeded),
			[]string{"ErrOutcomeUnknown", "context.DeadlineExceeded"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newCauseScene(t)
			s.failing(tt.err)
			for verb, err := range storeVerbs(t, s) {
				noVerdictIn(t, verb, err, tt.is...)
			}
		})
	}
}

// storeVerbs tries every verb on a store that fails.
func storeVerbs(t *testing.T, s *causeScene) map[string]error {
	ctx := t.Context()
	errs := bearerVerbs(ctx, s.Manager, s.issued.Bearer)
	_, errs["Issue"] = s.Issue(ctx, Grant{Subject: "bob"})
	_, errs["Expire"] = s.Expire(ctx, s.issued.ID)
	_, errs["ExpireSubject"] = s.ExpireSubject(ctx, "ana")
	_, errs["Token"] = s.Token(ctx, s.issued.ID)
	_, errs["Sweep"] = s.Sweep(ctx)
	for _, err := range s.List(ctx, Query{Subject: "ana"}) {
		errs["Tokens"] = err
	}
	for _, err := range s.List(ctx, Query{Within: time.Hour}) {
		errs["Expiring"] = err
	}
	_, errs["Login"] = Login(ctx, s.Manager, "password", Grant{}, VerifierFunc[string](func(context.Context, string) (string, error) { return "bob", nil }))
	return errs
}

// TestContextEnds as the store itself notices it, in every verb.
func TestContextEnds(t *testing.T) {
	s := newCauseScene(t)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
	defer cancelLate()
	for name, tt := range map[string]struct {
		ctx context.Context
		is  []string
	}{
		"cancelled": {cancelled, []string{"context.Canceled"}},
		"deadline":  {late, []string{"ErrUnavailable", "context.DeadlineExceeded"}},
	} {
		errs := bearerVerbs(tt.ctx, s.Manager, s.issued.Bearer)
		_, errs["Issue"] = s.Issue(tt.ctx, Grant{Subject: "bob"})
		_, errs["Expire"] = s.Expire(tt.ctx, s.issued.ID)
		_, errs["ExpireSubject"] = s.ExpireSubject(tt.ctx, "ana")
		_, errs["Token"] = s.Token(tt.ctx, s.issued.ID)
		_, errs["Sweep"] = s.Sweep(tt.ctx)
		for verb, err := range errs {
			if diff := cmp.Diff(tt.is, isOf(err)); diff != "" {
				t.Errorf("%s: %s = %v, which wraps (-want +got):\n%s", name, verb, err, diff)
			}
		}
	}
	if err := s.authenticate(t); err != nil {
		t.Errorf("after all that the token is %v", err)
	}
}

// TestCallersMistakes are of one kind each and never a verdict on a token.
func TestCallersMistakes(t *testing.T) {
	s := newCauseScene(t)
	_, limit := s.Issue(t.Context(), Grant{Subject: "ana"})
	_, grant := s.Issue(t.Context(), Grant{})
	_, config := New(s.store, Config{Prefix: "_"})
	_, id := ParseID(s.issued.ID.String() + "0")
	_, thumbprint := ParseThumbprint(s.issued.ID.String())
	_, absent := s.Token(t.Context(), ID{1})
	never, _ := managerOver(t, s.store, Config{Policy: Policy{Renewal: RenewNever}})
	_, renewable := never.Renew(t.Context(), s.issued.Bearer)
	for want, err := range map[string]error{
		"ErrLimit": limit, "ErrInvalidGrant": grant, "ErrInvalidConfig": config,
		"ErrInvalidID": id, "ErrInvalidThumbprint": thumbprint, "ErrNotFound": absent, "ErrNotRenewable": renewable,
	} {
		for range 4 {
			if diff := cmp.Diff([]string{want}, isOf(err)); diff != "" {
				t.Errorf("%v wraps (-want +got):\n%s", err, diff)
			}
			err = fmt.Errorf("handler: %w", err)
		}
	}
}

// TestCheckSubjectCouldNotTell: any error but ErrRefused is passed on as
// it is, and Authenticate then writes nothing.
func TestCheckSubjectCouldNotTell(t *testing.T) {
	for name, check := range map[string]error{
		"errOwnDisk": errOwnDisk, "context.Canceled": context.Canceled,
		"context.DeadlineExceeded": context.DeadlineExceeded, "ErrUnavailable": ErrUnavailable,
	} {
		s := newCauseScene(t)
		s.check = check
		clear(s.store.calls)
		_, peek := s.Peek(t.Context(), s.issued.Bearer)
		_, renew := s.Renew(t.Context(), s.issued.Bearer)
		for verb, err := range map[string]error{"Authenticate": s.authenticate(t), "Peek": peek, "Renew": renew} {
			if diff := cmp.Diff([]string{name}, isOf(err)); diff != "" {
				t.Errorf("%s = %v, which wraps (-want +got):\n%s", verb, err, diff)
			}
		}
		if diff := cmp.Diff(map[string]int{"Get": 3}, s.store.calls); diff != "" {
			t.Errorf("calls of the store (-want +got):\n%s", diff)
		}
	}
}

// TestWrongRecord: a store that answers with another token's record has damaged
// something. No token is let in, and no user is logged out.
func TestWrongRecord(t *testing.T) {
	s := newCauseScene(t)
	bob := issueTo(t, s.Manager, Grant{Subject: "bob"})
	m, _ := managerOver(t, swappedStore{s.store, bob.ID}, Config{})
	errs := bearerVerbs(t.Context(), m, s.issued.Bearer)
	_, errs["Token"] = m.Token(t.Context(), s.issued.ID)
	_, errs["Expire"] = m.Expire(t.Context(), s.issued.ID)
	for verb, err := range errs {
		if diff := cmp.Diff([]string{"ErrCorrupt"}, isOf(err)); diff != "" {
			t.Errorf("%s = %v, which wraps (-want +got):\n%s", verb, err, diff)
		}
	}
}

// swappedStore answers every Get with one record.
type swappedStore struct {
	storage.Store
	id ID
}

func (s swappedStore) Get(ctx context.Context, _ ID) (storage.Record, error) {
	return s.Store.Get(ctx, s.id)
}

// TestForeignVerdicts: a store or a Admit may itself hold a token of some
// other Manager. That this one is no good says nothing about the token presented
// here: its holder must not be logged out. What else there is to know stays.
func TestForeignVerdicts(t *testing.T) {
	foreign := fmt.Errorf("calling the directory: %w: %w", errOwnDisk, &Rejection{Err: ErrExpired, ID: ID{9}})
	t.Run("of the store", func(t *testing.T) {
		s := newCauseScene(t)
		s.failing(foreign)
		for verb, err := range storeVerbs(t, s) {
			noVerdictIn(t, verb, err, "ErrUnavailable", "errOwnDisk")
		}
	})
	t.Run("of Admit", func(t *testing.T) {
		s := newCauseScene(t)
		s.check = foreign
		_, peek := s.Peek(t.Context(), s.issued.Bearer)
		_, renew := s.Renew(t.Context(), s.issued.Bearer)
		for verb, err := range map[string]error{"Authenticate": s.authenticate(t), "Peek": peek, "Renew": renew} {
			noVerdictIn(t, verb, err, "errOwnDisk")
		}
	})
}

// noVerdictIn reports an error that says anything except want, or carries another caller
// else's Rejection.
func noVerdictIn(t *testing.T, verb string, err error, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, isOf(err)); diff != "" {
		t.Errorf("%s = %v, which wraps (-want +got):\n%s", verb, err, diff)
	}
	var r *Rejection
	if errors.As(err, &r) {
		t.Errorf("%s carries a Rejection: %v", verb, r)
	}
}

// TestRejectionFields: before the secret is proved it says no more than the text
// presented; afterwards all that a log needs.
func TestRejectionFields(t *testing.T) {
	type fields struct {
		known  bool // the ID
		proved bool
		at     time.Time
		reason EndReason
	}
	wants := map[string]fields{
		"malformed":                          {},
		"no such ID":                         {known: true},
		"wrong secret":                       {known: true},
		"another prefix before it":           {known: true},
		"ran out":                            {known: true, proved: true, at: after(30 * time.Minute)},
		"ended by its ID":                    {known: true, proved: true, at: testInstant, reason: EndRevoked},
		"ended with its subject":             {known: true, proved: true, at: testInstant, reason: EndSubject},
		"suspended":                          {known: true, proved: true, at: testInstant},
		"suspended, and it ran out":          {known: true, proved: true, at: after(30 * time.Minute)},
		"suspended, and its secret replaced": {known: true, proved: true},
		"replaced at once":                   {known: true, proved: true},
		"replaced, and its overlap is over":  {known: true, proved: true},
		"replaced, and the token is dead":    {known: true, proved: true},
		"exhausted":                          {known: true, proved: true, at: testInstant, reason: EndExhausted},
		"subject refused":                    {known: true, proved: true},
		"subject refused with more to say":   {known: true, proved: true},
	}
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			want, listed := wants[tt.name]
			if !listed {
				t.Fatal("nothing is said of this refusal")
			}
			s := newCauseScene(t)
			err := tt.do(t, s)
			var r *Rejection
			if !errors.As(err, &r) {
				t.Fatalf("no Rejection in %v", err)
			}
			wanted := Rejection{Err: sentinels[tt.is], At: want.at, Reason: want.reason}
			if want.known {
				wanted.ID = s.issued.ID
			}
			if tt.name == "no such ID" {
				wanted.ID = credentialOf(1).ID()
			}
			if want.proved {
				wanted.Subject = s.issued.Subject
			}
			if diff := cmp.Diff(wanted, *r, cmpopts.EquateErrors()); diff != "" {
				t.Errorf("Rejection (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnknownIsOneAnswer: an absent ID, a wrong secret and another prefix differ
// in nothing but the ID that was presented, and cost the store the same.
func TestUnknownIsOneAnswer(t *testing.T) {
	s := newCauseScene(t)
	absent := s.withOtherSecret()
	absent[0] ^= 1
	var calls []map[string]int
	texts := map[string]bool{}
	for _, bearer := range []string{absent.Text("lapse"), s.withOtherSecret().Text("lapse"), s.credential().Text("other")} {
		clear(s.store.calls)
		for verb, err := range bearerVerbs(t.Context(), s.Manager, bearer) {
			if !errors.Is(err, ErrUnknown) {
				t.Errorf("%s = %v, want ErrUnknown", verb, err)
			}
			text := strings.ReplaceAll(err.Error(), absent.ID().String(), "ID")
			texts[strings.ReplaceAll(text, s.issued.ID.String(), "ID")] = true
		}
		calls = append(calls, map[string]int{"Get": s.store.calls["Get"], "all": len(s.store.calls)})
	}
	one := map[string]int{"Get": 7, "all": 1}
	if diff := cmp.Diff([]map[string]int{one, one, one}, calls); diff != "" {
		t.Errorf("calls of the store (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]bool{"lapse: unauthenticated: unknown token: ID": true}, texts); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
}

// TestRejectionText, as logs have it: ID#generation once the secret is proved, and no
// subject.
func TestRejectionText(t *testing.T) {
	id := fromHex("000102030405060708090a0b0c0d0e0f" + strings.Repeat("00", secretLen))
	at := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	for want, r := range map[string]Rejection{
		"lapse: unauthenticated: malformed token": {Err: ErrMalformed},
		"lapse: unauthenticated: unknown token: 001IYT0XLWR0glqewhlWlr": {
			Err: ErrUnknown, ID: id.ID()},
		"lapse: unauthenticated: token replaced: 001IYT0XLWR0glqewhlWlr#4294967295": {
			Err: ErrReplaced, ID: id.ID(), Subject: "ana", Generation: 1<<32 - 1},
		"lapse: unauthenticated: refresh token reused: 001IYT0XLWR0glqewhlWlr#7 was ended at 2026-03-01T12:30:00Z (reused)": {
			Err: ErrReused, ID: id.ID(), Subject: "ana", Generation: 7, At: at, Reason: EndReused},
		"lapse: unauthenticated: token expired: 001IYT0XLWR0glqewhlWlr#0 ran out at 2026-03-01T12:30:00Z": {
			Err: ErrExpired, ID: id.ID(), Subject: "ana", At: at},
		"lapse: unauthenticated: token revoked: 001IYT0XLWR0glqewhlWlr#0 was ended at 2026-03-01T12:30:00Z (revoked)": {
			Err: ErrRevoked, ID: id.ID(), Subject: "ana", At: at, Reason: EndRevoked},
		"lapse: unauthenticated: token suspended: 001IYT0XLWR0glqewhlWlr#0 has been suspended since 2026-03-01T12:30:00Z": {
			Err: ErrSuspended, ID: id.ID(), Subject: "ana", At: at},
		"lapse: unauthenticated: token revoked: 001IYT0XLWR0glqewhlWlr#0 was ended at 2026-03-01T12:30:00Z (subject)": {
			Err: ErrRevoked, ID: id.ID(), Subject: "ana", At: at, Reason: EndSubject},
		"lapse: unauthenticated: token revoked: 001IYT0XLWR0glqewhlWlr#0 was ended at 2026-03-01T12:30:00Z (evicted)": {
			Err: ErrRevoked, ID: id.ID(), Subject: "ana", At: at, Reason: EndEvicted},
		"lapse: unauthenticated: token revoked: 001IYT0XLWR0glqewhlWlr#0 was ended at 2026-03-01T12:30:00Z (unknown)": {
			Err: ErrRevoked, ID: id.ID(), Subject: "ana", At: at, Reason: 200},
		"suspended: lapse: unauthenticated: refused: 001IYT0XLWR0glqewhlWlr#0": {
			Err: fmt.Errorf("suspended: %w", ErrRefused), ID: id.ID(), Subject: "ana"},
	} {
		if diff := cmp.Diff(want, r.Error()); diff != "" {
			t.Errorf("text (-want +got):\n%s", diff)
		}
		if !errors.Is(&r, ErrUnauthenticated) {
			t.Errorf("%v does not wrap ErrUnauthenticated", &r)
		}
	}
}

// TestRejectionAt is the earlier of both deaths, and says the reason of an end
// that came too late to matter no differently.
func TestRejectionAt(t *testing.T) {
	s := newCauseScene(t)
	s.clock.Set(after(10 * time.Minute)) // before it runs out
	if _, err := s.ExpireBearer(t.Context(), s.issued.Bearer); err != nil {
		t.Fatal(err)
	}
	s.clock.Set(after(100 * time.Hour)) // long after it would have
	var r *Rejection
	if err := s.authenticate(t); !errors.As(err, &r) || !r.At.Equal(after(10*time.Minute)) || r.Reason != EndRevoked {
		t.Errorf("Rejection = %+v", r)
	}
}

// TestRejectionsAreNotShared: a caller who changes the found one changes no other caller
// else's.
func TestRejectionsAreNotShared(t *testing.T) {
	var first, second *Rejection
	if !errors.As(ErrMalformed, &first) {
		t.Fatal("no Rejection in ErrMalformed")
	}
	first.Subject, first.Err = "changed", nil
	if !errors.As(ErrMalformed, &second) {
		t.Fatal("no Rejection in ErrMalformed")
	}
	if diff := cmp.Diff(Rejection{Err: ErrMalformed}, *second, cmpopts.EquateErrors()); diff != "" {
		t.Errorf("second Rejection (-want +got):\n%s", diff)
	}
}

// TestAsFindsNothingElse: only a *Rejection is made up.
func TestAsFindsNothingElse(t *testing.T) {
	var own *ownError
	if errors.As(ErrMalformed, &own) {
		t.Errorf("found %v", own)
	}
	var r *Rejection
	if errors.As(ErrUnauthenticated, &r) {
		t.Errorf("the umbrella by itself says why: %v", r)
	}
}

type ownError struct{}

func (*ownError) Error() string { return "own" }

// TestRejectedEvents carry the same Rejection as what is returned. A text whose secret was
// replaced has an event of its own.
func TestRejectedEvents(t *testing.T) {
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			s := newCauseScene(t)
			var told []Event
			s.observe = func(_ context.Context, e Event) {
				if e.Kind == EventRejected || e.Kind == EventSpent {
					told = append(told, e)
				}
			}
			err := tt.do(t, s)
			var r *Rejection
			if !errors.As(err, &r) || len(told) != 1 {
				t.Fatalf("%v; told %d rejections, want 1", err, len(told))
			}
			if told[0].Verb == 0 {
				t.Error("no verb is told")
			}
			want := Event{Kind: EventRejected, At: s.now(), Verb: told[0].Verb, Prefix: s.prefix, Token: Token{ID: r.ID, Subject: r.Subject, Generation: r.Generation}, Err: err}
			if tt.is == "ErrReplaced" {
				want.Kind = EventSpent
			}
			if diff := cmp.Diff(want, told[0], cmpopts.EquateErrors()); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

// refusedScene has a token and a session of ana with texts of every kind: of the secret in
// use, of secrets that were replaced, and of such that never were.
type refusedScene struct {
	store *tallyStore
	clock interface{ Set(time.Time) }
	m     *Manager // of the prefix of the access texts
	pairs *Pairs
	token ID
	login ID
	texts map[string]string

	observe func(context.Context, Event)
}

// newRefusedScene makes the scene. A rotation of the plain token is a minute old at most, and
// the last refresh is a second old.
func newRefusedScene(t *testing.T) *refusedScene {
	t.Helper()
	s := &refusedScene{store: newTallyStore(), texts: map[string]string{"malformed": "lapse_junk"}}
	cfg := Config{Observe: func(ctx context.Context, e Event) {
		if s.observe != nil {
			s.observe(ctx, e)
		}
	}}
	m, mock := managerOver(t, s.store, cfg)
	cfg.Clock = mock
	s.m, s.clock, s.pairs = m, mock, made(NewPairs(s.store, PairConfig{Access: cfg}))
	s.plain(t)
	s.session(t)
	return s
}

// plain makes the texts of a plain token of generation 3, which is in use.
func (s *refusedScene) plain(t *testing.T) {
	ctx := t.Context()
	first := issueTo(t, s.m, Grant{Subject: "ana", Scope: "read"})
	second := made(s.m.Rotate(ctx, first.Bearer, time.Minute))
	made(s.m.Authenticate(ctx, second.Bearer))
	third := made(s.m.Rotate(ctx, second.Bearer, time.Minute))
	made(s.m.Authenticate(ctx, third.Bearer))
	fourth := made(s.m.Rotate(ctx, third.Bearer, time.Minute))
	made(s.m.Authenticate(ctx, fourth.Bearer))
	s.token = first.ID
	rec := made(s.store.Get(ctx, first.ID))
	r, _, err := rotationOf(&rec)
	if err != nil {
		t.Fatal(err)
	}
	text := func(generation uint32) string {
		return craft(first.ID, &r.key, s.m.binding, plainSecret, generation, "lapse")
	}
	s.add("plain", map[string]string{
		"current": fourth.Bearer, "previous": third.Bearer, "spent": second.Bearer, "first": first.Bearer,
		"ahead": text(4), "far ahead": text(math.MaxUint32), "forged": text(3), "forged, of the previous": text(2), "made up": text(1),
		"without a right tag": craft(first.ID, &tagKey{1}, s.m.binding, plainSecret, 1, "lapse"),
		"of another kind":     craft(first.ID, &r.key, s.m.binding, accessSecret, 1, "lapse"),
	})
}

// session makes the texts of a session of generation 2.
func (s *refusedScene) session(t *testing.T) {
	ctx := t.Context()
	first := made(s.pairs.Issue(ctx, Grant{Subject: "ana", Scope: "read"}))
	second := made(s.pairs.Refresh(ctx, first.Refresh.Bearer))
	third := made(s.pairs.Refresh(ctx, second.Refresh.Bearer))
	s.login = first.Access.ID
	rec := made(s.store.Get(ctx, s.login))
	kept, _ := sessionOf(&rec)
	key := kept.key()
	access := func(generation uint32) string {
		return craft(s.login, &key, s.m.binding, accessSecret, generation, "lapse")
	}
	refresh := func(generation uint32) string {
		return craft(s.login, &key, s.pairs.refresh.binding, refreshSecret, generation, "lapse_refresh")
	}
	s.add("access", map[string]string{
		"current": third.Access.Bearer, "previous": second.Access.Bearer, "spent": first.Access.Bearer,
		"ahead": access(3), "forged": access(2), "made up": access(0),
		"of another kind": craft(s.login, &key, s.m.binding, plainSecret, 0, "lapse"),
	})
	s.add("refresh", map[string]string{
		"current": third.Refresh.Bearer, "previous": second.Refresh.Bearer, "spent": first.Refresh.Bearer,
		"ahead": refresh(3), "forged": refresh(2), "made up": refresh(0),
		"of another kind": craft(s.login, &key, s.pairs.refresh.binding, accessSecret, 0, "lapse_refresh"),
	})
}

// change rewrites a record.
func (s *refusedScene) change(t *testing.T, id ID, f func(rec *storage.Record)) {
	t.Helper()
	err := s.store.Update(t.Context(), "ana", func(tx storage.Tx) error {
		rec, err := tx.Get(id)
		f(&rec)
		return errors.Join(err, tx.Put(rec))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *refusedScene) add(kind string, texts map[string]string) {
	for name, text := range texts {
		s.texts[kind+" "+name] = text
	}
}

// craft returns a text with a right tag by key, whose random bytes are made up.
func craft(id ID, key *tagKey, b binding, kind secretKind, generation uint32, prefix string) string {
	var c credential
	copy(c[:], id[:])
	c.SetTagged(key, b, kind, generation, []byte("twenty bytes made up"))
	return c.Text(prefix)
}

// refusedVerbs are the verbs that take a text.
var refusedVerbs = map[string]func(ctx context.Context, s *refusedScene, text string) error{
	"Authenticate": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Authenticate(ctx, text)
		return err
	},
	"Peek": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Peek(ctx, text)
		return err
	},
	"Hold": func(ctx context.Context, s *refusedScene, text string) error {
		ctx, release := context.WithCancel(ctx)
		defer release()
		_, _, err := opened(s.m.Hold(ctx, text))
		return err
	},
	"Delegate": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Delegate(ctx, text, Grant{})
		return err
	},
	"Renew": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Renew(ctx, text)
		return err
	},
	"Confirm": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Confirm(ctx, text)
		return err
	},
	"Rotate": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Rotate(ctx, text, time.Second)
		return err
	},
	"Rotate, 0": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Rotate(ctx, text, 0)
		return err
	},
	"ExpireBearer": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.ExpireBearer(ctx, text)
		return err
	},
	"Pairs.Refresh": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.pairs.Refresh(ctx, text)
		return err
	},
	"Pairs.Peek": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.pairs.Peek(ctx, text)
		return err
	},
	"Pairs.ExpireBearer": func(ctx context.Context, s *refusedScene, text string) error {
		return loggedOut(s.pairs.ExpireBearer(ctx, text))
	},
}

// verdicts are the sentinels that each verb says of a text, "" for good. What no column
// names says the first.
type verdicts struct {
	use                         string // Authenticate, Peek, Hold, Delegate, Confirm
	renew, rotate, rotateAtOnce string
	expire                      string // ExpireBearer, and that of Pairs except for refresh texts
	refresh, peekPair, expireIt string
}

func (v *verdicts) of(verb string) string {
	switch verb {
	case "Renew":
		return v.renew
	case "Rotate":
		return v.rotate
	case "Rotate, 0":
		return v.rotateAtOnce
	case "ExpireBearer":
		return v.expire
	case "Pairs.Refresh":
		return v.refresh
	case "Pairs.Peek":
		return v.peekPair
	case "Pairs.ExpireBearer":
		return v.expireIt
	}
	return v.use
}

func same(err string) verdicts { return verdicts{err, err, err, err, err, err, err, err} }

const (
	uk = "ErrUnknown"
	rp = "ErrReplaced"
	nr = "ErrNotRenewable"
	ex = "ErrRevoked"
)

// textRows say what each verb says of each text: of a token and a session that live, and
// of such that are dead.
var textRows = map[string]struct{ live, dead verdicts }{
	"malformed":                     {same("ErrMalformed"), same("ErrMalformed")},
	"plain current":                 {verdicts{refresh: uk, peekPair: uk}, verdicts{ex, ex, ex, ex, "", uk, uk, ""}},
	"plain previous":                {verdicts{rotate: "ErrRotated", refresh: uk, peekPair: uk}, verdicts{ex, ex, ex, ex, "", uk, uk, ""}},
	"plain spent":                   {verdicts{rp, rp, rp, rp, rp, uk, uk, rp}, verdicts{rp, rp, rp, rp, rp, uk, uk, rp}},
	"plain first":                   {verdicts{rp, rp, rp, rp, rp, uk, uk, rp}, verdicts{rp, rp, rp, rp, rp, uk, uk, rp}},
	"plain made up":                 {verdicts{rp, rp, rp, rp, rp, uk, uk, rp}, verdicts{rp, rp, rp, rp, rp, uk, uk, rp}},
	"plain ahead":                   {same(uk), same(uk)},
	"plain far ahead":               {same(uk), same(uk)},
	"plain forged":                  {same(uk), same(uk)},
	"plain forged, of the previous": {same(uk), same(uk)},
	"plain without a right tag":     {same(uk), same(uk)},
	"plain of another kind":         {same(uk), same(uk)},
	"access current":                {verdicts{renew: nr, rotate: nr, rotateAtOnce: nr, refresh: uk, peekPair: uk}, verdicts{ex, ex, nr, nr, "", uk, uk, ""}},
	"access previous":               {verdicts{renew: nr, rotate: nr, rotateAtOnce: nr, refresh: uk, peekPair: uk}, verdicts{ex, ex, nr, nr, "", uk, uk, ""}},
	"access spent":                  {verdicts{rp, rp, nr, nr, "", uk, uk, ""}, verdicts{rp, rp, nr, nr, "", uk, uk, ""}},
	"access made up":                {verdicts{rp, rp, nr, nr, "", uk, uk, ""}, verdicts{rp, rp, nr, nr, "", uk, uk, ""}},
	"access ahead":                  {same(uk), same(uk)},
	"access forged":                 {same(uk), same(uk)},
	"access of another kind":        {same(uk), same(uk)},
	"refresh current":               {verdicts{uk, uk, uk, uk, uk, "", "", ""}, verdicts{uk, uk, uk, uk, uk, ex, ex, ""}},
	"refresh previous":              {verdicts{uk, uk, uk, uk, uk, "", "", ""}, verdicts{uk, uk, uk, uk, uk, ex, ex, ""}},
	"refresh spent":                 {verdicts{uk, uk, uk, uk, uk, "ErrReused", rp, ""}, verdicts{uk, uk, uk, uk, uk, "ErrReused", rp, ""}},
	"refresh made up":               {verdicts{uk, uk, uk, uk, uk, "ErrReused", rp, ""}, verdicts{uk, uk, uk, uk, uk, "ErrReused", rp, ""}},
	"refresh ahead":                 {same(uk), same(uk)},
	"refresh forged":                {same(uk), same(uk)},
	"refresh of another kind":       {same(uk), same(uk)},
}

// verdictsNoRefusal are the sentinels that do not say that the text is no good.
var verdictsNoRefusal = map[string]bool{nr: true, "ErrRotated": true}

// TestEveryVerbOnEveryText: the error wraps its sentinel, and the umbrella if it refuses
// the text, and nothing else. A refusal carries a Rejection, and anything else none.
func TestEveryVerbOnEveryText(t *testing.T) {
	race.Alone(t)
	for text := range newRefusedScene(t).texts {
		row, listed := textRows[text]
		if !listed {
			t.Fatalf("nothing is said of %q", text)
		}
		for verb, do := range refusedVerbs {
			for _, dead := range []bool{false, true} {
				want := row.live.of(verb)
				s := newRefusedScene(t)
				if dead {
					want = row.dead.of(verb)
					made(s.m.ExpireSubject(t.Context(), "ana"))
				}
				err := do(t.Context(), s, s.texts[text])
				wantVerdict(t, fmt.Sprintf("%s of %s, dead: %v", verb, text, dead), err, want)
			}
		}
	}
}

func wantVerdict(t *testing.T, what string, err error, want string) {
	t.Helper()
	var names []string
	switch refuses := want != "" && !verdictsNoRefusal[want]; {
	case refuses:
		names = sorted(want, "ErrUnauthenticated")
	case want != "":
		names = sorted(want)
	}
	if diff := cmp.Diff(names, isOf(err)); diff != "" || (err == nil) != (want == "") {
		t.Errorf("%s: %v wraps (-want +got):\n%s", what, err, diff)
	}
	var r *Rejection
	if refused := errors.Is(err, ErrUnauthenticated); errors.As(err, &r) != refused {
		t.Errorf("%s: %v carries a Rejection: %v", what, err, !refused)
	}
}

// TestPreviousUntilItsInstant: before, at, after the instant of the previous texts.
func TestPreviousUntilItsInstant(t *testing.T) {
	for text, row := range map[string]struct {
		until time.Duration // since the scene began
		verb  string
		want  string
	}{
		"plain previous":   {time.Minute, "Authenticate", rp},
		"access previous":  {defaultGrace, "Authenticate", rp},
		"refresh previous": {defaultGrace, "Pairs.Refresh", "ErrReused"},
	} {
		for _, off := range []time.Duration{-time.Millisecond, 0, time.Millisecond} {
			s := newRefusedScene(t)
			s.clock.Set(after(row.until + off))
			want := row.want
			if off < 0 {
				want = ""
			}
			wantVerdict(t, fmt.Sprint(text, " ", off, " after its instant"), refusedVerbs[row.verb](t.Context(), s, s.texts[text]), want)
		}
	}
}

// TestRotateIDErrors: RotateID has no text, so nothing that it says refuses one but the
// death of the token.
func TestRotateIDErrors(t *testing.T) {
	s := newRefusedScene(t)
	ctx := t.Context()
	other, _ := managerOver(t, s.store, Config{Prefix: "other"})
	foreign, ended := issueTo(t, other, Grant{Subject: "ana"}), issueTo(t, s.m, Grant{Subject: "ana"})
	spent := issueTo(t, s.m, Grant{Subject: "ana", MaxUses: 1})
	made(s.m.Authenticate(ctx, spent.Bearer))
	made(s.m.Expire(ctx, ended.ID))
	for name, row := range map[string]struct {
		id      ID
		overlap time.Duration
		want    string
	}{
		"good":                     {s.token, time.Second, ""},
		"a session":                {s.login, time.Second, nr},
		"unknown":                  {ID{1}, time.Second, "ErrNotFound"},
		"of another prefix":        {foreign.ID, time.Second, "ErrNotFound"},
		"ended":                    {ended.ID, time.Second, ex},
		"exhausted":                {spent.ID, time.Second, "ErrExhausted"},
		"negative overlap":         {s.token, -1, "ErrInvalidGrant"},
		"overlap over the maximum": {s.token, 31 * day, "ErrInvalidGrant"},
	} {
		_, err := s.m.RotateID(ctx, row.id, row.overlap)
		names := []string{row.want}
		switch row.want {
		case "":
			names = nil
		case ex, "ErrExhausted":
			names = sorted(row.want, "ErrUnauthenticated")
		}
		if diff := cmp.Diff(names, isOf(err)); diff != "" {
			t.Errorf("%s: %v wraps (-want +got):\n%s", name, err, diff)
		}
	}
}

// TestLastGeneration: a record that has had as many secrets as one can have gets no other,
// and stays as it is.
func TestLastGeneration(t *testing.T) {
	for verb, text := range map[string]string{
		"Rotate": "plain current", "Rotate, 0": "plain current", "RotateID": "plain current", "Pairs.Refresh": "refresh current",
	} {
		for generation, want := range map[uint32]string{math.MaxUint32 - 1: "", math.MaxUint32: nr} {
			s, ctx := newRefusedScene(t), t.Context()
			id := s.token
			if verb == "Pairs.Refresh" {
				id = s.login
			}
			s.change(t, id, func(rec *storage.Record) { rec.Generation = generation })
			before := made(s.store.Get(ctx, id))
			do := refusedVerbs[verb]
			if verb == "RotateID" {
				do = func(ctx context.Context, s *refusedScene, _ string) error {
					_, err := s.m.RotateID(ctx, id, time.Second)
					return err
				}
			}
			wantVerdict(t, fmt.Sprint(verb, " at ", generation), do(ctx, s, s.texts[text]), want)
			if same := made(s.store.Get(ctx, id)).Equal(before); same != (want == nr) {
				t.Errorf("%s at %d: the record is the same: %v", verb, generation, same)
			}
		}
	}
}
