package memory_test

import (
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// Nothing outlives Close here, so there is no Reopen.
var backend = storagetest.Backend{
	Open: func(testing.TB) storage.Store { return memory.New() },
}

func TestStore(t *testing.T) { storagetest.Run(t, backend) }

func BenchmarkStore(b *testing.B) { storagetest.Bench(b, backend) }
