package postgres

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/seed-55daa01a/lapse/storage"
)

// The errors of the server that the store acts on, by their SQLSTATE.
const (
	divisionByZero      = "22012" // a commit whose rows are not as they were read
	uniqueViolation     = "23505"
	missingRight        = "42501"
	undefinedTable      = "42P01"
	readOnly            = "25006"
	missingStatement    = "26000" // another user of the session has discarded what was prepared
	takenStatement      = "42P05" // another one has prepared it
	serializationFailed = "40001"
	deadlockDetected    = "40P01"
	lockNotAvailable    = "55P03"
	tooManyConnections  = "53300"
	limitExceeded       = "54000" // of NOTIFY: its queue is full
)

const mixedUp = "another client of a pooler has changed what is prepared in the session; add default_query_exec_mode=exec to the DSN"

// remedies say what to do about errors of the server.
var remedies = map[string]string{
	missingRight:       "the role lacks a right; grant it SELECT, INSERT, UPDATE and DELETE on the tables and USAGE on their schema, and for Migrate the right to create the schema",
	undefinedTable:     "a table is missing; call postgres.Migrate with the same Options",
	readOnly:           "the server, the database or the role allows reading alone; connect to the primary, or set default_transaction_read_only to off",
	tooManyConnections: "the server takes no more connections; raise max_connections or the limit of the role, or lower pool_max_conns",
	missingStatement:   mixedUp,
	takenStatement:     mixedUp,
	limitExceeded:      "the server's queue of notices is full (SQLSTATE 54000); end the session that did LISTEN and then began a transaction long ago, its PID is in the server's log",
}

// errOvertaken: another Update of the subject came first. The Update runs again.
var errOvertaken = fmt.Errorf("%w: the subject was changed too often meanwhile; try again", storage.ErrUnavailable)

// code returns the SQLSTATE of an error of the server, or "".
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// again reports whether err is one of the server that the next try may not meet.
func again(err error) bool {
	switch code(err) {
	case divisionByZero, uniqueViolation, missingStatement, serializationFailed, deadlockDetected, lockNotAvailable:
		return true
	}
	return err == errOvertaken
}

// definite reports whether err says that nothing was written: the server refused the statement, or no
// connection was made.
func definite(err error) bool {
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	switch {
	case errors.As(err, &connect), pgconn.SafeToRetry(err):
		return true
	case errors.As(err, &pg):
		return pg.Severity == "ERROR" || pg.SeverityUnlocalized == "ERROR"
	}
	return false
}

// classify returns err as one of package storage, without a text of the server's that may hold values
// of the caller's, and without anything of the DSN. The context's error stays what it is.
func classify(err error) error {
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errStandby):
		return errStandby
	case errors.Is(err, storage.ErrClosed), errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrCorrupt),
		errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrOutcomeUnknown):
		return err
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, context.Canceled)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, context.DeadlineExceeded)
	case errors.As(err, &pg) && remedies[pg.Code] != "":
		return fmt.Errorf("%w: %s", storage.ErrUnavailable, remedies[pg.Code])
	case errors.As(err, &pg):
		return fmt.Errorf("%w: the server answered with SQLSTATE %s, see its log", storage.ErrUnavailable, pg.Code)
	case errors.As(err, &connect):
		return fmt.Errorf("%w: no connection to the server could be made; check that it runs, its address and the password", storage.ErrUnavailable)
	}
	return fmt.Errorf("%w: the connection to the server failed; try again", storage.ErrUnavailable)
}

// drawRandom fills the values with random bits.
func drawRandom(values ...any) error {
	for _, v := range values {
		if err := binary.Read(rand.Reader, binary.BigEndian, v); err != nil {
			return fmt.Errorf("%w: the system has no random numbers", storage.ErrUnavailable)
		}
	}
	return nil
}

// newRev returns a random number above 0, which no other write of the subject has.
func newRev() (int64, error) {
	var n uint64
	err := drawRandom(&n)
	return int64(n>>1) | 1, err
}
