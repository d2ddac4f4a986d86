package tree

import (
	"bytes"
	"context"
	"io"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/fault"
)

// Reading is a read transaction whose pages a Backup copies to its writer, which may be slow. The
// tree does not wait for the writer: where bbolt has to close the file, the tree cuts the Reading
// off first.
type Reading struct {
	pages io.Reader                // the meta pages of the transaction, and behind them those of the file
	Size  int64                    // in bytes
	Tx    atomic.Pointer[bbolt.Tx] // keeps bbolt from writing over the pages; nil: it has ended
	ctx   context.Context          // ends, with the reason, before Tx does
	stop  context.CancelCauseFunc
}

// Read begins a Reading of the tree. The caller has to call End.
func (t *Tree) Read(ctx context.Context) (*Reading, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	btx, err := t.begin(false)
	if err != nil {
		return nil, err
	}
	metas := make(head, 0, 2*t.DB.Info().PageSize)
	btx.WriteTo(&metas) // it always fails, once metas is full
	at, size := int64(len(metas)), btx.Size()
	r := &Reading{pages: io.MultiReader(bytes.NewReader(metas), io.NewSectionReader(t.File, at, size-at)), Size: size}
	r.Tx.Store(btx)
	r.ctx, r.stop = context.WithCancelCause(ctx)
	t.Reader = r
	return r, nil
}

// head accepts as many bytes as its capacity. bbolt writes the meta pages of a transaction one by
// one, before it reads the file.
type head []byte

func (h *head) Write(b []byte) (int, error) {
	if len(*h)+len(b) > cap(*h) {
		return 0, io.ErrShortWrite
	}
	*h = append(*h, b...)
	return len(b), nil
}

// Read implements io.Reader. Pages that are read after the copy was cut off may be of another
// transaction: Read returns none of their bytes.
func (r *Reading) Read(b []byte) (int, error) {
	n, err := r.pages.Read(b)
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return n, fault.Classify(err)
}

// End ends r with err, unless it has ended.
func (r *Reading) End(err error) {
	r.stop(err)
	if btx := r.Tx.Swap(nil); btx != nil {
		guard(btx.Rollback)
	}
}

// Cut ends the last Reading with err, unless that has ended.
func (t *Tree) Cut(err error) {
	if r := t.Reader; r != nil {
		r.stop(err)
		t.rollback(r.Tx.Swap(nil))
	}
}
