// Package bearer is the text of a token: its form, how one is minted, what is stored of
// it, and the tags and keys that its secrets are made with. It knows no store and no
// policy.
package bearer

import (
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"unsafe"

	"github.com/seed-55daa01a/lapse/internal/base62"
	"github.com/seed-55daa01a/lapse/storage"
)

// The text of a token: prefix, underscore, then BodyLen digits of base62.
const (
	IDLen         = 16                                     // bytes
	SecretLen     = 32                                     // bytes
	checksumStart = (IDLen + SecretLen) / 8 * base62.Group // in the body
	BodyLen       = checksumStart + 6
	maxBearer     = storage.MaxPrefix + 1 + BodyLen
)

// Credential is what a bearer text says: the ID of a record, then a secret of it.
type Credential [IDLen + SecretLen]byte

// ID returns the ID of the record.
func (c *Credential) ID() storage.ID { return storage.ID(c[:IDLen]) }

// Secret returns the secret in its place.
func (c *Credential) Secret() *[SecretLen]byte { return (*[SecretLen]byte)(c[IDLen:]) }

// Binding binds a digest to the format version, the prefix, and whether the secret
// refreshes a session, so that a text with another prefix put before it, or of the other
// kind, is another text.
type Binding [4]byte

// NewBinding returns the binding of what authenticates under prefix.
func NewBinding(prefix string) Binding { return bindingOf("lapse token, format 1, prefix " + prefix) }

// NewRefreshBinding returns the binding of what refreshes sessions under prefix.
func NewRefreshBinding(prefix string) Binding {
	return bindingOf("lapse refresh token, format 2, prefix " + prefix)
}

func bindingOf(label string) Binding {
	sum := sha256.Sum256([]byte(label))
	return Binding(sum[:])
}

// Digest returns what is stored of c.
func (c *Credential) Digest(b Binding) storage.Digest {
	return storage.NewDigest(storage.SHA256, c.Sum(b))
}

// Proves reports whether stored is the digest of c.
func (c *Credential) Proves(b Binding, stored *storage.Digest) bool {
	sum := c.Sum(b)
	return stored.Matches(storage.SHA256, &sum)
}

// Sum returns the SHA-256 that Digest is made of.
func (c *Credential) Sum(b Binding) [sha256.Size]byte {
	var h Hashed
	*h.Credential() = *c
	return h.Sum(b)
}

// Hashed is what is hashed of a credential: 52 bytes, which is one compression. A
// credential that is read into its place need not be copied there, and the hash need not
// wait until a copy has settled in memory.
type Hashed [len(Binding{}) + len(Credential{})]byte

// Credential returns the place of the credential in h.
func (h *Hashed) Credential() *Credential { return (*Credential)(h[len(Binding{}):]) }

// Sum is Credential.Sum of what is in h.
func (h *Hashed) Sum(b Binding) [sha256.Size]byte {
	*(*Binding)(h[:]) = b
	return sha256.Sum256(h[:])
}

// Text writes c as its holder presents it.
func (c *Credential) Text(prefix string) string { return c.TextAfter(prefix, PrefixChecksum(prefix)) }

// TextAfter is Text where begun is PrefixChecksum(prefix).
func (c *Credential) TextAfter(prefix string, begun uint32) string {
	b := make([]byte, 0, len(prefix)+1+BodyLen)
	b = append(append(b, prefix...), '_')
	b = base62.Append(b, c[:])
	b = base62.Append32(b, checksum(begun, unsafe.String(&b[len(prefix)+1], checksumStart)))
	return unsafe.String(&b[0], len(b)) // nobody else has b
}

// checksum returns the CRC-32 (IEEE) of text behind something whose checksum is
// begun. hash/crc32 only reads it; a conversion would copy it to the heap.
func checksum(begun uint32, text string) uint32 {
	return crc32.Update(begun, crc32.IEEETable, unsafe.Slice(unsafe.StringData(text), len(text)))
}

// PrefixChecksum returns the checksum of what comes before the body of a token with prefix.
func PrefixChecksum(prefix string) uint32 { return checksum(checksum(0, prefix), "_") }

// Parse sets c from a bearer text and says which prefix it has; own is the likely
// one, and begun is PrefixChecksum(own). Parse accepts exactly what Text writes for some
// valid prefix: nothing is trimmed or folded. Its work is bounded by maxBearer whatever it
// is given. It does no I/O and allocates nothing. Where it reports false, c means nothing.
func (c *Credential) Parse(bearer, own string, begun uint32) (prefix string, ok bool) {
	under := len(bearer) - BodyLen - 1
	if under < 1 || under > storage.MaxPrefix || bearer[under] != '_' {
		return "", false
	}
	if prefix = bearer[:under]; prefix != own {
		if CheckPrefix(prefix) != nil {
			return "", false
		}
		begun = PrefixChecksum(prefix)
	}
	body := bearer[under+1:]
	want, ok := base62.Decode32(body[checksumStart:])
	if !ok || checksum(begun, body[:checksumStart]) != want {
		return "", false
	}
	return prefix, base62.Decode(c[:], body)
}

// What CheckPrefix returns. They are values, because Parse must refuse a foreign prefix
// without an allocation.
var (
	ErrPrefixLength  = errors.New("want 1 to 16 bytes")
	ErrPrefixLetters = errors.New("want a lower-case letter, then lower-case letters, digits and underscores")
	ErrPrefixEnd     = errors.New("must not end in an underscore")
)

// CheckPrefix says what is wrong with prefix, if anything.
func CheckPrefix(prefix string) error {
	if len(prefix) < 1 || len(prefix) > storage.MaxPrefix {
		return ErrPrefixLength
	}
	for i, c := range []byte(prefix) {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return ErrPrefixLetters
		}
	}
	if prefix[len(prefix)-1] == '_' {
		return ErrPrefixEnd
	}
	return nil
}
