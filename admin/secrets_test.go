package admin

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// tap keeps all that is read from and written to connections.
type tap struct {
	mu      sync.Mutex
	in, out bytes.Buffer
}

type tapped struct {
	net.Conn
	*tap
}

func (c tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.Write(p[:n])
	return n, err
}

func (c tapped) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.out.Write(p)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// TestNoSecrets calls every verb except Backup and looks for digests, sealed texts and bearers in all that
// crosses.
func TestNoSecrets(t *testing.T) {
	p := newProgram(t).serve()
	ctx := t.Context()
	var wire tap
	c := must(connect(ctx, func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx, p.path)
		return tapped{conn, &wire}, err
	}))
	defer c.Close()
	plain := must(p.users.Issue(ctx, lapse.Grant{Subject: "ana", MaxUses: 9}))
	rotated := must(p.keys.Rotate(ctx, must(p.keys.Issue(ctx, lapse.Grant{Subject: "ana"})).Bearer, lapse.Policy{}.TTL))
	login := must(p.pairs.Refresh(ctx, must(p.pairs.Issue(ctx, lapse.Grant{Subject: "ana"})).Refresh.Bearer))
	dead := must(p.users.Issue(ctx, lapse.Grant{Subject: "ana"}))
	must(p.users.Expire(ctx, dead.ID))

	watching, stop := context.WithCancel(ctx)
	watched := make(chan bool)
	go func() {
		defer close(watched)
		for change := range c.Watch(watching, lapse.Query{}) {
			if change.Gap {
				watched <- true
			}
		}
	}()
	<-watched
	name := "x"
	for _, id := range []lapse.ID{plain.ID, rotated.ID, login.Access.ID, dead.ID, {9}} {
		c.Token(ctx, id)
		c.Suspend(ctx, id)
		c.Resume(ctx, id)
		c.Edit(ctx, id, lapse.Changes{Name: &name})
	}
	asked := []string{plain.Bearer, rotated.Bearer, login.Access.Bearer, login.Refresh.Bearer, dead.Bearer}
	for _, bearer := range asked {
		c.Peek(ctx, bearer)
	}
	collect(c.List(ctx, lapse.Query{}))
	collect(c.Sessions(ctx, "ana"))
	hold := must(p.users.Hold(ctx, must(p.users.Issue(ctx, lapse.Grant{Subject: "ana"})).Bearer))
	defer hold.Release()
	collect(c.Holds(ctx))
	c.Count(ctx, lapse.Query{})
	c.Stats(ctx)
	c.StoreStats(ctx)
	c.Now(ctx)
	issued := must(c.Issue(ctx, lapse.Grant{Subject: "ana", RequestID: "r"}))
	again := must(c.RotateID(ctx, issued.ID, 0))
	pair := must(c.IssuePair(ctx, lapse.Grant{Subject: "ana"}))
	c.ExpireBearer(ctx, login.Refresh.Bearer)
	c.ExpireSubject(ctx, "ana")
	var records []storage.Record
	for rec, err := range p.store.List(ctx, storage.Filter{}) {
		if records = append(records, rec); err != nil {
			t.Fatal(err)
		}
	}
	c.Expire(ctx, plain.ID)
	c.Compact(ctx)
	c.ForgetSubject(ctx, "ana")
	c.Sweep(ctx)
	stop()
	for range watched {
	}

	wire.mu.Lock()
	defer wire.mu.Unlock()
	in, out := wire.in.String(), wire.out.String()
	found, digests, sealed := "", 0, 0
	for _, rec := range records {
		sum := rec.Digest.Sum()
		digests++
		pieces := []string{string(sum[:]), string(sum[:16])}
		if text := rec.Sealed.Text(); len(text) > 20 {
			sealed++
			for at := 3; at+16 <= len(text); at++ { // any 16 bytes of it
				if piece := text[at : at+16]; strings.Trim(piece, "\x00") != "" && !strings.HasPrefix(piece, "web_refresh") && strings.Count(piece, "\x00") < 8 {
					pieces = append(pieces, piece)
				}
			}
		}
		for _, piece := range pieces {
			for _, form := range []string{
				piece, hex.EncodeToString([]byte(piece)), base64.RawStdEncoding.EncodeToString([]byte(piece))[:20], base64.RawURLEncoding.EncodeToString([]byte(piece))[:20],
			} {
				if strings.Contains(in, form) || strings.Contains(out, form) {
					found = rec.ID.String()
				}
			}
		}
	}
	if found != "" || digests < 8 || sealed < 3 {
		t.Errorf("a digest or sealed text of %q crossed; %d digests and %d sealed texts were looked for", found, digests, sealed)
	}
	for _, bearer := range asked {
		if secret := bearer[len(bearer)-50:]; strings.Contains(in, secret) || strings.Count(out, secret) == 0 {
			t.Error("a bearer of a question came back, or was not asked")
		}
	}
	for _, bearer := range []string{issued.Bearer, again.Bearer, pair.Access.Bearer, pair.Refresh.Bearer} {
		if strings.Count(in, bearer) != 1 || strings.Contains(out, bearer) {
			t.Errorf("a bearer of an answer crossed %d times", strings.Count(in, bearer))
		}
	}
	if strings.Count(in, `"bearer"`) != 4 || strings.Count(out, `"bearer"`) != len(asked)+1 {
		t.Errorf("%d bearers came and %d went", strings.Count(in, `"bearer"`), strings.Count(out, `"bearer"`))
	}
}

// TestIdleServe: a Serve with a Client that is connected leaves the Manager as it is, to the byte, so that
// Authenticate takes no lock that it did not take before. It allocates no more either.
func TestIdleServe(t *testing.T) {
	p := newProgram(t)
	m := p.pairs.Access()
	bearer := must(m.Issue(t.Context(), lapse.Grant{Subject: "ana"})).Bearer
	authenticate := func() { must(m.Authenticate(t.Context(), bearer)) }
	authenticate()
	before := testing.AllocsPerRun(1000, authenticate)
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(m)), unsafe.Sizeof(*m))
	alone := slices.Clone(bytes)
	p.serve().dial()
	if !slices.Equal(bytes, alone) { // a lock, a hook or a list of its own would stand there
		t.Error("an idle Serve has changed the Manager")
	}
	if beside := testing.AllocsPerRun(1000, authenticate); beside > before {
		t.Errorf("%v allocations beside an idle Serve, %v without", beside, before)
	}
}
