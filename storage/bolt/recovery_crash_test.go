package bolt

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// recovery opens what m has left of a file and looks at every crash of that.
func recovery(r *recorder, m *moment) {
	t := r.t
	again := &recorder{t: t, r: r.r, path: filepath.Join(r.dir, "recovered.db"), dir: r.dir, last: m.to, now: m.allowed[len(m.allowed)-1], counts: r.counts, looked: r.looked}
	again.judge = again.crashes
	if err := os.WriteFile(again.path, m.to, 0o600); err != nil {
		t.Error(err)
		return
	}
	opts, err := (*Options)(nil).withDefaults()
	if err != nil {
		t.Error(err)
		return
	}
	look := &preflight{begin: func() visitor { return newIntake(opts).visitor() }}
	l, err := openLooking(again.path, opts.LockTimeout, look)
	if err == nil {
		l.tree.commitTx = again.commit
		err = l.adopt(look)
		again.mirrored()
		err = errors.Join(err, l.close())
	}
	if err != nil {
		t.Errorf("%s: %v", m.name, err)
	}
	r.wrong = append(r.wrong, again.wrong...)
}

// TestCrashAfterCrash: a crash while a file is opened that a crash has left takes nothing
// either, and whichever meta page is lost besides.
func TestCrashAfterCrash(t *testing.T) {
	t.Parallel()
	r, moments := watchWrites(t), 0
	r.judge = func(m *moment) {
		if moments++; m.name == "meta" || moments%shorter(16, 64) == 0 { // the former are before their mirror
			recovery(r, m)
		}
	}
	journalHistory(r)
	for i, wrong := range r.wrong {
		if i < 5 {
			t.Error(wrong)
		}
	}
	t.Logf("%d faults, %v", len(r.wrong), r.counts)
	for _, name := range []string{"pages, before", "meta, before", "mirror, before"} {
		if r.counts[name] == 0 {
			t.Errorf("%s: never seen", name)
		}
	}
}

// TestRepairOfACopy: bbolt has the newest meta page of a copy first, whichever it is. The
// loss of either takes nothing.
func TestRepairOfACopy(t *testing.T) {
	inTurn := make(map[bool]int)
	for writes := range 4 {
		path, _ := makeFile(t, 5)
		for n := range writes { // each merged by itself
			s := open(t, path, nil)
			put(t, s, record(10+n))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		copied := backup(t, open(t, path, nil))
		for page := range 2 {
			bad := bytes.Clone(copied)
			clear(metaPage(bad, page))
			if err := os.WriteFile(path+".copy", bad, 0o600); err != nil {
				t.Fatal(err)
			}
			refusedButRepairable(t, path+".copy", bad)
			for _, opts := range []*Options{{Repair: true}, nil} {
				s := open(t, path+".copy", opts)
				if n := s.Stats().Tokens; n != 5+writes {
					t.Errorf("%d writes, page %d lost: %d records", writes, page, n)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, copied, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := checkMetas(f)
		if err != nil {
			t.Fatal(err)
		}
		inTurn[m.inTurn]++
		f.Close()
	}
	if inTurn[true] == 0 || inTurn[false] == 0 {
		t.Errorf("where the newest meta page is: %v; want both", inTurn)
	}
}
