package lapse

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// sessionExtremes are what a record of a session can keep.
func sessionExtremes() []sessionParts {
	last := time.UnixMilli(steady.LastInstant).UTC()
	full := sessionParts{
		refreshPrefix: strings.Repeat("p", storage.MaxPrefix), accessScope: strings.Repeat("s", storage.MaxScope),
		accessExpires: last, accessTTL: math.MaxInt64 / time.Millisecond * time.Millisecond, previousUntil: last,
		previousAccess: strings.Repeat("\xff", 32), previousRefresh: strings.Repeat("\xfe", 32), salt: credentialOf(1)[:saltLen],
		access: credentialOf(4).Sum(newBinding("a")), key: tagKeyOf(1),
	}
	some := full
	some.refreshPrefix, some.accessScope = "r", "read write"
	some.accessExpires, some.accessTTL, some.previousUntil = testInstant, time.Minute, testInstant.Add(time.Second)
	bare := sessionParts{refreshPrefix: "r", accessExpires: time.UnixMilli(0).UTC(), previousUntil: time.UnixMilli(-1).UTC()}
	return []sessionParts{full, some, bare}
}

func sessionWith(sealed string) *storage.Record {
	rec := plainWith(sealed)
	rec.Kind, rec.Prefix = KindSession, "lapse"
	return rec
}

// TestSessionRoundTrip: what is sealed is read as it was; zeros stand for no digest and
// no salt.
func TestSessionRoundTrip(t *testing.T) {
	zeros := func(s string, n int) string {
		if s == "" {
			return strings.Repeat("\x00", n)
		}
		return s
	}
	for n, want := range sessionExtremes() {
		rec := sessionWith(want.seal().Text())
		s, ok := sessionOf(rec)
		if !ok || rec.Sealed.Len() > storage.MaxSealed {
			t.Fatalf("%d: %v of %d bytes", n, ok, rec.Sealed.Len())
		}
		if s.refreshPrefix() != want.refreshPrefix || s.accessScope() != want.accessScope || s.key() != want.key {
			t.Errorf("%d: prefix %q, scope %q", n, s.refreshPrefix(), s.accessScope())
		}
		if !s.accessExpires().Equal(want.accessExpires) || s.accessTTL() != want.accessTTL || !s.previousUntil().Equal(want.previousUntil) {
			t.Errorf("%d: %v, %v, %v", n, s.accessExpires(), s.accessTTL(), s.previousUntil())
		}
		if s.access() != string(want.access[:]) || s.previousAccess() != zeros(want.previousAccess, 32) ||
			s.previousRefresh() != zeros(want.previousRefresh, 32) || s.salt() != zeros(string(want.salt), saltLen) {
			t.Errorf("%d: digests or salt differ", n)
		}
	}
}

// TestSessionRefusesWhatIsDamaged: a form that is cut short, too long or of another
// version says nothing, and no text of its record is judged by it, not even the current
// one.
func TestSessionRefusesWhatIsDamaged(t *testing.T) {
	for n, whole := range sessionExtremes()[1:] {
		forms := damagedForms(whole.seal().Text())
		for _, form := range append(forms, "", strings.Repeat("\x00", 400), strings.Repeat("\xff", 400)) {
			rec := sessionWith(form)
			if _, ok := sessionOf(rec); ok {
				t.Errorf("%d: %.4q of %d bytes is a session", n, form, len(form))
			}
			for what, refreshes := range map[string]bool{"access": false, "refresh": true} {
				for seed := range uint64(2) {
					c, b := credentialOf(1+seed), newBinding("lapse")
					copy(c[:], rec.ID[:])
					sum := c.Sum(b)
					if found, err := standsFor(rec, &presented{cred: c, sum: &sum, prefix: "lapse"}, b, refreshes); found != unknownText || !errors.Is(err, ErrCorrupt) {
						t.Errorf("%d: %.4q of %d bytes: %s text %d stands as %d, %v", n, form, len(form), what, seed, found, err)
					}
				}
			}
		}
	}
}

// TestKindsAreNotTaken for each other: what a session keeps says nothing of a plain token,
// and the other way round; of a kind that this version does not know nothing is known.
func TestKindsAreNotTaken(t *testing.T) {
	session, plain := sessionExtremes()[1], rotatedExtremes()[2]
	c, b := credentialOf(1), newBinding("lapse")
	sum := c.Sum(b)
	unknownKind := plainWith(plain.seal().Text())
	unknownKind.Kind = KindSession + 1
	for name, rec := range map[string]*storage.Record{
		"a session's in a plain token":     plainWith(session.seal().Text()),
		"a plain token's in a session":     sessionWith(plain.seal().Text()),
		"an obtained token's in a session": sessionWith(obtainedLabel + strings.Repeat("s", secretLen)),
		"a kind that is not known":         unknownKind,
	} {
		if found, err := standsFor(rec, &presented{cred: c, sum: &sum, prefix: "lapse"}, b, false); found != unknownText || !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: stands as %d, %v", name, found, err)
		}
	}
}

// TestDamagedSessionIsNoVerdict: a refresh text of a session whose record is damaged is no
// worse than the record: it could not be told.
func TestDamagedSessionIsNoVerdict(t *testing.T) {
	store := newTallyStore()
	w := newTextWorld(t, store)
	s := w.scene("session", false)
	whole := s.record().Sealed.Text()
	for n, form := range []string{whole[:1], whole[:atTexts], whole[:len(whole)-1], "s2" + whole[2:], whole + "x"} {
		w.need(store.Update(t.Context(), s.subject, func(tx storage.Tx) error {
			rec, err := tx.Get(s.id)
			if err == nil {
				rec.Sealed = storage.NewSealed(form)
				err = tx.Put(rec)
			}
			return err
		}))
		_, refresh := s.p.Refresh(t.Context(), s.refresh[3])
		_, peek := s.p.Peek(t.Context(), s.refresh[3])
		_, authenticate := s.m.Authenticate(t.Context(), s.texts[3])
		for verb, err := range map[string]error{"Refresh": refresh, "Peek": peek, "Expire": loggedOut(s.p.ExpireBearer(t.Context(), s.refresh[3])), "Authenticate": authenticate} {
			if !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnauthenticated) {
				t.Errorf("%s: form %d: %v; want ErrCorrupt", verb, n, err)
			}
		}
	}
	if found := fmt.Sprint(w.events()); strings.Contains(found, "rejected") {
		t.Errorf("told: %s", found)
	}
}
