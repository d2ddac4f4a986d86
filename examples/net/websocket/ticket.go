package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/seed-55daa01a/lapse"
)

// A ticket is a token of one use and a short life, a dot, and a key. The record of the
// ticket holds the token that it was traded for, sealed under the key. Only the client has
// the key: neither the file nor this process can turn an unused ticket into the token. The
// socket holds the token itself, so it lives as long as any other socket.

var encoding = base64.RawURLEncoding

// trade answers with a ticket for the token that comes with r.
func (s *server) trade(w http.ResponseWriter, r *http.Request) {
	text := fromHeader(r)
	tok, err := s.devices.Authenticate(r.Context(), text)
	if err != nil {
		s.fail(w, err)
		return
	}
	key := make([]byte, 16)
	rand.Read(key) // it never fails
	issued, err := s.tickets.Issue(r.Context(), lapse.Grant{
		Subject: tok.Subject,
		Data:    encoding.EncodeToString(sealer(key).Seal(nil, nil, []byte(text), nil)),
		MaxUses: 1,
	})
	if err != nil {
		s.fail(w, err)
		return
	}
	answer(w, http.StatusCreated, map[string]string{"ticket": issued.Bearer + "." + encoding.EncodeToString(key)})
}

// redeem spends ticket and returns the token that it was traded for.
func (s *server) redeem(ctx context.Context, ticket string) (string, error) {
	text, keyText, _ := strings.Cut(ticket, ".")
	key, err := encoding.DecodeString(keyText)
	if err != nil || len(key) != 16 {
		return "", lapse.ErrMalformed
	}
	tok, err := s.tickets.Authenticate(ctx, text) // the one use; it is durable before it returns
	if err != nil {
		return "", err
	}
	sealed, err := encoding.DecodeString(tok.Data)
	if err != nil {
		return "", fmt.Errorf("the record of ticket %s: %w", tok.ID, err)
	}
	bearer, err := sealer(key).Open(nil, nil, sealed, nil)
	if err != nil {
		return "", errors.Join(lapse.ErrUnknown, err) // another ticket's key
	}
	return string(bearer), nil
}

// sealer draws a nonce for each Seal and puts it in front. A key has 16 bytes.
func sealer(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // not for a key of 16 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // not for AES
	}
	return aead
}
