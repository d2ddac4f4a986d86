package bearer_test

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/bearer"
)

// BenchmarkFind is a search of the files of this repository, of base64url, of a line of digits alone,
// of names, and of runs that have the form of a text: by Find, and by the pattern for comparison.
func BenchmarkFind(b *testing.B) {
	var sources bytes.Buffer
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, ".md") {
			return err
		}
		text, err := os.ReadFile(path)
		sources.Write(text)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	random := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	for _, input := range []struct {
		name string
		text []byte
	}{
		{"sources", sources.Bytes()}, {"base64url", []byte(base64.URLEncoding.EncodeToString(random))}, {"digits", bytes.Repeat([]byte("abcdefgh"), 1<<19)},
		{"names", bytes.Repeat([]byte("the_name_of_a_thing "), 200_000)},
		{"forms", bytes.Repeat([]byte("abcdefghijklmnop_"+strings.Repeat("0", bearer.BodyLen)+"\n"), 40_000)},
	} {
		b.Run(input.name+"/Find", func(b *testing.B) {
			b.SetBytes(int64(len(input.text)))
			for b.Loop() {
				for range bearer.Find(bytes.NewReader(input.text)) {
				}
			}
		})
		b.Run(input.name+"/regexp", func(b *testing.B) {
			b.SetBytes(int64(len(input.text)))
			for b.Loop() {
				pattern.FindAllIndex(input.text, -1)
			}
		})
	}
}
