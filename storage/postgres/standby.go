package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/seed-55daa01a/lapse/storage"
)

// errStandby: a standby cannot write, and may lack what was written last.
var errStandby = fmt.Errorf("%w: the server is a standby, which cannot write; connect to the primary, for instance by target_session_attrs=read-write", storage.ErrUnavailable)

// refuseStandby is the ValidateConnect of the store's connections, where the DSN asks for nothing else. An
// address that moves may lead to a standby for a while. A good token would be unknown there.
func refuseStandby(_ context.Context, conn *pgconn.PgConn) error {
	if conn.ParameterStatus("in_hot_standby") == "on" {
		return errStandby
	}
	return nil
}

// errUnconfirmed: the server has committed, and has not waited for its synchronous standby to the end.
var errUnconfirmed = errors.New("postgres: the wait for the standby was cancelled")

// unconfirmed is the key of a warning about the last commit, among the data of a connection.
const unconfirmed = "lapse.unconfirmed"

// noteWarning is the OnNotice of the store's connections. A wait for the standby that an administrator
// cancels ends with a warning and not with an error. The code of the warning is 01000, or 57P01 where
// the server ends the connection.
func noteWarning(conn *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" && (n.Code == "01000" || n.Code == "57P01") {
		conn.CustomData()[unconfirmed] = true
	}
}

// confirmed returns err, or errUnconfirmed if a commit that is done came with a warning.
func confirmed(conn *pgconn.PgConn, err error) error {
	_, warned := conn.CustomData()[unconfirmed]
	delete(conn.CustomData(), unconfirmed)
	if warned && (err == nil || err == errUntold) {
		return errUnconfirmed
	}
	return err
}

// follow commits a write behind c, which has happened, and waits for the standby as the server's
// settings say: a standby that has the later write has the earlier one.
func (s *Store) follow(ctx context.Context, conn *pgx.Conn, c *change) error {
	_, err := conn.Exec(ctx, s.sql.follow, c.key)
	return confirmed(conn.PgConn(), err)
}
