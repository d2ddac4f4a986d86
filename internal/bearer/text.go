// Package bearer makes and reads the text of a token, its ID and secret, the digest that a store
// keeps of the secret, and the tags and keys of secrets. It knows no store and no policy.
package bearer

import (
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"unsafe"

	"github.com/seed-55daa01a/lapse/internal/base62"
	"github.com/seed-55daa01a/lapse/storage"
)

// The text of a token is a prefix, an underscore, and BodyLen digits of base62: the ID, the secret
// and a checksum.
const (
	IDLen         = 16                                     // bytes
	SecretLen     = 32                                     // bytes
	checksumStart = (IDLen + SecretLen) / 8 * base62.Group // in the body
	BodyLen       = checksumStart + 6
	maxBearer     = storage.MaxPrefix + 1 + BodyLen
)

// Credential is the content of a bearer text: the ID of a record, then a secret of it.
type Credential [IDLen + SecretLen]byte

// ID returns the ID of the record.
func (c *Credential) ID() storage.ID { return storage.ID(c[:IDLen]) }

// Secret returns a pointer to the secret in c.
func (c *Credential) Secret() *[SecretLen]byte { return (*[SecretLen]byte)(c[IDLen:]) }

// Binding ties a digest to the format version, the prefix, and whether the secret refreshes a
// session. So a text whose prefix was changed, or a refresh text that is presented to
// authenticate, has another digest.
type Binding [4]byte

// NewBinding returns the binding of texts that authenticate under prefix.
func NewBinding(prefix string) Binding { return bindingOf("lapse token, format 1, prefix " + prefix) }

// NewRefreshBinding returns the binding of texts that refresh sessions under prefix.
func NewRefreshBinding(prefix string) Binding {
	return bindingOf("lapse refresh token, format 2, prefix " + prefix)
}

func bindingOf(label string) Binding {
	sum := sha256.Sum256([]byte(label))
	return Binding(sum[:])
}

// Digest returns the digest of c that a record keeps.
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

// Hashed is the input of a digest: a binding and a credential. Its 52 bytes are one compression
// of SHA-256. A credential that Parse sets in its place here need not be copied before the hash:
// with a copy, a check costs 10 percent more (BenchmarkAuthenticate beside its parts).
type Hashed [len(Binding{}) + len(Credential{})]byte

// Credential returns a pointer to the credential in h.
func (h *Hashed) Credential() *Credential { return (*Credential)(h[len(Binding{}):]) }

// Sum returns Credential.Sum of the credential in h.
func (h *Hashed) Sum(b Binding) [sha256.Size]byte {
	*(*Binding)(h[:]) = b
	return sha256.Sum256(h[:])
}

// Text returns the bearer text of c under prefix.
func (c *Credential) Text(prefix string) string {
	b := make([]byte, 0, len(prefix)+1+BodyLen)
	b = append(append(b, prefix...), '_')
	b = base62.Append(b, c[:])
	b = base62.Append32(b, checksum(unsafe.String(&b[0], len(b))))
	return unsafe.String(&b[0], len(b)) // nothing changes b after this
}

// checksum returns the CRC-32 (IEEE) of text. hash/crc32 does not write to the bytes of text; a
// conversion to []byte would copy them to the heap.
func checksum(text string) uint32 {
	return crc32.ChecksumIEEE(unsafe.Slice(unsafe.StringData(text), len(text)))
}

// Parse sets c from a bearer text and returns the prefix of the text. ok is false, and c means
// nothing, unless Text returns that text for some valid prefix: Parse trims and folds nothing. own
// is a valid prefix, the one that is likely. Parse reads at most maxBearer bytes of any text. It
// does no I/O and allocates nothing.
func (c *Credential) Parse(bearer, own string) (prefix string, ok bool) {
	under := len(bearer) - BodyLen - 1
	if under < 1 || under > storage.MaxPrefix || bearer[under] != '_' {
		return "", false
	}
	if prefix = bearer[:under]; prefix != own && CheckPrefix(prefix) != nil {
		return "", false
	}
	body := bearer[under+1:]
	want, ok := base62.Decode32(body[checksumStart:])
	if !ok || checksum(bearer[:under+1+checksumStart]) != want {
		return "", false
	}
	return prefix, base62.Decode(c[:], body)
}

// The errors of CheckPrefix. They are variables, because Parse must refuse a foreign prefix without
// an allocation.
var (
	ErrPrefixLength  = errors.New("want 1 to 16 bytes")
	ErrPrefixLetters = errors.New("want a lower-case letter, then lower-case letters, digits and underscores")
	ErrPrefixEnd     = errors.New("must not end in an underscore")
)

// CheckPrefix returns nil if prefix is valid, or one of the errors above.
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
