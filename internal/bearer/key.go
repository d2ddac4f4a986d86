package bearer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"github.com/seed-55daa01a/lapse/storage"
)

// KeyLen is the length of a key of NewKey, in bytes.
const KeyLen = 32

// Key derives secrets. It is a function, since reflection sees of that its address alone,
// and no printer finds the bytes.
type Key func(label string, parts ...[]byte) [sha256.Size]byte

// NewKey returns a Key that is HMAC-SHA-256 over a label and parts of fixed lengths, so
// that no two tokens, formats or prefixes have the same message.
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

// First returns the first secret of a token, which has no tag.
func (k Key) First(id storage.ID, b Binding, salt string) [SecretLen]byte {
	return k("lapse secret by Obtain, version 1", b[:], id[:], []byte(salt))
}

// Rotated returns the random bytes of the secret of a later generation.
func (k Key) Rotated(id storage.ID, b Binding, generation uint32, salt []byte) [sha256.Size]byte {
	return k("lapse secret by Obtain, version 2", b[:], id[:], binary.BigEndian.AppendUint32(nil, generation), salt)
}
