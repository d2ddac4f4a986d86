package lapse

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
)

// maxJitter is the most that Grant.Jitter can be: half of a life.
const maxJitter = 0.5

// checkJitter returns ErrInvalidGrant for a share that is out of limits, or none.
func checkJitter(share float64) error {
	if share >= 0 && share <= maxJitter { // which NaN is not
		return nil
	}
	return invalidGrant("Jitter", "%v is not between 0 and %v", share, maxJitter)
}

// spread draws the TTL of a token under p, once, where g spreads it: any whole number
// of milliseconds that Jitter lets it have, each as likely as the others.
func (g *Grant) spread(p *Policy) error {
	if g.Jitter == 0 {
		return nil
	}
	var random [8]byte
	if _, err := io.ReadFull(rand.Reader, random[:]); err != nil {
		return fmt.Errorf("%w: %w", bearer.ErrNoRandomness, err)
	}
	ttl := g.ttl(p)
	most := uint64((ttl - g.leastTTL(p)).Milliseconds())
	cut, _ := bits.Mul64(binary.LittleEndian.Uint64(random[:]), most+1)
	g.TTL, g.Jitter = ttl-time.Duration(cut)*time.Millisecond, 0
	return nil
}

// leastTTL returns the shortest life that spread can draw.
func (g *Grant) leastTTL(p *Policy) time.Duration {
	ttl := g.ttl(p)
	return ttl - time.Duration(float64(ttl.Milliseconds())*g.Jitter)*time.Millisecond
}
