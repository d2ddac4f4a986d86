package bearer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"github.com/seed-55daa01a/lapse/storage"
)

// KeyLen is the length of a key of NewKey, in bytes.
const KeyLen = 32

// Key derives secrets. It is a function, because reflection sees only the address of a function:
// so no printer finds the bytes of the key.
type Key func(label string, parts ...[]byte) [sha256.Size]byte

// NewKey returns a Key that computes HMAC-SHA-256 over a label and parts. All parts but the last
// have a fixed length for each label, so that two lists of parts never make the same message.
func NewKey(material [KeyLen]byte) Key {
	return func(label string, parts ...[]byte) [sha256.Size]byte {
		mac := hmac.New(sha256.New, material[:])
		mac.Write([]byte(label))
		for _, part := range parts {
			mac.Write(part)
		}
		return [sha256.Size]byte(mac.Sum(nil))
	}
}

// First returns the first secret of a token for salt. It has no tag.
func (k Key) First(id storage.ID, b Binding, salt string) [SecretLen]byte {
	return k("lapse secret by Obtain, version 1", b[:], id[:], []byte(salt))
}

// Requested is First for a token that Issue makes for a Grant.RequestID. Its label is another, so
// that Obtain does not derive the same secret.
func (k Key) Requested(id storage.ID, b Binding, salt string) [SecretLen]byte {
	return k("lapse secret by Issue, version 1", b[:], id[:], []byte(salt))
}

// Rotated returns the random bytes of the secret of a later generation for salt. SetTagged takes
// them.
func (k Key) Rotated(id storage.ID, b Binding, generation uint32, salt []byte) [sha256.Size]byte {
	return k("lapse secret by Obtain, version 2", b[:], id[:], binary.BigEndian.AppendUint32(nil, generation), salt)
}
