package lapse

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/seed-55daa01a/lapse/storage"
)

// What a rotated refresh token keeps sealed, so that whoever presents it again gets
// the same credentials: a byte for the format, a nonce, then the secret of its
// successor, the ID and secret of the access token that came with it, and the tag.
// With the file alone nobody opens it: the key is derived from a secret of which
// only the digest is stored.
const (
	sealFormat = 1
	sealLabel  = "lapse refresh token, what it was rotated to, format 1"
	sealedLen  = secretLen + idLen + secretLen
)

var errSealed = fmt.Errorf("%w: what a rotated refresh token keeps sealed cannot be opened; log in anew", ErrCorrupt)

// seal returns what parent, a refresh token, keeps of the credentials that take its
// place.
func seal(parent, refresh, access *credential) (storage.Sealed, error) {
	box, ids, err := sealing(parent, refresh.id())
	if err != nil {
		return storage.Sealed{}, err
	}
	plain := make([]byte, 0, sealedLen)
	plain = append(append(plain, refresh[idLen:]...), access[:]...)
	return storage.NewSealed(string(box.Seal([]byte{sealFormat}, nil, plain, ids))), nil
}

// unseal returns what seal made sealed of, for the parent whose successor has the ID
// that is given. Anything else than what was sealed for just these is errSealed.
func unseal(sealed storage.Sealed, parent *credential, successor ID) (refresh, access credential, err error) {
	text := []byte(sealed.Text())
	if len(text) == 0 || text[0] != sealFormat {
		return refresh, access, errSealed
	}
	box, ids, err := sealing(parent, successor)
	if err != nil {
		return refresh, access, err
	}
	plain, err := box.Open(nil, nil, text[1:], ids)
	if err != nil || len(plain) != sealedLen {
		return refresh, access, errSealed
	}
	copy(refresh[:], successor[:])
	copy(refresh[idLen:], plain)
	copy(access[:], plain[secretLen:])
	return refresh, access, nil
}

// sealing returns the cipher between parent and its successor, and their IDs, which
// bind what it seals to them. HKDF under a label of its own keeps the key apart from
// the digest that is stored of the same secret. Each attempt at a rotation draws
// another successor, so no key ever seals two texts.
func sealing(parent *credential, successor ID) (cipher.AEAD, []byte, error) {
	ids := append(append(make([]byte, 0, 2*idLen), parent[:idLen]...), successor[:]...)
	key, err := hkdf.Key(sha256.New, parent[idLen:], ids, sealLabel, 32)
	if err != nil {
		return nil, nil, errors.New("lapse: no key to seal with; is HKDF with SHA-256 allowed here?")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, errors.New("lapse: no cipher to seal with; is AES allowed here?")
	}
	box, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, nil, errors.New("lapse: no cipher to seal with; is AES-GCM allowed here?")
	}
	return box, ids, nil
}
