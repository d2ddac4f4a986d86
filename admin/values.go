package admin

import (
	"time"
	"unicode/utf8"

	"github.com/seed-55daa01a/lapse"
)

// notUTF8 takes the place of a text that is no valid UTF-8. JSON would turn such a text into another valid
// one, and the verb would act on another subject. Every verb refuses notUTF8.
const notUTF8 = "\x00"

// valid returns text, or notUTF8.
func valid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return notUTF8
}

// validField is valid for a text that may be nil.
func validField(text *string) *string {
	if text == nil {
		return nil
	}
	v := valid(*text)
	return &v
}

// token is a lapse.Token on the wire. Data is any bytes, which a JSON string cannot hold.
type token struct {
	lapse.Token
	Data []byte `json:"data,omitempty"`
}

func toToken(t lapse.Token) *token {
	data := t.Data
	t.Data = ""
	return &token{t, []byte(data)}
}

// token returns the lapse.Token. A nil t is the zero Token.
func (t *token) token() lapse.Token {
	if t == nil {
		return lapse.Token{}
	}
	tok := t.Token
	tok.Data = string(t.Data)
	return tok
}

// issued is a lapse.Issued on the wire, with its text.
type issued struct {
	Token    *token     `json:"token"`
	Bearer   string     `json:"bearer"`
	Evicted  []lapse.ID `json:"evicted,omitempty"`
	Existing bool       `json:"existing,omitempty"`
	Reduced  []string   `json:"reduced,omitempty"`
}

func toIssued(i lapse.Issued) issued {
	return issued{toToken(i.Token), i.Bearer, i.Evicted, i.Existing, i.Reduced}
}

// issued returns the lapse.Issued.
func (i issued) issued() lapse.Issued {
	return lapse.Issued{Token: i.Token.token(), Bearer: i.Bearer, Evicted: i.Evicted, Existing: i.Existing, Reduced: i.Reduced}
}

// pair is a lapse.TokenPair on the wire, with its texts.
type pair struct {
	Access    issued        `json:"access"`
	Refresh   issued        `json:"refresh"`
	ExpiresIn time.Duration `json:"expires_in_ns"`
	Scope     string        `json:"scope,omitempty"`
}

// item is one of a list or a watch.
type item struct {
	Token       *token `json:"token,omitempty"`
	Connections int    `json:"connections,omitempty"`
	Deleted     bool   `json:"deleted,omitempty"`
	Gap         bool   `json:"gap,omitempty"`
	Error       *fault `json:"error,omitempty"`
}

// query is a lapse.Query on the wire.
type query struct {
	Subject string        `json:"subject,omitempty"`
	Prefix  string        `json:"prefix,omitempty"`
	Name    string        `json:"name,omitempty"`
	Live    bool          `json:"live,omitempty"`
	Within  time.Duration `json:"within_ns,omitempty"`
	After   string        `json:"after,omitempty"`
	Limit   int           `json:"limit,omitempty"`
}

func toQuery(q lapse.Query) *query {
	return &query{valid(q.Subject), valid(q.Prefix), valid(q.Name), q.Live, q.Within, q.After, q.Limit}
}

// query returns the lapse.Query. A nil q is the zero Query.
func (q *query) query() lapse.Query {
	if q == nil {
		return lapse.Query{}
	}
	return lapse.Query{Subject: q.Subject, Prefix: q.Prefix, Name: q.Name, Live: q.Live, Within: q.Within, After: q.After, Limit: q.Limit}
}

// grant is a lapse.Grant on the wire.
type grant struct {
	Subject    string           `json:"subject"`
	Name       string           `json:"name,omitempty"`
	Client     string           `json:"client,omitempty"`
	Scope      string           `json:"scope,omitempty"`
	Data       []byte           `json:"data,omitempty"`
	TTL        time.Duration    `json:"ttl_ns,omitempty"`
	MaxUses    int              `json:"max_uses,omitempty"`
	UseGrace   time.Duration    `json:"use_grace_ns,omitempty"`
	SessionTTL time.Duration    `json:"session_ttl_ns,omitempty"`
	MinLeft    time.Duration    `json:"min_left_ns,omitempty"`
	Thumbprint lapse.Thumbprint `json:"thumbprint,omitzero"`
	Jitter     float64          `json:"jitter,omitempty"`
	RequestID  []byte           `json:"request_id,omitempty"`
}

func toGrant(g lapse.Grant) *grant {
	return &grant{
		valid(g.Subject), valid(g.Name), valid(g.Client), valid(g.Scope), []byte(g.Data), g.TTL, g.MaxUses, g.UseGrace,
		g.SessionTTL, g.MinLeft, g.Thumbprint, g.Jitter, []byte(g.RequestID),
	}
}

// grant returns the lapse.Grant.
func (g *grant) grant() lapse.Grant {
	return lapse.Grant{
		Subject: g.Subject, Name: g.Name, Client: g.Client, Scope: g.Scope, Data: string(g.Data), TTL: g.TTL, MaxUses: g.MaxUses, UseGrace: g.UseGrace,
		SessionTTL: g.SessionTTL, MinLeft: g.MinLeft, Thumbprint: g.Thumbprint, Jitter: g.Jitter, RequestID: string(g.RequestID),
	}
}

// changes are lapse.Changes on the wire.
type changes struct {
	Name      *string    `json:"name,omitempty"`
	Scope     *string    `json:"scope,omitempty"`
	Data      *[]byte    `json:"data,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	MaxUses   *int       `json:"max_uses,omitempty"`
}

func toChanges(c lapse.Changes) *changes {
	sent := &changes{Name: validField(c.Name), Scope: validField(c.Scope), ExpiresAt: c.ExpiresAt, MaxUses: c.MaxUses}
	if c.Data != nil {
		data := []byte(*c.Data)
		sent.Data = &data
	}
	return sent
}

// changes returns the lapse.Changes.
func (c *changes) changes() lapse.Changes {
	got := lapse.Changes{Name: c.Name, Scope: c.Scope, ExpiresAt: c.ExpiresAt, MaxUses: c.MaxUses}
	if c.Data != nil {
		data := string(*c.Data)
		got.Data = &data
	}
	return got
}
