package main

import (
	"crypto/rand"
	"math/big"
	"testing"
)

// TestBase62 holds the encoder against math/big and the decoder against the encoder.
func TestBase62(t *testing.T) {
	table := newDigitTable()
	edges := [][48]byte{{}, {47: 1}, {}, {}}
	for i := range edges[2] {
		edges[2][i] = 0xff
	}
	for range 200 {
		var c [48]byte
		rand.Read(c[:])
		edges = append(edges, c)
	}
	for _, c := range edges {
		var text [66]byte
		table.encode48(&text, &c)
		for g := range 6 {
			want := new(big.Int).SetBytes(c[g*8 : g*8+8])
			got := new(big.Int)
			for _, d := range text[g*groupLen : (g+1)*groupLen] {
				value := int64(-1)
				for v, b := range []byte(digits) {
					if b == d {
						value = int64(v)
					}
				}
				got.Mul(got, big.NewInt(62)).Add(got, big.NewInt(value))
			}
			if got.Cmp(want) != 0 {
				t.Fatalf("group %d of %x is written %s", g, c, text)
			}
		}
		var back [48]byte
		if !table.decode48(&back, string(text[:])) || back != c {
			t.Fatalf("%x came back as %x", c, back)
		}
		text[13] = '-'
		if table.decode48(&back, string(text[:])) {
			t.Fatalf("%s was read", text)
		}
	}
}
