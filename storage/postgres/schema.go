package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-55daa01a/lapse/storage"
)

// schemaVersion is the version of the tables that this package uses.
const schemaVersion = 1

// oldestServer is the oldest version of PostgreSQL that this package is for, as server_version_num.
const oldestServer = 140000

// maxSchema is how long the name of a schema is at most: the server's names end at 63 bytes, that of the channel
// included.
const maxSchema = 63 - len(channelPrefix)

// migrateLock lets one Migrate of a server go on at a time. In a higher isolation than READ COMMITTED the
// next one would not see what it has waited for.
const migrateLock = "SELECT pg_advisory_xact_lock(hashtextextended('lapse.migrate', 0))"

// Migrate makes the tables, or brings those of an earlier version of this package to its own. It does
// nothing where they are up to date. Several processes may call it at the same time. The role needs the
// right to create the schema; a role that only uses the store needs SELECT, INSERT, UPDATE and DELETE
// on its tables.
//
// Programs with a tool of their own for migrations execute Schema instead.
func Migrate(ctx context.Context, pool *pgxpool.Pool, o *Options) error {
	all := o.withDefaults()
	err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, migrateLock); err != nil {
			return err
		}
		version, err := versionOf(ctx, tx, all.Schema)
		switch {
		case err != nil || version == schemaVersion:
			return err
		case version > schemaVersion:
			return tooNew(version)
		}
		_, err = tx.Exec(ctx, Schema(&all))
		return err
	})
	return classify(err)
}

// Schema returns the statements that make the tables of this version in an empty schema: what Migrate
// executes.
func Schema(o *Options) string {
	all := o.withDefaults()
	n := newNames(all.Schema)
	partition := ""
	storing := " WITH (fillfactor = 85)"
	if all.Partitions > 0 {
		partition, storing = " PARTITION BY HASH (tag)", ""
	}
	sql := fmt.Sprintf(`CREATE SCHEMA IF NOT EXISTS %[1]s;
CREATE TABLE %[2]s (
	subject_key bigint NOT NULL,       -- the first 8 bytes of SHA-256 of the subject
	used        bigint NOT NULL,       -- LastUsedAt; instants are Unix milliseconds
	expires     bigint NOT NULL,       -- ExpiresAt
	live        bigint NOT NULL,       -- dead from this instant on at the latest, by the columns of the row
	sweep       bigint NOT NULL,       -- dead from this instant on at the earliest
	cap         bigint,                -- MaxExpiresAt
	ended       bigint,                -- EndedAt
	id          uuid NOT NULL,
	tag         smallint NOT NULL,     -- the last two bytes of the ID: those of one subject have the same
	body        bytea NOT NULL,        -- the record as package storage/wire encodes it
	PRIMARY KEY (id, tag)
)%[5]s%[6]s;
CREATE INDEX token_subject ON %[2]s (subject_key, live);
CREATE INDEX token_sweep ON %[2]s (sweep);
CREATE TABLE %[3]s (
	subject_key bigint PRIMARY KEY,
	rev         bigint NOT NULL,       -- drawn at random by each write of the subject
	prev        bigint NOT NULL,       -- the rev before it
	counted     bigint NOT NULL,       -- at this instant at most
	tokens      bigint NOT NULL        -- so many tokens of the subject lived
) WITH (fillfactor = 80);
CREATE TABLE %[4]s (name text PRIMARY KEY, value text NOT NULL);
`, n.schema, n.token, n.subject, n.setting, partition, storing)
	for i := range all.Partitions {
		sql += fmt.Sprintf("CREATE TABLE %s PARTITION OF %s FOR VALUES WITH (MODULUS %d, REMAINDER %d) WITH (fillfactor = 85);\n",
			pgx.Identifier{all.Schema, fmt.Sprint("token_", i)}.Sanitize(), n.token, all.Partitions, i)
	}
	return sql + fmt.Sprintf("INSERT INTO %s VALUES ('version', '%d');\n", n.setting, schemaVersion)
}

// names are the quoted names of the tables.
type names struct{ schema, token, subject, setting string }

func newNames(schema string) names {
	of := func(table string) string { return pgx.Identifier{schema, table}.Sanitize() }
	return names{pgx.Identifier{schema}.Sanitize(), of("token"), of("subject"), of("setting")}
}

// querier is a connection, a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// versionOf returns the version of the tables, or 0 if there are none. The transaction of its caller
// goes on. The query reads a catalog as a table: the server tells a session what others have changed when
// the session locks a table, and not when it calls to_regclass.
func versionOf(ctx context.Context, q querier, schema string) (version int, err error) {
	if len(schema) > maxSchema {
		return 0, fmt.Errorf("%w: the name of the schema is too long; use one of %d bytes at most", storage.ErrUnavailable, maxSchema)
	}
	var there bool
	n := newNames(schema)
	if err := q.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = 'setting')", schema).Scan(&there); err != nil || !there {
		return 0, err
	}
	var text string
	err = q.QueryRow(ctx, "SELECT value FROM "+n.setting+" WHERE name = 'version'").Scan(&text)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, err
	}
	if version, err = strconv.Atoi(text); err != nil || version < 1 {
		return 0, errNoVersion
	}
	return version, nil
}

// errNoVersion: there are tables, and what says their version is lost.
var errNoVersion = fmt.Errorf("%w: the table setting has no version, or one that is no number; restore that row, or drop the schema if its tokens are not needed", storage.ErrUnavailable)

func tooNew(version int) error {
	return fmt.Errorf("%w: the tables have version %d, and this program knows version %d; use a newer version of storage/postgres", storage.ErrUnavailable, version, schemaVersion)
}

// checkSchema returns an error unless the server and the tables are of versions that the store can use.
func (s *Store) checkSchema(ctx context.Context) error {
	var server int
	var standby bool
	err := s.pool.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, pg_is_in_recovery()").Scan(&server, &standby)
	switch {
	case err != nil:
		return classify(err)
	case server < oldestServer:
		return fmt.Errorf("%w: the server is too old; PostgreSQL 14 or later is needed", storage.ErrUnavailable)
	case standby:
		return errStandby
	}
	version, err := versionOf(ctx, s.pool, s.options.Schema)
	switch {
	case err != nil:
		return classify(err)
	case version > schemaVersion:
		return tooNew(version)
	case version < schemaVersion:
		return fmt.Errorf("%w: the tables are missing or of an older version; call postgres.Migrate first, with the same Options", storage.ErrUnavailable)
	}
	return nil
}

// Setting implements storage.Settings, in a row of the table setting.
func (s *Store) Setting(ctx context.Context, name, value string) (stored string, err error) {
	if err := s.begin(ctx); err != nil {
		return "", err
	}
	defer s.end()
	if _, err = s.pool.Exec(ctx, s.sql.putSetting, name, value); err == nil {
		err = s.pool.QueryRow(ctx, s.sql.setting, name).Scan(&stored)
	}
	return stored, classify(err)
}
