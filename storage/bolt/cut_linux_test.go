package bolt

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// journals are the ways in which a disk may be mounted. What they change is when,
// and in which order, it writes what nobody has synced.
var journals = []string{
	"data=ordered,commit=5",
	"data=ordered,commit=1000,nobarrier",
	"data=writeback,commit=1000",
	"data=writeback,commit=5,noauto_da_alloc",
	"data=journal,commit=1000",
	"data=ordered,commit=1000,nodelalloc,noauto_da_alloc",
}

// tempFilesAreSwept: a store that is made anew removes what an interrupted making
// has left beside it.
const tempFilesAreSwept = true

const diskSize = 64 << 20

// powered is a disk with the workload's file on it.
type powered struct {
	*disk
	*model
	path string
}

// TestPowerCut cuts the power under a workload, again and again, and compares what
// the disk has kept with what the workload had said. The disk is an ext4 image that
// loses what was not synced, as a machine's does. Every other round begins with no
// file and is mostly cut before there is one.
func TestPowerCut(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	seed, folder := drawn(t), memoryDisk(t, "600m")
	disks := make([]*powered, len(journals))
	byMode, made, left, counts := make([]int, len(journals)), 0, 0, newModel()
	for n, tries := 0, 0; n < *cuts; tries++ {
		r, mode := chance(seed, tries), tries/2%len(journals)
		if disks[mode] == nil {
			d := newDisk(t, folder, diskSize, "")
			d.remount(t, journals[mode])
			disks[mode] = &powered{d, newModel(), filepath.Join(d.dir, "tokens.db")}
		}
		p := disks[mode]
		fresh := tries%2 == 1
		if fresh {
			p = &powered{p.disk, newModel(), filepath.Join(p.dir, fmt.Sprintf("new-%d", tries), "tokens.db")}
			if err := os.Mkdir(filepath.Dir(p.path), 0o700); err != nil {
				t.Fatal(err)
			}
			syncs(t, p.dir)
		}
		acks, wrong := p.round(r, faultFree, fresh)
		for _, wrong := range wrong {
			t.Errorf("round %d, %s, new file %v: %s", n, journals[mode], fresh, wrong)
		}
		if t.Failed() {
			return
		}
		counts.add(p.model)
		if fresh {
			left += p.temporary()
			os.RemoveAll(filepath.Dir(p.path))
			made++
		}
		if fresh || acks >= minAcknowledged {
			n++
			byMode[mode]++
		}
		if tries > 3**cuts+3 {
			t.Fatalf("of %d rounds too few had %d acknowledged operations", tries, minAcknowledged)
		}
	}
	if tempFilesAreSwept && left > 0 {
		t.Errorf("%d temporary files were left beside %d new ones", left, made)
	}
	for mode, n := range byMode {
		if n > 0 {
			t.Logf("%d cuts with %s", n, disks[mode].options)
		}
	}
	t.Logf("%d cuts in all, %d while a file was made (%d temporary files left); acknowledged: %s", *cuts, made, left, counts.covered())
}

// TestPowerCutIsCaught: a store that does not sync is caught soon.
func TestPowerCutIsCaught(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	seed := drawn(t)
	d := newDisk(t, memoryDisk(t, "100m"), diskSize, "commit=1000")
	for n := range 20 {
		p := &powered{d, newModel(), filepath.Join(d.dir, fmt.Sprintf("tokens-%d.db", n))}
		if acks, wrong := p.round(chance(seed, n), noSync, false); len(wrong) > 0 {
			t.Logf("caught after %d cuts, the last one after %d acknowledged operations: %.300s", n+1, acks, wrong[0])
			return
		}
	}
	t.Error("20 cuts have not caught a store that does not sync")
}

// round runs a workload, cuts the power and returns what is wrong afterwards: once
// enough was acknowledged, or, of a new file, about when it is made.
func (p *powered) round(r *rand.Rand, plant string, fresh bool) (acks int, wrong []string) {
	plan, enough, looks, isCut := p.plan(r, plant), minAcknowledged+r.IntN(400), r.IntN(1500), false
	var cutting error
	acks, err := p.run(p.path, plan, func(c *child, acks int, line string) {
		if fresh && line == saidOpening {
			for range looks {
				os.ReadDir(filepath.Dir(p.path))
			}
		}
		if !isCut && (acks == enough || fresh && line == saidOpening) {
			isCut, cutting = true, p.cut()
			for range r.IntN(2000) {
				os.Getppid() // it goes on a little, with errors
			}
			c.cmd.Process.Kill()
		}
	})
	if isCut && err != nil && strings.Contains(err.Error(), saidFailed) {
		err = nil // it could not open its file any more
	}
	for _, err := range []error{err, cutting, p.restart()} {
		if err != nil {
			return acks, []string{err.Error()}
		}
	}
	if _, err := os.Stat(p.path); fresh && err != nil {
		p.counts["files not there yet"]++
	}
	return acks, p.compare(p.path)
}

// remount mounts the disk in another way, if the kernel knows it.
func (d *disk) remount(t *testing.T, options string) {
	t.Helper()
	plain := d.options
	err := d.unmount()
	if err == nil {
		d.options = options
		err = d.mount()
	}
	if err == nil {
		return
	}
	t.Logf("not taken: %v", err)
	d.options = plain
	if err := d.mount(); err != nil {
		unable(t, err)
	}
}

// temporary returns how many files are beside the store's own.
func (p *powered) temporary() int {
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(p.path), ".lapse-*"))
	return len(left)
}

// syncs makes what is in dir durable.
func syncs(t *testing.T, dir string) {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
}

// add adds what was covered with another model to m's, and forgets it there.
func (m *model) add(other *model) {
	for name, n := range other.counts {
		m.counts[name] += n
	}
	clear(other.counts)
}
