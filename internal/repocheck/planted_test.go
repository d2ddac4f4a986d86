package repocheck

import (
	"fmt"
	"strings"
)

// plants are trees that break a rule, and the places where. What a tree holds
// beside them must pass.
var plants = []struct {
	rule  string
	name  string
	files string
	want  []string // sorted
}{
	{"package comments", "missing, twice, misplaced", `
-- doc.go --
// Package root is told here.
package root

const here = 1
-- root.go --
package root
-- a/a.go --
package a
-- b/b.go --
// Package b is told here.
package b
-- b/c.go --
// Package b is told again.
package b
-- c/c.go --
// This tells of c.
package c
-- d/d.go --
//go:build linux

// Package d is told once.
package d
-- d/d_test.go --
// These are tests.
package d
-- cmd/main.go --
// Cmd does something.
package main
`, []string{"a/a.go", "b/c.go", "c/c.go", "doc.go"}},

	{"package comments", "of the root, elsewhere than in doc.go", `
-- root.go --
// Package root is told here.
package root
-- nested/go.mod --
module nested
-- nested/nested.go --
package nested
-- testdata/input.go --
package input
`, []string{"root.go"}},

	{"doc comments", "missing", `
-- a.go --
package a

type Bare struct{}

// Told is told.
type Told struct{}

type (
	Grouped int
	// Known is told.
	Known int
)

func (Bare) Method()  {}
func (*Told) Method() {}
func (t told) Method() {}

// Func is told.
func Func() {}

func Untold() {}

const (
	One = 1 // the first
	Two = 2
	three = 3
)

// Errors of a.
var (
	ErrOne error
	ErrTwo error
)

var Bad, Worse int

type told struct{}
-- a_test.go --
package a

func Helper() {}
`, []string{"a.go:14", "a.go:15", "a.go:21", "a.go:25", "a.go:3", "a.go:35", "a.go:35", "a.go:9"}},

	{"dependencies", "everything misplaced", `
-- root.go --
package lapse

import (
	"C"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/benbjohnson/clock"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"

	"github.com/seed-55daa01a/lapse/internal/base62"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/internal/ratio"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)
-- root_test.go --
package lapse

import (
	"github.com/benbjohnson/clock"
	"github.com/google/go-cmp/cmp"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"go.etcd.io/bbolt"
	"net/http"
	"testing"
)
-- examples/http/main.go --
package main

import (
	"github.com/benbjohnson/clock"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"net/http"
)
-- storage/storage.go --
package storage

import "github.com/seed-55daa01a/lapse"
-- storage/bolt/bolt.go --
package bolt

import (
	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/recovery"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"go.etcd.io/bbolt"
)
-- internal/recovery/recovery.go --
package recovery

import (
	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"go.etcd.io/bbolt"
)
-- internal/tree/tree.go --
package tree

import (
	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/recovery"
	"go.etcd.io/bbolt"
	"go.etcd.io/bbolt/errors"
)
-- storage/memory/memory.go --
package memory

import (
	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/recovery"
	"github.com/seed-55daa01a/lapse/internal/tree"
)
-- storage/storagetest/run.go --
package storagetest

import (
	"github.com/google/go-cmp/cmp"
	"testing"
)
`, []string{
		"internal/recovery/recovery.go:6", "internal/tree/tree.go:5", "root.go:10", "root.go:11", "root.go:12", "root.go:13", "root.go:14", "root.go:18", "root.go:19",
		"root.go:20", "root.go:21", "root.go:4", "root.go:6", "root.go:7", "root.go:8",
		"root_test.go:7", "root_test.go:8", "storage/bolt/bolt.go:7",
		"storage/memory/memory.go:4", "storage/memory/memory.go:5", "storage/memory/memory.go:6", "storage/storage.go:3",
	}},

	{"go.mod", "what it needs", `
-- go.mod --
module github.com/seed-55daa01a/lapse

go 1.25.0

require (
	github.com/benbjohnson/clock v1.3.5
	github.com/google/go-cmp v0.7.0
	go.etcd.io/bbolt v1.5.0
)

require golang.org/x/sys v0.45.0
`, nil},

	{"go.mod", "everything else", `
-- go.mod --
module github.com/seed-55daa01a/lapse

go 1.26

toolchain go1.26.8

tool golang.org/x/tools/cmd/stringer

require (
	github.com/benbjohnson/clock v1.3.5 // indirect
	github.com/google/go-cmp v0.7.0
	github.com/stretchr/testify v1.0.0
	go.etcd.io/bbolt v1.5.0
)

replace (
	go.etcd.io/bbolt => ../bbolt
)
`, []string{"go.mod", "go.mod", "go.mod", "go.mod", "go.mod:17", "go.mod:5", "go.mod:7"}},

	{"go.mod", "missing", ``, []string{"go.mod"}},

	{"wall clock", "read, started, hidden", `
-- a/clock.go --
package a

import "time"

var start = time.Now
-- internal/hold/timer.go --
package hold

import "time"

func now() time.Time { return time.Now() }
-- b.go --
package lapse

import (
	"context"
	t "time"
)

func wait(ctx context.Context, d t.Duration) {
	<-t.After(d)
	context.WithTimeout(ctx, d)
	context.WithCancel(ctx)
	var time struct{ Now int }
	_ = time.Now
}
-- b_test.go --
package lapse

import "time"

var start = time.Now()
-- examples/a/main.go --
package main

import "time"

var start = time.Now()
`, []string{"a/clock.go:5", "b.go:10", "b.go:9"}},

	{"no panic", "panics and exits", `
-- a.go --
package a

import (
	"log"
	"os"
)

func f(panic func()) {
	log.Println()
	log.Fatalf("")
	os.Exit(1)
}

func g() { panic("no") }

var h = func() int { panic("no") }()

func i() {
	if p := recover(); p != nil {
		panic(p)
	}
	q := recover
	panic(q)
}
-- a_test.go --
package a

func f() { panic("yes") }
`, []string{"a.go:10", "a.go:11", "a.go:14", "a.go:16", "a.go:23"}},

	{"package variables", "state", `
-- a.go --
package a

var (
	ErrOne = 1
	errTwo = 2
	errors = 3
	Errand = 4
)

var _ = ErrOne

var Default, other = 1, 2

func f() { var local int; _ = local }
-- a_test.go --
package a

var update = false
`, []string{"a.go:12", "a.go:12", "a.go:6", "a.go:7"}},

	{"file size", "one line too many", sized("a.go", 301) + sized("b.go", 300) + sized("c_test.go", 900) +
		sized("storage/storagetest/a.go", 400) + sized("storage/storagetest/b.go", 401),
		[]string{"a.go", "storage/storagetest/b.go"}},

	{"guided reading", "as long as may be", reading(maxReading), nil},
	{"guided reading", "one line too many", reading(maxReading + 1), []string{"docs/architecture.md"}},
	{"guided reading", "absent", sized("a.go", 1), []string{"docs/architecture.md"}},

	{"root entries", "as many as may be", crowded(maxRoot), nil},
	{"root entries", "one too many", crowded(maxRoot + 1), []string{"."}},

	{"function size", "one line too many", `
-- a.go --
package a

` + long("f", 60) + long("g", 61) + `
-- a_test.go --
package a

` + long("h", 900), []string{"a.go:64"}},

	{"file names", "that say nothing", `
-- common/a.go --
package common
-- common/b.go --
package common
-- a/util.go --
package a
-- a/helpers_test.go --
package a
-- a/types.txt --
-- a/utility.go --
package a
-- a/errors.go --
package a
`, []string{"a/helpers_test.go", "a/types.txt", "a/util.go", "common"}},

	{"plain words", "of nobody in particular", `
-- a/a.go --
// Package a is for whoever reads it.
package a

// A is told anew, but
// for one thing that Nobody knows.
const A = "nobody in a text"

/* Somebody
else, and anybody. */
var nobody = A // as nobody says

// Renewed is a word that holds another.
func f() {}
-- a/a_test.go --
// Package a has tests for anybody.
package a
-- docs/a.md --
# What Nobody reads

All is well, but
for one word.

'''console
$ su nobody
'''
`, []string{"a/a.go:1", "a/a.go:10", "a/a.go:4", "a/a.go:4", "a/a.go:5", "a/a.go:8", "a/a.go:9", "docs/a.md:1", "docs/a.md:3"}},

	{"method names", "on three types", `
-- a/a.go --
package a

func (one) look()    {}
func (*two) look()   {}
func (one) begin()   {}
func (two) begin()   {}
func (one) Look()    {}
func (two) Look()    {}
func (three) Look()  {}
-- a/b.go --
package a

func (three[T]) look() {}
func look()            {}
-- a/a_test.go --
package a

func (three) begin() {}
-- b/b.go --
package b

func (three) begin() {}
`, []string{"a/a.go:3"}},

	{"comment names", "that begin with another word", `
-- a/a.go --
package a

// This is T.
type T struct {
	Field int // whatever
}

// A type U is no good beginning.
type U int

type (
	// Vs are many.
	V int
	// W, too.
	W int
)

// Get gets.
func (T) Get() {}

// Gets nothing.
func (*T) Set() {}

// gets nothing.
func (t) Get() {}

// does something.
func local() {}

// The limits.
const (
	Max = 1
	// Least of all.
	Min = 0
)

// ErrA: a.
var ErrA error

// Is b.
var ErrB error

// C and D are two.
var C, D int
-- a/a_test.go --
package a

// is a test.
func TestA() {}
`, []string{"a/a.go:13", "a/a.go:22", "a/a.go:34", "a/a.go:4", "a/a.go:41", "a/a.go:9"}},

	{"glossary", "missing", ``, []string{"docs/glossary.md"}},
	{"glossary", "out of order, twice, unused", `
-- a/a.go --
package a

type deadList int // of a Stage

const turn = ""
-- a/a_test.go --
package a

const pin = 0
-- docs/glossary.md --
# Glossary

- **stage**: one.
- **dead list**: two.
- **stage**: three.
- **stage**: four.
- **stages**: five.
- **turn**: six.
- not an **entry**: seven.
`, []string{"docs/glossary.md:4", "docs/glossary.md:6", "docs/glossary.md:7"}},

	{"examples", "missing", `
-- manager.go --
package lapse

func (m *Manager) Issue()  {}
func (m *Manager) Expire() {}
func (m Manager) Sweep()   {}
func (m *Manager) now()    {}
func (t *Token) Live()     {}
-- example_test.go --
package lapse_test

func ExampleManager_Issue()        {}
func ExampleManager_Expire_twice() {}
-- manager_test.go --
package lapse_test

func ExampleManager_Sweep() {}
-- admin/client.go --
package admin

func (c *Client) Issue()  {}
func (c *Client) Expire() {}
func (s *Server) Serve()  {}
-- admin/example_test.go --
package admin_test

func ExampleClient_Issue() {}
`, []string{"admin/client.go:4", "manager.go:5"}},

	{"document code", "no README", ``, []string{"README.md"}},
	{"document code", "no marker", `
-- README.md --
'''go
m.Issue()
'''
-- example_test.go --
package lapse_test

func Example() { m.Issue() }
`, []string{"README.md"}},

	{"document code", "in step and out of step", `
-- README.md --
<!-- example: Example -->
'''go
a := 1

if a > 0 {
	m.Issue(a)
}
'''

<!-- example: ExampleManager_Issue -->

'''go
m.Issue(2)
'''

<!-- example: ExampleManager_Missing -->
'''go
'''

<!-- example: ExampleManager_Expire -->
Nothing here.

<!-- example: TestBubble -->
'''go
m.Sweep(t)
'''
-- example_test.go --
package lapse_test

func Example() {
	a := 1
	// setup
	dir := temp()
	defer remove(dir)
	// end setup

	if a > 0 {
		m.Issue(a)
	}
	// Output: 1
	// 2
}

func ExampleManager_Issue() {
	m.Issue(1)
	// Unordered output:
}

func ExampleManager_Expire() { m.Expire() }

func TestBubble(t *testing.T) { m.Sweep(t) }
`, []string{"README.md:10", "README.md:16", "README.md:20"}},

	{"document code", "in another page, of another directory", `
-- README.md --
<!-- example: Example -->
'''go
m.Issue()
'''
-- docs/page.md --
<!-- example: examples/http handle -->
'''go
func handle(w Writer) { w.Write() }
'''

<!-- example: examples/http refuse -->
'''go
func refuse(w Writer) {}
'''

<!-- example: handle -->
'''go
func handle(w Writer) { w.Write() }
'''
-- example_test.go --
package lapse_test

func Example() { m.Issue() }
-- examples/http/handler_test.go --
package http_test

// handle writes.
func handle(w Writer) { w.Write() }

func refuse(w Writer) { w.Write() }
`, []string{"docs/page.md:11", "docs/page.md:6"}},

	{"decisions", "rows and tests that are missing", `
-- docs/design.md --
# Design

### D1 One

### D2 Two

### D3 Three

## What shows it

| decision | test |
|---|---|
| D1 | ` + "`TestOne`, `FuzzOne`" + ` |
| D2 | ` + "`TestTwo`" + ` |
| D3 | by reading |
| D9 | ` + "`TestOne`" + ` |

## More

` + "`TestElsewhere`" + `
-- one/one_test.go --
package one

func TestOne(t *testing.T) {}

func FuzzOne(f *testing.F) {}
`, []string{"docs/design.md:14", "docs/design.md:15", "docs/design.md:16"}},

	{"decisions", "a row that is missing", `
-- docs/design.md --
### D1 One

### D2 Two

## What shows it

| D1 | ` + "`TestOne`" + ` |
-- one_test.go --
package one

func TestOne(t *testing.T) {}
`, []string{"docs/design.md:3"}},

	{"named tests", "that are gone", `
-- docs/a.md --
TestOne shows it, and FuzzTwo; Tests are many, and Testing is good.
TestGone does not, nor TestOn.

'''sh
go test -run '^TestOn' .
go test -run '^TestOn$' .
go test -run '^TestTwo' .
'''
-- .ci/run --
campaign . TestInner
campaign . TestLost
-- one_test.go --
package one

func TestOne(t *testing.T) {}
-- nested/go.mod --
module nested
-- nested/nested_test.go --
package nested

func TestInner(t *testing.T) {}

func FuzzTwo(f *testing.F) {}
-- nested/README.md --
TestOfAnother is told by another module.
`, []string{".ci/run:2", "docs/a.md:2", "docs/a.md:2", "docs/a.md:6", "docs/a.md:7"}},

	{"token fields", "missing, of another type, unknown", `
-- token.go --
package lapse

// Token is what a list shows.
//
//	ID      ID // the public name
//	Scope   int
//	Nothing string
type Token = storage.Token
-- storage/token.go --
package storage

type Token struct {
	ID    ID ` + "`json:\"id\"`" + ` // the name
	Name  string
	Scope string
}
`, []string{"token.go:8", "token.go:8"}},

	{"token fields", "the same", `
-- token.go --
package lapse

// Token is what a list shows.
//
//	ID, Family ID
//	Name       string // for people
//	IssuedAt   time.Time
//
// No more.
type Token = storage.Token
-- storage/token.go --
package storage

type Token struct {
	ID, Family ID
	Name       string
	IssuedAt   time.Time
}
`, nil},

	{"end reasons", "without a word, and not in the root", `
-- token.go --
package lapse

const EndOne = storage.EndOne
-- expire.go --
package lapse

var _, _ = EndOne, storage.EndTwo
-- storage/token.go --
package storage

const (
	EndOne EndReason = 1 + iota
	EndTwo
)

var endReasons = [...]string{"", "one"}
-- internal/model/model_test.go --
package model

var _, _ = lapse.EndOne, lapse.EndTwo
-- docs/verbs.md --
"one" "two"
`, []string{"storage", "storage/token.go:5"}},

	{"end reasons", "two words exchanged", `
-- token.go --
package lapse

const EndOne, EndTwo = storage.EndOne, storage.EndTwo
-- expire.go --
package lapse

var _, _ = EndOne, EndTwo
-- storage/token.go --
package storage

const (
	EndOne EndReason = 1 + iota
	EndTwo
)

var endReasons = [...]string{"", "two", "one"}
-- internal/model/model_test.go --
package model

var _, _ = lapse.EndOne, lapse.EndTwo
-- docs/verbs.md --
"one" "two"
`, []string{"storage"}},

	{"end reasons", "without a verb, not in the model, not in the document", `
-- token.go --
package lapse

const (
	EndOne   = storage.EndOne // EndOne is used here alone
	EndTwo   = storage.EndTwo
	EndThree = storage.EndThree
)
-- expire.go --
package lapse

// EndOne is in a comment.
var _, _ = EndTwo, EndThree
-- storage/token.go --
package storage

const (
	EndOne EndReason = 1 + iota
	EndTwo
	EndThree
)

var endReasons = [...]string{"", "one", "two", "three"}
-- internal/model/model_test.go --
package model

var _, _ = lapse.EndOne, lapse.EndThree
-- internal/model/cover_test.go --
package model

var _ = lapse.EndTwo
-- docs/verbs.md --
"one" "two" three
`, []string{"storage/token.go:4", "storage/token.go:5", "storage/token.go:6"}},

	{"end reasons", "complete", `
-- token.go --
package lapse

const EndOne, EndClock = storage.EndOne, storage.EndClock
-- expire.go --
package lapse

var _, _ = EndOne, EndClock
-- storage/token.go --
package storage

const (
	EndOne EndReason = 1 + iota
	EndClock
)

var endReasons = [...]string{"", "one", "clock"}
-- internal/model/model_test.go --
package model

var _ = lapse.EndOne
-- docs/verbs.md --
"one" "clock"
`, nil},

	{"links", "broken", `
-- README.md --
# The *house*, its "rooms" & more

[a](docs/a.md) [b](docs/b.md "title") [c](https://example.org/x) [d](#the-house-its-rooms--more)
![e](docs/e.svg) [f](docs) [g](../up.md) [h](#nowhere) [i](docs/a.md#a-heading) [j](docs/a.md#none)
'''
[in code](nowhere.md)
# nowhere
'''
Also in` + " `[code](nowhere.md)`" + ` and <img src="docs/chart.svg">.

[k]: docs/k.md
[l]: docs/a.md
-- docs/a.md --
## A heading

[up](../README.md) [down](a/b.md) [mail](mailto:a@example.org) [data](testdata/x.txt)
-- docs/testdata/x.txt --
`, []string{
		"README.md:11", "README.md:3", "README.md:4", "README.md:4", "README.md:4", "README.md:4", "README.md:9",
		"docs/a.md:3",
	}},

	{"fuzz seeds", "missing", `
-- a_test.go --
package a

func FuzzSeeded(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
}

func FuzzBare(f *testing.F) { clock.Add(1) }
-- a.go --
package a

func FuzzyMatch() {}
`, []string{"a_test.go:9"}},
}

// crowded is a root of n entries: a directory of two files, and n-1 files.
func crowded(n int) string {
	var b strings.Builder
	b.WriteString("-- a/a.txt --\n-- a/b.txt --\n")
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, "-- f%d.txt --\n", i)
	}
	return b.String()
}

// reading is a guided reading of five files and a directory that have n lines together, and tests.
func reading(n int) string {
	var b strings.Builder
	b.WriteString("-- docs/architecture.md --\n")
	for i := 1; i <= 5; i++ {
		fmt.Fprintf(&b, "**%d. [a%d.go](../a%d.go): 'view'.** A file.\n\n", i, i, i)
	}
	b.WriteString("**6. [b](../b).** A directory.\n\n**[c.go](../c.go).** No place of six.\n")
	for i := 1; i <= 5; i++ {
		b.WriteString(sized(fmt.Sprintf("a%d.go", i), 100))
	}
	return b.String() + sized("b/b.go", 100) + sized("b/d.go", n-600) + sized("b/b_test.go", 900) + sized("c.go", 900)
}

// sized is a file of n lines.
func sized(name string, n int) string {
	return "-- " + name + " --\npackage a\n" + strings.Repeat("\n", n-1)
}

// long is a function of n lines and an empty one.
func long(name string, n int) string {
	return "func " + name + "() {\n" + strings.Repeat("\n", n-2) + "}\n\n"
}
