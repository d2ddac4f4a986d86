package bolt

import (
	"flag"
	"testing"
)

var images = flag.Int("images", 30, "how many images of a crash TestCrashImages opens")

// imagesEach is how many of them are drawn from one recording at most. A short campaign draws two
// thirds of its images from one recording, and the others from two crashes after a crash: to record
// takes as long as to open thirty images.
const imagesEach = 400

// TestCrashImages records every call by which a store changes its directory, and opens
// what a crash at any moment may leave of that: all that was synced, and of what was not
// any sectors, lengths and names. Nothing that was acknowledged is lost, nothing that was
// ended is alive, no file is refused, no operation has happened in part.
func TestCrashImages(t *testing.T) {
	c := newImageCampaign(t, imageSound)
	for n := 0; c.looked < *images && !t.Failed(); n++ {
		trace := c.record(chance(c.seed, n), nil, 1)
		if trace == nil {
			return
		}
		c.look(trace, min(imagesEach, max(1, *images*2/3), *images-c.looked), n)
		for again := 0; again < 2 && c.looked < *images && !t.Failed(); again++ {
			c.crashAfterCrash(trace, chance(c.seed, n*1000+again+1), n)
		}
	}
	c.report()
}

// TestCrashImagesAreCaught: the same images catch a store that leaves out a kind of sync. The stores
// do the same, and only what their calls promise differs: they share their recordings.
func TestCrashImagesAreCaught(t *testing.T) {
	sound := newImageCampaign(t, imageSound)
	var traces []*imageTrace
	for _, fault := range []string{imageNoFsync, imageNoThrough, imageNoDirSync} {
		t.Run(fault, func(t *testing.T) {
			c := newImageCampaign(t, fault)
			c.enough = 1
			for n := 0; n < 3 && len(c.wrong) == 0; n++ {
				if n == len(traces) {
					traces = append(traces, sound.record(chance(sound.seed, n), nil, 1))
				}
				if traces[n] == nil {
					t.FailNow()
				}
				traces[n].promise(fault)
				c.look(traces[n], imagesEach, n)
			}
			if len(c.wrong) == 0 {
				t.Fatalf("%d images have not caught it", c.looked)
			}
			t.Logf("caught after %d images: %.300s", c.looked, c.wrong[0])
		})
	}
}
