package lapse

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// evictee is a live token for evict, named by the last byte of its ID.
func evictee(id byte, issued, used time.Duration) Token {
	t := Token{ID: ID{15: id}, IssuedAt: after(issued), ExpiresAt: after(1000 * time.Hour)}
	if used != unused {
		t.LastUsedAt = after(used)
	}
	return t
}

const unused = time.Duration(-1)

// replacedAt is tok with a secret that replaced another one.
func replacedAt(tok Token, rotated time.Duration) Token {
	tok.Generation, tok.RotatedAt = tok.Generation+1, after(rotated)
	return tok
}

// TestEvict: its input is in ID order, as a Tx yields it, and among equals the
// lowest ID goes first.
func TestEvict(t *testing.T) {
	const h = time.Hour
	for _, tt := range []struct {
		name   string
		live   []Token
		limit  int
		oldest []byte
		idlest []byte
	}{
		{"room for one", []Token{evictee(1, 0, unused)}, 2, nil, nil},
		{"none live", nil, 1, nil, nil},
		{"the only one", []Token{evictee(1, 0, h)}, 1, []byte{1}, []byte{1}},
		{"never used: since issue", []Token{evictee(1, 0, unused), evictee(2, h, unused)}, 2, []byte{1}, []byte{1}},
		{"the older one is used later", []Token{evictee(1, 0, 5*h), evictee(2, h, 2*h)}, 2, []byte{1}, []byte{2}},
		{"used before another was issued", []Token{evictee(1, 0, h), evictee(2, 2*h, unused)}, 2, []byte{1}, []byte{1}},
		{"used after another was issued", []Token{evictee(1, 0, 3*h), evictee(2, 2*h, unused)}, 2, []byte{1}, []byte{2}},
		{"use recorded before issue counts as issue", []Token{evictee(1, 2*h, 0), evictee(2, h, unused)}, 2, []byte{2}, []byte{2}},
		{"IDs not in the order of issue", []Token{evictee(1, 2*h, unused), evictee(2, h, unused), evictee(3, 0, unused)}, 3, []byte{3}, []byte{3}},
		{"all tied", []Token{evictee(1, 0, h), evictee(2, 0, h), evictee(3, 0, h)}, 3, []byte{1}, []byte{1}},
		{"issue tied, use not", []Token{evictee(1, 0, 3*h), evictee(2, 0, 2*h), evictee(3, 0, 4*h)}, 3, []byte{1}, []byte{2}},
		{"use tied, issue not", []Token{evictee(1, 2*h, 3*h), evictee(2, h, 3*h), evictee(3, 0, 3*h)}, 3, []byte{3}, []byte{1}},
		{"use ties issue of another", []Token{evictee(1, h, unused), evictee(2, 0, h)}, 2, []byte{2}, []byte{1}},
		{"limit lowered by two", []Token{evictee(1, 0, 9*h), evictee(2, h, 2*h), evictee(3, 2*h, 3*h), evictee(4, 3*h, unused)}, 2, []byte{1, 2, 3}, []byte{2, 3, 4}},
		{"limit lowered, ties by ID", []Token{evictee(1, 0, h), evictee(2, 0, h), evictee(3, 0, h), evictee(4, 0, h)}, 3, []byte{1, 2}, []byte{1, 2}},
		{"limit lowered to one", []Token{evictee(1, 0, 2*h), evictee(2, h, unused)}, 1, []byte{1, 2}, []byte{2, 1}},
		{"rotated: as old as before, and used then", []Token{replacedAt(evictee(1, 0, unused), 3*h), evictee(2, h, 2*h)}, 2, []byte{1}, []byte{2}},
		{"used after it was rotated", []Token{replacedAt(evictee(1, 0, 5*h), 3*h), evictee(2, h, 4*h)}, 2, []byte{1}, []byte{2}},
		{"rotated after it was used", []Token{replacedAt(evictee(1, 0, 3*h), 5*h), evictee(2, h, 4*h)}, 2, []byte{1}, []byte{2}},
		{"rotation ties use of another", []Token{replacedAt(evictee(1, h, unused), 3*h), evictee(2, 0, 3*h)}, 2, []byte{2}, []byte{1}},
		{"both rotated", []Token{replacedAt(evictee(1, 0, unused), 5*h), replacedAt(evictee(2, h, unused), 4*h)}, 2, []byte{1}, []byte{2}},
		{"no limit", []Token{evictee(1, 0, unused)}, NoTokenLimit, nil, nil},
	} {
		for _, mode := range []struct {
			name string
			at   AtLimit
			want []byte
		}{{"oldest", LimitEndOldest, tt.oldest}, {"idlest", LimitEndIdlest, tt.idlest}} {
			t.Run(tt.name+"/"+mode.name, func(t *testing.T) {
				p := Policy{MaxTokens: tt.limit, AtLimit: mode.at}
				var got []byte
				for _, tok := range p.evict(append([]Token{}, tt.live...), max(0, len(tt.live)+1-tt.limit), notHeld) {
					got = append(got, tok.ID[15])
				}
				if diff := cmp.Diff(mode.want, got); diff != "" {
					t.Errorf("evicted (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestEvictHeld: a connection that is held counts as a use now, for LimitEndIdlest alone;
// of two that are held the one goes that would go otherwise.
func TestEvictHeld(t *testing.T) {
	const h = time.Hour
	live := []Token{evictee(1, 0, unused), evictee(2, h, 2*h), evictee(3, 3*h, 4*h)}
	for _, tt := range []struct {
		held           []byte
		n              int
		oldest, idlest []byte
	}{
		{nil, 1, []byte{1}, []byte{1}},
		{[]byte{1}, 1, []byte{1}, []byte{2}},
		{[]byte{1, 2}, 1, []byte{1}, []byte{3}},
		{[]byte{1, 2}, 2, []byte{1, 2}, []byte{3, 1}},
		{[]byte{1, 2, 3}, 2, []byte{1, 2}, []byte{1, 2}},
		{[]byte{3}, 3, []byte{1, 2, 3}, []byte{1, 2, 3}},
	} {
		held := func(id ID) bool { return slices.Contains(tt.held, id[15]) }
		for at, want := range map[AtLimit][]byte{LimitEndOldest: tt.oldest, LimitEndIdlest: tt.idlest} {
			p := Policy{AtLimit: at}
			var got []byte
			for _, tok := range p.evict(slices.Clone(live), tt.n, held) {
				got = append(got, tok.ID[15])
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("held %v, AtLimit %d: evicted (-want +got):\n%s", tt.held, at, diff)
			}
		}
	}
}

// TestEvictManyTies: more equals than a sort moves around by insertion.
func TestEvictManyTies(t *testing.T) {
	for _, at := range []AtLimit{LimitEndOldest, LimitEndIdlest} {
		var live []Token
		for id := range byte(200) {
			live = append(live, evictee(id, time.Duration(id%2)*time.Hour, 5*time.Hour))
		}
		p := Policy{MaxTokens: 101, AtLimit: at}
		evicted := p.evict(live, len(live)+1-p.MaxTokens, notHeld)
		if len(evicted) != 100 {
			t.Fatalf("evicted %d, want 100", len(evicted))
		}
		for i, tok := range evicted {
			want := byte(2 * i) // the even ones were issued first
			if at == LimitEndIdlest {
				want = byte(i)
			}
			if tok.ID[15] != want {
				t.Fatalf("number %d is %d, want %d", i, tok.ID[15], want)
			}
		}
	}
}

// TestEvictedAreTold: Issue says whom it ended, in order, and never the new one,
// even where that would be the first to go.
func TestEvictedAreTold(t *testing.T) {
	store := newTallyStore()
	wide, mock := managerOver(t, store, Config{Policy: Policy{TTL: 10 * time.Hour}})
	var ids []ID
	for range 4 {
		ids = append(ids, issueTo(t, wide, Grant{Subject: "ana"}).ID)
		mock.Add(time.Second)
	}
	narrow, _ := managerOver(t, store, Config{Clock: mock, Policy: Policy{MaxTokens: 2, AtLimit: LimitEndOldest}})
	mock.Set(after(-time.Hour)) // the new one is issued before all others
	issued := issueTo(t, narrow, Grant{Subject: "ana", TTL: time.Millisecond})
	if diff := cmp.Diff(ids[:3], issued.Evicted); diff != "" {
		t.Errorf("evicted (-want +got):\n%s", diff)
	}
	for _, id := range ids[:3] {
		tok, err := wide.Token(t.Context(), id)
		if err != nil || tok.EndReason != EndEvicted || !tok.EndedAt.Equal(after(-time.Hour)) {
			t.Errorf("%v ended at %v (%v): %v", id, tok.EndedAt, tok.EndReason, err)
		}
	}
	if tok, err := narrow.Peek(t.Context(), issued.Bearer); err != nil {
		t.Errorf("the new token is %+v: %v", tok, err)
	}
}

// TestDeadByALoweredCapMakesRoom: what the policy calls dead does not count.
func TestDeadByALoweredCapMakesRoom(t *testing.T) {
	store := newTallyStore()
	wide, mock := managerOver(t, store, Config{Policy: Policy{TTL: 10 * time.Hour}})
	issueTo(t, wide, Grant{Subject: "ana"})
	lowered, _ := managerOver(t, store, Config{Clock: mock, Policy: Policy{TTL: time.Hour, MaxTTL: 2 * time.Hour, MaxTokens: 1}})
	mock.Set(after(2*time.Hour - time.Millisecond))
	if _, err := lowered.Issue(t.Context(), Grant{Subject: "ana"}); err == nil {
		t.Error("issued a second one while the first is alive")
	}
	mock.Set(after(2 * time.Hour))
	issueTo(t, lowered, Grant{Subject: "ana"})
}

// notHeld says that no connection is held.
func notHeld(ID) bool { return false }
