package main

import (
	"encoding/base64"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// secrets are the parts of texts and records that no output may have.
type secrets []string

// add adds the secret of text, a bearer: every 16 characters of it in a row.
func (s *secrets) add(text string) {
	run := text[strings.LastIndex(text, "_")+1:]
	for i := storage.IDLen; i+16 <= len(run); i++ {
		*s = append(*s, run[i:i+16])
	}
}

// addRecords adds the digests and the sealed texts of the records in store.
func (s *secrets) addRecords(t testing.TB, store storage.Store) {
	for rec, err := range store.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		sum := rec.Digest.Sum()
		for _, b := range [][]byte{sum[:], []byte(rec.Sealed.Text())} {
			if len(b) >= 32 {
				b = b[:32] // of a sealed text, for any encoding of all of it begins with that of its beginning
				*s = append(*s, string(b), hex.EncodeToString(b), base64.RawStdEncoding.EncodeToString(b)[:40], base64.RawURLEncoding.EncodeToString(b)[:40])
			}
		}
	}
}

// in reports whether text has one of s.
func (s secrets) in(text string) bool {
	for _, secret := range s {
		if strings.Contains(text, secret) {
			return true
		}
	}
	return false
}

// grammar returns the verbs of the command, without those that do not end or that write outside the store.
func grammar(t *testing.T) (root *kong.Node, verbs []*kong.Node) {
	parser, err := kong.New(&cli{}, kong.Vars{"version": ""}, kong.TypeMapper(kindOfSpan, spans), kong.ExplicitGroups(groups))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range parser.Model.Leaves(true) {
		if verb.Name != "completions" && verb.Name != "watch" {
			verbs = append(verbs, verb)
		}
	}
	return parser.Model.Node, verbs
}

// fitting returns the positional arguments of verb: id, or a subject.
func fitting(verb *kong.Node, id lapse.ID) []string {
	args := []string{verb.Name}
	for _, p := range verb.Positional {
		if takesText(p) {
			args = append(args, "ana")
		} else {
			args = append(args, id.String())
		}
	}
	return args
}

// takesText reports whether v may be any text, which a record or a file may then have.
func takesText(v *kong.Value) bool {
	kind := v.Target.Type()
	if kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice {
		kind = kind.Elem()
	}
	return kind.Kind() == reflect.String
}

// misplaced returns the commands that have text where verb takes something else: in the place of each
// argument, of each flag, as one argument more, and as an unknown flag.
func misplaced(root, verb *kong.Node, id lapse.ID, text string, cut bool) (commands [][]string) {
	good := fitting(verb, id)
	for i, p := range verb.Positional {
		if cut && takesText(p) {
			continue
		}
		args := append([]string(nil), good...)
		args[i+1] = text
		commands = append(commands, args)
	}
	for _, f := range append(append([]*kong.Flag(nil), root.Flags...), verb.Flags...) {
		if f.IsBool() || f.Name == "help" || cut && takesText(f.Value) && f.Group == nil {
			continue
		}
		commands = append(commands, append(append([]string(nil), good...), "--"+f.Name, text))
	}
	return append(commands, append(good, text), append(good[:len(good):len(good)], "--"+text), []string{text})
}

// TestNoSecrets puts texts of tokens, whole, mistyped and cut, where they do not belong, into every verb that
// the grammar has.
func TestNoSecrets(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		t.Chdir(t.TempDir())
		id, kept, rotated := w.leaky()
		root, verbs := grammar(t)
		for _, verb := range verbs {
			for _, flags := range [][]string{nil, {"--json"}} {
				w.leaksNothing(kept, rotated, append(fitting(verb, id), flags...))
				whole, cut := rotated, rotated[:len(rotated)-12]
				for _, args := range misplaced(root, verb, id, whole, false) {
					w.leaksNothing(kept, "", append(args, flags...)).wants(t, exitUsage)
				}
				for _, args := range misplaced(root, verb, id, mistyped(whole), false) {
					w.leaksNothing(kept, "", append(args, flags...)).wants(t, exitUsage)
				}
				for _, args := range misplaced(root, verb, id, cut, true) {
					w.leaksNothing(kept, mistyped(whole), append(args, flags...))
				}
			}
		}
	})
}

// leaky issues tokens of every kind, and returns the ID of one, the secrets of all, and a good text of another.
func (w *world) leaky() (id lapse.ID, kept secrets, rotated string) {
	w.t.Helper()
	plain := w.issue(lapse.Grant{Subject: "ana", MaxUses: 5})
	r, err := w.users.RotateID(w.t.Context(), w.issue(lapse.Grant{Subject: "bob"}).Token.ID, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	pair, err := w.pairs.Issue(w.t.Context(), lapse.Grant{Subject: "bob"})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, text := range []string{plain.Bearer, r.Bearer, pair.Access.Bearer, pair.Refresh.Bearer} {
		kept.add(text)
	}
	kept.addRecords(w.t, w.store)
	if !kept.in("x"+r.Bearer) || !kept.in(pair.Access.Bearer[30:]) || kept.in(r.Token.ID.String()) {
		w.t.Fatal("secrets are not recognised")
	}
	return plain.Token.ID, kept, r.Bearer
}

// leaksNothing runs the command, and fails the test if it prints one of kept.
func (w *world) leaksNothing(kept secrets, input string, args []string) answer {
	w.t.Helper()
	got := w.lapse(input, args...)
	if kept.in(got.stdout) || kept.in(got.stderr) {
		w.t.Errorf("%s with %d arguments printed a secret", args[0], len(args))
	}
	return got
}

// TestNoSecretsOfEnvironment: errors about the variables of the environment do not repeat secrets in them.
func TestNoSecretsOfEnvironment(t *testing.T) {
	text := inMemory(t).issue(lapse.Grant{Subject: "ana"}).Bearer
	var kept secrets
	kept.add(text)
	kept = append(kept, "hunter2")
	for name, values := range map[string][]string{
		"LAPSE_FILE":   {text, text[:60]},
		"LAPSE_SOCKET": {text, text[:60]},
		"LAPSE_PREFIX": {text, text[:60]},
		"LAPSE_SCHEMA": {text, text[:60]},
		"LAPSE_DSN": {text, "postgres://u:hunter2@127.0.0.1:1/x", "postgres://u:hunter2@127.0.0.1:x/x", "postgres://u:hunter2%zz@127.0.0.1:1/x",
			"host=127.0.0.1 port=1 password=hunter2", "host=127.0.0.1 port=x password=hunter2", "host=127.0.0.1 port=1 password='hunter2", "password = hunter2 port=x"},
	} {
		for _, value := range values {
			t.Run(name, func(t *testing.T) {
				t.Chdir(t.TempDir())
				if name == "LAPSE_PREFIX" || name == "LAPSE_SCHEMA" {
					t.Setenv("LAPSE_DSN", "host=127.0.0.1 port=1 sslmode=disable")
				}
				t.Setenv(name, value)
				for _, verb := range []string{"ls", "verify"} {
					got := lapseAt(t, nil, text, verb)
					if got.code == 0 || got.stderr == "" || kept.in(got.stdout+got.stderr) {
						t.Errorf("%s of a value of %d bytes: exit %d, or a secret is printed", verb, len(value), got.code)
					}
				}
			})
		}
	}
}

func TestHidden(t *testing.T) {
	id, text := lapse.ID{1}.String(), inMemory(t).issue(lapse.Grant{Subject: "ana"}).Bearer
	letters := strings.Repeat("aB", 19) + "c"
	for in, want := range map[string]string{
		"no token " + id:               "no token " + id,
		"a " + text + ".":              "a lapse_[72 characters].",
		letters:                        letters,
		letters + "b":                  "[40 characters]",
		letters[:22] + "1":             letters[:22] + "1",
		strings.Repeat("a1", 32):       strings.Repeat("a1", 32),
		letters[:23] + "1 and " + text: "[24 characters] and lapse_[72 characters]",
	} {
		if got := hidden(in); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestRefuseSecrets(t *testing.T) {
	run := strings.Repeat("aB1", 27)
	for arg, refused := range map[string]bool{
		"lapse_" + run[:59]:                     false,
		"lapse_" + run[:60]:                     true,
		"lapse_" + run[:80]:                     true,
		"lapse_" + run[:81]:                     false,
		"--name=web_refresh_" + run[:72] + "\n": true,
		"postgres://u:lapse_" + run[:72] + "@h": true,
		run[:72]:                                false,
		"user_" + strings.Repeat("0a", 32):      false, // a hash
		"USER_" + strings.Repeat("0A", 32):      false,
		"user_" + strings.Repeat("aB", 36):      false,
	} {
		if err := refuseSecrets([]string{"ls", arg}); (exitCode(err) == exitUsage) != refused {
			t.Errorf("%q: %v", arg, err)
		}
	}
}
