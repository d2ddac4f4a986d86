package lapsehttp_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/transport/lapsehttp"
)

type bareKey struct{}

// bareMiddleware is the least that puts a token into the context of a request.
func bareMiddleware(tokens *lapse.Manager, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, err := tokens.Authenticate(r.Context(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), bareKey{}, &tok)))
	})
}

// protected returns an empty handler behind Protect and behind bareMiddleware, and a request that both
// let pass.
func protected(t testing.TB) (guarded, bare http.Handler, r *http.Request) {
	tokens := must(lapse.New(memory.New(), lapse.Config{}))
	empty := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	g := must(lapsehttp.New(tokens, lapsehttp.Options{}))
	r = httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+must(tokens.Issue(t.Context(), lapse.Grant{Subject: "ana"})).Bearer)
	return g.Protect(empty), bareMiddleware(tokens, empty), r
}

// BenchmarkProtect runs Protect and a bare middleware by turns, and reports the median of the ratios of
// their times. The ratio is to be 1.3 at most.
func BenchmarkProtect(b *testing.B) {
	guarded, bare, r := protected(b)
	w := httptest.NewRecorder()
	const round = 200
	took := func(h http.Handler) time.Duration {
		begun := time.Now()
		for range round {
			h.ServeHTTP(w, r)
		}
		return time.Since(begun)
	}
	var ratios []float64
	var ours, theirs time.Duration
	for n := range max(4, b.N/round) {
		var a, c time.Duration
		if n%2 == 0 {
			a, c = took(guarded), took(bare)
		} else { // which one comes first may matter
			c, a = took(bare), took(guarded)
		}
		ratios, ours, theirs = append(ratios, float64(a)/float64(c)), ours+a, theirs+c
	}
	slices.Sort(ratios)
	calls := float64(round * len(ratios))
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(float64(ours)/calls, "protect-ns")
	b.ReportMetric(float64(theirs)/calls, "bare-ns")
}

// TestAllocations: Protect allocates what a bare middleware does: the token, the context and the
// request.
func TestAllocations(t *testing.T) {
	guarded, bare, r := protected(t)
	w := httptest.NewRecorder()
	ours := testing.AllocsPerRun(100, func() { guarded.ServeHTTP(w, r) })
	theirs := testing.AllocsPerRun(100, func() { bare.ServeHTTP(w, r) })
	if ours > theirs {
		t.Errorf("%v allocations; a bare middleware has %v", ours, theirs)
	}
}
