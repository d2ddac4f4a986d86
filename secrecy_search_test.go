package lapse

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"

	"github.com/seed-55daa01a/lapse/storage"
)

// fmtVerbs are all verbs of package fmt, and one that does not exist, those that
// make no sense for a struct too, with flags that change the form.
var fmtVerbs = func() (all []string) {
	for _, flags := range []string{"", "+", "#", "# ", "-020"} {
		for _, verb := range "vsqxXdobOcUeEfFgGtTz" {
			all = append(all, "%"+flags+string(verb))
		}
	}
	return all
}()

// secrets are texts that must appear nowhere, with what each is a spelling of,
// under their first bytes, for a search in one pass.
type secrets map[[headLen]byte]map[string]string

const headLen = 6

func (s secrets) add(what, text string) {
	if text = strings.Trim(text, `[]{}"' `); len(text) < headLen {
		return
	}
	rest := text // so that few texts begin alike
	if _, value, complains := strings.Cut(text, "="); complains && strings.HasPrefix(text, "%!") {
		rest = value
	}
	if rest = strings.TrimLeft(rest, "0 "); len(rest) > 2*headLen {
		text = rest
	}
	head := [headLen]byte([]byte(text))
	if s[head] == nil {
		s[head] = map[string]string{}
	}
	s[head][text] = what
}

// leaks returns what stands in output that must not.
func (s secrets) leaks(output string) (found []string) {
	var head [headLen]byte
	for at := range len(output) - headLen + 1 {
		copy(head[:], output[at:])
		for text, what := range s[head] {
			if strings.HasPrefix(output[at:], text) {
				found = append(found, what)
			}
		}
	}
	return found
}

// secretsOf returns what to search an output for: every form in which fmt, JSON,
// gob and the usual encodings could write the secret of a bearer, or its digest. A
// few bytes of it are enough. The ID may be seen by anybody.
func secretsOf(bearer string) secrets {
	s := secrets{}
	var c credential
	prefix, ok := c.Parse(bearer, "lapse", begin("lapse"))
	if !ok {
		panic("not a token")
	}
	sum, refreshing := c.Sum(newBinding(prefix)), c.Sum(newRefreshBinding(prefix))
	digits := bearer[len(bearer)-50:] // the secret's, and the checksum's
	for at := 0; at < 44; at += 11 {
		s.addBytes("digits of the secret", []byte(digits[at:at+11]))
	}
	s.addBytes("checksum", []byte(digits[44:]))
	for at := 0; at < 32; at += 8 {
		s.addBytes("raw secret", c[idLen+at:][:8])
		s.addBytes("digest", sum[at:][:8])
		s.addBytes("digest", refreshing[at:][:8])
	}
	s.addBase64("raw secret", c[idLen:])
	s.addBase64("digest", sum[:])
	s.addBase64("digest", refreshing[:])
	s.addBase64("bearer", []byte(bearer)[len(bearer)-50:])
	s.addBase64("bearer", []byte(bearer)[len(bearer)-51:])
	s.addBase64("bearer", []byte(bearer)[len(bearer)-52:])
	return s
}

// addRecord adds what rec keeps of its secrets: the digest, and of what is sealed in it
// everything but instants and names.
func (s secrets) addRecord(rec *storage.Record) {
	sum := rec.Digest.Sum()
	s.addLong("digest", sum[:])
	if kept, ok := sessionOf(rec); ok {
		key := kept.key()
		s.addLong("key of the tags", key[:])
		for _, digest := range []string{kept.access(), kept.previousAccess(), kept.previousRefresh()} {
			s.addLong("sealed digest", []byte(digest))
		}
		s.addLong("salt", []byte(kept.salt()))
		return
	}
	if r, ok, err := rotationOf(rec); ok && err == nil {
		s.addLong("key of the tags", r.key[:])
		s.addLong("sealed digest", r.first[:])
		s.addLong("sealed digest", r.previous[:])
		s.addLong("salt", r.salt[:])
		return
	}
	if salt, ok := saltOf(rec); ok {
		s.addLong("salt", []byte(salt))
	}
}

// addLong adds b by eight bytes, unless it is all zero, which stands for nothing.
func (s secrets) addLong(what string, b []byte) {
	if len(bytes.Trim(b, "\x00")) == 0 {
		return
	}
	for at := 0; at+8 <= len(b); at += 8 {
		s.addBytes(what, b[at:][:8])
	}
	s.addBase64(what, b)
}

// addBytes adds b as text, as fmt writes it with each verb, as numbers between
// the separators of fmt, Go and JSON, and as the integers it may be kept as.
func (s secrets) addBytes(what string, b []byte) {
	s.add(what, string(b))
	for _, verb := range fmtVerbs {
		if !strings.HasSuffix(verb, "T") {
			s.add(what+" by "+verb, fmt.Sprintf(verb, b))
			s.add(what+" as text by "+verb, fmt.Sprintf(verb, string(b)))
		}
	}
	inArray := []byte{} // gob writes the elements of an array as numbers
	for _, b := range b {
		if b >= 0x80 {
			inArray = append(inArray, 0xff)
		}
		inArray = append(inArray, b)
	}
	s.add(what+" in an array by gob", string(inArray))
	s.add(what+" in Go syntax", fmt.Sprintf("%#v", b)[len("[]byte{"):])
	s.add(what+" in Go syntax", fmt.Sprintf("%# v", b)[len("[]byte{"):])
	s.add(what+" in JSON", strings.ReplaceAll(fmt.Sprint(b), " ", ","))
	text, _ := json.Marshal(string(b))
	s.add(what+" as text in JSON", string(text))
	var escaped bytes.Buffer
	xml.EscapeText(&escaped, b)
	s.add(what+" as text in XML", escaped.String())
	if len(b) == 8 {
		s.add(what+" as an integer", fmt.Sprint(binary.BigEndian.Uint64(b)))
		s.add(what+" as an integer", fmt.Sprint(binary.LittleEndian.Uint64(b)))
	}
}

// addBase64 adds b in the alphabets of RFC 4648, by 12 characters, wherever in a
// longer text it begins.
func (s secrets) addBase64(what string, b []byte) {
	for offset := range 3 {
		for rest := b[offset:]; len(rest) >= 9; rest = rest[9:] {
			s.add(what+" in base64", base64.StdEncoding.EncodeToString(rest[:9]))
			s.add(what+" in base64", base64.URLEncoding.EncodeToString(rest[:9]))
		}
	}
}

// shapes are the ways in which a value is handed to a printer.
type nest struct {
	Deep struct {
		Value any
		Ptr   any
		Slice []any
	}
	Map map[string]any
}

func shapes[T any](v T) map[string]any {
	n := nest{Map: map[string]any{"value": v, "pointer": &v}}
	n.Deep.Value, n.Deep.Ptr, n.Deep.Slice = v, &v, []any{v}
	pointer := &v
	return map[string]any{
		"value": v, "pointer": &v, "pointer to pointer": &pointer, "slice": []T{v}, "slice of pointers": []*T{&v},
		"array": [2]T{v, v}, "map": map[string]T{"k": v}, "map of pointers": map[string]*T{"k": &v},
		"struct": struct{ Field T }{v}, "struct with pointer": struct{ Field *T }{&v}, "nested": n, "any": []any{v, &v},
	}
}

// outputs writes v with every printer that promises to keep secrets, and yields
// each result with its name.
func outputs(yield func(name, output string), v any) {
	for _, verb := range fmtVerbs {
		yield("fmt "+verb, fmt.Sprintf(verb, v))
	}
	for name, format := range map[string]string{"one too many": "", "as a width": "%*d", "at an index": "%[1]v %[1]d %[2]v"} {
		yield("fmt, "+name, fmt.Sprintf(format, v, 1))
	}
	yield("fmt.Sprint", fmt.Sprint(v, v))
	yield("fmt.Sprintln", fmt.Sprintln(v))
	yield("fmt.Errorf", fmt.Errorf("%v: %w", v, errOwnDisk).Error())
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		log := slog.New(handler(&b))
		log.Info("message", "key", v)
		log.With("key", v).Info("message", slog.Group("group", "key", v))
		yield(name, b.String())
	}
	if b, err := json.Marshal(v); err != nil {
		yield("JSON's error", err.Error())
	} else {
		yield("JSON", string(b))
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		yield("gob's error", err.Error())
	}
	yield("gob", b.String())
	if b, err := xml.Marshal(v); err != nil {
		yield("XML's error", err.Error())
	} else {
		yield("XML", string(b))
	}
}
