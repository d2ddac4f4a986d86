package lapse

import (
	"bytes"
	"context"
	"encoding/asn1"
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	htmltemplate "html/template"
	"log"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

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

// hushHarmless are the exported types that no value of a secret can be reached from.
const hushHarmless = "Token ID Kind EndReason Clock ClockGuard EventKind Grant Verifier VerifierFunc Policy Renewal AtLimit Marker Mark Marks Use Filter Store Tx Watcher Change Step StepKind TokenType Seconds MarkSharer"

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
	ctx, store, all, material := t.Context(), memory.New(), secrets{}, randomKey(7)
	var told []Event
	cfg := Config{Keys: []Key{NewKey(material)}, Observe: func(_ context.Context, e Event) { told = append(told, e) }}
	m, mock := managerOver(t, store, cfg)
	cfg.Clock = mock
	pairCfg := PairConfig{Access: cfg, Refresh: Config{Keys: cfg.Keys}}
	pairs := made(NewPairs(store, pairCfg))
	first := made(m.Obtain(ctx, Grant{Subject: "ana"}))
	issued := made(m.Rotate(ctx, first.Bearer, time.Minute))
	login := made(pairs.Issue(ctx, Grant{Subject: "ana", Scope: "read"}))
	pair := made(pairs.Refresh(ctx, login.Refresh.Bearer))
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
	for _, bearer := range []string{first.Bearer, issued.Bearer, login.Access.Bearer, login.Refresh.Bearer, pair.Access.Bearer, pair.Refresh.Bearer} {
		all.merge(secretsOf(bearer))
	}
	values := map[string]map[string]any{
		"Issued": hushNest(issued), "TokenPair": hushNest(pair), "IssuedText": hushNest(pair.Access), "Config": hushNest(cfg), "PairConfig": hushNest(pairCfg), "Key": hushNest(cfg.Keys[0]),
		"Manager": hushNest(m), "Pairs": hushNest(pairs), "Hold": hushNest(hold), "Event": hushNest(told[len(told)-1]), "Rejection": hushNest(*rejection),
		"GrantError": hushNest(*invalidGrant("Scope", "wrong")), "ScopeError": hushNest(*missingScope([]string{issued.Bearer})),
		"Record": hushNest(session), "Record, plain": hushNest(plain), "Digest": hushNest(session.Digest), "Sealed": hushNest(session.Sealed), "Sealed, plain": hushNest(plain.Sealed),
		"memory.Store": hushNest(store), "bolt.Store": hushNest(file), "hushPlanted": hushNest(hushPlanted{plain.Digest.Sum(), material, session.Sealed.Text()}),
	}
	values["Issued"]["struct{T}"] = struct{ Issued }{issued}
	values["TokenPair"]["struct{T}"] = struct{ TokenPair }{pair}
	return values, all
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
			for nest, v := range nests {
				shown, want := hushShown(s, v), ""
				switch name {
				case "Issued":
					want = hushRemainder[nest]
				case "TokenPair", "IssuedText": // their JSON is made to be sent
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
