package lapse

import (
	"crypto/sha256"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// RaceEnabled says whether the race detector makes every test slow.
const RaceEnabled = raceEnabled

// Kept is what a record keeps sealed of its secrets, for the tests outside this package.
type Kept struct {
	Tagged, Unused, Salted, Obtained bool
	Floor, Before                    uint32
	Previous                         bool // a digest of the previous secret, of a session of the previous refresh secret
	Salt                             string

	RefreshPrefix, AccessScope string
	AccessExpires, AccessUntil time.Time // AccessUntil: zero where there is no previous access secret
	AccessTTL                  time.Duration
	AccessBefore               bool
}

// KeptIn returns what rec keeps, or an error if it is damaged.
func KeptIn(rec *storage.Record) (k Kept, err error) {
	if s, ok := sessionOf(rec); rec.Kind == KindSession {
		if !ok {
			return k, errSecrets
		}
		var none [sha256.Size]byte
		k = Kept{
			Salt: s.salt(), Salted: s.salt() != string(none[:saltLen]), Previous: s.previousRefresh() != string(none[:]),
			RefreshPrefix: s.refreshPrefix(), AccessScope: s.accessScope(), AccessExpires: s.accessExpires(), AccessTTL: s.accessTTL(),
			AccessBefore: s.previousAccess() != string(none[:]),
		}
		if k.AccessBefore {
			k.AccessUntil = s.previousUntil()
		}
		return k, nil
	}
	r, was, err := rotatedOf(rec)
	if salt, first := saltOf(rec); first {
		return Kept{Obtained: true, Salted: true, Salt: salt}, nil
	}
	none := rotated{}
	return Kept{
		Tagged: was, Unused: r.unused, Salted: r.salt != none.salt, Salt: string(r.salt[:]), Obtained: r.obtained,
		Floor: r.floor, Before: r.before, Previous: r.previous != none.previous,
	}, err
}

// Respell returns text, which has that prefix, with its secret behind another prefix and ID.
func Respell(text, prefix, to string, id ID) string {
	var c credential
	if _, ok := c.Parse(text, prefix, begin(prefix)); !ok {
		return text
	}
	copy(c[:], id[:])
	return c.Text(to)
}

// ReplaceFloor has rec let connections by every older secret be held.
func ReplaceFloor(rec *storage.Record) {
	if r, was, _ := rotatedOf(rec); was {
		r.floor = 0
		rec.Sealed = r.seal()
	}
}

// KeepAccess has the access secret of old work in r, which replaces it, until then.
func KeepAccess(old, r *storage.Record, until time.Time) {
	was, _ := sessionOf(old)
	reseal(r, func(p *sessionParts) { p.previousAccess, p.previousUntil = was.access(), until })
}

// ForgetAccess takes the access secret from the session r.
func ForgetAccess(r *storage.Record) {
	reseal(r, func(p *sessionParts) { p.access = [sha256.Size]byte{} })
}

// reseal changes what the session r keeps.
func reseal(r *storage.Record, change func(*sessionParts)) {
	s, ok := sessionOf(r)
	if !ok {
		return
	}
	p := sessionParts{
		refreshPrefix: s.refreshPrefix(), accessScope: s.accessScope(), key: s.key(), accessExpires: s.accessExpires(), accessTTL: s.accessTTL(),
		access: [sha256.Size]byte([]byte(s.access())), previousUntil: s.previousUntil(), previousAccess: s.previousAccess(),
		previousRefresh: s.previousRefresh(), salt: []byte(s.salt()),
	}
	change(&p)
	r.Sealed = p.seal()
}
