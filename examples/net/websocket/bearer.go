package main

import (
	"net/http"
	"strings"
)

// protocol is the WebSocket subprotocol that is spoken here.
const protocol = "lapse.devices.v1"

// bearer returns the token that comes with r in one of three ways, "" if there is
// none:
//
//   - a program sets the header Authorization: Bearer TOKEN;
//   - a browser cannot, and offers two subprotocols, the protocol's name and the token,
//     which has no character that a subprotocol may not have. It is answered with the
//     name; the token is never echoed;
//   - a client that can do neither trades the token for a ticket. A ticket is good once
//     and for a few seconds, so it may stand in a URL: ?ticket=TICKET.
//
// The error is one of lapse's, about the ticket.
func (s *server) bearer(r *http.Request) (string, error) {
	if text := fromHeader(r); text != "" {
		return text, nil
	}
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for offered := range strings.SplitSeq(line, ",") {
			if offered = strings.TrimSpace(offered); offered != protocol && offered != "" {
				return offered, nil
			}
		}
	}
	if ticket := r.URL.Query().Get("ticket"); ticket != "" {
		return s.redeem(r.Context(), ticket)
	}
	return "", nil
}

func fromHeader(r *http.Request) string {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(text)
}
