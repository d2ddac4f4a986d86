package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse/internal/elapsed"
)

// maxLine is how long a line can be, in bytes, without its line feed.
const maxLine = 1 << 20

// errLongLine is the error of a line that is longer than maxLine. The rest of the line has been passed over.
var errLongLine = errors.New("the line has more than a megabyte; send less at a time")

// errNoJSON is the error of a value that JSON does not have: a number that is none, or a year after 9999.
var errNoJSON = errors.New("a value cannot be sent")

// lines are the two directions of a connection. One goroutine reads, and any number write.
type lines struct {
	net.Conn
	buffer   *bufio.Reader
	patience time.Duration // for the rest of a line, and for its reader; 0: as long as it takes
	writing  sync.Mutex
}

func newLines(conn net.Conn, patience time.Duration) *lines {
	return &lines{Conn: conn, buffer: bufio.NewReaderSize(conn, 16<<10), patience: patience}
}

// next returns the next line without its line feed. It waits for the first byte as long as it takes. After
// errLongLine the connection is good; after any other error it is not.
func (l *lines) next() ([]byte, error) {
	if _, err := l.buffer.Peek(1); err != nil {
		return nil, err
	}
	if l.patience > 0 {
		l.SetReadDeadline(elapsed.Deadline(l.patience))
		defer l.SetReadDeadline(time.Time{})
	}
	var line []byte
	long := false
	for {
		piece, err := l.buffer.ReadSlice('\n')
		if long = long || len(line)+len(piece) > maxLine+len("\n"); long {
			line = nil
		} else {
			line = append(line, piece...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case long || len(line) > maxLine+len("\n"):
			return nil, errLongLine
		default:
			return line[:len(line)-1], nil
		}
	}
}

// send writes v as one line. After errLongLine and errNoJSON nothing was sent, and after any other error the
// connection is no good.
func (l *lines) send(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoJSON, err)
	}
	if len(text) > maxLine {
		return errLongLine
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.patience > 0 {
		l.SetWriteDeadline(elapsed.Deadline(l.patience))
	}
	_, err = l.Write(append(text, '\n'))
	return err
}
