package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// jwtPeer is golang-jwt with one key, a parser that is made once and lets one
// algorithm pass, and claims of a type of their own: what its documentation advises.
type jwtPeer struct {
	method jwt.SigningMethod
	sign   any // the key
	verify any
	parser *jwt.Parser
	tokens []string
}

type claims struct {
	Scope string `json:"scope"`
	jwt.RegisteredClaims
}

// jwt returns the peer with n tokens under the named algorithm.
func (w *world) jwt(name string, n int) (*jwtPeer, error) {
	return once(w, fmt.Sprintf("%s, %d tokens", name, n), func() (*jwtPeer, error) {
		p := new(jwtPeer)
		if err := p.keys(name); err != nil {
			return nil, err
		}
		p.parser = jwt.NewParser(jwt.WithValidMethods([]string{p.method.Alg()}), jwt.WithExpirationRequired())
		for i := range n {
			text, err := p.text(subject(i))
			if err != nil {
				return nil, err
			}
			p.tokens = append(p.tokens, text)
		}
		return p, nil
	})
}

func (p *jwtPeer) keys(name string) error {
	switch name {
	case "jwt-hs256":
		key := make([]byte, 32)
		rand.Read(key)
		p.method, p.sign, p.verify = jwt.SigningMethodHS256, key, key
	case "jwt-eddsa":
		public, private, err := ed25519.GenerateKey(rand.Reader)
		p.method, p.sign, p.verify = jwt.SigningMethodEdDSA, private, public
		return err
	case "jwt-es256":
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		p.method, p.sign, p.verify = jwt.SigningMethodES256, key, &key.PublicKey
	default:
		return fmt.Errorf("no algorithm %s", name)
	}
	return nil
}

// text signs a token for a subject.
func (p *jwtPeer) text(subject string) (string, error) {
	now := time.Now()
	return jwt.NewWithClaims(p.method, claims{scope, jwt.RegisteredClaims{
		Subject:   subject,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(longLife)),
	}}).SignedString(p.sign)
}

func (p *jwtPeer) issue(subject func(i int) string) func(i int) error {
	return func(i int) error {
		_, err := p.text(subject(i))
		return err
	}
}

// check parses, verifies, and looks at the expiry.
func (p *jwtPeer) check(i int) error {
	var c claims
	_, err := p.parser.ParseWithClaims(p.tokens[i%len(p.tokens)], &c, func(*jwt.Token) (any, error) { return p.verify, nil })
	if err == nil && (c.Subject == "" || c.Scope == "") {
		err = errNothing
	}
	return err
}
