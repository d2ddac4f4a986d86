package bolt

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// What may be wrong with how a store raises the schema.
const unraised = "the schema is believed to be raised, and is not"

// newUnderOld returns what is wrong with image: under one of its meta pages it is of the
// first schema, and holds a record of version 3 all the same, which then a program would
// meet that knows nothing of it. Of a page that leads nowhere nothing is said.
func newUnderOld(path string, image []byte) (wrong []string, seen int) {
	for page := range 2 {
		alone := bytes.Clone(image)
		clear(metaPage(alone, 1-page))
		if os.WriteFile(path, alone, 0o600) != nil {
			continue
		}
		schema, news := 0, 0
		err := guard(func() error {
			db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
			if err != nil {
				return err
			}
			defer db.Close()
			file, err := os.Open(path)
			if err != nil {
				return err
			}
			defer file.Close()
			return db.View(func(btx *bbolt.Tx) (err error) {
				if schema, err = readSchema(btx); err != nil {
					return err
				}
				news, err = countNew(btx, file, alone)
				return err
			})
		})
		if err != nil {
			continue
		}
		if seen++; schema == firstSchema && news > 0 {
			wrong = append(wrong, fmt.Sprintf("schema %d under meta page %d, and %d records of version 3", schema, page, news))
		}
	}
	return wrong, seen
}

// countNew returns how many records of version 3 the tree of btx holds, and any whole
// frame of its journal, merged or not.
func countNew(btx *bbolt.Tx, file *os.File, image []byte) (n int, err error) {
	count := func(v []byte) {
		if len(v) > 0 && v[0] == tiedVersion {
			n++
		}
	}
	err = btx.Bucket(tokensBucket).ForEach(func(_, v []byte) error { count(v); return nil })
	if err != nil {
		return 0, err
	}
	j, err := findJournal(btx, file)
	if err != nil {
		return 0, err
	}
	for at := int(j.at); at < int(j.at)+2*j.half; at += blockLen {
		if f, ok := parseFrame(image[at:], j.name); ok {
			changes, _, err := f.changes(nil)
			if err != nil {
				return 0, err
			}
			for _, c := range changes {
				count(c.value)
			}
		}
	}
	return n, nil
}

// schemaHistory has a store write its first records of version 3, while a half of the
// journal waits to be merged, and merges them.
func schemaHistory(r *recorder) {
	r.put(anas(100, 101, nil)...)
	turnTo(r, 1, 200)
	first := anas(400, 402, nil)
	first[1].Generation = 1
	r.put(first...)
	r.put(anas(500, 510, endsIt)...)
	r.put(first[1])
	turnTo(r, 0, 600)
	if len(r.merges) > 0 {
		r.merge(func() {})
	}
	r.mirrored()
}

// watchSchema judges every crash of a history by newUnderOld.
func watchSchema(t *testing.T, plant string) (wrong []string, seen int) {
	r := watchWrites(t)
	path := filepath.Join(r.dir, "old.db")
	r.judge = func(m *moment) {
		images := [][]byte{m.from, m.to}
		for range *crashes {
			images = append(images, m.crash(r.r))
		}
		for _, image := range images {
			bad, n := newUnderOld(path, image)
			for i := range bad {
				bad[i] = m.name + ": " + bad[i]
			}
			wrong, seen = append(wrong, bad...), seen+n
		}
	}
	switch plant {
	case unraised:
		r.s.log.schema = tiedSchema
	default:
		r.plant = plant
	}
	schemaHistory(r)
	return wrong, seen
}

// TestNoNewRecordUnderTheOldSchema: whatever a crash leaves, and whichever meta page is
// lost besides, no program finds a record of version 3 in a file of the first schema.
func TestNoNewRecordUnderTheOldSchema(t *testing.T) {
	wrong, seen := watchSchema(t, "")
	if len(wrong) > 0 {
		t.Errorf("%d times; first %s", len(wrong), wrong[0])
	}
	if seen < 20 {
		t.Errorf("only %d files could be read", seen)
	}
	for _, plant := range []string{unraised, unmirrored} {
		wrong, _ := watchSchema(t, plant)
		if len(wrong) == 0 {
			t.Errorf("%s: nothing was found", plant)
			continue
		}
		t.Logf("%s: %s", plant, wrong[0])
	}
}
