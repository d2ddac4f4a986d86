package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// damages are what may become of a row $1. Where lost is set, the row is found by its ID no more.
var damages = []struct {
	name, set string
	ended     bool // the token was ended before
	elsewhere bool // the row is no longer among those of its subject
	lost      bool
}{
	{name: "first byte flipped", set: "body = set_byte(body, 0, get_byte(body, 0) # 128)"},
	{name: "a byte flipped", set: "body = set_byte(body, 20, get_byte(body, 20) # 1)"},
	{name: "last byte flipped", set: "body = set_byte(body, length(body) - 1, get_byte(body, length(body) - 1) # 1)"},
	{name: "cut short", set: "body = substr(body, 1, length(body) - 1)"},
	{name: "one byte more", set: `body = body || '\x00'`},
	{name: "empty", set: "body = ''"},
	{name: "a newer version", set: "body = set_byte(body, 0, get_byte(body, 0) + 1)"},
	{name: "body of another", set: "body = (SELECT o.body FROM $token o WHERE o.subject_key = t.subject_key AND o.id <> t.id LIMIT 1)"},
	{name: "used before its last put", set: "used = used - 1"},
	{name: "expires before its last put", set: "expires = expires - 1"},
	{name: "expired", set: "expires = used - 1"},
	{name: "expires after its cap", set: "expires = cap + 1, live = cap + 1"},
	{name: "live too early", set: "live = expires - 1"},
	{name: "live as if it had an end", set: fmt.Sprint("live = ", int64(never))},
	{name: "ended by its column", set: "ended = used"},
	{name: "ended by its columns", set: fmt.Sprint("ended = used, live = ", int64(never))},
	{name: "ended by its body", set: "ended = NULL", ended: true},
	{name: "ended at another instant", set: "ended = ended + 1", ended: true},
	{name: "ended, and live", set: "live = expires + 1", ended: true},
	{name: "ended, and later expiry", set: "expires = expires + 1", ended: true},
	{name: "another subject", set: "subject_key = subject_key # 1", elsewhere: true},
	{name: "another tag", set: "tag = tag # 1::smallint", lost: true},
}

// spoilt is a store with three tokens of a subject, of which the row of the second is damaged.
type spoilt struct {
	s       *Store
	m       *lapse.Manager
	subject string
	tokens  [3]lapse.Issued
}

// spoil returns tokens of a new subject. The row of the second is damaged as set says.
func spoil(t *testing.T, s *Store, subject, set string, ended bool) *spoilt {
	t.Helper()
	m, err := lapse.New(s, lapse.Config{Policy: lapse.Policy{MaxTokens: 3, AtLimit: lapse.LimitEndOldest}})
	if err != nil {
		t.Fatal(err)
	}
	x := &spoilt{s: s, m: m, subject: subject}
	for i := range x.tokens {
		if x.tokens[i], err = m.Issue(t.Context(), lapse.Grant{Subject: subject}); err != nil {
			t.Fatal(err)
		}
	}
	if ended {
		if _, err := m.Expire(t.Context(), x.victim().ID); err != nil {
			t.Fatal(err)
		}
	}
	token := newNames(s.options.Schema).token
	sql := "UPDATE " + token + " t SET " + strings.ReplaceAll(set, "$token", token) + " WHERE id = $1"
	if done, err := adminPool(t).Exec(t.Context(), sql, [16]byte(x.victim().ID)); err != nil || done.RowsAffected() != 1 {
		t.Fatal(done, err)
	}
	return x
}

func (x *spoilt) victim() lapse.Issued { return x.tokens[1] }

// byID are all calls that name the damaged record.
func (x *spoilt) byID(ctx context.Context) map[string]func() error {
	v := x.victim()
	update := func(fn func(tx storage.Tx) error) func() error {
		return func() error { return x.s.Update(ctx, x.subject, fn) }
	}
	first := func(_ lapse.Token, err error) error { return err }
	over := storage.Record{Token: v.Token, Digest: storage.NewDigest(storage.SHA256, [32]byte{1})}
	return map[string]func() error{
		"Tx.Put": update(puts(over)),
		"PutIfFits": update(func(tx storage.Tx) error {
			if tx.(storage.Fitter).PutIfFits(&over, 10, over.IssuedAt) {
				return nil
			}
			_, err := tx.Get(over.ID)
			return err
		}),
		"Get":          func() error { _, err := x.s.Get(ctx, v.ID); return err },
		"Tx.Get":       update(func(tx storage.Tx) error { _, err := tx.Get(v.ID); return err }),
		"Tx.Delete":    update(func(tx storage.Tx) error { return tx.Delete(v.ID) }),
		"UpdateID":     func() error { return x.s.UpdateID(ctx, v.ID, func(storage.Tx) error { return nil }) },
		"Authenticate": func() error { return first(x.m.Authenticate(ctx, v.Bearer)) },
		"Peek":         func() error { return first(x.m.Peek(ctx, v.Bearer)) },
		"Renew":        func() error { return first(x.m.Renew(ctx, v.Bearer)) },
		"Rotate":       func() error { _, err := x.m.Rotate(ctx, v.Bearer, 0); return err },
		"ExpireBearer": func() error { _, err := x.m.ExpireBearer(ctx, v.Bearer); return err },
		"Expire":       func() error { _, err := x.m.Expire(ctx, v.ID); return err },
		"Token":        func() error { return first(x.m.Token(ctx, v.ID)) },
	}
}

// walks are all ways to read many records. Each returns the errors by the IDs of what was read.
func (x *spoilt) walks(ctx context.Context) map[string]map[storage.ID]error {
	all := map[string]map[storage.ID]error{}
	note := func(name string, id storage.ID, err error) {
		if all[name] == nil {
			all[name] = map[storage.ID]error{}
		}
		all[name][id] = err
	}
	for r, err := range x.s.List(ctx, storage.Filter{}) {
		note("List", r.ID, err)
	}
	for r, err := range x.s.List(ctx, storage.Filter{Subject: x.subject}) {
		note("List of the subject", r.ID, err)
	}
	for r, err := range x.s.Gets(ctx, []storage.ID{x.tokens[0].ID, x.tokens[1].ID, x.tokens[2].ID}) {
		note("Gets", r.ID, err)
	}
	for after, more := "", true; more; more = after != "" {
		rs, next, err := x.s.Page(ctx, after, 2)
		for i, r := range rs {
			note("Page", r.ID, map[bool]error{true: err}[i == len(rs)-1])
		}
		after = next
	}
	if err := x.s.Update(ctx, x.subject, func(tx storage.Tx) error {
		for r, err := range tx.Records() {
			note("Tx.Records", r.ID, err)
		}
		for r, err := range tx.Living(x.tokens[0].IssuedAt) {
			note("Tx.Living", r.ID, err)
		}
		return nil
	}); err != nil {
		note("Tx.Records", storage.ID{}, err)
	}
	for tok, err := range x.m.List(ctx, lapse.Query{Subject: x.subject}) {
		note("Manager.List", tok.ID, err)
	}
	return all
}

// TestDamagedRow: a row whose body is damaged, or whose columns do not agree with it, is ErrCorrupt for
// each call that meets it: no good token, and no bad one. It hides none of the others.
func TestDamagedRow(t *testing.T) {
	o := &Options{Schema: "damaged"}
	emptied(t, o)
	s := opened(t, o)
	for _, row := range damages {
		t.Run(row.name, func(t *testing.T) {
			emptied(t, o)
			x := spoil(t, s, "ana", row.set, row.ended)
			for name, call := range x.byID(t.Context()) {
				if row.lost && (name == "Tx.Put" || name == "PutIfFits") { // they make another row
					continue
				}
				err := call()
				switch unauthenticated := errors.Is(err, lapse.ErrUnauthenticated); {
				case row.lost && !unauthenticated && !errors.Is(err, storage.ErrNotFound) && (err != nil || name != "Expire"):
					t.Errorf("%s: %v; want no such record", name, err)
				case !row.lost && (unauthenticated || !errors.Is(err, storage.ErrCorrupt)):
					t.Errorf("%s: %v; want ErrCorrupt alone", name, err)
				}
			}
			var use storage.Use
			if row.ended { // other rows may be sound once they have risen
				use = storage.Use{At: time.Now(), ExpiresAt: x.victim().ExpiresAt.Add(time.Hour)}
			}
			if err := s.Touch(t.Context(), x.victim().ID, use); err != nil {
				t.Errorf("Touch: %v", err)
			}
			for name, found := range x.walks(t.Context()) {
				by := name == "List" || name == "Page" || name == "Gets"
				for i, tok := range x.tokens {
					err, there := found[tok.ID]
					hidden := i == 1 && (row.elsewhere && !by || row.lost && name == "Gets")
					if i == 1 && !there && name == "Tx.Living" { // it need not yield what does not live by its columns
						continue
					}
					if there == hidden || errors.Is(err, storage.ErrCorrupt) != (i == 1 && !hidden) || i != 1 && err != nil {
						t.Errorf("%s: token %d: found %t, %v", name, i, there, err)
					}
				}
			}
			x.goOn(t)
		})
	}
}

// goOn checks that the verbs of the subject serve its sound tokens.
func (x *spoilt) goOn(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	if n, err := x.m.Count(ctx, lapse.Query{Subject: x.subject}); n != 2 || err != nil && !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("Count: %d, %v; want 2", n, err)
	}
	for i, evicted := range []int{0, 1} { // two are sound, and three may live
		issued, err := x.m.Issue(ctx, lapse.Grant{Subject: x.subject})
		if err != nil || len(issued.Evicted) != evicted {
			t.Errorf("Issue %d: %v, evicted %v; want %d", i, err, issued.Evicted, evicted)
		}
	}
	if n, err := x.m.ExpireSubject(ctx, x.subject); n != 3 || err != nil {
		t.Errorf("ExpireSubject: %d, %v; want the 3 that can be read", n, err)
	}
	if _, err := x.m.Authenticate(ctx, x.victim().Bearer); err == nil {
		t.Error("the token of the damaged row is good after all tokens were ended")
	}
	n, err := x.s.Sweep(ctx, time.Now().AddDate(100, 0, 0), 10)
	if n < 4 || n > 5 || err != nil {
		t.Errorf("Sweep: %d, %v; want the 4 sound records, with the damaged one or without", n, err)
	}
}

// TestDamagedHeader: the header of a subject decides no verdict. A count in it that is too high costs
// nothing. One that is too low lets as many tokens more live, until an Issue has found it full.
func TestDamagedHeader(t *testing.T) {
	o := &Options{Schema: "damaged header"}
	emptied(t, o)
	s := opened(t, o)
	const limit = 3 // of spoil
	for name, row := range map[string]struct {
		sql   string
		exact bool
	}{
		"deleted":             {"DELETE FROM $subject", false},
		"count of none":       {"UPDATE $subject SET tokens = 0", false},
		"count one too high":  {"UPDATE $subject SET tokens = tokens + 1", true},
		"count much too high": {"UPDATE $subject SET tokens = 1 << 60", true},
		"counted in future":   {"UPDATE $subject SET counted = 1::bigint << 60", true},
		"another write":       {"UPDATE $subject SET rev = rev # 2", true},
	} {
		t.Run(name, func(t *testing.T) {
			emptied(t, o)
			damage := func() {
				if _, err := adminPool(t).Exec(t.Context(), strings.ReplaceAll(row.sql, "$subject", newNames(o.Schema).subject)); err != nil {
					t.Fatal(err)
				}
			}
			x := spoil(t, s, "ana", "used = used", false)
			damage()
			for _, tok := range x.tokens {
				if _, err := x.m.Authenticate(t.Context(), tok.Bearer); err != nil {
					t.Errorf("Authenticate: %v", err)
				}
			}
			for n := 1; n <= limit+1; n++ {
				if _, err := x.m.Issue(t.Context(), lapse.Grant{Subject: "ana"}); err != nil {
					t.Fatal(err)
				}
				alive, err := x.m.Count(t.Context(), lapse.Query{Subject: "ana", Live: true})
				if most := limit + n; err != nil || alive > most || (row.exact || n > limit) && alive != limit {
					t.Errorf("%d alive after %d more, %v; want %d", alive, n, err, limit)
				}
			}
			damage()
			issued, err := x.m.Issue(t.Context(), lapse.Grant{Subject: "bob"})
			if err != nil {
				t.Fatal(err)
			}
			damage()
			if issued, err = x.m.Rotate(t.Context(), issued.Bearer, 0); err != nil {
				t.Errorf("Rotate: %v", err)
			}
			damage()
			if ended, err := x.m.Expire(t.Context(), issued.ID); !ended || err != nil {
				t.Errorf("Expire: %t, %v", ended, err)
			}
			damage()
			if n, err := x.m.ExpireSubject(t.Context(), "ana"); n != limit || err != nil {
				t.Errorf("ExpireSubject: %d, %v; want %d", n, err, limit)
			}
		})
	}
}

// TestDroppedTable: a table that was dropped under an open store is an error that says what to do, for
// each call that needs the table. No such call takes a token for a bad one.
func TestDroppedTable(t *testing.T) {
	o := &Options{Schema: "dropped"}
	for table, works := range map[string]string{"token": "", "subject": "Get Authenticate Peek Token"} {
		emptied(t, o)
		s := opened(t, o)
		x := spoil(t, s, "ana", "used = used", false)
		if _, err := adminPool(t).Exec(t.Context(), "DROP TABLE "+map[string]string{"token": newNames(o.Schema).token, "subject": newNames(o.Schema).subject}[table]); err != nil {
			t.Fatal(err)
		}
		calls := x.byID(t.Context())
		calls["Issue"] = func() error { _, err := x.m.Issue(t.Context(), lapse.Grant{Subject: "ana"}); return err }
		calls["ExpireSubject"] = func() error { _, err := x.m.ExpireSubject(t.Context(), "ana"); return err }
		for name, call := range calls {
			err := call()
			if strings.Contains(works, name) {
				if err != nil {
					t.Errorf("no table %s: %s: %v", table, name, err)
				}
				continue
			}
			if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, lapse.ErrUnauthenticated) || !strings.Contains(err.Error(), "Migrate") {
				t.Errorf("no table %s: %s: %v; want ErrUnavailable that says Migrate", table, name, err)
			}
		}
		s.Close()
		if _, err := adminPool(t).Exec(t.Context(), "DROP SCHEMA dropped CASCADE"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamagedVersion: tables whose version is lost are neither opened nor migrated, and the error says
// what to do. Once the version is there again, the tokens are.
func TestDamagedVersion(t *testing.T) {
	o := &Options{Schema: "damaged version"}
	emptied(t, o)
	s := opened(t, o)
	x := spoil(t, s, "ana", "used = used", false)
	setting := newNames(o.Schema).setting
	exec := func(sql string) {
		if _, err := adminPool(t).Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { adminPool(t).Exec(context.Background(), `DROP SCHEMA "damaged version" CASCADE`) })
	for name, sql := range map[string]string{
		"deleted":  "DELETE FROM " + setting + " WHERE name = 'version'",
		"no text":  "UPDATE " + setting + " SET value = '' WHERE name = 'version'",
		"a word":   "UPDATE " + setting + " SET value = 'one' WHERE name = 'version'",
		"negative": "UPDATE " + setting + " SET value = '-1' WHERE name = 'version'",
		"too long": "UPDATE " + setting + " SET value = '99999999999999999999' WHERE name = 'version'",
	} {
		exec(sql)
		again, err := Open(t.Context(), dsn(t), o)
		if err == nil {
			again.Close()
		}
		for verb, err := range map[string]error{"Open": err, "Migrate": Migrate(t.Context(), adminPool(t), o)} {
			if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "restore that row") {
				t.Errorf("%s: %s: %v; want ErrUnavailable that says what to do", name, verb, err)
			}
		}
		exec("INSERT INTO " + setting + " VALUES ('version', '1') ON CONFLICT (name) DO UPDATE SET value = '1'")
	}
	if _, err := opened(t, o).Get(t.Context(), x.victim().ID); err != nil {
		t.Errorf("Get after all: %v", err)
	}
}
