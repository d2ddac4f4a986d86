package lapsegrpc

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seed-55daa01a/lapse"
)

// The answers. Their texts are fixed, because an error of lapse may have an ID and an instant.
var (
	answerNoBearer    = status.Error(codes.Unauthenticated, "send one bearer token in the metadata, as authorization: Bearer TEXT")
	answerRefused     = status.Error(codes.Unauthenticated, "the token is no good")
	answerProof       = status.Error(codes.Unauthenticated, "the token needs a proof of its key")
	answerScope       = status.Error(codes.PermissionDenied, "the scope of the token is not enough")
	answerUnavailable = status.Error(codes.Unavailable, "the token could not be checked; keep it, and try again")
)

// answer returns what a client gets for err, an error of this package or of lapse, in a call whose
// context is ctx.
func answer(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errNoBearer):
		return answerNoBearer
	case errors.Is(err, lapse.ErrScope):
		return answerScope
	case errors.Is(err, lapse.ErrProof):
		return answerProof
	case errors.Is(err, lapse.ErrUnauthenticated):
		return answerRefused
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	}
	return answerUnavailable
}

// maxBearer is how many bytes a value of the metadata may have. A text of lapse has far fewer, and
// Config.Foreign is given no longer one.
const maxBearer = 8 << 10

// bearer returns the text that the metadata of ctx has: one value "authorization" of the scheme
// Bearer, in any case of letters (RFC 6750 section 2.1). Otherwise it returns errNoBearer. A text
// that is too long is lapse.ErrMalformed.
func bearer(ctx context.Context) (text string, err error) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) != 1 {
		return "", errNoBearer
	}
	if len(values[0]) > maxBearer {
		return "", lapse.ErrMalformed
	}
	scheme, text, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", errNoBearer
	}
	return strings.TrimLeft(text, " "), nil
}
