package lapse

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// whatTextsDo says what each verb makes of each text, by the words of effects. The rows
// are those of textRows.
const whatTextsDo = `
plain                          | Authenticate, Hold | Peek     | Renew    | Delegate  | Confirm  | Rotate   | Rotate 0 | Refresh  | Peek pair | ExpireBearer, Expire pair
current, unused                | renews             | good     | renews   | delegates | confirms | rotates  | rotates  | unknown  | unknown   | ends
current, used                  | renews             | good     | renews   | delegates | confirms | rotates  | rotates  | unknown  | unknown   | ends
previous, before               | good               | good     | good     | delegates | confirms | again    | rotates  | unknown  | unknown   | ends
previous, before, current used | good               | good     | good     | delegates | confirms | taken    | rotates  | unknown  | unknown   | ends
previous, at                   | replaced           | replaced | replaced | replaced  | replaced | replaced | replaced | unknown  | unknown   | replaced
previous, after                | replaced           | replaced | replaced | replaced  | replaced | replaced | replaced | unknown  | unknown   | replaced
spent                          | replaced           | replaced | replaced | replaced  | replaced | replaced | replaced | unknown  | unknown   | replaced
spent, the first               | replaced           | replaced | replaced | replaced  | replaced | replaced | replaced | unknown  | unknown   | replaced
ahead                          | ahead              | ahead    | ahead    | ahead     | ahead    | ahead    | ahead    | unknown  | unknown   | ahead
far ahead                      | ahead              | ahead    | ahead    | ahead     | ahead    | ahead    | ahead    | unknown  | unknown   | ahead
any other                      | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | unknown  | unknown   | unknown

budget                         | Authenticate, Hold | Peek     | Renew    | Delegate  | Confirm  | Rotate   | Rotate 0 | Refresh  | Peek pair | ExpireBearer, Expire pair
current, unused                | spends             | good     | renews   | refused   | confirms | rotates  | rotates  | unknown  | unknown   | ends
current, used                  | spends             | good     | renews   | refused   | confirms | rotates  | rotates  | unknown  | unknown   | ends
previous, before               | spends alone       | good     | good     | refused   | confirms | again    | rotates  | unknown  | unknown   | ends
previous, before, current used | spends alone       | good     | good     | refused   | confirms | taken    | rotates  | unknown  | unknown   | ends

session                        | Authenticate, Hold | Peek     | Renew    | Delegate  | Confirm  | Rotate   | Rotate 0 | Refresh  | Peek pair | ExpireBearer, Expire pair
access, current                | marks              | good     | refuses  | delegates | confirms | refuses  | refuses  | unknown  | unknown   | ends
access, previous, before       | good               | good     | refuses  | delegates | confirms | refuses  | refuses  | unknown  | unknown   | ends
access, previous, at           | replaced           | replaced | replaced | replaced  | replaced | refuses  | refuses  | unknown  | unknown   | ends
access, previous, after        | replaced           | replaced | replaced | replaced  | replaced | refuses  | refuses  | unknown  | unknown   | ends
access, spent                  | replaced           | replaced | replaced | replaced  | replaced | refuses  | refuses  | unknown  | unknown   | ends
access, spent, the first       | replaced           | replaced | replaced | replaced  | replaced | refuses  | refuses  | unknown  | unknown   | ends
access, ahead                  | ahead              | ahead    | ahead    | ahead     | ahead    | ahead    | ahead    | unknown  | unknown   | ahead
any other                      | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | unknown  | unknown   | unknown

refresh                        | Authenticate, Hold | Peek     | Renew    | Delegate  | Confirm  | Rotate   | Rotate 0 | Refresh  | Peek pair | ExpireBearer | Expire pair
current                        | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | rotates  | good      | unknown      | ends
previous, before               | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | again    | good      | unknown      | ends
previous, at                   | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | reused   | replaced  | unknown      | ends reused
previous, after                | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | reused   | replaced  | unknown      | ends reused
spent                          | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | reused   | replaced  | unknown      | ends reused
spent, the first               | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | reused   | replaced  | unknown      | ends reused
ahead                          | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | ahead    | ahead     | unknown      | ahead
any other                      | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | unknown  | unknown   | unknown      | unknown

plain, dead                    | Authenticate, Hold | Peek     | Renew    | Delegate  | Confirm  | Rotate   | Rotate 0 | Refresh  | Peek pair | ExpireBearer, Expire pair
current, used                  | revoked            | revoked  | revoked  | revoked   | revoked  | revoked  | revoked  | unknown  | unknown   | good
previous, before               | revoked            | revoked  | revoked  | revoked   | revoked  | revoked  | revoked  | unknown  | unknown   | good
spent                          | replaced           | replaced | replaced | replaced  | replaced | replaced | replaced | unknown  | unknown   | replaced
ahead                          | ahead              | ahead    | ahead    | ahead     | ahead    | ahead    | ahead    | unknown  | unknown   | ahead
any other                      | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | unknown  | unknown   | unknown

session, dead                  | Authenticate, Hold | Peek     | Renew    | Delegate  | Confirm  | Rotate   | Rotate 0 | Refresh  | Peek pair | ExpireBearer, Expire pair
access, current                | revoked            | revoked  | revoked  | revoked   | revoked  | refuses  | refuses  | unknown  | unknown   | good
access, previous, before       | revoked            | revoked  | revoked  | revoked   | revoked  | refuses  | refuses  | unknown  | unknown   | good
access, spent                  | replaced           | replaced | replaced | replaced  | replaced | refuses  | refuses  | unknown  | unknown   | good

plain, suspended               | Authenticate, Hold | Peek      | Renew     | Delegate  | Confirm   | Rotate    | Rotate 0  | Refresh   | Peek pair | ExpireBearer, Expire pair
current, unused                | suspended          | suspended | suspended | suspended | suspended | suspended | suspended | unknown   | unknown   | ends
current, used                  | suspended          | suspended | suspended | suspended | suspended | suspended | suspended | unknown   | unknown   | ends
previous, before               | suspended          | suspended | suspended | suspended | suspended | suspended | suspended | unknown   | unknown   | ends
previous, at                   | replaced           | replaced  | replaced  | replaced  | replaced  | replaced  | replaced  | unknown   | unknown   | replaced
spent                          | replaced           | replaced  | replaced  | replaced  | replaced  | replaced  | replaced  | unknown   | unknown   | replaced
ahead                          | ahead              | ahead     | ahead     | ahead     | ahead     | ahead     | ahead     | unknown   | unknown   | ahead
any other                      | unknown            | unknown   | unknown   | unknown   | unknown   | unknown   | unknown   | unknown   | unknown   | unknown

budget, suspended              | Authenticate, Hold | Peek      | Renew     | Delegate  | Confirm   | Rotate    | Rotate 0  | Refresh   | Peek pair | ExpireBearer, Expire pair
current, used                  | suspended          | suspended | suspended | suspended | suspended | suspended | suspended | unknown   | unknown   | ends
previous, before               | suspended          | suspended | suspended | suspended | suspended | suspended | suspended | unknown   | unknown   | ends

session, suspended             | Authenticate, Hold | Peek      | Renew     | Delegate  | Confirm   | Rotate    | Rotate 0  | Refresh   | Peek pair | ExpireBearer, Expire pair
access, current                | suspended          | suspended | suspended | suspended | suspended | refuses   | refuses   | unknown   | unknown   | ends
access, previous, before       | suspended          | suspended | suspended | suspended | suspended | refuses   | refuses   | unknown   | unknown   | ends
access, spent                  | replaced           | replaced  | replaced  | replaced  | replaced  | refuses   | refuses   | unknown   | unknown   | ends

refresh, suspended             | Authenticate, Hold | Peek      | Renew     | Delegate  | Confirm   | Rotate    | Rotate 0  | Refresh   | Peek pair | ExpireBearer | Expire pair
current                        | unknown            | unknown   | unknown   | unknown   | unknown   | unknown   | unknown   | suspended | suspended | unknown      | ends
previous, before               | unknown            | unknown   | unknown   | unknown   | unknown   | unknown   | unknown   | suspended | suspended | unknown      | ends
previous, at                   | unknown            | unknown   | unknown   | unknown   | unknown   | unknown   | unknown   | reused    | replaced  | unknown      | ends reused
spent                          | unknown            | unknown   | unknown   | unknown   | unknown   | unknown   | unknown   | reused    | replaced  | unknown      | ends reused
ahead                          | unknown            | unknown   | unknown   | unknown   | unknown   | unknown   | unknown   | ahead     | ahead     | unknown      | ahead

refresh, dead                  | Authenticate, Hold | Peek     | Renew    | Delegate  | Confirm  | Rotate   | Rotate 0 | Refresh  | Peek pair | ExpireBearer | Expire pair
current                        | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | revoked  | revoked   | unknown      | good
previous, before               | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | revoked  | revoked   | unknown      | good
spent                          | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | was      | replaced  | unknown      | is told
`

// effect is what one word of the table means.
type effect struct {
	err    error
	told   []EventKind
	change func(s *textScene, r *storage.Record) // what the record becomes; nil: it stays as it is
}

func effects() map[string]effect {
	rejected, spent := []EventKind{EventRejected}, []EventKind{EventSpent}
	return map[string]effect{
		"good":         {},
		"renews":       {nil, []EventKind{EventRenewed}, (*textScene).renewed},
		"marks":        {nil, nil, func(s *textScene, r *storage.Record) { r.LastUsedAt = s.now() }},
		"spends":       {nil, []EventKind{EventRenewed}, func(s *textScene, r *storage.Record) { s.renewed(r); r.UsesLeft-- }},
		"spends alone": {nil, nil, func(_ *textScene, r *storage.Record) { r.UsesLeft-- }},
		"delegates":    {nil, []EventKind{EventIssued}, (*textScene).delegated},
		"confirms":     {nil, []EventKind{EventConfirmed}, (*textScene).confirmed},
		"unproved":     {ErrProof, rejected, nil},
		"refused":      {ErrNotDelegable, nil, nil},
		"refuses":      {ErrNotRenewable, nil, nil},
		"rotates":      {nil, []EventKind{EventRotated}, (*textScene).replaced},
		"again":        {nil, []EventKind{EventRepeated}, nil},
		"taken":        {ErrRotated, nil, nil},
		"replaced":     {ErrReplaced, spent, nil},
		"unknown":      {ErrUnknown, rejected, nil},
		"revoked":      {ErrRevoked, rejected, nil},
		"suspended":    {ErrSuspended, rejected, nil},
		"ahead":        {ErrUnknown, []EventKind{EventAhead, EventRejected}, nil},
		"was":          {ErrReused, spent, nil},
		"is told":      {nil, spent, nil},
		"ends":         {nil, []EventKind{EventEnded}, func(s *textScene, r *storage.Record) { r.EndedAt, r.EndReason = s.now(), EndRevoked }},
		"reused":       {ErrReused, []EventKind{EventEnded, EventSpent}, func(s *textScene, r *storage.Record) { r.EndedAt, r.EndReason = s.now(), EndReused }},
		"ends reused":  {nil, []EventKind{EventSpent, EventEnded}, func(s *textScene, r *storage.Record) { r.EndedAt, r.EndReason = s.now(), EndReused }},
	}
}

// renewed is a use of the current text of a plain token.
func (s *textScene) renewed(r *storage.Record) {
	r.LastUsedAt, r.ExpiresAt = s.now(), s.now().Add(30*time.Minute)
	s.used(r)
}

// used clears what was kept to give the current secret again.
func (s *textScene) used(r *storage.Record) {
	state, was, err := rotationOf(r)
	s.need(err)
	if was && state.unused {
		if state.unused = false; s.kind != "obtained" {
			state.salt = [saltLen]byte{}
		}
		r.Sealed = state.seal()
	}
}

func (s *textScene) delegated(r *storage.Record) {
	if r.Family == (ID{}) {
		r.Family = r.ID
	}
	if r.Kind == KindPlain && s.presents == currentText {
		s.used(r)
	}
}

func (s *textScene) confirmed(r *storage.Record) {
	r.AuthenticatedAt = s.now()
	if r.Kind == KindPlain && s.presents == currentText {
		s.used(r)
	}
}

// replaced is a rotation or a refresh; what is derived is checked by wantSecret.
func (s *textScene) replaced(r *storage.Record) {
	after := s.record()
	r.Generation, r.RotatedAt = r.Generation+1, s.now()
	r.Digest, r.Sealed = after.Digest, after.Sealed
	switch {
	case r.Kind == KindSession:
		r.PreviousUntil, r.ExpiresAt = s.now().Add(defaultGrace), capped(s.now().Add(defaultRefreshTTL), r.MaxExpiresAt)
		return
	case s.overlap > 0:
		r.PreviousUntil = capped(s.now().Add(s.overlap), r.ExpiresAt)
	default:
		r.PreviousUntil = time.Time{}
	}
	limit := s.now().Add(day)
	if s.kind == "delegate" {
		limit = earlierCap(limit, r.MaxExpiresAt)
	}
	r.MaxExpiresAt, r.ExpiresAt = limit, capped(s.now().Add(30*time.Minute), limit)
}

// textCell is one cell of the table.
type textCell struct{ section, row, verb, word string }

// textCells reads the table.
func textCells() (cells []textCell) {
	for _, section := range strings.Split(strings.TrimSpace(whatTextsDo), "\n\n") {
		lines := strings.Split(section, "\n")
		head := split(lines[0], "|")
		for _, line := range lines[1:] {
			columns := split(line, "|")
			for n, word := range columns[1:] {
				for _, verb := range split(head[n+1], ", ") {
					cells = append(cells, textCell{head[0], columns[0], verb, word})
				}
			}
		}
	}
	return cells
}

func split(line, by string) []string {
	parts := strings.Split(line, by)
	for n := range parts {
		parts[n] = strings.TrimSpace(parts[n])
	}
	return parts
}

// rowsOf returns the kinds of tokens that a section is about, and its rows.
func rowsOf(section string) (kinds []string, rows []textRow) {
	switch name, _, _ := strings.Cut(section, ","); name {
	case "plain":
		rows = authenticatingRows(textOverlap)
		rows = append(rows, textRow{"any other: forged, the first", true, ms, func(s *textScene) string { // whose digest is kept
			return s.forge(0, s.m.binding, plainSecret, "lapse")
		}, unknownText})
		return []string{"plain", "obtained", "delegate"}, rows
	case "budget":
		return []string{"budget"}, authenticatingRows(textOverlap)
	case "session":
		rows = authenticatingRows(defaultGrace)
		for n := range rows {
			if !strings.HasPrefix(rows[n].name, "any other") {
				rows[n].name = "access, " + rows[n].name
			}
		}
		return []string{"session"}, rows
	}
	return []string{"session"}, refreshRows()
}

// play presents the text of row to verb, in a scene of its own, and says where what came
// of it differs from word.
func (w *textWorld) play(kind string, row *textRow, verb *textVerb, word, state string) error {
	ctx := w.ctx()
	s := w.scene(kind, !row.unused)
	text := row.text(s)
	switch state {
	case "dead":
		_, err := s.m.Expire(ctx, s.id)
		s.need(err)
	case "suspended":
		_, err := s.m.Suspend(ctx, s.id)
		s.need(err)
	}
	s.wait(row.wait)
	s.presents, s.overlap = row.stands, verb.overlap
	before := s.records(s.subject)
	s.events()
	texts, err := verb.do(w.presenting(), s, text)
	told := s.events()
	want, known := effects()[word]
	if !known {
		return fmt.Errorf("%q is no word of the table", word)
	}
	if !errors.Is(err, want.err) || (err == nil) != (want.err == nil) {
		return fmt.Errorf("the answer is %v; want %v", err, want.err)
	}
	if verb.name == "Hold" && want.err == nil {
		want.told = append(slices.Clone(want.told), EventHeld)
	}
	if !slices.Equal(told, want.told) {
		return fmt.Errorf("told: %v; want %v", told, want.told)
	}
	if err := s.compare(before, &want); err != nil {
		return err
	}
	return s.wantTexts(word, texts)
}

// compare says where the records differ from what want makes of those before.
func (s *textScene) compare(before map[ID]storage.Record, want *effect) error {
	after, expected := s.records(s.subject), maps.Clone(before)
	if rec := expected[s.id]; want.change != nil {
		want.change(s, &rec)
		expected[s.id] = rec
	}
	for id, rec := range after {
		if _, known := before[id]; !known && slices.Contains(want.told, EventIssued) && rec.Parent == s.id {
			expected[id] = rec
		}
	}
	if len(expected) != len(before) && !slices.Contains(want.told, EventIssued) || !maps.EqualFunc(expected, after, storage.Record.Equal) {
		return fmt.Errorf("records (-want +got):\n%s", cmp.Diff(expected, after))
	}
	return nil
}

// wantTexts says what is wrong with the texts that a rotation or a refresh gave.
func (s *textScene) wantTexts(word string, texts []string) error {
	ctx := s.ctx()
	switch word {
	case "again":
		want := []string{s.texts[3]}
		if s.refresh != nil {
			want = append(want, s.refresh[3])
		}
		if !slices.Equal(want, texts) {
			return errors.New("it is not the same answer")
		}
	case "rotates":
		if tok, err := s.m.Peek(ctx, texts[0]); err != nil || tok.ID != s.id || tok.Generation != s.record().Generation {
			return fmt.Errorf("the new text is of %+v, %v", tok, err)
		}
		if s.refresh != nil {
			_, err := s.p.Peek(ctx, texts[1])
			return err
		}
		worked := 0
		for _, old := range s.texts {
			if _, err := s.m.Peek(ctx, old); err == nil {
				worked++
			}
		}
		if (worked == 1) != (s.overlap > 0) || worked > 1 {
			return fmt.Errorf("%d older texts work after an overlap of %v", worked, s.overlap)
		}
	}
	return nil
}

// playTable plays all cells that pick takes, and says which differ.
func playTable(w *textWorld, verbs []textVerb, pick func(c *textCell, kind string) bool) (played int, wrong []string) {
	for _, c := range textCells() {
		kinds, rows := rowsOf(c.section)
		for _, kind := range kinds {
			for _, row := range rows {
				if name, _, _ := strings.Cut(row.name, ":"); name != c.row || !pick(&c, kind) {
					continue
				}
				verb := verbs[slices.IndexFunc(verbs, func(v textVerb) bool { return v.name == c.verb })]
				played++
				if w.words != nil {
					c.word = w.words(c.word)
				}
				_, state, _ := strings.Cut(c.section, ", ")
				if err := w.play(kind, &row, &verb, c.word, state); err != nil {
					wrong = append(wrong, fmt.Sprintf("%s (%s): %s: %s: want %q: %v", c.section, kind, row.name, c.verb, c.word, err))
				}
			}
		}
	}
	return played, wrong
}

// byID is a store that is a storage.IDUpdater, as stores on other machines are.
type byID struct{ storage.Store }

func (s byID) UpdateID(ctx context.Context, id ID, fn func(storage.Tx) error) error {
	r, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	return s.Update(ctx, r.Subject, fn)
}

func (s byID) UpdateIDFor(store storage.Store) bool { return store == storage.Store(s) }

// TestWhatEachTextDoes is the table: what each verb answers, what the record is then,
// byte for byte, and what is told.
func TestWhatEachTextDoes(t *testing.T) {
	race.Alone(t)
	n := 0
	_, wrongByID := playTable(newTextWorld(t, byID{memory.New()}), textVerbs(), func(*textCell, string) bool { n++; return sample.Every(4, n) })
	if len(wrongByID) > 0 {
		t.Errorf("on a store that is a storage.IDUpdater: %q", wrongByID)
	}
	played, wrong := playTable(newTextWorld(t, memory.New()), textVerbs(), func(*textCell, string) bool { return true })
	for _, w := range wrong {
		t.Error(w)
	}
	if played < 1000 {
		t.Errorf("%d texts were presented; the table is read too short", played)
	}
	t.Logf("%d texts presented", played)
}

// TestWhatEachTextDoesInAFile is a part of the table: the rows where something works or
// ends, of a plain token and of a session.
func TestWhatEachTextDoesInAFile(t *testing.T) {
	store, err := bolt.Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	played, wrong := playTable(newTextWorld(t, store), textVerbs(), func(c *textCell, kind string) bool {
		return effects()[c.word].change != nil && (kind == "plain" || kind == "session")
	})
	for _, w := range wrong {
		t.Error(w)
	}
	if played < 20 {
		t.Errorf("%d texts were presented", played)
	}
}

// TestTableOfTextsFindsFaults: verbs that break a rule are found by it.
func TestTableOfTextsFindsFaults(t *testing.T) {
	for name, planted := range map[string]struct {
		verb string
		do   func(ctx context.Context, s *textScene, text string) ([]string, error)
	}{
		"a spent text authenticates": {"Authenticate", func(ctx context.Context, s *textScene, text string) ([]string, error) {
			_, err := s.m.Authenticate(ctx, text)
			if errors.Is(err, ErrReplaced) {
				err = nil
			}
			return nil, err
		}},
		"a use by the previous text is recorded": {"Authenticate", func(ctx context.Context, s *textScene, text string) ([]string, error) {
			_, err := s.m.Authenticate(ctx, text)
			if err == nil {
				err = s.store.Touch(ctx, s.id, storage.Use{At: s.now()})
			}
			return nil, err
		}},
		"Peek is a use": {"Peek", func(ctx context.Context, s *textScene, text string) ([]string, error) {
			_, err := s.m.Authenticate(ctx, text)
			return nil, err
		}},
		"nothing is told of a spent text": {"Renew", func(ctx context.Context, s *textScene, text string) ([]string, error) {
			_, err := s.m.Renew(ctx, text)
			if errors.Is(err, ErrReplaced) {
				s.events()
			}
			return nil, err
		}},
		"a wrong tag ends the session": {"Refresh", func(ctx context.Context, s *textScene, text string) ([]string, error) {
			c, err := s.p.Refresh(ctx, text)
			if errors.Is(err, ErrUnknown) {
				_, _ = s.m.Expire(ctx, s.id)
				s.events()
			}
			return given(err, c.Access.Bearer, c.Refresh.Bearer), err
		}},
		"the answer is another one": {"Rotate", func(ctx context.Context, s *textScene, text string) ([]string, error) {
			i, err := s.m.Rotate(ctx, text, textOverlap)
			return given(err, i.Bearer+"0"), err
		}},
		"another token ends, too": {"ExpireBearer", func(ctx context.Context, s *textScene, text string) ([]string, error) {
			_, err := s.m.ExpireBearer(ctx, text)
			if err == nil {
				told := s.events()
				_, _ = s.m.Expire(ctx, s.other.ID())
				s.events()
				s.told = told
			}
			return nil, err
		}},
	} {
		verbs := textVerbs()
		verbs[slices.IndexFunc(verbs, func(v textVerb) bool { return v.name == planted.verb })].do = planted.do
		_, wrong := playTable(newTextWorld(t, memory.New()), verbs, func(c *textCell, kind string) bool {
			return c.verb == planted.verb && kind != "obtained" && kind != "delegate"
		})
		if len(wrong) == 0 {
			t.Errorf("%s: the table finds nothing", name)
		}
	}
}

// textRow is a text, and how long after the last rotation it is presented.
type textRow struct {
	name   string
	unused bool // the current text of a plain token has not been used
	wait   time.Duration
	text   func(s *textScene) string
	stands standing
}

const ms = time.Millisecond

// authenticatingRows are the texts of a plain token or, with other waits, the access
// texts of a session.
func authenticatingRows(until time.Duration) []textRow {
	of := func(n int) func(s *textScene) string { return func(s *textScene) string { return s.texts[n] } }
	forged := func(generation uint32) func(s *textScene) string {
		return func(s *textScene) string {
			b, kind, prefix := s.authenticating()
			return s.forge(generation, b, kind, prefix)
		}
	}
	rows := []textRow{
		{"current, unused", true, ms, of(3), currentText},
		{"current, used", false, ms, of(3), currentText},
		{"current", false, ms, of(3), currentText},
		{"previous, before", true, until - ms, of(2), previousText},
		{"previous, before, current used", false, until - ms, of(2), previousText},
		{"previous, at", true, until, of(2), spentText},
		{"previous, after", false, until + ms, of(2), spentText},
		{"spent", true, ms, of(1), spentText},
		{"spent, the first", false, ms, of(0), spentText},
		{"ahead", false, ms, forged(4), aheadText},
		{"far ahead", true, ms, forged(1<<32 - 1), aheadText},
		{"any other: forged, current", false, ms, forged(3), unknownText},
		{"any other: forged, previous", true, ms, forged(2), unknownText},
		{"any other: the current one of another ID", false, ms, func(s *textScene) string {
			return respelled(s.other.Text("lapse"), "lapse", func(c *credential) { copy(c[:], s.id[:]) })
		}, unknownText},
		{"any other: under another ID", false, ms, func(s *textScene) string {
			return respelled(s.texts[3], "lapse", func(c *credential) { copy(c[:], s.other[:idLen]) })
		}, unknownText},
		{"any other: of no ID", false, ms, func(s *textScene) string { return credentialOf(9).Text("lapse") }, unknownText},
		{"any other: as one that refreshes", false, ms, func(s *textScene) string {
			var c credential
			_, _ = c.Parse(s.texts[3], "lapse")
			return c.Text("lapse_refresh")
		}, unknownText},
		{"any other: under another prefix", false, ms, func(s *textScene) string {
			var c credential
			_, _ = c.Parse(s.texts[3], "lapse")
			return c.Text("other")
		}, unknownText},
		{"any other: a tag of the other kind", false, ms, func(s *textScene) string {
			b, _, _ := s.authenticating()
			return s.forge(1, b, refreshSecret, "lapse")
		}, unknownText},
	}
	for n, name := range []string{"the first", "spent", "previous", "current"} {
		rows = append(rows, textRow{"any other: a wrong tag, " + name, false, ms, func(s *textScene) string {
			return respelled(s.texts[n], "lapse", func(c *credential) { c[len(c)-1] ^= 1 })
		}, unknownText})
	}
	return rows
}

// refreshRows are the refresh texts of a session.
func refreshRows() []textRow {
	of := func(n int) func(s *textScene) string { return func(s *textScene) string { return s.refresh[n] } }
	forged := func(generation uint32) func(s *textScene) string {
		return func(s *textScene) string {
			b, kind, prefix := s.refreshing()
			return s.forge(generation, b, kind, prefix)
		}
	}
	return []textRow{
		{"current", false, ms, of(3), currentText},
		{"previous, before", false, defaultGrace - ms, of(2), previousText},
		{"previous, at", false, defaultGrace, of(2), spentText},
		{"previous, after", false, defaultGrace + ms, of(2), spentText},
		{"spent", false, ms, of(1), spentText},
		{"spent, the first", false, ms, of(0), spentText},
		{"ahead", false, ms, forged(4), aheadText},
		{"any other: forged, current", false, ms, forged(3), unknownText},
		{"any other: forged, previous", false, ms, forged(2), unknownText},
		{"any other: as one that authenticates", false, ms, func(s *textScene) string {
			var c credential
			_, _ = c.Parse(s.refresh[3], "lapse_refresh")
			return c.Text("lapse")
		}, unknownText},
		{"any other: under another ID", false, ms, func(s *textScene) string {
			return respelled(s.refresh[3], "lapse_refresh", func(c *credential) { copy(c[:], s.other[:idLen]) })
		}, unknownText},
		{"any other: a wrong tag", false, ms, func(s *textScene) string {
			return respelled(s.refresh[1], "lapse_refresh", func(c *credential) { c[len(c)-1] ^= 1 })
		}, unknownText},
	}
}

// textVerb is a verb that takes a text. What it gives, if that is a text, is given.
type textVerb struct {
	name    string
	overlap time.Duration
	do      func(ctx context.Context, s *textScene, text string) (given []string, err error)
}

func textVerbs() []textVerb {
	checks := func(verb func(m *Manager, ctx context.Context, text string) (Token, error)) func(context.Context, *textScene, string) ([]string, error) {
		return func(ctx context.Context, s *textScene, text string) ([]string, error) {
			_, err := verb(s.m, ctx, text)
			return nil, err
		}
	}
	rotates := func(overlap time.Duration) func(context.Context, *textScene, string) ([]string, error) {
		return func(ctx context.Context, s *textScene, text string) ([]string, error) {
			i, err := s.m.Rotate(ctx, text, overlap)
			return given(err, i.Bearer), err
		}
	}
	return []textVerb{
		{"Authenticate", 0, checks((*Manager).Authenticate)},
		{"Hold", 0, func(ctx context.Context, s *textScene, text string) ([]string, error) {
			ctx, leave := context.WithCancel(ctx)
			defer leave()
			_, _, err := opened(s.m.Hold(ctx, text))
			return nil, err
		}},
		{"Peek", 0, checks((*Manager).Peek)},
		{"Renew", 0, checks((*Manager).Renew)},
		{"Confirm", 0, checks((*Manager).Confirm)},
		{"Delegate", 0, func(ctx context.Context, s *textScene, text string) ([]string, error) {
			_, err := s.m.Delegate(ctx, text, Grant{})
			return nil, err
		}},
		{"Rotate", textOverlap, rotates(textOverlap)},
		{"Rotate 0", 0, rotates(0)},
		{"Refresh", 0, func(ctx context.Context, s *textScene, text string) ([]string, error) {
			c, err := s.p.Refresh(ctx, text)
			return given(err, c.Access.Bearer, c.Refresh.Bearer), err
		}},
		{"Peek pair", 0, func(ctx context.Context, s *textScene, text string) ([]string, error) {
			_, err := s.p.Peek(ctx, text)
			return nil, err
		}},
		{"ExpireBearer", 0, checks((*Manager).ExpireBearer)},
		{"Expire pair", 0, func(ctx context.Context, s *textScene, text string) ([]string, error) {
			return nil, loggedOut(s.p.ExpireBearer(ctx, text))
		}},
	}
}

func given(err error, texts ...string) []string {
	if err != nil {
		return nil
	}
	return texts
}

// textOverlap is how long a previous text of a plain token works in these scenes.
const textOverlap = 10 * time.Minute

// textWorld is a store with Pairs on it. Each scene in it has a subject of its own.
type textWorld struct {
	t      testing.TB
	store  storage.Store
	clock  *atomicClock
	p      *Pairs
	m      *Manager // of the access texts, and of plain tokens
	scenes int

	bound Thumbprint                            // the key that all tokens are bound to
	proof func(context.Context) context.Context // of the verbs that are played; nil: that of bound
	words func(string) string                   // what the words of the table become; nil: themselves

	mu   sync.Mutex
	told []EventKind
}

func newTextWorld(t testing.TB, store storage.Store) *textWorld {
	t.Helper()
	w := &textWorld{t: t, store: store, clock: new(atomicClock)}
	w.clock.milli.Store(testInstant.UnixMilli())
	p, err := NewPairs(store, PairConfig{Access: Config{
		Policy: Policy{TTL: 30 * time.Minute, MaxTTL: day, Renewal: RenewOnUse},
		Keys:   []Key{NewKey(randomKey(1))},
		Clock:  w.clock,
		Observe: func(_ context.Context, e Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, e.Kind)
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.p, w.m = p, p.Access()
	return w
}

// ctx returns a context with the proof of the key, if there is one.
func (w *textWorld) ctx() context.Context {
	if w.bound == (Thumbprint{}) {
		return context.Background()
	}
	return WithProof(context.Background(), w.bound)
}

// presenting returns the context of a verb that is played.
func (w *textWorld) presenting() context.Context {
	if w.proof == nil {
		return w.ctx()
	}
	return w.proof(context.Background())
}

func (w *textWorld) wait(d time.Duration) { w.clock.milli.Add(d.Milliseconds()) }

func (w *textWorld) now() time.Time { return w.clock.Now().UTC() }

// events returns what was told since the last call.
func (w *textWorld) events() []EventKind {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := w.told
	w.told = nil
	return told
}

// records returns all records of subject.
func (w *textWorld) records(subject string) map[ID]storage.Record {
	w.t.Helper()
	all := make(map[ID]storage.Record)
	for rec, err := range w.store.List(context.Background(), storage.Filter{Subject: subject}) {
		w.need(err)
		all[rec.ID] = rec
	}
	return all
}

func (w *textWorld) need(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// textScene is a token or a session that has had several secrets.
type textScene struct {
	*textWorld
	subject string
	kind    string // plain, budget, delegate, obtained or session
	id      ID
	texts   []string   // by generation: of a plain token, or the access texts
	refresh []string   // by generation, of a session
	other   credential // of another token of the same kind and subject

	presents standing      // what is presented
	overlap  time.Duration // that is asked for
}

// scene makes a token of a kind, or a session, that has had four secrets. With used, the
// current text of a plain token has been used. The last secret was made now.
func (w *textWorld) scene(kind string, used bool) *textScene {
	w.t.Helper()
	w.scenes++
	s := &textScene{textWorld: w, kind: kind, subject: fmt.Sprint("subject ", w.scenes)}
	if kind == "session" {
		s.logIn()
	} else {
		s.issue(used)
	}
	w.events()
	return s
}

// issue makes a plain token.
func (s *textScene) issue(used bool) {
	s.t.Helper()
	ctx := s.ctx()
	_, _ = s.other.Parse(s.first("other").Bearer, "lapse")
	issued := s.first("this one")
	s.id, s.texts = issued.ID, []string{issued.Bearer}
	for n := range 3 {
		s.wait(time.Minute)
		_, err := s.m.Authenticate(ctx, s.texts[n])
		s.need(err)
		s.wait(time.Minute)
		next, err := s.m.Rotate(ctx, s.texts[n], textOverlap)
		s.need(err)
		s.texts = append(s.texts, next.Bearer)
	}
	if used {
		_, err := s.m.Authenticate(ctx, s.texts[3])
		s.need(err)
	}
}

// first makes a token of the scene's kind that has had one secret.
func (s *textScene) first(name string) (i Issued) {
	s.t.Helper()
	ctx := s.ctx()
	g, err := Grant{Subject: s.subject, Name: name, Thumbprint: s.bound}, error(nil)
	switch s.kind {
	case "plain":
		i, err = s.m.Issue(ctx, g)
	case "budget":
		g.MaxUses = 100
		i, err = s.m.Issue(ctx, g)
	case "delegate":
		g.TTL = 10 * time.Hour
		if i, err = s.m.Issue(ctx, g); err == nil {
			g.TTL = 0
			i, err = s.m.Delegate(ctx, i.Bearer, g)
		}
	case "obtained":
		i, err = s.m.Obtain(ctx, g)
	}
	s.need(err)
	return i
}

// logIn makes a session.
func (s *textScene) logIn() {
	s.t.Helper()
	ctx := s.ctx()
	other, err := s.p.Issue(ctx, Grant{Subject: s.subject, Thumbprint: s.bound})
	s.need(err)
	_, _ = s.other.Parse(other.Access.Bearer, "lapse")
	c, err := s.p.Issue(ctx, Grant{Subject: s.subject, Scope: "read write", Thumbprint: s.bound})
	s.need(err)
	s.id = c.Refresh.ID
	for n := range 4 {
		s.texts, s.refresh = append(s.texts, c.Access.Bearer), append(s.refresh, c.Refresh.Bearer)
		if n == 3 {
			return
		}
		s.wait(time.Minute)
		_, err = s.m.Authenticate(ctx, c.Access.Bearer)
		s.need(err)
		s.wait(time.Minute)
		c, err = s.p.Refresh(ctx, c.Refresh.Bearer)
		s.need(err)
	}
}

func (s *textScene) record() storage.Record {
	s.t.Helper()
	rec, err := s.store.Get(context.Background(), s.id)
	s.need(err)
	return rec
}

// key returns the key of the tags of the scene's record.
func (s *textScene) key() tagKey {
	rec := s.record()
	if kept, ok := sessionOf(&rec); ok {
		return kept.key()
	}
	r, _, err := rotationOf(&rec)
	s.need(err)
	return r.key
}

// authenticating and refreshing are what texts of a scene are for.
func (s *textScene) authenticating() (b binding, kind secretKind, prefix string) {
	if s.kind == "session" {
		return s.m.binding, accessSecret, "lapse"
	}
	return s.m.binding, plainSecret, "lapse"
}

func (s *textScene) refreshing() (b binding, kind secretKind, prefix string) {
	return s.p.refresh.binding, refreshSecret, "lapse_refresh"
}

// forge returns a text of a generation with a right tag, as a thief of the file, or a
// store that was put back, can have them.
func (s *textScene) forge(generation uint32, b binding, kind secretKind, prefix string) string {
	var c credential
	key, random := s.key(), [randomLen]byte{7}
	copy(c[:], s.id[:])
	c.SetTagged(&key, b, kind, generation, random[:])
	return c.Text(prefix)
}

// respelled returns text with one byte of it changed, under a prefix, its checksum made
// right.
func respelled(text, prefix string, change func(c *credential)) string {
	var c credential
	if _, ok := c.Parse(text, prefix); !ok {
		panic("not a text: " + text)
	}
	change(&c)
	return c.Text(prefix)
}

// TestByGeneration: of a text with a right tag and no digest that is kept, the generation
// decides, at each limit.
func TestByGeneration(t *testing.T) {
	const last = math.MaxUint32
	for _, row := range []struct {
		name                     string
		current, previous, given uint32
		kept                     bool
		want                     standing
	}{
		{"the first of a first", 0, last, 0, false, unknownText},
		{"before the previous", 5, 4, 3, true, spentText},
		{"the previous, whose digest is kept", 5, 4, 4, true, unknownText},
		{"the previous, whose digest is not kept", 5, 4, 4, false, spentText},
		{"between the previous and the current", 5, 3, 4, true, spentText},
		{"the current", 5, 4, 5, true, unknownText},
		{"the current, nothing kept", 5, 0, 5, false, unknownText},
		{"the next", 5, 4, 6, true, aheadText},
		{"the last there can be", 5, 4, last, true, aheadText},
		{"the last is current", last, last - 1, last, true, unknownText},
		{"one before it", last, last - 1, last - 1, true, unknownText},
		{"two before it", last, last - 1, last - 2, true, spentText},
		{"the first of the last", last, last - 1, 0, true, spentText},
		{"after the first", 0, 0, 1, false, aheadText},
	} {
		rec := storage.Record{Token: Token{Generation: row.current}}
		kept := oldSecrets{before: row.previous, previous: string(make([]byte, 32))}
		if row.kept {
			kept.previous = strings.Repeat("d", 32)
		}
		if got := kept.byGeneration(&rec, row.given); got != row.want {
			t.Errorf("%s: %d; want %d", row.name, got, row.want)
		}
	}
}

// standsFor says what a Manager with binding b, whose texts refresh sessions or not, takes
// p for.
func standsFor(rec *storage.Record, p *presented, b binding, refreshes bool) (standing, error) {
	m := Manager{binding: b, refreshes: refreshes}
	return m.match(rec, p, testInstant)
}

// TestRejectionsNameTheGeneration of the text that was replaced.
func TestRejectionsNameTheGeneration(t *testing.T) {
	w := newTextWorld(t, memory.New())
	for _, kind := range []string{"plain", "obtained", "session"} {
		s := w.scene(kind, true)
		w.wait(textOverlap)
		for n, text := range s.texts[:3] {
			_, err := s.m.Peek(t.Context(), text)
			wantGeneration(t, s, err, ErrReplaced, uint32(n))
		}
		if kind != "session" {
			continue
		}
		for n, text := range s.refresh[:3] {
			_, err := s.p.Peek(t.Context(), text)
			wantGeneration(t, s, err, ErrReplaced, uint32(n))
			_, err = s.p.Refresh(t.Context(), text)
			wantGeneration(t, s, err, ErrReused, uint32(n))
		}
	}
}

func wantGeneration(t *testing.T, s *textScene, err, want error, generation uint32) {
	t.Helper()
	var r *Rejection
	if !errors.Is(err, want) || !errors.As(err, &r) || r.Generation != generation || r.ID != s.id || r.Subject != s.subject {
		t.Errorf("%s: %v, %+v; want generation %d", s.kind, err, r, generation)
	}
}

// TestUnprovedRejectionsSayNothing of the subject or the generation: nothing proves that
// such a text was ever one of that record.
func TestUnprovedRejectionsSayNothing(t *testing.T) {
	w := newTextWorld(t, memory.New())
	for _, row := range authenticatingRows(textOverlap) {
		if row.stands != unknownText && row.stands != aheadText {
			continue
		}
		s := w.scene("plain", true)
		text := row.text(s)
		_, err := s.m.Authenticate(t.Context(), text)
		var r *Rejection
		var c credential
		_, _ = c.Parse(text, "lapse")
		if !errors.As(err, &r) || *r != (Rejection{Err: ErrUnknown, ID: c.ID()}) {
			t.Errorf("%s: %v, %+v", row.name, err, r)
		}
	}
}

// TestTheLastGeneration: a token, or a session, that has had as many secrets as one can
// have is not given another, and lives on.
func TestTheLastGeneration(t *testing.T) {
	for generation, want := range map[uint32]error{math.MaxUint32 - 1: nil, math.MaxUint32: ErrNotRenewable} {
		for _, kind := range []string{"plain", "session"} {
			w := newTextWorld(t, memory.New())
			s := w.scene(kind, true)
			w.change(s, func(rec *storage.Record) { rec.Generation = generation })
			before := s.record()
			var err error
			if kind == "session" {
				_, err = s.p.Refresh(t.Context(), s.refresh[3])
			} else {
				_, err = s.m.RotateID(t.Context(), s.id, textOverlap)
			}
			if !errors.Is(err, want) || (err == nil) != (want == nil) || s.record().Equal(before) != (want != nil) {
				t.Errorf("%s of generation %d: %v; want %v", kind, generation, err, want)
			}
			if tok, err := s.m.Token(t.Context(), s.id); err != nil || !tok.Live(w.now()) {
				t.Errorf("%s of generation %d: %+v, %v", kind, generation, tok, err)
			}
		}
	}
}

// change rewrites the record of s, if the store takes it.
func (w *textWorld) change(s *textScene, change func(rec *storage.Record)) {
	w.t.Helper()
	w.need(w.store.Update(context.Background(), s.subject, func(tx storage.Tx) error {
		rec, err := tx.Get(s.id)
		if err == nil {
			change(&rec)
			err = tx.Put(rec)
		}
		return err
	}))
}

// documentedErrors are what a verb can answer for a text that is well-formed, whatever the
// record says.
var documentedErrors = []error{
	ErrUnknown, ErrReplaced, ErrExpired, ErrRevoked, ErrExhausted, ErrReused, ErrCorrupt,
	ErrNotRenewable, ErrNotDelegable, ErrRotated, ErrScope, ErrLimit, ErrInvalidGrant, ErrConflict,
}

// FuzzSealed: whatever a record of either kind keeps sealed, no verb panics, none answers
// with an error that is not documented, and no text but those with a digest that is kept
// is good.
func FuzzSealed(f *testing.F) {
	for _, r := range rotatedExtremes() {
		f.Add(r.seal().Text(), byte(KindPlain), uint32(3), int64(1000))
	}
	for _, p := range sessionExtremes() {
		f.Add(p.seal().Text(), byte(KindSession), uint32(3), int64(1000))
		f.Add(p.seal().Text(), byte(KindPlain), uint32(3), int64(1000))
	}
	f.Add(obtainedLabel+string(credentialOf(3)[:secretLen]), byte(KindPlain), uint32(0), int64(0))
	f.Add("", byte(2), uint32(math.MaxUint32), int64(-1))
	f.Fuzz(func(t *testing.T, sealed string, kind byte, generation uint32, until int64) {
		if len(sealed) > storage.MaxSealed || kind > byte(KindSession)+1 || until < -1e12 || until > 1e12 {
			return
		}
		w := newTextWorld(t, memory.New())
		for _, which := range []string{"plain", "session"} {
			for n, verb := range textVerbs() {
				s := &textScene{textWorld: w, kind: which, subject: fmt.Sprint("subject ", n)}
				fuzzVerb(t, s, &verb, func(rec *storage.Record) {
					rec.Kind, rec.Generation, rec.Sealed = Kind(kind), generation, storage.NewSealed(sealed)
					rec.PreviousUntil = time.Time{}
					if until >= 0 {
						rec.PreviousUntil = testInstant.Add(time.Duration(until) * time.Millisecond)
					}
				})
			}
		}
	})
}

func fuzzVerb(t *testing.T, s *textScene, verb *textVerb, change func(rec *storage.Record)) {
	if s.kind == "session" {
		c, err := s.p.Issue(t.Context(), Grant{Subject: s.subject, Scope: "read"})
		s.need(err)
		s.id, s.texts, s.refresh = c.Access.ID, []string{c.Access.Bearer}, []string{c.Refresh.Bearer}
	} else {
		i := s.first("fuzzed")
		s.id, s.texts = i.ID, []string{i.Bearer}
	}
	texts := append(slices.Clone(s.texts), s.refresh...)
	s.change(s, change)
	for _, text := range append(texts, respelled(s.texts[0], "lapse", func(c *credential) { c[40] ^= 1 })) {
		_, err := verb.do(t.Context(), s, text)
		if err != nil && !slices.ContainsFunc(documentedErrors, func(known error) bool { return errors.Is(err, known) }) {
			t.Errorf("%s of a changed record (%s): %v", verb.name, s.kind, err)
		}
		if text != s.texts[0] && len(s.refresh) == 0 && err == nil {
			t.Errorf("%s: a text of nothing is good", verb.name)
		}
	}
}

// forger makes texts of a session with what it has stolen from the file.
type forger struct {
	*Pairs
	t     *testing.T
	mock  *clock.Mock
	store *storagetest.Faulty
	told  []Event
	id    ID
	all   []TokenPair // that Pairs gave, by generation
}

// newForger has a session of the given generation, within the grace of its last refresh.
func newForger(t *testing.T, generation int) *forger {
	t.Helper()
	f := &forger{t: t, mock: clock.NewMock(), store: storagetest.NewFaulty(memory.New())}
	f.mock.Set(testInstant)
	var err error
	f.Pairs, err = NewPairs(f.store, PairConfig{Access: Config{Clock: f.mock, Observe: func(_ context.Context, e Event) { f.told = append(f.told, e) }}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.Issue(t.Context(), Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	f.all, f.id = []TokenPair{c}, c.Refresh.ID
	for range generation {
		f.all = append(f.all, f.refresh(f.all[len(f.all)-1]))
	}
	f.told = nil
	f.store.Reset()
	return f
}

func (f *forger) refresh(c TokenPair) TokenPair {
	f.t.Helper()
	next, err := f.Refresh(f.t.Context(), c.Refresh.Bearer)
	if err != nil {
		f.t.Fatal(err)
	}
	return next
}

func (f *forger) record() storage.Record {
	f.t.Helper()
	rec, err := f.store.Get(f.t.Context(), f.id)
	if err != nil {
		f.t.Fatal(err)
	}
	return rec
}

// put stores rec in the place of the session's record.
func (f *forger) put(rec storage.Record) {
	f.t.Helper()
	if err := f.store.Update(f.t.Context(), "ana", func(tx storage.Tx) error { return tx.Put(rec) }); err != nil {
		f.t.Fatal(err)
	}
}

// forgery says what a forged text is made of.
type forgery struct {
	id         ID // zero: the session's
	binding    binding
	kind       secretKind
	generation uint32
	key        *tagKey // nil: the session's
}

// text makes the text, with random bytes that were never given out.
func (f *forger) text(prefix string, g forgery) string {
	f.t.Helper()
	rec := f.record()
	s, ok := sessionOf(&rec)
	if !ok {
		f.t.Fatal("no session")
	}
	key := s.key()
	if g.key != nil {
		key = *g.key
	}
	if g.id == (ID{}) {
		g.id = f.id
	}
	var c credential
	copy(c[:], g.id[:])
	c.SetTagged(&key, g.binding, g.kind, g.generation, []byte("twenty random bytes."))
	return c.Text(prefix)
}

// asked is what every verb that takes a text says to one.
type asked struct{ refresh, peek, access, logOut error }

// ask presents bearer to the verbs, to each with the record as it is now.
func (f *forger) ask(bearer string) (a asked) {
	ctx, rec := f.t.Context(), f.record()
	_, a.peek = f.Pairs.Peek(ctx, bearer)
	_, a.access = f.Access().Authenticate(ctx, bearer)
	_, a.refresh = f.Refresh(ctx, bearer)
	if a.logOut = ErrExpired; f.record().EndedAt.IsZero() {
		a.logOut = loggedOut(f.ExpireBearer(ctx, bearer))
	}
	if diff := cmp.Diff(rec, f.record(), cmp.Comparer(storage.Record.Equal)); diff != "" && f.record().EndedAt.IsZero() {
		f.t.Errorf("a forged text changed the record: %s", diff)
	}
	return a
}

// TestForgedTexts: what is known of a record makes no text that opens anything. With the
// key of its tags, stolen from the file, a spent refresh text can be made, which logs the
// session out, and nothing else.
func TestForgedTexts(t *testing.T) {
	access, refresh := newBinding("lapse"), newRefreshBinding("lapse_refresh")
	unknown := asked{ErrUnknown, ErrUnknown, ErrUnknown, ErrUnknown}
	for _, row := range []struct {
		name   string
		prefix string
		forgery
		want  asked
		ended bool
		ahead bool
	}{
		{"refresh, current generation", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: 3}, unknown, false, false},
		{"refresh, previous generation", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: 2}, unknown, false, false},
		{"refresh, spent generation", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: 1}, asked{ErrReused, ErrReplaced, ErrUnknown, ErrExpired}, true, false},
		{"refresh, first generation", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret}, asked{ErrReused, ErrReplaced, ErrUnknown, ErrExpired}, true, false},
		{"refresh, next generation", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: 4}, unknown, false, true},
		{"refresh, last generation", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: math.MaxUint32}, unknown, false, true},
		{"access, current generation", "lapse", forgery{binding: access, kind: accessSecret, generation: 3}, unknown, false, false},
		{"access, previous generation", "lapse", forgery{binding: access, kind: accessSecret, generation: 2}, unknown, false, false},
		{"access, spent generation", "lapse", forgery{binding: access, kind: accessSecret, generation: 1}, asked{ErrUnknown, ErrUnknown, ErrReplaced, nil}, true, false},
		{"access, next generation", "lapse", forgery{binding: access, kind: accessSecret, generation: 4}, unknown, false, true},
		{"access, last generation", "lapse", forgery{binding: access, kind: accessSecret, generation: math.MaxUint32}, unknown, false, true},
		{"a tag for access on a refresh text", "lapse_refresh", forgery{binding: refresh, kind: accessSecret, generation: 1}, unknown, false, false},
		{"a tag for refreshing on an access text", "lapse", forgery{binding: access, kind: refreshSecret, generation: 1}, unknown, false, false},
		{"a tag of a plain token", "lapse", forgery{binding: access, kind: plainSecret, generation: 1}, unknown, false, false},
		{"a tag of no kind", "lapse_refresh", forgery{binding: refresh, generation: 1}, unknown, false, false},
		{"a tag of access on a refresh text", "lapse_refresh", forgery{binding: access, kind: refreshSecret, generation: 1}, unknown, false, false},
		{"a tag of another prefix", "lapse_refresh", forgery{binding: newRefreshBinding("other"), kind: refreshSecret, generation: 1}, unknown, false, false},
		{"a text of another prefix", "other", forgery{binding: newRefreshBinding("other"), kind: refreshSecret, generation: 1}, unknown, false, false},
		{"a key of zeros", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: 1, key: new(tagKey)}, unknown, false, false},
		{"another key", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: 1, key: &tagKey{1}}, unknown, false, false},
		{"another ID", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: 1, id: ID{1}}, unknown, false, false},
	} {
		f := newForger(t, 3)
		got := f.ask(f.text(row.prefix, row.forgery))
		for verb, both := range map[string][2]error{
			"Refresh": {got.refresh, row.want.refresh}, "Peek": {got.peek, row.want.peek},
			"Authenticate": {got.access, row.want.access}, "Expire": {got.logOut, row.want.logOut},
		} {
			if !errors.Is(both[0], both[1]) {
				t.Errorf("%s: %s: %v; want %v", row.name, verb, both[0], both[1])
			}
		}
		ahead := false
		for _, e := range f.told {
			ahead = ahead || e.Kind == EventAhead && e.Token.ID == f.id
		}
		if ended := !f.record().EndedAt.IsZero(); ended != row.ended || ahead != row.ahead {
			t.Errorf("%s: ended %v, told to be ahead %v", row.name, ended, ahead)
		}
		if _, err := f.Access().Peek(t.Context(), f.all[3].Access.Bearer); (err == nil) == row.ended {
			t.Errorf("%s: the session afterwards: %v", row.name, err)
		}
	}
}

// TestTextsOfOneAreNoneOfAnother: a text that Pairs gave, with the prefix or the ID of
// another, or with both of its halves mixed, is ErrUnknown, and costs one read.
func TestTextsOfOneAreNoneOfAnother(t *testing.T) {
	f := newForger(t, 1)
	other, err := f.Issue(t.Context(), Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	parsed := func(bearer string) (c credential) {
		if _, ok := c.Parse(bearer, "lapse"); !ok {
			t.Fatal("not a text")
		}
		return c
	}
	mine, mineRefresh := parsed(f.all[1].Access.Bearer), parsed(f.all[1].Refresh.Bearer)
	theirs, theirsRefresh := parsed(other.Access.Bearer), parsed(other.Refresh.Bearer)
	with := func(id ID, of credential) *credential { copy(of[:], id[:]); return &of }
	before := f.record()
	for name, bearer := range map[string]string{
		"an access secret as a refresh text":     mine.Text("lapse_refresh"),
		"a refresh secret as an access text":     mineRefresh.Text("lapse"),
		"the access secret of another":           with(f.id, theirs).Text("lapse"),
		"the refresh secret of another":          with(f.id, theirsRefresh).Text("lapse_refresh"),
		"its secret under the ID of another":     with(other.Refresh.ID, mineRefresh).Text("lapse_refresh"),
		"its access text under another's ID":     with(other.Refresh.ID, mine).Text("lapse"),
		"its refresh text under an absent ID":    with(ID{1}, mineRefresh).Text("lapse_refresh"),
		"its access text under an absent ID":     with(ID{1}, mine).Text("lapse"),
		"its access text under another prefix":   mine.Text("guest"),
		"its refresh text under another prefix":  mineRefresh.Text("guest_refresh"),
		"the first text under an absent session": with(ID{1}, parsed(f.all[0].Refresh.Bearer)).Text("lapse_refresh"),
	} {
		f.store.Reset()
		_, err := f.Refresh(t.Context(), bearer)
		_, peek := f.Access().Peek(t.Context(), bearer)
		if !errors.Is(err, ErrUnknown) || !errors.Is(peek, ErrUnknown) {
			t.Errorf("%s: Refresh: %v; Peek: %v", name, err, peek)
		}
		if calls := f.store.Calls(); fmt.Sprint(calls) != "[Get Get]" {
			t.Errorf("%s: %v; want one read each", name, calls)
		}
	}
	if !f.record().Equal(before) {
		t.Error("the record changed")
	}
}

// TestLastGenerations: a session that has had as many secrets as one can have is refreshed
// no more, and goes on by its texts until it ends.
func TestLastGenerations(t *testing.T) {
	for _, row := range []struct {
		generation uint32
		refreshes  int // how often it can be
	}{
		{math.MaxUint32 - 2, 2},
		{math.MaxUint32 - 1, 1},
		{math.MaxUint32, 0},
	} {
		f := newForger(t, 0)
		rec := f.record()
		rec.Generation = row.generation
		f.put(rec)
		c, last := f.all[0], f.all[0]
		for range row.refreshes {
			last, c = c, f.refresh(c)
		}
		before := f.record()
		if before.Generation != math.MaxUint32 || c.Refresh.Generation != math.MaxUint32 && row.refreshes > 0 {
			t.Errorf("generation %d", before.Generation)
		}
		if _, err := f.Refresh(t.Context(), c.Refresh.Bearer); !errors.Is(err, ErrNotRenewable) || errors.Is(err, ErrUnauthenticated) {
			t.Errorf("from %d: one more: %v; want ErrNotRenewable", row.generation, err)
		}
		if !f.record().Equal(before) {
			t.Errorf("from %d: the record changed", row.generation)
		}
		if _, err := f.Access().Authenticate(t.Context(), c.Access.Bearer); err != nil {
			t.Errorf("from %d: the access text: %v", row.generation, err)
		}
		if row.refreshes > 0 {
			if again := f.refresh(last); !again.Repeated || again.Refresh.Bearer != c.Refresh.Bearer {
				t.Errorf("from %d: a replay is answered with %+v", row.generation, again)
			}
			f.mock.Add(10 * time.Second)
			if _, err := f.Refresh(t.Context(), last.Refresh.Bearer); !errors.Is(err, ErrReused) {
				t.Errorf("from %d: after the grace: %v; want ErrReused", row.generation, err)
			}
		} else if err := loggedOut(f.ExpireBearer(t.Context(), c.Refresh.Bearer)); err != nil {
			t.Errorf("from %d: log-out: %v", row.generation, err)
		}
	}
}

// rotatedExtremes are what a record of a rotated token can keep.
func rotatedExtremes() []rotationState {
	full := rotationState{floor: math.MaxUint32, before: math.MaxUint32 - 1, unused: true, obtained: true}
	for _, part := range [][]byte{full.key[:], full.first[:], full.previous[:], full.salt[:]} {
		for i := range part {
			part[i] = 0xff
		}
	}
	some := rotationState{key: tagKeyOf(3), floor: 1, before: 0x01020304}
	copy(some.first[:], credentialOf(1)[:])
	copy(some.previous[:], credentialOf(2)[:])
	copy(some.salt[:], credentialOf(3)[:])
	unused, obtained := some, some
	unused.unused, obtained.obtained = true, true
	return []rotationState{{}, full, some, unused, obtained}
}

func plainWith(sealed string) *storage.Record {
	return &storage.Record{Token: Token{ID: credentialOf(1).ID(), Generation: 3}, Digest: credentialOf(1).Digest(newBinding("lapse")), Sealed: storage.NewSealed(sealed)}
}

// TestRotatedRoundTrip: what is sealed is read as it was.
func TestRotatedRoundTrip(t *testing.T) {
	for n, want := range rotatedExtremes() {
		rec := plainWith(want.seal().Text())
		got, was, err := rotationOf(rec)
		if got != want || !was || err != nil || rec.Sealed.Len() != rotatedLen {
			t.Errorf("%d: %+v, %v, %v of %d bytes; want %+v", n, got, was, err, rec.Sealed.Len(), want)
		}
		if unusedSecret(rec) != want.unused || floorOf(rec) != want.floor {
			t.Errorf("%d: unused %v, floor %d", n, unusedSecret(rec), floorOf(rec))
		}
	}
}

// damagedForms returns text cut short everywhere, longer, and of other versions and kinds.
func damagedForms(text string) (forms []string) {
	for n := 1; n < len(text); n++ {
		forms = append(forms, text[:n])
	}
	for _, label := range []string{"p0", "p2", "P1", "o1", "o2", "s1", "s2", "x1", "\x00\x00", "\xff\xff"} {
		if !strings.HasPrefix(text, label) {
			forms = append(forms, label+text[2:])
		}
	}
	return append(forms, text+"\x00", text+text, " "+text)
}

// TestRotatedRefusesWhatIsDamaged: a form that is cut short, too long or of another
// version says nothing, and no text of its record is judged by it, not even the current
// one.
func TestRotatedRefusesWhatIsDamaged(t *testing.T) {
	whole := rotatedExtremes()[3]
	for _, form := range damagedForms(whole.seal().Text()) {
		rec := plainWith(form)
		if _, was, err := rotationOf(rec); was || !errors.Is(err, ErrCorrupt) {
			t.Errorf("%.4q of %d bytes: %v, %v", form, len(form), was, err)
		}
		if unusedSecret(rec) || floorOf(rec) != 0 || madeByObtain(rec) {
			t.Errorf("%.4q of %d bytes says something", form, len(form))
		}
		if changed, err := useSecret(rec); changed || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%.4q of %d bytes: a use changed it: %v, %v", form, len(form), changed, err)
		}
		for seed := range uint64(2) {
			c, b := credentialOf(1+seed), newBinding("lapse")
			copy(c[:], rec.ID[:])
			sum := c.Sum(b)
			if found, err := standsFor(rec, &presented{cred: c, sum: &sum, prefix: "lapse"}, b, false); found != unknownText || !errors.Is(err, ErrCorrupt) {
				t.Errorf("%.4q of %d bytes: text %d stands as %d, %v", form, len(form), seed, found, err)
			}
		}
	}
}

// TestUseSecret: the first use clears the salt, except of a secret that Obtain gives
// again, and later ones change nothing.
func TestUseSecret(t *testing.T) {
	for n, r := range rotatedExtremes() {
		rec := plainWith(r.seal().Text())
		want := r
		if want.unused = false; r.unused && !r.obtained {
			want.salt = [saltLen]byte{}
		}
		changed, err := useSecret(rec)
		if got, _, _ := rotationOf(rec); got != want || changed != r.unused || err != nil {
			t.Errorf("%d: %+v, %v, %v; want %+v", n, got, changed, err, want)
		}
		if changed, err := useSecret(rec); changed || err != nil {
			t.Errorf("%d: a second use: %v, %v", n, changed, err)
		}
	}
}

// TestManyRotationsTakeConstantSpace: after each of 10,000 rotations the record is as
// large as after the first, and every text that was replaced is known for one: the first
// by its digest, the others by their tags.
func TestManyRotationsTakeConstantSpace(t *testing.T) {
	const rotations = 10_000
	ctx, store := context.Background(), memory.New()
	m, _ := managerOver(t, store, Config{})
	issued := issueTo(t, m, Grant{Subject: "ana"})
	texts := []string{issued.Bearer}
	for n := range rotations {
		next, err := m.Rotate(ctx, texts[n], time.Duration(n%2)*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, next.Bearer)
		if rec, err := store.Get(ctx, issued.ID); err != nil || rec.Sealed.Len() != rotatedLen || rec.Generation != uint32(n+1) {
			t.Fatalf("after %d: %d bytes, generation %d, %v", n+1, rec.Sealed.Len(), rec.Generation, err)
		}
	}
	for n := 0; n < rotations-1; n += 1 + n/10 {
		if _, err := m.Peek(ctx, texts[n]); !errors.Is(err, ErrReplaced) {
			t.Errorf("text %d of %d: %v", n, rotations, err)
		}
	}
	if _, err := m.Peek(ctx, texts[rotations]); err != nil || recordsIn(t, store) != 1 {
		t.Errorf("the last one: %v; %d records", err, recordsIn(t, store))
	}
}

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

// proofKeys are the key that all is bound to in these tests, and one that differs in its last bit.
var proofKeys = func() (keys [2]Thumbprint) {
	keys[0] = sha256.Sum256([]byte("a public key"))
	keys[1] = keys[0]
	keys[1][31] ^= 1
	return keys
}()

// unproved says what the table of texts becomes where the proof is absent or wrong: a text of the
// record is refused alike, whatever it is to the record, and any other text as ever.
func unproved(word string) string {
	if word == "unknown" {
		return word
	}
	return "unproved"
}

// without are the contexts that prove nothing, or the wrong key.
var without = map[string]func(context.Context) context.Context{
	"no proof":    func(ctx context.Context) context.Context { return ctx },
	"another key": func(ctx context.Context) context.Context { return WithProof(ctx, proofKeys[1]) },
	"zeros":       func(ctx context.Context) context.Context { return WithProof(ctx, Thumbprint{}) },
	"zeros inside of the right proof": func(ctx context.Context) context.Context {
		return WithProof(WithProof(ctx, proofKeys[0]), Thumbprint{})
	},
	"another key inside of the right one": func(ctx context.Context) context.Context {
		return WithProof(WithProof(ctx, proofKeys[0]), proofKeys[1])
	},
	"an array that is no Thumbprint": func(ctx context.Context) context.Context {
		return context.WithValue(ctx, proofKey{}, (*[32]byte)(&proofKeys[0]))
	},
	"nil": func(ctx context.Context) context.Context { return context.WithValue(ctx, proofKey{}, nil) },
}

// TestProofOfEachText is the table of texts for bound tokens: with the proof all is as in the table.
// Without it every verb refuses each text of the record alike, and nothing is written, so that a spent
// text ends nothing.
func TestProofOfEachText(t *testing.T) {
	race.Alone(t)
	for name, proof := range without {
		w := newTextWorld(t, memory.New())
		w.bound, w.proof, w.words = proofKeys[0], proof, unproved
		whole := name == "no proof"
		n := 0
		played, wrong := playTable(w, textVerbs(), func(_ *textCell, kind string) bool {
			n++
			return (whole || kind == "plain" || kind == "session") && sample.Every(4, n)
		})
		for _, w := range wrong {
			t.Errorf("%s: %s", name, w)
		}
		if played < sample.Of(500, 100) {
			t.Errorf("%s: %d texts were presented", name, played)
		}
	}
	w := newTextWorld(t, memory.New())
	w.bound = proofKeys[0]
	n := 0
	played, wrong := playTable(w, textVerbs(), func(*textCell, string) bool { n++; return sample.Every(4, n) })
	for _, w := range wrong {
		t.Errorf("with the proof: %s", w)
	}
	if played < sample.Of(1000, 250) {
		t.Errorf("with the proof: %d texts were presented", played)
	}
}

// TestProofOfTheUnbound: a token that is not bound ignores proofs, right or wrong.
func TestProofOfTheUnbound(t *testing.T) {
	w := newTextWorld(t, memory.New())
	w.proof = without["another key"]
	played, wrong := playTable(w, textVerbs(), func(_ *textCell, kind string) bool { return kind == "plain" || kind == "session" })
	for _, w := range wrong {
		t.Error(w)
	}
	if played < 500 {
		t.Errorf("%d texts were presented", played)
	}
}

// TestProofTableFindsFaults: verbs that skip the proof for some texts are found.
func TestProofTableFindsFaults(t *testing.T) {
	proving := func(when func(s *textScene) bool) func(textVerb) textVerb {
		return func(v textVerb) textVerb {
			do := v.do
			v.do = func(ctx context.Context, s *textScene, text string) ([]string, error) {
				if when(s) {
					ctx = s.ctx()
				}
				return do(ctx, s, text)
			}
			return v
		}
	}
	for name, planted := range map[string]struct {
		verb string
		as   func(textVerb) textVerb
	}{
		"Refresh skips the proof for spent texts":         {"Refresh", proving(func(s *textScene) bool { return s.presents == spentText })},
		"ExpireBearer skips the proof for previous texts": {"ExpireBearer", proving(func(s *textScene) bool { return s.presents == previousText })},
		"Authenticate skips the proof of sessions":        {"Authenticate", proving(func(s *textScene) bool { return s.kind == "session" })},
		"Confirm skips the proof":                         {"Confirm", proving(func(*textScene) bool { return true })},
		"Peek wants no proof of what is dead": {"Peek", proving(func(s *textScene) bool {
			rec := s.record()
			return !rec.EndedAt.IsZero()
		})},
	} {
		verbs := textVerbs()
		at := slices.IndexFunc(verbs, func(v textVerb) bool { return v.name == planted.verb })
		verbs[at] = planted.as(verbs[at])
		w := newTextWorld(t, memory.New())
		w.bound, w.proof, w.words = proofKeys[0], without["no proof"], unproved
		_, wrong := playTable(w, verbs, func(c *textCell, _ string) bool { return c.verb == planted.verb })
		if len(wrong) == 0 {
			t.Errorf("%s: the table finds nothing", name)
		}
	}
}

// TestProofOfEachBit: each bit of the thumbprint counts.
func TestProofOfEachBit(t *testing.T) {
	m, _ := managerOver(t, memory.New(), Config{})
	i := issueTo(t, m, Grant{Subject: "ana", Thumbprint: proofKeys[0]})
	for bit := range 8 * len(Thumbprint{}) {
		other := proofKeys[0]
		other[bit/8] ^= 1 << (bit % 8)
		if _, err := m.Authenticate(WithProof(t.Context(), other), i.Bearer); !errors.Is(err, ErrProof) {
			t.Errorf("bit %d: %v; want ErrProof", bit, err)
		}
	}
	if tok, err := m.Authenticate(WithProof(t.Context(), proofKeys[0]), i.Bearer); err != nil || tok.Thumbprint != proofKeys[0] {
		t.Errorf("with the proof: %+v, %v", tok, err)
	}
}

// TestProofOfDelegates: a delegate is bound as its parent, or to a key of its own, and never to none.
func TestProofOfDelegates(t *testing.T) {
	m, _ := managerOver(t, memory.New(), Config{})
	ctx := t.Context()
	none, own := Thumbprint{}, proofKeys[1]
	for _, row := range []struct{ parent, grant, want Thumbprint }{
		{none, none, none}, {none, own, own}, {proofKeys[0], none, proofKeys[0]}, {proofKeys[0], own, own},
	} {
		parent := issueTo(t, m, Grant{Subject: "ana", Thumbprint: row.parent})
		child, err := m.Delegate(WithProof(ctx, row.parent), parent.Bearer, Grant{Thumbprint: row.grant})
		if err != nil || child.Thumbprint != row.want {
			t.Fatalf("%v of %v: %v, %v", row.grant, row.parent, child.Thumbprint, err)
		}
		for _, key := range []Thumbprint{none, proofKeys[0], own} {
			_, err := m.Authenticate(WithProof(ctx, key), child.Bearer)
			if want := row.want == none || key == row.want; (err == nil) != want || !want && !errors.Is(err, ErrProof) {
				t.Errorf("delegate %v of %v with %v: %v", row.grant, row.parent, key, err)
			}
		}
	}
}

// TestProofAndObtain: Obtain gives a token again for the same thumbprint only, and wants no proof.
func TestProofAndObtain(t *testing.T) {
	m, _ := managerOver(t, memory.New(), Config{Keys: []Key{NewKey(randomKey(1))}})
	ids := map[ID]Thumbprint{}
	for range 2 {
		for _, key := range []Thumbprint{{}, proofKeys[0], proofKeys[1]} {
			i := made(m.Obtain(t.Context(), Grant{Subject: "ana", Thumbprint: key}))
			if was, known := ids[i.ID]; known != i.Existing || known && was != key || i.Thumbprint != key {
				t.Errorf("a token of %v for %v, existing %v", was, key, i.Existing)
			}
			ids[i.ID] = key
		}
	}
	if len(ids) != 3 {
		t.Errorf("%d tokens for 3 keys", len(ids))
	}
}

// TestProofIsPaidOnce for a connection: it lives on without a proof, and is cut when the token ends.
func TestProofIsPaidOnce(t *testing.T) {
	asked := make(chan Token, 8)
	m, _ := managerOver(t, memory.New(), Config{Admit: func(ctx context.Context, tok Token) error {
		asked <- tok
		return nil
	}})
	i := issueTo(t, m, Grant{Subject: "ana", Thumbprint: proofKeys[0]})
	if _, err := m.Hold(t.Context(), i.Bearer); !errors.Is(err, ErrProof) || len(asked) != 0 {
		t.Errorf("without a proof: %v; Admit was asked %d times", err, len(asked))
	}
	hold := made(m.Hold(WithProof(t.Context(), proofKeys[0]), i.Bearer))
	defer hold.Release()
	if tok := <-asked; tok.Thumbprint != proofKeys[0] {
		t.Errorf("Admit sees %v", tok.Thumbprint)
	}
	made(m.RotateID(t.Context(), i.ID, time.Minute))
	if err := hold.Context().Err(); err != nil {
		t.Errorf("a rotation: %v", context.Cause(hold.Context()))
	}
	made(m.Expire(t.Context(), i.ID))
	<-hold.Context().Done()
	if cause := context.Cause(hold.Context()); !errors.Is(cause, ErrRevoked) {
		t.Errorf("cut with %v", cause)
	}
}

// TestProofIsPaidOnceForUseAndRecheck: Use and Recheck want no proof, and Admit, asked again, sees that
// Confirm was called: it cuts a connection whose user was last present too long ago, to the minute.
func TestProofIsPaidOnceForUseAndRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m *Manager
		var seen []Token
		admit := func(_ context.Context, tok Token) error {
			if seen = append(seen, tok); m.Now().Sub(tok.AuthenticatedAt) > 5*time.Minute {
				return ErrRefused
			}
			return nil
		}
		p := made(NewPairs(memory.New(), PairConfig{Access: Config{Admit: admit, Recheck: time.Minute}}))
		m = p.Access()
		proved := WithProof(t.Context(), proofKeys[0])
		c := made(p.Issue(t.Context(), Grant{Subject: "ana", Thumbprint: proofKeys[0]}))
		held := made(m.Hold(proved, c.Access.Bearer))
		defer held.Release()
		began := m.Now()
		for minute, last := 1, began; minute <= 9; minute++ {
			time.Sleep(time.Minute)
			synctest.Wait()
			if tok := seen[len(seen)-1]; tok.Thumbprint != proofKeys[0] || !tok.AuthenticatedAt.Equal(last) {
				t.Errorf("minute %d: asked about %+v; want AuthenticatedAt %v", minute, tok, last)
			}
			if err := held.Use(t.Context()); err != nil {
				t.Errorf("minute %d: Use: %v", minute, err)
			}
			if minute == 4 {
				last = made(m.Confirm(proved, c.Access.Bearer)).AuthenticatedAt
			}
		}
		if used := made(m.Token(t.Context(), c.Access.ID)).LastUsedAt; !used.Equal(began.Add(9 * time.Minute)) {
			t.Errorf("used last %v after Hold", used.Sub(began))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := held.Use(t.Context()); !errors.Is(err, ErrRefused) {
			t.Errorf("after 10 minutes: %v; want ErrRefused", err)
		}
	})
}

// TestProofSurvives: a rotation, a refresh and a renewal leave the token bound.
func TestProofSurvives(t *testing.T) {
	for _, kind := range []string{"plain", "obtained", "delegate", "budget", "session"} {
		w := newTextWorld(t, memory.New())
		w.bound = proofKeys[0]
		s := w.scene(kind, true)
		if rec := s.record(); rec.Thumbprint != proofKeys[0] || rec.Generation != 3 {
			t.Errorf("%s: bound to %v after %d rotations", kind, rec.Thumbprint, rec.Generation)
		}
	}
}

// TestProofRefusalSaysNothing of the thumbprints, and names the token.
func TestProofRefusalSaysNothing(t *testing.T) {
	var told []Event
	m, _ := managerOver(t, memory.New(), Config{Observe: func(_ context.Context, e Event) { told = append(told, e) }})
	i := issueTo(t, m, Grant{Subject: "ana", Thumbprint: proofKeys[0]})
	told = nil
	_, err := m.Authenticate(WithProof(t.Context(), proofKeys[1]), i.Bearer)
	var r *Rejection
	if !errors.As(err, &r) || !errors.Is(err, ErrUnauthenticated) || Code(err) != "proof" {
		t.Fatalf("%v has the code %q", err, Code(err))
	}
	if diff := cmp.Diff(Rejection{Err: ErrProof, ID: i.ID, Subject: "ana"}, *r, cmp.Comparer(func(a, b error) bool { return a == b })); diff != "" {
		t.Errorf("rejection (-want +got):\n%s", diff)
	}
	heard := &said{}
	heard.err(err)
	for _, e := range told {
		heard.value(e)
	}
	all := secretsOf(i.Bearer)
	for n, key := range proofKeys {
		all.addLong(fmt.Sprint("thumbprint ", n), key[:])
	}
	for _, text := range heard.texts {
		if found := all.leaks(text); found != nil {
			t.Errorf("the %s is told in %q", found[0], text)
		}
	}
	if len(told) != 1 || len(heard.texts) < 5 {
		t.Errorf("%d events, %d texts; then nothing is tested", len(told), len(heard.texts))
	}
}

// TestProofIsOfTheRecordThatIsRead past a cache: a text of a later generation than a stale record has
// is good with the proof. Without the proof the text is refused before the second read, and Observe is
// told no EventAhead.
func TestProofIsOfTheRecordThatIsRead(t *testing.T) {
	w := newTextWorld(t, memory.New())
	w.bound = proofKeys[0]
	s := w.scene("plain", true)
	old := s.record()
	next, err := s.m.Rotate(w.ctx(), s.texts[3], time.Minute)
	s.need(err)
	store := &staleStore{Store: w.store, old: old}
	var told []EventKind
	m, _ := managerOver(t, store, Config{Observe: func(_ context.Context, e Event) { told = append(told, e.Kind) }})
	if _, err := m.Peek(context.Background(), next.Bearer); !errors.Is(err, ErrProof) || store.updates != 0 {
		t.Errorf("%v after %d Updates; want ErrProof after none", err, store.updates)
	}
	if _, err := m.Peek(w.ctx(), next.Bearer); err != nil || store.updates != 1 {
		t.Errorf("with the proof: %v after %d Updates; want nil after 1", err, store.updates)
	}
	if diff := cmp.Diff([]EventKind{EventRejected}, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// staleStore answers Get with a record of before, and counts Updates.
type staleStore struct {
	storage.Store
	old     storage.Record
	updates int
}

func (s *staleStore) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	s.updates++
	return s.Store.Update(ctx, subject, fn)
}

func (s *staleStore) Get(context.Context, storage.ID) (storage.Record, error) { return s.old, nil }
