package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/seed-55daa01a/lapse"
)

// visit is one connection of a Server. It answers one request at a time.
type visit struct {
	*lines
	table   map[string]method
	caller  Caller
	greeted bool // hello was answered
}

var (
	errBusy       = fmt.Errorf("admin: %w: one request is being answered and one waits; send the next one after an answer", lapse.ErrUnavailable)
	errStopping   = fmt.Errorf("admin: %w: the program has stopped to serve; run the verb again when the program is back", lapse.ErrUnavailable)
	errNoHello    = fmt.Errorf("%w: send hello first", ErrProtocol)
	errReadOnly   = fmt.Errorf("%w: this user may only read; to let a user write, the program sets Full in Server.Allow", ErrNotAllowed)
	errNotAllowed = fmt.Errorf("%w: this user may not connect; to let a user in, the program lists it in Server.Allow", ErrNotAllowed)
	errLongAnswer = fmt.Errorf("admin: %w: the answer is longer than a line; list what there is", lapse.ErrOutcomeUnknown)
	errPanicked   = errors.New("admin: a hook of the program panicked in this verb; see its log")
)

// identify sets the caller by the user at the other end. The error wraps ErrNotAllowed.
func (v *visit) identify(allow Allow) error {
	uid, err := peer(v.Conn)
	if err != nil {
		return fmt.Errorf("%w: the operating system does not say which user this is; connect over a Unix socket", ErrNotAllowed)
	}
	caller, ok := allow.caller(uid)
	if !ok {
		return errNotAllowed
	}
	v.caller = caller
	return nil
}

// serve answers requests until the connection or ctx ends.
func (v *visit) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	waiting := make(chan []byte, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer cancel() // the client is gone: so is the verb that it waits for
		defer close(waiting)
		v.read(waiting)
	})
	defer reading.Wait()
	defer v.Close()
	for line := range waiting {
		if ctx.Err() != nil || v.answer(ctx, line) != nil {
			return
		}
	}
}

// read passes each line on. It reads on while a request is answered, so as to notice that the client
// is gone.
func (v *visit) read(waiting chan<- []byte) {
	for {
		line, err := v.next()
		switch {
		case errors.Is(err, errLongLine):
			err = v.refuse(nil, refuse(codeRequest, errLongLine.Error()))
		case err == nil:
			select {
			case waiting <- line:
			default:
				req, _ := parse(line, v.table)
				err = v.reply(req.ID, nil, errBusy)
			}
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.ErrUnexpectedEOF):
			v.refuse(nil, refuse(codeParse, "the line has no end; send it whole and at once"))
		}
		if err != nil {
			return
		}
	}
}

// answer answers one line. The error says that the connection is no good.
func (v *visit) answer(ctx context.Context, line []byte) error {
	req, refused := parse(line, v.table)
	if refused != nil {
		return v.refuse(req.ID, refused)
	}
	m := v.table[req.Method]
	switch {
	case !v.greeted && req.Method != "hello":
		return v.reply(req.ID, nil, errNoHello)
	case m.writes && !v.caller.Full:
		return v.reply(req.ID, nil, errReadOnly)
	}
	ctx = lapse.WithActor(ctx, lapse.Actor{Name: fmt.Sprintf("uid %d", v.caller.UID), Note: req.Params.Note})
	if !m.long {
		var cancel context.CancelFunc
		ctx, cancel = within(ctx, v.patience)
		defer cancel()
	}
	result, err := m.safely(ctx, &call{v, req.ID, req.Params})
	if ctx.Err() != nil && errors.Is(err, context.Canceled) && !errors.Is(err, lapse.ErrOutcomeUnknown) {
		err = errStopping // a client that is gone reads no answer
	}
	return v.reply(req.ID, result, err)
}

// safely runs m. A hook of the program that panics ends the call and not the program.
func (m *method) safely(ctx context.Context, c *call) (result any, err error) {
	defer func() {
		if recover() != nil {
			result, err = nil, errPanicked
		}
	}()
	return m.run(ctx, c)
}

// reply sends the answer to the request of id: the error err, or result if err is nil.
func (v *visit) reply(id json.RawMessage, result any, err error) error {
	if err == nil {
		err = v.send(answer{JSONRPC: "2.0", ID: id, Result: raw(result)})
		if !errors.Is(err, errLongLine) {
			return err
		}
		err = errLongAnswer
	}
	f := toFault(err)
	if p := (*partial)(nil); errors.As(err, &p) {
		f.Data.N = p.n
	}
	return v.refuse(id, f)
}

// refuse sends f as the answer to the request of id, or of a line without an id.
func (v *visit) refuse(id json.RawMessage, f *fault) error {
	if id == nil {
		id = json.RawMessage("null")
	}
	return v.send(answer{JSONRPC: "2.0", ID: id, Error: f})
}

// part sends a part of the answer to c. After half a line no other line can follow: part closes the connection.
func (c *call) part(p part) error {
	p.ID = c.id
	err := c.send(answer{JSONRPC: "2.0", Method: "part", Params: &p})
	if err != nil && !errors.Is(err, errLongLine) && !errors.Is(err, errNoJSON) {
		c.Close()
	}
	return err
}
