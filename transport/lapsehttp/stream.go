package lapsehttp

import (
	"context"
	"net/http"
	"time"
)

// grace is how long a handler behind Stream may go on to use its client after its context has ended.
const grace = time.Second

// Stream is Hold for a handler that writes an answer, or reads a body, for as long as the token lives:
// server-sent events, a long download, an upload. The context of the request ends with the token, and a second
// later reads and writes of the handler fail, also those that block since the client reads nothing or sends
// nothing, and those of a handler that does not look at its context. So the handler may say goodbye, and a
// handler that returns when a write fails needs nothing else.
//
// The client of a handler that returns in time sees the answer end as any other. Otherwise it sees the answer
// cut: the connection closed over HTTP/1.1, the stream reset over HTTP/2. Its next request gets 401.
//
// The second begins with the end of the context, whatever ended that, and replaces the deadline that
// http.Server.WriteTimeout or the handler has set. Stream sets no deadline once the handler has returned, and
// leaves none to the next request of the connection. A middleware outside of Stream whose http.ResponseWriter
// has neither the deadlines of http.ResponseController nor Unwrap hides them: the context ends, and a Write
// that blocks goes on to block. Stream is not for a handler that takes the connection over (http.Hijacker),
// as those of WebSockets do: that is what Hold is for.
func (g *Guard) Stream(next http.Handler) http.Handler {
	return g.Hold(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		set := make(chan struct{})
		stop := context.AfterFunc(r.Context(), func() {
			defer close(set)
			end := time.Now().Add(g.grace) // by the clock of the system, as all deadlines of connections
			client := http.NewResponseController(w)
			client.SetReadDeadline(end)
			client.SetWriteDeadline(end)
		})
		defer func() {
			if !stop() {
				<-set // over HTTP/2 net/http panics if a deadline is set after the handler has returned
			}
		}()
		next.ServeHTTP(w, r)
	}))
}
