package lapse

import (
	"context"
	"errors"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

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
