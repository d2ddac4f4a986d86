package postgres

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// readsAll finds a plan that reads a whole table. The planner adds 1e10 to the cost of each step that is switched
// off, and compiles plans that cost so much.
var readsAll = regexp.MustCompile(`(Seq Scan|Bitmap Heap Scan) on (token|subject)|\.\.\d{11}`)

// TestPlansOfEmptyTables: a plan that was made while the tables were empty, and that a connection keeps, finds
// rows by an index.
func TestPlansOfEmptyTables(t *testing.T) {
	for _, partitions := range []int{0, 4} {
		o := &Options{Schema: fmt.Sprint("plans ", partitions), Partitions: partitions}
		emptied(t, o)
		conn, err := opened(t, o).pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		all := reflect.ValueOf(*newStatements(o.Schema))
		for i := range all.NumField() {
			name, sql := all.Type().Field(i).Name, all.Field(i).String()
			plan := planOf(t, conn.Conn(), sql)
			if readsAll.MatchString(plan) {
				t.Errorf("%d partitions, %s reads a whole table:\n%s", partitions, name, plan)
			}
		}
		if _, err := conn.Exec(t.Context(), "RESET enable_seqscan"); err != nil {
			t.Fatal(err)
		}
		if plan := planOf(t, conn.Conn(), "SELECT * FROM "+newNames(o.Schema).token+" WHERE tag > $1"); !readsAll.MatchString(plan) {
			t.Errorf("the test does not find a plan that reads the whole table:\n%s", plan)
		}
	}
}

// planOf returns the plan of a statement.
func planOf(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	d, err := conn.Prepare(t.Context(), "planned", sql)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Deallocate(t.Context(), "planned")
	values := strings.TrimSuffix(strings.Repeat("NULL, ", len(d.ParamOIDs)), ", ")
	if values != "" {
		values = "(" + values + ")"
	}
	rows, err := conn.Query(t.Context(), "EXPLAIN EXECUTE planned"+values, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}
