package bolt

import (
	"encoding/binary"
	"math/rand/v2"
)

// What a file of lapse has, beside what package tree exports.
const (
	pageSize = 4096

	schema    = 3
	schemaKey = "schema"
	stateKey  = "state"
)

// logPath returns where the log of the file at path is.
func logPath(path string) string { return path + "-lapse" }

// Where a page of bbolt has what tests look for.
const (
	pageHeader   = 16
	pageFlags    = 8 // in the header, behind the page's own number
	pageCount    = 10
	pageOverflow = 12 // how many pages more belong to it
	pageElement  = 16 // how long one is

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	metaLen      = 64 // of a meta page, behind the header
	metaFreelist = 32
	metaPages    = 40
	metaTx       = 48
)

// numberAt returns the number of eight bytes that file has at.
func numberAt(file []byte, at int) int { return int(binary.NativeEndian.Uint64(file[at:])) }

// newest returns where the meta page that counts begins.
func newest(file []byte) int {
	if numberAt(file, pageSize+pageHeader+metaTx) > numberAt(file, pageHeader+metaTx) {
		return pageSize
	}
	return 0
}

// wholeOf returns how much of file its newest meta page counts.
func wholeOf(file []byte) int { return numberAt(file, newest(file)+pageHeader+metaPages) * pageSize }

// flipped returns which bits a test flips of some bytes: one of each of -flips parts, drawn.
func flipped(r *rand.Rand, length int) (chosen []int) {
	bits := 8 * length
	parts := min(*flips, bits)
	for part := range parts {
		from, to := part*bits/parts, (part+1)*bits/parts
		chosen = append(chosen, from+r.IntN(to-from))
	}
	return chosen
}
