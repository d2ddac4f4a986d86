package lapse

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// ancestry is what the tokens above a delegate allow it: its parent, the parent of that, and so
// on. A nil ancestry allows everything; it is that of a token that is no delegate, or that has
// been ended itself.
type ancestry struct {
	until time.Time // when the first of them runs out
	limit time.Time // the earliest of their caps, zero for none
	ended time.Time // when the first of them was ended, zero if none was
	depth int       // how many they are
	ids   [MaxDelegation]ID
}

// clamp turns tok from what its own record says into what callers see: it lives no longer than
// any token above it, and it was ended when the first of those was.
func (a *ancestry) clamp(tok *Token) {
	if a == nil || !tok.EndedAt.IsZero() {
		return
	}
	tok.MaxExpiresAt = earlierCap(tok.MaxExpiresAt, a.limit)
	tok.ExpiresAt = a.earliest(tok.ExpiresAt)
	if !a.ended.IsZero() {
		tok.EndedAt, tok.EndReason = a.ended, EndParent
	}
}

// earliest returns t, or the instant when the first token above runs out if that is earlier.
func (a *ancestry) earliest(t time.Time) time.Time {
	if a != nil && a.until.Before(t) {
		return a.until
	}
	return t
}

// add takes tok, which is above all that were added before.
func (a *ancestry) add(tok *Token) {
	if a.depth == 0 || tok.ExpiresAt.Before(a.until) {
		a.until = tok.ExpiresAt
	}
	a.limit = earlierCap(a.limit, tok.MaxExpiresAt)
	a.ended = earlierCap(a.ended, tok.EndedAt)
	a.ids[a.depth] = tok.ID
	a.depth++
}

// ancestryOf reads the records above tok with get, and adds what see makes of each. The token
// cannot live if a record above it is absent, since that one has long been dead, or if there
// are more of them than Delegate makes: then until is the zero Time. The error is that of get,
// or ErrCorrupt for a record of another ID.
func ancestryOf(tok *Token, see func(*storage.Record) Token, get func(ID) (storage.Record, error)) (*ancestry, error) {
	if tok.Parent == (ID{}) || !tok.EndedAt.IsZero() {
		return nil, nil
	}
	a := new(ancestry)
	for id := tok.Parent; id != (ID{}); {
		if a.depth == MaxDelegation {
			a.until = time.Time{}
			break
		}
		rec, err := get(id)
		switch {
		case absent(err), err == nil && rec.ID == id && rec.Subject != tok.Subject:
			a.until = time.Time{}
			return a, nil
		case err != nil:
			return nil, fromOutside(err, storeErrors...)
		case rec.ID != id:
			return nil, errWrongRecord
		}
		above := see(&rec)
		a.add(&above)
		id = above.Parent
	}
	return a, nil
}

// clamp clamps tok, which m.token returned, by its ancestry, which it reads with get and
// returns. The error is that of ancestryOf, and then tok is unchanged.
func (m *Manager) clamp(tok *Token, get func(ID) (storage.Record, error)) (*ancestry, error) {
	above, err := ancestryOf(tok, m.token, get)
	above.clamp(tok)
	return above, err
}

// clampStored clamps tok, as clamp does, by the records that the store has now. The error names
// the verb.
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

// liveByRecord reports whether rec is alive at now by its own record and those above it, which
// it reads with get. It applies no policy. A damaged record above does not end rec.
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
