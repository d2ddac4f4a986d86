package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/seed-55daa01a/lapse"
)

// version is the number of the protocol. It changes when an earlier client would misunderstand a server.
const version = 1

// The codes of JSON-RPC 2.0, section 5.1, and the one that it leaves to the server.
const (
	codeParse   = -32700
	codeRequest = -32600
	codeMethod  = -32601
	codeParams  = -32602
	codeFailed  = -32000
)

// request is a line from the client.
type request struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method"`
	Params  *params         `json:"params,omitempty"`
}

// params are the members that the methods take. Which of them a method takes, its entry in the table of
// methods says.
type params struct {
	Version int         `json:"version,omitempty"`
	Prefix  string      `json:"prefix,omitempty"` // of the Manager or the Pairs; "": the first, or where the method has a list, all
	Note    string      `json:"note,omitempty"`   // of the actor
	ID      *lapse.ID   `json:"id,omitempty"`
	Keep    []lapse.ID  `json:"keep,omitempty"`
	Subject *string     `json:"subject,omitempty"`
	Bearer  *string     `json:"bearer,omitempty"`
	Overlap nanoseconds `json:"overlap_ns,omitempty"`
	Query   *query      `json:"query,omitempty"`
	Grant   *grant      `json:"grant,omitempty"`
	Changes *changes    `json:"changes,omitempty"`
}

type nanoseconds = time.Duration

// answer is a line from the server: a result, an error, or a part of a result that comes in parts.
type answer struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"` // "part", with Params
	Params  *part           `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *fault          `json:"error,omitempty"`
}

// part is a part of the answer to the request of ID: of a list, or of a backup.
type part struct {
	ID    json.RawMessage   `json:"id"`
	Items []json.RawMessage `json:"items,omitempty"` // each is an item
	Data  []byte            `json:"data,omitempty"`
}

// Hello is what the server says of itself when a connection begins.
type Hello struct {
	Version  int      `json:"version"`         // of the protocol
	Prefixes []Prefix `json:"prefixes"`        // of its Managers and Pairs; the first is that of a Client which Under did not return
	Store    bool     `json:"store,omitempty"` // Backup, Compact and StoreStats work
	Full     bool     `json:"full,omitempty"`  // this caller may call the verbs that write
}

// Prefix is the prefix of a Manager of the server.
type Prefix struct {
	Prefix  string `json:"prefix"`            // of the texts of a Manager, for Pairs of their access texts
	Refresh string `json:"refresh,omitempty"` // of the refresh texts; "": there are no Pairs
}

// maxID is how long the id of a request can be.
const maxID = 64

// parse returns the request of a line. refused says what is wrong with it, and req has the ID then, if
// that can be read.
func parse(line []byte, table map[string]method) (req request, refused *fault) {
	if line = bytes.TrimSpace(line); len(line) == 0 || line[0] != '{' || !json.Valid(line) {
		return req, refuse(codeParse, "the line is not one JSON object; send one object a line, and no batches")
	}
	if !isUnicode(line) {
		return req, refuse(codeParse, "a text of the line is no UTF-8, or has half a surrogate pair; send UTF-8")
	}
	var raw struct {
		request
		Params map[string]json.RawMessage `json:"params"`
	}
	if err := strictly(line, &raw); err != nil {
		return req, refuse(codeRequest, "the object has other members than jsonrpc, id, method and params, or one of a wrong form")
	}
	if id := raw.ID; len(id) > maxID || len(id) == 0 || id[0] != '"' && (id[0] < '0' || id[0] > '9') {
		return req, refuse(codeRequest, "the id is not a number from 0 or a string, of at most 64 bytes")
	}
	req.ID, req.Method, req.Params = raw.ID, raw.Method, new(params)
	m, known := table[req.Method]
	switch {
	case raw.JSONRPC != "2.0":
		return req, refuse(codeRequest, `jsonrpc is not "2.0"`)
	case !known:
		return req, refuse(codeMethod, "no such method; the methods are "+names(table))
	}
	return req, m.accept(raw.Params, req.Params)
}

// accept sets p to the params of a request for m.
func (m *method) accept(raw map[string]json.RawMessage, p *params) *fault {
	for name, value := range raw {
		if !m.takes(name) {
			return refuse(codeParams, "params has a member that this method does not take; "+m.usage())
		}
		text, _ := json.Marshal(map[string]json.RawMessage{name: value})
		if err := strictly(text, p); err != nil {
			return refuseAs(codeParams, "params."+name+" has a wrong form or an unknown member; docs/admin.md has the forms", onlyKnown(err))
		}
	}
	for _, name := range m.required() {
		if value, ok := raw[name]; !ok || string(value) == "null" {
			return refuse(codeParams, "params lacks "+name+"; "+m.usage())
		}
	}
	return nil
}

// strictly decodes text, which is one JSON value, and refuses unknown members.
func strictly(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one value")
	}
	return nil
}

// isUnicode reports whether the texts of line, which is valid JSON, are valid Unicode. The decoder would turn
// another text into a valid one, and the verb would act on another subject.
func isUnicode(line []byte) bool {
	for rest := line; ; {
		at := bytes.IndexByte(rest, '\\')
		if at < 0 {
			return utf8.Valid(line)
		}
		rest = rest[at:]
		switch first := surrogate(rest); {
		case first == 0:
			rest = rest[len(`\n`):]
		case utf16.DecodeRune(first, surrogate(rest[len(`\u0000`):])) == utf8.RuneError:
			return false
		default:
			rest = rest[2*len(`\u0000`):]
		}
	}
}

// surrogate returns the half of a surrogate pair that text, of valid JSON, begins with, or 0.
func surrogate(text []byte) rune {
	if !bytes.HasPrefix(text, []byte(`\u`)) {
		return 0
	}
	r, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil || !utf16.IsSurrogate(rune(r)) {
		return 0
	}
	return rune(r)
}
