package lapse

import (
	"hash/crc32"
	"math/rand/v2"
	"unsafe"

	"github.com/seed-55daa01a/lapse/internal/bearer"
)

// Short names for the tests of this package, where bearer is the name of many a variable.
type (
	credential = bearer.Credential
	binding    = bearer.Binding
	tagKey     = bearer.TagKey
	secretKind = bearer.Kind
)

const (
	idLen         = bearer.IDLen
	secretLen     = bearer.SecretLen
	bodyLen       = bearer.BodyLen
	keyLen        = bearer.KeyLen
	saltLen       = bearer.SaltLen
	randomLen     = bearer.RandomLen
	generationLen = bearer.GenerationLen
	plainSecret   = bearer.PlainSecret
	accessSecret  = bearer.AccessSecret
	refreshSecret = bearer.RefreshSecret

	mintLen = idLen/2 + secretLen // how many random bytes Mint draws
)

var (
	begin             = bearer.PrefixChecksum
	checkPrefix       = bearer.CheckPrefix
	newBinding        = bearer.NewBinding
	newRefreshBinding = bearer.NewRefreshBinding
	newKey            = bearer.NewKey
)

// checksum returns the CRC-32 of text behind something whose checksum is begun, without
// an allocation.
func checksum(begun uint32, text string) uint32 {
	return crc32.Update(begun, crc32.IEEETable, unsafe.Slice(unsafe.StringData(text), len(text)))
}

// tagKeyOf makes a key from a seed, the same on every run.
func tagKeyOf(seed byte) (k tagKey) {
	_, _ = rand.NewChaCha8([32]byte{seed, 't'}).Read(k[:])
	return k
}
