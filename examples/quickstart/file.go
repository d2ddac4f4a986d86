package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// reopen closes the file under a server that goes on, and opens it again.
func (t *tour) reopen() error {
	t.heading("A store that cannot answer logs no user out")
	t.clock.Add(5 * time.Minute)
	if err := t.store.Close(); err != nil {
		return err
	}
	t.note("closed", "the file")
	t.present(t.logins, t.laptop.Bearer, "laptop")

	t.clock.Add(5 * time.Minute)
	if err := t.open(); err != nil {
		return err
	}
	t.note("reopened", "the file")
	t.present(t.logins, t.laptop.Bearer, "laptop")
	t.present(t.keys, t.script.Bearer, "backup script")
	return nil
}

// searchFile looks through every byte of the file for the secrets of this run, as a
// thief of the file would. The file holds digests only. The search finds the IDs, which
// are no secret: that shows that it works.
func (t *tour) searchFile() error {
	t.heading("What a thief of the file gets")
	if err := t.store.Close(); err != nil {
		return err
	}
	content, err := os.ReadFile(t.path)
	if err != nil {
		return err
	}
	for _, tok := range t.issued {
		if err := search(content, tok); err != nil {
			return err
		}
	}
	ids := make(map[lapse.ID]bool)
	for _, tok := range t.issued {
		ids[tok.ID] = true
	}
	t.note("searched", "for the %s of this run, as text, digits, raw bytes, hex and base64", count(len(t.issued), "secret"))
	t.note("found", "none of them; all %s, which are public, so the search works", count(len(ids), "ID"))
	return nil
}

// search returns an error unless content holds the ID of tok and nothing of its
// secret.
func search(content []byte, tok lapse.Issued) error {
	forms, err := secretForms(tok)
	if err != nil {
		return err
	}
	for _, form := range forms {
		if bytes.Contains(content, form.bytes) {
			return fmt.Errorf("the secret of %s is in the file as %s", brief(tok.Token), form.name)
		}
	}
	if !bytes.Contains(content, tok.ID[:]) {
		return fmt.Errorf("the ID of %s is not in the file, so the search shows nothing", brief(tok.Token))
	}
	return nil
}

// form is one way in which a careless store might have written a secret.
type form struct {
	name  string
	bytes []byte
}

// secretForms takes the bearer text of tok apart: prefix, underscore, 22 digits of ID,
// 44 of secret, 6 of checksum. No application has to do this.
func secretForms(tok lapse.Issued) ([]form, error) {
	body := strings.TrimPrefix(tok.Bearer, tok.Prefix+"_")
	if len(body) != 72 || !bytes.Equal(decode(body[:22]), tok.ID[:]) {
		return nil, fmt.Errorf("the text of %s is not laid out as expected", brief(tok.Token))
	}
	digits, raw := body[22:66], decode(body[22:66])
	lower := hex.EncodeToString(raw)
	return []form{
		{"bearer text", []byte(tok.Bearer)},
		{"digits", []byte(digits)},
		{"raw bytes", raw},
		{"hex", []byte(lower)},
		{"hex in capitals", []byte(strings.ToUpper(lower))},
		{"base64", []byte(base64.RawStdEncoding.EncodeToString(raw))},
		{"base64 for URLs", []byte(base64.RawURLEncoding.EncodeToString(raw))},
	}, nil
}

// decode reads groups of 11 base62 digits as 8 bytes each.
func decode(digits string) []byte {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var raw []byte
	for ; len(digits) >= 11; digits = digits[11:] {
		var group uint64
		for _, c := range digits[:11] {
			group = group*62 + uint64(strings.IndexRune(alphabet, c))
		}
		raw = binary.BigEndian.AppendUint64(raw, group)
	}
	return raw
}
