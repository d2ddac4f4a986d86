package bolt

import (
	"hash/crc32"
	"time"

	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

func encode(r *storage.Record) ([]byte, error) { return wire.Encode(nil, r) }

func decode(key, v []byte) (storage.Record, error) { return wire.Decode(key, v) }

const (
	sumLen   = wire.SumLen
	fixedLen = 3 + 6*8 + 32 + 5*2 // the least of a record, without its sum
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	lastMilli  = time.Date(9999, 12, 31, 23, 59, 59, 999_000_000, time.UTC).UnixMilli()
)
