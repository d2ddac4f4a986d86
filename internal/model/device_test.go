package model

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// deviceModel is one device log-in as it should be, with the sessions of two subjects that may approve
// it. It is comparable: equal models are one state.
type deviceModel struct {
	now      time.Duration // since Begin
	state    string        // "", "approved", "denied" or "redeemed"
	by       int           // the subject that approved
	until    time.Duration // when the codes end, or the time in which the texts are given again
	interval time.Duration
	polled   time.Duration // the last Poll that found it undecided; negative: none
	swept    bool
	sessions [2]deviceSession
}

// deviceSession is what has become of the session that a subject approved.
type deviceSession struct {
	put, gone, ended bool
	endedAt          time.Duration
	texts            bool // the device has them
	refreshed        bool
}

const (
	deviceLife      = 10 * time.Minute
	deviceGrace     = 10 * time.Second
	deviceRetention = time.Millisecond
)

// sweep deletes what has been dead for longer than the retention.
func (m *deviceModel) sweep() string {
	before := m.now - deviceRetention
	m.swept = m.swept || m.until < before
	for i := range m.sessions {
		s := &m.sessions[i]
		switch {
		case s.ended:
			s.gone = s.endedAt < before
		case s.put && !s.texts:
			s.gone = s.gone || deviceLife < before
		}
	}
	return "ok"
}

func (s *deviceSession) live(m *deviceModel) bool {
	return s.put && !s.gone && !s.ended && (s.texts || m.now < deviceLife)
}

// over is the Code of a log-in that is over, or "".
func (m *deviceModel) over() string {
	live := m.now < m.until
	switch {
	case m.swept:
		return "unknown"
	case m.state == "denied":
		return "access_denied"
	case m.state == "redeemed" && !live:
		return "replaced"
	case !live:
		return "expired"
	}
	return ""
}

// undecided is the Code of a log-in that is over or approved, or "ok".
func (m *deviceModel) undecided() string {
	switch over := m.over(); {
	case over != "":
		return over
	case m.state != "":
		return "replaced"
	}
	return "ok"
}

func (m *deviceModel) approve(by int) string {
	if m.state == "" || m.by != by || m.state == "denied" {
		code := m.undecided()
		if code == "ok" {
			m.state, m.by, m.sessions[by] = "approved", by, deviceSession{put: true}
		}
		return code
	}
	if over := m.over(); over != "" {
		return over
	}
	return m.session()
}

// session is the Code of what has become of the session that was approved.
func (m *deviceModel) session() string {
	switch s := &m.sessions[m.by]; {
	case s.gone:
		return "unknown"
	case s.ended:
		return "revoked"
	}
	return "ok"
}

func (m *deviceModel) deny() string {
	if m.state == "denied" && !m.swept {
		return "ok"
	}
	code := m.undecided()
	if code == "ok" {
		m.state = "denied"
	}
	return code
}

func (m *deviceModel) poll() string {
	if over := m.over(); over != "" {
		return over
	}
	if m.state == "" {
		code := "authorization_pending"
		if m.polled >= 0 && m.now-m.polled < m.interval*9/10 {
			code, m.interval = "slow_down", m.interval+5*time.Second
		}
		m.polled = m.now
		return code
	}
	s, code := &m.sessions[m.by], m.session()
	if code == "ok" && s.refreshed {
		code = "replaced"
	}
	if code == "ok" && m.state == "approved" {
		m.state, m.until, s.texts = "redeemed", max(m.now+deviceGrace, min(m.now+2*m.interval, m.until)), true
	}
	return code
}

// deviceWorld is the same in a store. Two processes take turns at its steps.
type deviceWorld struct {
	ctx      context.Context
	clock    *lapsetest.StepClock
	pairs    [2]*lapse.Pairs
	logins   [2]*lapse.DeviceLogin
	subjects [2]string
	code     lapse.DeviceCode
	given    lapse.TokenPair
}

func newDeviceWorld() *deviceWorld {
	w := &deviceWorld{ctx: context.Background(), clock: lapsetest.NewClock()}
	store := memory.New()
	for i := range w.pairs {
		w.pairs[i] = lapsetest.Must(lapse.NewPairs(store, lapse.PairConfig{
			Access: lapse.Config{Clock: w.clock, ClockGuard: lapse.GuardOff, Policy: lapse.Policy{Retention: deviceRetention}},
		}))
		w.logins[i] = lapsetest.Must(lapse.NewDeviceLogin(w.pairs[i], lapse.DeviceConfig{Guesses: 100}))
	}
	return w
}

// deviceDeed does one step in the model and in the world. It returns the Codes, which have to be equal.
type deviceDeed struct {
	name  string
	model func(m *deviceModel) string
	world func(w *deviceWorld, p *lapse.Pairs, d *lapse.DeviceLogin) error
}

func deviceDeeds() []deviceDeed {
	pass := func(d time.Duration) deviceDeed {
		return deviceDeed{"pass " + d.String(), func(m *deviceModel) string { m.now += d; return "ok" },
			func(w *deviceWorld, _ *lapse.Pairs, _ *lapse.DeviceLogin) error { w.clock.Add(d); return nil }}
	}
	deeds := []deviceDeed{
		pass(4500 * time.Millisecond), pass(10*time.Second - time.Millisecond), pass(time.Millisecond), pass(5*time.Minute - time.Second),
		{"look up", (*deviceModel).undecided, func(w *deviceWorld, _ *lapse.Pairs, d *lapse.DeviceLogin) error {
			_, err := d.Lookup(w.ctx, w.code.UserCode, w.subjects[1])
			return err
		}},
		{"deny", (*deviceModel).deny, func(w *deviceWorld, _ *lapse.Pairs, d *lapse.DeviceLogin) error {
			return d.Deny(w.ctx, w.code.UserCode, w.subjects[1])
		}},
		{"poll", (*deviceModel).poll, (*deviceWorld).poll},
		{"refresh", func(m *deviceModel) string {
			if s := &m.sessions[m.by]; s.texts && !s.refreshed && s.live(m) {
				s.refreshed = true
			}
			return "ok"
		}, func(w *deviceWorld, p *lapse.Pairs, _ *lapse.DeviceLogin) error {
			if tok, err := p.Peek(w.ctx, w.given.Refresh.Bearer); err == nil && tok.Generation == 0 {
				_, err = p.Refresh(w.ctx, w.given.Refresh.Bearer)
				return err
			}
			return nil
		}},
		{"sweep", (*deviceModel).sweep, func(w *deviceWorld, p *lapse.Pairs, _ *lapse.DeviceLogin) error {
			_, err := p.Access().Sweep(w.ctx)
			return err
		}},
	}
	for by, name := range []string{"ana", "bob"} {
		deeds = append(deeds, deviceDeed{"approve by " + name, func(m *deviceModel) string { return m.approve(by) },
			func(w *deviceWorld, _ *lapse.Pairs, d *lapse.DeviceLogin) error {
				_, err := d.Approve(w.ctx, w.code.UserCode, lapse.Grant{Subject: w.subjects[by]})
				return err
			}})
	}
	return append(deeds,
		deviceDeed{"log ana out", func(m *deviceModel) string {
			if s := &m.sessions[0]; s.live(m) {
				s.ended, s.endedAt = true, m.now
			}
			return "ok"
		}, func(w *deviceWorld, p *lapse.Pairs, _ *lapse.DeviceLogin) error {
			_, err := p.Access().ExpireSubject(w.ctx, w.subjects[0])
			return err
		}},
		deviceDeed{"forget ana", func(m *deviceModel) string {
			m.sessions[0].gone = m.sessions[0].put
			return "ok"
		}, func(w *deviceWorld, p *lapse.Pairs, _ *lapse.DeviceLogin) error {
			_, err := p.Access().ForgetSubject(w.ctx, w.subjects[0])
			return err
		}})
}

// poll polls, and keeps what the first one gave. Another one has to give the same.
func (w *deviceWorld) poll(_ *lapse.Pairs, d *lapse.DeviceLogin) error {
	c, err := d.Poll(w.ctx, w.code.Code, "")
	if err != nil {
		return err
	}
	if w.given.Access.Bearer == "" {
		w.given = c
	}
	if c.Access.Bearer != w.given.Access.Bearer || c.Refresh.Bearer != w.given.Refresh.Bearer {
		return errors.New("other texts than before")
	}
	return nil
}

// agree compares the sessions that are listed, and whether the refresh text that was given works.
func (w *deviceWorld) agree(m *deviceModel) error {
	p := w.pairs[0]
	works := false
	for by, subject := range w.subjects {
		listed, err := lapsetest.Collect(p.Sessions(w.ctx, subject))
		if err != nil || (len(listed) == 1) != m.sessions[by].live(m) || len(listed) > 1 {
			return fmt.Errorf("%s has %d sessions, %v", subject, len(listed), err)
		}
		works = works || m.sessions[by].live(m) && m.sessions[by].texts && !m.sessions[by].refreshed
	}
	if tok, err := p.Peek(w.ctx, w.given.Refresh.Bearer); (err == nil && tok.Generation == 0) != works {
		return fmt.Errorf("the refresh text: %v; should work: %v", err, works)
	}
	return nil
}

// TestCoverDevice takes one device log-in through every sequence of steps, and continues none that comes
// to a state in which it has been. After each step the answer, the lists and the texts are compared.
func TestCoverDevice(t *testing.T) {
	deeds, w := deviceDeeds(), newDeviceWorld()
	start := deviceModel{until: deviceLife, interval: 5 * time.Second, polled: -1}
	seen, answers := map[deviceModel]bool{start: true}, map[string]bool{}
	for depth, level := 0, [][]int{nil}; depth < *coverDepth+2; depth++ {
		var next [][]int
		for _, path := range level {
			for i := range deeds {
				path := append(path[:len(path):len(path)], i)
				m, code, err := w.play(start, deeds, path)
				if err != nil {
					t.Fatal(err)
				}
				answers[deeds[i].name+": "+code] = true
				if !seen[m] {
					seen[m] = true
					next = append(next, path)
				}
			}
		}
		level = next
	}
	t.Logf("%d states, %d answers", len(seen), len(answers))
	if *coverDepth >= 4 && len(answers) < 33 {
		t.Errorf("%d different answers were met: %v", len(answers), answers)
	}
}

// play plays a path with new codes and subjects of its own, and compares after the last step. It returns
// the Code of that.
func (w *deviceWorld) play(start deviceModel, deeds []deviceDeed, path []int) (m deviceModel, code string, err error) {
	w.clock.Set(lapsetest.Start)
	w.subjects, w.given = [2]string{"ana" + fmt.Sprint(path), "bob" + fmt.Sprint(path)}, lapse.TokenPair{}
	w.code = lapsetest.Must(w.logins[0].Begin(w.ctx, lapse.DeviceRequest{}))
	m = start
	var names []string
	for n, i := range path {
		names = append(names, deeds[i].name)
		code = deeds[i].model(&m)
		if got := lapse.Code(deeds[i].world(w, w.pairs[n%2], w.logins[n%2])); got != code {
			return m, code, fmt.Errorf("%s: %s; want %s", strings.Join(names, ", "), got, code)
		}
	}
	if err := w.agree(&m); err != nil {
		return m, code, fmt.Errorf("%s: %w", strings.Join(names, ", "), err)
	}
	return m, code, nil
}
