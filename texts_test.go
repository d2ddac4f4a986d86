package lapse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// whatTextsDo says what each verb makes of each text, by the words of effects. The rows
// are those of textRows.
const whatTextsDo = `
plain                          | Authenticate, Hold | Peek     | Renew    | Delegate  | Rotate   | Rotate 0 | Refresh  | Peek pair | ExpireBearer, Expire pair
current, unused                | renews             | good     | renews   | delegates | rotates  | rotates  | unknown  | unknown   | ends
current, used                  | renews             | good     | renews   | delegates | rotates  | rotates  | unknown  | unknown   | ends
previous, before               | good               | good     | good     | delegates | again    | rotates  | unknown  | unknown   | ends
previous, before, current used | good               | good     | good     | delegates | taken    | rotates  | unknown  | unknown   | ends
previous, at                   | replaced           | replaced | replaced | replaced  | replaced | replaced | unknown  | unknown   | replaced
previous, after                | replaced           | replaced | replaced | replaced  | replaced | replaced | unknown  | unknown   | replaced
spent                          | replaced           | replaced | replaced | replaced  | replaced | replaced | unknown  | unknown   | replaced
spent, the first               | replaced           | replaced | replaced | replaced  | replaced | replaced | unknown  | unknown   | replaced
ahead                          | ahead              | ahead    | ahead    | ahead     | ahead    | ahead    | unknown  | unknown   | ahead
far ahead                      | ahead              | ahead    | ahead    | ahead     | ahead    | ahead    | unknown  | unknown   | ahead
any other                      | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | unknown   | unknown

budget                         | Authenticate, Hold | Peek     | Renew    | Delegate  | Rotate   | Rotate 0 | Refresh  | Peek pair | ExpireBearer, Expire pair
current, unused                | spends             | good     | renews   | refused   | rotates  | rotates  | unknown  | unknown   | ends
current, used                  | spends             | good     | renews   | refused   | rotates  | rotates  | unknown  | unknown   | ends
previous, before               | spends alone       | good     | good     | refused   | again    | rotates  | unknown  | unknown   | ends
previous, before, current used | spends alone       | good     | good     | refused   | taken    | rotates  | unknown  | unknown   | ends

session                        | Authenticate, Hold | Peek     | Renew    | Delegate  | Rotate   | Rotate 0 | Refresh  | Peek pair | ExpireBearer, Expire pair
access, current                | marks              | good     | refuses  | delegates | refuses  | refuses  | unknown  | unknown   | ends
access, previous, before       | good               | good     | refuses  | delegates | refuses  | refuses  | unknown  | unknown   | ends
access, previous, at           | replaced           | replaced | replaced | replaced  | refuses  | refuses  | unknown  | unknown   | ends
access, previous, after        | replaced           | replaced | replaced | replaced  | refuses  | refuses  | unknown  | unknown   | ends
access, spent                  | replaced           | replaced | replaced | replaced  | refuses  | refuses  | unknown  | unknown   | ends
access, spent, the first       | replaced           | replaced | replaced | replaced  | refuses  | refuses  | unknown  | unknown   | ends
access, ahead                  | ahead              | ahead    | ahead    | ahead     | ahead    | ahead    | unknown  | unknown   | ahead
any other                      | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | unknown   | unknown

refresh                        | Authenticate, Hold | Peek     | Renew    | Delegate  | Rotate   | Rotate 0 | Refresh  | Peek pair | ExpireBearer | Expire pair
current                        | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | rotates  | good      | unknown      | ends
previous, before               | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | again    | good      | unknown      | ends
previous, at                   | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | reused   | replaced  | unknown      | ends reused
previous, after                | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | reused   | replaced  | unknown      | ends reused
spent                          | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | reused   | replaced  | unknown      | ends reused
spent, the first               | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | reused   | replaced  | unknown      | ends reused
ahead                          | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | ahead    | ahead     | unknown      | ahead
any other                      | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | unknown   | unknown      | unknown

plain, dead                    | Authenticate, Hold | Peek     | Renew    | Delegate  | Rotate   | Rotate 0 | Refresh  | Peek pair | ExpireBearer, Expire pair
current, used                  | revoked            | revoked  | revoked  | revoked   | revoked  | revoked  | unknown  | unknown   | good
previous, before               | revoked            | revoked  | revoked  | revoked   | revoked  | revoked  | unknown  | unknown   | good
spent                          | replaced           | replaced | replaced | replaced  | replaced | replaced | unknown  | unknown   | replaced
ahead                          | ahead              | ahead    | ahead    | ahead     | ahead    | ahead    | unknown  | unknown   | ahead
any other                      | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | unknown  | unknown   | unknown

session, dead                  | Authenticate, Hold | Peek     | Renew    | Delegate  | Rotate   | Rotate 0 | Refresh  | Peek pair | ExpireBearer, Expire pair
access, current                | revoked            | revoked  | revoked  | revoked   | refuses  | refuses  | unknown  | unknown   | good
access, previous, before       | revoked            | revoked  | revoked  | revoked   | refuses  | refuses  | unknown  | unknown   | good
access, spent                  | replaced           | replaced | replaced | replaced  | refuses  | refuses  | unknown  | unknown   | good

refresh, dead                  | Authenticate, Hold | Peek     | Renew    | Delegate  | Rotate   | Rotate 0 | Refresh  | Peek pair | ExpireBearer | Expire pair
current                        | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | revoked  | revoked   | unknown      | good
previous, before               | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | revoked  | revoked   | unknown      | good
spent                          | unknown            | unknown  | unknown  | unknown   | unknown  | unknown  | was      | replaced  | unknown      | is told
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
		"refused":      {ErrNotDelegable, nil, nil},
		"refuses":      {ErrNotRenewable, nil, nil},
		"rotates":      {nil, []EventKind{EventRotated}, (*textScene).replaced},
		"again":        {},
		"taken":        {ErrRotated, nil, nil},
		"replaced":     {ErrReplaced, spent, nil},
		"unknown":      {ErrUnknown, rejected, nil},
		"revoked":      {ErrRevoked, rejected, nil},
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
	state, was, err := rotatedOf(r)
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
func (w *textWorld) play(kind string, row *textRow, verb *textVerb, word string, dead bool) error {
	ctx := context.Background()
	s := w.scene(kind, !row.unused)
	text := row.text(s)
	if dead {
		_, err := s.m.Expire(ctx, s.id)
		s.need(err)
	}
	s.wait(row.wait)
	s.presents, s.overlap = row.stands, verb.overlap
	before := s.records(s.subject)
	s.events()
	texts, err := verb.do(ctx, s, text)
	told := s.events()
	want, known := effects()[word]
	if !known {
		return fmt.Errorf("%q is no word of the table", word)
	}
	if !errors.Is(err, want.err) || (err == nil) != (want.err == nil) {
		return fmt.Errorf("the answer is %v; want %v", err, want.err)
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
	ctx := context.Background()
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
				if err := w.play(kind, &row, &verb, c.word, strings.HasSuffix(c.section, "dead")); err != nil {
					wrong = append(wrong, fmt.Sprintf("%s (%s): %s: %s: want %q: %v", c.section, kind, row.name, c.verb, c.word, err))
				}
			}
		}
	}
	return played, wrong
}

// TestWhatEachTextDoes is the table: what each verb answers, what the record is then,
// byte for byte, and what is told.
func TestWhatEachTextDoes(t *testing.T) {
	race.Alone(t)
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
