package main

import (
	"fmt"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// TestPeersRefuse changes the last character of what each peer checks: a peer that
// does not look would be measured for nothing.
func TestPeersRefuse(t *testing.T) {
	w := quickWorld(t)
	const n = 3
	for _, name := range []string{"jwt-hs256", "jwt-eddsa", "jwt-es256"} {
		p, err := w.jwt(name, n)
		if err != nil {
			t.Fatal(err)
		}
		refuses(t, name, p.check, p.tokens)
	}
	for _, public := range []bool{false, true} {
		p := newPaseto(n, public)
		refuses(t, fmt.Sprint("paseto, public: ", public), p.check, p.tokens)
	}
	cookies, err := newCookies(n)
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, "securecookie", cookies.check, cookies.values)
}

// refuses wants check to accept the tokens and to refuse the first one once one of
// its characters in the middle is another.
func refuses(t *testing.T, name string, check func(i int) error, tokens []string) {
	t.Helper()
	for i := range tokens {
		if err := check(i); err != nil {
			t.Errorf("%s: token %d: %v", name, i, err)
		}
	}
	b := []byte(tokens[0])
	at := len(b) - 20
	b[at]++
	if b[at] > 'z' || b[at] < '0' || b[at] > '9' && b[at] < 'A' || b[at] > 'Z' && b[at] < 'a' {
		b[at] = 'k'
	}
	tokens[0] = string(b)
	if check(0) == nil {
		t.Errorf("%s accepts a token that was changed", name)
	}
}

// TestKeepersRefuse gives those who keep tokens one that they do not have.
func TestKeepersRefuse(t *testing.T) {
	w := quickWorld(t)
	n := w.plan.small()
	strange := randomTexts(1)
	plain, err := w.plainMap(n)
	if err != nil {
		t.Fatal(err)
	}
	memory, err := w.scsMemory(n)
	if err != nil {
		t.Fatal(err)
	}
	file, _, err := w.scsOnBolt(n)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := w.parts(n)
	if err != nil {
		t.Fatal(err)
	}
	bare, err := w.bareBolt(n)
	if err != nil {
		t.Fatal(err)
	}
	checks := map[string]func(i int) error{
		"plain map": plain.check, "scs in memory": memory.check, "scs on bbolt": file.check, "parts": parts.check, "bare bbolt": bare.view,
	}
	for name, check := range checks {
		for i := range n {
			if err := check(i); err != nil {
				t.Fatalf("%s: token %d: %v", name, i, err)
			}
		}
	}
	plain.tokens, memory.tokens, file.tokens, bare.live = strange, strange, strange, 1<<40
	parts.bearers = makeTexts(1, func(int) string { return "lapse_" + fmt.Sprintf("%072d", 0) })
	for name, check := range checks {
		if check(1) == nil {
			t.Errorf("%s accepts what it does not have", name)
		}
	}
}

// TestSCSSweep wants those that have run out deleted, and no others.
func TestSCSSweep(t *testing.T) {
	w := quickWorld(t)
	n := w.plan.large()
	p, store, err := w.scsOnBolt(n)
	if err != nil {
		t.Fatal(err)
	}
	for lot, want := range []int{0, n / 10, n / 10, 0} {
		ahead := lotLife*time.Duration(lot) + time.Hour
		if got, err := store.sweep(func() time.Time { return time.Now().Add(ahead) }); got != want || err != nil {
			t.Errorf("with %d lots dead it swept %d, %v; want %d", lot, got, err, want)
		}
	}
	for i := range n {
		if err := p.check(i); (err == nil) != (i < w.lasting(n)) {
			t.Fatalf("session %d, of %d that last: %v", i, w.lasting(n), err)
		}
	}
}

// TestGather wants all that waits in one group, and no more than fit.
func TestGather(t *testing.T) {
	g := &grouping{requests: make(chan *request, 2*maxGroup)}
	for _, waiting := range []int{0, 1, maxGroup - 2, maxGroup - 1, maxGroup, maxGroup + 5} {
		for range waiting {
			g.requests <- new(request)
		}
		if got, want := len(g.gather([]*request{nil})), min(1+waiting, maxGroup); got != want {
			t.Errorf("%d wait beside one, %d are in the group", waiting, got)
		}
		for range len(g.requests) {
			<-g.requests
		}
	}
}

// TestGrouping wants what many callers put at once in the file.
func TestGrouping(t *testing.T) {
	const callers = 64
	w := quickWorld(t)
	b, err := w.bareBolt(w.plan.small())
	if err != nil {
		t.Fatal(err)
	}
	put := b.group.put(b.fresh)
	last := func() (n int) {
		b.db.View(func(tx *bbolt.Tx) error { n = tx.ID(); return nil })
		return n
	}
	before := last()
	err = together(callers, callers, put)
	if n := last() - before; err != nil || n < 1 || n > callers {
		t.Errorf("%d transactions for %d callers, %v", n, callers, err)
	}
	for i := range uint64(callers) {
		key := timeKey(uint64(b.live) + i)
		err := b.db.View(func(tx *bbolt.Tx) error {
			if tx.Bucket(recordsBucket).Get(key[:]) == nil {
				t.Errorf("put %d is not in the file", i)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecordSize wants the bare file to hold as many bytes as the records of lapse.
func TestRecordSize(t *testing.T) {
	const n = 40
	w := quickWorld(t)
	size, err := w.recordSize()
	if err != nil {
		t.Fatal(err)
	}
	own, bare := w.file("own.db"), w.file("bare.db")
	if err := w.fillClosed(own, n, nil); err != nil {
		t.Fatal(err)
	}
	db, err := fillBare(bare, n, size, fastOptions())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	a, errA := fileUse(own)
	b, errB := fileUse(bare)
	if errA != nil || errB != nil || a.payload != b.payload || a.entries != n || b.entries != n {
		t.Errorf("lapse holds %+v, %v; the bare file %+v, %v", a, errA, b, errB)
	}
}
