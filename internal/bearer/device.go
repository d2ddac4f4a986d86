package bearer

import (
	"crypto/sha256"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// userAlphabet are the letters of a user code: consonants that make no words and that are not taken
// for one another (RFC 8628 section 6.1).
const userAlphabet = "BCDFGHJKLMNPQRSTVWXZ"

// userLen is how many letters a user code has: 34.6 bits.
const userLen = 8

// UserCode is a user code in the form that is compared: its letters alone.
type UserCode [userLen]byte

// DrawUserCode returns a random user code. Every code is equally likely.
func DrawUserCode() (c UserCode, err error) {
	const fair = 256 / len(userAlphabet) * len(userAlphabet)
	for n := 0; n < userLen; {
		var random [2 * userLen]byte
		if err := Draw(random[:]); err != nil {
			return c, err
		}
		for _, b := range random {
			if int(b) < fair && n < userLen {
				c[n] = userAlphabet[int(b)%len(userAlphabet)]
				n++
			}
		}
	}
	return c, nil
}

// maxUserText is how many bytes of a typed user code ParseUserCode reads.
const maxUserText = 64

// ParseUserCode reads a user code as a person types it: in any case, with spaces and dashes anywhere.
// ok is false for any text that is no user code.
func ParseUserCode(text string) (c UserCode, ok bool) {
	if len(text) > maxUserText {
		return c, false
	}
	n := 0
	for i := range len(text) {
		letter := text[i]
		if letter == ' ' || letter == '-' {
			continue
		}
		if letter >= 'a' && letter <= 'z' {
			letter -= 'a' - 'A'
		}
		if n == userLen || strings.IndexByte(userAlphabet, letter) < 0 {
			return c, false
		}
		c[n] = letter
		n++
	}
	return c, n == userLen
}

// String returns the form that a device shows, as WDJB-MJHT.
func (c UserCode) String() string { return string(c[:userLen/2]) + "-" + string(c[userLen/2:]) }

// DevicePrefix is the prefix of device codes, and of the records of device log-ins. CheckPrefix
// refuses it, so that no Manager has it.
const DevicePrefix = "lapse-device"

// DeviceAlias returns the ID of the record of a device log-in that waits under c, for Pairs with the
// two prefixes.
func DeviceAlias(access, refresh string, c UserCode) storage.ID {
	return aliasID(Hash("lapse:u1", access, refresh, string(c[:])))
}

// DeviceSubject returns the subject of the record of a device log-in. It holds a control character, so
// that no token can have it, and no verb takes it.
func DeviceSubject(id storage.ID) string { return "\x1f" + DevicePrefix + " " + id.String() }

// GuessAlias returns the ID of the record that counts the user codes that subject has guessed.
func GuessAlias(access, refresh, subject string) storage.ID {
	return aliasID(Hash("lapse:g2", access, refresh, subject))
}

// DeviceSession returns the ID of the session that subject approves for the device code of sum, a
// digest. The code was made at begun. The ID has the layout of those of Mint.
func DeviceSession(sum [sha256.Size]byte, subject string, begun time.Time) storage.ID {
	var c Credential
	made := Hash("lapse:s2", string(sum[:]), subject)
	copy(c[:IDLen], made[:])
	c.layOut(begun, subject)
	return c.ID()
}
