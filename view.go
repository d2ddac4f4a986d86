package lapse

import "github.com/seed-55daa01a/lapse/storage"

// token returns what everyone sees of rec. This Manager's cap is for the tokens
// of its own prefix; those of another one it only administers.
func (m *Manager) token(rec *storage.Record) (tok Token) {
	m.show(rec, &tok)
	return tok
}

// show sets tok to token of rec.
func (m *Manager) show(rec *storage.Record, tok *Token) {
	if *tok = rec.Token; m.earlier(rec) {
		seen := *rec
		m.endedByClock(&seen)
		*tok = seen.Token
	}
	switch {
	case rec.Kind == KindSession && m.rules.made(rec):
		m.rules.policy.view(tok)
	case rec.Kind == KindPlain && tok.Prefix == m.prefix:
		m.policy.view(tok)
	default:
		tok.ExpiresAt = capped(tok.ExpiresAt, tok.MaxExpiresAt)
	}
}

// viewText makes of rec, which is of this Manager's prefix and of no earlier epoch or
// ended by that, what everyone sees of it by a text that works: of a session no more than
// its access secret opens. It reads what is sealed once: each check comes here.
func (m *Manager) viewText(rec *storage.Record, found standing) {
	if rec.Kind == KindPlain {
		m.policy.view(&rec.Token)
		return
	}
	s, ok := sessionOf(rec)
	switch {
	case !ok: // as stands has found out
		return
	case !rec.EndedAt.IsZero(): // that is when it died
		return
	case m.rules != nil && rec.Prefix == m.rules.access && s.refreshPrefix() == m.rules.refresh:
		m.rules.policy.view(&rec.Token)
	default:
		rec.ExpiresAt = capped(rec.ExpiresAt, rec.MaxExpiresAt)
	}
	until := s.accessExpires()
	if found == previousText {
		until = s.previousUntil()
	}
	rec.ExpiresAt, rec.Scope = capped(rec.ExpiresAt, until), s.accessScope()
}
