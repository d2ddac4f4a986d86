package bearer

import (
	"crypto/sha256"
	"encoding/binary"
	"unsafe"

	"github.com/seed-55daa01a/lapse/storage"
)

// Hash returns the SHA-256 of label and parts, each behind its length. It allocates nothing where
// all of them have less than 256 bytes together.
func Hash(label string, parts ...string) [sha256.Size]byte {
	var stack [256]byte
	b := append(stack[:0], label...)
	for _, part := range parts {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...)
	}
	return sha256.Sum256(b)
}

// ForeignAlias returns the ID of the alias by which a foreign text of key is found under prefix.
func ForeignAlias(prefix, key string) storage.ID {
	return aliasID(Hash("lapse alias of a foreign text, version 1", prefix, key))
}

// RequestAlias returns the ID of the alias by which a request for subject is found under prefix.
func RequestAlias(prefix, subject, request string) storage.ID {
	return aliasID(Hash("lapse alias of a request, version 1", prefix, subject, request))
}

// aliasID returns an ID made of sum. It is a UUID of version 8, so that Mint, which makes version
// 7, never draws it.
func aliasID(sum [sha256.Size]byte) storage.ID {
	id := storage.ID(sum[:])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// ForeignSum returns the sum that a record keeps of digest, the digest of a foreign text.
func ForeignSum(prefix string, digest []byte) [sha256.Size]byte {
	return Hash("lapse digest of a foreign text, version 1", prefix, unsafe.String(unsafe.SliceData(digest), len(digest)))
}

// SetForeign sets c to the credential by which a foreign text of the token of id is rotated. Its
// secret is a hash of the text, which no record has: the records do not suffice to derive the text
// that replaces it.
func (c *Credential) SetForeign(id storage.ID, text string) {
	copy(c[:], id[:])
	*c.Secret() = Hash("lapse secret of a foreign text, version 1", text)
}
