package repocheck

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// rule is one rule of this repository.
type rule struct {
	name  string
	want  string // the rule, and what to do about a violation
	check func(*tree) []violation
	allow exceptions
}

// violation is one place that breaks a rule.
type violation struct {
	at   string // path or path:line
	what string
}

func (v violation) String() string { return v.at + ": " + v.what }

var rules = []rule{
	{
		name:  "package comments",
		want:  "Every package has one package comment, \"Package name ...\"; the root's is in doc.go, which holds nothing else.",
		check: packageComments,
	},
	{
		name:  "doc comments",
		want:  "Everything exported has a comment: say what it promises, which errors it returns, and nothing about how.",
		check: docComments,
	},
	{
		name:  "dependencies",
		want:  "A package imports the standard library and this module; third parties only where imports_test.go lets them.",
		check: dependencies,
	},
	{
		name:  "go.mod",
		want:  "go.mod says go 1.25.0, requires bbolt, clock, go-cmp and x/sys directly and nothing else, and has no toolchain, tool or replace line. Other dependencies go into a nested module.",
		check: goMod,
	},
	{
		name:  "wall clock",
		want:  "Only internal/steady/system.go reads the clock: take the instant as an argument, or use Manager.now and Clock.After.",
		check: wallClock,
		allow: wallClockAllowed,
	},
	{
		name:  "no panic",
		want:  "Library code returns errors; it neither panics nor ends the process.",
		check: noPanic,
		allow: panicAllowed,
	},
	{
		name:  "package variables",
		want:  "No package variable but errors (Err..., err...) and interface assertions (var _). Give a lookup table an entry with its reason in code_test.go.",
		check: packageVariables,
		allow: variablesAllowed,
	},
	{
		name:  "file size",
		want:  "A file outside tests has at most 300 lines (storage/storagetest: 400): split it by idea.",
		check: fileSize,
		allow: longFilesAllowed,
	},
	{
		name:  "guided reading",
		want:  "The six places of the guided reading in docs/architecture.md, \"**1. [place](../place)\", have at most 1,000 lines together, tests aside: move what no check needs to the file whose idea it is.",
		check: guidedReading,
	},
	{
		name:  "root entries",
		want:  "The root holds few entries: join a test with the X_test.go of the file it tests, and put what is no part of the API under internal.",
		check: rootEntries,
	},
	{
		name:  "function size",
		want:  "A function outside tests has at most 60 lines: give its parts names.",
		check: functionSize,
	},
	{
		name:  "file names",
		want:  "Name a file or directory for the idea it holds, not util, helper, common, misc or types.",
		check: fileNames,
	},
	{
		name:  "plain words",
		want:  "A comment names its subject, and so does a sentence of a document: not whoever, nobody, somebody, anybody, anew or \"but for\". docs/glossary.md has the words of our own.",
		check: plainWords,
	},
	{
		name:  "method names",
		want:  "An unexported method name is declared on at most two types of a package: one word, one meaning.",
		check: methodNames,
		allow: methodNamesAllowed,
	},
	{
		name:  "comment names",
		want:  "The comment of an exported name begins with that name.",
		check: commentNames,
	},
	{
		name:  "glossary",
		want:  "docs/glossary.md has each word once, in alphabetical order, and no word that the code does not use.",
		check: glossary,
	},
	{
		name:  "examples",
		want:  "Every exported method of Manager has an ExampleManager_Name in an example*_test.go of the root, and each of admin.Client an ExampleClient_Name in admin.",
		check: verbExamples,
	},
	{
		name:  "document code",
		want:  "The Go block after each line <!-- example: Name --> in a Markdown file is the body of func Name in example*_test.go, without its set-up and its output, or with <!-- example: dir Name --> that of a test of admin or below examples; README.md must have the marker of func Example. Copy the body over.",
		check: documentCode,
	},
	{
		name:  "decisions",
		want:  "The table \"What shows it\" in docs/design.md has one row for each decision ### Dn, and each row names a test that exists.",
		check: decisionTests,
	},
	{
		name:  "named tests",
		want:  "A test that a Markdown file or .ci/run names exists in a module of this repository, or begins with the name where that is written as ^TestX without a $.",
		check: namedTests,
	},
	{
		name:  "token fields",
		want:  "The comment of lapse.Token lists the fields of storage.Token, with their types and in their order.",
		check: tokenFields,
	},
	{
		name:  "end reasons",
		want:  "Each constant End... of package storage has its own word in endReasons, in the order of the constants, the same name in package lapse, code there that uses the name, a place in the model, and its word in docs/verbs.md.",
		check: endReasons,
		allow: outsideModel,
	},
	{
		name:  "links",
		want:  "Every relative link in a Markdown file leads to a file in this repository, and to a heading of it if it names one.",
		check: links,
	},
	{
		name:  "fuzz seeds",
		want:  "Every fuzz target adds at least one seed with f.Add, so that plain go test runs it on something.",
		check: fuzzSeeds,
	},
}

func TestRules(t *testing.T) {
	repo, err := load(os.DirFS(root(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			found := r.check(repo)
			slices.SortStableFunc(found, func(a, b violation) int { return strings.Compare(a.at, b.at) })
			for _, v := range found {
				t.Error(v)
			}
			if len(found) > 0 {
				t.Log(r.want)
			}
			for key := range r.allow {
				if !repo.used[key] {
					t.Errorf("the exception for %q is not needed any more: remove it", key)
				}
			}
		})
	}
}

// TestRulesCatch shows every rule a tree that breaks it, among things that it
// must let pass, and expects to hear of exactly the places that break it.
func TestRulesCatch(t *testing.T) {
	caught := map[string]bool{}
	for _, p := range plants {
		t.Run(p.rule+"/"+p.name, func(t *testing.T) {
			at := slices.IndexFunc(rules, func(r rule) bool { return r.name == p.rule })
			if at < 0 {
				t.Fatalf("there is no rule %q", p.rule)
			}
			caught[p.rule] = caught[p.rule] || len(p.want) > 0
			tree, err := load(planted(p.files))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range rules[at].check(tree) {
				got = append(got, v.at)
			}
			slices.Sort(got)
			if !slices.Equal(got, p.want) {
				t.Errorf("reported %q, want %q", got, p.want)
			}
		})
	}
	for _, r := range rules {
		if !caught[r.name] {
			t.Errorf("rule %q: no planted violation; add one to plants", r.name)
		}
	}
}
