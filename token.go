package lapse

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
	"unsafe"

	"github.com/seed-55daa01a/lapse/internal/base62"
	"github.com/seed-55daa01a/lapse/storage"
)

// The text of a token: prefix, underscore, then bodyLen digits of base62.
const (
	idLen         = 16 // bytes
	secretLen     = 32
	checksumStart = (idLen + secretLen) / 8 * base62.Group // in the body
	bodyLen       = checksumStart + 6
	maxBearer     = storage.MaxPrefix + 1 + bodyLen
)

// credential is what a bearer text says: the ID of a record, then a secret of it.
type credential [idLen + secretLen]byte

func (c *credential) id() ID { return ID(c[:idLen]) }

func (c *credential) secret() *[secretLen]byte { return (*[secretLen]byte)(c[idLen:]) }

// binding binds a digest to the format version, the prefix, and whether the secret
// refreshes a session, so that a text with another prefix put before it, or of the other
// kind, is another text.
type binding [4]byte

// newBinding returns the binding of what authenticates under prefix.
func newBinding(prefix string) binding { return bindingOf("lapse token, format 1, prefix " + prefix) }

// newRefreshBinding returns the binding of what refreshes sessions under prefix.
func newRefreshBinding(prefix string) binding {
	return bindingOf("lapse refresh token, format 2, prefix " + prefix)
}

func bindingOf(label string) binding {
	sum := sha256.Sum256([]byte(label))
	return binding(sum[:])
}

// digest returns what is stored of c.
func (c *credential) digest(b binding) storage.Digest {
	return storage.NewDigest(storage.SHA256, c.sum(b))
}

// proves reports whether stored is the digest of c.
func (c *credential) proves(b binding, stored *storage.Digest) bool {
	sum := c.sum(b)
	return stored.Matches(storage.SHA256, &sum)
}

func (c *credential) sum(b binding) [sha256.Size]byte {
	var h hashed
	*h.credential() = *c
	return h.sum(b)
}

// hashed is what is hashed of a credential: 52 bytes, which is one compression. A
// credential that is read into its place need not be copied there, and the hash need not
// wait until a copy has settled in memory.
type hashed [len(binding{}) + len(credential{})]byte

func (h *hashed) credential() *credential { return (*credential)(h[len(binding{}):]) }

func (h *hashed) sum(b binding) [sha256.Size]byte {
	*(*binding)(h[:]) = b
	return sha256.Sum256(h[:])
}

// text writes c as its holder presents it.
func (c *credential) text(prefix string) string { return c.textAfter(prefix, begin(prefix)) }

// textAfter is text where begun is begin(prefix).
func (c *credential) textAfter(prefix string, begun uint32) string {
	b := make([]byte, 0, len(prefix)+1+bodyLen)
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

// begin returns the checksum of what comes before the body of a token with prefix.
func begin(prefix string) uint32 { return checksum(checksum(0, prefix), "_") }

// parse sets c from a bearer text and says which prefix it has; own is the likely
// one, and begun is begin(own). It accepts exactly what text writes for some valid prefix: nothing is
// trimmed or folded, and its work is bounded by maxBearer whatever it is given. It
// does no I/O and allocates nothing. Where it reports false, c means nothing.
func (c *credential) parse(bearer, own string, begun uint32) (prefix string, ok bool) {
	under := len(bearer) - bodyLen - 1
	if under < 1 || under > storage.MaxPrefix || bearer[under] != '_' {
		return "", false
	}
	if prefix = bearer[:under]; prefix != own {
		if checkPrefix(prefix) != nil {
			return "", false
		}
		begun = begin(prefix)
	}
	body := bearer[under+1:]
	want, ok := base62.Decode32(body[checksumStart:])
	if !ok || checksum(begun, body[:checksumStart]) != want {
		return "", false
	}
	return prefix, base62.Decode(c[:], body)
}

// Values, because parse must refuse a foreign prefix without an allocation.
var (
	errPrefixLength  = errors.New("want 1 to 16 bytes")
	errPrefixLetters = errors.New("want a lower-case letter, then lower-case letters, digits and underscores")
	errPrefixEnd     = errors.New("must not end in an underscore")
)

// checkPrefix says what is wrong with prefix, if anything.
func checkPrefix(prefix string) error {
	if len(prefix) < 1 || len(prefix) > storage.MaxPrefix {
		return errPrefixLength
	}
	for i, c := range []byte(prefix) {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return errPrefixLetters
		}
	}
	if prefix[len(prefix)-1] == '_' {
		return errPrefixEnd
	}
	return nil
}

var errNoRandomness = errors.New("lapse: the operating system's random source gave nothing usable; no token was issued")

// mintLen is how many random bytes mint draws: no more than it needs, for they cost more
// than anything else about a token.
const mintLen = idLen/2 + secretLen

// mint fills c with a fresh ID for subject, laid out as a UUID of version 7
// (RFC 9562 section 5.7) whose last 16 bits are the shard tag, and a fresh secret.
func (c *credential) mint(now time.Time, subject string) error {
	if _, err := io.ReadFull(rand.Reader, c[len(c)-mintLen:]); err != nil {
		return fmt.Errorf("%w: %w", errNoRandomness, err)
	}
	copy(c[6:8], c[idLen-2:]) // which the tag replaces
	if [secretLen]byte(c[idLen:]) == ([secretLen]byte{}) {
		return errNoRandomness
	}
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(0, now.UnixMilli())))
	copy(c[:6], ms[2:])
	c[6] = c[6]&0x0f | 0x70
	c[8] = c[8]&0x3f | 0x80
	tag := shardTag(subject)
	copy(c[idLen-len(tag):], tag[:])
	return nil
}

// shardTag returns 16 bits that are the same for all tokens of a subject: its FNV-1a
// of 32 bits, the halves XORed. Engines route by it, so it can never be another one.
func shardTag(subject string) [2]byte {
	h := uint32(2166136261)
	for i := range len(subject) {
		h = (h ^ uint32(subject[i])) * 16777619
	}
	h ^= h >> 16
	return [2]byte{byte(h >> 8), byte(h)}
}
