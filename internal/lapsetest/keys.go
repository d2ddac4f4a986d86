package lapsetest

import (
	"bytes"

	"github.com/seed-55daa01a/lapse"
)

// KeyOf returns a key of Obtain that is always the same for n.
func KeyOf(n byte) []byte { return bytes.Repeat([]byte{n, 0x5a}, 16) }

// Keyed returns a Config with policy p and one key of Obtain for each of keys, see KeyOf.
func Keyed(p lapse.Policy, keys ...byte) lapse.Config {
	cfg := lapse.Config{Policy: p}
	for _, n := range keys {
		cfg.Keys = append(cfg.Keys, lapse.NewKey(KeyOf(n)))
	}
	return cfg
}
