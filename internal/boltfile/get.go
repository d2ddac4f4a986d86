package boltfile

import "io"

// Get returns a copy of the value of key in a top-level bucket. It returns nil if the bucket
// has no such key, or has a bucket of that name. m is a result of ReadMetas. Get reads and
// checks only the pages on the way to the key. The errors are ErrNoBucket, ErrDamaged and
// those of reading.
func Get(f io.ReaderAt, m Meta, bucket, key string) (value []byte, err error) {
	_, err = walkTo(f, m, bucket, key, func(_, found []byte) error {
		value = append([]byte{}, found...)
		return nil
	})
	return value, err
}

// Sequence returns the sequence of a top-level bucket, which bbolt's SetSequence and
// NextSequence set, with the errors of Get.
func Sequence(f io.ReaderAt, m Meta, bucket string) (uint64, error) {
	return walkTo(f, m, bucket, "", nil)
}

// walkTo walks to one key of a bucket, calls pair for it, and returns the sequence of the
// bucket.
func walkTo(f io.ReaderAt, m Meta, bucket, key string, pair func(key, value []byte) error) (uint64, error) {
	w := newWalker(f, m, Visitor{Bucket: bucket, Pair: pair})
	w.path = []string{bucket, key}
	err := w.tree(0, m.Root, nil, nil)
	if err == nil && !w.found {
		err = ErrNoBucket
	}
	return w.sequence, err
}

// offPath reports whether an element of p, whose keys are below next, is not on the path.
func (w *walker) offPath(p page, key, next []byte) bool {
	if w.nested == len(w.path) {
		return true
	}
	want := w.path[w.nested]
	if p.kind == leafPage {
		return string(key) != want
	}
	return string(key) > want || next != nil && string(next) <= want
}
