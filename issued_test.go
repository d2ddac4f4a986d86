package lapse

import (
	"bytes"
	"context"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	htmltemplate "html/template"
	"log"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestSearchFindsWhatLeaks: it would find each secret in each form, or the other
// tests of this file mean nothing.
func TestSearchFindsWhatLeaks(t *testing.T) {
	c := credentialOf(11)
	bearer := c.Text("lapse")
	s := secretsOf(bearer)
	type open struct{ Secret any }
	sum, refreshing := c.Sum(newBinding("lapse")), c.Sum(newRefreshBinding("lapse"))
	r := rotationState{key: tagKey([]byte("the key of tags!")), salt: [saltLen]byte([]byte("what it is from."))}
	s.addRecord(&storage.Record{Sealed: r.seal()})
	for name, planted := range map[string]any{
		"bearer": bearer, "bearer in bytes": []byte(bearer), "digits of the secret": bearer[28:72], "tail": bearer[66:],
		"raw secret": c[idLen:], "raw secret, array": [32]byte(c[idLen:]), "raw secret, text": string(c[idLen:]),
		"half of it": c[idLen+16:], "credential": [48]byte(*c), "digest": sum, "digest in bytes": sum[:], "digest, text": string(sum[:]),
		"digest of a refresh text": refreshing[:], "key of tags": r.key, "salt": r.salt[:], "sealed": r.seal().Text(),
	} {
		for i, v := range []any{planted, open{planted}, []open{{planted}}, map[string]any{"k": planted}} {
			outputs(func(printer, output string) {
				if strings.HasSuffix(printer, "T") || strings.HasSuffix(printer, "as a width") || printer == "XML's error" || i > 0 && strings.HasPrefix(printer, "gob") {
					return // a type, a complaint, or that gob knows no type for any
				}
				if len(s.leaks(output)) == 0 {
					t.Errorf("%s by %s is not found in %.300q", name, printer, output)
				}
			}, v)
		}
	}
	for _, encoded := range []string{
		fmt.Sprintf("%x", sum), fmt.Sprintf("%X", c[:]), base64.StdEncoding.EncodeToString(c[:]), base64.RawURLEncoding.EncodeToString(sum[:]),
		base64.StdEncoding.EncodeToString([]byte(bearer)), base64.URLEncoding.EncodeToString([]byte("Bearer " + bearer)),
		"..." + bearer[len(bearer)-10:], bearer[:45],
	} {
		if len(s.leaks("before "+encoded+" after")) == 0 {
			t.Errorf("%s is not found", encoded)
		}
	}
	if found := s.leaks(c.ID().String() + " lapse_ " + fmt.Sprint(c[:idLen]) + fmt.Sprintf("%x", c[:idLen])); found != nil {
		t.Errorf("the ID, which every reader may see, counts as %v", found)
	}
}

// holders are values of every exported type of lapse and storage that is near a
// secret, in every shape: of a token, of one whose secret was replaced, of one that was
// obtained, and of a session that was refreshed. With them come all of their secrets.
func holders(t *testing.T) (map[string]map[string]any, secrets) {
	t.Helper()
	ctx, store, all := t.Context(), newTallyStore(), newSecrets()
	var told []Event
	material := bytes.Repeat([]byte("key!"), 8)
	cfg := Config{Policy: Policy{MaxTokens: 3, AtLimit: LimitEndOldest}, Keys: hushKeys([][]byte{material}), Foreign: notForeign, Observe: func(_ context.Context, e Event) { told = append(told, e) }}
	m, mock := managerOver(t, store, cfg)
	cfg.Policy.MaxTokens, cfg.Clock = 0, mock
	pairs := made(NewPairs(store, PairConfig{Access: cfg}))
	issueTo(t, m, Grant{Subject: "ana"})
	issued := issueTo(t, m, Grant{Subject: "ana", Name: "laptop", Scope: "read", Data: "data"})
	first := issueTo(t, m, Grant{Subject: "ana"})
	rotated := made(m.Rotate(ctx, first.Bearer, time.Minute))
	obtained := made(m.Obtain(ctx, Grant{Subject: "ana"}))
	login := made(pairs.Issue(ctx, Grant{Subject: "ana", Scope: "read"}))
	refreshed := made(pairs.Refresh(ctx, login.Refresh.Bearer))
	if len(told) < 7 {
		t.Fatalf("%d events", len(told))
	}
	all.addLong("key", material)
	values := map[string]map[string]any{
		"Issued": shapes(issued), "Token": shapes(issued.Token), "rotated": {"value": rotated, "pointer": &rotated},
		"session": {"value": refreshed.Access.Issued, "slice": []Issued{refreshed.Access.Issued}}, "Event": shapes(told[len(told)-1]), "events": {"slice": told}, "Config": shapes(cfg),
		"PairConfig": shapes(PairConfig{Access: cfg, Refresh: cfg}), "Pairs": {"pointer": pairs, "any": []any{pairs}},
		"Manager": {"pointer": m, "any": []any{m}},
	}
	r := &Rejection{Err: ErrReused, ID: issued.ID, Subject: "ana", Generation: 1, At: testInstant, Reason: EndReused}
	values["Rejection"], values["error"] = shapes(*r), shapes(error(r))
	for name, i := range map[string]Issued{"a token": issued, "a rotated token": rotated, "an obtained token": obtained, "a session": refreshed.Refresh.Issued} {
		rec := made(store.Get(ctx, i.ID))
		all.addRecord(&rec)
		values["storage.Record of "+name] = map[string]any{"value": rec, "pointer": &rec}
		values["storage.Digest"], values["storage.Sealed"] = shapes(rec.Digest), shapes(rec.Sealed)
	}
	values["storage.Record"] = shapes(made(store.Get(ctx, refreshed.Access.ID)))
	for _, bearer := range []string{issued.Bearer, first.Bearer, rotated.Bearer, obtained.Bearer, login.Access.Bearer, login.Refresh.Bearer, refreshed.Access.Bearer, refreshed.Refresh.Bearer} {
		all.merge(secretsOf(bearer))
	}
	return values, all
}

// made returns v: err can only be a mistake of the test.
func made[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// shownBy returns which printers show a secret in v, the shortest name first.
func (s secrets) shownBy(v any) (printers []string) {
	outputs(func(printer, output string) {
		if s.leaks(output) != nil {
			printers = append(printers, printer)
		}
	}, v)
	slices.SortFunc(printers, func(a, b string) int { return len(a) - len(b) })
	return printers
}

// TestConfigIsPrintedByFunction: a Config prints of each of its functions whether it is set, and no address.
func TestConfigIsPrintedByFunction(t *testing.T) {
	observe, admit := func(context.Context, Event) {}, func(context.Context, Token) error { return nil }
	for _, row := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, " Admit:false Observe:false Foreign:false "},
		{Config{Foreign: notForeign}, " Admit:false Observe:false Foreign:true "},
		{Config{Admit: admit, Observe: observe}, " Admit:true Observe:true Foreign:false "},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(verb, row.cfg); !strings.Contains(got, row.want) || strings.Contains(got, "0x") {
				t.Errorf("%s: %s; want %s", verb, got, row.want)
			}
		}
		if got := fmt.Sprintf("%+v", row.cfg.LogValue().Any()); !strings.Contains(got, row.want) {
			t.Errorf("LogValue: %s; want %s", got, row.want)
		}
	}
}

// TestNothingSecretIsPrinted, whatever is printed how.
func TestNothingSecretIsPrinted(t *testing.T) {
	race.Alone(t)
	values, s := holders(t)
	for name, shapes := range values {
		t.Run(name, func(t *testing.T) {
			for n, shape := range slices.Sorted(maps.Keys(shapes)) {
				if !sample.Every(3, n+len(name)) {
					continue
				}
				if printers := s.shownBy(shapes[shape]); len(printers) > 0 {
					t.Errorf("%s: secrets are shown by %s and %d more", shape, printers[0], len(printers)-1)
				}
			}
		})
	}
}

// TestStorePrints: a store that is printed by accident shows no digests.
func TestStorePrints(t *testing.T) {
	store := memory.New()
	m, _ := managerOver(t, store, Config{})
	s := secretsOf(issueTo(t, m, Grant{Subject: "ana"}).Bearer)
	for name, v := range map[string]any{"pointer": store, "any": []any{store}, "in a struct": struct{ Store storage.Store }{store}} {
		if printers := s.shownBy(v); len(printers) > 0 {
			t.Errorf("%s: digests are shown by %s and %d more", name, printers[0], len(printers)-1)
		}
	}
}

// TestIssuedResolves: a handler of another package, which neither formats nor
// marshals, is handed no Bearer either.
func TestIssuedResolves(t *testing.T) {
	m, _ := managerOver(t, memory.New(), Config{})
	issued := issueTo(t, m, Grant{Subject: "ana"})
	v := slog.AnyValue(issued).Resolve().Any()
	if fmt.Sprintf("%#v", v) == fmt.Sprintf("%#v", struct{}{}) {
		t.Errorf("it resolves to nothing: %v", v)
	}
	for _, text := range []string{fmt.Sprintf("%p", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%+v", v)} {
		if found := secretsOf(issued.Bearer).leaks(text); found != nil {
			t.Errorf("it resolves to a %T, which holds the %s", v, found[0])
		}
	}
}

// said collects every error and event that a scene brings about, in all the ways
// in which a program may log them.
type said struct {
	texts  []string
	errors int
}

func (s *said) err(err error) {
	if err == nil {
		return
	}
	s.errors++
	for e := err; e != nil; e = errors.Unwrap(e) {
		s.texts = append(s.texts, e.Error())
	}
	var r *Rejection
	if errors.As(err, &r) {
		s.value(*r)
	}
	s.value(err)
	s.value(fmt.Errorf("handler: %w", err))
}

func (s *said) value(v any) {
	s.texts = append(s.texts, fmt.Sprintf("%v %+v %#v %s %q %x %d", v, v, v, v, v, v, v))
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Error("failed", "value", v)
	slog.New(slog.NewTextHandler(&b, nil)).Error("failed", "value", v)
	s.texts = append(s.texts, b.String())
}

// speaking is a causeScene that tells the observer's events to what is returned.
func speaking(t *testing.T) (*causeScene, *said) {
	scene, heard := newCauseScene(t), &said{}
	scene.observe = func(_ context.Context, e Event) {
		heard.value(e)
		heard.err(e.Err)
	}
	return scene, heard
}

// every returns what every verb says to text, and to the scene's subject and ID.
func (s *causeScene) every(t *testing.T, heard *said, text string) {
	for _, err := range bearerVerbs(t.Context(), s.Manager, text) {
		heard.err(err)
	}
	_, err := s.Issue(t.Context(), Grant{Subject: "ana"})
	heard.err(err)
	_, err = s.Token(t.Context(), s.issued.ID)
	heard.err(err)
	for tok, err := range s.List(t.Context(), Query{Subject: "ana"}) {
		heard.value(tok)
		heard.err(err)
	}
	for tok, err := range s.List(t.Context(), Query{Within: time.Hour}) {
		heard.value(tok)
		heard.err(err)
	}
	_, err = Login(t.Context(), s.Manager, text, Grant{}, VerifierFunc[string](func(context.Context, string) (string, error) { return "", ErrBadCredentials }))
	heard.err(err)
	_, err = s.Sweep(t.Context())
	heard.err(err)
	_, err = s.Expire(t.Context(), s.issued.ID)
	heard.err(err)
	_, err = s.ExpireSubject(t.Context(), "ana")
	heard.err(err)
}

// quiet reports what of the scene's secret, or of another one, was said.
func (s *causeScene) quiet(t *testing.T, heard *said, want int, more ...string) {
	t.Helper()
	if heard.errors < want {
		t.Errorf("heard %d errors, want %d at least, or nothing is tested", heard.errors, want)
	}
	for _, bearer := range append(more, s.issued.Bearer) {
		secrets := secretsOf(bearer)
		for _, text := range heard.texts {
			if found := secrets.leaks(text); found != nil {
				t.Errorf("the %s is said in %.400q", found[0], text)
				break
			}
		}
	}
}

// TestNoErrorTellsASecret: every verb, on every token that is no good and on
// every failure of the store.
func TestNoErrorTellsASecret(t *testing.T) {
	race.Alone(t)
	t.Run("malformed", func(t *testing.T) {
		s, heard := speaking(t)
		misses := nearMisses(s.issued.Bearer)
		for n, name := range slices.Sorted(maps.Keys(misses)) {
			if !sample.Every(5, n) {
				continue
			}
			for _, err := range bearerVerbs(t.Context(), s.Manager, misses[name]) {
				heard.err(err)
			}
		}
		s.quiet(t, heard, sample.Of(500, 100))
	})
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			s, heard := speaking(t)
			wrong, own := s.withOtherSecret().Text("lapse"), s.issued.Bearer
			heard.err(tt.do(t, s))
			s.every(t, heard, wrong)
			s.every(t, heard, own)
			s.every(t, heard, own)
			s.quiet(t, heard, 8, wrong)
		})
	}
	for k, kind := range []error{ErrNotFound, ErrConflict, ErrUnavailable, ErrOutcomeUnknown, ErrClosed, ErrCorrupt, ErrLocked,
		context.Canceled, context.DeadlineExceeded, errOwnDisk} {
		for n, method := range []string{"Get", "Touch", "Update", "List", "Sweep", "all"} {
			if !sample.Every(3, k+n) {
				continue
			}
			t.Run(kind.Error()+" by "+method, func(t *testing.T) {
				s, heard := speaking(t)
				s.clock.Set(after(time.Minute)) // so that a renewal is due
				if method == "all" {
					s.failing(kind)
				}
				s.store.fails[method] = kind
				s.every(t, heard, s.issued.Bearer)
				s.quiet(t, heard, 1)
			})
		}
	}
}

// TestNoMistakeRepeatsASecret: who puts a token where something else belongs does
// not find it in a log.
func TestNoMistakeRepeatsASecret(t *testing.T) {
	s, heard := speaking(t)
	bearer := s.issued.Bearer
	secret := bearer[len("lapse_")+22:] // without the ID
	_, err := ParseID(bearer)
	heard.err(err)
	var id ID
	heard.err(id.UnmarshalText([]byte(secret)))
	for _, g := range []Grant{
		{Subject: bearer + "\n"}, {Subject: "ana", Name: bearer + "\xff"}, {Subject: "ana", Scope: bearer + "  "},
		{Subject: "ana", Data: fmt.Sprintf("%s%5000s", bearer, "")},
	} {
		_, err := s.Issue(t.Context(), g)
		heard.err(err)
	}
	_, err = s.ExpireSubject(t.Context(), bearer+"\x00")
	heard.err(err)
	for _, err := range s.List(t.Context(), Query{Subject: bearer + "\x00"}) {
		heard.err(err)
	}
	s.quiet(t, heard, 8)

	t.Run("Prefix", func(t *testing.T) {
		heard := &said{}
		_, err := New(s.store, Config{Prefix: bearer})
		heard.err(err)
		s.quiet(t, heard, 1)
	})
}

// TestNoSecretIsStored: what a store is given holds the digest, and nothing from
// which the text could be made.
func TestNoSecretIsStored(t *testing.T) {
	s, _ := speaking(t)
	rec, err := s.store.Get(t.Context(), s.issued.ID)
	if err != nil {
		t.Fatal(err)
	}
	sum := rec.Digest.Sum()
	raw := fmt.Sprintf("%s%s%s%s%s%s", rec.Prefix, rec.Subject, rec.Name, rec.Scope, rec.Data, sum[:])
	for _, found := range secretsOf(s.issued.Bearer).leaks(raw) {
		if len(found) < 6 || found[:6] != "digest" {
			t.Errorf("the record holds the %s", found)
		}
	}
	if rec.Digest.Algorithm() != storage.SHA256 || rec.Digest.Equal((&credential{}).Digest(s.binding)) {
		t.Errorf("the digest is of algorithm %d", rec.Digest.Algorithm())
	}
	if !rec.Digest.Equal(s.credential().Digest(s.binding)) {
		t.Error("the digest is not that of the bearer")
	}
}

type (
	hushOpen[T any]   struct{ F T }
	hushClosed[T any] struct{ f T }
)

// hushNest puts v into everything that a printer may find it in.
func hushNest[T any](v T) map[string]any {
	p := &v
	return map[string]any{
		"T": v, "*T": p, "**T": &p, "[]T": []T{v}, "[]*T": []*T{p}, "[1]T": [1]T{v}, "[1]*T": [1]*T{p},
		"map[string]T": map[string]T{"k": v}, "map[string]*T": map[string]*T{"k": p}, "map[string]any{T}": map[string]any{"k": v}, "map[string]any{*T}": map[string]any{"k": p},
		"[]any{T}": []any{v}, "[]any{*T}": []any{p}, "[]any{**T}": []any{&p}, "[]any{[]any{*T}}": []any{[]any{p}},
		"struct{F T}": hushOpen[T]{v}, "struct{F *T}": hushOpen[*T]{p}, "struct{F any}{T}": hushOpen[any]{v}, "struct{F any}{*T}": hushOpen[any]{p},
		"*struct{F T}": &hushOpen[T]{v}, "[]any{*struct{F T}}": []any{&hushOpen[T]{v}}, "map[string]any{*struct{F T}}": map[string]any{"k": &hushOpen[T]{v}},
		"struct{f T}": hushClosed[T]{v}, "struct{f *T}": hushClosed[*T]{p}, "struct{f any}{T}": hushClosed[any]{v}, "struct{f any}{*T}": hushClosed[any]{p},
		"*struct{f T}": &hushClosed[T]{v}, "*struct{f *T}": &hushClosed[*T]{p}, "[]any{*struct{f T}}": []any{&hushClosed[T]{v}}, "map[string]any{*struct{f T}}": map[string]any{"k": &hushClosed[T]{v}},
		"struct{f []T}": hushClosed[[]T]{[]T{v}}, "struct{f []any}{*T}": hushClosed[[]any]{[]any{p}}, "struct{F []any}{*T}": hushOpen[[]any]{[]any{p}},
	}
}

// hushOutputs is outputs with the printers that TestNothingSecretIsPrinted leaves out.
func hushOutputs(yield func(name, output string), v any) {
	outputs(yield, v)
	for _, verb := range []string{"%p", "%#p", "%w"} {
		yield("fmt "+verb, fmt.Sprintf(verb, v))
	}
	var b bytes.Buffer
	log.New(&b, "", 0).Print(v)
	yield("log", b.String())
	for name, text := range map[string]string{"": "{{.}}{{println .}}{{print . .}}", " printf": `{{printf "%v" .}}`, " range": "{{range .}}{{.}}{{end}}"} {
		var b bytes.Buffer
		if err := template.Must(template.New("").Parse(text)).Execute(&b, v); err != nil {
			b.WriteString(err.Error())
		}
		yield("text/template"+name, b.String())
	}
	for name, text := range map[string]string{"": "{{.}}<a href='{{.}}'>", " script": "<script>{{.}}</script><a onclick='{{.}}'>"} {
		var b bytes.Buffer
		if err := htmltemplate.Must(htmltemplate.New("").Parse(text)).Execute(&b, v); err != nil {
			b.WriteString(err.Error())
		}
		yield("html/template"+name, b.String())
	}
	if der, err := asn1.Marshal(v); err != nil {
		yield("ASN.1's error", err.Error())
	} else {
		yield("ASN.1", string(der))
	}
	b.Reset()
	if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
		yield("encoding/binary's error", err.Error())
	}
	yield("encoding/binary", b.String())
}

// hushClass says of what class a printer is: "encoder"; "v" for fmt with a verb that
// pointers have, and all that prints by %v; "s" for fmt with a verb that they have not; and
// "p", "w" and "range", of which each is a class by itself.
func hushClass(printer string) string {
	verb, isVerb := strings.CutPrefix(printer, "fmt %")
	switch last := verb[len(verb)-1:]; {
	case isVerb && (last == "p" || last == "w"):
		return last
	case isVerb && strings.Contains("vxXdob", last):
		return "v"
	case isVerb:
		return "s"
	case strings.HasSuffix(printer, " range"):
		return "range"
	case strings.HasPrefix(printer, "fmt"), printer == "log", printer == "slog text", strings.HasPrefix(printer, "text/template"), printer == "html/template":
		return "v"
	}
	return "encoder"
}

// hushShown returns by which classes of printers a secret in v is shown.
func hushShown(s secrets, v any) string {
	classes := map[string]bool{}
	hushOutputs(func(printer, output string) {
		if class := hushClass(printer); !classes[class] && s.leaks(output) != nil {
			classes[class] = true
		}
	}, v)
	return strings.Join(slices.Sorted(maps.Keys(classes)), " ")
}

// hushRemainder is what fmt cannot be kept from where it finds a bearer text, as the
// comments of Issued and TokenPair say it: each nest of hushNest that is not empty, with the
// classes of printers that show the text in it.
var hushRemainder = map[string]string{
	// under %w outside of Errorf and %p of what is no pointer, which go vet reports
	"T": "p w", "struct{T}": "p w", "[1]T": "p w", "struct{F T}": "p w", "struct{F any}{T}": "p w",
	"*T": "w", "[]T": "w", "map[string]T": "w", "[]any{T}": "w", "map[string]any{T}": "w", "*struct{F T}": "w",

	// in an unexported field, whose methods fmt may not call
	"struct{f T}": "p range s v w", "struct{f any}{T}": "p range s v w", "struct{f []T}": "p range s v w", "*struct{f T}": "range s v w",

	// in what a nested pointer points to, under a verb that pointers have not
	"[]any{*struct{F T}}": "s", "map[string]any{*struct{F T}}": "s",
	"struct{f *T}": "s", "*struct{f *T}": "s", "struct{f any}{*T}": "s", "struct{f []any}{*T}": "s",

	// both
	"[]any{*struct{f T}}": "range s", "map[string]any{*struct{f T}}": "range s",
}

// hushHarmless are the exported types that no value of a secret can be reached from, and Foreign,
// which only callers make.
const hushHarmless = "Token ID Thumbprint Kind EndReason Actor Clock ClockGuard EventKind LogOptions Stats StatKey Verb Grant Verifier VerifierFunc Policy Renewal AtLimit Marker Mark Marks Use Filter Store Tx Watcher Change Step StepKind TokenType Seconds MarkSharer BatchGetter Foreign Changes Pager Query Held IDUpdater Fitter Cacher Timekeeper Settings DeviceConfig DeviceRequest"

// hushExported returns the names of the exported types of a directory's package.
func hushExported(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.IsExported() {
				names = append(names, spec.Name.Name)
			}
			return true
		})
	}
	return names
}

// hushValues returns a value of each exported type that is near a secret, in every nest,
// with the secrets: of a plain token, of one that was obtained and rotated, and of a session.
func hushValues(t *testing.T) (map[string]map[string]any, secrets) {
	ctx, store, all, material := t.Context(), memory.New(), newSecrets(), randomKey(7)
	var told []Event
	cfg := Config{Keys: []Key{NewKey(material)}, Foreign: notForeign, Observe: func(_ context.Context, e Event) { told = append(told, e) }}
	m, mock := managerOver(t, store, cfg)
	cfg.Clock = mock
	pairCfg := PairConfig{Access: cfg, Refresh: Config{Keys: cfg.Keys}}
	pairs := made(NewPairs(store, pairCfg))
	first := made(m.Obtain(ctx, Grant{Subject: "ana"}))
	issued := made(m.Rotate(ctx, first.Bearer, time.Minute))
	login := made(pairs.Issue(ctx, Grant{Subject: "ana", Scope: "read"}))
	pair := made(pairs.Refresh(ctx, login.Refresh.Bearer))
	devices := made(NewDeviceLogin(pairs, DeviceConfig{}))
	code := made(devices.Begin(ctx, DeviceRequest{}))
	hold := made(m.Hold(ctx, issued.Bearer))
	t.Cleanup(hold.Release)
	_, unknown := m.Authenticate(ctx, login.Refresh.Bearer)
	_, reused := pairs.Peek(ctx, first.Bearer)
	var rejection *Rejection
	if !errors.As(unknown, &rejection) || reused == nil {
		t.Fatal(unknown, reused)
	}
	file := made(bolt.Open(filepath.Join(t.TempDir(), "tokens.db"), nil))
	t.Cleanup(func() { file.Close() })
	plain, session := made(store.Get(ctx, issued.ID)), made(store.Get(ctx, pair.Access.ID))
	for _, rec := range []storage.Record{plain, session} {
		if err := file.Update(ctx, "ana", func(tx storage.Tx) error { return tx.Put(rec) }); err != nil {
			t.Fatal(err)
		}
	}
	all.addLong("key", material)
	all.addRecord(&plain)
	all.addRecord(&session)
	for _, bearer := range []string{first.Bearer, issued.Bearer, login.Access.Bearer, login.Refresh.Bearer, pair.Access.Bearer, pair.Refresh.Bearer, code.Code} {
		all.merge(secretsOf(bearer))
	}
	values := map[string]map[string]any{
		"Found":  hushNest(foundIn(t, issued.Bearer)[0]),
		"Issued": hushNest(issued), "TokenPair": hushNest(pair), "IssuedText": hushNest(pair.Access), "Config": hushNest(cfg), "PairConfig": hushNest(pairCfg), "Key": hushNest(cfg.Keys[0]),
		"Manager": hushNest(m), "Pairs": hushNest(pairs), "DeviceLogin": hushNest(devices), "DeviceCode": hushNest(code), "Hold": hushNest(hold), "Event": hushNest(told[len(told)-1]), "Rejection": hushNest(*rejection),
		"GrantError": hushNest(*invalidGrant("Scope", "wrong")), "ScopeError": hushNest(*missingScope([]string{issued.Bearer})),
		"Record": hushNest(session), "Record, plain": hushNest(plain), "Digest": hushNest(session.Digest), "Sealed": hushNest(session.Sealed), "Sealed, plain": hushNest(plain.Sealed),
		"memory.Store": hushNest(store), "bolt.Store": hushNest(file), "hushPlanted": hushNest(hushPlanted{plain.Digest.Sum(), material, session.Sealed.Text()}),
	}
	values["Found"]["struct{T}"] = struct{ Found }{foundIn(t, issued.Bearer)[0]}
	values["Issued"]["struct{T}"] = struct{ Issued }{issued}
	values["TokenPair"]["struct{T}"] = struct{ TokenPair }{pair}
	values["DeviceCode"]["struct{T}"] = struct{ DeviceCode }{code}
	return values, all
}

// foundIn returns the texts in input.
func foundIn(t testing.TB, input string) (found []Found) {
	t.Helper()
	for f, err := range FindBearers(strings.NewReader(input)) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, f)
	}
	return found
}

// TestFindBearers finds a plain token and both texts of a session, and each ends by its text. A text
// with the ID of another token ends nothing.
func TestFindBearers(t *testing.T) {
	ctx, store := t.Context(), memory.New()
	m, mock := managerOver(t, store, Config{})
	pairs := made(NewPairs(store, PairConfig{Access: Config{Clock: mock}}))
	plain, login := issueTo(t, m, Grant{Subject: "ana"}), made(pairs.Issue(ctx, Grant{Subject: "ana"}))
	forged := sealed(plain.Bearer[:50] + strings.Repeat("0", 22))
	found := foundIn(t, fmt.Sprintf("a %s\n%s %s\n%s", plain.Bearer, login.Access.Bearer, login.Refresh.Bearer, forged))
	want := []Found{
		{"lapse", plain.ID, 2, 1, 3, plain.Bearer}, {"lapse", login.Access.ID, 81, 2, 1, login.Access.Bearer},
		{"lapse_refresh", login.Refresh.ID, 160, 2, 80, login.Refresh.Bearer}, {"lapse", plain.ID, 247, 3, 1, forged},
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Fatalf("found (-want +got):\n%s", diff)
	}
	if _, err := m.ExpireBearer(ctx, found[3].Bearer); !errors.Is(err, ErrUnknown) {
		t.Errorf("a forged text ends with %v", err)
	}
	for i, f := range found[:3] {
		expire := m.ExpireBearer
		if f.Prefix == pairs.RefreshPrefix() {
			expire = pairs.ExpireBearer
		}
		if tok, err := expire(ctx, f.Bearer); tok.ID != f.ID || tok.Live(mock.Now()) {
			t.Errorf("text %d ends %v; %v", i, tok, err)
		}
	}
	text := string(made(json.Marshal(found[0])))
	if text != `{"prefix":"lapse","id":"`+plain.ID.String()+`","offset":2,"line":1,"column":3}` {
		t.Errorf("JSON: %s", text)
	}
}

// TestBearerPatternIsDocumented: docs/SECURITY.md has the pattern, and its rule for a scanner matches
// the texts of the prefixes that it names.
func TestBearerPatternIsDocumented(t *testing.T) {
	doc := string(made(os.ReadFile("docs/SECURITY.md")))
	if !strings.Contains(doc, "\n"+BearerPattern+"\n") {
		t.Errorf("docs/SECURITY.md has another pattern than %s", BearerPattern)
	}
	_, rule, _ := strings.Cut(doc, "regex = '''")
	rule, _, _ = strings.Cut(rule, "'''")
	if !strings.HasSuffix(BearerPattern, rule[strings.LastIndexByte(rule, ')')+1:]) {
		t.Errorf("the rule %s ends in another way than %s", rule, BearerPattern)
	}
	narrow := regexp.MustCompile(rule)
	for prefix, want := range map[string]bool{"lapse": true, "lapse_refresh": true, "other": false} {
		text := credentialOf(1).Text(prefix)
		if got := narrow.FindString("x " + text + " x"); (got == text) != want {
			t.Errorf("the rule finds %q of prefix %s", got, prefix)
		}
	}
}

// TestFault2_TagsOutliveMethods: a type that is made of Issued has none of its methods,
// and shows no bearer in JSON and XML either.
func TestFault2_TagsOutliveMethods(t *testing.T) {
	type mine Issued
	m, _ := managerOver(t, memory.New(), Config{})
	issued := issueTo(t, m, Grant{Subject: "ana"})
	asJSON, err1 := json.Marshal(mine(issued))
	asXML, err2 := xml.Marshal(mine(issued))
	for _, text := range []string{string(asJSON), string(asXML)} {
		if found := secretsOf(issued.Bearer).leaks(text); found != nil || !strings.Contains(text, issued.ID.String()) {
			t.Errorf("%q shows %v; %v, %v", text, found, err1, err2)
		}
	}
}

// hushPlanted shows what it holds.
type hushPlanted struct {
	Sum  [32]byte
	key  []byte
	text string
}

// TestFault2_NothingPrintsASecret: of every exported type that is near a secret, in every
// nest, every printer and encoder of the standard library shows no secret, but of a bearer
// text those of hushRemainder.
func TestFault2_NothingPrintsASecret(t *testing.T) {
	race.Alone(t)
	values, s := hushValues(t)
	for _, name := range slices.Concat(hushExported(t, "."), hushExported(t, "storage")) {
		if values[name] == nil && !slices.Contains(strings.Fields(hushHarmless), name) {
			t.Errorf("%s is not tried", name)
		}
	}
	for name, nests := range values {
		t.Run(name, func(t *testing.T) {
			for n, nest := range slices.Sorted(maps.Keys(nests)) {
				if !sample.Every(3, n+len(name)) && name != "hushPlanted" {
					continue
				}
				shown, want := hushShown(s, nests[nest]), ""
				switch name {
				case "Issued", "Found":
					want = hushRemainder[nest]
				case "TokenPair", "IssuedText", "DeviceCode": // their JSON is made to be sent
					want, shown = hushRemainder[nest], strings.TrimSpace(strings.Replace(shown, "encoder", "", 1))
				case "hushPlanted":
					if shown == "" && nest != "**T" && nest != "[]any{**T}" {
						t.Errorf("the search finds nothing in %s", nest)
					}
					continue
				}
				if shown != want {
					t.Errorf("in %s, a secret is shown by %q; want %q", nest, shown, want)
				}
			}
		})
	}
}

// fmtVerbs are all verbs of package fmt, and one that does not exist, those that
// make no sense for a struct too, with flags that change the form.
var fmtVerbs = func() (all []string) {
	for _, flags := range []string{"", "+", "#", "# ", "-020"} {
		for _, verb := range "vsqxXdobOcUeEfFgGtTz" {
			all = append(all, "%"+flags+string(verb))
		}
	}
	return all
}()

// secrets are texts that must appear nowhere, with what each is a spelling of,
// under their first bytes, for a search in one pass.
type secrets struct {
	texts map[[headLen]byte]map[string]string
	begun []uint64 // a bit for each headHash of the texts: few heads of an output are looked up
}

const headLen = 6

func newSecrets() secrets {
	return secrets{map[[headLen]byte]map[string]string{}, make([]uint64, 1<<headBits/64)}
}

// headBits is how long a headHash is: the texts of eight bearers have 2 of 100 values.
const headBits = 18

// headHash returns a hash of the first headLen bytes of eight.
func headHash(eight []byte) uint64 {
	return binary.LittleEndian.Uint64(eight) << (64 - 8*headLen) * 0x9E3779B97F4A7C15 >> (64 - headBits)
}

// has reports whether a text may begin with the first headLen bytes of eight.
func (s secrets) has(eight []byte) bool {
	hash := headHash(eight)
	return s.begun[hash/64]>>(hash%64)&1 != 0
}

func (s secrets) add(what, text string) {
	if text = strings.Trim(text, `[]{}"' `); len(text) < headLen {
		return
	}
	rest := text // so that few texts begin alike
	if _, value, complains := strings.Cut(text, "="); complains && strings.HasPrefix(text, "%!") {
		rest = value
	}
	if rest = strings.TrimLeft(rest, "0 "); len(rest) > 2*headLen {
		text = rest
	}
	s.put([headLen]byte([]byte(text)), map[string]string{text: what})
}

// put adds texts that begin with head.
func (s secrets) put(head [headLen]byte, texts map[string]string) {
	hash := headHash(append(head[:], 0, 0))
	s.begun[hash/64] |= 1 << (hash % 64)
	if s.texts[head] == nil {
		s.texts[head] = map[string]string{}
	}
	maps.Copy(s.texts[head], texts)
}

// leaks returns what stands in output that must not.
func (s secrets) leaks(output string) (found []string) {
	eights := append([]byte(output), 0, 0) // so that there are eight bytes at the last head, too
	for at := range len(output) - headLen + 1 {
		if !s.has(eights[at:]) {
			continue
		}
		for text, what := range s.texts[[headLen]byte(eights[at:])] {
			if strings.HasPrefix(output[at:], text) {
				found = append(found, what)
			}
		}
	}
	return found
}

// secretsOf returns what to search an output for: every form in which fmt, JSON,
// gob and the usual encodings could write the secret of a bearer, or its digest. A
// few bytes of it are enough. The ID is no secret.
func secretsOf(bearer string) secrets {
	s := newSecrets()
	var c credential
	prefix, ok := c.Parse(bearer, "lapse-device")
	if !ok {
		panic("not a token")
	}
	sum, refreshing := c.Sum(newBinding(prefix)), c.Sum(newRefreshBinding(prefix))
	digits := bearer[len(bearer)-50:] // the secret's, and the checksum's
	for at := 0; at < 44; at += 11 {
		s.addBytes("digits of the secret", []byte(digits[at:at+11]))
	}
	s.addBytes("checksum", []byte(digits[44:]))
	for at := 0; at < 32; at += 8 {
		s.addBytes("raw secret", c[idLen+at:][:8])
		s.addBytes("digest", sum[at:][:8])
		s.addBytes("digest", refreshing[at:][:8])
	}
	s.addBase64("raw secret", c[idLen:])
	s.addBase64("digest", sum[:])
	s.addBase64("digest", refreshing[:])
	s.addBase64("bearer", []byte(bearer)[len(bearer)-50:])
	s.addBase64("bearer", []byte(bearer)[len(bearer)-51:])
	s.addBase64("bearer", []byte(bearer)[len(bearer)-52:])
	return s
}

// addRecord adds what rec keeps of its secrets: the digest, and of what is sealed in it
// everything but instants and names.
func (s secrets) addRecord(rec *storage.Record) {
	sum := rec.Digest.Sum()
	s.addLong("digest", sum[:])
	if kept, ok := sessionOf(rec); ok {
		key := kept.key()
		s.addLong("key of the tags", key[:])
		for _, digest := range []string{kept.access(), kept.previousAccess(), kept.previousRefresh()} {
			s.addLong("sealed digest", []byte(digest))
		}
		s.addLong("salt", []byte(kept.salt()))
		return
	}
	if r, ok, err := rotationOf(rec); ok && err == nil {
		s.addLong("key of the tags", r.key[:])
		s.addLong("sealed digest", r.first[:])
		s.addLong("sealed digest", r.previous[:])
		s.addLong("salt", r.salt[:])
		return
	}
	if salt, ok := saltOf(rec); ok {
		s.addLong("salt", []byte(salt))
	}
}

// addLong adds b by eight bytes, unless it is all zero, which stands for nothing.
func (s secrets) addLong(what string, b []byte) {
	if len(bytes.Trim(b, "\x00")) == 0 {
		return
	}
	for at := 0; at+8 <= len(b); at += 8 {
		s.addBytes(what, b[at:][:8])
	}
	s.addBase64(what, b)
}

// addBytes adds b as text, as fmt writes it with each verb, as numbers between
// the separators of fmt, Go and JSON, and as the integers it may be kept as.
func (s secrets) addBytes(what string, b []byte) {
	s.add(what, string(b))
	for _, verb := range fmtVerbs {
		if !strings.HasSuffix(verb, "T") {
			s.add(what+" by "+verb, fmt.Sprintf(verb, b))
			s.add(what+" as text by "+verb, fmt.Sprintf(verb, string(b)))
		}
	}
	inArray := []byte{} // gob writes the elements of an array as numbers
	for _, b := range b {
		if b >= 0x80 {
			inArray = append(inArray, 0xff)
		}
		inArray = append(inArray, b)
	}
	s.add(what+" in an array by gob", string(inArray))
	s.add(what+" in Go syntax", fmt.Sprintf("%#v", b)[len("[]byte{"):])
	s.add(what+" in Go syntax", fmt.Sprintf("%# v", b)[len("[]byte{"):])
	s.add(what+" in JSON", strings.ReplaceAll(fmt.Sprint(b), " ", ","))
	text, _ := json.Marshal(string(b))
	s.add(what+" as text in JSON", string(text))
	var escaped bytes.Buffer
	xml.EscapeText(&escaped, b)
	s.add(what+" as text in XML", escaped.String())
	if len(b) == 8 {
		s.add(what+" as an integer", fmt.Sprint(binary.BigEndian.Uint64(b)))
		s.add(what+" as an integer", fmt.Sprint(binary.LittleEndian.Uint64(b)))
	}
}

// addBase64 adds b in the alphabets of RFC 4648, by 12 characters, wherever in a
// longer text it begins.
func (s secrets) addBase64(what string, b []byte) {
	for offset := range 3 {
		for rest := b[offset:]; len(rest) >= 9; rest = rest[9:] {
			s.add(what+" in base64", base64.StdEncoding.EncodeToString(rest[:9]))
			s.add(what+" in base64", base64.URLEncoding.EncodeToString(rest[:9]))
		}
	}
}

// shapes are the ways in which a value is handed to a printer.
type nest struct {
	Deep struct {
		Value any
		Ptr   any
		Slice []any
	}
	Map map[string]any
}

func shapes[T any](v T) map[string]any {
	n := nest{Map: map[string]any{"value": v, "pointer": &v}}
	n.Deep.Value, n.Deep.Ptr, n.Deep.Slice = v, &v, []any{v}
	pointer := &v
	return map[string]any{
		"value": v, "pointer": &v, "pointer to pointer": &pointer, "slice": []T{v}, "slice of pointers": []*T{&v},
		"array": [2]T{v, v}, "map": map[string]T{"k": v}, "map of pointers": map[string]*T{"k": &v},
		"struct": struct{ Field T }{v}, "struct with pointer": struct{ Field *T }{&v}, "nested": n, "any": []any{v, &v},
	}
}

// outputs writes v with every printer that promises to keep secrets, and yields
// each result with its name.
func outputs(yield func(name, output string), v any) {
	for _, verb := range fmtVerbs {
		yield("fmt "+verb, fmt.Sprintf(verb, v))
	}
	for name, format := range map[string]string{"one too many": "", "as a width": "%*d", "at an index": "%[1]v %[1]d %[2]v"} {
		yield("fmt, "+name, fmt.Sprintf(format, v, 1))
	}
	yield("fmt.Sprint", fmt.Sprint(v, v))
	yield("fmt.Sprintln", fmt.Sprintln(v))
	yield("fmt.Errorf", fmt.Errorf("%v: %w", v, errOwnDisk).Error())
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		log := slog.New(handler(&b))
		log.Info("message", "key", v)
		log.With("key", v).Info("message", slog.Group("group", "key", v))
		yield(name, b.String())
	}
	if b, err := json.Marshal(v); err != nil {
		yield("JSON's error", err.Error())
	} else {
		yield("JSON", string(b))
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		yield("gob's error", err.Error())
	}
	yield("gob", b.String())
	if b, err := xml.Marshal(v); err != nil {
		yield("XML's error", err.Error())
	} else {
		yield("XML", string(b))
	}
}

// addTexts adds the texts that were given out in the scene.
func (s *refusedScene) addTexts(all secrets) {
	for _, name := range []string{
		"plain current", "plain previous", "plain spent", "plain first",
		"access current", "access previous", "access spent", "refresh current", "refresh previous", "refresh spent",
	} {
		all.merge(secretsOf(s.texts[name]))
	}
}

// addRecords adds what the records of the scene keep.
func (s *refusedScene) addRecords(t *testing.T, all secrets) {
	t.Helper()
	for rec, err := range s.store.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all.addRecord(&rec)
	}
}

// TestNoTextIsStored: of no text, of whatever standing, can the secret be read in a record.
func TestNoTextIsStored(t *testing.T) {
	race.Alone(t)
	s := newRefusedScene(t)
	for rec, err := range s.store.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		sum := rec.Digest.Sum()
		raw := rec.Name + rec.Scope + rec.Data + string(sum[:]) + rec.Sealed.Text()
		digests := 0
		for name, text := range s.texts {
			if name == "malformed" {
				continue
			}
			for _, found := range secretsOf(text).leaks(raw) {
				if digests++; !strings.HasPrefix(found, "digest") {
					t.Errorf("the record of %v holds the %s of %q", rec.ID, found, name)
				}
			}
		}
		if digests == 0 {
			t.Errorf("the record of %v holds nothing of any text", rec.ID)
		}
	}
}

// togetherOn are verbs that leave enough alive for each other to be tried on one scene.
var togetherOn = [][]string{
	{"Authenticate", "Peek", "Hold", "Delegate", "Renew", "Confirm", "Pairs.Peek", "Rotate", "Rotate, 0"},
	{"Pairs.Refresh"},
	{"ExpireBearer", "Pairs.ExpireBearer"},
}

// TestNoTextIsTold: what every verb says and tells of every text, of a token and a session
// that live and of such that are dead, holds no secret, no digest, no key and no salt.
func TestNoTextIsTold(t *testing.T) {
	race.Alone(t)
	tried := 0
	for group, verbs := range togetherOn {
		tried += len(verbs)
		for n, dead := range []bool{false, true} {
			if !sample.Every(2, group+n) {
				continue
			}
			s, heard, kinds := newRefusedScene(t), &said{}, map[EventKind]bool{}
			var log bytes.Buffer
			logging := LogEvents(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), &LogOptions{PerMinute: -1})
			s.observe = func(_ context.Context, e Event) {
				kinds[e.Kind] = true
				heard.value(e)
				heard.err(e.Err)
				logging(t.Context(), e)
			}
			if dead {
				made(s.m.ExpireSubject(t.Context(), "ana"))
			}
			all := newSecrets()
			s.addTexts(all)
			s.addRecords(t, all)
			for _, verb := range verbs {
				for _, text := range slices.Sorted(maps.Keys(s.texts)) {
					heard.err(refusedVerbs[verb](t.Context(), s, s.texts[text]))
				}
			}
			s.addRecords(t, all) // and what came of it
			heard.texts = append(heard.texts, log.String())
			if heard.errors < 20*len(verbs) || !kinds[EventRejected] || !kinds[EventSpent] || !kinds[EventAhead] {
				t.Errorf("%v: heard %d errors and events of %v; then nothing is tested", verbs, heard.errors, kinds)
			}
			for _, text := range heard.texts {
				if found := all.leaks(text); found != nil {
					t.Errorf("%v, dead: %v: the %s is told in %.400q", verbs, dead, found[0], text)
					break
				}
			}
		}
	}
	if tried != len(refusedVerbs) {
		t.Errorf("%d verbs of %d", tried, len(refusedVerbs))
	}
}

// hushEchoes are texts that hold bearer as a caller may give it by mistake.
func hushEchoes(bearer string) []string {
	return []string{
		bearer, bearer + " " + bearer, "read " + bearer, "x" + bearer + "x", "read:" + bearer + "/write", strings.Repeat("-", 64) + bearer,
		"Bearer " + bearer, bearer + "\n", `{"refresh_token":"` + bearer + `"}`, bearer[6:], bearer[:70], strings.Repeat(bearer+" ", 100),
	}
}

// TestFault1_NoErrorRepeatsAToken: a text of a token in the place of any other text that a
// verb takes is not in its error.
func TestFault1_NoErrorRepeatsAToken(t *testing.T) {
	ctx, store := t.Context(), memory.New()
	keys := Config{}
	m, mock := managerOver(t, store, keys)
	p := made(NewPairs(store, PairConfig{Access: Config{Clock: mock}}))
	issued, login := issueTo(t, m, Grant{Subject: "ana", Scope: "read"}), made(p.Issue(ctx, Grant{Subject: "ana", Scope: "read"}))
	next := made(p.Refresh(ctx, login.Refresh.Bearer)) // so that the first text is within its grace
	heard, all := &said{}, newSecrets()
	for _, bearer := range []string{issued.Bearer, login.Refresh.Bearer, next.Refresh.Bearer, next.Access.Bearer} {
		all.merge(secretsOf(bearer))
		for _, text := range hushEchoes(bearer) {
			_, err := p.Refresh(ctx, next.Refresh.Bearer, "delete", text)
			heard.err(err)
			_, err = p.Refresh(ctx, login.Refresh.Bearer, text)
			heard.err(err)
			_, err = m.Delegate(ctx, issued.Bearer, Grant{Scope: text})
			heard.err(err)
			_, err = m.Delegate(ctx, issued.Bearer, Grant{Subject: text})
			heard.err(err)
			heard.err(Require(issued.Token, text))
			for _, g := range []Grant{
				{Subject: text + "\x00"}, {Subject: "ana", Name: text + "\u202e"}, {Subject: "ana", Scope: text + "  "},
				{Subject: "ana", Data: text + strings.Repeat("d", 5000)}, {Subject: text, TTL: -1},
			} {
				_, err = m.Issue(ctx, g)
				heard.err(err)
				_, err = p.Issue(ctx, g)
				heard.err(err)
			}
			_, err = m.ExpireSubject(ctx, text+"\x00")
			heard.err(err)
			for _, verb := range []func() error{
				func() error { _, err := m.Authenticate(ctx, text+"x"); return err },
				func() error { _, err := m.Rotate(ctx, text+"x", time.Minute); return err },
				func() error { _, err := p.Refresh(ctx, text+"x"); return err },
				func() error { _, err := p.ExpireBearer(ctx, text+"x"); return err },
				func() error { _, err := ParseID(text); return err },
				func() error { return json.Unmarshal([]byte(`{"token_type":"`+bearer+`"}`), new(TokenPair)) },
				func() error { _, err := New(store, Config{Prefix: text}); return err },
				func() error { _, err := NewPairs(store, PairConfig{Refresh: Config{Prefix: text}}); return err },
			} {
				heard.err(verb())
			}
		}
	}
	if want := 48 * 20; heard.errors < want {
		t.Errorf("%d errors; want %d at least, or nothing is tested", heard.errors, want)
	}
	told := map[string]bool{}
	for _, text := range heard.texts {
		if found := all.leaks(text); found != nil && !told[found[0]] {
			told[found[0]] = true
			t.Errorf("the %s is said in %.300q", found[0], text)
		}
	}
}

// TestFault1_LongScopes: what is too long is refused before it is split, whatever it is.
func TestFault1_LongScopes(t *testing.T) {
	ctx, store := t.Context(), memory.New()
	m, mock := managerOver(t, store, Config{})
	p := made(NewPairs(store, PairConfig{Access: Config{Clock: mock}}))
	issued, login := issueTo(t, m, Grant{Subject: "ana", Scope: "read"}), made(p.Issue(ctx, Grant{Subject: "ana", Scope: "read"}))
	const size = 1 << 20
	for name, scope := range map[string]string{
		"words": strings.Repeat("a ", size/2), "one word": strings.Repeat("a", size), "spaces": strings.Repeat(" ", size),
	} {
		for verb, f := range map[string]func() error{
			"Issue":         func() error { _, err := m.Issue(ctx, Grant{Subject: "ana", Scope: scope}); return err },
			"Pairs.Issue":   func() error { _, err := p.Issue(ctx, Grant{Subject: "ana", Scope: scope}); return err },
			"Delegate":      func() error { _, err := m.Delegate(ctx, issued.Bearer, Grant{Scope: scope}); return err },
			"Refresh":       func() error { _, err := p.Refresh(ctx, login.Refresh.Bearer, scope); return err },
			"Refresh, many": func() error { _, err := p.Refresh(ctx, login.Refresh.Bearer, "read", scope, scope); return err },
			"Require":       func() error { return Require(issued.Token, scope) },
		} {
			var err error
			if took := hushAllocated(func() { err = f() }); took > size/10 || err == nil || len(err.Error()) > 200 {
				t.Errorf("%s of %s: it allocated %d bytes, and says %.300v", verb, name, took, err)
			}
		}
	}
	many := make([]string, size)
	if took := hushAllocated(func() { _, err := p.Refresh(ctx, login.Refresh.Bearer, many...); t.Log(err) }); took > size/10 {
		t.Errorf("Refresh of many empty ones allocated %d bytes", took)
	}
}

// hushAllocated returns how many bytes f allocates, of three calls the least.
func hushAllocated(f func()) uint64 {
	least := ^uint64(0)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// TestFault1_ScopeFieldHoldsTheToken: a form that sends the token in the wrong field, too.
func TestFault1_ScopeFieldHoldsTheToken(t *testing.T) {
	ctx, store := t.Context(), memory.New()
	_, mock := managerOver(t, store, Config{})
	p := made(NewPairs(store, PairConfig{Access: Config{Clock: mock}}))
	c := made(p.Issue(ctx, Grant{Subject: "ana", Scope: "read"}))
	_, err := p.Refresh(ctx, c.Refresh.Bearer, c.Refresh.Bearer)
	if want := fmt.Sprintf(`lapse: insufficient scope: ["[%d bytes]"] is missing`, len(c.Refresh.Bearer)); err == nil || err.Error() != want {
		t.Errorf("Refresh: %v; want %s", err, want)
	}
	_, err = p.Access().Delegate(ctx, c.Access.Bearer, Grant{Scope: c.Access.Bearer})
	if want := fmt.Sprintf(`lapse: insufficient scope: ["[%d bytes]"] is missing`, len(c.Access.Bearer)); err == nil || err.Error() != want {
		t.Errorf("Delegate: %v; want %s", err, want)
	}
	if _, err := p.Access().Authenticate(ctx, c.Access.Bearer); err != nil {
		t.Errorf("the text is good no more: %v", err)
	}
}

// samplePair has secrets that stand nowhere else.
func samplePair() TokenPair {
	refresh, access := credentialOf(4), credentialOf(5)
	return TokenPair{
		Access:    IssuedText{Issued{Token: Token{ID: access.ID(), Prefix: "lapse", Subject: "ana", Scope: "read write"}, Bearer: access.Text("lapse")}},
		Refresh:   IssuedText{Issued{Token: Token{ID: refresh.ID(), Prefix: "lapse_refresh", Subject: "ana", Scope: "read write"}, Bearer: refresh.Text("lapse_refresh")}},
		ExpiresIn: Seconds(1799_999 * time.Millisecond),
		Scope:     "read write",
	}
}

// TestCredentialsJSON is the answer of RFC 6749 section 5.1 to the letter.
func TestCredentialsJSON(t *testing.T) {
	c := samplePair()
	for _, row := range []struct {
		name   string
		change func(*TokenPair)
		want   string
	}{
		{"golden", func(*TokenPair) {}, `"expires_in":1799,"refresh_token":"REFRESH","scope":"read write"}`},
		{"narrowed", func(c *TokenPair) { c.Scope = "read" }, `"expires_in":1799,"refresh_token":"REFRESH","scope":"read"}`},
		{"no scope", func(c *TokenPair) { c.Scope = "" }, `"expires_in":1799,"refresh_token":"REFRESH"}`},
		{"half an hour", func(c *TokenPair) { c.ExpiresIn = Seconds(30 * time.Minute) }, `"expires_in":1800,"refresh_token":"REFRESH","scope":"read write"}`},
		{"a second", func(c *TokenPair) { c.ExpiresIn = Seconds(time.Second) }, `"expires_in":1,"refresh_token":"REFRESH","scope":"read write"}`},
		{"under a second", func(c *TokenPair) { c.ExpiresIn = Seconds(time.Second - 1) }, `"expires_in":1,"refresh_token":"REFRESH","scope":"read write"}`},
		{"a millisecond", func(c *TokenPair) { c.ExpiresIn = Seconds(time.Millisecond) }, `"expires_in":1,"refresh_token":"REFRESH","scope":"read write"}`},
		{"negative", func(c *TokenPair) { c.ExpiresIn = -1 }, `"expires_in":0,"refresh_token":"REFRESH","scope":"read write"}`},
		{"nothing left", func(c *TokenPair) { c.ExpiresIn = 0 }, `"expires_in":0,"refresh_token":"REFRESH","scope":"read write"}`},
		{"longest", func(c *TokenPair) { c.ExpiresIn = Seconds(NoLimit) }, `"expires_in":9223372036,"refresh_token":"REFRESH","scope":"read write"}`},
	} {
		c := c
		row.change(&c)
		want := `{"access_token":"` + c.Access.Bearer + `","token_type":"Bearer",` + strings.ReplaceAll(row.want, "REFRESH", c.Refresh.Bearer)
		for form, v := range map[string]any{"value": c, "pointer": &c} {
			got, err := json.Marshal(v)
			if err != nil || string(got) != want {
				t.Errorf("%s, %s: %s, %v; want %s", row.name, form, got, err, want)
			}
		}
		var back TokenPair
		if err := json.Unmarshal([]byte(want), &back); err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
		if again, _ := json.Marshal(back); string(again) != want {
			t.Errorf("%s: it reads back as %s", row.name, again)
		}
	}
}

// TestFault12_ReadsAnswersOfOtherServers: what they write of expires_in is read, and what they leave out
// stays as it was. No error repeats what was sent.
func TestFault12_ReadsAnswersOfOtherServers(t *testing.T) {
	text := func(s string) IssuedText { return IssuedText{Issued{Bearer: s}} }
	had := TokenPair{Access: IssuedText{Issued{Token: Token{Name: "n", Scope: "old"}, Bearer: "old"}}, Refresh: text("kept"), Scope: "old", ExpiresIn: 7, Repeated: true}
	after := func(seconds time.Duration) *TokenPair {
		return &TokenPair{Access: text("a"), Refresh: text("kept"), Scope: "old", ExpiresIn: Seconds(seconds * time.Second), Repeated: true}
	}
	untimed := after(0)
	untimed.ExpiresIn = had.ExpiresIn
	full := after(1)
	full.Refresh, full.Scope = text("r"), "read"
	for rest, want := range map[string]*TokenPair{ // nil: an error
		`"token_type":"bearer"`: untimed, `"token_type":"BEARER","expires_in":null,"refresh_token":null,"more":[1]`: untimed, `"scope":"old"`: untimed,
		`"expires_in":3600`: after(3600), `"expires_in":"3600"`: after(3600), `"expires_in":3600.0`: after(3600), `"expires_in":"3600.0"`: after(3600),
		`"expires_in":3.6e3`: after(3600), `"expires_in":3599.99`: after(3599), `"expires_in":0`: after(0), `"expires_in":-5`: after(0),
		`"expires_in":"-5"`: after(0), `"expires_in":-1e999`: after(0), `"expires_in":1e999`: after(9223372036), `"expires_in":"9223372036854775808"`: after(9223372036),
		`"expires_in":9223372036`: after(9223372036), `"expires_in":1,"refresh_token":"r","scope":"read"`: full,
		`"expires_in":"SECRET"`: nil, `"expires_in":""`: nil, `"expires_in":" 1"`: nil, `"expires_in":"0x10"`: nil, `"expires_in":"NaN"`: nil, `"expires_in":true`: nil,
		`"expires_in":{"SECRET":1}`: nil, `"token_type":"SECRET"`: nil, `"token_type":5`: nil, `"refresh_token":["SECRET"]`: nil, `"refresh_token":5`: nil,
	} {
		got := had
		err := json.Unmarshal([]byte(`{"access_token":"a",`+rest+`}`), &got)
		if (err == nil) != (want != nil) || want != nil && !cmp.Equal(*want, got) {
			t.Errorf("%s: %v, %#v, %d s", rest, err, got, time.Duration(got.ExpiresIn)/time.Second)
		}
		if err != nil && strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", rest, err)
		}
	}
	for _, text := range []string{`[]`, `{"access_token":1}`, `""`} {
		if got := had; json.Unmarshal([]byte(text), &got) == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

// TestTokenPairPrintsNoSecret: no printer but JSON shows one, in any shape, nor does a
// log line of the value itself.
func TestTokenPairPrintsNoSecret(t *testing.T) {
	c := samplePair()
	all := secretsOf(c.Access.Bearer)
	all.merge(secretsOf(c.Refresh.Bearer))
	shown := 0
	for shape, v := range shapes(c) {
		outputs(func(printer, output string) {
			bare := shape == "value" || shape == "pointer"
			if strings.HasPrefix(printer, "JSON") || printer == "slog JSON" && !bare {
				return // its purpose
			}
			if found := all.leaks(output); found != nil {
				t.Errorf("%s by %s shows the %s", shape, printer, found[0])
			}
			if strings.Contains(output, c.Access.ID.String()) {
				shown++
			}
		}, v)
	}
	if shown == 0 {
		t.Error("nothing was shown at all")
	}
	if text := fmt.Sprintf("%v", slog.AnyValue(c).Resolve().Any()); all.leaks(text) != nil || !strings.Contains(text, "ana") {
		t.Errorf("it resolves to %s", text)
	}
	if err := gob.NewEncoder(&bytes.Buffer{}).Encode(c); err == nil {
		t.Error("gob takes it")
	}
}

// TestPairEventsHoldNoSecret, whatever Pairs has to tell, and neither does what it answers
// beside the texts: lists, Peek, and what is stored, as far as that prints.
func TestPairEventsHoldNoSecret(t *testing.T) {
	var told []Event
	store := newTallyStore()
	p, err := NewPairs(store, PairConfig{Access: Config{Clock: fixedClock{testInstant}, Observe: func(_ context.Context, e Event) { told = append(told, e) }}})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := p.Issue(t.Context(), Grant{Subject: "ana"})
	b, _ := p.Refresh(t.Context(), a.Refresh.Bearer)
	c, _ := p.Refresh(t.Context(), b.Refresh.Bearer)
	_, replaced := p.Peek(t.Context(), a.Refresh.Bearer)
	_, spent := p.Access().Peek(t.Context(), a.Access.Bearer)
	_, scope := p.Refresh(t.Context(), b.Refresh.Bearer, "read")
	peeked, _ := p.Peek(t.Context(), c.Refresh.Bearer)
	var listed []Token
	for tok, err := range p.Sessions(t.Context(), "ana") {
		listed = append(listed, tok)
		if err != nil {
			t.Fatal(err)
		}
	}
	rec, err := store.Get(t.Context(), c.Refresh.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, reuse := p.Refresh(t.Context(), a.Refresh.Bearer)
	if len(told) != 7 || reuse == nil || len(listed) != 1 || peeked != listed[0] {
		t.Fatalf("%d events, %d sessions, %v", len(told), len(listed), reuse)
	}
	all := newSecrets()
	for _, credentials := range []TokenPair{a, b, c} {
		all.merge(secretsOf(credentials.Access.Bearer))
		all.merge(refreshSecretsOf(credentials.Refresh.Bearer))
	}
	key := mustSession(t, &rec).key()
	all.addBytes("key of the tags", key[:8])
	all.addBytes("key of the tags", key[8:])
	all.addBytes("salt", []byte(mustSession(t, &rec).salt()[:8]))
	for name, v := range map[string]any{
		"events": told, "errors": []error{replaced, spent, scope, reuse}, "Pairs": p, "sessions": listed, "record": rec, "session": peeked,
	} {
		if printers := all.shownBy(v); len(printers) > 0 {
			t.Errorf("%s: secrets are shown by %s", name, printers[0])
		}
	}
}

func mustSession(t *testing.T, rec *storage.Record) session {
	t.Helper()
	s, ok := sessionOf(rec)
	if !ok {
		t.Fatal("no session")
	}
	return s
}

// refreshSecretsOf is secretsOf for a refresh text, whose digest is another.
func refreshSecretsOf(bearer string) secrets {
	s := secretsOf(bearer)
	var c credential
	prefix, _ := c.Parse(bearer, "lapse_refresh")
	sum := c.Sum(newRefreshBinding(prefix))
	for at := 0; at < len(sum); at += 8 {
		s.addBytes("digest", sum[at:][:8])
	}
	s.addBase64("digest", sum[:])
	return s
}

// merge adds what to search for from more.
func (s secrets) merge(more secrets) {
	for head, texts := range more.texts {
		s.put(head, texts)
	}
}
