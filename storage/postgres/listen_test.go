package postgres

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/postgres/pgtest"
)

// manyChanges returns n changes of subjects of that length.
func manyChanges(n, subject int) (all []storage.Change) {
	for i := range n {
		id := storage.ID{byte(i >> 8), byte(i)}
		all = append(all, storage.Change{ID: id, Subject: strings.Repeat("\x00", subject)})
	}
	return all
}

// TestNotices: what notices tell is what they were made of, or a gap, and each is short enough for NOTIFY.
func TestNotices(t *testing.T) {
	s := &Store{self: 7}
	const one = 16 + 1 + 255         // bytes of a change with the longest subject
	most := maxPayload / 4 * 3 / one // in one notice
	full := most * maxNotices        // in all
	for _, row := range []struct {
		name          string
		changes, size int
		notices       int
		gap           bool
	}{
		{"none", 0, 0, 0, false},
		{"one", 1, 5, 1, false},
		{"one without a subject", 1, 0, 1, false},
		{"a full notice", most, 255, 1, false},
		{"one more", most + 1, 255, 2, false},
		{"one less than all", full - 1, 255, maxNotices, false},
		{"all that is told", full, 255, maxNotices, false},
		{"one more than that", full + 1, 255, 1, true},
		{"ten thousand", 10_000, 20, 1, true},
	} {
		want := manyChanges(row.changes, row.size)
		all := s.notices(want)
		if len(all) != row.notices {
			t.Errorf("%s: %d notices; want %d", row.name, len(all), row.notices)
		}
		var got []storage.Change
		gap := false
		for _, payload := range all {
			if len(payload) >= 8000 {
				t.Errorf("%s: %d bytes; the server takes fewer than 8,000", row.name, len(payload))
			}
			fields := append(strings.SplitN(payload, " ", 3), "")
			changes, ok := parseChanges(fields[1], fields[2])
			got, gap = append(got, changes...), gap || !ok
		}
		if gap != row.gap || !gap && !cmp.Equal(got, want) {
			t.Errorf("%s: %d changes, gap %t; want %d, %t", row.name, len(got), gap, len(want), row.gap)
		}
	}
}

// heard is what one notice makes of a watch that has had its Gap.
func heard(s *Store, payload string) (all []storage.Change) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	for c, err := range s.feed.Watch(ctx) {
		switch {
		case err != nil:
			return all
		case len(all) == 0 && c.Gap:
			(&listener{s: s}).hear(&pgconn.Notification{Payload: payload})
			s.feed.AsOf(1)
		case c.AsOf != 0:
			return all[1:]
		}
		all = append(all, c)
	}
	return all
}

// FuzzHear: a payload of whatever program tells whole changes, or a gap, or nothing where it is a notice of
// this store or a probe.
func FuzzHear(f *testing.F) {
	s := &Store{self: 7}
	for _, payload := range s.notices(manyChanges(3, 10)) {
		f.Add(payload)
		f.Add("0000000000000008" + payload[16:])
		f.Add("0000000000000008" + payload[16:len(payload)-3])
	}
	for _, payload := range []string{"", " ", "gap", "0000000000000008 gap", "0000000000000008 probe 1", "8 tell", "8 tell ", "8 tell ====", "\xff", "7 gap"} {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		got := heard(&Store{self: 7}, payload)
		fields := append(strings.SplitN(payload, " ", 3), "", "")
		body, err := base64.RawStdEncoding.DecodeString(fields[2])
		switch own := strings.TrimLeft(fields[0], "0+") == "7"; {
		case len(got) == 1 && got[0].Gap:
			return
		case len(got) > 0:
			size := 0
			for _, c := range got {
				size += 17 + len(c.Subject)
			}
			if err != nil || fields[1] != "tell" || size != len(body) {
				t.Errorf("%q: %d changes of %d bytes", payload, len(got), size)
			}
		case !own && fields[1] != "probe" && (fields[1] != "tell" || len(body) > 0):
			t.Errorf("%q was passed over", payload)
		}
	})
}

// TestClockOfTheServer: a reading that is nearer to the truth stays, unless it is old or contradicted.
func TestClockOfTheServer(t *testing.T) {
	const ms = time.Millisecond
	for _, row := range []struct {
		name   string
		milli  float64 // what the server says
		sent   time.Duration
		took   time.Duration
		offset time.Duration
		within time.Duration
	}{
		// Each row comes after a first reading: 1,000,000 ms at 100 ms, within 5 ms.
		{"nearer", 1_000_010, 110 * ms, 2 * ms, 999_899 * ms, ms},
		{"as near", 1_000_011, 110 * ms, 10 * ms, 999_896 * ms, 5 * ms},
		{"farther", 1_000_010, 110 * ms, 12 * ms, 999_900 * ms, 5 * ms},
		{"farther, and as far apart as can be", 1_000_010 + 17, 110 * ms, 12 * ms, 999_900 * ms, 5 * ms},
		{"farther, and contradicted", 1_000_010 + 18, 110 * ms, 12 * ms, 999_912 * ms, 6 * ms},
		{"farther, after ten seconds", 1_010_010, 10_093 * ms, 12 * ms, 999_911 * ms, 5 * ms},
		{"farther, after more than ten seconds", 1_010_000, 10_094 * ms, 12 * ms, 999_900 * ms, 6 * ms},
	} {
		l := new(listener)
		if _, _, ok := l.time(); ok {
			t.Fatal("a time before the first answer")
		}
		l.setClock(1_000_000, 95*ms, 105*ms)
		l.setClock(row.milli, row.sent, row.sent+row.took)
		if row.name == "farther, after ten seconds" {
			row.offset = 999_900 * ms
		}
		if l.offset != row.offset || l.within != row.within {
			t.Errorf("%s: %v within %v; want %v within %v", row.name, l.offset, l.within, row.offset, row.within)
		}
	}
}

// proxied returns a proxy to the server of the tests.
func proxied(t *testing.T) *pgtest.Proxy {
	t.Helper()
	p, err := pgtest.StartProxy(dsn(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// watched is a watch whose changes come by a channel, which is closed after the error that ended it.
type watched struct {
	changes chan storage.Change
	err     error
}

func watch(t *testing.T, s *Store) *watched {
	w := &watched{changes: make(chan storage.Change, 1<<16)}
	go func() {
		defer close(w.changes)
		for c, err := range s.Watch(t.Context()) {
			if w.err = err; err == nil {
				w.changes <- c
			}
		}
	}()
	return w
}

// until takes changes until one is wanted, for 20 seconds at most. It returns false if the watch ends before.
func (w *watched) until(t *testing.T, wanted func(storage.Change) bool) bool {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case c, ok := <-w.changes:
			if !ok || wanted(c) {
				return ok
			}
		case <-timeout:
			t.Fatal("the watch tells nothing of what is wanted, and does not end")
		}
	}
}

func isGap(c storage.Change) bool { return c.Gap }

// hears waits for a watch that begins with its Gap.
func hears(t *testing.T, s *Store) *watched {
	t.Helper()
	for range 2000 {
		if w := watch(t, s); w.until(t, isGap) {
			return w
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("no watch begins")
	return nil
}

// TestDeafListener: where the listening connection is kept from hearing, a watch ends with an error and none
// begins, while the store answers. Then the store listens again, and a watch begins with its Gap.
func TestDeafListener(t *testing.T) {
	for name, fault := range map[string]func(p *pgtest.Proxy){
		"frozen": (*pgtest.Proxy).Freeze,
		"silent": (*pgtest.Proxy).Silence,
		"late":   func(p *pgtest.Proxy) { p.Delay(time.Second) },
		"gone":   (*pgtest.Proxy).Close,
	} {
		t.Run(name, func(t *testing.T) {
			p := proxied(t)
			o := &Options{Schema: "deaf", ProbeEvery: 10 * time.Millisecond, ListenDSN: p.DSN()}
			emptied(t, o)
			s := opened(t, o)
			w := hears(t, s)
			fault(p)
			if w.until(t, func(storage.Change) bool { return false }); !errors.Is(w.err, storage.ErrUnavailable) {
				t.Fatalf("the watch ended with %v", w.err)
			}
			if w := watch(t, s); w.until(t, isGap) || !errors.Is(w.err, storage.ErrUnavailable) {
				t.Errorf("a watch that begins meanwhile: %v", w.err)
			}
			if _, err := s.Get(t.Context(), storage.ID{1}); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("Get: %v", err)
			}
			if name == "gone" {
				return
			}
			p.Delay(0)
			p.Thaw()
			p.Reset()
			w = hears(t, s)
			w.until(t, func(c storage.Change) bool { return c.AsOf != 0 })
		})
	}
}

// TestProofsAmongNotices: a store that hears notices all the time goes on to prove that it does.
func TestProofsAmongNotices(t *testing.T) {
	o := &Options{Schema: "busy", ProbeEvery: 500 * time.Millisecond}
	emptied(t, o)
	s := opened(t, o)
	ctx, stop := context.WithCancel(t.Context())
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		for ctx.Err() == nil {
			adminPool(t).Exec(ctx, "SELECT pg_notify($1, $2)", s.channel(), "0000000000000001 tell "+base64.RawStdEncoding.EncodeToString(make([]byte, 17)))
		}
	}()
	defer func() { stop(); <-busy }()
	w := hears(t, s)
	if !w.until(t, func(c storage.Change) bool { return !c.Gap && c.AsOf == 0 }) {
		t.Fatal(w.err)
	}
	for range 3 {
		if !w.until(t, func(c storage.Change) bool { return c.AsOf != 0 }) {
			t.Fatal(w.err)
		}
	}
}

// pooler stands before the server and throws its notices away, as a pooler in the mode of transactions does.
func pooler(t *testing.T) (dsn string) {
	server, err := url.Parse(server.dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			conn, err := net.Dial("tcp", server.Host)
			if err != nil {
				client.Close()
				continue
			}
			go func() { defer conn.Close(); io.Copy(conn, client) }()
			go func() { defer client.Close(); copyWithoutNotices(client, conn) }()
		}
	}()
	through := *server
	through.Host = l.Addr().String()
	return through.String()
}

func copyWithoutNotices(to io.Writer, from io.Reader) {
	for in := bufio.NewReader(from); ; {
		var head [5]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		if head[0] != 'A' { // NotificationResponse
			to.Write(append(head[:], body...))
		}
	}
}

// TestPooler: Open says that a pooler swallows notices, and works where it is told the way around it.
func TestPooler(t *testing.T) {
	o := &Options{Schema: "pooled"}
	emptied(t, o)
	through := pooler(t)
	s, err := Open(t.Context(), through, o)
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "ListenDSN") {
		t.Errorf("Open: %v; want ErrUnavailable that names ListenDSN", err)
	}
	around := *o
	around.ListenDSN = dsn(t)
	s, err = Open(t.Context(), through, &around)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestListenElsewhere: Open refuses a ListenDSN that leads to another database, where no notice of the pool arrives.
func TestListenElsewhere(t *testing.T) {
	o := &Options{Schema: "pooled", ListenDSN: strings.Replace(dsn(t), "/postgres?", "/template1?", 1)}
	emptied(t, o)
	s, err := Open(t.Context(), dsn(t), o)
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "same database") {
		t.Errorf("Open = %v; want ErrUnavailable that says where ListenDSN must lead", err)
	}
}

// TestListenerIsPatient: while the server takes no connections, the store asks for one less and less often: many
// processes would else keep a server busy that comes back.
func TestListenerIsPatient(t *testing.T) {
	p := proxied(t)
	o := &Options{Schema: "patient", ListenDSN: p.DSN()}
	emptied(t, o)
	opened(t, o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := p.Lead("postgres://" + l.Addr().String() + "/x"); err != nil {
		t.Fatal(err)
	}
	const many, atLeast = 20, 1030 * time.Millisecond // what 20 pauses of at most 64 ms cannot take
	var begin time.Time
	for n := range many {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if n == 0 {
			begin = time.Now()
		}
	}
	if took := time.Since(begin); took < atLeast {
		t.Errorf("%d connections in %v; want them to take %v at least", many, took, atLeast)
	}
}
