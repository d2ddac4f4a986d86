package wire

import (
	"encoding/binary"
	"hash/crc32"
)

// State describes a file. Each transaction of the file writes it. It is stored, in big-endian
// order, as
//
//	16  Log
//	8   Merged
//	1   NeedsLog, 1, and Named, 2, or their sum
//	16  Superseded
//	8   Tx
//	16  Sum
//	4   CRC-32 (Castagnoli) of "state" and everything before
type State struct {
	Log        [16]byte // the ID of the log that is, or was last, beside the file; zero: there was none
	Merged     uint64   // the number of the last group of that log that the file has, and one more for each group written without a log since
	NeedsLog   bool     // the file may miss groups of the log
	Named      bool     // the name that the file had at this write is durable
	Superseded [16]byte // the ID of the log of a store that this file has replaced; zero: none
	Tx         uint64   // of the transaction of bbolt after the one that wrote the state
	Sum        Sum      // of all records
}

const (
	stateKey     = "state"
	flagNeedsLog = 1
	flagNamed    = 2
	stateLen     = 16 + 8 + 1 + 16 + 8 + 16 + SumLen
)

// Encode returns the encoded st.
func (st *State) Encode() []byte {
	b := make([]byte, 0, stateLen)
	b = append(b, st.Log[:]...)
	b = binary.BigEndian.AppendUint64(b, st.Merged)
	flags := byte(0)
	if st.NeedsLog {
		flags |= flagNeedsLog
	}
	if st.Named {
		flags |= flagNamed
	}
	b = append(append(b, flags), st.Superseded[:]...)
	for _, n := range [3]uint64{st.Tx, st.Sum.Records, st.Sum.Fingerprints} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return binary.BigEndian.AppendUint32(b, Checksum([]byte(stateKey), b))
}

// DecodeState returns the state that b encodes, and false if b is no encoded state.
func DecodeState(b []byte) (st State, ok bool) {
	if len(b) != stateLen || Checksum([]byte(stateKey), b[:stateLen-SumLen]) != binary.BigEndian.Uint32(b[stateLen-SumLen:]) {
		return st, false
	}
	copy(st.Log[:], b)
	st.Merged = binary.BigEndian.Uint64(b[16:])
	st.NeedsLog, st.Named = b[24]&flagNeedsLog != 0, b[24]&flagNamed != 0
	copy(st.Superseded[:], b[25:])
	st.Tx = binary.BigEndian.Uint64(b[41:])
	st.Sum = Sum{binary.BigEndian.Uint64(b[49:]), binary.BigEndian.Uint64(b[57:])}
	return st, b[24] <= flagNeedsLog|flagNamed
}

// Sum is the number of all records of a file and the sum of their fingerprints. Each transaction
// updates it. A Sum that does not fit shows a page that is sound in itself but older than the
// others, and records that another program has changed.
//
// A Sum finds accidents. A program that changes records on purpose can make the Sum fit.
type Sum struct{ Records, Fingerprints uint64 }

// Add adds the record that is stored as value under key.
func (s *Sum) Add(key, value []byte) {
	s.Records++
	s.Fingerprints += fingerprint(key, value)
}

// Remove undoes Add.
func (s *Sum) Remove(key, value []byte) {
	s.Records--
	s.Fingerprints -= fingerprint(key, value)
}

// fingerprint returns 64 bits that differ between records, and between versions of one record. It
// depends only on the key and on the checksum at the end of value: where another part of the value
// is damaged, the sum does not change.
func fingerprint(key, value []byte) uint64 {
	m := uint64(crc32.ChecksumIEEE(key)) << 32
	if len(value) >= SumLen {
		m |= uint64(binary.BigEndian.Uint32(value[len(value)-SumLen:]))
	}
	return mix(m) // otherwise differences would cancel out
}

// mix makes each bit of m depend on all bits of m.
func mix(m uint64) uint64 {
	const odd = 0xd6e8feb86659fd93
	m = (m ^ m>>32) * odd
	m = (m ^ m>>32) * odd
	return m ^ m>>32
}
