package postgres

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-55daa01a/lapse/storage"
)

// hooked calls a function once an answer of the server that has some bytes has arrived, and before anything
// reads the answer.
type hooked struct {
	net.Conn
	arrived *atomic.Pointer[func(answer []byte)]
}

func (h hooked) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if f := h.arrived.Load(); f != nil {
		(*f)(b[:n])
	}
	return n, err
}

// TestFlushDuringARead: a renewal that is flushed after the server has answered a read, and before the
// store has that answer, is seen by the read, in every method (S13).
func TestFlushDuringARead(t *testing.T) {
	o := &Options{Schema: "late flush", FlushEvery: time.Minute, ListenDSN: dsn(t)}
	emptied(t, o)
	cfg, err := pgxpool.ParseConfig(dsn(t))
	if err != nil {
		t.Fatal(err)
	}
	Configure(cfg)
	var arrived atomic.Pointer[func([]byte)]
	dial := cfg.ConnConfig.DialFunc
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return hooked{conn, &arrived}, err
	}
	s := openedOn(t, cfg, o)
	r := numbered(1)
	if err := s.Update(t.Context(), "ana", puts(r)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), r.ID); err != nil { // the store knows its expiry now
		t.Fatal(err)
	}
	for name, read := range readsOf(t, s, r.ID) {
		use := storage.Use{At: r.LastUsedAt.Add(time.Second), ExpiresAt: r.ExpiresAt.Add(time.Second)}
		if r.LastUsedAt.IsZero() {
			use.At = r.IssuedAt
		}
		if err := s.Touch(t.Context(), r.ID, use); err != nil {
			t.Fatal(err)
		}
		if s.touches.count() != 1 {
			t.Fatal("the renewal does not wait")
		}
		use.Raise(&r)
		flush := func(answer []byte) {
			if bytes.Contains(answer, r.ID[:]) && arrived.Swap(nil) != nil {
				if err := s.touches.flush(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
		arrived.Store(&flush)
		got, err := read()
		if err != nil || !got.Equal(r) {
			t.Errorf("%s: used at %v, %v; want %v", name, got.LastUsedAt, err, r.LastUsedAt)
		}
		if arrived.Load() != nil {
			t.Errorf("%s: nothing was flushed meanwhile", name)
		}
	}
}

// readsOf returns all ways to read the record of id, the one record of its subject, by their names.
func readsOf(t *testing.T, s *Store, id storage.ID) map[string]func() (storage.Record, error) {
	ctx := t.Context()
	in := func(read func(tx storage.Tx) (storage.Record, error)) func() (storage.Record, error) {
		return func() (r storage.Record, err error) {
			err = s.Update(ctx, "ana", func(tx storage.Tx) (err error) { r, err = read(tx); return err })
			return r, err
		}
	}
	return map[string]func() (storage.Record, error){
		"Get": func() (storage.Record, error) { return s.Get(ctx, id) },
		"List": func() (storage.Record, error) {
			for r, err := range s.List(ctx, storage.Filter{}) {
				return r, err
			}
			return storage.Record{}, storage.ErrNotFound
		},
		"Gets": func() (storage.Record, error) {
			for r, err := range s.Gets(ctx, []storage.ID{id}) {
				return r, err
			}
			return storage.Record{}, storage.ErrNotFound
		},
		"Page": func() (storage.Record, error) {
			rs, _, err := s.Page(ctx, "", 1)
			return append(rs, storage.Record{})[0], err
		},
		"Tx.Get": in(func(tx storage.Tx) (storage.Record, error) { return tx.Get(id) }),
		"Tx.Records": in(func(tx storage.Tx) (storage.Record, error) {
			for r, err := range tx.Records() {
				return r, err
			}
			return storage.Record{}, storage.ErrNotFound
		}),
		"Tx.Living": in(func(tx storage.Tx) (storage.Record, error) {
			for r, err := range tx.Living(time.Time{}) {
				return r, err
			}
			return storage.Record{}, storage.ErrNotFound
		}),
		"UpdateID": func() (r storage.Record, err error) {
			err = s.UpdateID(ctx, id, func(tx storage.Tx) (err error) { r, err = tx.Get(id); return err })
			return r, err
		},
	}
}

// TestTouchOutsideOfTime: no Touch takes a record out of the years that a record may hold, whatever the zone of its
// instants. Nothing could end such a record.
func TestTouchOutsideOfTime(t *testing.T) {
	s, id := resolving(t, true), numbered(1).ID
	for at, good := range map[time.Time]bool{
		time.Date(9999, 12, 31, 23, 30, 0, 0, time.FixedZone("west", -3600)): false,
		time.Date(1, 1, 1, 0, 30, 0, 0, time.FixedZone("east", 3600)):        false,
		time.Date(10000, 1, 1, 0, 30, 0, 0, time.FixedZone("east", 3600)):    true,
	} {
		for _, use := range []storage.Use{{At: at}, {ExpiresAt: at}} {
			if err := s.Touch(t.Context(), id, use); (err == nil) != good || !good && !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("Touch at %v = %v; want it good: %t", at, err, good)
			}
		}
	}
	err := s.Update(t.Context(), "ana", func(tx storage.Tx) error {
		r, err := tx.Get(id)
		if err != nil {
			return err
		}
		return tx.Put(revoked(r))
	})
	if err != nil {
		t.Errorf("the record cannot be ended: %v", err)
	}
}
