package bolt

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/seed-55daa01a/lapse/storage"
)

// preflight looks at a file before bbolt does.
type preflight struct {
	repair bool           // one lost meta page is no reason to refuse
	begin  func() visitor // called before the pages are read, which happens again if the first time was for nothing
	meta   meta
	looked bool // every page was read under the lock
	lost   bool // a meta page was lost

	changed func(*change) error // see visitor

	sum     sum  // of all records, as they were found
	damaged bool // some record is
}

// check looks at f, without mapping it, for what would make bbolt panic, loop or
// take one thing for another, and refuses it with ErrCorrupt; ErrNotStore if f
// cannot be ours. It takes the file's lock for that and keeps it. Where another
// process has the lock, or it cannot be taken so early, it looks at the meta pages
// alone.
func (p *preflight) check(f *os.File) error {
	var err error
	for range 3 { // another process may be writing
		if err = p.metas(f); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	locked, err := tryLock(f)
	if err != nil || !locked {
		return err
	}
	return p.look(f)
}

func (p *preflight) metas(f *os.File) (err error) {
	p.meta, err = checkMetas(f)
	if p.lost = errors.Is(err, errMetaLost); p.lost && p.repair {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	if p.meta.freelist == noFreelist {
		return fmt.Errorf("%w: it has no list of free pages", ErrNotStore)
	}
	return nil
}

// look reads all of f, which is locked.
func (p *preflight) look(f *os.File) error {
	if err := p.metas(f); err != nil {
		return err
	}
	if err := readAhead(f, p.meta); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	seen := p.begin()
	p.changed = seen.changed
	seen.pair = p.count(seen.pair)
	if err := walk(f, p.meta, seen); err != nil {
		if errors.Is(err, ErrTooMany) {
			return err
		}
		return fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	p.looked = true
	return nil
}

// count returns pair, which says ErrCorrupt of what is damaged, and has it count on
// the way.
func (p *preflight) count(pair func(key, value []byte) error) func(key, value []byte) error {
	p.sum, p.damaged = sum{}, false
	return func(key, value []byte) error {
		p.sum.add(key, value)
		err := pair(key, value)
		if errors.Is(err, storage.ErrCorrupt) {
			p.damaged, err = true, nil
		}
		return err
	}
}

// readAhead reads a file front to back once. The pages are then read in the order
// of their keys, and from a disk that would be one wait for each.
func readAhead(f io.ReaderAt, m meta) error {
	const block = 1 << 20
	if m.pages*m.pageSize < 4*block {
		return nil
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{io.NewSectionReader(f, 0, int64(m.pages*m.pageSize))}, make([]byte, block))
	return err
}
