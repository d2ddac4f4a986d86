package main

import (
	"time"

	"aidanwoods.dev/go-paseto"
)

// pasetoPeer is go-paseto's version 4 with one key and its default rule, which is
// that a token has not expired.
type pasetoPeer struct {
	parser paseto.Parser
	local  paseto.V4SymmetricKey
	public paseto.V4AsymmetricPublicKey
	tokens []string
	open   func(p *pasetoPeer, text string) (*paseto.Token, error)
}

// newPaseto returns the peer with n tokens, v4.public if public, v4.local if not.
func newPaseto(n int, public bool) *pasetoPeer {
	p := &pasetoPeer{parser: paseto.NewParser(), local: paseto.NewV4SymmetricKey()}
	secret := paseto.NewV4AsymmetricSecretKey()
	p.public = secret.Public()
	p.open = func(p *pasetoPeer, text string) (*paseto.Token, error) {
		return p.parser.ParseV4Local(p.local, text, nil)
	}
	if public {
		p.open = func(p *pasetoPeer, text string) (*paseto.Token, error) {
			return p.parser.ParseV4Public(p.public, text, nil)
		}
	}
	for i := range n {
		token := paseto.NewToken()
		token.SetSubject(subject(i))
		token.SetString("scope", scope)
		token.SetIssuedAt(time.Now())
		token.SetExpiration(time.Now().Add(longLife))
		if public {
			p.tokens = append(p.tokens, token.V4Sign(secret, nil))
		} else {
			p.tokens = append(p.tokens, token.V4Encrypt(p.local, nil))
		}
	}
	return p
}

// check opens a token and reads what is in it.
func (p *pasetoPeer) check(i int) error {
	token, err := p.open(p, p.tokens[i%len(p.tokens)])
	if err != nil {
		return err
	}
	subject, err := token.GetSubject()
	if err != nil || subject == "" {
		return errNothing
	}
	_, err = token.GetString("scope")
	return err
}
