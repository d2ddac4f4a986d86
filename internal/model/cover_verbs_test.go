package model

import (
	"context"
	"fmt"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
)

// deed is one step, for the real side and for the model.
type deed struct {
	verb    string
	by      int // which of the Managers, or of the Pairs
	text    modelText
	record  int // by its ID
	ms      int64
	scope   string
	grant   lapse.Grant
	foreign foreignText
	lost    bool  // the answer does not come to hand
	proof   byte  // the key that its context proves; 0: none
	between *deed // what happens between the reading and the writing of the verb
}

func (a deed) String() string {
	s := fmt.Sprintf("%s by %d", a.verb, a.by)
	if a.text != (modelText{}) {
		s += fmt.Sprintf(" with %c%d of %d", a.text.kind, a.text.generation, a.text.record)
		if a.text.twin {
			s += " of another future"
		}
		if a.text.odd != asMade {
			s += fmt.Sprintf(" (%c)", a.text.odd)
		}
	} else {
		s += fmt.Sprintf(" of %d", a.record)
	}
	if a.between != nil {
		s += " <" + a.between.String() + ">"
	}
	return s + fmt.Sprintf(", %d ms, scope %q, proof %d, lost: %v", a.ms, a.scope, a.proof, a.lost)
}

// coverVerb is what a verb does on both sides.
type coverVerb struct {
	real  func(w *world, a *deed, id lapse.ID, bearer string) (o outcome, bearers []string, err error)
	model func(m *model, w *world, a *deed, id lapse.ID) outcome // id is that of what is made
}

// tokenOutcome is that of a verb that returns a token.
func tokenOutcome(tok lapse.Token, err error) (outcome, []string, error) {
	return outcome{token: tok}, nil, err
}

// issuedOutcome is that of a verb that returns a token with its text.
func issuedOutcome(i lapse.Issued, err error) (outcome, []string, error) {
	o := outcome{token: i.Token, evicted: i.Evicted, reduced: len(i.Reduced) > 0, ok: i.Existing}
	if i.Bearer == "" {
		return o, nil, err
	}
	return o, []string{i.Bearer}, err
}

// pairedOutcome is that of a verb that returns credentials.
func pairedOutcome(c lapse.TokenPair, err error) (outcome, []string, error) {
	o := outcome{token: c.Access.Token, session: c.Refresh.Token, ok: c.Repeated, left: int64(c.ExpiresIn) / 1e6, evicted: c.Refresh.Evicted}
	if c.Access.Bearer == "" {
		return o, nil, err
	}
	return o, []string{c.Access.Bearer, c.Refresh.Bearer}, err
}

var plainVerbs = map[string]coverVerb{
	"issue": {
		func(w *world, a *deed, _ lapse.ID, _ string) (outcome, []string, error) {
			return issuedOutcome(w.managers[a.by].Issue(w.ctx, a.grant))
		},
		func(m *model, w *world, a *deed, id lapse.ID) outcome { return m.issue(w.policies[a.by], a.grant, id) },
	},
	"import": importVerb,
	"obtain": {
		func(w *world, a *deed, _ lapse.ID, _ string) (outcome, []string, error) {
			return issuedOutcome(w.managers[a.by].Obtain(w.ctx, a.grant))
		},
		func(m *model, w *world, a *deed, id lapse.ID) outcome { return m.obtain(w.policies[a.by], a.grant, id) },
	},
	"delegate": {
		func(w *world, a *deed, _ lapse.ID, bearer string) (outcome, []string, error) {
			return issuedOutcome(w.managers[a.by].Delegate(w.ctx, bearer, a.grant))
		},
		func(m *model, w *world, a *deed, id lapse.ID) outcome {
			return m.delegate(w.policies[a.by], a.text, a.grant, id)
		},
	},
	"authenticate": {
		func(w *world, a *deed, _ lapse.ID, bearer string) (outcome, []string, error) {
			return tokenOutcome(w.managers[a.by].Authenticate(w.ctx, bearer))
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome {
			return m.authenticate(w.policies[a.by], a.text, toUse)
		},
	},
	"peek": {
		func(w *world, a *deed, _ lapse.ID, bearer string) (outcome, []string, error) {
			return tokenOutcome(w.managers[a.by].Peek(w.ctx, bearer))
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome {
			return m.authenticate(w.policies[a.by], a.text, toPeek)
		},
	},
	"hold": {
		func(w *world, a *deed, _ lapse.ID, bearer string) (outcome, []string, error) {
			ctx, release := context.WithCancel(w.ctx)
			hold, err := w.managers[a.by].Hold(ctx, bearer)
			if err != nil {
				release()
				return outcome{}, nil, err
			}
			w.holds = append(w.holds, worldHold{hold, hold.Context(), release})
			return tokenOutcome(hold.Token(), nil)
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome { return m.hold(w.policies[a.by], a.text) },
	},
	"use": {
		func(w *world, a *deed, _ lapse.ID, _ string) (outcome, []string, error) {
			o, err := w.useHold(w.model, a.record)
			return o, nil, err
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome { return m.useHold(w.policies[a.by], a.record) },
	},
	"release": {
		func(w *world, a *deed, _ lapse.ID, _ string) (outcome, []string, error) {
			w.holds[a.record].release()
			return outcome{}, nil, nil
		},
		func(m *model, _ *world, a *deed, _ lapse.ID) outcome { m.release(a.record); return outcome{} },
	},
	"renew": {
		func(w *world, a *deed, _ lapse.ID, bearer string) (outcome, []string, error) {
			return tokenOutcome(w.managers[a.by].Renew(w.ctx, bearer))
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome { return m.renew(w.policies[a.by], a.text) },
	},
	"confirm": {
		func(w *world, a *deed, _ lapse.ID, bearer string) (outcome, []string, error) {
			return tokenOutcome(w.managers[a.by].Confirm(w.ctx, bearer))
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome { return m.confirm(w.policies[a.by], a.text) },
	},
	"rotate": {
		func(w *world, a *deed, _ lapse.ID, bearer string) (outcome, []string, error) {
			return issuedOutcome(w.managers[a.by].Rotate(w.ctx, bearer, ms(a.ms)))
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome { return m.rotate(w.policies[a.by], a.text, a.ms) },
	},
	"rotate ID": {
		func(w *world, a *deed, id lapse.ID, _ string) (outcome, []string, error) {
			return issuedOutcome(w.managers[a.by].RotateID(w.ctx, id, ms(a.ms)))
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome {
			return m.rotateID(w.policies[a.by], a.record, a.ms)
		},
	},
}

var otherVerbs = map[string]coverVerb{
	"expire": {
		func(w *world, a *deed, id lapse.ID, _ string) (outcome, []string, error) {
			ok, err := w.managers[a.by].Expire(w.ctx, id)
			return outcome{ok: ok}, nil, err
		},
		func(m *model, _ *world, a *deed, _ lapse.ID) outcome { return m.expire(a.record) },
	},
	"suspend": {
		func(w *world, a *deed, id lapse.ID, _ string) (outcome, []string, error) {
			ok, err := w.managers[a.by].Suspend(w.ctx, id)
			return outcome{ok: ok}, nil, err
		},
		func(m *model, _ *world, a *deed, _ lapse.ID) outcome { return m.suspend(a.record) },
	},
	"resume": {
		func(w *world, a *deed, id lapse.ID, _ string) (outcome, []string, error) {
			ok, err := w.managers[a.by].Resume(w.ctx, id)
			return outcome{ok: ok}, nil, err
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome { return m.resume(w.policies[a.by], a.record) },
	},
	"expire bearer": {
		func(w *world, a *deed, _ lapse.ID, bearer string) (outcome, []string, error) {
			return tokenOutcome(w.managers[a.by].ExpireBearer(w.ctx, bearer))
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome { return m.expireBearer(w.policies[a.by], a.text) },
	},
	"expire subject": { // all of it but the record, if there is one
		func(w *world, a *deed, id lapse.ID, _ string) (outcome, []string, error) {
			var keep []lapse.ID
			if id != (lapse.ID{}) {
				keep = append(keep, id)
			}
			n, err := w.managers[a.by].ExpireSubject(w.ctx, a.grant.Subject, keep...)
			return outcome{count: n}, nil, err
		},
		func(m *model, _ *world, a *deed, _ lapse.ID) outcome {
			return m.expireSubject(a.grant.Subject, a.record)
		},
	},
	"forget subject": {
		func(w *world, a *deed, _ lapse.ID, _ string) (outcome, []string, error) {
			n, err := w.managers[a.by].ForgetSubject(w.ctx, a.grant.Subject)
			return outcome{count: n}, nil, err
		},
		func(m *model, _ *world, a *deed, _ lapse.ID) outcome { return m.forgetSubject(a.grant.Subject) },
	},
	"sweep": {
		func(w *world, a *deed, _ lapse.ID, _ string) (outcome, []string, error) {
			n, err := w.managers[a.by].Sweep(w.ctx)
			return outcome{count: n}, nil, err
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome { return m.sweep(w.policies[a.by]) },
	},
	"move": {
		func(w *world, a *deed, _ lapse.ID, _ string) (outcome, []string, error) {
			w.clock.Add(ms(a.ms))
			return outcome{}, nil, nil
		},
		func(m *model, _ *world, a *deed, _ lapse.ID) outcome { m.now += a.ms; return outcome{} },
	},
	"log in": {
		func(w *world, a *deed, _ lapse.ID, _ string) (outcome, []string, error) {
			return pairedOutcome(w.pairs[a.by].Issue(w.ctx, a.grant))
		},
		func(m *model, w *world, a *deed, id lapse.ID) outcome { return m.logIn(w.setups[a.by], a.grant, id) },
	},
	"refresh": {
		func(w *world, a *deed, _ lapse.ID, bearer string) (outcome, []string, error) {
			return pairedOutcome(w.pairs[a.by].Refresh(w.ctx, bearer, a.scope))
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome {
			return m.refresh(w.setups[a.by], a.text, a.scope)
		},
	},
	"peek pair": {
		func(w *world, a *deed, _ lapse.ID, bearer string) (outcome, []string, error) {
			return tokenOutcome(w.pairs[a.by].Peek(w.ctx, bearer))
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome { return m.peekPair(w.setups[a.by], a.text) },
	},
	"expire pair": {
		func(w *world, a *deed, _ lapse.ID, bearer string) (outcome, []string, error) {
			return outcome{}, nil, lapsetest.LoggedOut(w.pairs[a.by].ExpireBearer(w.ctx, bearer))
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome { return m.expirePair(w.setups[a.by], a.text) },
	},
	"sessions": {
		func(w *world, a *deed, _ lapse.ID, _ string) (outcome, []string, error) {
			n, err := countOf(w.pairs[a.by].Sessions(w.ctx, a.grant.Subject))
			return outcome{count: n}, nil, err
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome {
			return m.sessions(w.setups[a.by], a.grant.Subject)
		},
	},
}

func coverVerbOf(name string) coverVerb {
	if v, ok := plainVerbs[name]; ok {
		return v
	}
	if v, ok := edits[name]; ok {
		return v
	}
	return otherVerbs[name]
}
