package lapsehttp

import (
	"errors"
	"net/http"

	"github.com/seed-55daa01a/lapse"
)

// deviceGrant is the grant_type of a device code (RFC 8628 section 3.4).
const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// DeviceAuthorization is the device authorization endpoint (RFC 8628 section 3.1): it begins a log-in
// of a device, and answers with its two codes and the address at which a user enters the short one.
// What the device asks for is scope; its Name is its User-Agent, and the client is that of
// ServerOptions.Client. Any client may call it, so limit how often. Without ServerOptions.Devices the
// answer is 404.
func (e *Endpoints) DeviceAuthorization(w http.ResponseWriter, r *http.Request) {
	if e.o.Devices == nil {
		plain(w, http.StatusNotFound)
		return
	}
	if !form(w, r) {
		return
	}
	id, ok := client(w, r, e.o.Client)
	if !ok {
		return
	}
	code, err := e.o.Devices.Begin(r.Context(), lapse.DeviceRequest{
		Client: id, Name: lapse.ClipName(r.UserAgent()), Scope: r.PostForm.Get("scope"),
	})
	var limit *lapse.GrantError
	switch {
	case err == nil:
		reply(w, http.StatusOK, struct {
			lapse.DeviceCode
			VerificationURI string `json:"verification_uri"`
		}{code, e.o.VerificationURI})
	case errors.As(err, &limit) && limit.Field == "Scope":
		fail(w, http.StatusBadRequest, "invalid_scope", "")
	case errors.Is(err, lapse.ErrInvalidGrant):
		fail(w, http.StatusBadRequest, "invalid_request", "what the device asks for cannot be granted")
	default:
		unavailable(w)
	}
}

// pollDevice answers the grant_type of a device code, of client (RFC 8628 section 3.5).
func (e *Endpoints) pollDevice(w http.ResponseWriter, r *http.Request, client string) {
	if e.o.Devices == nil {
		fail(w, http.StatusBadRequest, "unsupported_grant_type", "")
		return
	}
	code := r.PostForm.Get("device_code")
	if code == "" {
		fail(w, http.StatusBadRequest, "invalid_request", "device_code is missing")
		return
	}
	pair, err := e.o.Devices.Poll(r.Context(), code, client)
	switch {
	case err == nil:
		e.replyPair(w, pair)
	case errors.Is(err, lapse.ErrAuthorizationPending):
		fail(w, http.StatusBadRequest, "authorization_pending", "")
	case errors.Is(err, lapse.ErrSlowDown):
		fail(w, http.StatusBadRequest, "slow_down", "")
	case errors.Is(err, lapse.ErrAccessDenied):
		fail(w, http.StatusBadRequest, "access_denied", "")
	case errors.Is(err, lapse.ErrExpired):
		fail(w, http.StatusBadRequest, "expired_token", "")
	default:
		failGrant(w, err)
	}
}
