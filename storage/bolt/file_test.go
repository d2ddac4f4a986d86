package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/storage"
)

// record returns a record that differs from that of every other n.
func record(n int) storage.Record {
	var id storage.ID
	binary.BigEndian.PutUint64(id[:], uint64(n+1))
	at := time.UnixMilli(1_700_000_000_000 + int64(n)).UTC()
	return storage.Record{
		Token: storage.Token{
			ID: id, Prefix: "lapse", Subject: fmt.Sprintf("subject %d", n%7), Name: "a name", Scope: "a b",
			Data: strings.Repeat("d", n%50), IssuedAt: at, ExpiresAt: at.Add(time.Hour), MaxExpiresAt: at.Add(24 * time.Hour),
		},
		TTL:    time.Hour,
		Digest: storage.NewDigest(storage.SHA256, sha256.Sum256(id[:])),
	}
}

// large returns a record that needs a page of its own.
func large(n int) storage.Record {
	r := record(1000 + n)
	r.Data = strings.Repeat("x", storage.MaxData)
	return r
}

func put(t *testing.T, s *Store, records ...storage.Record) {
	t.Helper()
	for _, r := range records {
		err := s.Update(context.Background(), r.Subject, func(tx storage.Tx) error { return tx.Put(r) })
		if err != nil {
			t.Fatalf("put: %v", err)
		}
	}
}

// makeFile returns the path of a closed store with n records, and its bytes.
func makeFile(t *testing.T, n int) (string, []byte) {
	t.Helper()
	return makeFileIn(t, t.TempDir(), n)
}

// makeFileIn is makeFile in a folder that is there, quickDir for a test of many rounds
// that is not about what the disk keeps.
func makeFileIn(t *testing.T, dir string, n int) (string, []byte) {
	t.Helper()
	path := filepath.Join(dir, "tokens.db")
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		put(t, s, record(i))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, b
}

// otherProgram returns the bytes of a bbolt file that lapse did not make.
func otherProgram(t *testing.T, sync bool) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: !sync})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("sessions"))
		return errors.Join(err, b.Put([]byte("a"), []byte("b")))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func withSchema(t *testing.T, value string) []byte {
	t.Helper()
	path, _ := makeFile(t, 1)
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(tree.MetaBucket)).Put([]byte(schemaKey), []byte(value))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOpenRefusesWhatIsNoStore(t *testing.T) {
	_, good := makeFile(t, 300)
	const page = pageSize
	type row struct {
		name string
		data []byte
		want error
	}
	rows := []row{
		{"empty", nil, storage.ErrCorrupt},
		{"text", []byte("these are not the bytes you are looking for\n"), storage.ErrCorrupt},
		{"zeros", make([]byte, 4*page), storage.ErrCorrupt},
		{"noise", bytes.Repeat([]byte{0xA5, 0x5A, 0x00, 0xFF, 0x13}, page), storage.ErrCorrupt},
		{"another program's", otherProgram(t, true), ErrNotStore},
		{"another program's without freelist", otherProgram(t, false), ErrNotStore},
		{"newer schema", withSchema(t, strconv.Itoa(schema+1)), ErrNewerSchema},
		{"schema no number", withSchema(t, "two"), storage.ErrCorrupt},
		{"schema zero", withSchema(t, "0"), storage.ErrCorrupt},
	}
	whole := wholeOf(good)
	for _, n := range []int{1, 79, 80, page - 1, page, 2*page - 1, 2 * page, 2*page + 1, 3 * page, 4 * page, whole - page, whole - 1} {
		rows = append(rows, row{fmt.Sprintf("cut to %d bytes", n), good[:n], storage.ErrCorrupt})
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tokens.db")
			if err := os.WriteFile(path, row.data, 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, path, row.want)
			after, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(after, row.data) {
				t.Errorf("the file was changed: %d bytes before, %d after, %v", len(row.data), len(after), err)
			}
		})
	}
}

// refused opens path, expects want, and leaves nothing beside it.
func refused(t *testing.T, path string, want error) {
	t.Helper()
	s, err := Open(path, nil)
	if err == nil {
		s.Close()
		t.Fatalf("opened; want %v", want)
	}
	if !errors.Is(err, want) {
		t.Errorf("got %v; want %v", err, want)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".lapse-*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOpenRefusesPaths(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := mkfifo(fifo); err != nil {
		t.Logf("no FIFO here: %v", err)
		fifo = dir
	}
	for _, row := range []struct {
		name, path string
		want       error
	}{
		{"no path", "", storage.ErrUnavailable},
		{"directory", dir, ErrNotStore},
		{"null device", os.DevNull, ErrNotStore},
		{"FIFO", fifo, ErrNotStore},
		{"no such folder", filepath.Join(dir, "none", "tokens.db"), fs.ErrNotExist},
		{"file as folder", filepath.Join(os.Args[0], "tokens.db"), storage.ErrUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) { refused(t, row.path, row.want) })
	}
	if _, err := Open(filepath.Join(dir, "x.db"), &Options{LockTimeout: -1}); err == nil {
		t.Error("a negative LockTimeout was accepted")
	}
}

// TestNoSilentStepBack flips one bit of both meta pages after the other, as flipped
// chooses them. bbolt alone opens such a file one transaction earlier.
func TestNoSilentStepBack(t *testing.T) {
	t.Parallel()
	path, good := makeFileIn(t, quickDir(t), 3)
	bits := flipped(chance(drawn(t), 0), metaLen)
	for _, at := range []int{pageHeader, pageSize + pageHeader} {
		for _, bit := range bits {
			bad := bytes.Clone(good)
			bad[at+bit/8] ^= 1 << (bit % 8)
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(path, nil)
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Fatalf("byte %d, bit %d: %v", at+bit/8, bit%8, err)
			}
		}
	}
	t.Logf("%d of %d bits of either meta page", len(bits), 8*metaLen)
}

func TestFileIsItsOwnersAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no file mode to check")
	}
	for _, mask := range []int{0, 0o022, 0o077, 0o777} {
		func() {
			defer umask(umask(mask))
			path := filepath.Join(t.TempDir(), "tokens.db")
			os.Chmod(filepath.Dir(path), 0o700)
			s, err := Open(path, nil)
			if err != nil {
				t.Fatalf("umask %03o: %v", mask, err)
			}
			defer s.Close()
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("umask %03o: mode %v, %v; want -rw-------", mask, info.Mode(), err)
			}
		}()
	}
}

// TestHalfAStore: a file with one of our two buckets is not ours.
func TestHalfAStore(t *testing.T) {
	for _, missing := range []string{tree.MetaBucket, tree.TokensBucket} {
		path, _ := makeFile(t, 1)
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(missing)) })
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		refused(t, path, ErrNotStore)
	}
}

// TestSymbolicLink: a link to a store is that store.
func TestSymbolicLink(t *testing.T) {
	path, _ := makeFile(t, 1)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	s := open(t, link, nil)
	if _, err := Open(path, nil); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("the file behind the link: %v; want ErrLocked", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
