package admin

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/seed-55daa01a/lapse"
)

// method is what the server does for the name of a method.
type method struct {
	members string // of params, with a space between them; one that is required ends in "!"
	writes  bool   // only callers with Full may call it
	long    bool   // it may take longer than patience: it ends with the connection
	run     func(ctx context.Context, c *call) (result any, err error)
}

// call is one request that is being answered.
type call struct {
	*visit
	id json.RawMessage
	p  *params
}

// methods returns the table of methods, over v.
func (v *verbs) methods() map[string]method {
	return map[string]method{
		"hello":    {members: "version!", run: v.hello},
		"now":      {run: v.now},
		"list":     {members: "query", run: v.list},
		"count":    {members: "query", long: true, run: v.count},
		"sessions": {members: "subject! prefix", run: v.sessions},
		"show":     {members: "id!", run: v.show},
		"verify":   {members: "bearer! prefix", run: v.verify},
		"holds":    {members: "prefix", long: true, run: v.holds},
		"watch":    {members: "query", long: true, run: v.watch},
		"stats":    {members: "prefix", run: v.stats},
		"store":    {run: v.storeStats},
		"issue":    {members: "grant! prefix note", writes: true, run: v.issue},
		"pair":     {members: "grant! prefix note", writes: true, run: v.issuePair},
		"rotate":   {members: "id! overlap_ns note", writes: true, run: v.rotate},
		"revoke":   {members: "id! note", writes: true, run: v.revoke},
		"logout":   {members: "subject! keep note", writes: true, long: true, run: v.logout},
		"end":      {members: "bearer! prefix note", writes: true, run: v.end},
		"suspend":  {members: "id! note", writes: true, run: v.suspend},
		"resume":   {members: "id! note", writes: true, run: v.resume},
		"edit":     {members: "id! changes! note", writes: true, run: v.edit},
		"forget":   {members: "subject! note", writes: true, long: true, run: v.forget},
		"sweep":    {members: "prefix note", writes: true, long: true, run: v.sweep},
		"backup":   {writes: true, long: true, run: v.backup}, // it writes nothing, and the file has all digests
		"compact":  {members: "note", writes: true, long: true, run: v.compact},
	}
}

// takes reports whether m takes a member of params.
func (m *method) takes(name string) bool {
	return slices.ContainsFunc(strings.Fields(m.members), func(member string) bool { return strings.TrimSuffix(member, "!") == name })
}

// required returns the members that m requires.
func (m *method) required() (all []string) {
	for _, member := range strings.Fields(m.members) {
		if name, required := strings.CutSuffix(member, "!"); required {
			all = append(all, name)
		}
	}
	return all
}

// usage says which members m takes.
func (m *method) usage() string {
	if m.members == "" {
		return "it takes none"
	}
	return "it takes " + strings.ReplaceAll(m.members, "!", " (required)")
}

// names returns the names of the methods, in order.
func names(table map[string]method) string {
	return strings.Join(slices.Sorted(maps.Keys(table)), ", ")
}

// verbs are what the methods call.
type verbs struct {
	managers []*lapse.Manager // with those of pairs; at least one
	pairs    []*lapse.Pairs
	store    Store // or nil
}
