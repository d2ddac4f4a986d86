package storage

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// hushRecord has another value in each field than the zero Record.
func hushRecord() Record {
	var r Record
	for _, v := range []reflect.Value{reflect.ValueOf(&r.Token).Elem(), reflect.ValueOf(&r).Elem()} {
		for i := range v.NumField() {
			switch f := v.Field(i); f.Interface().(type) {
			case time.Time:
				f.Set(reflect.ValueOf(time.UnixMilli(int64(i + 1)).UTC()))
			case ID:
				f.Set(reflect.ValueOf(ID{15: byte(i + 1)}))
			case Thumbprint:
				f.Set(reflect.ValueOf(Thumbprint{31: byte(i + 1)}))
			case Digest:
				f.Set(reflect.ValueOf(NewDigest(SHA256, sha256.Sum256([]byte("digest")))))
			case Sealed:
				f.Set(reflect.ValueOf(NewSealed("sealed")))
			case Token:
			default:
				switch f.Kind() {
				case reflect.String:
					f.SetString(fmt.Sprint(i))
				case reflect.Bool:
					f.SetBool(true)
				case reflect.Int, reflect.Int64:
					f.SetInt(int64(i + 1))
				default:
					f.SetUint(uint64(i + 1))
				}
			}
		}
	}
	return r
}

// TestFault2_RecordsAreEqual if every field is, whatever memory holds what is sealed, and
// not if one differs.
func TestFault2_RecordsAreEqual(t *testing.T) {
	full, same, fields := hushRecord(), hushRecord(), 0
	same.Sealed = NewSealed(strings.Clone(full.Sealed.Text()))
	if !full.Equal(same) || !same.Equal(full) || !(Record{}).Equal(Record{}) || full.Equal(Record{}) {
		t.Error("a record does not equal its copy")
	}
	for _, of := range []func(*Record) reflect.Value{
		func(r *Record) reflect.Value { return reflect.ValueOf(&r.Token).Elem() }, func(r *Record) reflect.Value { return reflect.ValueOf(r).Elem() },
	} {
		v := of(&full)
		for i := range v.NumField() {
			other := full
			of(&other).Field(i).SetZero()
			if fields++; full.Equal(other) || other.Equal(full) {
				t.Errorf("%s counts for nothing", v.Type().Field(i).Name)
			}
		}
	}
	if fields < 30 {
		t.Errorf("%d fields are tried", fields)
	}
}

// TestFault2_DigestsAreMasked: the words in memory are not those of the sum, and come back
// as those.
func TestFault2_DigestsAreMasked(t *testing.T) {
	for n := range 100 {
		sum := sha256.Sum256([]byte{byte(n)})
		d := NewDigest(SHA256, sum)
		if d.Sum() != sum || d != NewDigest(SHA256, sum) || !d.Matches(SHA256, &sum) {
			t.Fatalf("digest %d does not come back", n)
		}
		for i, word := range d.words {
			if word == binary.LittleEndian.Uint64(sum[8*i:]) {
				t.Errorf("word %d of digest %d is kept as it is", i, n)
			}
		}
	}
}

// TestFault2_ZeroDigest has a sum of zeros, equals itself alone, and matches nothing. Algorithm
// 0 gives no other.
func TestFault2_ZeroDigest(t *testing.T) {
	var none Digest
	var zeros [32]byte
	sum := sha256.Sum256(nil)
	if none.Sum() != zeros || none.Algorithm() != 0 || NewDigest(0, zeros) != none || NewDigest(0, sum) != none || !none.Equal(Digest{}) {
		t.Error("the zero Digest is not itself")
	}
	if none.Matches(0, &zeros) || none.Matches(SHA256, &zeros) || none.Equal(NewDigest(SHA256, zeros)) {
		t.Error("the zero Digest passes for another")
	}
	if d := NewDigest(SHA256, zeros); d.Sum() != zeros || d == none || !d.Matches(SHA256, &zeros) {
		t.Error("a sum of zeros does not come back")
	}
}

// TestFault2_Sealed: its bytes come back, and equal those of another memory.
func TestFault2_Sealed(t *testing.T) {
	for _, text := range []string{"", "\x00", "sealed", strings.Repeat("\xff", MaxSealed)} {
		s, clone := NewSealed(text), NewSealed(strings.Clone(text))
		if s.Text() != text || s.Len() != len(text) || !s.Equal(clone) || s.Equal(NewSealed(text+"x")) || s.Equal(Sealed{}) != (text == "") {
			t.Errorf("%.10q comes back as %.10q, %d bytes", text, s.Text(), s.Len())
		}
		if text != "" && s.Equal(NewSealed(strings.Repeat("y", len(text)))) {
			t.Errorf("%.10q equals another text", text)
		}
	}
}
