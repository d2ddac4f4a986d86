package postgres

import "strings"

// statements are the SQL of a store, with the names of its tables.
type statements struct {
	get, gets, page, subjectPage string
	loadOne, loadLiving, loadFor string
	loadAll, loadOfID            string
	lock, makeHeader             string
	insertFit, commit, commitOne string
	fence, fenceFit, header      string
	follow                       string
	sweep, sweepHeaders          string
	touch, untouched             string
	setting, putSetting          string
}

// update sets the columns of a row to those of v. A renewal that was written since the row was read stays.
const update = `UPDATE $token t SET
	used = CASE WHEN v.ended IS NULL AND t.used > v.was_used THEN greatest(t.used, v.used) ELSE v.used END,
	expires = CASE WHEN v.ended IS NULL AND t.expires > v.was_expires THEN greatest(v.expires, least(t.expires, v.cap)) ELSE v.expires END,
	live = CASE WHEN v.ended IS NULL AND t.expires > v.was_expires THEN greatest(v.live, t.live) ELSE v.live END,
	sweep = v.sweep, cap = v.cap, ended = v.ended, body = v.body`

// unfollowed has a statement that is a transaction of its own wait for no standby. No setting of the session
// changes, which a pooler would give to its next client.
const unfollowed = `set_config('synchronous_commit', 'local', true)`

// newStatements returns the statements. Where a row is found by its ID, the subject is compared as
// subject_key + 0, so that no plan reads all rows of the subject. A commit of one row has a statement of
// its own, which takes 0.73 of the time of the one for any number of rows (BenchmarkCommit).
func newStatements(schema string) *statements {
	n := newNames(schema)
	named := strings.NewReplacer("$token", n.token, "$subject", n.subject, "$setting", n.setting, "$row", rowColumns).Replace
	return &statements{
		get:         named(`SELECT $row FROM $token t WHERE id = $1 AND tag = $2`),
		gets:        named(`SELECT $row FROM unnest($1::uuid[], $2::smallint[]) AS v(id, tag) JOIN $token t ON t.id = v.id AND t.tag = v.tag`),
		page:        named(`SELECT $row FROM $token t WHERE id > $1 ORDER BY id LIMIT $2`),
		subjectPage: named(`SELECT $row FROM $token t WHERE subject_key = $3 AND id > $1 ORDER BY id LIMIT $2`),
		loadOne: named(`SELECT s.rev, s.counted, s.tokens, $row
			FROM (SELECT) one LEFT JOIN $subject s ON s.subject_key = $1 LEFT JOIN $token t ON t.id = $2 AND t.tag = $3`),
		loadLiving: named(`SELECT s.rev, s.counted, s.tokens, $row
			FROM (SELECT) one LEFT JOIN $subject s ON s.subject_key = $1 LEFT JOIN $token t ON t.subject_key = $1 AND t.live > $2`),
		loadAll: named(`SELECT s.rev, s.counted, s.tokens, $row
			FROM (SELECT) one LEFT JOIN $subject s ON s.subject_key = $1 LEFT JOIN $token t ON t.subject_key = $1`),
		loadFor: named(`SELECT s.rev, s.counted, s.tokens, $row
			FROM (SELECT) one LEFT JOIN $subject s ON s.subject_key = $1 LEFT JOIN LATERAL (
				SELECT * FROM $token WHERE subject_key = $1 AND live > $2
				UNION ALL SELECT t.* FROM unnest($3::uuid[], $4::smallint[]) AS v(id, tag) JOIN $token t ON t.id = v.id AND t.tag = v.tag
			) t ON true`),
		loadOfID: named(`SELECT s.rev, s.counted, s.tokens, $row
			FROM $token t LEFT JOIN $subject s ON s.subject_key = t.subject_key WHERE t.id = $1 AND t.tag = $2`),
		makeHeader: named(`INSERT INTO $subject (subject_key, rev, prev, counted, tokens) VALUES ($1, $2, 0, $3, 0) ON CONFLICT DO NOTHING`),
		lock:       named(`SELECT rev FROM $subject WHERE subject_key = $1 FOR UPDATE`),
		insertFit: named(`WITH head AS (
				INSERT INTO $subject AS s (subject_key, rev, prev, counted, tokens) VALUES ($1, $2, 0, $4, 1)
				ON CONFLICT (subject_key) DO UPDATE SET rev = $2, prev = s.rev, tokens = s.tokens + 1
				WHERE s.tokens <= $3 AND s.counted <= $4 RETURNING 1
			), put AS (
				INSERT INTO $token (subject_key, used, expires, live, sweep, cap, ended, id, tag, body)
				SELECT $1, $5, $6, $7, $8, $9, NULL, $10, $11, $12 FROM head
			)
			SELECT s.rev, s.counted, s.tokens, $row
			FROM (SELECT) one LEFT JOIN $subject s ON s.subject_key = $1 LEFT JOIN $token t ON t.subject_key = $1 AND t.live > $4
			WHERE NOT EXISTS (SELECT FROM head)`),
		commit: named(`WITH head AS (
				INSERT INTO $subject AS s (subject_key, rev, prev, counted, tokens) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (subject_key) DO UPDATE SET rev = $2, prev = $3, counted = $4, tokens = $5
				WHERE s.rev = $3 RETURNING 1
			), v AS (
				SELECT * FROM unnest($6::uuid[], $7::smallint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bytea[], $15::bigint[], $16::bigint[])
				AS v(id, tag, used, expires, live, sweep, cap, ended, body, was_used, was_expires)
			), ins AS (
				INSERT INTO $token (subject_key, used, expires, live, sweep, cap, ended, id, tag, body)
				SELECT $1, used, expires, live, sweep, cap, ended, id, tag, body FROM v
				WHERE was_used IS NULL AND EXISTS (SELECT FROM head) RETURNING 1
			), upd AS (
				` + update + `
				FROM v WHERE t.id = v.id AND t.tag = v.tag AND t.subject_key + 0 = $1 AND v.was_used IS NOT NULL AND EXISTS (SELECT FROM head) RETURNING 1
			), del AS (
				DELETE FROM $token t USING unnest($17::uuid[], $18::smallint[]) AS d(id, tag)
				WHERE t.id = d.id AND t.tag = d.tag AND t.subject_key + 0 = $1 AND EXISTS (SELECT FROM head) RETURNING 1
			)
			SELECT count(*), 1 / CASE WHEN count(*) = 0 OR (SELECT count(*) FROM ins) + (SELECT count(*) FROM upd) + (SELECT count(*) FROM del) = $19::bigint THEN 1 ELSE 0 END FROM head`),
		commitOne: named(`WITH head AS (
				UPDATE $subject SET rev = $2, prev = $3, counted = coalesce($4, counted), tokens = coalesce($5, tokens) WHERE subject_key = $1 AND rev = $3 RETURNING 1
			), upd AS (
				` + update + `
				FROM head, (SELECT $6::uuid, $7::smallint, $8::bigint, $9::bigint, $10::bigint, $11::bigint, $12::bigint, $13::bigint, $14::bytea, $15::bigint, $16::bigint)
				AS v(id, tag, used, expires, live, sweep, cap, ended, body, was_used, was_expires)
				WHERE t.id = v.id AND t.tag = v.tag AND t.subject_key + 0 = $1
				AND (NOT $17::boolean OR t.used = v.was_used AND t.expires = v.was_expires) RETURNING 1
			)
			SELECT count(*), 1 / CASE WHEN count(*) = (SELECT count(*) FROM upd) THEN 1 ELSE 0 END FROM head`),
		fence: named(`INSERT INTO $subject AS s (subject_key, rev, prev, counted, tokens) SELECT $1, $2, $3, 0, 0 FROM ` + unfollowed + `
			ON CONFLICT (subject_key) DO UPDATE SET rev = $2, prev = $3 WHERE s.rev = $3 RETURNING rev`),
		header: named(`SELECT rev, prev FROM $subject WHERE subject_key = $1`),
		follow: named(`UPDATE $subject SET tokens = tokens WHERE subject_key = $1`),
		fenceFit: named(`INSERT INTO $token (subject_key, used, expires, live, sweep, cap, ended, id, tag, body)
			SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 FROM ` + unfollowed + ` ON CONFLICT DO NOTHING`),
		sweep: named(`WITH due AS (
				SELECT id, tag, coalesce(least(ended, expires), expires) AS dead FROM $token WHERE sweep < $1 ORDER BY sweep LIMIT $2 FOR UPDATE SKIP LOCKED
			), moved AS (
				UPDATE $token t SET sweep = due.dead FROM due WHERE t.id = due.id AND t.tag = due.tag AND due.dead >= $1
			), gone AS (
				DELETE FROM $token t USING due WHERE t.id = due.id AND t.tag = due.tag AND due.dead < $1 RETURNING t.subject_key
			)
			SELECT (SELECT count(*) FROM due), (SELECT count(*) FROM gone), (SELECT array_agg(DISTINCT subject_key) FROM gone)`),
		sweepHeaders: named(`WITH idle AS (
				SELECT s.subject_key, s.rev FROM $subject s WHERE s.subject_key = ANY($1) AND NOT EXISTS (SELECT FROM $token t WHERE t.subject_key = s.subject_key)
			)
			DELETE FROM $subject s USING idle WHERE s.subject_key = idle.subject_key AND s.rev = idle.rev`),
		touch: named(`WITH free AS (
				SELECT t.id, t.tag, v.used, v.expires, v.slack
				FROM unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[]) AS v(id, tag, used, expires, slack)
				JOIN $token t ON t.id = v.id AND t.tag = v.tag WHERE t.ended IS NULL FOR UPDATE OF t SKIP LOCKED
			)
			UPDATE $token t SET used = greatest(t.used, v.used),
				expires = greatest(t.expires, least(v.expires, t.cap)),
				live = CASE WHEN least(v.expires, t.cap) > t.live THEN least(v.expires, t.cap) + v.slack ELSE t.live END
			FROM free v WHERE t.id = v.id AND t.tag = v.tag RETURNING t.id`),
		untouched:  named(`SELECT t.id FROM unnest($1::uuid[], $2::smallint[]) AS v(id, tag) JOIN $token t ON t.id = v.id AND t.tag = v.tag WHERE t.ended IS NULL`),
		putSetting: named(`INSERT INTO $setting VALUES ($1, $2) ON CONFLICT DO NOTHING`),
		setting:    named(`SELECT value FROM $setting WHERE name = $1`),
	}
}
