package lapse

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// ancestry is what those that a delegate came from, near or far, make of it. A nil
// ancestry is that of a token that is nobody's delegate, or was ended itself.
type ancestry struct {
	until time.Time // when the first of them runs out
	limit time.Time // the earliest of their caps, zero for none
	ended time.Time // when the first of them was ended, zero if none was
	depth int       // how many they are
	ids   [MaxDelegation]ID
}

// clamp makes of tok, as its own record has it, what everyone sees of it: it lives no
// longer than any of those above, and it was ended when one of them was.
func (l *ancestry) clamp(tok *Token) {
	if l == nil || !tok.EndedAt.IsZero() {
		return
	}
	tok.MaxExpiresAt = earlierCap(tok.MaxExpiresAt, l.limit)
	tok.ExpiresAt = l.earliest(tok.ExpiresAt)
	if !l.ended.IsZero() {
		tok.EndedAt, tok.EndReason = l.ended, EndParent
	}
}

// earliest returns t, or when the first of those above runs out if that is earlier.
func (l *ancestry) earliest(t time.Time) time.Time {
	if l != nil && l.until.Before(t) {
		return l.until
	}
	return t
}

// ancestryOf reads those above tok with get, and takes of each what see makes of it.
// One that is gone has long been dead, and more than Delegate puts above each other
// are no good either: then nothing is left of the life of tok.
func ancestryOf(tok *Token, see func(*storage.Record) Token, get func(ID) (storage.Record, error)) (*ancestry, error) {
	if tok.Parent == (ID{}) || !tok.EndedAt.IsZero() {
		return nil, nil
	}
	l := new(ancestry)
	for id := tok.Parent; id != (ID{}); l.depth++ {
		if l.depth == MaxDelegation {
			l.until = time.Time{}
			break
		}
		rec, err := get(id)
		switch {
		case absent(err), err == nil && rec.ID == id && rec.Subject != tok.Subject:
			l.until = time.Time{}
			return l, nil
		case err != nil:
			return nil, fromOutside(err, storeErrors...)
		case rec.ID != id:
			return nil, errWrongRecord
		}
		above := see(&rec)
		if l.depth == 0 || above.ExpiresAt.Before(l.until) {
			l.until = above.ExpiresAt
		}
		l.limit = earlierCap(l.limit, above.MaxExpiresAt)
		l.ended = earlierCap(l.ended, above.EndedAt)
		l.ids[l.depth] = id
		id = above.Parent
	}
	return l, nil
}

// clamp lowers tok, which m.token returned, by those above it, which get returns. The
// error leaves tok as it is: it is that of get, or ErrCorrupt.
func (m *Manager) clamp(tok *Token, get func(ID) (storage.Record, error)) (*ancestry, error) {
	above, err := ancestryOf(tok, m.token, get)
	above.clamp(tok)
	return above, err
}

// clampStored is clamp by what the store says now.
func (m *Manager) clampStored(ctx context.Context, verb string, tok *Token) (*ancestry, error) {
	if tok.Parent == (ID{}) {
		return nil, nil
	}
	above, err := m.clamp(tok, func(id ID) (storage.Record, error) { return m.store.Get(ctx, id) })
	if err != nil {
		return nil, storeError(verb, err)
	}
	return above, nil
}

// liveByRecord reports whether rec is alive at now by what the records say, its own and those
// above it, whatever a policy makes of them. One above that is damaged may be alive.
func liveByRecord(rec *storage.Record, now time.Time, get func(ID) (storage.Record, error)) (bool, error) {
	if !rec.Live(now) || rec.Parent == (ID{}) {
		return rec.Live(now), nil
	}
	tok := rec.Token
	above, err := ancestryOf(&tok, func(r *storage.Record) Token { return r.Token }, get)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return false, err
	}
	above.clamp(&tok)
	return tok.Live(now), nil
}
