package wire_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/wire"
)

// A store keeps the bytes under the ID. Bytes that are found under another ID, or that are damaged,
// are no record.
func Example() {
	r := storage.Record{
		Token:  storage.Token{ID: storage.ID{1}, Subject: "ana", ExpiresAt: time.UnixMilli(4102444800_000).UTC()},
		Digest: storage.NewDigest(storage.SHA256, [32]byte{2}),
	}
	b, err := wire.Encode(nil, &r)
	if err != nil {
		fmt.Println(err)
		return
	}
	got, err := wire.Decode(r.ID, b)
	fmt.Println(got.Subject, got.Equal(r), err)

	_, err = wire.Decode(storage.ID{3}, b)
	fmt.Println(errors.Is(err, storage.ErrCorrupt))
	// Output:
	// ana true <nil>
	// true
}
